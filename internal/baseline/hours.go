package baseline

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/sightglass-ml/sightglass/internal/season"
)

const hoursPerDay = 24

// Hours are the counts of one day by hour. They are separate objects, so that a baseline learned before hours were stored stays
// unchanged, and a program that does not know hours can still read it.
type Hours struct {
	// Definition is the ID of the definition with the bins.
	Definition string `json:"definition"`
	// Hours are the 24 hours of the UTC day.
	Hours []Hour `json:"hours"`
}

// Hour has the counts of each field in the order of its layout's bins. The names of the bins are left out, because 24 times a day they
// would be most of the object.
type Hour map[string][]int64

func (h Hours) validate() error {
	if len(h.Hours) != hoursPerDay {
		return fmt.Errorf("%d hours, expected %d", len(h.Hours), hoursPerDay)
	}
	for i, hour := range h.Hours {
		for _, field := range slices.Sorted(maps.Keys(hour)) {
			if !utf8.ValidString(field) {
				return fmt.Errorf("hour %d: field %q is not UTF-8 text", i, field)
			}
			for bin, n := range hour[field] {
				if n < 0 || n > maxCount {
					return fmt.Errorf("hour %d: field %q: bin %d has %d values, expected 0 to 2^53", i, field, bin, n)
				}
			}
		}
	}
	return nil
}

// Add adds counts by the bins of a definition to the hour, 0 to 23.
func (h *Hours) Add(d Definition, hour int, fields map[string]map[string]int64) {
	for field, counts := range fields {
		bins := d.Fields[field].Bins()
		if h.Hours == nil || h.Hours[hour][field] == nil {
			h.Put(d, hour, field, make([]int64, len(bins)))
		}
		of := h.Hours[hour][field]
		for i, bin := range bins {
			of[i] += counts[bin]
		}
	}
}

// Put sets the counts of one field in an hour, in the order of its layout's bins.
func (h *Hours) Put(d Definition, hour int, field string, counts []int64) {
	if h.Hours == nil {
		h.Definition, h.Hours = d.ID, make([]Hour, hoursPerDay)
	}
	if h.Hours[hour] == nil {
		h.Hours[hour] = make(Hour)
	}
	h.Hours[hour][field] = counts
}

// Empty reports whether nothing was added.
func (h Hours) Empty() bool { return h.Hours == nil }

// AddDayByHour is AddDay with the hours of the day. It stores the hours before the day. If another replica has already added the day,
// that replica's hours are kept.
func (b *Subject) AddDayByHour(ctx context.Context, day Day, c Counts, h Hours) (bool, error) {
	if h.Empty() {
		return b.addDay(ctx, day, c, nil)
	}
	return b.addDay(ctx, day, c, &h)
}

// AddHours stores the hours of a day that is already stored.
func (b *Subject) AddHours(ctx context.Context, day Day, h Hours) error {
	v, err := b.viewFor(ctx, Counts{Definition: h.Definition})
	if err != nil {
		return err
	}
	return v.putHours(ctx, day, h, true)
}

// putHours stores the hours of a day. Without wait, it does not wait until the winner is settled, because storing the day that follows
// does.
func (v *View) putHours(ctx context.Context, day Day, h Hours, wait bool) error {
	stem := v.gens.hours(h.Definition, day)
	if wait || v.has(stem) {
		_, err := create(ctx, v, stem, kindHours, h)
		return err
	}
	data, err := encode(v.subject.newHeader(kindHours, stem), h)
	if err == nil {
		err = h.validate()
	}
	if err == nil {
		_, err = v.subject.put(ctx, stem, data)
	}
	if err != nil {
		return fmt.Errorf("write hours of %s: %w", v.subject.id, err)
	}
	return nil
}

// WithoutHours returns the days of a production baseline whose hours are not in the store.
func (v *View) WithoutHours(p Production) []Day {
	return slices.DeleteFunc(slices.Clone(p.Days), func(d Day) bool { return v.has(v.gens.hours(p.Counts.Definition, d)) })
}

// Day returns the counts of one day, or ErrNotFound.
func (v *View) Day(ctx context.Context, definition string, d Day) (Counts, error) {
	r, err := fetch(ctx, v, v.gens.day(definition, d), kindDay, new(record[Counts]))
	return r.value, err
}

// Season returns the season of the production baseline. It is nil if the store has no hours of its days. Accepted columns have the same
// distribution at all hours: the hours of the days were counted before, by other bins. AcceptedSeasons has their seasons.
func (v *View) Season(ctx context.Context, p Production, s season.Settings) (*season.Season, error) {
	b := v.subject
	days := slices.DeleteFunc(slices.Clone(p.Days), func(d Day) bool { return !v.has(v.gens.hours(p.Counts.Definition, d)) })
	if len(days) == 0 {
		return nil, nil
	}
	objects := []string{s.Zone.String(), fmt.Sprint(s.MaxNoise), fmt.Sprint(len(p.Days))}
	for _, d := range days {
		objects = append(objects, v.objects[v.gens.hours(p.Counts.Definition, d)].winner)
	}
	stems, err := v.inForce(ctx, p.Counts.Definition)
	if err != nil {
		return nil, err
	}
	for _, stem := range stems {
		objects = append(objects, v.objects[stem].winner)
	}
	b.mu.Lock()
	last := b.season
	b.mu.Unlock()
	if slices.Equal(last.objects, objects) {
		return last.season, nil
	}
	definition, err := v.Definition(ctx)
	if err != nil {
		return nil, err
	}
	columns, err := v.accepted(ctx, definition.ID)
	if err != nil {
		return nil, err
	}
	build := season.NewBuilder(s)
	for name, counts := range p.Counts.Fields {
		if layout, ok := definition.Fields[name]; ok {
			build.Field(name, layout.Bins(), counts)
		}
	}
	for _, d := range days {
		start, err := d.Start()
		if err != nil {
			return nil, err
		}
		r, err := fetch(ctx, v, v.gens.hours(definition.ID, d), kindHours, new(record[Hours]))
		if err != nil {
			return nil, err
		}
		for i, hour := range r.value.Hours {
			for _, a := range columns {
				delete(hour, a.Column.Name)
			}
			build.Hour(start.Add(time.Duration(i)*time.Hour), hour)
		}
	}
	last = seasonOf{objects, build.Season()}
	b.mu.Lock()
	b.season = last
	b.mu.Unlock()
	return last.season, nil
}

// AcceptedSeasons returns the season of each accepted column that was counted by hour.
func (v *View) AcceptedSeasons(ctx context.Context, p Production, s season.Settings) (map[string]*season.Season, error) {
	columns, err := v.accepted(ctx, p.Counts.Definition)
	seasons := make(map[string]*season.Season)
	for _, a := range columns {
		name := a.Column.Name
		delete(seasons, name) // The last acceptance is in force.
		if a.Layout == nil || len(a.Hours) == 0 {
			continue
		}
		build := season.NewBuilder(s)
		build.Field(name, a.Layout.Bins(), a.Counts)
		for _, h := range a.Hours {
			build.Hour(h.Start, map[string][]int64{name: h.Counts})
		}
		seasons[name] = build.Season()
	}
	return seasons, err
}

// seasonOf is the season of the hours in objects.
type seasonOf struct {
	objects []string
	season  *season.Season
}
