package tables

import (
	"cmp"
	"context"
	"maps"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// Choice configures which columns of a relation get bins, and how many.
type Choice struct {
	// Include names columns that always get bins; Exclude names columns that never do. Both accept the patterns of path.Match.
	Include, Exclude []string
	// Bins is the number of intervals of a numeric column.
	Bins int
	// Top is the number of categories with a bin of their own. An integer column with at most this number of distinct values is counted
	// by category.
	Top int
	// MaxColumns limits the number of columns with bins. The first columns of the schema get them.
	MaxColumns int
}

// Cut is the result of choosing bins.
type Cut struct {
	Rows    int64
	Layouts map[string]binning.Layout
	// Left has, for each column without bins, the reason.
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
	LeftTurnover   = "its values are replaced by others over time, like those of a key, a clock, a batch or a partition"
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

// Cut reads a window and chooses the bins of each column. progress is described at Outline.
func (s *Source) Cut(ctx context.Context, r Relation, schema []Column, w Window, choice Choice, progress func(done, total int)) (Cut, error) {
	o, err := s.Outline(ctx, r, schema, w, choice, progress)
	if err != nil {
		return Cut{}, err
	}
	return CutOutlines(schema, r.Time, choice, o), nil
}

// CutOutlines chooses the bins of each column from the outlines of one or more windows in ascending order of time: intervals for
// numbers, the most frequent categories for texts and booleans, ages for points in time.
func CutOutlines(schema []Column, timeColumn string, choice Choice, windows ...Outline) Cut {
	return cutOutlines(schema, timeColumn, choice, windows, func(c Column) bool {
		return turnsOver(c.Class, outlinesOf(windows, c.Name))
	})
}

// CutTraining chooses the bins of each column from the outline of training data. Whether its values are replaced over time is seen in
// days of the training data, and in recent windows of what is served, if there are two or more, that come after the training data.
func CutTraining(schema []Column, timeColumn string, choice Choice, data Outline, days, served []Outline) Cut {
	return cutOutlines(schema, timeColumn, choice, []Outline{data}, func(c Column) bool {
		// With a single window, values that differ from the training data for another reason would look like a key.
		recent := withValues(outlinesOf(served, c.Name))
		return turnsOver(c.Class, outlinesOf(days, c.Name)) ||
			len(recent) > 1 && turnsOver(c.Class, append(outlinesOf([]Outline{data}, c.Name), recent...))
	})
}

func cutOutlines(schema []Column, timeColumn string, choice Choice, windows []Outline, replaced func(Column) bool) Cut {
	c := Cut{Layouts: make(map[string]binning.Layout), Left: make(map[string]string)}
	for _, o := range windows {
		c.Rows += o.Rows
	}
	var candidates []Column
	candidates, c.Left = choice.candidates(schema, timeColumn)
	for _, column := range candidates {
		layout, left := cutColumn(column, choice, outlinesOf(windows, column.Name), replaced)
		if left != "" {
			c.Left[column.Name] = left
		} else {
			c.Layouts[column.Name] = layout
		}
	}
	return c
}

// outlinesOf returns the outlines of a column in the windows that have it.
func outlinesOf(windows []Outline, name string) []ColumnOutline {
	var of []ColumnOutline
	for _, o := range windows {
		if w, ok := o.Columns[name]; ok {
			of = append(of, w)
		}
	}
	return of
}

// candidates returns the columns that may get bins, and the reasons of the others.
func (choice Choice) candidates(schema []Column, timeColumn string) (candidates []Column, left map[string]string) {
	left = make(map[string]string)
	for _, column := range schema {
		switch {
		case MatchesAny(choice.Exclude, column.Name):
			left[column.Name] = leftExcluded
		case column.Name == timeColumn:
			left[column.Name] = leftTime
		case column.partition && !MatchesAny(choice.Include, column.Name):
			left[column.Name] = leftPartition
		case column.Class == Opaque:
			left[column.Name] = leftOpaque
		case len(candidates) >= choice.MaxColumns:
			left[column.Name] = leftLimit
		default:
			candidates = append(candidates, column)
		}
	}
	return candidates, left
}

// cutColumn chooses the bins of one column, or returns the reason why it has none.
func cutColumn(c Column, choice Choice, windows []ColumnOutline, replaced func(Column) bool) (_ binning.Layout, left string) {
	if c.Class.isTime() {
		return binning.NewAged(), ""
	}
	included := MatchesAny(choice.Include, c.Name)
	if !included && replaced(c) {
		return binning.Layout{}, LeftTurnover
	}
	merged := mergeColumn(windows)
	listed := len(merged.Categories) > 0 || merged.Values == 0
	switch {
	case c.Class.isNumber():
		if c.Class == Integer && listed && !merged.More && len(merged.Categories) <= choice.Top {
			break
		}
		if c.Class == Integer && !included && merged.mostlyUnique() && identifierName(c.Name) {
			return binning.Layout{}, leftIdentifier
		}
		if merged.Moments == nil {
			merged.Moments = new(Moments)
		}
		layout := binning.NewRanged(merged.Quantiles, merged.Moments.Min, merged.Moments.Max, choice.Bins, c.Class == Float)
		layout.NaNMissing = c.nanMissing
		return layout, ""
	case c.Class == Boolean || included:
	case merged.Unique():
		return binning.Layout{}, leftIdentifier
	case merged.Distinct > binning.MaxKnown:
		return binning.Layout{}, leftFreeText
	}
	names := byFrequency(merged.Categories)
	more := merged.More || len(names) > binning.MaxKnown
	return binning.NewCategorical(names[:min(len(names), binning.MaxKnown)], choice.Top, more), ""
}

// mergeColumn merges the outlines of windows. If a window has no list of categories, the result has none, because not all categories
// are known.
func mergeColumn(windows []ColumnOutline) ColumnOutline {
	var sum ColumnOutline
	listed := true
	var parts []ColumnOutline
	for _, w := range windows {
		if w.Values == 0 {
			continue
		}
		sum.Values += w.Values
		sum.More = sum.More || w.More
		listed = listed && w.Categories != nil
		if w.Moments != nil {
			if sum.Moments == nil {
				sum.Moments = new(Moments)
			}
			*sum.Moments = sum.Moments.Plus(*w.Moments)
		}
		parts = append(parts, w)
	}
	sum.Quantiles = mergeQuantiles(parts)
	if listed {
		sum.Categories = make(map[string]int64)
		for _, w := range parts {
			for category, n := range w.Categories {
				sum.Categories[category] += n
			}
		}
		binning.JoinSpellings(sum.Categories)
		sum.Distinct = int64(len(sum.Categories))
	}
	if !listed || sum.More {
		// If values are nearly all distinct within each window, the column is an identifier, whether or not values recur in later
		// windows.
		sum.Distinct = 0
		for _, w := range parts {
			sum.Distinct += w.Distinct
		}
	}
	return sum
}

// mergeQuantiles returns the quantiles of all windows together, weighted by the number of values in each window.
func mergeQuantiles(windows []ColumnOutline) []float64 {
	if len(windows) == 1 {
		return windows[0].Quantiles
	}
	type point struct{ value, weight float64 }
	var points []point
	var total float64
	for _, w := range windows {
		for _, q := range w.Quantiles {
			points = append(points, point{q, float64(w.Values) / float64(len(w.Quantiles))})
		}
		if len(w.Quantiles) > 0 {
			total += float64(w.Values)
		}
	}
	if len(points) == 0 {
		return nil
	}
	slices.SortFunc(points, func(a, b point) int { return cmp.Compare(a.value, b.value) })
	quantiles := make([]float64, 0, quantileCount)
	var below float64
	next := 0
	for _, p := range probabilities() {
		for next < len(points)-1 && below+points[next].weight < p*total {
			below += points[next].weight
			next++
		}
		quantiles = append(quantiles, points[next].value)
	}
	return quantiles
}

// byFrequency sorts categories by descending frequency. Ties are sorted by text, so that all replicas have the same order.
func byFrequency(categories map[string]int64) []string {
	return slices.SortedFunc(maps.Keys(categories), func(a, b string) int {
		return cmp.Or(cmp.Compare(categories[b], categories[a]), strings.Compare(a, b))
	})
}

// fewValues is the minimum number of values for a column to be classified as an identifier because its values are distinct.
const fewValues = 100

// Unique reports whether nearly all values are distinct. Databases estimate the number of distinct values: DuckDB's estimate of 20000
// was between 64 and 161 percent of it. If the column's name also suggests an identifier, mostlyUnique requires less. A key that gets
// bins would show drift all the time.
func (w ColumnOutline) Unique() bool { return w.Values >= fewValues && w.Distinct*4 >= w.Values*3 }

func (w ColumnOutline) mostlyUnique() bool { return w.Values >= fewValues && w.Distinct*2 >= w.Values }

// identifierName reports whether a name is typical of a surrogate key. Only the name separates a key from a measurement whose values
// happen to be all distinct.
func identifierName(name string) bool {
	n := strings.ToLower(name)
	for _, suffix := range []string{"id", "key", "uuid", "hash", "number", "no", "seq"} {
		if n == suffix || strings.HasSuffix(n, "_"+suffix) || (suffix == "id" && strings.HasSuffix(name, "Id")) || (suffix == "id" && strings.HasSuffix(name, "ID")) {
			return true
		}
	}
	return false
}

func toFloats(v any) ([]float64, error) {
	if v == nil {
		return nil, nil
	}
	values, err := toNumbers(v)
	if len(values) > 0 && math.IsNaN(values[0]) {
		return nil, err // The quantiles of no values.
	}
	return values, err
}
