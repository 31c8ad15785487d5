package tables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// SampleField selects what a sample contains of a column: its value if it is counted by category, its bin if it has another layout, and
// without a layout only whether it is missing, unless Group asks for the value all the same.
type SampleField struct {
	Column string
	Layout *binning.Layout
	Group  bool
}

// Sampled is a random sample of rows. For numbers it contains bins, not values.
type Sampled struct {
	// Window has the index of each row's window, and Times the time of each row. Times is nil without a timestamp column.
	Window []int
	Times  []time.Time
	// Fields are the requested fields that exist in the table, in the order of the request.
	Fields []SampledField

	dialect dialect
	from    string
	schema  []Column
	windows []string
	before  ageReference
}

// SampledField has a code for each row, which is an index in Names: the name of a bin, or a value. Code 0 is always a missing value,
// named binning.Null. Values reports whether Names are values; a value can have the same name as a bin.
type SampledField struct {
	SampleField
	Codes  []int32
	Names  []string
	Values bool
}

// missingOrPresent are the names of a field without a layout.
var missingOrPresent = []string{binning.Null, "value"}

// Sample draws a random share, from 0 to 1, of the rows of the windows in one statement, and returns at most most rows. The windows
// must not overlap.
func (s *Source) Sample(ctx context.Context, r Relation, schema []Column, windows []Window, fields []SampleField, share float64, most int, asOf time.Time) (*Sampled, error) {
	if r.virtual != nil {
		return nil, ErrNoSample
	}
	q, exprs, err := s.sampleQuery(ctx, r, schema, windows, fields, asOf)
	if errors.Is(err, errEmpty) {
		return &Sampled{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sample: %w", err)
	}
	var conditions []string
	if joint := strings.Join(q.windows, " OR "); joint != "" {
		conditions = append(conditions, "("+joint+")")
	}
	if share < 1 {
		conditions = append(conditions, s.dialect.random()+" < "+number(share))
	}
	query := "SELECT " + strings.Join(exprs, ",\n  ") + "\nFROM " + q.from + " AS t"
	if len(conditions) > 0 {
		query += "\nWHERE " + strings.Join(conditions, " AND ")
	}
	query += fmt.Sprintf("\nLIMIT %d", most)
	rows, err := s.query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("sample: %w", s.redact(err))
	}
	defer rows.Close()
	codes := make([]map[string]int32, len(q.Fields))
	for i := range codes {
		codes[i] = make(map[string]int32)
	}
	for rows.Next() {
		values, err := scan(rows, len(exprs))
		if err != nil {
			return nil, fmt.Errorf("sample: %w", s.redact(err))
		}
		if err := q.add(values, codes); err != nil {
			return nil, fmt.Errorf("sample: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("sample: %w", s.redact(err))
	}
	return q, nil
}

// ErrNoSample means that the rows of a virtual table cannot be sampled.
var ErrNoSample = errors.New("a virtual table has no rows to sample")

func (s *Source) sampleQuery(ctx context.Context, r Relation, schema []Column, windows []Window, fields []SampleField, asOf time.Time) (*Sampled, []string, error) {
	d := s.dialect
	sc, err := s.fromClause(ctx, r, schema)
	if err != nil {
		return nil, nil, err
	}
	q := &Sampled{dialect: d, from: sc.from, schema: schema}
	if q.before, err = ageIn(d, r, schema, asOf); err != nil {
		return nil, nil, err
	}
	window, at := "0", "0"
	if r.Time != "" {
		column, err := timeColumn(r, schema)
		if err != nil {
			return nil, nil, err
		}
		at = d.castInteger("floor((" + d.epoch(d.identifier(column.Name), column.Class) + ") * 1000)")
		q.Times = []time.Time{}
		var cases strings.Builder
		for i, w := range windows {
			condition, err := s.condition(r, schema, w)
			if err != nil {
				return nil, nil, err
			}
			if condition = strings.TrimPrefix(condition, " WHERE "); condition == "" {
				continue
			}
			q.windows = append(q.windows, "("+condition+")")
			fmt.Fprintf(&cases, " WHEN %s THEN %d", condition, i)
		}
		if cases.Len() > 0 {
			window = "CASE" + cases.String() + " ELSE 0 END"
		}
	}
	exprs := []string{window, at}
	for _, f := range fields {
		i := slices.IndexFunc(schema, func(c Column) bool { return c.Name == f.Column })
		if i < 0 {
			continue
		}
		if f.Layout != nil && !fits(f.Layout.Kind, schema[i].Class) {
			f.Layout = nil
		}
		of := SampledField{SampleField: f, Names: missingOrPresent}
		name := d.identifier(f.Column)
		switch {
		case f.Layout == nil && !f.Group:
			exprs = append(exprs, "CASE WHEN "+name+" IS NULL THEN 0 ELSE 1 END")
		case f.Layout == nil || f.Layout.Kind == binning.Categorical:
			_, text := categoryOf(d, name, schema[i].Class)
			of.Names, of.Values = []string{binning.Null}, true
			exprs = append(exprs, text)
		default:
			of.Names = f.Layout.Bins()
			exprs = append(exprs, binOf(d, name, schema[i].Class, *f.Layout, q.before))
		}
		q.Fields = append(q.Fields, of)
	}
	return q, exprs, nil
}

// add appends a row.
func (q *Sampled) add(values []any, codes []map[string]int32) error {
	window, err := toInt(values[0])
	if err != nil {
		return fmt.Errorf("window: %w", err)
	}
	q.Window = append(q.Window, int(window))
	at, err := toInt(values[1])
	if err != nil {
		return fmt.Errorf("time: %w", err)
	}
	if q.Times != nil {
		q.Times = append(q.Times, time.UnixMilli(at).UTC())
	}
	for i := range q.Fields {
		f, v := &q.Fields[i], values[2+i]
		if !f.Values {
			code, err := toInt(v)
			if err != nil || code < 0 || code >= int64(len(f.Names)) {
				return fmt.Errorf("column %q: bin %v of %d: %w", f.Column, v, len(f.Names), err)
			}
			f.Codes = append(f.Codes, int32(code))
			continue
		}
		if v == nil {
			f.Codes = append(f.Codes, 0)
			continue
		}
		text := strings.ToValidUTF8(toText(v), "\uFFFD")
		// A value with the text of binning.Null is not a missing value, so it gets a code of its own.
		code, ok := codes[i][text]
		if !ok {
			code = int32(len(f.Names))
			codes[i][text] = code
			f.Names = append(f.Names, text)
		}
		f.Codes = append(f.Codes, code)
	}
	return nil
}

// binOf returns the SQL of the index of a value's bin in the layout.
func binOf(d dialect, column string, class Class, layout binning.Layout, before ageReference) string {
	bins := layout.Bins()
	var b strings.Builder
	fmt.Fprintf(&b, "CASE WHEN %s IS NULL THEN 0", column)
	first := len(bins) - len(layout.Edges) - 1
	if layout.Kind == binning.Aged {
		fmt.Fprintf(&b, " WHEN %s > %s THEN %d", column, before(class, 0), slices.Index(bins, binning.Future))
		for i, e := range layout.Edges {
			fmt.Fprintf(&b, " WHEN %s >= %s THEN %d", column, before(class, e), first+i)
		}
		fmt.Fprintf(&b, " ELSE %d END", len(bins)-1)
		return b.String()
	}
	value := d.double(column)
	if class == Float {
		// PostgreSQL sorts NaN above every number. Without a bin for it, NaN counts as missing and infinity falls into the outermost
		// interval.
		fmt.Fprintf(&b, " WHEN %s THEN %d", d.isNaN(value), max(slices.Index(bins, binning.NaN), 0))
		if inf := slices.Index(bins, binning.Inf); inf >= 0 {
			fmt.Fprintf(&b, " WHEN %s = %s OR %s = %s THEN %d", value, d.infinity(+1), value, d.infinity(-1), inf)
		}
	}
	for i, e := range layout.Edges {
		fmt.Fprintf(&b, " WHEN %s <= %s THEN %d", value, number(e), first+i)
	}
	fmt.Fprintf(&b, " ELSE %d END", len(bins)-1)
	return b.String()
}

// Listing returns the SQL that lists rows of the window, at most atMost, whose field is in that bin of its layout. It reads no rows
// of the table. It returns an empty text if nothing tells the rows of the bin.
func (s *Source) Listing(ctx context.Context, r Relation, schema []Column, w Window, field SampleField, bin string, atMost int, asOf time.Time) (string, error) {
	if r.virtual != nil {
		return "", ErrNoSample
	}
	q, _, err := s.sampleQuery(ctx, r, schema, []Window{w}, []SampleField{field}, asOf)
	if errors.Is(err, errEmpty) || err == nil && (len(q.Fields) == 0 || q.Fields[0].Layout == nil) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("list rows: %w", err)
	}
	f, of := &q.Fields[0], Among{}
	if f.Values {
		var categories []string
		categories, of.Except = f.Layout.CategoriesOf(bin)
		f.Names = append(f.Names[:1:1], categories...)
		for i := range categories {
			of.Codes = append(of.Codes, int32(i+1))
		}
	}
	if code := slices.Index(f.Names, bin); len(of.Codes) == 0 && code >= 0 {
		of.Codes = []int32{int32(code)}
	}
	if len(of.Codes) == 0 {
		return "", nil
	}
	return q.Statement(0, atMost, of), nil
}

// Among selects the rows whose field has one of the codes or, with Except, those of all other values that are not missing.
type Among struct {
	Field  int
	Codes  []int32
	Except bool
}

// Statement returns the SQL that lists rows of the window with that index, at most atMost, that meet all conditions.
func (q *Sampled) Statement(window int, atMost int, conditions ...Among) string {
	var parts []string
	if window < len(q.windows) {
		parts = append(parts, strings.TrimSuffix(strings.TrimPrefix(q.windows[window], "("), ")"))
	}
	for _, c := range conditions {
		if condition := q.condition(c); condition != "" {
			parts = append(parts, condition)
		}
	}
	statement := "SELECT * FROM " + q.from + " AS t"
	if len(parts) > 0 {
		statement += " WHERE " + strings.Join(parts, " AND ")
	}
	return fmt.Sprintf("%s LIMIT %d", statement, atMost)
}

// condition returns the SQL that selects the rows with one of the codes of a field.
func (q *Sampled) condition(c Among) string {
	f, d := q.Fields[c.Field], q.dialect
	name := d.identifier(f.Column)
	class := q.schema[slices.IndexFunc(q.schema, func(c Column) bool { return c.Name == f.Column })].Class
	var parts, texts []string
	for _, code := range c.Codes {
		switch {
		case code == 0:
			parts = append(parts, name+" IS NULL")
		case f.Layout == nil && !f.Group:
			parts = append(parts, name+" IS NOT NULL")
		case f.Values:
			texts = append(texts, d.text(f.Names[code]))
		default:
			parts = append(parts, binOf(d, name, class, *f.Layout, q.before)+fmt.Sprintf(" = %d", code))
		}
	}
	if len(texts) > 0 {
		_, text := categoryOf(d, name, class)
		in := " IN ("
		if c.Except {
			in = " NOT IN ("
		}
		parts = append(parts, text+in+strings.Join(texts, ", ")+")")
	}
	if len(parts) > 1 {
		return "(" + strings.Join(parts, " OR ") + ")"
	}
	return strings.Join(parts, "")
}
