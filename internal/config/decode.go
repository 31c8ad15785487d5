package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decoder walks the document and the Go value in parallel. The YAML library's own decoder does not report the position of every error,
// and cannot run defaults and checks at the right time. Here every problem has a line and a key.
type decoder struct {
	file, dir string
	lines     map[string]int // of every value in the document, by dotted key
	errs      Errors
	notes     *[]Note      // problems that do not make the document invalid
	nodes     int          // visited so far
	over      bool         // the limit of nodes or depth was exceeded; reported once
	open      []*yaml.Node // anchored nodes that enclose the current one
}

func (d *decoder) errorf(line int, path, format string, args ...any) {
	d.errs = append(d.errs, &Error{File: d.file, Line: line, Key: path, Problem: fmt.Sprintf(format, args...)})
}

var (
	nodeUnmarshaler = reflect.TypeFor[yaml.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	shorthandType   = reflect.TypeFor[Shorthand]()
	posType         = reflect.TypeFor[Pos]()
	docType         = reflect.TypeFor[Doc]()
)

// value decodes n into v, which must be addressable, and runs v's hooks.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string, depth int) {
	if d.spent(n, path, depth) {
		return
	}
	if n.Kind == yaml.AliasNode {
		if slices.Contains(d.open, n.Alias) {
			d.errorf(n.Line, path, "the alias *%s stands inside its own anchor", n.Value)
			return
		}
		d.value(n.Alias, v, path, depth+1)
		return
	}
	if n.Anchor != "" {
		d.open = append(d.open, n)
		defer func() { d.open = d.open[:len(d.open)-1] }()
	}
	if path != "" {
		d.lines[path] = n.Line
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path, depth+1)
		return
	}
	before := len(d.errs)
	if def, ok := v.Addr().Interface().(Defaulter); ok {
		def.SetDefaults()
	}
	switch {
	case isNull(n):
		d.errorf(n.Line, path, "has no value; want %s, or leave the key out", want(v.Type()))
	case v.Addr().Type().Implements(nodeUnmarshaler):
		if err := v.Addr().Interface().(yaml.Unmarshaler).UnmarshalYAML(n); err != nil {
			d.errorf(n.Line, path, "%v", err)
		}
	case v.Addr().Type().Implements(textUnmarshaler):
		if n.Kind != yaml.ScalarNode {
			d.mismatch(n, v, path)
		} else if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
			d.errorf(n.Line, path, "%v", err)
		}
	case v.Kind() == reflect.Struct:
		d.structure(n, v, path, depth)
	case v.Kind() == reflect.Map:
		d.mapping(n, v, path, depth)
	case v.Kind() == reflect.Slice:
		d.sequence(n, v, path, depth)
	case v.Kind() == reflect.Interface:
		// Settings of another library, which validates them itself.
		if err := n.Decode(v.Addr().Interface()); err != nil {
			d.errorf(n.Line, path, "%v", err)
		}
	default:
		d.scalar(n, v, path)
	}
	if check, ok := v.Addr().Interface().(Validator); ok && len(d.errs) == before {
		check.Validate(At{d: d, path: path, line: n.Line})
	}
}

// spent reports whether the document exceeds a limit. Aliases can make a short file describe billions of values.
func (d *decoder) spent(n *yaml.Node, path string, depth int) bool {
	d.nodes++
	if !d.over && (d.nodes > maxNodes || depth > maxDepth) {
		d.over = true
		d.errorf(n.Line, path, "the document is too large or too deep once aliases are followed")
	}
	return d.over
}

func (d *decoder) mismatch(n *yaml.Node, v reflect.Value, path string) {
	d.errorf(n.Line, path, "%s; want %s", got(n), want(v.Type()))
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind == yaml.ScalarNode && v.Addr().Type().Implements(shorthandType) {
		key := yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v.Addr().Interface().(Shorthand).Shorthand(), Line: n.Line}
		n = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line, Content: []*yaml.Node{&key, n}}
	}
	if n.Kind != yaml.MappingNode {
		d.mismatch(n, v, path)
		return
	}
	fields := d.fieldsOf(v, path, n.Line)
	known := make([]string, 0, len(fields))
	for _, f := range fields {
		known = append(known, f.key)
	}
	pairs := d.pairs(n, path)
	for _, p := range pairs.list {
		if slices.Contains(known, p.key) {
			continue
		}
		if near := nearest(p.key, known); near != "" {
			d.errorf(p.line, join(path, keyPath(p.key)), "unknown key; did you mean %q?", near)
		} else {
			d.errorf(p.line, join(path, keyPath(p.key)), "unknown key; known here: %s", strings.Join(known, ", "))
		}
	}
	// In the order of the struct, so that validation and messages do not depend on the order of the keys in the file.
	for _, f := range fields {
		p, ok := pairs.get(f.key)
		switch {
		case ok:
			d.value(p.value, f.value, join(path, keyPath(f.key)), depth+1)
			d.lines[join(path, keyPath(f.key))] = p.line
		case f.value.Kind() == reflect.Struct && !f.value.Addr().Type().Implements(nodeUnmarshaler):
			d.absent(f.value, join(path, keyPath(f.key)), n.Line, depth+1)
		}
	}
}

// absent applies the defaults and checks of a struct that the document does not contain.
func (d *decoder) absent(v reflect.Value, path string, line, depth int) {
	if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return
	}
	d.value(&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: line}, v, path, depth)
	delete(d.lines, path)
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.MappingNode {
		d.mismatch(n, v, path)
		return
	}
	t := v.Type()
	if t.Key().Kind() != reflect.String {
		d.errorf(n.Line, path, "cannot be decoded into %s", t)
		return
	}
	out := reflect.MakeMap(t)
	for _, p := range d.pairs(n, path).list {
		element := reflect.New(t.Elem()).Elem()
		at := join(path, keyPath(p.key))
		d.value(p.value, element, at, depth+1)
		d.lines[at] = p.line
		out.SetMapIndex(reflect.ValueOf(p.key).Convert(t.Key()), element)
	}
	v.Set(out)
}

func (d *decoder) sequence(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.SequenceNode {
		d.mismatch(n, v, path)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.value(item, out.Index(i), join(path, "["+strconv.Itoa(i)+"]"), depth+1)
	}
	v.Set(out)
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.mismatch(n, v, path)
		return
	}
	tag, ok := n.ShortTag(), false
	switch v.Kind() {
	case reflect.String:
		// 1.10 and 2026-01-01 under a text key are read as text.
		if ok = slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}, tag); ok {
			v.SetString(n.Value)
		}
	case reflect.Bool:
		ok = tag == "!!bool" && n.Decode(v.Addr().Interface()) == nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		ok = tag == "!!int" && n.Decode(v.Addr().Interface()) == nil
	case reflect.Float32, reflect.Float64:
		ok = (tag == "!!int" || tag == "!!float") && n.Decode(v.Addr().Interface()) == nil
	default: // a config type has no other kinds
	}
	if !ok {
		d.mismatch(n, v, path)
	}
}

type pair struct {
	key   string
	line  int
	value *yaml.Node
}

// pairs are the keys of a mapping in the order of the document.
type pairs struct {
	list []pair
	at   map[string]int
}

func (p *pairs) get(key string) (pair, bool) {
	i, ok := p.at[key]
	if !ok {
		return pair{}, false
	}
	return p.list[i], true
}

// pairs returns the keys of a mapping with merges (<<) applied. A key of the mapping itself takes precedence over a merged one, and an
// earlier merge over a later one.
func (d *decoder) pairs(n *yaml.Node, path string) *pairs {
	p := &pairs{at: map[string]int{}}
	d.merge(p, n, path, 0)
	return p
}

func (d *decoder) merge(p *pairs, n *yaml.Node, path string, depth int) {
	if d.spent(n, path, depth) {
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias // an alias never refers to another alias
	}
	if n.Kind != yaml.MappingNode {
		d.errorf(n.Line, path, "<< merges a mapping, or a list of mappings")
		return
	}
	inherited := len(p.list)
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			if value.Kind == yaml.SequenceNode {
				merged = append(merged, value.Content...)
			} else {
				merged = append(merged, value)
			}
			continue
		}
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			d.errorf(key.Line, path, "has a key that is not text")
			continue
		}
		known, ok := p.at[key.Value]
		switch {
		case !ok:
			p.at[key.Value] = len(p.list)
			p.list = append(p.list, pair{key.Value, key.Line, value})
		case known >= inherited:
			d.errorf(key.Line, join(path, keyPath(key.Value)), "is already set on line %d", p.list[known].line)
		}
	}
	for _, m := range merged {
		d.merge(p, m, path, depth+1)
	}
}

type field struct {
	key   string
	value reflect.Value
}

// fieldsOf returns the keys of a struct, including those of inlined structs, and fills in its Pos and its Doc.
func (d *decoder) fieldsOf(v reflect.Value, path string, line int) []field {
	var fields []field
	for i := range v.NumField() {
		f, fv := v.Type().Field(i), v.Field(i)
		if f.Type == posType && f.IsExported() {
			fv.Set(reflect.ValueOf(Pos{File: d.file, Line: line, Key: path}))
			continue
		}
		if f.Type == docType && f.IsExported() {
			fv.Set(reflect.ValueOf(Doc{file: d.file, path: path, line: line, lines: d.lines, notes: d.notes}))
			continue
		}
		key, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported() || key == "-":
		case slices.Contains(strings.Split(options, ","), "inline"):
			fields = append(fields, d.fieldsOf(fv, path, line)...)
		case key == "":
			fields = append(fields, field{strings.ToLower(f.Name), fv})
		default:
			fields = append(fields, field{key, fv})
		}
	}
	return fields
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// got describes the value in the document.
func got(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "is a mapping"
	case yaml.SequenceNode:
		return "is a list"
	default:
		return quote(n.Value)
	}
}

// want describes the value that the Go type expects.
func want(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if w, ok := reflect.New(t).Interface().(interface{ Want() string }); ok {
		return w.Want()
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "a mapping"
	case reflect.Slice:
		return "a list"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number, not negative"
	default:
		return "a whole number"
	}
}
