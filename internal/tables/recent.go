package tables

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// CountRecent is Count of the window and of the part of it that begins at recent, in one scan. The relation has a time column.
func (s *Source) CountRecent(ctx context.Context, r Relation, schema []Column, w Window, recent time.Time, fields Fields, asOf time.Time) (whole, last Profile, err error) {
	if r.virtual != nil {
		if whole, err = virtualProfile(r.virtual, schema, w, fields); err == nil {
			last, err = virtualProfile(r.virtual, schema, Window{From: recent, To: w.To}, fields)
		}
		return whole, last, err
	}
	at, err := timeColumn(r, schema)
	if err != nil {
		return whole, last, err
	}
	q, err := s.profileQuery(ctx, r, schema, w, fields, asOf)
	if errors.Is(err, errEmpty) {
		return q.none(), q.none(), nil
	}
	if err != nil {
		return whole, last, err
	}
	part := "CASE WHEN " + s.dialect.identifier(r.Time) + " >= " + s.dialect.instant(recent, at.Class) + " THEN 1 ELSE 0 END"
	exprs := append([]string{part}, q.exprs...)
	rows, err := s.query(ctx, "SELECT "+strings.Join(exprs, ",\n  ")+"\nFROM "+q.from+"\nGROUP BY "+part)
	if err != nil {
		return whole, last, fmt.Errorf("profile: %w", s.redact(err))
	}
	defer rows.Close()
	whole, last = q.none(), q.none()
	for rows.Next() {
		values, err := scan(rows, len(exprs))
		if err != nil {
			return whole, last, fmt.Errorf("profile: %w", s.redact(err))
		}
		recent, err := toInt(values[0])
		if err != nil {
			return whole, last, fmt.Errorf("profile: part of the window: %w", err)
		}
		p, err := q.decode(values[1:])
		if err != nil {
			return whole, last, err
		}
		if recent == 1 {
			last = p
		}
		whole.add(p)
	}
	if err := rows.Err(); err != nil {
		return whole, last, fmt.Errorf("profile: %w", s.redact(err))
	}
	return whole, last, nil
}

// none is the profile of no rows.
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

// add adds the counts of other rows.
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
		p.Numbers[column] = p.Numbers[column].Plus(m)
	}
}

// RowsBy counts the rows of each interval of the window that has any, by its start. Intervals begin at multiples of every, a
// number of whole seconds, since 1970. The relation has a time column.
func (s *Source) RowsBy(ctx context.Context, r Relation, schema []Column, w Window, every time.Duration) (map[time.Time]int64, error) {
	if r.virtual != nil {
		return r.virtual.RowsBy(w, every)
	}
	at, err := timeColumn(r, schema)
	if err != nil {
		return nil, err
	}
	q, err := s.profileQuery(ctx, r, schema, w, Fields{}, w.To)
	if errors.Is(err, errEmpty) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	seconds := int64(every / time.Second)
	interval := fmt.Sprintf("floor((%s) / %d)", s.dialect.epoch(s.dialect.identifier(r.Time), at.Class), seconds)
	rows, err := s.query(ctx, "SELECT "+interval+", count(*)\nFROM "+q.from+"\nGROUP BY "+interval)
	if err != nil {
		return nil, fmt.Errorf("count rows by %s: %w", every, s.redact(err))
	}
	defer rows.Close()
	counts := make(map[time.Time]int64)
	for rows.Next() {
		values, err := scan(rows, 2)
		if err != nil {
			return nil, fmt.Errorf("count rows by %s: %w", every, s.redact(err))
		}
		start, err := toInt(values[0])
		if err != nil {
			return nil, fmt.Errorf("count rows by %s: %w", every, err)
		}
		if counts[time.Unix(start*seconds, 0).UTC()], err = toInt(values[1]); err != nil {
			return nil, fmt.Errorf("count rows by %s: %w", every, err)
		}
	}
	return counts, s.redact(rows.Err())
}
