package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	defaultStopTimeout = 10 * time.Second
	readyPoll          = 50 * time.Millisecond
	logTailBytes       = 2048
)

// ProcessConfig describes a process and how to detect that it is ready.
type ProcessConfig struct {
	// Name is used in errors.
	Name string
	// Path is the binary and Args its arguments. Env is added to this process's environment.
	Path string
	Args []string
	Env  []string
	// LogFile receives standard output and error.
	LogFile string
	// ReadyURL answers a GET with 200 once the process is ready.
	ReadyURL string
	// StopTimeout is the wait after SIGTERM until Stop kills the process; 10 seconds by default.
	StopTimeout time.Duration
}

func (c ProcessConfig) validate() error {
	switch {
	case c.Name == "":
		return errors.New("a process needs a name")
	case c.Path == "":
		return fmt.Errorf("%s: no binary given", c.Name)
	case c.LogFile == "":
		return fmt.Errorf("%s: no log file given", c.Name)
	case c.ReadyURL == "":
		return fmt.Errorf("%s: no URL given that tells when it is ready", c.Name)
	}
	return nil
}

// Process is a running child process. On Linux the kernel kills it when this process ends.
type Process struct {
	cfg  ProcessConfig
	cmd  *exec.Cmd
	done chan struct{} // closed after the child has ended and err is set
	err  error
}

// StartProcess starts a child and returns when it is ready. If the child or ctx ends before that, the error has the end of
// its log.
func StartProcess(ctx context.Context, cfg ProcessConfig) (*Process, error) {
	p, err := Launch(cfg)
	if err != nil {
		return nil, err
	}
	if err := p.WaitReady(ctx); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// Launch starts a child in a process group of its own and does not wait until it is ready.
func Launch(cfg ProcessConfig) (*Process, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = defaultStopTimeout
	}
	log, err := os.Create(cfg.LogFile)
	if err != nil {
		return nil, fmt.Errorf("%s: create the log: %w", cfg.Name, err)
	}
	defer log.Close()

	//nolint:gosec,noctx // It runs the binaries it is given, and they outlive ctx, which bounds the start only.
	cmd := exec.Command(cfg.Path, cfg.Args...)
	cmd.Env = append(os.Environ(), cfg.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes()
	p := &Process{cfg: cfg, cmd: cmd, done: make(chan struct{})}

	started := make(chan error)
	go func() {
		// The kernel takes the end of the starting thread for the end of the parent, so this thread must exist as long as the
		// child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		p.signalGroup(syscall.SIGKILL) // Kill processes that the child has left behind.
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.Name, err)
	}
	return p, nil
}

// WaitReady returns when the child is ready.
func (p *Process) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		if ready(ctx, p.cfg.ReadyURL) {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready: %w; its log ends with:\n%s", p.cfg.Name, p.exit(), p.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; its log ends with:\n%s", p.cfg.Name, context.Cause(ctx), p.LogTail())
		}
	}
}

func ready(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// PID returns the process ID of the child.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done returns a channel that is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// exit returns why the child ended. It is valid only after done is closed.
func (p *Process) exit() error {
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

// LogTail returns the last lines of the child's output, for errors.
func (p *Process) LogTail() string {
	f, err := os.Open(p.cfg.LogFile)
	if err != nil {
		return ""
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	start := max(0, size-logTailBytes)
	tail := make([]byte, size-start)
	n, _ := f.ReadAt(tail, start)
	text := string(tail[:n])
	if _, lines, cut := strings.Cut(text, "\n"); cut && start > 0 {
		text = lines // The first line is probably truncated.
	}
	return strings.TrimSpace(text)
}

// Kill kills the child and all its descendants, like a crash, and waits until they have ended.
func (p *Process) Kill() {
	p.signalGroup(syscall.SIGKILL)
	<-p.done
}

// Stop sends SIGTERM to the child and returns when it has ended. After the timeout it kills the child and its descendants. It
// returns an error if it had to kill, or if the child had ended with an error before.
func (p *Process) Stop() error {
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("%s had ended already: %w", p.cfg.Name, p.err)
		}
		return nil
	default:
	}
	// Only the child gets the signal: it stops its own children in the right order.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timeout := time.NewTimer(p.cfg.StopTimeout)
	defer timeout.Stop()
	select {
	case <-p.done:
		return nil
	case <-timeout.C:
		p.Kill()
		return fmt.Errorf("%s did not end within %s and was killed", p.cfg.Name, p.cfg.StopTimeout)
	}
}

// signalGroup ignores errors: the only possible one means that the group has ended.
func (p *Process) signalGroup(sig syscall.Signal) { _ = syscall.Kill(-p.PID(), sig) }
