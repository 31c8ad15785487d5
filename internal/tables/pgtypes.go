package tables

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// name sets the type and class of columns whose types the driver returns only as a number (OID): enums, types of extensions such as
// citext, and some types of PostgreSQL itself. The OID changes when a type is created again, for example by a restore.
func (s *Source) name(ctx context.Context, columns []Column) error {
	unknown := make(map[string][]int)
	var numbers []string
	for i, c := range columns {
		if _, err := strconv.ParseUint(c.Type, 10, 32); err == nil {
			if unknown[c.Type] == nil {
				numbers = append(numbers, c.Type)
			}
			unknown[c.Type] = append(unknown[c.Type], i)
		}
	}
	if len(numbers) == 0 {
		return nil
	}
	rows, err := s.query(ctx, "SELECT CAST(t.oid AS TEXT), format_type(t.oid, NULL), t.typname, t.typtype = 'e', t.typcategory = 'S' FROM pg_catalog.pg_type AS t WHERE t.oid IN ("+
		strings.Join(numbers, ", ")+")")
	if err != nil {
		return fmt.Errorf("names of types: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var number, formatted, name string
		var enum, text bool
		if err := rows.Scan(&number, &formatted, &name, &enum, &text); err != nil {
			return fmt.Errorf("names of types: %w", err)
		}
		for _, i := range unknown[number] {
			c := &columns[i]
			c.Type = formatted
			column := s.dialect.identifier(c.Name)
			switch {
			case name == "citext":
				// citext values that differ only in case are equal.
				c.Class, c.read = Text, "lower(CAST("+column+" AS TEXT))"
			case enum || text:
				// An enum can only be compared with its own values.
				c.Class, c.read = Text, "CAST("+column+" AS TEXT)"
			case name == "money":
				c.Class, c.read = Decimal, "CAST("+column+" AS NUMERIC)"
			}
		}
	}
	return rows.Err()
}

// doubleOfNumeric casts a NUMERIC to a double. A plain cast fails on values that a double cannot hold, so values that are too large
// become infinite and values that are too small become 0.
func (d postgreSQL) doubleOfNumeric(expr string) string {
	return fmt.Sprintf("CASE WHEN %[1]s = 'NaN' THEN 'NaN' WHEN %[1]s > %[2]s THEN 'Infinity' WHEN %[1]s < -%[2]s THEN '-Infinity' WHEN abs(%[1]s) < 1e-307 THEN 0 ELSE %[3]s END",
		expr, number(largest), d.double(expr))
}
