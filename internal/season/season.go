// Package season computes how the values of a baseline depend on the hour of the day and the kind of day.
//
// Input: the counts of each learned hour by the bins of a field, and the counts of the full baseline. Output: for a window, the share
// of each bin that the baseline had at that time of the day (weekdays and weekends separately), and the number of values that these
// shares come from; also how much the baseline's own hours differed from each other. State: a Season is built once by a Builder and
// never changes. The package never reads a clock or a store.
//
// An hour at night is compared with the same hours of other nights. It differs from a full month as the night differs from the day,
// and that is not drift.
package season

import (
	"math"
	"time"

	"github.com/sightglass-ml/sightglass/internal/drift"
)

const (
	hoursPerDay = 24
	kinds       = 2 // of days: weekdays and weekends
	slots       = kinds * hoursPerDay
)

// slot is an hour of one kind of day.
type slot int

func slotOf(t time.Time) slot {
	s := slot(t.Hour())
	if day := t.Weekday(); day == time.Saturday || day == time.Sunday {
		s += hoursPerDay
	}
	return s
}

// neighbour returns the slot that is the given number of hours later, or earlier if negative, on the same kind of day.
func (s slot) neighbour(hours int) slot {
	kind, hour := s/hoursPerDay, int(s)%hoursPerDay
	return kind*hoursPerDay + slot((hour+hours+hoursPerDay)%hoursPerDay)
}

// otherKind returns the same hour on the other kind of day.
func (s slot) otherKind() slot { return (s + hoursPerDay) % slots }

const (
	// minValues is the minimum number of values for each bin in a slot. With 100, chance changes the slot's shares by an index of about
	// 0.01, a thirtieth of the default drift limit.
	minValues = 100
	// minDays is the minimum number of days of a slot, because one Saturday does not represent all weekends.
	minDays = 3
	// maxNeighbours is the maximum number of hours before and after a slot that can be pooled with it. Hours further away are a
	// different time of the day.
	maxNeighbours = 3
	// significance is the normal quantile above which a slot differs from the full baseline. With 4 and 48 slots, one of 700 fields
	// without a season is classified as seasonal by chance.
	significance = 4
)

// cell is the number of values by bin.
type cell struct {
	bins  []int64
	total int64
}

func (c *cell) add(bins []int64) {
	if len(bins) > 0 && c.bins == nil {
		c.bins = make([]int64, len(bins))
	}
	for i, n := range bins {
		c.bins[i] += n
		c.total += n
	}
}

// field is the data of one field.
type field struct {
	bins     []string
	full     cell
	own      [slots]cell
	pooled   [slots]cell
	seasonal bool
	swing    deviation
}

// Settings define what the hours of a baseline are and which of them have enough values to be compared.
type Settings struct {
	// Zone is the time zone of hours and weekends.
	Zone *time.Location
	// MaxNoise is the maximum index that chance alone may explain in an hour: ml:threshold:drift_noise_psi of the rules. With fewer
	// values in an hour, its index depends more on chance than on the hour.
	MaxNoise float64
}

// Builder collects the learned hours. It is not safe for concurrent use.
type Builder struct {
	Settings
	days   [slots]int
	hours  []hour
	fields map[string]*field
}

// NewBuilder returns a Builder.
func NewBuilder(s Settings) *Builder {
	return &Builder{Settings: s, fields: make(map[string]*field)}
}

// Field adds a field with its bins and the counts of the full baseline. A bin that is missing in full has the count 0.
func (b *Builder) Field(name string, bins []string, full map[string]int64) {
	f := &field{bins: bins}
	counts := make([]int64, len(bins))
	for i, bin := range bins {
		counts[i] = full[bin]
	}
	f.full.add(counts)
	b.fields[name] = f
}

// Hour adds the hour of the baseline that begins at start. The counts of a field are in the order of its bins. Fields that were not
// added, or that have another number of bins, are ignored. The caller must not change fields until Season has returned.
func (b *Builder) Hour(start time.Time, fields map[string][]int64) {
	s := slotOf(start.In(b.Zone))
	b.days[s]++
	b.hours = append(b.hours, hour{start, s, fields})
	for name, counts := range fields {
		if f := b.fields[name]; f != nil && len(counts) == len(f.bins) {
			f.own[s].add(counts)
		}
	}
}

// Season returns the season of the added hours. The Builder must not be used afterwards.
func (b *Builder) Season() *Season {
	for name, f := range b.fields {
		for s := range slot(slots) {
			f.pooled[s] = b.pool(f, s)
			f.seasonal = f.seasonal || differs(f.bins, f.pooled[s], f.full)
		}
		f.swing = b.swing(name, f)
		if !f.seasonal {
			f.pooled = [slots]cell{} // Only seasonal fields are read from pooled.
		}
	}
	return &Season{zone: b.Zone, days: b.days, fields: b.fields}
}

// pool returns the counts of a slot if it has enough values from enough days. Otherwise it adds, in this order, more and more hours
// before and after it, and the same hours of the other kind of day. If that is still not enough, it returns the full baseline.
func (b *Builder) pool(f *field, s slot) cell {
	for _, kinds := range [][]slot{{s}, {s, s.otherKind()}} {
		var sum cell
		days := 0
		for _, k := range kinds {
			days += b.days[k]
		}
		if days < minDays {
			continue
		}
		for hours := range maxNeighbours + 1 {
			for _, k := range kinds {
				sum.add(f.own[k.neighbour(hours)].bins)
				if hours > 0 {
					sum.add(f.own[k.neighbour(-hours)].bins)
				}
			}
			if f.own[s].total > 0 && sum.total >= minValues*int64(len(f.bins)) {
				return sum
			}
		}
	}
	return f.full
}

// differs reports whether a slot differs from the full baseline by more than chance explains.
func differs(bins []string, c, full cell) bool {
	if c.total == 0 || &c.bins[0] == &full.bins[0] {
		return false
	}
	x, ok := drift.Compare(counts(bins, c), counts(bins, full))
	return ok && x.PSI > x.Critical(significance)
}

func counts(bins []string, c cell) map[string]int64 {
	m := make(map[string]int64, len(bins))
	for i, bin := range bins {
		m[bin] = c.bins[i]
	}
	return m
}

// Season has the distribution of a baseline at each time of the day. It is safe for concurrent use.
type Season struct {
	zone   *time.Location
	days   [slots]int
	fields map[string]*field
}

// Expected is the distribution that a window is compared with.
type Expected struct {
	// Shares are the shares of the values by bin.
	Shares map[string]float64
	// Values is the number of values that the shares come from. For a mixture of slots, it is the number of values with which a single
	// slot would have the same uncertainty.
	Values float64
	// Full reports that the shares are those of the full baseline.
	Full bool
}

// Window returns the baseline's distribution at the window's time of the day. A window across several slots gets their mixture,
// weighted by the number of values that each slot has in its part of the window. Two kinds of windows get the full baseline, which has
// more values: those of a field that does not differ between slots by more than chance, and those of a day or more. Window returns
// false if the baseline has no values of the field.
func (s *Season) Window(name string, from, to time.Time) (Expected, bool) {
	f := s.fields[name]
	if f == nil || f.full.total == 0 {
		return Expected{}, false
	}
	parts, full := s.cells(f, from, to)
	shares, values := f.mixture(parts)
	e := Expected{Shares: make(map[string]float64, len(f.bins)), Values: values, Full: full}
	for i, bin := range f.bins {
		e.Shares[bin] = shares[i]
	}
	return e, true
}

// Mix is Window without allocating a map, for callers that run every minute. The shares are in the order of the bins. The caller must
// not change bins or shares.
func (s *Season) Mix(name string, from, to time.Time) (bins []string, shares []float64, values float64, ok bool) {
	f := s.fields[name]
	if f == nil || f.full.total == 0 {
		return nil, nil, 0, false
	}
	parts, _ := s.cells(f, from, to)
	shares, values = f.mixture(parts)
	return f.bins, shares, values, true
}

// cells returns the slots of a window, or the full baseline.
func (s *Season) cells(f *field, from, to time.Time) (parts []weightedCell, full bool) {
	if !f.seasonal || to.Sub(from) >= hoursPerDay*time.Hour || !from.Before(to) {
		return []weightedCell{{f.full, 1}}, true
	}
	for at := from; at.Before(to); {
		// Time zones differ from UTC by multiples of a quarter of an hour. Learned hours are hours of UTC.
		next := at.Truncate(time.Hour).Add(time.Hour)
		if next.After(to) {
			next = to
		}
		k := slotOf(at.Truncate(time.Hour).In(s.zone))
		// A slot without any value gets a very small weight instead of 0, because it may be the only slot of the window.
		perHour := max(float64(f.own[k].total)/float64(max(s.days[k], 1)), 1e-6)
		parts = append(parts, weightedCell{f.pooled[k], perHour * next.Sub(at).Hours()})
		at = next
	}
	return parts, false
}

// weightedCell is a cell and its weight in a mixture.
type weightedCell struct {
	cell
	weight float64
}

func (f *field) mixture(parts []weightedCell) (shares []float64, values float64) {
	weights := 0.0
	for _, p := range parts {
		weights += p.weight
	}
	shares = make([]float64, len(f.bins))
	uncertainty := 0.0
	for _, p := range parts {
		w := p.weight / weights
		uncertainty += w * w / float64(p.total)
		for i := range shares {
			shares[i] += w * float64(p.bins[i]) / float64(p.total)
		}
	}
	return shares, math.Round(1 / uncertainty)
}

// Seasonal reports whether the field differs between slots by more than chance explains.
func (s *Season) Seasonal(name string) bool {
	f := s.fields[name]
	return f != nil && f.seasonal
}
