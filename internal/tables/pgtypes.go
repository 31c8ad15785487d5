package tables

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// name sets type and class of the columns whose types the driver knows by their
// number only: enums, extensions' types such as citext, and a few of PostgreSQL's
// own. A number changes when a type is made again, as a restore does.
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
		var number, shown, name string
		var enum, text bool
		if err := rows.Scan(&number, &shown, &name, &enum, &text); err != nil {
			return fmt.Errorf("names of types: %w", err)
		}
		for _, i := range unknown[number] {
			c := &columns[i]
			c.Type = shown
			column := s.dialect.identifier(c.Name)
			switch {
			case name == "citext":
				// Its values are the same whatever their case.
				c.Class, c.read = Text, "lower(CAST("+column+" AS TEXT))"
			case enum || text:
				// An enum compares with its own values only.
				c.Class, c.read = Text, "CAST("+column+" AS TEXT)"
			case name == "money":
				c.Class, c.read = Decimal, "CAST("+column+" AS NUMERIC)"
			}
		}
	}
	return rows.Err()
}

// doubleOfNumeric casts a NUMERIC to a double. One that is too large for it
// counts as infinite and one that is too small as 0; the cast is an error.
func (d postgreSQL) doubleOfNumeric(expr string) string {
	return fmt.Sprintf("CASE WHEN %[1]s = 'NaN' THEN 'NaN' WHEN %[1]s > %[2]s THEN 'Infinity' WHEN %[1]s < -%[2]s THEN '-Infinity' WHEN abs(%[1]s) < 1e-307 THEN 0 ELSE %[3]s END",
		expr, number(largest), d.double(expr))
}
