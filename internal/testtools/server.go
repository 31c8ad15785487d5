package testtools

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// startTimeout is long enough for a JVM on a busy machine. If a server exits earlier, its test fails immediately.
const startTimeout = 5 * time.Minute

// startServer runs a command until the test ends and returns once ready succeeds. The command's output is printed only if it does not
// become ready.
func startServer(t testing.TB, cmd *exec.Cmd, ready func(context.Context) error) {
	t.Helper()
	logFile, err := os.Create(filepath.Join(t.TempDir(), "server.log"))
	if err != nil {
		t.Fatalf("start a server: %v", err)
	}
	defer logFile.Close() // The process has its own copy of the descriptor.
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		t.Fatalf("start a server: %v", err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // The result does not matter: the test has ended, or the log is about to be printed.
	}()
	guard := startGuard(t, cmd.Process.Pid)
	t.Cleanup(func() {
		guard() // Stop the guard first. Otherwise it could kill an unrelated process that got the same process ID.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-exited
	})

	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return
		}
		select {
		case <-exited:
			err = fmt.Errorf("it exited: %w", err)
		case <-ctx.Done():
			err = fmt.Errorf("it is not ready after %s: %w", startTimeout, err)
		case <-retry.C:
			continue
		}
		output, _ := os.ReadFile(logFile.Name())
		t.Fatalf("start %s: %v\n%s", filepath.Base(cmd.Path), err, output)
	}
}

// startGuard kills a process group if this process dies before its cleanups run, for example after a test timeout or an interrupt. The
// guard's standard input then closes, and it kills the group.
func startGuard(t testing.TB, pid int) (stop func()) {
	t.Helper()
	guard := exec.Command("sh", "-c", "cat >/dev/null; kill -9 -"+strconv.Itoa(pid))
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // The terminal's interrupt must not reach it.
	input, err := guard.StdinPipe()
	if err == nil {
		err = guard.Start()
	}
	if err != nil {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		t.Fatalf("guard a server: %v", err)
	}
	return func() {
		_ = syscall.Kill(-guard.Process.Pid, syscall.SIGKILL)
		_ = guard.Wait()
		_ = input.Close()
	}
}

// FreeAddress returns an unused address of the loopback interface.
func FreeAddress(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
}

// freePort returns an unused port of the loopback interface.
func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
