package tables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// Split divides the rows of a relation into partitions by the values of columns, so that one scan counts all partitions. Each row is in
// exactly one partition. For each column there is one partition for each listed value, and a last one for all other and missing values.
type Split []SplitColumn

// SplitColumn is a column and the values, as text, that get a partition each.
type SplitColumn struct {
	Column string
	Values []string
}

// Parts returns the number of partitions.
func (p Split) Parts() int {
	n := 1
	for _, c := range p {
		n *= len(c.Values) + 1
	}
	return n
}

// Values returns the value of each column in a partition. other is true for the columns where the partition has all other values.
func (p Split) Values(part int) (values []string, other []bool) {
	values, other = make([]string, len(p)), make([]bool, len(p))
	for i, c := range slices.Backward(p) {
		j := part % (len(c.Values) + 1)
		part /= len(c.Values) + 1
		if other[i] = j == len(c.Values); !other[i] {
			values[i] = c.Values[j]
		}
	}
	return values, other
}

// spellings returns the SQL texts that count as a value of the column.
func (c SplitColumn) spellings(d dialect, value string) string {
	return texts(d, binning.Spellings(value, binning.Layout{Top: c.Values}.Categories()))
}

// expression returns the SQL of the number of a row's partition.
func (p Split) expression(d dialect, schema []Column) (string, error) {
	expr := ""
	for _, c := range p {
		column, err := columnOf(schema, c.Column)
		if err != nil {
			return "", err
		}
		text := d.varchar(d.identifier(column.Name))
		var b strings.Builder
		b.WriteString("CASE")
		for i, v := range c.Values {
			fmt.Fprintf(&b, " WHEN %s IN (%s) THEN %d", text, c.spellings(d, v), i)
		}
		fmt.Fprintf(&b, " ELSE %d END", len(c.Values))
		if expr != "" {
			expr = "(" + expr + ") * " + strconv.Itoa(len(c.Values)+1) + " + "
		}
		expr += b.String()
	}
	return expr, nil
}

// Part returns the relation of one partition.
func (r Relation) Part(s *Source, p Split, part int) Relation {
	d := s.dialect
	values, other := p.Values(part)
	conditions := make([]string, len(p))
	for i, c := range p {
		text := d.varchar(d.identifier(c.Column))
		if !other[i] {
			conditions[i] = text + " IN (" + c.spellings(d, values[i]) + ")"
			continue
		}
		all := make([]string, len(c.Values))
		for j, v := range c.Values {
			all[j] = c.spellings(d, v)
		}
		conditions[i] = "(" + d.identifier(c.Column) + " IS NULL OR " + text + " NOT IN (" + strings.Join(all, ", ") + "))"
	}
	r.part = strings.Join(conditions, " AND ")
	return r
}

// within restricts the SQL after FROM to the relation's partition.
func (r Relation) within(from string) string {
	if r.part == "" {
		return from
	}
	return "(SELECT * FROM " + from + " AS t WHERE " + r.part + ")"
}

// Windows are the profiles of a window and of its recent window, and the newest rows.
type Windows struct {
	Full, Recent Profile
	Newest       int64
}

// Starts are the starts of a recent window, of which everything is counted, and of the newest rows, of which only the number is. The newest
// rows do not begin before the recent window. Zero times are not counted.
type Starts struct{ Recent, Newest time.Time }

// CountRecent counts the window, and what begins at the starts, in one scan. The relation must have a timestamp column.
func (s *Source) CountRecent(ctx context.Context, r Relation, schema []Column, w Window, starts Starts, fields Fields, asOf time.Time) (Windows, error) {
	if r.virtual == nil {
		all, _, err := s.CountParts(ctx, r, schema, w, starts, nil, fields, asOf)
		return all, err
	}
	var all Windows
	full, err := virtualProfile(r.virtual, schema, w, fields)
	if all.Full = full; err == nil && !starts.Recent.IsZero() {
		all.Recent, err = virtualProfile(r.virtual, schema, Window{From: starts.Recent, To: w.To}, fields)
	}
	if err == nil && !starts.Newest.IsZero() {
		var newest Profile
		newest, err = virtualProfile(r.virtual, schema, Window{From: starts.Newest, To: w.To}, nil)
		all.Newest = newest.Rows
	}
	return all, err
}

// CountParts counts the window, what begins at the starts, and each partition of the split in one scan.
func (s *Source) CountParts(ctx context.Context, r Relation, schema []Column, w Window, starts Starts, split Split, fields Fields, asOf time.Time) (all Windows, parts []Windows, err error) {
	if r.virtual != nil {
		return all, nil, errors.New("a virtual table has no parts")
	}
	q, err := s.profileQuery(ctx, r, schema, w, fields, asOf)
	if errors.Is(err, errEmpty) {
		all = q.noWindows()
		parts = make([]Windows, split.Parts())
		for i := range parts {
			parts[i] = q.noWindows()
		}
		return all, parts, nil
	}
	if err != nil {
		return all, nil, err
	}
	group, err := split.expression(s.dialect, schema)
	if err != nil {
		return all, nil, fmt.Errorf("profile: %w", err)
	}
	// A row is in the last of the windows that it is in.
	windows := []time.Time{w.From}
	for _, start := range []time.Time{starts.Recent, starts.Newest} {
		if !start.IsZero() && !start.Equal(windows[len(windows)-1]) {
			windows = append(windows, start)
		}
	}
	if len(windows) > 1 {
		at, err := timeColumn(r, schema)
		if err != nil {
			return all, nil, err
		}
		if group != "" {
			group = "(" + group + ") * " + strconv.Itoa(len(windows)) + " + "
		}
		group += "CASE"
		for i := len(windows) - 1; i > 0; i-- {
			group += " WHEN " + s.dialect.identifier(r.Time) + " >= " + s.dialect.instant(windows[i], at.Class) + " THEN " + strconv.Itoa(i)
		}
		group += " ELSE 0 END"
	}
	parts = make([]Windows, split.Parts())
	for i := range parts {
		parts[i] = q.noWindows()
	}
	all = q.noWindows()
	err = s.grouped(ctx, q.exprs, q.from, group, func(g int64, values []any) error {
		if g < 0 || g >= int64(len(parts)*len(windows)) {
			return fmt.Errorf("part %d of %d", g, len(parts)*len(windows))
		}
		p, err := q.decode(values)
		if err != nil {
			return err
		}
		from := windows[int(g)%len(windows)]
		for _, of := range []*Windows{&parts[int(g)/len(windows)], &all} {
			of.Full.add(p)
			if !starts.Recent.IsZero() && !from.Before(starts.Recent) {
				of.Recent.add(p)
			}
			if !starts.Newest.IsZero() && !from.Before(starts.Newest) {
				of.Newest += p.Rows
			}
		}
		return nil
	})
	if err != nil {
		return all, nil, fmt.Errorf("profile: %w", err)
	}
	return all, parts, nil
}

// grouped runs a SELECT of aggregates for each group that has rows, and calls each with the number of the group. With an empty group,
// it aggregates all rows as group 0.
func (s *Source) grouped(ctx context.Context, exprs []string, from, group string, each func(group int64, values []any) error) error {
	if group == "" {
		values, err := s.queryRow(ctx, "SELECT "+strings.Join(exprs, ",\n  ")+"\nFROM "+from, len(exprs))
		if err != nil {
			return err
		}
		return each(0, values)
	}
	rows, err := s.query(ctx, "SELECT "+strings.Join(append([]string{group}, exprs...), ",\n  ")+"\nFROM "+from+"\nGROUP BY "+group)
	if err != nil {
		return s.redact(err)
	}
	defer rows.Close()
	for rows.Next() {
		values, err := scan(rows, len(exprs)+1)
		if err != nil {
			return s.redact(err)
		}
		g, err := toInt(values[0])
		if err != nil {
			return fmt.Errorf("group: %w", err)
		}
		if err := each(g, values[1:]); err != nil {
			return err
		}
	}
	return s.redact(rows.Err())
}

func (q profileQuery) noWindows() Windows { return Windows{Full: q.none(), Recent: q.none()} }

// none returns the profile of no rows.
func (q profileQuery) none() Profile {
	p := Profile{Unreadable: q.skipped, Nulls: make(map[string]int64), Values: make(map[string]map[string]int64), Numbers: make(map[string]Moments)}
	for _, c := range q.plain {
		p.Nulls[c.Name] = 0
	}
	for _, c := range q.binned {
		p.Nulls[c.Name] = 0
		bins := map[string]int64{binning.Null: 0}
		for _, bin := range q.fields[c.Name].Bins() {
			bins[bin] = 0
		}
		p.Values[c.Name] = bins
	}
	return p
}

// add adds the profile of other rows.
func (p *Profile) add(other Profile) {
	p.Rows += other.Rows
	if other.Latest.After(p.Latest) {
		p.Latest = other.Latest
	}
	for column, n := range other.Nulls {
		p.Nulls[column] += n
	}
	for column, bins := range other.Values {
		for bin, n := range bins {
			p.Values[column][bin] += n
		}
	}
	for column, m := range other.Numbers {
		sum := p.Numbers[column].Plus(m)
		sum.Mean = sum.Sum / float64(sum.Values) // The database computes the mean in the same way.
		p.Numbers[column] = sum
	}
}
