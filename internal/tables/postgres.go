package tables

import (
	"fmt"
	"strings"
)

// postgreSQL is the dialect of PostgreSQL 12 and later, and of databases that use its protocol and SQL.
type postgreSQL struct{ ansi }

func (postgreSQL) double(expr string) string   { return "CAST(" + expr + " AS DOUBLE PRECISION)" }
func (postgreSQL) varchar(expr string) string  { return "CAST(" + expr + " AS TEXT)" }
func (postgreSQL) isNaN(expr string) string    { return expr + " = 'NaN'" }
func (postgreSQL) distinct(expr string) string { return "count(DISTINCT " + expr + ")" }

func (d postgreSQL) epoch(expr string, _ Class) string {
	return d.double("extract(epoch FROM " + expr + ")")
}

func (postgreSQL) infinity(sign int) string {
	if sign < 0 {
		return "'-Infinity'"
	}
	return "'Infinity'"
}

func (d postgreSQL) quantiles(expr string, probabilities []float64) string {
	return fmt.Sprintf("percentile_disc(CAST(ARRAY[%s] AS DOUBLE PRECISION[])) WITHIN GROUP (ORDER BY %s) FILTER (WHERE %s NOT IN ('NaN', 'Infinity', '-Infinity'))",
		numbers(probabilities), expr, expr)
}

func (postgreSQL) class(databaseType string) Class {
	if strings.HasPrefix(databaseType, "_") {
		return Opaque
	}
	switch baseType(databaseType) {
	case "INT2", "INT4", "INT8":
		return Integer
	// A NUMERIC can be NaN and, from PostgreSQL 14 on, infinite.
	case "FLOAT4", "FLOAT8", "NUMERIC":
		return Float
	case "TEXT", "VARCHAR", "BPCHAR", "NAME", "CHAR":
		return Text
	case "BOOL":
		return Boolean
	case "TIMESTAMP":
		return Timestamp
	case "TIMESTAMPTZ":
		return TimestampTZ
	case "DATE":
		return Date
	}
	return Opaque
}
