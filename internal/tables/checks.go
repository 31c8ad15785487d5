package tables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Check is a condition that every row should meet. As in SQL's CHECK, a row whose value is missing meets the condition. NotNull checks
// that a value is present.
type Check struct {
	Name string
	// Column is the column that the condition applies to. SQL conditions name their own columns.
	Column string
	// Exactly one condition is set: NotNull, In, AtLeast and AtMost (one or both), Matches, SQL or Partners.
	NotNull bool
	In      []string
	// AtLeast and AtMost are inclusive bounds. Either may be empty.
	AtLeast, AtMost string
	// Matches is a regular expression that must match anywhere in the value.
	Matches string
	// SQL is an operator's expression over the columns.
	SQL string
	// Where is an operator's expression that selects the rows to check. Empty means all.
	Where string
	// References is the referenced relation. Its PartnerColumn must contain every value of the column.
	References       *Relation
	ReferencedColumn string
}

// Checked is the number of rows that break a check, or the error that prevented counting.
type Checked struct {
	BrokenRows int64
	Err        error
}

// Check counts the rows of the window that break each check. It needs one scan for all checks, and one for each check that refers to
// another relation. A check that cannot be counted, for example because its column does not exist, does not affect the others.
func (s *Source) Check(ctx context.Context, r Relation, schema []Column, w Window, checks []Check) ([]Checked, error) {
	parts, err := s.CheckParts(ctx, r, schema, w, nil, checks)
	if err != nil {
		return nil, err
	}
	return parts[0], nil
}

// CheckParts is Check for each partition of the split.
func (s *Source) CheckParts(ctx context.Context, r Relation, schema []Column, w Window, split Split, checks []Check) ([][]Checked, error) {
	results := make([][]Checked, split.Parts())
	for i := range results {
		results[i] = make([]Checked, len(checks))
	}
	if len(checks) == 0 {
		return results, nil
	}
	sc, err := s.fromClause(ctx, r, schema)
	if errors.Is(err, errEmpty) {
		return results, nil
	}
	if err != nil {
		return nil, fmt.Errorf("checks: %w", err)
	}
	where, err := s.condition(r, schema, w)
	if err != nil {
		return nil, fmt.Errorf("checks: %w", err)
	}
	group, err := split.expression(s.dialect, schema)
	if err != nil {
		return nil, fmt.Errorf("checks: %w", err)
	}
	from := sc.from + " AS t" + where
	// count counts the given checks in one scan.
	count := func(counts []string, of []int) error {
		return s.grouped(ctx, []string{s.dialect.array(counts)}, from, group, func(g int64, row []any) error {
			values, err := toInts(row[0])
			if err != nil {
				return err
			}
			if len(values) != len(of) || g < 0 || g >= int64(len(results)) {
				return fmt.Errorf("%d counts of part %d, expected %d of %d parts", len(values), g, len(of), len(results))
			}
			for i, j := range of {
				results[g][j].BrokenRows = values[i]
			}
			return nil
		})
	}
	fail := func(check int, err error) {
		for i := range results {
			results[i][check] = Checked{Err: err}
		}
	}
	var counts []string
	var counted []int
	for i, c := range checks {
		broken, err := s.broken(ctx, schema, c)
		if c.Where != "" {
			broken = "(" + c.Where + "\n) AND " + broken
		}
		switch {
		case err != nil:
			fail(i, err)
		case c.References != nil:
			if err := count([]string{s.dialect.countIf(broken)}, []int{i}); err != nil {
				fail(i, err)
			}
		default:
			counts, counted = append(counts, s.dialect.countIf(broken)), append(counted, i)
		}
	}
	if len(counts) == 0 {
		return results, nil
	}
	if err = count(counts, counted); err == nil {
		return results, nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("checks: %w", err)
	}
	// At least one check fails the statement. Each runs alone to find which.
	for i, j := range counted {
		if err := count(counts[i:i+1], counted[i:i+1]); err != nil {
			fail(j, err)
		}
	}
	return results, nil
}

// broken returns the SQL condition of the rows that break the check.
func (s *Source) broken(ctx context.Context, schema []Column, c Check) (string, error) {
	d := s.dialect
	if c.SQL != "" {
		return "NOT (" + c.SQL + "\n)", nil // The line break ends a comment at the end of the condition.
	}
	column, err := columnOf(schema, c.Column)
	if err != nil {
		return "", err
	}
	name := d.identifier(column.Name)
	switch {
	case c.NotNull:
		return name + " IS NULL", nil
	case len(c.In) > 0:
		value, literals, err := s.comparable(column, c.In...)
		return value + " NOT IN (" + strings.Join(literals, ", ") + ")", err
	case c.AtLeast != "" || c.AtMost != "":
		var outside []string
		for _, bound := range []struct{ operator, value string }{{" < ", c.AtLeast}, {" > ", c.AtMost}} {
			if bound.value == "" {
				continue
			}
			value, literals, err := s.comparable(column, bound.value)
			if err != nil {
				return "", err
			}
			outside = append(outside, value+bound.operator+literals[0])
		}
		return "(" + strings.Join(outside, " OR ") + ")", nil
	case c.Matches != "":
		if column.Class != Text {
			name = d.varchar(name)
		}
		return "NOT " + d.matches(name, d.text(c.Matches)), nil
	case c.References != nil:
		partners, err := s.Schema(ctx, *c.References)
		if err != nil {
			return "", err
		}
		partner, err := columnOf(partners, c.ReferencedColumn)
		if err != nil {
			return "", fmt.Errorf("of the referenced table: %w", err)
		}
		sc, err := s.fromClause(ctx, *c.References, partners)
		if errors.Is(err, errEmpty) {
			return name + " IS NOT NULL", nil
		}
		key := d.identifier(partner.Name)
		return name + " NOT IN (SELECT " + key + " FROM " + sc.from + " AS partner WHERE " + key + " IS NOT NULL)", err
	}
	return "", errors.New("no condition; expected not_null, in, between, at_least, at_most, matches, references or sql")
}

func columnOf(schema []Column, name string) (Column, error) {
	i := slices.IndexFunc(schema, func(c Column) bool { return c.Name == name })
	if i < 0 {
		names := make([]string, len(schema))
		for i, c := range schema {
			names[i] = c.Name
		}
		return Column{}, fmt.Errorf("column %q: %w%s", name, ErrNoColumn, hint(name, names))
	}
	return schema[i], nil
}

// comparable returns the SQL of a column and of configured values so that they compare as values of the column's class.
func (s *Source) comparable(c Column, values ...string) (string, []string, error) {
	d := s.dialect
	expr, literals := d.identifier(c.Name), make([]string, len(values))
	for i, v := range values {
		switch {
		case c.Class == Integer || c.Class == Decimal || c.Class == Float:
			f, err := strconv.ParseFloat(v, 64)
			if err != nil || f-f != 0 {
				return "", nil, fmt.Errorf("column %q has type %s, and %q is not a number", c.Name, c.Type, v)
			}
			if literals[i] = number(f); c.Class != Float {
				// An exact number is compared exactly.
				literals[i] = decimal(v, f)
			}
		case c.Class.isTime():
			at, err := parseTime(v)
			if err != nil {
				return "", nil, fmt.Errorf("column %q has type %s, and %q is not a time such as 2026-11-24 or 2026-11-24T06:00:00Z", c.Name, c.Type, v)
			}
			literals[i] = d.instant(at, c.Class)
		case c.Class == Opaque:
			return "", nil, fmt.Errorf("column %q has type %s, whose values cannot be compared; give the condition as sql", c.Name, c.Type)
		default:
			literals[i] = d.text(v)
		}
	}
	if c.Class == Boolean {
		expr = d.varchar(expr)
	}
	return expr, literals, nil
}

// decimal returns a number of the configuration as an exact literal if it is written without an exponent.
func decimal(text string, value float64) string {
	if strings.Trim(strings.TrimPrefix(text, "-"), "0123456789.") == "" {
		return text
	}
	return number(value)
}

func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02 15:04:05.999999", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time", text)
}

// Duplicates is the number of rows that repeat the key of another row.
type Duplicates struct {
	// Rows is the number of rows beyond the first row of each key. Rows with a NULL in the key are not counted.
	Rows int64
	// Sample is the share of the keys that were counted. It is 1 if Rows is exact.
	Sample float64
}

// sampled means that one in 16 keys is counted if there are too many to count all. Keys are selected by a hash, so that all rows of a
// key are included.
const sampled = 16

// Duplicates counts the rows of the window that repeat a key. If rows is at most exact, all are counted. Otherwise a sixteenth of the
// keys is counted and the result is multiplied by sixteen.
func (s *Source) Duplicates(ctx context.Context, r Relation, schema []Column, w Window, key []string, rows, exact int64) (Duplicates, error) {
	parts, err := s.DuplicateParts(ctx, r, schema, w, nil, key, rows, exact)
	if err != nil {
		return Duplicates{}, err
	}
	return parts[0], nil
}

// DuplicateParts is Duplicates for each partition of the split. It counts rows that repeat the key of another row in the same
// partition.
func (s *Source) DuplicateParts(ctx context.Context, r Relation, schema []Column, w Window, split Split, key []string, rows, exact int64) ([]Duplicates, error) {
	d := s.dialect
	results := make([]Duplicates, split.Parts())
	for i := range results {
		results[i].Sample = 1
	}
	sc, err := s.fromClause(ctx, r, schema)
	if errors.Is(err, errEmpty) {
		return results, nil
	}
	var where, part string
	if err == nil {
		where, err = s.condition(r, schema, w)
	}
	if err == nil {
		part, err = split.expression(d, schema)
	}
	if err != nil {
		return nil, err
	}
	var names, conditions []string
	for _, k := range key {
		c, err := columnOf(schema, k)
		if err != nil {
			return nil, err
		}
		name := d.identifier(c.Name)
		names, conditions = append(names, name), append(conditions, name+" IS NOT NULL")
	}
	times := int64(1)
	if rows > exact {
		times = sampled
		conditions = append(conditions, d.oneIn(names, sampled))
	}
	joint := " WHERE "
	if where != "" {
		joint = where + " AND "
	}
	columns, by, group := "count(*) AS n", names, ""
	if part != "" {
		columns, by, group = part+" AS part, count(*) AS n", append([]string{part}, names...), "part"
	}
	from := "(SELECT " + columns + " FROM " + sc.from + " AS t" + joint + strings.Join(conditions, " AND ") +
		" GROUP BY " + strings.Join(by, ", ") + " HAVING count(*) > 1) AS k"
	for i := range results {
		results[i].Sample = 1 / float64(times)
	}
	err = s.grouped(ctx, []string{"sum(n - 1)"}, from, group, func(g int64, row []any) error {
		if g < 0 || g >= int64(len(results)) {
			return fmt.Errorf("part %d of %d", g, len(results))
		}
		n, err := toInt(row[0])
		results[g].Rows = n * times
		return err
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// Every matches tests for a regular expression anywhere in a text. Every oneIn selects one in n of the combinations of the columns'
// values, and the same ones in each scan.

func (duckDB) matches(expr, pattern string) string {
	return "regexp_matches(" + expr + ", " + pattern + ")"
}

func (postgreSQL) matches(expr, pattern string) string { return "(" + expr + " ~ " + pattern + ")" }

func (clickHouse) matches(expr, pattern string) string { return "match(" + expr + ", " + pattern + ")" }

func (trino) matches(expr, pattern string) string {
	return "regexp_like(" + expr + ", " + pattern + ")"
}

func (duckDB) oneIn(columns []string, n int) string {
	return fmt.Sprintf("hash(%s) %% %d = 0", strings.Join(columns, ", "), n)
}

func (d postgreSQL) oneIn(columns []string, n int) string {
	return fmt.Sprintf("hashtext(%s) %% %d = 0", joined(d, columns), n)
}

func (clickHouse) oneIn(columns []string, n int) string {
	return fmt.Sprintf("cityHash64(%s) %% %d = 0", strings.Join(columns, ", "), n)
}

func (d trino) oneIn(columns []string, n int) string {
	return fmt.Sprintf("from_big_endian_64(xxhash64(to_utf8(%s))) %% %d = 0", joined(d, columns), n)
}

// joined returns the concatenated text of several columns.
func joined(d dialect, columns []string) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = d.varchar(c)
	}
	return strings.Join(parts, " || "+d.text("|")+" || ")
}
