package tables

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/sqltext"
)

// Class is the kind of processing that a column's database type permits.
type Class int

const (
	// Opaque columns (lists, blobs, documents) have only their nulls counted.
	Opaque Class = iota
	// Text columns are counted by category.
	Text
	// Boolean columns are counted by category.
	Boolean
	// Integer columns are counted by category if they have few distinct values, else by interval.
	Integer
	// Decimal columns are exact numbers with a fraction, counted by interval.
	Decimal
	// Float columns are counted by interval and can hold NaN and infinities.
	Float
	// Timestamp columns without a time zone are read as UTC and counted by age.
	Timestamp
	// TimestampTZ columns are counted by age.
	TimestampTZ
	// Date columns are read as midnight UTC and counted by age.
	Date
)

// isTime reports whether a column of the class can order a table in time.
func (c Class) isTime() bool { return c == Timestamp || c == TimestampTZ || c == Date }

// dialect is the SQL that differs between databases. All strings that it returns are safe to put into a statement.
type dialect interface {
	// identifier quotes a column name, whatever characters it contains.
	identifier(name string) string
	// text returns a string literal.
	text(s string) string
	// instant returns a literal that can be compared with a column of the class.
	instant(t time.Time, class Class) string
	// earlier returns the point in time expr minus the given seconds.
	earlier(expr string, class Class, seconds float64) string
	// epoch returns a point in time as seconds since 1970, as a double.
	epoch(expr string, class Class) string
	// double casts a numeric expression to a 64-bit floating-point number.
	double(expr string) string
	// varchar casts an expression to a string.
	varchar(expr string) string
	// isNaN is true where a floating-point expression is NaN.
	isNaN(expr string) string
	// infinity returns the literal of positive or negative infinity.
	infinity(sign int) string
	// countIf counts the rows that meet a condition.
	countIf(condition string) string
	// array combines several counts into one value. Without it, a wide table exceeds the database's limit of result columns.
	array(counts []string) string
	// distinct counts the distinct values of an expression, exactly or approximately.
	distinct(expr string) string
	// castInteger casts a double without a fraction to a 64-bit integer.
	castInteger(expr string) string
	// moments returns an array of doubles: count, minimum, maximum, sum, standard deviation and number of zeros of the doubles that
	// meet the condition. An empty condition selects all.
	moments(expr, condition string) string
	// quantiles returns an array of the quantiles of the finite values of a numeric expression.
	quantiles(expr string, probabilities []float64) string
	// timeOfNumber converts microseconds since 1970, a double, to a point in time.
	timeOfNumber(microseconds string) (string, Class)
	// timeOfText parses a text in the strftime format, or in ISO 8601 if the format is empty.
	timeOfText(expr, format string) (string, Class)
	// matches tests whether a text contains a match of a regular expression, given as a literal.
	matches(expr, pattern string) string
	// oneIn is true for one in n of the combinations of the columns' values.
	oneIn(columns []string, n int) string
	// random returns a random number from 0 to 1, computed anew for each row.
	random() string
	// class derives the class of a column from its database type.
	class(databaseType string) Class
}

// ageReference returns the SQL of the instant from which ages are measured, minus the given seconds. The result can be compared with a
// column of the class.
type ageReference func(class Class, seconds float64) string

// ageIn returns the ageReference of a relation. Ages are measured from the time of the record, so that an age has the same meaning in
// last year's training data and in the last hour. Where records have no time, ages are measured from asOf.
func ageIn(d dialect, r Relation, schema []Column, asOf time.Time) (ageReference, error) {
	if r.Time == "" {
		return func(class Class, seconds float64) string {
			return d.instant(asOf.Add(-time.Duration(seconds*float64(time.Second))), class)
		}, nil
	}
	at, err := timeColumn(r, schema)
	return func(_ Class, seconds float64) string {
		return d.earlier(d.identifier(r.Time), at.Class, seconds)
	}, err
}

// tally is an SQL expression that counts a column, and the function that decodes its value, an array of integers, to a count for each
// bin.
type tally struct {
	expr   string
	decode func([]int64) (map[string]int64, error)
}

// tallier is a dialect with a faster method to count than one condition for each bin.
type tallier interface {
	tally(column string, class Class, layout binning.Layout) (tally, bool)
}

// quantiler is a dialect whose quantiles need a scalar query of their own.
type quantiler interface {
	quantilesFrom(expr, source string, probabilities []float64) string
}

// newTally returns the tally of a column. The expression counts the values up to each edge; the differences of these counts are the
// counts of the bins. This needs one comparison for each bin and no arithmetic on values, and gives the same result on every database.
func newTally(d dialect, column string, class Class, layout binning.Layout, before ageReference) tally {
	if t, ok := d.(tallier); ok {
		if fast, ok := t.tally(column, class, layout); ok {
			return fast
		}
	}
	counts := []string{"count(" + column + ")"}
	switch layout.Kind {
	case binning.Categorical:
		var text string
		column, text = categoryOf(d, column, class)
		counts = append([]string{"count(" + column + ")"}, categoryCounts(d, text, layout)...)
	case binning.Aged:
		counts = append(counts, d.countIf(column+" > "+before(class, 0)))
		for _, e := range layout.Edges {
			counts = append(counts, d.countIf(column+" >= "+before(class, e)))
		}
	default:
		value := d.double(column)
		if class == Float {
			counts = append(counts,
				d.countIf(d.isNaN(value)),
				d.countIf(value+" = "+d.infinity(+1)),
				d.countIf(value+" = "+d.infinity(-1)))
		}
		for _, e := range layout.Edges {
			// PostgreSQL sorts NaN above every number; other databases make every comparison with NaN false. Neither counts NaN here.
			counts = append(counts, d.countIf(value+" <= "+number(e)))
		}
	}
	return tally{
		expr: d.array(counts),
		decode: func(v []int64) (map[string]int64, error) {
			if len(v) != len(counts) {
				return nil, fmt.Errorf("%d counts, expected %d", len(v), len(counts))
			}
			switch {
			case layout.Kind == binning.Categorical:
				return decodeCategories(layout, v), nil
			case layout.Kind == binning.Aged:
				return decodeIntervals(layout, v[0], map[string]int64{binning.Future: v[1]}, v[1], v[2:]), nil
			case class == Float:
				special := map[string]int64{binning.NaN: v[1], binning.Inf: v[2] + v[3]}
				values := v[0] - v[1] - v[2]
				return decodeIntervals(layout, values, special, v[3], v[4:]), nil
			}
			return decodeIntervals(layout, v[0], nil, 0, v[1:]), nil
		},
	}
}

// categoryOf returns the SQL of a column that is counted by category, and the SQL of the text of its categories. Fractional numbers may
// be counted by the categories of a column that had only whole numbers. Therefore a whole number is written without a fraction, and NaN
// counts as missing.
func categoryOf(d dialect, column string, class Class) (value, text string) {
	switch class {
	case Text:
		return column, textOf(d, column, class)
	case Float, Decimal:
		number := d.double(column)
		text = "CASE WHEN abs(" + number + ") < 1e15 AND " + number + " = floor(" + number + ") THEN " + d.varchar(d.castInteger(number)) +
			" ELSE " + d.varchar(number) + " END"
		if class == Float {
			isNumber := "CASE WHEN NOT " + d.isNaN(number) + " THEN "
			column, text = isNumber+column+" END", isNumber+text+" END"
		}
		return column, text
	}
	return column, d.varchar(column)
}

func categoryCounts(d dialect, text string, layout binning.Layout) []string {
	var counts, known []string
	among := layout.Categories()
	for _, c := range layout.Top {
		spellings := texts(d, binning.Spellings(c, among))
		counts = append(counts, d.countIf(text+" IN ("+spellings+")"))
		known = append(known, spellings)
	}
	for _, c := range layout.Rest {
		known = append(known, texts(d, binning.Spellings(c, among)))
	}
	if !layout.Open && len(layout.Rest) > 0 {
		counts = append(counts, d.countIf(text+" NOT IN ("+strings.Join(known, ", ")+")"))
	}
	return counts
}

// textOf returns the text of a value for exact comparison. MySQL compares texts by the column's collation, so it needs a cast.
func textOf(d dialect, column string, class Class) string {
	if _, collated := d.(mySQL); class == Text && !collated {
		return column
	}
	return d.varchar(column)
}

// decodeCategories reads the count of all values, the count of each named category and, if some categories share the bin other, the
// count of the values outside all categories.
func decodeCategories(layout binning.Layout, v []int64) map[string]int64 {
	counts := make(map[string]int64, len(layout.Top)+3)
	rest := v[0]
	for i, c := range layout.Top {
		counts[binning.CategoryBin(c)] = v[1+i]
		rest -= v[1+i]
	}
	switch {
	case layout.Open:
		counts[binning.Other] = rest
	case len(layout.Rest) > 0:
		unseen := v[1+len(layout.Top)]
		counts[binning.Unseen], counts[binning.Other] = unseen, rest-unseen
	default:
		counts[binning.Unseen] = rest
	}
	return counts
}

// decodeIntervals converts cumulative counts, the number of values up to each edge, to counts of intervals. values is the number of
// values that the edges divide. under is the number of values below every edge that have a bin of their own; upTo includes them.
func decodeIntervals(layout binning.Layout, values int64, special map[string]int64, under int64, upTo []int64) map[string]int64 {
	counts := make(map[string]int64, len(layout.Edges)+4)
	for bin, n := range special {
		counts[bin] = n
	}
	bins := layout.Bins()
	intervals := bins[len(bins)-len(layout.Edges)-1:]
	for i, n := range upTo {
		counts[intervals[i]] = n - under
		under = n
	}
	counts[intervals[len(intervals)-1]] = values - under
	return counts
}

// number writes an edge as SQL. Databases read 1e+06 as a floating-point number and 0.1 as a decimal. Compared with a double, both are
// the same value.
func number(v float64) string { return strconv.FormatFloat(v, 'e', -1, 64) }

// ansi is the SQL that PostgreSQL, DuckDB and Trino share.
type ansi struct{}

func (ansi) identifier(name string) string   { return sqltext.Identifier(name) }
func (ansi) text(s string) string            { return sqltext.Literal(s) }
func (ansi) varchar(expr string) string      { return "CAST(" + expr + " AS VARCHAR)" }
func (ansi) countIf(condition string) string { return "count(*) FILTER (WHERE " + condition + ")" }
func (ansi) array(counts []string) string    { return "ARRAY[" + strings.Join(counts, ", ") + "]" }
func (ansi) random() string                  { return "random()" }
func (ansi) castInteger(expr string) string  { return "CAST(" + expr + " AS BIGINT)" }

func (ansi) moments(expr, condition string) string {
	return "ARRAY[" + strings.Join(momentAggregates(expr, condition, "CAST(%s AS DOUBLE PRECISION)"), ", ") + "]"
}

// momentAggregates returns the aggregates of moments. cast is the format that casts a count to a double.
func momentAggregates(expr, condition, cast string) []string {
	filter := ""
	if condition != "" {
		filter = " FILTER (WHERE " + condition + ")"
	}
	aggregates := []string{fmt.Sprintf(cast, "count("+expr+")"+filter)}
	for _, f := range []string{"min", "max", "sum", "stddev_pop"} {
		aggregates = append(aggregates, f+"("+expr+")"+filter)
	}
	return append(aggregates, fmt.Sprintf(cast, "count(*) FILTER (WHERE "+expr+" = 0)"))
}

func (ansi) instant(t time.Time, class Class) string {
	if class == TimestampTZ {
		return "TIMESTAMP WITH TIME ZONE '" + t.UTC().Format(instantLayout) + "+00:00'"
	}
	return "TIMESTAMP '" + t.UTC().Format(instantLayout) + "'"
}

func (ansi) earlier(expr string, class Class, seconds float64) string {
	if class == Date {
		expr = "CAST(" + expr + " AS TIMESTAMP)"
	}
	return fmt.Sprintf("%s - INTERVAL '%d' SECOND", expr, int64(seconds))
}

// instantLayout has microseconds, the finest resolution that all databases support.
const instantLayout = "2006-01-02 15:04:05.000000"

func numbers(values []float64) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = number(v)
	}
	return strings.Join(parts, ", ")
}

// baseType returns the name of a database type in upper case without its parameters.
func baseType(databaseType string) string {
	name, _, _ := strings.Cut(strings.ToUpper(databaseType), "(")
	return strings.TrimSpace(name)
}
