package tables

import (
	"fmt"
	"strings"
	"time"
)

// trino is the dialect of Trino and of the databases that Trino federates.
type trino struct{ ansi }

func (trino) double(expr string) string       { return "CAST(" + expr + " AS DOUBLE)" }
func (trino) isNaN(expr string) string        { return "is_nan(" + expr + ")" }
func (trino) countIf(condition string) string { return "count_if(" + condition + ")" }
func (trino) distinct(expr string) string     { return "approx_distinct(" + expr + ")" }

func (trino) epoch(expr string, class Class) string {
	if class == Date {
		expr = "CAST(" + expr + " AS TIMESTAMP)"
	}
	return "to_unixtime(" + expr + ")"
}

func (trino) moments(expr, condition string) string {
	return "ARRAY[" + strings.Join(momentAggregates(expr, condition, "CAST(%s AS DOUBLE)"), ", ") + "]"
}

func (trino) infinity(sign int) string {
	if sign < 0 {
		return "-infinity()"
	}
	return "infinity()"
}

// instant includes the time zone in the literal, because Trino makes it part of the type.
func (d trino) instant(t time.Time, class Class) string {
	if class == TimestampTZ {
		return "TIMESTAMP '" + t.UTC().Format(instantLayout) + " UTC'"
	}
	return d.ansi.instant(t, class)
}

func (d trino) quantiles(expr string, probabilities []float64) string {
	return fmt.Sprintf("approx_percentile(%s, ARRAY[%s]) FILTER (WHERE is_finite(%s))", expr, numbers(probabilities), expr)
}

func (trino) class(databaseType string) Class {
	// The precision is inside the name, as in TIMESTAMP(3) WITH TIME ZONE.
	if name := strings.ToUpper(databaseType); strings.HasPrefix(name, "TIMESTAMP") && strings.HasSuffix(name, "WITH TIME ZONE") {
		return TimestampTZ
	}
	switch baseType(databaseType) {
	case "TINYINT", "SMALLINT", "INTEGER", "BIGINT":
		return Integer
	case "DECIMAL":
		return Decimal
	case "REAL", "DOUBLE":
		return Float
	case "VARCHAR", "CHAR":
		return Text
	case "BOOLEAN":
		return Boolean
	case "TIMESTAMP":
		return Timestamp
	case "DATE":
		return Date
	}
	return Opaque
}
