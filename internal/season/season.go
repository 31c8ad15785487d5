// Package season knows how the values of a baseline differ by hour of the day
// and kind of day.
//
// Input: the counts of each learned hour, by the bins of a field, and the counts
// of the whole baseline. Output: for a window, the share of each bin that the
// baseline had at that time of the day, weekdays and weekends apart, and the
// number of values behind it; and how much the baseline's own hours differed. State: a Season is built once by a Builder and
// never changes. The package reads no clock and no store.
//
// The last hour of a night is compared with nights: it differs from a whole
// month as the night differs from the day, and that is no drift.
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

// slot is an hour of the day and a kind of day.
type slot int

func slotOf(t time.Time) slot {
	s := slot(t.Hour())
	if day := t.Weekday(); day == time.Saturday || day == time.Sunday {
		s += hoursPerDay
	}
	return s
}

// neighbour is the slot so many hours later, or earlier, on the same kind of day.
func (s slot) neighbour(hours int) slot {
	kind, hour := s/hoursPerDay, int(s)%hoursPerDay
	return kind*hoursPerDay + slot((hour+hours+hoursPerDay)%hoursPerDay)
}

// otherKind is the same hour on the other kind of day.
func (s slot) otherKind() slot { return (s + hoursPerDay) % slots }

const (
	// minValues is how many values for each bin a slot must have to be compared
	// with. With 100, chance moves its shares by an index of about 0.01, a
	// thirtieth of the default limit of a drift.
	minValues = 100
	// minDays is on how many days a slot must have been counted: one Saturday is
	// no weekend.
	minDays = 3
	// maxNeighbours is how many hours on either side a slot can be pooled with.
	// The next ones are another time of the day.
	maxNeighbours = 3
	// significance is the normal quantile beyond which a slot differs from the
	// whole: 4 is one field without a season in 700 over 48 slots.
	significance = 4
)

// cell is a number of values by bin.
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

// field is what is known of one field.
type field struct {
	bins     []string
	whole    cell
	own      [slots]cell
	pooled   [slots]cell
	seasonal bool
	swing    swing
}

// Builder collects what was learned. It is for one goroutine.
type Builder struct {
	zone   *time.Location
	days   [slots]int
	hours  []hour
	fields map[string]*field
}

// NewBuilder makes a Builder. Hours and weekends are those of the zone.
func NewBuilder(zone *time.Location) *Builder {
	return &Builder{zone: zone, fields: make(map[string]*field)}
}

// Field names a field, its bins, and the counts of the whole baseline. Bins
// without a count have none.
func (b *Builder) Field(name string, bins []string, whole map[string]int64) {
	f := &field{bins: bins}
	counts := make([]int64, len(bins))
	for i, bin := range bins {
		counts[i] = whole[bin]
	}
	f.whole.add(counts)
	b.fields[name] = f
}

// Hour adds the hour of the baseline that begins at start. The counts of a field
// are in the order of its bins. Fields that were not named, or that have another
// number of bins, are left out. They must not be changed until there is a Season.
func (b *Builder) Hour(start time.Time, fields map[string][]int64) {
	s := slotOf(start.In(b.zone))
	b.days[s]++
	b.hours = append(b.hours, hour{start, s, fields})
	for name, counts := range fields {
		if f := b.fields[name]; f != nil && len(counts) == len(f.bins) {
			f.own[s].add(counts)
		}
	}
}

// Season returns what was collected. The Builder must not be used any more.
func (b *Builder) Season() *Season {
	for name, f := range b.fields {
		for s := range slot(slots) {
			f.pooled[s] = b.pool(f, s)
			f.seasonal = f.seasonal || differs(f.bins, f.pooled[s], f.whole)
		}
		f.swing = b.swing(name, f)
		if !f.seasonal {
			f.pooled = [slots]cell{} // They are never read.
		}
	}
	return &Season{zone: b.zone, days: b.days, fields: b.fields}
}

// pool returns the slot itself where it has enough values of enough days; else,
// in this order, it is pooled with more and more hours before and after it, with
// the same hours of the other kind of day, and at last with everything.
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
	return f.whole
}

// differs reports whether a slot differs from the whole by more than chance.
func differs(bins []string, c, whole cell) bool {
	if c.total == 0 || &c.bins[0] == &whole.bins[0] {
		return false
	}
	x, ok := drift.Compare(counts(bins, c), counts(bins, whole))
	return ok && x.PSI > x.Critical(significance)
}

func counts(bins []string, c cell) map[string]int64 {
	m := make(map[string]int64, len(bins))
	for i, bin := range bins {
		m[bin] = c.bins[i]
	}
	return m
}

// Season is what a baseline was like at each time of the day. Its methods may be
// called at the same time.
type Season struct {
	zone   *time.Location
	days   [slots]int
	fields map[string]*field
}

// Expected is what a window is compared with.
type Expected struct {
	// Shares are the shares of the values by bin.
	Shares map[string]float64
	// Values is the number of values that the shares come from. That of a
	// mixture of slots is the number with which one slot would be as uncertain.
	Values float64
	// Whole says that the shares are those of the whole baseline.
	Whole bool
}

// Window returns what the baseline had at the time of the day at which the window
// lies. A window across slots gets their mixture, weighted by how many values
// each would have in its part of the window. A field that does not differ between
// slots by more than chance gets the whole baseline, which has more values, and
// so does a window of a day or more. It returns false if the baseline has no
// values of the field.
func (s *Season) Window(name string, from, to time.Time) (Expected, bool) {
	f := s.fields[name]
	if f == nil || f.whole.total == 0 {
		return Expected{}, false
	}
	parts, whole := s.parts(f, from, to)
	shares, values := f.mixture(parts)
	e := Expected{Shares: make(map[string]float64, len(f.bins)), Values: values, Whole: whole}
	for i, bin := range f.bins {
		e.Shares[bin] = shares[i]
	}
	return e, true
}

// Mix is Window for who asks every minute: the shares in the order of the bins, which must not be changed.
func (s *Season) Mix(name string, from, to time.Time) (bins []string, shares []float64, values float64, ok bool) {
	f := s.fields[name]
	if f == nil || f.whole.total == 0 {
		return nil, nil, 0, false
	}
	parts, _ := s.parts(f, from, to)
	shares, values = f.mixture(parts)
	return f.bins, shares, values, true
}

// parts are the slots of a window, or the whole baseline.
func (s *Season) parts(f *field, from, to time.Time) (parts []part, whole bool) {
	if !f.seasonal || to.Sub(from) >= hoursPerDay*time.Hour || !from.Before(to) {
		return []part{{f.whole, 1}}, true
	}
	for at := from; at.Before(to); {
		// Zones differ from UTC by quarters of an hour; learned hours are of UTC.
		next := at.Truncate(time.Hour).Add(time.Hour)
		if next.After(to) {
			next = to
		}
		k := slotOf(at.Truncate(time.Hour).In(s.zone))
		// A slot that never had a value weighs next to nothing, but something:
		// it may be all there is.
		perHour := max(float64(f.own[k].total)/float64(max(s.days[k], 1)), 1e-6)
		parts = append(parts, part{f.pooled[k], perHour * next.Sub(at).Hours()})
		at = next
	}
	return parts, false
}

// part is a cell and its weight in a mixture.
type part struct {
	cell
	weight float64
}

func (f *field) mixture(parts []part) (shares []float64, values float64) {
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

// Seasonal reports whether the field differs between slots by more than chance.
func (s *Season) Seasonal(name string) bool {
	f := s.fields[name]
	return f != nil && f.seasonal
}
