// Package connect reports what a program reaches with its configuration.
//
// Input: attempts: to connect to a source, to read a table, to write to a folder. Output: a table with a line for
// each. Every attempt has a deadline of its own, and one that hangs beyond it is left behind: the report belongs to a
// command that a person waits for. The package owns nothing but the report.
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

// Result is what became of an attempt.
type Result string

// The results. Told is no attempt: it says what was found on the way.
const (
	OK     Result = "ok"
	Failed Result = "FAILED"
	Told   Result = "-"
)

// Row is a line of the report.
type Row struct {
	// Part is what the configuration calls it, What is the question, Found the answer or what went wrong.
	Part, What string
	Result     Result
	Found      string
}

// Report collects rows. It is used by one goroutine.
type Report struct {
	// Timeout is for one connection.
	Timeout time.Duration
	Rows    []Row
}

// grace is for what is past its deadline to say so itself.
const grace = 500 * time.Millisecond

// Try makes an attempt within the report's timeout, adds its row and says whether it succeeded.
func Try[T any](ctx context.Context, r *Report, part, what string, f func(context.Context) (v T, found string, err error)) (T, bool) {
	return TryFor(ctx, r, r.Timeout, part, what, f)
}

// TryFor is Try with a longer time, for what reads data.
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

// Do is Try for what returns nothing but words.
func (r *Report) Do(ctx context.Context, part, what string, f func(context.Context) (found string, err error)) bool {
	_, ok := Try(ctx, r, part, what, func(ctx context.Context) (struct{}, string, error) {
		found, err := f(ctx)
		return struct{}{}, found, err
	})
	return ok
}

// Close calls f, which may hang as what it closes does.
func (r *Report) Close(f func() error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f() // What was only looked at has nothing to lose.
	}()
	select {
	case <-done:
	case <-time.After(grace):
	}
}

// maxFound bounds what a row says, in bytes.
const maxFound = 400

// Add adds a row.
func (r *Report) Add(part, what string, result Result, found string) {
	r.Rows = append(r.Rows, Row{part, what, result, line(found)})
}

// Fail adds the row of an error, if there is one, and says whether there was.
func (r *Report) Fail(part, what string, err error) bool {
	if err != nil {
		r.Add(part, what, Failed, err.Error())
	}
	return err != nil
}

// line makes a text fit for a line of the table.
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
