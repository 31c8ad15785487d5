package config

import (
	"cmp"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Error is one problem of a config file.
type Error struct {
	File    string
	Line    int
	Key     string // dotted, as in datasets[2].window; empty for the document
	Problem string
}

func (e *Error) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem)
	}
	return fmt.Sprintf("%s:%d: %s: %s", e.File, e.Line, e.Key, e.Problem)
}

// maxShown bounds the message of a file that is wrong on every line.
const maxShown = 20

// Errors are all problems of one config file, in the order of its lines.
type Errors []*Error

func (es Errors) Error() string {
	lines := make([]string, 0, len(es))
	for i, e := range es {
		if i == maxShown {
			lines = append(lines, fmt.Sprintf("… and %d more problems", len(es)-maxShown))
			break
		}
		lines = append(lines, e.Error())
	}
	return strings.Join(lines, "\n")
}

func (es Errors) sorted() Errors {
	slices.SortStableFunc(es, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	return es
}

// Pos is where a value stands in its file. A struct that has a field of this
// type (tagged `yaml:"-"`) gets it filled in, for problems that only show later,
// such as a column that the table does not have.
type Pos struct {
	File string
	Line int
	Key  string
}

// Errorf makes the error for a problem with the value.
func (p Pos) Errorf(format string, args ...any) *Error {
	return &Error{File: p.File, Line: p.Line, Key: p.Key, Problem: fmt.Sprintf(format, args...)}
}

// At is the value that a Validator checks, as a place in its file.
type At struct {
	d    *decoder
	path string
	line int
}

// Errorf reports a problem with the part of the value under key, which may be
// dotted ("columns[0].name"); an empty key means the value itself.
func (a At) Errorf(key, format string, args ...any) {
	a.d.errorf(a.Line(key), join(a.path, key), format, args...)
}

// Line is the line of the part under key, or of the nearest thing around it
// that the file has.
func (a At) Line(key string) int { return lineOf(a.d.lines, a.path, key, a.line) }

func lineOf(lines map[string]int, path, key string, otherwise int) int {
	for p := join(path, key); len(p) > len(path); p = parent(p) {
		if line, ok := lines[p]; ok {
			return line
		}
	}
	return otherwise
}

// Has says whether the file itself has the key, as opposed to a default.
func (a At) Has(key string) bool {
	_, ok := a.d.lines[join(a.path, key)]
	return ok
}

// Resolve makes a path absolute or relative to the working directory, where the
// file has it relative to itself. A URL, such as that of an object, stays.
func (a At) Resolve(path string) string {
	if path == "" || filepath.IsAbs(path) || strings.Contains(path, "://") {
		return path
	}
	return filepath.Join(a.d.dir, path)
}

func join(path, key string) string {
	if path == "" || key == "" || strings.HasPrefix(key, "[") {
		return path + key
	}
	return path + "." + key
}

// parent cuts the last part off a dotted path.
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

// plainKey is a key that needs no quotes in a dotted path.
var plainKey = regexp.MustCompile(`^[\pL_][\pL\pN_/-]*$`)

func keyPath(key string) string {
	if plainKey.MatchString(key) {
		return key
	}
	return fmt.Sprintf("[%q]", clip(key))
}

// userinfo is the part of a URL that may hold a password. A value ends up in a
// message when it stands under the wrong key, which can happen to a DSN.
var userinfo = regexp.MustCompile(`://[^/@\s]*@`)

// quote shows a value of the file in a message.
func quote(s string) string {
	return fmt.Sprintf("%q", clip(userinfo.ReplaceAllString(s, "://<secret>@")))
}

func clip(s string) string {
	const limit = 60
	for i := range s {
		if i >= limit {
			return s[:i] + "…"
		}
	}
	return s
}

// nearest returns the known key that key was probably meant to be, or "".
func nearest(key string, known []string) string {
	best, bestDistance := "", max(len(key)/3, 1)+1
	for _, k := range known {
		if d := distance(key, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is the number of single-byte edits between a and b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
