package tables

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// Labels names the columns of a table with predictions and their labels.
type Labels struct {
	Prediction, Label string
	// Model, Version and Segment are columns to group by. LabelTime is the column of the time at which the label became known. Each may
	// be empty.
	Model, Version, Segment, LabelTime string
	// Numeric means that predictions are quantities, which are compared by their distance from the label. Otherwise they are classes,
	// which are compared for equality.
	Numeric bool
	// Confidence is the column of the model's confidence, 0 to 1. It may be empty.
	Confidence string
	// Bins are the upper bounds, in ascending order, of the bins that rows are counted by. They are bins of the confidence or, if
	// Numeric, of the prediction; the last bin of a prediction has no upper bound. Without Bins, rows are not counted by bin.
	Bins []float64
	// Middle divides the window: rows from then on are counted as later. It is used only with Bins.
	Middle time.Time
}

// Labelled is a group of rows with the same values.
type Labelled struct {
	Model, Version, Segment string
	// Predicted and Actual are classes. A missing prediction has the class null.
	Predicted, Actual string
	// Bin is the bin of the rows, named by its upper bound. It is empty without bins, or if the confidence is not between 0 and 1.
	Bin string
	// Later reports whether the rows are in the second part of the window.
	Later bool
	Rows  int64
	// AbsoluteError and SquaredError are sums over the rows, if predictions are quantities.
	AbsoluteError, SquaredError float64
	// DelayRows is the number of rows whose label has a time. Delay is the sum of the seconds from the record's time to the label's
	// time.
	DelayRows int64
	Delay     float64
}

// Labelled counts the labelled rows of the window by model, version and segment. For classes it also counts by prediction and label;
// with bins also by bin and by part of the window. More than most groups are an error, which limits the size of the result.
func (s *Source) Labelled(ctx context.Context, r Relation, w Window, l Labels, most int) ([]Labelled, error) {
	schema, err := s.Schema(ctx, r)
	if err != nil {
		return nil, err
	}
	return s.labelled(ctx, r, schema, w, l, most)
}

func (s *Source) labelled(ctx context.Context, r Relation, schema []Column, w Window, l Labels, most int) ([]Labelled, error) {
	sc, err := s.fromClause(ctx, r, schema)
	if errors.Is(err, errEmpty) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("count labels: %w", err)
	}
	r.from = sc.from
	query, err := s.labelledSQL(r, schema, w, l, most)
	if err != nil {
		return nil, fmt.Errorf("count labels: %w", err)
	}
	rows, err := s.query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("count labels: %w", s.redact(err))
	}
	defer rows.Close()
	var groups []Labelled
	for rows.Next() {
		v, err := scan(rows, 12)
		if err != nil {
			return nil, fmt.Errorf("count labels: %w", s.redact(err))
		}
		var g Labelled
		for i, to := range []*string{&g.Model, &g.Version, &g.Segment, &g.Predicted, &g.Actual, &g.Bin} {
			*to = toText(v[i])
		}
		var later int64
		for i, to := range []*int64{&later, &g.Rows, &g.DelayRows} {
			if *to, err = toInt(v[6+i]); err != nil {
				return nil, fmt.Errorf("count labels: rows: %w", err)
			}
		}
		for i, to := range []*float64{&g.Delay, &g.AbsoluteError, &g.SquaredError} {
			if *to, err = toFloat(v[9+i]); err != nil {
				return nil, fmt.Errorf("count labels: sum: %w", err)
			}
		}
		g.Later = later == 1
		groups = append(groups, g)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("count labels: %w", s.redact(err))
	}
	if len(groups) > most {
		return nil, fmt.Errorf("count labels: more than %d combinations of model, version, segment, prediction, label and bin, expected fewer", most)
	}
	return groups, nil
}

func (s *Source) labelledSQL(r Relation, schema []Column, w Window, l Labels, most int) (string, error) {
	d := s.dialect
	where, err := s.condition(r, schema, w)
	if err != nil {
		return "", err
	}
	column := func(name string) (Column, error) {
		i := slices.IndexFunc(schema, func(c Column) bool { return c.Name == name })
		if i < 0 {
			return Column{}, fmt.Errorf("column %q: %w", name, ErrNoColumn)
		}
		if schema[i].Class == Opaque {
			return Column{}, fmt.Errorf("column %q has type %s, expected a text, number or truth", name, schema[i].Type)
		}
		return schema[i], nil
	}
	prediction, err := column(l.Prediction)
	if err != nil {
		return "", err
	}
	label, err := column(l.Label)
	if err != nil {
		return "", err
	}
	conditions := []string{d.identifier(label.Name) + " IS NOT NULL"}
	var groups, exprs []string
	group := func(expr string) {
		groups, exprs = append(groups, expr), append(exprs, expr)
	}
	for _, name := range []string{l.Model, l.Version, l.Segment} {
		if name == "" {
			exprs = append(exprs, d.text(""))
			continue
		}
		c, err := column(name)
		if err != nil {
			return "", err
		}
		group("coalesce(" + d.varchar(d.identifier(c.Name)) + ", " + d.text("") + ")")
	}
	absolute, squared := "0", "0"
	if l.Numeric {
		for _, c := range []Column{prediction, label} {
			if !fits(binning.Numeric, c.Class) {
				return "", fmt.Errorf("column %q has type %s, expected a number", c.Name, c.Type)
			}
			conditions = append(conditions, d.identifier(c.Name)+" IS NOT NULL")
			if v := d.double(d.identifier(c.Name)); c.Class == Float {
				// One NaN or infinite value would make the sums NaN or infinite.
				conditions = append(conditions, "NOT ("+d.isNaN(v)+")", v+" <> "+d.infinity(+1), v+" <> "+d.infinity(-1))
			}
		}
		difference := "(" + d.double(d.identifier(prediction.Name)) + " - " + d.double(d.identifier(label.Name)) + ")"
		absolute, squared = "sum(abs"+difference+")", "sum("+difference+" * "+difference+")"
		exprs = append(exprs, d.text(""), d.text(""))
	} else {
		// If one is an integer and the other a fractional type, 1 and 1.0 are the same class.
		mixed := prediction.Class != label.Class && fits(binning.Numeric, prediction.Class) && fits(binning.Numeric, label.Class)
		var classes [2]string
		for i, c := range []Column{prediction, label} {
			expr := d.identifier(c.Name)
			if mixed {
				expr = d.double(expr)
			}
			classes[i] = "coalesce(" + d.varchar(expr) + ", " + d.text(binning.Null) + ")"
		}
		group(classes[0])
		group(classes[1])
	}
	if len(l.Bins) == 0 {
		exprs = append(exprs, d.text(""), "0")
	} else {
		bin, err := s.binSQL(l, column)
		if err != nil {
			return "", err
		}
		at, err := timeColumn(r, schema)
		if err != nil {
			return "", err
		}
		group(bin)
		group("CASE WHEN " + d.identifier(at.Name) + " >= " + d.instant(l.Middle, at.Class) + " THEN 1 ELSE 0 END")
	}
	delayed, delay := "0", "0"
	if l.LabelTime != "" {
		at, err := timeColumn(r, schema)
		if err != nil {
			return "", err
		}
		known, err := timeColumn(Relation{Time: l.LabelTime}, schema)
		if err != nil {
			return "", err
		}
		difference := d.epoch(d.identifier(known.Name), known.Class) + " - " + d.epoch(d.identifier(at.Name), at.Class)
		delayed, delay = "count("+d.identifier(known.Name)+")", "sum("+difference+")"
	}
	if where == "" {
		where = " WHERE "
	} else {
		where += " AND "
	}
	slices.Sort(conditions)
	query := "SELECT " + strings.Join(append(exprs, "count(*)", delayed, delay, absolute, squared), ",\n  ") +
		"\nFROM " + r.from + " AS t" + where + strings.Join(slices.Compact(conditions), " AND ")
	if len(groups) > 0 {
		query += "\nGROUP BY " + strings.Join(groups, ", ")
	}
	return fmt.Sprintf("%s\nLIMIT %d", query, most+1), nil
}

// binSQL returns the SQL of a row's bin.
func (s *Source) binSQL(l Labels, column func(string) (Column, error)) (string, error) {
	d, name, first, last := s.dialect, l.Confidence, " WHEN %s < 0 THEN "+s.dialect.text(""), ""
	if l.Numeric {
		name, first, last = l.Prediction, "", binning.UpTo(math.Inf(1))
	}
	c, err := column(name)
	if err != nil {
		return "", err
	}
	if !fits(binning.Numeric, c.Class) {
		return "", fmt.Errorf("column %q has type %s, expected a number", c.Name, c.Type)
	}
	v := d.double(d.identifier(c.Name))
	cases := strings.ReplaceAll(first, "%s", v)
	for _, bound := range l.Bins {
		cases += fmt.Sprintf(" WHEN %s <= %v THEN %s", v, bound, d.text(binning.UpTo(bound)))
	}
	return "CASE" + cases + " ELSE " + d.text(last) + " END", nil
}

func toText(v any) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// toFloat reads a sum from any type that a driver returns. NULL is 0, the sum of no rows.
func toFloat(v any) (float64, error) {
	switch v := v.(type) {
	case nil:
		return 0, nil
	case float64:
		return v, nil
	}
	n, err := toInt(v)
	return float64(n), err
}
