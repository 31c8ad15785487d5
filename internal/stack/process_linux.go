package stack

import "syscall"

// childAttributes puts the child into a group of its own, to be killed as a whole and to be spared the
// terminal's Ctrl-C, and has the kernel kill it when its parent dies, be it by kill -9.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
