package stack

import "syscall"

// childAttributes starts the child in a process group of its own, so that the group can be killed, and Ctrl-C in the terminal
// does not reach it. The kernel kills the child when its parent ends, even by kill -9.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
