package tables

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// Choice says which columns of a relation get bins, and how many.
type Choice struct {
	// Include names columns that get bins whatever they look like; Exclude
	// names columns that do not. Both take the patterns of path.Match.
	Include, Exclude []string
	// Bins is the number of intervals of a numeric column.
	Bins int
	// Top is the number of categories with a bin of their own. An integer
	// column with no more values than that is counted by category.
	Top int
	// MaxColumns bounds the columns with bins; the first ones get them.
	MaxColumns int
}

// Cut is the outcome of choosing bins.
type Cut struct {
	Rows    int64
	Layouts map[string]binning.Layout
	// Left says of each column without bins why it has none.
	Left map[string]string
}

// Reasons why a column has no bins.
const (
	leftExcluded   = "excluded by the configuration"
	leftTime       = "the timestamp column; its freshness is watched"
	leftPartition  = "a column of the folders' names, each of whose values comes and goes"
	leftOpaque     = "of a type without bins"
	leftFreeText   = "looks like free text: too many different values"
	leftIdentifier = "looks like an identifier: nearly every value is different"
	leftLimit      = "past the limit of columns with bins"
)

// MatchesAny reports whether a column name matches one of the patterns.
func MatchesAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, name); p == name || ok && err == nil {
			return true
		}
	}
	return false
}

// Cut looks at the window and chooses the bins of each column: the intervals
// between quantiles for numbers, the most frequent categories for texts and
// booleans, ages for points in time. It takes one scan for the statistics of
// all columns, one for all quantiles and one for each categorical column.
// progress, if not nil, is told of each scan done out of the total.
func (s *Source) Cut(ctx context.Context, r Relation, schema []Column, w Window, choice Choice, progress func(done, total int)) (_ Cut, err error) {
	if r.virtual != nil {
		var drop func() error
		if r, drop, err = s.materialize(ctx, r, w); err != nil {
			return Cut{}, err
		}
		defer func() { err = errors.Join(err, drop()) }()
	}
	if progress == nil {
		progress = func(int, int) {}
	}
	c := Cut{Layouts: make(map[string]binning.Layout), Left: make(map[string]string)}
	where, err := s.condition(r, schema, w)
	if err != nil {
		return Cut{}, err
	}
	sc, err := s.from(ctx, r, schema)
	if errors.Is(err, errEmpty) {
		return c, nil
	}
	if err != nil {
		return Cut{}, fmt.Errorf("choose bins: %w", err)
	}
	source := sc.from + " AS t" + where

	var candidates []Column
	for _, column := range schema {
		switch {
		case MatchesAny(choice.Exclude, column.Name):
			c.Left[column.Name] = leftExcluded
		case column.Name == r.Time:
			c.Left[column.Name] = leftTime
		case column.partition && !MatchesAny(choice.Include, column.Name):
			c.Left[column.Name] = leftPartition
		case column.Class == Opaque:
			c.Left[column.Name] = leftOpaque
		case len(candidates) >= choice.MaxColumns:
			c.Left[column.Name] = leftLimit
		default:
			candidates = append(candidates, column)
		}
	}
	stats, rows, err := s.columnStats(ctx, source, candidates)
	if err != nil {
		return Cut{}, fmt.Errorf("choose bins: %w", err)
	}
	c.Rows = rows

	var numeric, categorical []Column
	for _, column := range candidates {
		switch kind, left := chooseKind(column, stats[column.Name], choice); kind {
		case binning.Numeric:
			numeric = append(numeric, column)
		case binning.Categorical:
			categorical = append(categorical, column)
		case binning.Aged:
			c.Layouts[column.Name] = binning.NewAged()
		default:
			c.Left[column.Name] = left
		}
	}
	total := len(categorical) + 2
	progress(1, total)
	if err := s.cutNumeric(ctx, source, numeric, choice.Bins, c.Layouts); err != nil {
		return Cut{}, fmt.Errorf("choose bins: quantiles: %w", err)
	}
	progress(2, total)
	for i, column := range categorical {
		if c.Layouts[column.Name], err = s.cutCategorical(ctx, source, column, choice.Top); err != nil {
			return Cut{}, fmt.Errorf("choose bins: categories of column %q: %w", column.Name, err)
		}
		progress(3+i, total)
	}
	return c, nil
}

// columnStats is what decides the kind of a column's bins.
type columnStats struct{ values, distinct int64 }

func (s *Source) columnStats(ctx context.Context, source string, columns []Column) (map[string]columnStats, int64, error) {
	exprs := []string{"count(*)"}
	for _, c := range columns {
		name := s.dialect.identifier(c.Name)
		exprs = append(exprs, s.dialect.array([]string{"count(" + name + ")", s.dialect.distinct(name)}))
	}
	row, err := s.one(ctx, "SELECT "+strings.Join(exprs, ",\n  ")+"\nFROM "+source, len(exprs))
	if err != nil {
		return nil, 0, err
	}
	rows, err := toInt(row[0])
	if err != nil {
		return nil, 0, fmt.Errorf("rows: %w", err)
	}
	stats := make(map[string]columnStats, len(columns))
	for i, c := range columns {
		v, err := toInts(row[1+i])
		if err != nil {
			return nil, 0, fmt.Errorf("column %q: %w", c.Name, err)
		}
		stats[c.Name] = columnStats{values: v[0], distinct: v[1]}
	}
	return stats, rows, nil
}

// fewValues is the number of values below which a column is too small to call
// its values identifiers only since all of them differ.
const fewValues = 100

func chooseKind(c Column, st columnStats, choice Choice) (kind binning.Kind, left string) {
	// Databases estimate the number of distinct values. DuckDB's estimate of 20000
	// different ones was between 64 and 161 percent of it, so a name that says the
	// same as the estimate needs less of it: the bins of a key are a drift for ever.
	unique := st.values >= fewValues && st.distinct*4 >= st.values*3
	mostlyUnique := st.values >= fewValues && st.distinct*2 >= st.values
	included := MatchesAny(choice.Include, c.Name)
	switch c.Class {
	case Timestamp, TimestampTZ, Date:
		return binning.Aged, ""
	case Float, Decimal:
		return binning.Numeric, ""
	case Boolean:
		return binning.Categorical, ""
	case Integer:
		switch {
		case st.distinct <= int64(choice.Top):
			return binning.Categorical, ""
		case !included && mostlyUnique && identifierName(c.Name):
			return "", leftIdentifier
		}
		return binning.Numeric, ""
	}
	switch {
	case included:
	case unique:
		return "", leftIdentifier
	case st.distinct > binning.MaxKnown:
		return "", leftFreeText
	}
	return binning.Categorical, ""
}

// identifierName tells a surrogate key from a measurement whose values happen
// to be all different, which only the name can.
func identifierName(name string) bool {
	n := strings.ToLower(name)
	for _, suffix := range []string{"id", "key", "uuid", "hash", "number", "no", "seq"} {
		if n == suffix || strings.HasSuffix(n, "_"+suffix) || (suffix == "id" && strings.HasSuffix(name, "Id")) || (suffix == "id" && strings.HasSuffix(name, "ID")) {
			return true
		}
	}
	return false
}

func (s *Source) cutNumeric(ctx context.Context, source string, columns []Column, bins int, layouts map[string]binning.Layout) error {
	if len(columns) == 0 {
		return nil
	}
	// The minimum, which makes no edge, shows whether the lowest value is a tie.
	probabilities := make([]float64, bins)
	for i := range probabilities {
		probabilities[i] = float64(i) / float64(bins)
	}
	exprs := make([]string, len(columns))
	from := "\nFROM " + source
	for i, c := range columns {
		value := s.dialect.double(s.dialect.identifier(c.Name))
		if d, ok := s.dialect.(quantiler); ok {
			exprs[i], from = d.quantilesFrom(value, source, probabilities), ""
		} else {
			exprs[i] = s.dialect.quantiles(value, probabilities)
		}
	}
	row, err := s.one(ctx, "SELECT "+strings.Join(exprs, ",\n  ")+from, len(exprs))
	if err != nil {
		return err
	}
	for i, c := range columns {
		quantiles, err := toFloats(row[i])
		if err != nil {
			return fmt.Errorf("column %q: %w", c.Name, err)
		}
		layout := binning.NewNumeric(quantiles, c.Class == Float)
		layout.NaNMissing = c.nanMissing
		layouts[c.Name] = layout
	}
	return nil
}

func (s *Source) cutCategorical(ctx context.Context, source string, c Column, top int) (binning.Layout, error) {
	name := s.dialect.identifier(c.Name)
	text := textOf(s.dialect, name, c.Class)
	// Ties in the count are broken by the text, so that all replicas see the
	// same order. One more than can be listed tells that there are more.
	rows, err := s.db.QueryContext(ctx, fmt.Sprintf(
		"SELECT category, count(*) AS n FROM (SELECT %s AS category FROM %s) AS c WHERE category IS NOT NULL GROUP BY category ORDER BY n DESC, category LIMIT %d",
		text, source, binning.MaxKnown+1))
	if err != nil {
		return binning.Layout{}, s.redact(err)
	}
	defer rows.Close()
	var categories []string
	open := false
	for rows.Next() {
		values, err := scan(rows, 2)
		if err != nil {
			return binning.Layout{}, s.redact(err)
		}
		category := toText(values[0])
		// No database takes a NUL in a literal.
		if len(categories) == binning.MaxKnown || strings.ContainsRune(category, 0) {
			open = true
			continue
		}
		categories = append(categories, category)
	}
	if err := rows.Err(); err != nil {
		return binning.Layout{}, s.redact(err)
	}
	return binning.NewCategorical(categories, top, open), nil
}

func toFloats(v any) ([]float64, error) {
	if v == nil {
		return nil, nil
	}
	values, err := toNumbers(v)
	if len(values) > 0 && math.IsNaN(values[0]) {
		return nil, err // Quantiles of nothing.
	}
	return values, err
}
