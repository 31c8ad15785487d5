// Package config reads strict YAML.
//
// Input: a configuration file. Output: either a validated Go value, or all problems of the file at once, each with file, line and
// dotted key. Unknown keys, missing units and values of the wrong type are problems, because an ignored typo in a monitoring
// configuration can be an alert that never fires. State: none. It never changes a file.
//
// A type can implement two optional methods on its pointer: Defaulter sets the default of each key that is not in the file, and
// Validator checks the values of the file.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Limits of a document. They are far above any configuration written by hand. They keep a wrong path (a core dump, a table) from
// using up the process's memory.
const (
	maxSize  = 10 << 20 // bytes
	maxNodes = 200_000  // after aliases are resolved
	maxDepth = 100
)

// Defaulter is implemented by types that have defaults. SetDefaults runs before the document's keys are applied. For a struct it runs
// even if the document does not contain it. The defaults of a nested value override those of the enclosing value.
type Defaulter interface{ SetDefaults() }

// Validator is implemented by types with rules beyond their Go type. Validate runs after the value and all its nested values were
// decoded without a problem, and reports through at. A problem of the file itself is an error; a problem of this machine, or a
// temporary one, is a Note.
type Validator interface{ Validate(at At) }

// Load reads the file and decodes it into a new T. An empty path means all defaults. If the file can be read but is not valid, the
// error is an Errors.
func Load[T any](path string) (T, error) {
	var v T
	if path == "" {
		return v, decodeNode("(defaults)", "", &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1}, &v)
	}
	f, err := os.Open(path)
	if err != nil {
		return v, fmt.Errorf("read config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return v, fmt.Errorf("read config: %w", err)
	}
	return v, Decode(path, data, &v)
}

// Decode decodes one document into v, a non-nil pointer. name is the file's name in messages; relative paths in the document are
// relative to its directory. After an error, v may be partly filled.
func Decode(name string, data []byte, v any) error {
	root, problem := parse(data)
	if problem != nil {
		problem.File = name
		return Errors{problem}
	}
	return decodeNode(name, filepath.Dir(name), root, v)
}

func decodeNode(name, dir string, root *yaml.Node, v any) error {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("config: decode into %T; want a non-nil pointer", v)
	}
	d := &decoder{file: name, dir: dir, lines: map[string]int{}, notes: &[]Note{}}
	d.value(root, p.Elem(), "", 0)
	if len(d.errs) == 0 {
		return nil
	}
	return d.errs.sorted()
}

// syntaxLine matches the position in the YAML library's messages.
var syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s:(.*))$`)

// parse returns the root of the only document in data.
func parse(data []byte) (root *yaml.Node, problem *Error) {
	if len(data) > maxSize {
		return nil, &Error{Line: 1, Problem: fmt.Sprintf("is larger than %d MiB; is this the right file?", maxSize>>20)}
	}
	if line := badLine(data); line > 0 {
		return nil, &Error{Line: line, Problem: "holds bytes that are not text in UTF-8; is this the right file?"}
	}
	// The library panics on some malformed input.
	defer func() {
		if r := recover(); r != nil {
			root, problem = nil, &Error{Line: 1, Problem: fmt.Sprintf("is not valid YAML: %v", r)}
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) || (err == nil && (len(doc.Content) == 0 || isNull(doc.Content[0]))) {
		return nil, &Error{Line: 1, Problem: "is empty"}
	}
	if err != nil {
		return nil, syntaxError(err)
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		return nil, &Error{Line: max(second.Line, 1), Problem: "starts a second document; a config is one document"}
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxError(err)
	}
	return doc.Content[0], nil
}

func syntaxError(err error) *Error {
	e := &Error{Line: 1, Problem: "is not valid YAML: " + err.Error()}
	if m := syntaxLine.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			e.Line = n
		}
		e.Problem = "is not valid YAML: " + m[2]
	}
	return e
}

// badLine returns the first line with a byte that is not valid in a text file, or 0.
func badLine(data []byte) int {
	line := 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 || r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f {
			return line
		}
		if r == '\n' {
			line++
		}
		i += size
	}
	return 0
}
