package tables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// duckDB counts with the histogram aggregates of DuckDB, which find the bin of a value by binary search or hash. On one core they count
// about three times as many values a second as one condition for each bin (make bench-dataquality).
type duckDB struct{ ansi }

func (duckDB) epoch(expr string, _ Class) string { return "epoch(" + expr + ")" }

func (duckDB) double(expr string) string       { return "CAST(" + expr + " AS DOUBLE)" }
func (duckDB) isNaN(expr string) string        { return "isnan(" + expr + ")" }
func (duckDB) countIf(condition string) string { return "count_if(" + condition + ")" }
func (duckDB) distinct(expr string) string     { return "approx_count_distinct(" + expr + ")" }

func (duckDB) infinity(sign int) string {
	if sign < 0 {
		return "CAST('-Infinity' AS DOUBLE)"
	}
	return "CAST('Infinity' AS DOUBLE)"
}

// array casts, because some DuckDB aggregates return 128-bit counts.
func (duckDB) array(counts []string) string {
	return "CAST([" + strings.Join(counts, ", ") + "] AS BIGINT[])"
}

// moments leaves values out before it aggregates: for each aggregate with a filter DuckDB copies the columns of all others, which
// made a profile of twelve columns take half as much time again (make bench-dataquality).
func (d duckDB) moments(expr, condition string) string {
	matching := expr
	if condition != "" {
		matching = "CASE WHEN " + condition + " THEN " + expr + " END"
	}
	return fmt.Sprintf("CAST([count(%[1]s), min(%[1]s), max(%[1]s), sum(%[1]s), stddev_pop(%[1]s), %[2]s] AS DOUBLE[])", matching, d.countIf(expr+" = 0"))
}

// quantileSample limits the memory of the quantiles of one column to 800 KB, whatever the size of the table. Up to this many values,
// quantiles are exact; above, a decile is off by about 0.1 percentage points.
const quantileSample = 100_000

func (duckDB) quantiles(expr string, probabilities []float64) string {
	return fmt.Sprintf("reservoir_quantile(%s, [%s], %d) FILTER (WHERE isfinite(%s))", expr, numbers(probabilities), quantileSample, expr)
}

func (duckDB) class(databaseType string) Class {
	if strings.HasSuffix(databaseType, "]") {
		return Opaque
	}
	switch baseType(databaseType) {
	case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT":
		return Integer
	case "DECIMAL":
		return Decimal
	case "FLOAT", "DOUBLE":
		return Float
	case "VARCHAR", "ENUM":
		return Text
	case "BOOLEAN":
		return Boolean
	case "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS":
		return Timestamp
	case "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE":
		return TimestampTZ
	case "DATE":
		return Date
	}
	return Opaque
}

func (d duckDB) tally(column string, class Class, layout binning.Layout) (tally, bool) {
	switch layout.Kind {
	case binning.Numeric:
		if class != Integer && class != Decimal && class != Float {
			return tally{}, false
		}
		return d.numericTally(column, class == Float, layout), true
	case binning.Categorical:
		if class == Boolean {
			return d.booleanTally(column, layout), true
		}
		return d.categoricalTally(column, class, layout), true
	}
	return tally{}, false
}

// booleanTally counts both values without a text of each, which takes longer than the counting.
func (d duckDB) booleanTally(column string, layout binning.Layout) tally {
	expr := d.array([]string{"count(" + column + ")", d.countIf(column)})
	return tally{expr: expr, decode: func(v []int64) (map[string]int64, error) {
		if len(v) != 2 {
			return nil, fmt.Errorf("%d counts, expected 2", len(v))
		}
		counts, byCategory, among := map[string]int64{"true": v[1], "false": v[0] - v[1]}, make(map[string]int64), layout.Categories()
		for category := range among {
			for _, spelling := range binning.Spellings(category, among) {
				byCategory[category] += counts[spelling]
			}
		}
		return byCategories(layout, v[0], byCategory), nil
	}}
}

// byCategories returns the counts of the layout's bins among n values. byCategory has the number of values of each listed category.
func byCategories(layout binning.Layout, n int64, byCategory map[string]int64) map[string]int64 {
	counts := []int64{n}
	outside := n
	for _, c := range layout.Top {
		counts = append(counts, byCategory[c])
		outside -= byCategory[c]
	}
	for _, c := range layout.Rest {
		outside -= byCategory[c]
	}
	return decodeCategories(layout, append(counts, outside))
}

// largest is the largest finite double. As the last edge of a histogram it separates finite values from infinity.
const largest = 1.7976931348623157e308

// numericTally relies on three properties of DuckDB's histogram(x, edges), each covered by a test: a bin contains the values up to and
// including its edge; NaN is counted in the first bin; and a further bin for values above all edges exists only if there are such
// values.
func (d duckDB) numericTally(column string, float bool, layout binning.Layout) tally {
	edges := layout.Edges
	head := []string{"count(" + column + ")"}
	list := "[" + numbers(edges) + "]"
	if float {
		head = append(head, d.countIf("isnan("+column+")"))
		list = "[" + strings.Join([]string{"'-Infinity'", numbers(append(slices.Clone(edges), largest))}, ", ") + "]"
	}
	expr := fmt.Sprintf("CAST(list_concat([%s], map_values(histogram(%s, CAST(%s AS DOUBLE[])))) AS BIGINT[])",
		strings.Join(head, ", "), d.double(column), list)
	return tally{expr: expr, decode: func(v []int64) (map[string]int64, error) {
		bins := len(edges)
		if float {
			bins += 2
		}
		n := v[0]
		hist := v[len(head):]
		if n == 0 {
			hist = make([]int64, bins)
		}
		if len(hist) != bins && len(hist) != bins+1 {
			return nil, fmt.Errorf("a histogram of %d counts, expected %d", len(hist), bins)
		}
		upTo := make([]int64, len(hist))
		var sum int64
		for i, c := range hist {
			sum += c
			upTo[i] = sum
		}
		if sum != n && n != 0 && len(hist) == bins+1 {
			return nil, fmt.Errorf("a histogram of %d values, expected %d", sum, n)
		}
		if !float {
			return decodeIntervals(layout, n, nil, 0, upTo[:len(edges)]), nil
		}
		nan := v[1]
		negative := hist[0] - nan
		positive := n - upTo[bins-1]
		special := map[string]int64{binning.NaN: nan, binning.Inf: negative + positive}
		return decodeIntervals(layout, n-positive, special, nan+negative, upTo[1:1+len(edges)]), nil
	}}
}

// categoricalTally relies on histogram_exact(x, values). It counts each of the sorted values, and then all other values in one more bin
// named by the empty string. That bin exists only if it is not empty. Therefore the empty string itself is counted separately.
func (d duckDB) categoricalTally(column string, class Class, layout binning.Layout) tally {
	column, text := categoryOf(d, column, class)
	among := layout.Categories()
	var known []string
	categoryBy := make(map[string]string) // by spelling
	for _, c := range slices.Concat(layout.Top, layout.Rest) {
		for _, spelling := range binning.Spellings(c, among) {
			if spelling != "" {
				known = append(known, spelling)
				categoryBy[spelling] = c
			}
		}
	}
	slices.Sort(known)
	literals := make([]string, len(known))
	for i, c := range known {
		literals[i] = d.text(c)
	}
	// An empty list of categories would have no type.
	histogram := "[]"
	if len(known) > 0 {
		histogram = fmt.Sprintf("map_values(histogram_exact(CAST(%s AS VARCHAR), [%s]))", text, strings.Join(literals, ", "))
	}
	empties := "0"
	if class == Text {
		empties = d.countIf(text + " = ''")
	}
	expr := fmt.Sprintf("CAST(list_concat([count(%s), %s], %s) AS BIGINT[])", column, empties, histogram)
	return tally{expr: expr, decode: func(v []int64) (map[string]int64, error) {
		n, empty, hist := v[0], v[1], v[2:]
		if n == 0 || len(known) == 0 {
			hist = make([]int64, len(known))
		}
		switch len(hist) {
		case len(known):
		case len(known) + 1:
			hist = hist[:len(known)]
		default:
			return nil, fmt.Errorf("a histogram of %d counts, expected %d", len(hist), len(known))
		}
		byCategory := make(map[string]int64, len(known)+1)
		for i, c := range known {
			byCategory[categoryBy[c]] += hist[i]
		}
		byCategory[""] = empty
		return byCategories(layout, n, byCategory), nil
	}}
}
