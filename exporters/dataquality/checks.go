package dataquality

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// Literal is a value as written in the file, whatever its YAML type.
type Literal string

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Literal) UnmarshalText(text []byte) error {
	*l = Literal(text)
	return nil
}

// CheckConfig is a condition that every row should fulfil. It has exactly one of the conditions below; all but sql need a
// column.
type CheckConfig struct {
	config.Pos `yaml:"-"`

	// Name is the value of the label check. If empty, it is made of the column and the condition.
	Name    string    `yaml:"name,omitempty"`
	Column  string    `yaml:"column,omitempty"`
	NotNull bool      `yaml:"not_null,omitempty"`
	In      []Literal `yaml:"in,omitempty"`
	Between []Literal `yaml:"between,omitempty"`
	AtLeast Literal   `yaml:"at_least,omitempty"`
	AtMost  Literal   `yaml:"at_most,omitempty"`
	Matches string    `yaml:"matches,omitempty"`
	SQL     string    `yaml:"sql,omitempty"`
	// Where is an SQL condition that selects the rows to check; empty selects all rows.
	Where    string `yaml:"where,omitempty"`
	Severity string `yaml:"severity,omitempty"`
	// MaxRatio is the tolerated share of rows that break the check.
	MaxRatio   float64          `yaml:"max_ratio,omitempty"`
	References *ReferenceConfig `yaml:"references,omitempty"`
}

// ReferenceConfig is the table that must contain the values of the column: another dataset of the configuration, or a table
// of the same source that is named here.
type ReferenceConfig struct {
	Dataset     string `yaml:"dataset,omitempty"`
	TableConfig `yaml:",inline"`
	// To is the column of the referenced table; by default it has the name of the checked column.
	To string `yaml:"to,omitempty"`
}

// Severities of checks. The alerts have the same ones.
const (
	critical = "critical"
	warning  = "warning"
)

// SetDefaults implements config.Defaulter.
func (c *CheckConfig) SetDefaults() { c.Severity = warning }

// Validate implements config.Validator.
func (c *CheckConfig) Validate(at config.At) {
	var given []string
	for _, k := range []struct {
		name  string
		given bool
	}{
		{"not_null", c.NotNull},
		{"in", len(c.In) > 0},
		{"between", len(c.Between) > 0},
		{"at_least", c.AtLeast != "" && c.AtMost == ""},
		{"at_most", c.AtMost != "" && c.AtLeast == ""},
		{"at_least and at_most", c.AtLeast != "" && c.AtMost != ""},
		{"matches", c.Matches != ""},
		{"references", c.References != nil},
		{"sql", c.SQL != ""},
	} {
		if k.given {
			given = append(given, k.name)
		}
	}
	if len(given) != 1 {
		at.Errorf("", "conditions %q; want exactly one of not_null, in, between, at_least, at_most, matches, references and sql", given)
		return
	}
	if (c.SQL == "") == (c.Column == "") {
		at.Errorf("column", "%q; want the column of the condition, or none for sql, which names its own", c.Column)
	}
	if len(c.Between) > 0 {
		if len(c.Between) != 2 {
			at.Errorf("between", "%d values; want the lowest and the highest one, as in [0, 100], or at_least or at_most alone", len(c.Between))
		} else {
			c.AtLeast, c.AtMost = c.Between[0], c.Between[1]
		}
	}
	if len(c.In) > maxAccepted {
		at.Errorf("in", "%d values; want %d or fewer, or references to a table of them", len(c.In), maxAccepted)
	}
	if _, err := regexp.Compile(c.Matches); err != nil {
		at.Errorf("matches", "%v; want a regular expression such as ^[A-Z]{3}$", err)
	}
	if c.Severity != warning && c.Severity != critical {
		at.Errorf("severity", "unknown severity %q; want warning or critical", c.Severity)
	}
	ratio(at, "max_ratio", &c.MaxRatio)
	if c.Name == "" {
		c.Name = c.Column + " " + given[0]
	}
	if len(c.Name) > maxNameBytes {
		at.Errorf("name", "%d bytes; want %d or fewer", len(c.Name), maxNameBytes)
	}
}

// Validate implements config.Validator.
func (r *ReferenceConfig) Validate(at config.At) {
	switch {
	case r.Dataset == "":
		r.TableConfig.Validate(at)
	case !reflect.ValueOf(r.TableConfig).IsZero():
		at.Errorf("dataset", "%q is a dataset of this configuration and brings its own table; want nothing beside it but to", r.Dataset)
	}
}

// Limits of the configuration of one dataset.
const (
	maxAccepted  = 1000
	maxNameBytes = 128
	maxChecks    = 200
	maxKeys      = 20
)

func (d *DatasetConfig) validateChecks(at config.At) {
	if len(d.Keys) > maxKeys {
		at.Errorf("keys", "%d keys; want %d or fewer", len(d.Keys), maxKeys)
	}
	for _, k := range d.Keys {
		if len(k) == 0 {
			at.Errorf("keys", "a key without columns; want [[column, …], …]")
		}
	}
	if d.KeysExactRows < 0 {
		at.Errorf("keys_exact_rows", "%d; want a number of rows from 0", d.KeysExactRows)
	}
	if !at.Has("keys_exact_rows") {
		d.KeysExactRows = 20_000_000
	}
	if len(d.Checks) > maxChecks {
		at.Errorf("checks", "%d checks; want %d or fewer", len(d.Checks), maxChecks)
	}
	names := make(map[string]int)
	for i, c := range d.Checks {
		if first, twice := names[c.Name]; twice {
			at.Errorf(field("checks", i, "name"), "%q is also the name of checks[%d]; want different names", c.Name, first)
		}
		names[c.Name] = i
	}
}

// resolveReferences sets the tables of a dataset's references.
func (c *Config) resolveReferences(at config.At, i int, names map[string]int) {
	d := &c.Datasets[i]
	for j := range d.Checks {
		r := d.Checks[j].References
		if r == nil {
			continue
		}
		key := field("datasets", i, field("checks", j, "references"))
		if r.Dataset != "" {
			k, ok := names[r.Dataset]
			if !ok {
				at.Errorf(key+".dataset", "unknown dataset %q; want one of %q", r.Dataset, slices.Sorted(maps.Keys(names)))
				continue
			}
			r.TableConfig = c.Datasets[k].TableConfig
		}
		fill(&r.Source, d.Source)
		if r.Source != d.Source {
			at.Errorf(key, "the table is in source %q and this one in %q; want one source, which joins them", r.Source, d.Source)
		}
	}
}

// checks returns the checks of a dataset in the form that package tables runs.
func (r *connections) checks(cfg DatasetConfig, source *tables.Source) ([]tables.Check, error) {
	checks := make([]tables.Check, len(cfg.Checks))
	for i, c := range cfg.Checks {
		checks[i] = tables.Check{
			Name: c.Name, Column: c.Column, NotNull: c.NotNull, AtLeast: string(c.AtLeast), AtMost: string(c.AtMost), Matches: c.Matches, SQL: c.SQL, Where: c.Where,
		}
		for _, v := range c.In {
			checks[i].In = append(checks[i].In, string(v))
		}
		if c.References != nil {
			relation, err := c.References.relation(source)
			if err != nil {
				return nil, fmt.Errorf("check %q: %w", c.Name, err)
			}
			checks[i].References, checks[i].ReferencedColumn = &relation, cmp.Or(c.References.To, c.Column)
		}
	}
	return checks, nil
}

// countDuplicates counts the rows with a repeated key.
func (d *dataset) countDuplicates(ctx context.Context, c *cycle) error {
	var errs []error
	for _, key := range d.cfg.Keys {
		n, err := d.source.Duplicates(ctx, d.relation, c.schema, c.window, key, c.profile.Rows, d.cfg.KeysExactRows)
		if err != nil {
			errs = append(errs, fmt.Errorf("key %q: %w", keyName(key), err))
			n.Sample = 0 // Not counted.
		}
		c.duplicates = append(c.duplicates, n)
	}
	return errors.Join(errs...)
}

func keyName(key []string) string { return strings.Join(key, ", ") }

// runChecks counts the rows that break each check.
func (d *dataset) runChecks(ctx context.Context, c *cycle) error {
	if len(c.segments) == 0 { // With segments, countOfSegments has set the sum.
		var err error
		if c.checked, err = d.source.Check(ctx, d.relation, c.schema, c.window, d.checks); err != nil {
			return err
		}
	}
	return d.noteChecked(c)
}

// noteChecked returns the errors of checks that could not be counted. It also sets the count of records without a time, which
// no window contains.
func (d *dataset) noteChecked(c *cycle) error {
	var errs []error
	for i, check := range d.checks {
		switch n := &c.checked[i]; {
		case n.Err != nil:
			errs = append(errs, fmt.Errorf("check %q: %w", check.Name, n.Err))
		case check.NotNull && check.Column == d.cfg.TimestampColumn:
			n.BrokenRows = c.outside.Untimed
		}
	}
	return errors.Join(errs...)
}

// checkMetrics publishes the counts of keys and checks. A count that failed has no series.
func (d *dataset) checkMetrics(m descs, c *cycle, gauge func(desc *prometheus.Desc, v float64, labels ...string)) {
	for i, n := range c.duplicates {
		if n.Sample > 0 {
			gauge(m.duplicates, float64(n.Rows), keyName(d.cfg.Keys[i]))
			gauge(m.duplicatesSample, n.Sample, keyName(d.cfg.Keys[i]))
		}
	}
	for i, check := range d.cfg.Checks {
		gauge(m.checkLimit, check.MaxRatio, check.Name, check.Severity)
		if c.checked != nil && c.checked[i].Err == nil {
			gauge(m.checkFailed, float64(c.checked[i].BrokenRows), check.Name)
		}
	}
}

// brokenCheck returns the first key or check whose limit the profile exceeds. Such a snapshot is not good.
func (d *dataset) brokenCheck(c *cycle) string {
	rows := float64(c.profile.Rows)
	for i, n := range c.duplicates {
		if float64(n.Rows)/rows > d.threshold(signalDuplicates, "") {
			return fmt.Sprintf("%d rows repeat the key %q", n.Rows, keyName(d.cfg.Keys[i]))
		}
	}
	for i, n := range c.checked {
		if check := d.cfg.Checks[i]; float64(n.BrokenRows)/rows > check.MaxRatio {
			return fmt.Sprintf("%d rows break the check %q", n.BrokenRows, check.Name)
		}
	}
	return ""
}
