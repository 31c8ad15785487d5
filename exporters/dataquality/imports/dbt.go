package imports

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/exporters/dataquality"
)

// properties are the fields of a dbt properties file that define tests.
type properties struct {
	Models    []model `yaml:"models"`
	Seeds     []model `yaml:"seeds"`
	Snapshots []model `yaml:"snapshots"`
	Sources   []struct {
		Name   string  `yaml:"name"`
		Schema string  `yaml:"schema"`
		Tables []model `yaml:"tables"`
	} `yaml:"sources"`
}

type model struct {
	Name       string `yaml:"name"`
	Identifier string `yaml:"identifier"`
	Config     struct {
		Alias  string `yaml:"alias"`
		Schema string `yaml:"schema"`
	} `yaml:"config"`
	Tests     []yaml.Node `yaml:"tests"`
	DataTests []yaml.Node `yaml:"data_tests"`
	Columns   []struct {
		Name      string      `yaml:"name"`
		Tests     []yaml.Node `yaml:"tests"`
		DataTests []yaml.Node `yaml:"data_tests"`
	} `yaml:"columns"`
}

// test is a generic test with its arguments. Since dbt 1.10.5 they are under the key arguments, before that beside config.
type test struct {
	kind, column string
	name         string
	config       map[string]yaml.Node
	arguments    map[string]yaml.Node
}

// DBT imports the tests of a dbt properties file: dbt's four generic tests, and those of dbt_utils that have a counterpart.
func DBT(file string, data []byte, o Options) ([]Dataset, error) {
	var p properties
	if err := yaml.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("%s: not a dbt properties file: %w", file, err)
	}
	o.schemas = make(map[string]string)
	for _, s := range p.Sources {
		o.schemas[s.Name] = s.Schema
	}
	var datasets []Dataset
	add := func(m model, schema, name string) error {
		if schema == "" {
			schema = o.Schema
		}
		d := Dataset{Name: name, Source: o.Source, Table: Options{Schema: schema}.table(firstOf(m.Identifier, m.Config.Alias, m.Name))}
		tests := func(column string, nodes ...yaml.Node) error {
			for i := range nodes {
				t, err := readTest(&nodes[i], column)
				if err != nil {
					return fmt.Errorf("%s:%d: %s: %w", file, nodes[i].Line, m.Name, err)
				}
				d.dbt(t, o)
			}
			return nil
		}
		if err := tests("", append(m.Tests, m.DataTests...)...); err != nil {
			return err
		}
		for _, c := range m.Columns {
			if err := tests(c.Name, append(c.Tests, c.DataTests...)...); err != nil {
				return err
			}
		}
		if len(d.Keys)+len(d.Checks)+len(d.Notes) > 0 {
			datasets = append(datasets, d)
		}
		return nil
	}
	for _, models := range [][]model{p.Models, p.Seeds, p.Snapshots} {
		for _, m := range models {
			if err := add(m, m.Config.Schema, m.Name); err != nil {
				return nil, err
			}
		}
	}
	for _, s := range p.Sources {
		for _, m := range s.Tables {
			if err := add(m, firstOf(s.Schema, s.Name), s.Name+"."+m.Name); err != nil {
				return nil, err
			}
		}
	}
	if len(datasets) == 0 {
		return nil, fmt.Errorf("%s: no tests; want a dbt properties file whose models, seeds, snapshots or sources have data_tests or tests", file)
	}
	return datasets, nil
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func readTest(n *yaml.Node, column string) (test, error) {
	t := test{column: column, config: map[string]yaml.Node{}, arguments: map[string]yaml.Node{}}
	if n.Kind == yaml.ScalarNode {
		t.kind = n.Value
		return t, nil
	}
	var fields map[string]yaml.Node
	if err := n.Decode(&fields); err != nil {
		return t, fmt.Errorf("a test is neither a name nor a map: %w", err)
	}
	body := fields
	if kind, ok := fields["test_name"]; ok {
		t.kind = kind.Value
	} else if len(fields) == 1 {
		for kind, b := range fields {
			t.kind, body = kind, nil
			if b.Kind == yaml.MappingNode {
				if err := b.Decode(&body); err != nil {
					return t, err
				}
			}
		}
	} else {
		// The older form has config beside the test: {unique: {}, config: …}.
		for kind, b := range fields {
			if kind == "config" || kind == "name" || kind == "description" {
				continue
			}
			if t.kind != "" {
				return t, fmt.Errorf("a test with two names, %q and %q", t.kind, kind)
			}
			t.kind = kind
			var own map[string]yaml.Node
			if b.Kind == yaml.MappingNode {
				if err := b.Decode(&own); err != nil {
					return t, err
				}
			}
			for k, v := range own {
				fields[k] = v
			}
		}
	}
	for k, v := range body {
		switch k {
		case "name":
			t.name = v.Value
		case "config", "arguments":
			into := t.config
			if k == "arguments" {
				into = t.arguments
			}
			var inner map[string]yaml.Node
			if err := v.Decode(&inner); err != nil {
				return t, fmt.Errorf("%s of test %q: %w", k, t.kind, err)
			}
			for k, v := range inner {
				into[k] = v
			}
		case "severity", "where", "error_if", "warn_if", "limit", "enabled":
			t.config[k] = v
		default:
			t.arguments[k] = v
		}
	}
	return t, nil
}

func (t test) argument(key string) string { n := t.arguments[key]; return n.Value }
func (t test) setting(key string) string  { n := t.config[key]; return n.Value }

func (t test) values(key string) []yaml.Node {
	n := t.arguments[key]
	nodes := make([]yaml.Node, len(n.Content))
	for i, c := range n.Content {
		nodes[i] = *c
	}
	return nodes
}

var (
	refCall    = regexp.MustCompile(`^(?:\{\{)?\s*ref\(\s*(?:['"][^'"]+['"]\s*,\s*)?['"]([^'"]+)['"]\s*\)\s*(?:\}\})?$`)
	sourceCall = regexp.MustCompile(`^(?:\{\{)?\s*source\(\s*['"]([^'"]+)['"]\s*,\s*['"]([^'"]+)['"]\s*\)\s*(?:\}\})?$`)
)

// dbt adds one dbt test, or a note.
func (d *Dataset) dbt(t test, o Options) {
	what := strings.TrimSpace(t.column + " " + t.kind)
	name := firstOf(t.name, what)
	where := t.setting("where")
	if strings.Contains(where+t.argument("expression"), "{{") {
		d.note("%s: its condition has Jinja, which only dbt can fill in", what)
		return
	}
	if t.setting("enabled") == "false" {
		d.note("%s: it is not enabled", what)
		return
	}
	c := dataquality.CheckConfig{Severity: map[string]string{"error": "critical"}[strings.ToLower(t.setting("severity"))]}
	for _, key := range []string{"error_if", "warn_if"} {
		if v := t.setting(key); v != "" {
			d.note("%s of %s: %q is a number of rows; give the check a max_ratio", key, what, v)
		}
	}
	c.Where = where
	switch kind := strings.TrimPrefix(t.kind, "dbt."); {
	case kind == "unique" && where == "" && t.column != "":
		d.key(t.column)
	case kind == "dbt_utils.unique_combination_of_columns" && where == "":
		var columns []string
		for _, v := range t.values("combination_of_columns") {
			columns = append(columns, v.Value)
		}
		d.key(columns...)
	case kind == "not_null":
		c.Column, c.NotNull = t.column, true
		d.check(c, name)
	case kind == "accepted_values":
		c.Column, c.In = t.column, literals(t.values("values"))
		d.check(c, name)
	case kind == "relationships":
		c.Column, c.References = t.column, &dataquality.ReferenceConfig{To: t.argument("field")}
		to := strings.TrimSpace(t.argument("to"))
		if m := refCall.FindStringSubmatch(to); m != nil {
			c.References.Table = o.table(m[1])
		} else if m := sourceCall.FindStringSubmatch(to); m != nil {
			c.References.Table = Options{Schema: firstOf(o.schemas[m[1]], m[1])}.table(m[2])
		} else {
			d.note("%s: %q is neither ref('model') nor source('name', 'table')", what, to)
			return
		}
		d.check(c, name)
	case kind == "dbt_utils.accepted_range" && t.argument("inclusive") != "false":
		c.Column, c.AtLeast, c.AtMost = t.column, dataquality.Literal(t.argument("min_value")), dataquality.Literal(t.argument("max_value"))
		d.check(c, name)
	case kind == "dbt_utils.expression_is_true":
		c.SQL = strings.TrimSpace(t.column + " " + t.argument("expression"))
		d.check(c, name)
	case where != "" && strings.Contains(kind, "unique"):
		d.note("%s: it has a where, which a key cannot have here; write a dataset with a query", what)
	default:
		d.note("%s: there is no such check here; write its condition as sql", what)
	}
}
