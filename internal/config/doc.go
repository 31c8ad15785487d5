package config

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// Doc knows where the values of a document stand in its file, for problems that
// only show when the configuration is used: a database file that is not there, a
// port in use. The root of a configuration embeds it (tagged `yaml:"-"`) and gets
// it filled in. The zero value belongs to a configuration that was made in Go.
type Doc struct {
	file, path string
	line       int
	lines      map[string]int
	notes      *[]Note
}

// Document returns the Doc itself, which the runtime finds in any configuration
// that embeds one.
func (d Doc) Document() Doc { return d }

// At is the position of the value under a dotted key, or of the nearest thing
// around it that the file has.
func (d Doc) At(key string) Pos {
	return Pos{File: d.file, Line: lineOf(d.lines, d.path, key, d.line), Key: join(d.path, key)}
}

// Wrap gives an error the position of the value under a dotted key. An error that
// has a position keeps it, and one without a file stays as it is.
func (d Doc) Wrap(key string, err error) error {
	if err == nil || d.file == "" || Positioned(err) {
		return err
	}
	return &placedError{d.At(key), err}
}

// placedError is an error with its position. Unlike an Error it keeps the chain
// below it.
type placedError struct {
	pos Pos
	err error
}

func (e *placedError) Error() string {
	return e.pos.Errorf("%s", strings.ReplaceAll(e.err.Error(), "\n", "; ")).Error()
}
func (e *placedError) Unwrap() error { return e.err }

// Positioned says whether an error names file and line.
func Positioned(err error) bool {
	var placed *placedError
	var one *Error
	var many Errors
	return errors.As(err, &placed) || errors.As(err, &one) || errors.As(err, &many)
}

// Note is a problem of a document that is valid all the same.
type Note struct {
	*Error
	// Later says that time may mend it, as it does a data file that is delivered
	// each day. Else somebody has to do something.
	Later bool
}

// Notes are the notes of the document, in the order of its lines.
func (d Doc) Notes() []Note {
	if d.notes == nil {
		return nil
	}
	return slices.SortedStableFunc(slices.Values(*d.notes), func(a, b Note) int { return cmp.Compare(a.Line, b.Line) })
}

// Failing are the notes that somebody has to do something about, or nil.
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

// Failf notes a problem of this machine with the part of the value under key, such
// as a folder that is not there. It fails --config.check and a reload; at a start
// the other parts of the configuration do their work.
func (a At) Failf(key, format string, args ...any) { a.note(false, key, format, args...) }

// Laterf notes a problem that time may mend. It is shown and stops nothing.
func (a At) Laterf(key, format string, args ...any) { a.note(true, key, format, args...) }

func (a At) note(later bool, key, format string, args ...any) {
	pos := Pos{File: a.d.file, Line: a.Line(key), Key: join(a.path, key)}
	*a.d.notes = append(*a.d.notes, Note{pos.Errorf(format, args...), later})
}
