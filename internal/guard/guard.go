// Package guard converts a panic to an error.
//
// Input: a function. Output: its error, or the panic as an error. The stack is logged. State: none. It does not catch panics of
// goroutines that the function starts; each goroutine needs a Call of its own.
package guard

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

// PanicError is a panic that was caught.
type PanicError struct{ Value any }

func (p *PanicError) Error() string { return fmt.Sprintf("panicked: %v", p.Value) }

// Call calls f. part names the task of f in the log.
func Call(log *slog.Logger, part string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("A part of the program panicked", "part", part, "panic", p, "stack", string(debug.Stack()))
			err = &PanicError{p}
		}
	}()
	return f()
}
