package imports

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/exporters/dataquality"
)

// suite is a suite of Great Expectations, of version 1 or earlier.
type suite struct {
	Name         string        `yaml:"name"`
	OldName      string        `yaml:"expectation_suite_name"`
	Expectations []expectation `yaml:"expectations"`
}

type expectation struct {
	Type     string               `yaml:"type"`
	OldType  string               `yaml:"expectation_type"`
	Severity string               `yaml:"severity"`
	Kwargs   map[string]yaml.Node `yaml:"kwargs"`
}

// GX imports a suite of Great Expectations for one table.
func GX(file string, data []byte, dataset string, o Options) ([]Dataset, error) {
	if !json.Valid(data) {
		return nil, fmt.Errorf("%s: not JSON; want a suite as Great Expectations stores it, under gx/expectations", file)
	}
	var s suite
	// JSON is YAML, and YAML nodes keep numbers as written.
	if err := yaml.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s: not a suite of Great Expectations: %w", file, err)
	}
	if len(s.Expectations) == 0 {
		return nil, fmt.Errorf("%s: no expectations; want a suite as Great Expectations stores it, under gx/expectations", file)
	}
	name := firstOf(dataset, s.Name, s.OldName)
	if name == "" {
		return nil, fmt.Errorf("%s: the suite has no name; want --dataset", file)
	}
	d := Dataset{Name: name, Source: o.Source, Table: o.table(name)}
	for _, e := range s.Expectations {
		d.expect(e)
	}
	return []Dataset{d}, nil
}

func (e expectation) text(key string) string {
	n := e.Kwargs[key]
	if n.ShortTag() == "!!null" {
		return ""
	}
	return n.Value
}

func (e expectation) values(key string) []yaml.Node {
	n := e.Kwargs[key]
	return test{arguments: map[string]yaml.Node{key: n}}.values(key)
}

// mostly returns the share of rows that may break the expectation.
func (e expectation) mostly() float64 {
	n, ok := e.Kwargs["mostly"]
	var share float64
	if !ok || n.Decode(&share) != nil || n.ShortTag() == "!!null" {
		return 0
	}
	return math.Round((1-share)*1e9) / 1e9
}

// expect adds an expectation, or a note.
func (d *Dataset) expect(e expectation) {
	kind := firstOf(e.Type, e.OldType)
	name := e.text("column")
	short := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(kind, "expect_"), "column_values_to_"), "column_value_")
	what := strings.TrimSpace(name + " " + strings.ReplaceAll(short, "_", " "))
	for _, n := range e.Kwargs {
		if n.Kind == yaml.MappingNode {
			d.note("%s: a parameter is filled in when the suite runs", what)
			return
		}
	}
	if e.text("row_condition") != "" {
		d.note("%s: it has a row_condition; write both as sql", what)
		return
	}
	c := dataquality.CheckConfig{MaxRatio: e.mostly(), Column: name}
	if e.Severity == "critical" {
		c.Severity = e.Severity
	}
	sql := func(format string, args ...any) {
		c.Column, c.SQL = "", fmt.Sprintf(format, args...)
		d.check(c, what)
	}
	in := column(name)
	switch kind {
	case "expect_column_values_to_not_be_null":
		c.NotNull = true
		d.check(c, what)
	case "expect_column_values_to_be_unique":
		d.key(name)
	case "expect_compound_columns_to_be_unique":
		var columns []string
		for _, v := range e.values("column_list") {
			columns = append(columns, v.Value)
		}
		d.key(columns...)
	case "expect_column_values_to_be_in_set":
		c.In = literals(e.values("value_set"))
		d.check(c, what)
	case "expect_column_values_to_not_be_in_set":
		sql("%s NOT IN (%s)", in, list(e.values("value_set")))
	case "expect_column_values_to_match_regex":
		c.Matches = e.text("regex")
		d.check(c, what)
	case "expect_column_values_to_be_between":
		if e.text("strict_min") != "true" && e.text("strict_max") != "true" {
			c.AtLeast, c.AtMost = dataquality.Literal(e.text("min_value")), dataquality.Literal(e.text("max_value"))
			d.check(c, what)
			return
		}
		sql("%s", e.bounds(in, true))
	case "expect_column_value_lengths_to_be_between":
		sql("%s", e.bounds("length("+in+")", false))
	case "expect_column_value_lengths_to_equal":
		sql("length(%s) = %s", in, e.text("value"))
	case "expect_column_pair_values_a_to_be_greater_than_b":
		operator := ">"
		if e.text("or_equal") == "true" {
			operator = ">="
		}
		what = fmt.Sprintf("%s %s %s", e.text("column_A"), operator, e.text("column_B"))
		sql("%s %s %s", column(e.text("column_A")), operator, column(e.text("column_B")))
	case "expect_table_row_count_to_be_between", "expect_table_row_count_to_equal":
		d.note("%s: MLDatasetVolumeAnomaly watches the number of rows", what)
	case "expect_column_to_exist", "expect_table_columns_to_match_set", "expect_table_columns_to_match_ordered_list", "expect_column_values_to_be_of_type", "expect_column_values_to_be_in_type_list":
		d.note("%s: MLDatasetSchemaChanged watches columns and types; list them under schema to fix what is expected", what)
	default:
		d.note("%s (%s): there is no such check here; write its condition as sql", what, kind)
	}
}

// bounds returns the SQL condition for the expectation's bounds.
func (e expectation) bounds(expr string, strict bool) string {
	var parts []string
	for _, b := range []struct{ key, strict, operator string }{{"min_value", "strict_min", ">"}, {"max_value", "strict_max", "<"}} {
		n := e.Kwargs[b.key]
		if e.text(b.key) == "" {
			continue
		}
		operator := b.operator + "="
		if strict && e.text(b.strict) == "true" {
			operator = b.operator
		}
		parts = append(parts, expr+" "+operator+" "+value(&n))
	}
	return strings.Join(parts, " AND ")
}
