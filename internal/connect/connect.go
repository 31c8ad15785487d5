// Package connect reports which sources, tables and folders of a configuration a program can reach.
//
// Input: attempts, such as connecting to a source, reading a table or writing to a folder. Output: a table with one row for each
// attempt. Each attempt has its own deadline. The report does not wait for an attempt that hangs beyond its deadline, because a person
// waits for the command. State: the report only.
package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sightglass-ml/sightglass/internal/guard"
)

// Result is the result of an attempt.
type Result string

// The results. Info marks a row without an attempt, which only gives information.
const (
	OK     Result = "ok"
	Failed Result = "FAILED"
	Info   Result = "-"
)

// Row is a row of the report.
type Row struct {
	// Part is the configured name of the object, What the check, Found the finding or the error.
	Part, What string
	Result     Result
	Found      string
}

// Report collects rows. It is not safe for concurrent use.
type Report struct {
	// Timeout limits one connection attempt.
	Timeout time.Duration
	Rows    []Row
}

// grace is the time after its deadline in which an attempt can still return its own error.
const grace = 500 * time.Millisecond

// Try runs an attempt within the report's timeout, adds its row and reports whether it succeeded.
func Try[T any](ctx context.Context, r *Report, part, what string, f func(context.Context) (v T, found string, err error)) (T, bool) {
	return TryFor(ctx, r, r.Timeout, part, what, f)
}

// TryFor is Try with its own timeout, for attempts that read data.
func TryFor[T any](ctx context.Context, r *Report, timeout time.Duration, part, what string, f func(context.Context) (v T, found string, err error)) (T, bool) {
	type answer struct {
		v     T
		found string
		err   error
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answers := make(chan answer, 1)
	go func() {
		var a answer
		a.err = guard.Call(slog.New(slog.DiscardHandler), part, func() (err error) {
			a.v, a.found, err = f(ctx)
			return err
		})
		answers <- a
	}()
	var a answer
	select {
	case a = <-answers:
	case <-ctx.Done():
		select {
		case a = <-answers:
		case <-time.After(grace):
			a.err = ctx.Err()
		}
	}
	if a.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		a.err = fmt.Errorf("no answer within %s: %w", timeout, a.err)
	}
	if a.err != nil {
		r.Add(part, what, Failed, a.err.Error())
		return a.v, false
	}
	r.Add(part, what, OK, a.found)
	return a.v, true
}

// Do is Try for an attempt that returns only text.
func (r *Report) Do(ctx context.Context, part, what string, f func(context.Context) (found string, err error)) bool {
	_, ok := Try(ctx, r, part, what, func(ctx context.Context) (struct{}, string, error) {
		found, err := f(ctx)
		return struct{}{}, found, err
	})
	return ok
}

// Close calls f and waits at most grace for it, because closing a connection that hangs can hang too.
func (r *Report) Close(f func() error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f() // An error has no consequence: nothing was written.
	}()
	select {
	case <-done:
	case <-time.After(grace):
	}
}

// maxFound limits the length of Found, in bytes.
const maxFound = 400

// Add adds a row.
func (r *Report) Add(part, what string, result Result, found string) {
	r.Rows = append(r.Rows, Row{part, what, result, line(found)})
}

// Fail adds a row if err is not nil, and reports whether it did.
func (r *Report) Fail(part, what string, err error) bool {
	if err != nil {
		r.Add(part, what, Failed, err.Error())
	}
	return err != nil
}

// line converts a text to a single line of limited length.
func line(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
	if len(s) > maxFound {
		s = strings.ToValidUTF8(s[:maxFound], "") + "…"
	}
	return s
}

// Failures counts the rows that failed.
func (r *Report) Failures() int {
	n := 0
	for _, row := range r.Rows {
		if row.Result == Failed {
			n++
		}
	}
	return n
}

// Write prints the table.
func (r *Report) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "PART\tCHECK\tRESULT\tFOUND") // Flush returns the error.
	for _, row := range r.Rows {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", line(row.Part), line(row.What), row.Result, row.Found)
	}
	return t.Flush()
}
