// Package guard keeps a panic in the part that it happened in.
//
// Input: a function. Output: its error, or the panic as one. The log gets the stack. It owns nothing. A goroutine
// is guarded where it begins: a recover further up the call stack does not see it.
package guard

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

// PanicError is a panic that was caught.
type PanicError struct{ Value any }

func (p *PanicError) Error() string { return fmt.Sprintf("panicked: %v", p.Value) }

// Call calls f. Part names what f does, for the log.
func Call(log *slog.Logger, part string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("A part of the program panicked", "part", part, "panic", p, "stack", string(debug.Stack()))
			err = &PanicError{p}
		}
	}()
	return f()
}
