package config

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// Doc has the positions of a document's values in its file. It is for problems that appear only when the configuration is used, such as
// a missing database file or a port in use. The root of a configuration embeds it (tagged `yaml:"-"`), and the decoder fills it in. The
// zero value belongs to a configuration that was built in Go.
type Doc struct {
	file, path string
	line       int
	lines      map[string]int
	notes      *[]Note
}

// Document returns the Doc itself. The runtime uses it to get the Doc of any configuration that embeds one.
func (d Doc) Document() Doc { return d }

// At returns the position of the value under a dotted key, or of the nearest enclosing value in the file.
func (d Doc) At(key string) Pos {
	return Pos{File: d.file, Line: lineOf(d.lines, d.path, key, d.line), Key: join(d.path, key)}
}

// Wrap adds the position of the value under a dotted key to an error. An error that has a position is returned unchanged, and so is
// every error of a document without a file.
func (d Doc) Wrap(key string, err error) error {
	if err == nil || d.file == "" || Positioned(err) {
		return err
	}
	return &placedError{d.At(key), err}
}

// placedError is an error with its position. Unlike Error, it keeps the error chain.
type placedError struct {
	pos Pos
	err error
}

func (e *placedError) Error() string {
	return e.pos.Errorf("%s", strings.ReplaceAll(e.err.Error(), "\n", "; ")).Error()
}
func (e *placedError) Unwrap() error { return e.err }

// Positioned reports whether an error contains file and line.
func Positioned(err error) bool {
	var placed *placedError
	var one *Error
	var many Errors
	return errors.As(err, &placed) || errors.As(err, &one) || errors.As(err, &many)
}

// Note is a problem in a document that is otherwise valid.
type Note struct {
	*Error
	// Later means that the problem may disappear without action, for example when a data file is delivered. Otherwise someone has to
	// act.
	Later bool
}

// Notes returns the notes of the document, sorted by line.
func (d Doc) Notes() []Note {
	if d.notes == nil {
		return nil
	}
	return slices.SortedStableFunc(slices.Values(*d.notes), func(a, b Note) int { return cmp.Compare(a.Line, b.Line) })
}

// Failing returns the notes that need action, or nil.
func (d Doc) Failing() error {
	var errs Errors
	for _, n := range d.Notes() {
		if !n.Later {
			errs = append(errs, n.Error)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// Failf adds a note about a problem of this machine with the value under key, such as a missing folder. It makes --config.check and a
// reload fail. At a start, the other parts of the configuration still work.
func (a At) Failf(key, format string, args ...any) { a.note(false, key, format, args...) }

// Laterf adds a note about a problem that may disappear without action. It is logged as a warning and prevents nothing.
func (a At) Laterf(key, format string, args ...any) { a.note(true, key, format, args...) }

func (a At) note(later bool, key, format string, args ...any) {
	pos := Pos{File: a.d.file, Line: a.Line(key), Key: join(a.path, key)}
	*a.d.notes = append(*a.d.notes, Note{pos.Errorf(format, args...), later})
}
