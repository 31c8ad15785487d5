package baseline

import (
	"context"
	"fmt"
	"maps"
	"reflect"
)

// WasReset reports whether a part was ever reset.
func (v *View) WasReset(part Part) bool { return v.gens[part] > 0 }

// Hours returns the hours of one day, or ErrNotFound.
func (v *View) Hours(ctx context.Context, definition string, d Day) (Hours, error) {
	r, err := fetch(ctx, v, v.gens.hours(definition, d), kindHours, new(record[Hours]))
	return r.value, err
}

// CopyProduction copies the production baseline of another subject: its days, their hours, and whether it is frozen. It copies only the
// fields that have the same bins in both definitions. It does not overwrite existing objects, so an interrupted copy can be repeated.
// It returns the number of days of the other subject.
func (b *Subject) CopyProduction(ctx context.Context, from *View) (int, error) {
	source, err := from.Definition(ctx)
	if err != nil {
		return 0, err
	}
	p, err := from.Production(ctx, 0)
	if err != nil || len(p.Days) == 0 {
		return 0, err
	}
	v, err := b.View(ctx)
	if err != nil {
		return 0, err
	}
	def, err := v.Definition(ctx)
	if err != nil {
		return 0, err
	}
	if v.has(v.gens.frozen(def.ID)) {
		return len(p.Days), nil
	}
	only := func(c Counts) Counts {
		c.Definition, c.Fields = def.ID, maps.Clone(c.Fields)
		maps.DeleteFunc(c.Fields, func(field string, _ map[string]int64) bool { return !sameBins(def, source, field) })
		return c
	}
	for _, day := range p.Days {
		if err := v.copyHours(ctx, from, source, def, day); err != nil {
			return 0, err
		}
		if p.Frozen() {
			continue
		}
		counts, err := from.Day(ctx, source.ID, day)
		if err != nil {
			return 0, err
		}
		// This does not wait until the winner is settled; the next view does.
		stem := v.gens.day(def.ID, day)
		data, err := encode(b.newHeader(kindDay, stem), only(counts))
		if err == nil {
			_, err = b.put(ctx, stem, data)
		}
		if err != nil {
			return 0, fmt.Errorf("write day %s of %s: %w", day, b.id, err)
		}
	}
	if p.Frozen() {
		if _, err := v.freeze(ctx, Production{Days: p.Days, Counts: only(p.Counts)}); err != nil {
			return 0, err
		}
	}
	return len(p.Days), nil
}

// copyHours copies the hours of a day, if there are any.
func (v *View) copyHours(ctx context.Context, from *View, source, def Definition, day Day) error {
	if !from.has(from.gens.hours(source.ID, day)) || v.has(v.gens.hours(def.ID, day)) {
		return nil
	}
	h, err := from.Hours(ctx, source.ID, day)
	if err != nil {
		return err
	}
	hours := Hours{Definition: def.ID, Hours: make([]Hour, len(h.Hours))}
	for i, hour := range h.Hours {
		hours.Hours[i] = maps.Clone(hour)
		maps.DeleteFunc(hours.Hours[i], func(field string, _ []int64) bool { return !sameBins(def, source, field) })
	}
	return v.putHours(ctx, day, hours, false)
}

func sameBins(a, b Definition, field string) bool {
	in, ok := a.Fields[field]
	of, also := b.Fields[field]
	return ok && also && reflect.DeepEqual(in, of)
}
