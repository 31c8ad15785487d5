package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

func childConfig(t *testing.T, mode string) ProcessConfig {
	t.Helper()
	address, err := FreeAddress(t.Context())
	require.NoError(t, err)
	return ProcessConfig{
		Name: mode, Path: os.Args[0], Args: []string{"--web.listen-address=" + address},
		Env: []string{modeVariable + "=" + mode}, LogFile: filepath.Join(t.TempDir(), "log"),
		ReadyURL: "http://" + address + "/-/ready",
	}
}

func TestProcessConfigIsChecked(t *testing.T) {
	full := ProcessConfig{Name: "x", Path: "x", LogFile: "x", ReadyURL: "x"}
	for want, breakIt := range map[string]func(*ProcessConfig){
		"a process needs a name":                                   func(c *ProcessConfig) { c.Name = "" },
		"x: no binary given":                                       func(c *ProcessConfig) { c.Path = "" },
		"x: no log file given":                                     func(c *ProcessConfig) { c.LogFile = "" },
		"x: no URL given that tells when it is ready":              func(c *ProcessConfig) { c.ReadyURL = "" },
		"x: create the log: open /no/x: no such file or directory": func(c *ProcessConfig) { c.LogFile = "/no/x" },
	} {
		cfg := full
		breakIt(&cfg)
		_, err := StartProcess(t.Context(), cfg)
		require.EqualError(t, err, want)
	}
}

func TestStopEndsACooperativeProcess(t *testing.T) {
	p, err := StartProcess(testContext(t), childConfig(t, "well-behaved"))
	require.NoError(t, err)
	require.NoError(t, p.Stop())
	require.True(t, gone(p.PID()))
}

func TestAProcessThatCrashesShowsTheEndOfItsLog(t *testing.T) {
	_, err := StartProcess(testContext(t), childConfig(t, "crash"))
	require.ErrorContains(t, err, "crash ended before it was ready: exit status 1; its log ends with:\nline ")
	require.ErrorContains(t, err, "\nline 999\ncannot go on")
	require.Less(t, len(err.Error()), logTailBytes+200)
}

func TestAMissingBinaryIsAnErrorOfTheStart(t *testing.T) {
	cfg := childConfig(t, "crash")
	cfg.Path = "/no/such/binary"
	_, err := StartProcess(testContext(t), cfg)
	require.EqualError(t, err, "start crash: fork/exec /no/such/binary: no such file or directory")
}

func TestAProcessThatIsNeverReadyEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(testContext(t))
	cfg := childConfig(t, "silent")
	go func() {
		for {
			if content, _ := os.ReadFile(cfg.LogFile); len(content) > 0 {
				cancel(errors.New("waited long enough"))
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err := StartProcess(ctx, cfg)
	require.EqualError(t, err, "silent is not ready: waited long enough; its log ends with:\nthinking")
}

func TestStubbornProcessIsKilledWithItsChildren(t *testing.T) {
	cfg := childConfig(t, "stubborn")
	cfg.StopTimeout = 10 * time.Millisecond
	p, err := StartProcess(testContext(t), cfg)
	require.NoError(t, err)
	var grandchild int
	_, err = fmt.Sscanf(p.LogTail(), "grandchild %d", &grandchild)
	require.NoError(t, err)
	require.False(t, gone(grandchild))

	require.EqualError(t, p.Stop(), "stubborn did not end within 10ms and was killed")
	require.True(t, gone(p.PID()))
	eventually(testContext(t), t, func() bool { return gone(grandchild) })
}

func TestStopReportsThatTheProcessHadEnded(t *testing.T) {
	p, err := StartProcess(testContext(t), childConfig(t, "well-behaved"))
	require.NoError(t, err)
	p.Kill()
	<-p.Done()
	require.EqualError(t, p.Stop(), "well-behaved had ended already: signal: killed")
}

func TestNoProcessOutlivesAKilledParent(t *testing.T) {
	parent := exec.Command(os.Args[0], t.TempDir())
	parent.Env = append(os.Environ(), modeVariable+"=parent", toolsVariable+"="+filepath.Dir(testtools.Path(t, "prometheus")))
	parent.Stderr = os.Stderr
	out, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	t.Cleanup(func() { _ = parent.Process.Kill() })

	pids := make([]int, 3)
	_, err = fmt.Fscan(out, &pids[0], &pids[1], &pids[2])
	require.NoError(t, err)
	for _, pid := range pids {
		require.False(t, gone(pid))
	}
	require.NoError(t, parent.Process.Signal(syscall.SIGKILL))
	require.Error(t, parent.Wait())
	for _, pid := range pids {
		eventually(testContext(t), t, func() bool { return gone(pid) })
	}
}

// gone also counts a zombie: an orphan's is for the system's first process to remove.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(state, "Z")
}

func TestAStackClosesInReverseOrderAndRemovesItsFolder(t *testing.T) {
	s, err := New(Config{})
	require.NoError(t, err)
	ctx := testContext(t)
	first, err := s.StartExporter(ctx, exporterConfig("well-behaved"))
	require.NoError(t, err)
	_, url, err := s.StartSlack(ctx, 1)
	require.NoError(t, err)
	var order []bool
	s.onClose(func() error { order = append(order, gone(first.PID())); return errors.New("reported") })

	require.EqualError(t, s.Close(), "reported")
	require.Equal(t, []bool{false}, order)
	require.True(t, gone(first.PID()))
	require.NoDirExists(t, s.Dir())
	_, err = new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(url, "http://"))
	require.Error(t, err)
	require.NoError(t, s.Close(), "a second Close finds nothing to do")
}

func TestServerWithATakenPortGetsAnother(t *testing.T) {
	s, err := New(Config{Dir: t.TempDir()})
	require.NoError(t, err)
	cfg := exporterConfig("unlucky")
	cfg.Args = []string{filepath.Join(s.Dir(), "failed-once")}
	_, err = s.StartExporter(testContext(t), cfg)
	require.NoError(t, err)
	require.DirExists(t, cfg.Args[0])
	require.NoError(t, s.Close())
}

func TestAStackWithAFolderOfItsOwnKeepsIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "work")
	s, err := New(Config{Dir: dir})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.DirExists(t, dir)
}
