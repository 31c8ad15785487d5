package tables

import (
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/tables/internal/bigquery"
)

// bigQuery is the dialect of Google BigQuery. BigQuery does not compare its date and time types with each other, so columns are read as
// TIMESTAMP. The timestamp column keeps its type, because the table may be partitioned by it.
type bigQuery struct{}

func openBigQuery(o Options) (*sql.DB, error) {
	connector, err := bigquery.NewConnector(o.DSN)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// bigQueryEscaper escapes the characters that end or change a literal. A literal cannot contain line breaks.
var bigQueryEscaper = strings.NewReplacer(`\`, `\\`, `'`, `\'`, "`", "\\`", "\n", `\n`, "\r", `\r`)

func (bigQuery) identifier(name string) string   { return "`" + bigQueryEscaper.Replace(name) + "`" }
func (bigQuery) text(s string) string            { return "'" + bigQueryEscaper.Replace(s) + "'" }
func (bigQuery) double(expr string) string       { return "CAST(" + expr + " AS FLOAT64)" }
func (bigQuery) varchar(expr string) string      { return "CAST(" + expr + " AS STRING)" }
func (bigQuery) isNaN(expr string) string        { return "IS_NAN(" + expr + ")" }
func (bigQuery) countIf(condition string) string { return "COUNTIF(" + condition + ")" }
func (bigQuery) distinct(expr string) string     { return "APPROX_COUNT_DISTINCT(" + expr + ")" }
func (bigQuery) array(counts []string) string    { return "[" + strings.Join(counts, ", ") + "]" }

// doubles returns a text, because an array in a result cannot contain NULL.
func (d bigQuery) doubles(exprs []string) string { return "TO_JSON_STRING(" + d.array(exprs) + ")" }

func (d bigQuery) infinity(sign int) string {
	if sign < 0 {
		return d.double("'-inf'")
	}
	return d.double("'inf'")
}

// instant returns, for the class Date, the first day that does not begin before t, because records are compared with >= and <.
func (bigQuery) instant(t time.Time, class Class) string {
	t = t.UTC()
	switch class {
	case Timestamp:
		return "DATETIME '" + t.Format(instantLayout) + "'"
	case Date:
		return "DATE '" + t.Add(24*time.Hour-time.Nanosecond).Format(time.DateOnly) + "'"
	}
	return "TIMESTAMP '" + t.Format(instantLayout) + "+00:00'"
}

func (bigQuery) earlier(expr string, _ Class, seconds float64) string {
	return fmt.Sprintf("TIMESTAMP_SUB(TIMESTAMP(%s), INTERVAL %d SECOND)", expr, int64(seconds))
}

func (bigQuery) epoch(expr string, _ Class) string {
	return "UNIX_MICROS(TIMESTAMP(" + expr + ")) / 1e6"
}

// moments returns a text, because an array in a result cannot contain NULL.
func (d bigQuery) moments(expr, condition string) string {
	if condition != "" {
		expr = "IF(" + condition + ", " + expr + ", NULL)"
	}
	return d.doubles([]string{d.double("count(" + expr + ")"), "min(" + expr + ")", "max(" + expr + ")", "sum(" + expr + ")", "stddev_pop(" + expr + ")", d.double(d.countIf(expr + " = 0"))})
}

// castInteger casts to an integer, because BigQuery does not group by floating-point numbers.
func (bigQuery) castInteger(expr string) string { return "CAST(" + expr + " AS INT64)" }

func (bigQuery) quantiles(string, []float64) string { return "NULL" } // See quantilesFrom.

// quantilesFrom selects from APPROX_QUANTILES, which returns only evenly spaced quantiles.
func (d bigQuery) quantilesFrom(expr, source string, probabilities []float64) string {
	const parts = 1000
	picks := make([]string, len(probabilities))
	for i, p := range probabilities {
		picks[i] = fmt.Sprintf("q[OFFSET(%d)]", int(math.Round(p*parts)))
	}
	return "(SELECT " + d.doubles(picks) + " FROM (SELECT APPROX_QUANTILES(IF(ABS(" + expr + ") <= " + number(largest) + ", " + expr + ", NULL), " + strconv.Itoa(parts) + ") AS q FROM " + source + ") AS x)"
}

func (bigQuery) random() string { return "RAND()" }

func (bigQuery) matches(expr, pattern string) string {
	return "REGEXP_CONTAINS(" + expr + ", " + pattern + ")"
}

func (d bigQuery) oneIn(columns []string, n int) string {
	return fmt.Sprintf("MOD(FARM_FINGERPRINT(%s), %d) = 0", joined(d, columns), n)
}

func (d bigQuery) timeOfNumber(microseconds string) (string, Class) {
	return "TIMESTAMP_MICROS(" + d.castInteger(microseconds) + ")", TimestampTZ
}

func (d bigQuery) timeOfText(expr, format string) (string, Class) {
	if format == "" {
		return "SAFE_CAST(" + expr + " AS TIMESTAMP)", TimestampTZ
	}
	return "SAFE.PARSE_TIMESTAMP(" + d.text(strings.ReplaceAll(format, "%S.%f", "%E*S")) + ", " + expr + ")", TimestampTZ
}

func (bigQuery) class(databaseType string) Class {
	switch databaseType {
	case "INTEGER", "INT64":
		return Integer
	case "NUMERIC", "BIGNUMERIC":
		return Decimal
	case "FLOAT", "FLOAT64":
		return Float
	case "STRING":
		return Text
	case "BOOLEAN", "BOOL":
		return Boolean
	case "DATETIME":
		return Timestamp
	case "TIMESTAMP":
		return TimestampTZ
	case "DATE":
		return Date
	}
	return Opaque
}
