package config

import (
	"cmp"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Error is one problem in a configuration file.
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

// maxListed limits the number of errors in one message.
const maxListed = 20

// Errors are all problems of one configuration file, sorted by line.
type Errors []*Error

func (es Errors) Error() string {
	lines := make([]string, 0, len(es))
	for i, e := range es {
		if i == maxListed {
			lines = append(lines, fmt.Sprintf("… and %d more problems", len(es)-maxListed))
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

// Pos is the position of a value in its file. The decoder fills in a field of this type (tagged `yaml:"-"`) of any struct. It is for
// problems that appear only later, such as a column that the table does not have.
type Pos struct {
	File string
	Line int
	Key  string
}

// Errorf returns an error about the value.
func (p Pos) Errorf(format string, args ...any) *Error {
	return &Error{File: p.File, Line: p.Line, Key: p.Key, Problem: fmt.Sprintf(format, args...)}
}

// At is the position of the value that a Validator checks.
type At struct {
	d    *decoder
	path string
	line int
}

// Errorf reports a problem with the value under key. The key may be dotted ("columns[0].name"); an empty key means the value itself.
func (a At) Errorf(key, format string, args ...any) {
	a.d.errorf(a.Line(key), join(a.path, key), format, args...)
}

// Line returns the line of the value under key, or of the nearest enclosing value in the file.
func (a At) Line(key string) int { return lineOf(a.d.lines, a.path, key, a.line) }

func lineOf(lines map[string]int, path, key string, otherwise int) int {
	for p := join(path, key); len(p) > len(path); p = parent(p) {
		if line, ok := lines[p]; ok {
			return line
		}
	}
	return otherwise
}

// Has reports whether the file itself contains the key.
func (a At) Has(key string) bool {
	_, ok := a.d.lines[join(a.path, key)]
	return ok
}

// Resolve makes a path that is relative to the configuration file absolute, or relative to the working directory. It does not change a
// URL.
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

// parent removes the last part of a dotted path.
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

// plainKey matches a key that needs no quotes in a dotted path.
var plainKey = regexp.MustCompile(`^[\pL_][\pL\pN_/-]*$`)

func keyPath(key string) string {
	if plainKey.MatchString(key) {
		return key
	}
	return fmt.Sprintf("[%q]", clip(key))
}

// userinfo matches the part of a URL that may contain a password. A DSN under a wrong key would otherwise appear in a message.
var userinfo = regexp.MustCompile(`://[^/@\s]*@`)

// quote formats a value of the file for a message.
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

// nearest returns the known key with the most similar spelling, or "".
func nearest(key string, known []string) string {
	best, bestDistance := "", max(len(key)/3, 1)+1
	for _, k := range known {
		if d := distance(key, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance returns the number of single-byte edits between a and b (Levenshtein).
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
