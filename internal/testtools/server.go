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

// startTimeout allows for a JVM on a busy machine. A server that exits earlier fails its test at once.
const startTimeout = 3 * time.Minute

// startServer runs a command until the test ends and returns once ready succeeds. What the command printed appears in
// the test's log only if it does not become ready.
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
		_ = cmd.Wait() // How it ended does not matter: the test is over, or its log is about to be shown.
	}()
	guard := startGuard(t, cmd.Process.Pid)
	t.Cleanup(func() {
		guard() // It goes first, lest it kill a stranger that got the same process id.
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

// startGuard watches over a process group for the case that this process dies before its cleanups run, as it does on a
// test timeout or an interrupt: the guard's standard input then closes and it kills the group.
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

// FreeAddress returns an address of the loopback interface that nothing listens on now.
func FreeAddress(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
}

// freePort returns a port of the loopback interface that nothing listens on now.
func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
