package tables

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"path"
	"reflect"
	"slices"
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
	leftOpaque     = "of a type without bins"
	leftFreeText   = "looks like free text: too many different values"
	leftIdentifier = "looks like an identifier: nearly every value is different"
	leftTurnover   = "its values are others from day to day, like those of a key, a clock, a batch or a partition"
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

// Cut looks at a window and chooses the bins of each column. For progress see Outline.
func (s *Source) Cut(ctx context.Context, r Relation, schema []Column, w Window, choice Choice, progress func(done, total int)) (Cut, error) {
	o, err := s.Outline(ctx, r, schema, w, choice, progress)
	if err != nil {
		return Cut{}, err
	}
	return CutOutlines(schema, r.Time, choice, o), nil
}

// CutOutlines chooses the bins of each column from the outlines of one or more
// windows, the earliest first: intervals for numbers, the most frequent categories
// for texts and booleans, ages for points in time.
func CutOutlines(schema []Column, timeColumn string, choice Choice, windows ...Outline) Cut {
	c := Cut{Layouts: make(map[string]binning.Layout), Left: make(map[string]string)}
	for _, o := range windows {
		c.Rows += o.Rows
	}
	var candidates []Column
	candidates, c.Left = choice.candidates(schema, timeColumn)
	for _, column := range candidates {
		var of []ColumnOutline
		for _, o := range windows {
			if w, ok := o.Columns[column.Name]; ok {
				of = append(of, w)
			}
		}
		layout, left := cutColumn(column, choice, of)
		if left != "" {
			c.Left[column.Name] = left
		} else {
			c.Layouts[column.Name] = layout
		}
	}
	return c
}

// candidates are the columns that may get bins, and why the others do not.
func (choice Choice) candidates(schema []Column, timeColumn string) (candidates []Column, left map[string]string) {
	left = make(map[string]string)
	for _, column := range schema {
		switch {
		case MatchesAny(choice.Exclude, column.Name):
			left[column.Name] = leftExcluded
		case column.Name == timeColumn:
			left[column.Name] = leftTime
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

// cutColumn chooses the bins of one column, or says why it has none.
func cutColumn(c Column, choice Choice, windows []ColumnOutline) (_ binning.Layout, left string) {
	if c.Class.isTime() {
		return binning.NewAged(), ""
	}
	included := MatchesAny(choice.Include, c.Name)
	if !included && turnsOver(windows) {
		return binning.Layout{}, leftTurnover
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
			return binning.NewNumeric(nil, c.Class == Float), ""
		}
		return binning.NewRanged(merged.Quantiles, merged.Moments.Min, merged.Moments.Max, choice.Bins, c.Class == Float), ""
	case c.Class == Boolean || included:
	case merged.unique():
		return binning.Layout{}, leftIdentifier
	case merged.Distinct > binning.MaxKnown:
		return binning.Layout{}, leftFreeText
	}
	names := byFrequency(merged.Categories)
	more := merged.More || len(names) > binning.MaxKnown
	return binning.NewCategorical(names[:min(len(names), binning.MaxKnown)], choice.Top, more), ""
}

// mergeColumn adds up windows. Categories are left out where a window has none of
// its own: they are then not all known.
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
		joinSpellings(sum.Categories)
		sum.Distinct = int64(len(sum.Categories))
	}
	if !listed || sum.More {
		// Values that are different within each window are an identifier's, whether they come back or not.
		sum.Distinct = 0
		for _, w := range parts {
			sum.Distinct += w.Distinct
		}
	}
	return sum
}

// joinSpellings gives the frequency of 1.0 to 1, if there are both.
func joinSpellings(categories map[string]int64) {
	for category, n := range categories {
		for _, other := range binning.Spellings(category) {
			if _, both := categories[other]; both && len(other) < len(category) {
				categories[other] += n
				delete(categories, category)
			}
		}
	}
}

// mergeQuantiles returns the quantiles of all windows together, each by its values.
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

// byFrequency are categories, the most frequent first and in the order of their
// texts where that is the same, so that all replicas see one order.
func byFrequency(categories map[string]int64) []string {
	return slices.SortedFunc(maps.Keys(categories), func(a, b string) int {
		return cmp.Or(cmp.Compare(categories[b], categories[a]), strings.Compare(a, b))
	})
}

// turnsOver reports whether the values of a column are others in each window: those
// of a key, a clock, a batch or a partition. No window is ever like the ones before
// it, so there is nothing to compare with.
func turnsOver(windows []ColumnOutline) bool {
	var pairs, apart int
	var last *ColumnOutline
	for i := range windows {
		w := &windows[i]
		if w.Values < enoughToTurn {
			continue
		}
		if last != nil {
			pairs++
			if w.apart(*last) {
				apart++
			}
		}
		last = w
	}
	return pairs > 0 && apart*10 >= pairs*9
}

// enoughToTurn is the number of values from which a window tells whether it has
// values of the window before.
const enoughToTurn = 20

// apart reports whether hardly any value of the window is one that the other had,
// or lies where the values of the other lay.
func (w ColumnOutline) apart(other ColumnOutline) bool {
	if n := len(w.Quantiles); n > 0 && len(other.Quantiles) > 0 {
		low, high := other.Quantiles[len(other.Quantiles)/20], other.Quantiles[len(other.Quantiles)-1-len(other.Quantiles)/20]
		return w.Quantiles[n/20] > high || w.Quantiles[n-1-n/20] < low
	}
	if w.Categories == nil || other.Categories == nil || w.More || other.More {
		return false
	}
	var again int64
	for category, n := range w.Categories {
		if other.Categories[category] > 0 {
			again += n
		}
	}
	return again*10 < w.Values
}

// fewValues is the number of values below which a column is too small to call
// its values identifiers only since all of them differ.
const fewValues = 100

// unique reports whether nearly all values differ. Databases estimate how many do.
// DuckDB's estimate of 20000 different ones was between 64 and 161 percent of it, so
// a name that says the same as the estimate needs less of it, see mostlyUnique: the
// bins of a key are a drift for ever.
func (w ColumnOutline) unique() bool { return w.Values >= fewValues && w.Distinct*4 >= w.Values*3 }

func (w ColumnOutline) mostlyUnique() bool { return w.Values >= fewValues && w.Distinct*2 >= w.Values }

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

func toFloats(v any) ([]float64, error) {
	if text, ok := v.(string); ok {
		parts := strings.Split(strings.Trim(text, "{}"), ",")
		values := make([]float64, len(parts))
		for i, p := range parts {
			if p == "NULL" {
				values[i] = math.NaN()
			} else if _, err := fmt.Sscan(p, &values[i]); err != nil {
				return nil, fmt.Errorf("%q: %w", p, err)
			}
		}
		return values, nil
	}
	if v == nil {
		return nil, nil
	}
	list := reflect.ValueOf(v)
	if list.Kind() != reflect.Slice {
		return nil, fmt.Errorf("%T, expected an array of numbers", v)
	}
	values := make([]float64, list.Len())
	for i := range values {
		element := list.Index(i).Interface()
		if element == nil {
			values[i] = math.NaN()
		} else if p, ok := element.(*float64); ok {
			values[i] = math.NaN()
			if p != nil {
				values[i] = *p
			}
		} else if v := reflect.ValueOf(element); v.CanFloat() {
			values[i] = v.Float()
		} else if _, err := fmt.Sscan(fmt.Sprint(element), &values[i]); err != nil {
			// Trino's driver gives the text of a number.
			return nil, fmt.Errorf("%v, expected a number", element)
		}
	}
	return values, nil
}
