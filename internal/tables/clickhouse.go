package tables

import (
	"fmt"
	"strings"
	"time"
)

// clickHouse is the dialect of ClickHouse 22 and later.
type clickHouse struct{}

func (clickHouse) identifier(name string) string { return "`" + clickHouseEscaper.Replace(name) + "`" }
func (clickHouse) text(s string) string          { return "'" + clickHouseEscaper.Replace(s) + "'" }

// clickHouseEscaper escapes the characters that end or change a quoted text. ClickHouse interprets backslash sequences in both literals
// and identifiers.
var clickHouseEscaper = strings.NewReplacer(`\`, `\\`, `'`, `\'`, "`", "\\`")

func (clickHouse) double(expr string) string       { return "toFloat64(" + expr + ")" }
func (clickHouse) varchar(expr string) string      { return "toString(" + expr + ")" }
func (clickHouse) isNaN(expr string) string        { return "isNaN(" + expr + ")" }
func (clickHouse) countIf(condition string) string { return "countIf(" + condition + ")" }
func (clickHouse) distinct(expr string) string     { return "uniq(" + expr + ")" }
func (clickHouse) array(counts []string) string    { return "[" + strings.Join(counts, ", ") + "]" }

func (clickHouse) epoch(expr string, _ Class) string {
	return "toUnixTimestamp64Micro(toDateTime64(" + expr + ", 6, 'UTC')) / 1e6"
}

func (clickHouse) random() string { return "rand() / 4294967296" }

func (clickHouse) castInteger(expr string) string { return "toInt64(" + expr + ")" }

func (clickHouse) moments(expr, condition string) string {
	aggregates := make([]string, 0, momentCount)
	for _, f := range []string{"count", "min", "max", "sum", "stddevPop"} {
		of := f + "(" + expr + ")"
		if condition != "" {
			of = f + "If(" + expr + ", " + condition + ")"
		}
		aggregates = append(aggregates, "toFloat64("+of+")")
	}
	return "[" + strings.Join(append(aggregates, "toFloat64(countIf("+expr+" = 0))"), ", ") + "]"
}

func (clickHouse) infinity(sign int) string {
	if sign < 0 {
		return "-inf"
	}
	return "inf"
}

// instant ignores the class, because ClickHouse compares every date and time type with a DateTime64.
func (clickHouse) instant(t time.Time, _ Class) string {
	return "toDateTime64('" + t.UTC().Format(instantLayout) + "', 6, 'UTC')"
}

func (clickHouse) earlier(expr string, _ Class, seconds float64) string {
	return fmt.Sprintf("%s - toIntervalSecond(%d)", expr, int64(seconds))
}

// quantiles uses a t-digest, whose memory does not grow with the table.
func (d clickHouse) quantiles(expr string, probabilities []float64) string {
	return fmt.Sprintf("quantilesTDigestIf(%s)(%s, isFinite(%s))", numbers(probabilities), expr, expr)
}

func (d clickHouse) class(databaseType string) Class {
	for _, wrapper := range []string{"LowCardinality(", "Nullable("} {
		if inner, ok := strings.CutPrefix(databaseType, wrapper); ok {
			return d.class(strings.TrimSuffix(inner, ")"))
		}
	}
	switch name := baseType(databaseType); name {
	case "STRING", "FIXEDSTRING", "ENUM8", "ENUM16":
		return Text
	case "BOOL":
		return Boolean
	case "FLOAT32", "FLOAT64", "BFLOAT16":
		return Float
	// ClickHouse stores a date with time as an instant. Types without a zone use the server's zone.
	case "DATETIME", "DATETIME64":
		return TimestampTZ
	case "DATE", "DATE32":
		return Date
	default:
		switch {
		case strings.HasPrefix(name, "INT") && !strings.HasPrefix(name, "INTERVAL"), strings.HasPrefix(name, "UINT"):
			return Integer
		case strings.HasPrefix(name, "DECIMAL"):
			return Decimal
		}
	}
	return Opaque
}
