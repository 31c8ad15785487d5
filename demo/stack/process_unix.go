//go:build unix && !linux

package stack

import "syscall"

// childAttributes starts the child in a process group of its own, so that the group can be killed, and Ctrl-C in the terminal
// does not reach it. Only Linux can end a child together with its parent.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
