//go:build unix && !linux

package stack

import "syscall"

// childAttributes puts the child into a group of its own, to be killed as a whole and to be spared the
// terminal's Ctrl-C. Only Linux can tie the child's life to its parent's.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
