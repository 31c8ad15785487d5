package tables

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// Outline is the input for choosing bins: statistics of each column in one window, such as a day. Bins can be chosen from the outlines
// of several windows.
type Outline struct {
	Rows    int64                    `json:"rows"`
	Columns map[string]ColumnOutline `json:"columns"`
}

// ColumnOutline has the statistics of one column in one window.
type ColumnOutline struct {
	// Values is the number of values that are not missing; Distinct is the number of distinct ones among them.
	Values   int64 `json:"values"`
	Distinct int64 `json:"distinct"`
	// Moments and the evenly spaced Quantiles describe the finite values of a numeric column.
	Moments   *Moments  `json:"moments,omitempty"`
	Quantiles []float64 `json:"quantiles,omitempty"`
	// Categories has the frequencies of the values of a text, a boolean, or an integer with few distinct values. If More is true, it
	// has only the most frequent ones.
	Categories map[string]int64 `json:"categories,omitempty"`
	More       bool             `json:"more,omitempty"`
}

// quantileCount is the number of quantiles of an outline. It leaves twenty quantiles in each tenth of the values.
const quantileCount = 200

// probabilities returns the midpoints of quantileCount equal intervals of 0 to 1.
func probabilities() []float64 {
	p := make([]float64, quantileCount)
	for i := range p {
		p[i] = (float64(i) + 0.5) / quantileCount
	}
	return p
}

// Outline computes the outline of a window. It takes one scan for the statistics of all columns, one for all quantiles, and one for
// each column that is counted by category. progress, if not nil, is called after each scan with the number of scans done and the total.
func (s *Source) Outline(ctx context.Context, r Relation, schema []Column, w Window, choice Choice, progress func(done, total int)) (Outline, error) {
	if r.virtual != nil {
		return virtualOutline(r, schema, w, choice)
	}
	if progress == nil {
		progress = func(int, int) {}
	}
	where, err := s.condition(r, schema, w)
	if err != nil {
		return Outline{}, err
	}
	sc, err := s.fromClause(ctx, r, schema)
	if errors.Is(err, errEmpty) {
		return Outline{Columns: map[string]ColumnOutline{}}, nil
	}
	if err != nil {
		return Outline{}, fmt.Errorf("choose bins: %w", err)
	}
	source := sc.from + " AS t" + where
	candidates, _ := choice.candidates(schema, r.Time)
	o, err := s.statistics(ctx, source, candidates)
	if err != nil {
		return Outline{}, fmt.Errorf("choose bins: %w", err)
	}
	var numeric, categorical []Column
	for _, c := range candidates {
		column := o.Columns[c.Name]
		switch {
		case c.Class.isNumber():
			numeric = append(numeric, c)
			if c.Class == Integer && column.Distinct <= int64(choice.Top) {
				categorical = append(categorical, c)
			}
		case c.Class.isTime():
		case c.Class == Text && !MatchesAny(choice.Include, c.Name) && (column.Unique() || column.Distinct > binning.MaxKnown):
		default:
			categorical = append(categorical, c)
		}
	}
	total := len(categorical) + 2
	progress(1, total)
	if err := s.quantiles(ctx, source, numeric, o); err != nil {
		return Outline{}, fmt.Errorf("choose bins: quantiles: %w", err)
	}
	progress(2, total)
	for i, c := range categorical {
		if err := s.categories(ctx, source, c, o); err != nil {
			return Outline{}, fmt.Errorf("choose bins: categories of column %q: %w", c.Name, err)
		}
		progress(3+i, total)
	}
	return o, nil
}

// FirstWindows is the number of windows from which the first bins of a table are chosen. It is enough to detect the columns whose
// values are different each day.
const FirstWindows = 3

// Recent returns the outlines of a window and of the days before it, number outlines in all, in ascending order of time. Windows
// without rows are left out. Without a timestamp column, or if the window has no start, it returns one outline of all rows.
func (s *Source) Recent(ctx context.Context, r Relation, schema []Column, w Window, choice Choice, number int, progress func(done, total int)) ([]Outline, error) {
	windows := []Window{w}
	if r.Time != "" && !w.From.IsZero() {
		for len(windows) < number {
			to := windows[0].From
			windows = append([]Window{{From: to.Add(-24 * time.Hour), To: to}}, windows...)
		}
	}
	var outlines []Outline
	for _, w := range windows {
		o, err := s.Outline(ctx, r, schema, w, choice, progress)
		if err != nil {
			return nil, err
		}
		if o.Rows > 0 {
			outlines = append(outlines, o)
		}
	}
	return outlines, nil
}

func (c Class) isNumber() bool { return c == Integer || c == Decimal || c == Float }

func (s *Source) statistics(ctx context.Context, source string, columns []Column) (Outline, error) {
	exprs := []string{"count(*)"}
	for _, c := range columns {
		name := s.dialect.identifier(c.Name)
		exprs = append(exprs, s.dialect.array([]string{"count(" + name + ")", s.dialect.distinct(name)}))
	}
	for _, c := range columns {
		if c.Class.isNumber() {
			exprs = append(exprs, momentsOf(s.dialect, s.dialect.identifier(c.Name), c.Class))
		}
	}
	row, err := s.queryRow(ctx, "SELECT "+strings.Join(exprs, ",\n  ")+"\nFROM "+source, len(exprs))
	if err != nil {
		return Outline{}, err
	}
	o := Outline{Columns: make(map[string]ColumnOutline, len(columns))}
	if o.Rows, err = toInt(row[0]); err != nil {
		return Outline{}, fmt.Errorf("rows: %w", err)
	}
	counts, moments := row[1:1+len(columns)], row[1+len(columns):]
	for i, c := range columns {
		v, err := toInts(counts[i])
		if err != nil {
			return Outline{}, fmt.Errorf("column %q: %w", c.Name, err)
		}
		column := ColumnOutline{Values: v[0], Distinct: v[1]}
		if c.Class.isNumber() {
			m, err := decodeMoments(moments[0])
			if err != nil {
				return Outline{}, fmt.Errorf("column %q: moments: %w", c.Name, err)
			}
			moments = moments[1:]
			if m.Valid() {
				column.Moments = &m
			}
		}
		o.Columns[c.Name] = column
	}
	return o, nil
}

func (s *Source) quantiles(ctx context.Context, source string, columns []Column, o Outline) error {
	if len(columns) == 0 {
		return nil
	}
	exprs := make([]string, len(columns))
	from := "\nFROM " + source
	for i, c := range columns {
		value := s.dialect.double(s.dialect.identifier(c.Name))
		if d, ok := s.dialect.(quantiler); ok {
			exprs[i], from = d.quantilesFrom(value, source, probabilities()), ""
		} else {
			exprs[i] = s.dialect.quantiles(value, probabilities())
		}
	}
	row, err := s.queryRow(ctx, "SELECT "+strings.Join(exprs, ",\n  ")+from, len(exprs))
	if err != nil {
		return err
	}
	for i, c := range columns {
		quantiles, err := toFloats(row[i])
		if err != nil {
			return fmt.Errorf("column %q: %w", c.Name, err)
		}
		column := o.Columns[c.Name]
		for _, q := range quantiles {
			if !math.IsNaN(q) && !math.IsInf(q, 0) {
				column.Quantiles = append(column.Quantiles, q)
			}
		}
		o.Columns[c.Name] = column
	}
	return nil
}

func (s *Source) categories(ctx context.Context, source string, c Column, o Outline) error {
	text := textOf(s.dialect, s.dialect.identifier(c.Name), c.Class)
	// Ties in the count are sorted by text, so that all replicas get the same categories. The query asks for one category more than the
	// limit, to detect that there are more.
	rows, err := s.query(ctx, fmt.Sprintf(
		"SELECT category, count(*) AS n FROM (SELECT %s AS category FROM %s) AS c WHERE category IS NOT NULL GROUP BY category ORDER BY n DESC, category LIMIT %d",
		text, source, binning.MaxKnown+1))
	if err != nil {
		return s.redact(err)
	}
	defer rows.Close()
	column := o.Columns[c.Name]
	column.Categories = make(map[string]int64)
	for rows.Next() {
		values, err := scan(rows, 2)
		if err != nil {
			return s.redact(err)
		}
		n, err := toInt(values[1])
		if err != nil {
			return err
		}
		raw := toText(values[0])
		category := strings.ToValidUTF8(raw, "\uFFFD")
		// No database accepts a NUL in a literal, and JSON cannot hold invalid UTF-8.
		if len(column.Categories) == binning.MaxKnown || strings.ContainsRune(category, 0) || category != raw {
			column.More = true
			continue
		}
		column.Categories[category] = n
	}
	o.Columns[c.Name] = column
	return s.redact(rows.Err())
}
