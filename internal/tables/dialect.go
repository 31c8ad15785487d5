package tables

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// Class is what Sightglass can do with a column, told from its database type.
type Class int

const (
	// Opaque columns (lists, blobs, documents) have their nulls counted and nothing else.
	Opaque Class = iota
	// Text columns are counted by category.
	Text
	// Boolean columns are counted by category.
	Boolean
	// Integer columns are counted by category if they have few values, else by interval.
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

// dialect is what differs between the SQL of the databases. Everything it
// returns is SQL text that is safe to put into a statement.
type dialect interface {
	// identifier quotes the name of a column, whatever it contains.
	identifier(name string) string
	// text is a string literal.
	text(s string) string
	// instant is a literal that compares with a column of the class.
	instant(t time.Time, class Class) string
	// earlier is the given number of seconds before a point in time.
	earlier(expr string, class Class, seconds float64) string
	// epoch is a point in time as seconds since 1970, a double.
	epoch(expr string, class Class) string
	// double casts a numeric expression to a 64-bit floating-point number.
	double(expr string) string
	// varchar casts an expression to a string.
	varchar(expr string) string
	// isNaN is true where a floating-point expression is not a number.
	isNaN(expr string) string
	// infinity is the literal of positive or negative infinity.
	infinity(sign int) string
	// countIf counts the rows that fulfil a condition.
	countIf(condition string) string
	// array makes one value of several counts, so that a wide table does not
	// meet a database's limit on the number of result columns.
	array(counts []string) string
	// distinct counts the different values of an expression, about or exactly.
	distinct(expr string) string
	// whole casts a whole number, a double, to a 64-bit integer.
	whole(expr string) string
	// moments is an array of doubles: the number, minimum, maximum, sum,
	// standard deviation and number of zeros of the doubles that fulfil the
	// condition, or of all if that is empty.
	moments(expr, condition string) string
	// quantiles is an array of the quantiles of a finite numeric expression.
	quantiles(expr string, probabilities []float64) string
	// timeOfNumber reads a number of microseconds, a double, as a point in time.
	timeOfNumber(microseconds string) (string, Class)
	// timeOfText reads a text of the format, ISO 8601 if empty, as a point in time.
	timeOfText(expr, format string) (string, Class)
	// matches finds a regular expression, a literal, in a text.
	matches(expr, pattern string) string
	// oneIn is true for one in n of the combinations of columns.
	oneIn(columns []string, n int) string
	// random is a number from 0 to 1, another one for each row.
	random() string
	// class tells what a column is from its database type.
	class(databaseType string) Class
}

// ageReference is the SQL of the instant so many seconds before the one at which
// ages are taken, to compare with a column of the class.
type ageReference func(class Class, seconds float64) string

// ageIn is the reference for the records of a relation. An age is taken at the
// time of the record: it means the same in last year's training data and in the
// last hour. Where records have no time, it is taken at the time of counting.
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

// tally is one SQL expression that counts a column and the way back from its
// value, an array of integers, to a count for each bin.
type tally struct {
	expr   string
	decode func([]int64) (map[string]int64, error)
}

// tallier is a dialect with a faster way to count than one condition a bin.
type tallier interface {
	tally(column string, class Class, layout binning.Layout) (tally, bool)
}

// quantiler is a dialect whose quantiles need a query of their own, a scalar one.
type quantiler interface {
	quantilesFrom(expr, source string, probabilities []float64) string
}

// newTally counts the column by the layout. The expression counts values up to
// each edge, and the differences of those counts are the bins: one comparison
// a bin, no arithmetic on values, and the same result on every database.
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
			// NaN is above every number for PostgreSQL and below none
			// for others: not counted here in both.
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

// categoryOf is the SQL of a column that is counted by category, and of the text
// of its categories. Numbers with a fraction may be counted by the categories of
// a column that had none: a whole one is written as one, and NaN is missing.
func categoryOf(d dialect, column string, class Class) (value, text string) {
	switch class {
	case Text:
		return column, textOf(d, column, class)
	case Float, Decimal:
		number := d.double(column)
		text = "CASE WHEN abs(" + number + ") < 1e15 AND " + number + " = floor(" + number + ") THEN " + d.varchar(d.whole(number)) +
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
	listed := listedCategories(layout)
	for _, c := range layout.Top {
		spellings := texts(d, spellingsOf(c, listed))
		counts = append(counts, d.countIf(text+" IN ("+spellings+")"))
		known = append(known, spellings)
	}
	for _, c := range layout.Rest {
		known = append(known, texts(d, spellingsOf(c, listed)))
	}
	if !layout.Open && len(layout.Rest) > 0 {
		counts = append(counts, d.countIf(text+" NOT IN ("+strings.Join(known, ", ")+")"))
	}
	return counts
}

// textOf is the text of a value, to be compared exactly. The texts of MySQL
// compare by a collation of the column's.
func textOf(d dialect, column string, class Class) string {
	if _, collated := d.(mySQL); class == Text && !collated {
		return column
	}
	return d.varchar(column)
}

func listedCategories(layout binning.Layout) map[string]bool {
	listed := make(map[string]bool, len(layout.Top)+len(layout.Rest))
	for _, c := range slices.Concat(layout.Top, layout.Rest) {
		listed[c] = true
	}
	return listed
}

// spellingsOf are the texts of a category but for those that are listed themselves.
func spellingsOf(category string, listed map[string]bool) []string {
	return slices.DeleteFunc(binning.Spellings(category), func(s string) bool { return s != category && listed[s] })
}

// decodeCategories reads the count of all values, of each named category and,
// where some categories share a bin, of the values outside all of them.
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

// decodeIntervals turns the counts of values up to each edge into the counts of
// intervals. values is the number of values the edges divide, of which under
// have a bin of their own though they are below every edge.
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

// number writes an edge as SQL. Databases read 1e+06 as a floating-point
// number and 0.1 as a decimal; compared with a double both are the same value.
func number(v float64) string { return strconv.FormatFloat(v, 'e', -1, 64) }

// ansi is the SQL that PostgreSQL, DuckDB and Trino have in common.
type ansi struct{}

func (ansi) identifier(name string) string   { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
func (ansi) text(s string) string            { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
func (ansi) varchar(expr string) string      { return "CAST(" + expr + " AS VARCHAR)" }
func (ansi) countIf(condition string) string { return "count(*) FILTER (WHERE " + condition + ")" }
func (ansi) array(counts []string) string    { return "ARRAY[" + strings.Join(counts, ", ") + "]" }
func (ansi) random() string                  { return "random()" }
func (ansi) whole(expr string) string        { return "CAST(" + expr + " AS BIGINT)" }

func (ansi) moments(expr, condition string) string {
	return "ARRAY[" + strings.Join(momentAggregates(expr, condition, "CAST(%s AS DOUBLE PRECISION)"), ", ") + "]"
}

// momentAggregates are the aggregates of moments; cast makes a double of a count.
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

// instantLayout has microseconds, the finest grain that all databases share.
const instantLayout = "2006-01-02 15:04:05.000000"

func numbers(values []float64) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = number(v)
	}
	return strings.Join(parts, ", ")
}

// baseType is the name of a database type without its parameters, in upper case.
func baseType(databaseType string) string {
	name, _, _ := strings.Cut(strings.ToUpper(databaseType), "(")
	return strings.TrimSpace(name)
}
