package tables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ReadAs sets how the relation's values are interpreted.
func (r Relation) ReadAs(how Reading, s *Source) Relation {
	r.reading = how
	if r.files != nil {
		r.from = s.read(r)
	}
	return r
}

// fromClause returns the SQL after FROM that reads each column as its class.
func (s *Source) fromClause(ctx context.Context, r Relation, schema []Column) (scope, error) {
	sc, err := s.open(ctx, r)
	if err != nil {
		return scope{}, err
	}
	var types []string
	plain := true
	for _, c := range schema {
		if c.text {
			types = append(types, s.dialect.text(c.Name)+": 'VARCHAR'")
		}
		plain = plain && c.read == ""
	}
	if len(types) > 0 {
		// Values such as 007 keep their leading zeros.
		sc.from = strings.TrimSuffix(sc.from, ")") + ", types = {" + strings.Join(types, ", ") + "})"
	}
	if plain {
		sc.from = r.within(sc.from)
		return sc, nil
	}
	exprs := make([]string, len(schema))
	for i, c := range schema {
		name := s.dialect.identifier(c.Name)
		exprs[i] = name
		if c.read != "" {
			exprs[i] = c.read + " AS " + name
		}
	}
	sc.from = r.within("(SELECT " + strings.Join(exprs, ", ") + " FROM " + sc.from + " AS t)")
	return sc, nil
}

// Guessed reports whether DuckDB guesses the types of the relation's columns from the values of text files. A column without values
// then has no known type.
func (r Relation) Guessed() bool { return r.files != nil && r.files.guessed() }

// mayBeUntyped reports whether the column's type is the one that a column without any value gets: text in a text file, and a 32-bit
// integer in Parquet, because pandas and Arrow write a column of None only as an INT32 of the type null.
func (r Relation) mayBeUntyped(c Column) bool {
	t := baseType(c.Type)
	return r.Guessed() && (t == "VARCHAR" || t == "JSON") || !r.Guessed() && t == "INTEGER"
}

// Conform returns the schema of files with the expected types where the values permit both types: a column without values can have any
// type, a column of whole numbers can be fractional, and every column of a CSV file can be text.
func (s *Source) Conform(ctx context.Context, r Relation, schema []Column, expected map[string]string) ([]Column, error) {
	if r.files == nil {
		return schema, nil
	}
	conformed := slices.Clone(schema)
	var untyped []int
	for i, c := range schema {
		want := expected[c.Name]
		switch {
		case want == "" || strings.EqualFold(want, c.Type):
		case r.mayBeUntyped(c):
			untyped = append(untyped, i)
		case !r.Guessed():
		case baseType(want) == "VARCHAR" && r.files.reader == "read_csv" && c.Class != Opaque && c.Name != r.Time:
			conformed[i].Type, conformed[i].Class, conformed[i].text, conformed[i].read = want, Text, true, ""
		case widens(baseType(c.Type), baseType(want)):
			conformed[i] = s.column(r, c.Name, want, "CAST("+s.dialect.identifier(c.Name)+" AS "+want+")")
		}
	}
	empty, err := s.empty(ctx, r, schema, untyped)
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	for _, i := range empty {
		want := expected[schema[i].Name]
		conformed[i] = s.column(r, schema[i].Name, want, "CAST(NULL AS "+want+")")
	}
	return conformed, nil
}

// column returns the column that the SQL expression read converts to databaseType.
func (s *Source) column(r Relation, name, databaseType, read string) Column {
	c := Column{Name: name, Type: databaseType, Class: s.dialect.class(databaseType), read: read}
	r.reading.interpret(s.dialect, &c, name == r.Time, r.files != nil)
	return c
}

// widens reports whether every value of the guessed type from is also a value of type to.
func widens(from, to string) bool {
	switch to {
	case "DOUBLE":
		return from == "BIGINT"
	case "TIMESTAMP":
		return from == "DATE"
	}
	return false
}

// Untyped returns the names of the columns whose type is unknown because the files contain no value of them.
func (s *Source) Untyped(ctx context.Context, r Relation, schema []Column) ([]string, error) {
	if r.files == nil {
		return nil, nil
	}
	var candidates []int
	for i, c := range schema {
		if r.mayBeUntyped(c) {
			candidates = append(candidates, i)
		}
	}
	empty, err := s.empty(ctx, r, schema, candidates)
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	names := make([]string, len(empty))
	for i, j := range empty {
		names[i] = schema[j].Name
	}
	return names, nil
}

// empty returns the indices of the columns that have no value at all. The first rows decide this for most columns, which avoids reading
// the whole file.
func (s *Source) empty(ctx context.Context, r Relation, schema []Column, columns []int) ([]int, error) {
	schema = slices.Clone(schema)
	for i := range schema {
		if schema[i].Name == r.Time {
			schema[i].read = "" // A text that is not a valid time still counts as a value.
		}
	}
	for _, limit := range []string{" LIMIT 10000", ""} {
		if len(columns) == 0 {
			return nil, nil
		}
		sc, err := s.fromClause(ctx, r, schema)
		if errors.Is(err, errEmpty) {
			return columns, nil
		}
		if err != nil {
			return nil, err
		}
		counts, names := make([]string, len(columns)), make([]string, len(columns))
		for i, j := range columns {
			names[i] = s.dialect.identifier(schema[j].Name)
			counts[i] = "count(" + names[i] + ")"
		}
		row, err := s.queryRow(ctx, "SELECT "+s.dialect.array(counts)+" FROM (SELECT "+strings.Join(names, ", ")+" FROM "+sc.from+" AS t"+limit+") AS u", 1)
		if err != nil {
			return nil, err
		}
		values, err := toInts(row[0])
		if err != nil {
			return nil, err
		}
		var left []int
		for i, j := range columns {
			if values[i] == 0 {
				left = append(left, j)
			}
		}
		columns = left
	}
	return columns, nil
}

// OutsideWindow counts records that a window leaves out because their time is missing or later.
type OutsideWindow struct {
	// Untimed is the number of records without a valid time. Future is the number of records after the end of the window.
	Untimed, Future int64
	// Unread is the number of untimed records whose value is not a valid time. Example is one such value.
	Unread  int64
	Example string
}

// Outside counts the records without a valid time, and those after the end of the window.
func (s *Source) Outside(ctx context.Context, r Relation, schema []Column, w Window) (OutsideWindow, error) {
	parts, err := s.OutsideParts(ctx, r, schema, w, nil)
	return parts[0], err
}

// OutsideParts is Outside for each partition of the split.
func (s *Source) OutsideParts(ctx context.Context, r Relation, schema []Column, w Window, split Split) ([]OutsideWindow, error) {
	parts := make([]OutsideWindow, split.Parts())
	if r.Time == "" || w.To.IsZero() || r.virtual != nil { // A virtual table has no such records.
		return parts, nil
	}
	sc, err := s.open(ctx, r)
	if errors.Is(err, errEmpty) {
		return parts, nil
	}
	if err != nil {
		return parts, err
	}
	column, err := timeColumn(r, schema)
	if err != nil {
		return parts, err
	}
	group, err := split.expression(s.dialect, schema)
	if err != nil {
		return parts, err
	}
	d := s.dialect
	raw := d.identifier(r.Time)
	at := cmp.Or(column.read, raw)
	late := at + " >= " + d.instant(w.To, column.Class)
	if m, ok := d.(mySQL); ok && column.read == "" {
		at = m.dated(raw) // Other comparisons use the plain column, so that MySQL can use an index.
	}
	exprs := []string{
		d.countIf(at + " IS NULL"), d.countIf(late), "count(" + raw + ")",
		"max(CASE WHEN " + at + " IS NULL THEN " + d.varchar(raw) + " END)",
	}
	err = s.grouped(ctx, exprs, r.within(sc.from)+" AS t WHERE "+at+" IS NULL OR "+late, group, func(g int64, row []any) error {
		if g < 0 || g >= int64(len(parts)) {
			return fmt.Errorf("part %d of %d", g, len(parts))
		}
		o := &parts[g]
		var nonNull int64
		for i, to := range []*int64{&o.Untimed, &o.Future, &nonNull} {
			var err error
			if *to, err = toInt(row[i]); err != nil {
				return err
			}
		}
		if o.Unread, o.Example = nonNull-o.Future, toText(row[3]); len(o.Example) > 40 {
			o.Example = strings.ToValidUTF8(o.Example[:40], "") + "…"
		}
		return nil
	})
	if err != nil {
		return parts, fmt.Errorf("records outside the window: %w", err)
	}
	return parts, nil
}

// Plus adds the counts of other rows.
func (o OutsideWindow) Plus(p OutsideWindow) OutsideWindow {
	return OutsideWindow{o.Untimed + p.Untimed, o.Future + p.Future, o.Unread + p.Unread, cmp.Or(o.Example, p.Example)}
}
