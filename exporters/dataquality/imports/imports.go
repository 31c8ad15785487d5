// Package imports turns the tests that a team has for its tables into keys and checks of the data-quality exporter.
//
// Input: a dbt properties file (schema.yml) or a suite of Great Expectations. Output: datasets of a configuration, and a note
// for each test that has no counterpart: nothing is left out silently. It owns no state and reads no database.
package imports

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/exporters/dataquality"
)

// Dataset is what a configuration says about one imported table.
type Dataset struct {
	Name   string                    `yaml:"name"`
	Source string                    `yaml:"source,omitempty"`
	Table  string                    `yaml:"table,omitempty"`
	Keys   [][]string                `yaml:"keys,omitempty,flow"`
	Checks []dataquality.CheckConfig `yaml:"checks,omitempty"`
	// Notes say what was not imported, and why.
	Notes []string `yaml:"-"`
}

// Options say where the imported tables are.
type Options struct {
	// Source is the name of the configuration's source.
	Source string
	// Schema is put before the names of tables, if it is not empty.
	Schema string
	// schemas are those of dbt's sources, where they differ from the source's name.
	schemas map[string]string
}

func (o Options) table(name string) string {
	if o.Schema == "" {
		return name
	}
	return o.Schema + "." + name
}

func (d *Dataset) note(format string, args ...any) {
	d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
}

// key adds a unique key, once.
func (d *Dataset) key(columns ...string) {
	if !slices.ContainsFunc(d.Keys, func(k []string) bool { return slices.Equal(k, columns) }) {
		d.Keys = append(d.Keys, columns)
	}
}

// check adds a check under its own name or one that no other has.
func (d *Dataset) check(c dataquality.CheckConfig, name string) {
	c.Name = name
	for i := 2; slices.ContainsFunc(d.Checks, func(o dataquality.CheckConfig) bool { return o.Name == c.Name }); i++ {
		c.Name = fmt.Sprintf("%s %d", name, i)
	}
	if c.Severity == "" {
		c.Severity = "warning"
	}
	d.Checks = append(d.Checks, c)
}

// Write writes the datasets as a part of a configuration, with the notes as comments.
func Write(w io.Writer, datasets []Dataset) error {
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(struct {
		Datasets []Dataset `yaml:"datasets"`
	}{datasets}); err != nil {
		return fmt.Errorf("write datasets: %w", err)
	}
	for _, d := range datasets {
		for _, n := range d.Notes {
			fmt.Fprintf(&b, "# %s: not imported: %s\n", d.Name, strings.Join(strings.Fields(n), " "))
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// column is a column's name in SQL.
func column(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// list are values in SQL: text quoted, all else as it is written.
func list(values []yaml.Node) string {
	texts := make([]string, len(values))
	for i := range values {
		texts[i] = value(&values[i])
	}
	return strings.Join(texts, ", ")
}

func value(n *yaml.Node) string {
	switch n.ShortTag() {
	case "!!int", "!!float":
		return n.Value
	case "!!bool":
		return strings.ToLower(n.Value)
	}
	return "'" + strings.ReplaceAll(n.Value, "'", "''") + "'"
}

func literals(values []yaml.Node) []dataquality.Literal {
	ls := make([]dataquality.Literal, len(values))
	for i, v := range values {
		ls[i] = dataquality.Literal(v.Value)
	}
	return ls
}
