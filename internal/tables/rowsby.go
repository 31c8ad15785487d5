package tables

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// RowsBy counts the rows of each interval of the window. The keys are the starts of the intervals; intervals without rows are absent.
// Intervals begin at multiples of every, which must be whole seconds, since 1970. The relation must have a timestamp column.
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
