// Package imports converts existing tests of tables into keys and checks of the data-quality exporter.
//
// Input: a dbt properties file (schema.yml) or a suite of Great Expectations. Output: datasets of a configuration, and a note
// for each test without a counterpart. State: none. It never reads a database and never drops a test without a note.
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
	"github.com/sightglass-ml/sightglass/internal/sqltext"
)

// Dataset is the configuration of one imported table.
type Dataset struct {
	Name   string                    `yaml:"name"`
	Source string                    `yaml:"source,omitempty"`
	Table  string                    `yaml:"table,omitempty"`
	Keys   [][]string                `yaml:"keys,omitempty,flow"`
	Checks []dataquality.CheckConfig `yaml:"checks,omitempty"`
	// Notes name the tests that were not imported, with the reasons.
	Notes []string `yaml:"-"`
}

// Options locate the imported tables.
type Options struct {
	// Source is the name of the configuration's source.
	Source string
	// Schema, if set, is the prefix of table names.
	Schema string
	// schemas maps dbt sources to their schemas, where these differ from the source's name.
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

// check adds a check under the given name, with a number appended if the name is taken.
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

// column formats a column name for SQL.
func column(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return sqltext.Identifier(name)
}

// list formats values for SQL: text is quoted, numbers stay as written.
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
	return sqltext.Literal(n.Value)
}

func literals(values []yaml.Node) []dataquality.Literal {
	ls := make([]dataquality.Literal, len(values))
	for i, v := range values {
		ls[i] = dataquality.Literal(v.Value)
	}
	return ls
}
