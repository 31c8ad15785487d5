package season

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/internal/drift"
)

// hour is a learned hour.
type hour struct {
	start  time.Time
	slot   slot
	fields map[string][]int64
}

// deviation is how much the hours of a field at each time of the day, and its days, differ from the baseline beyond chance.
type deviation struct {
	hours [slots]mean
	all   mean
	days  mean
}

// mean accumulates a mean.
type mean struct {
	sum float64
	n   int
}

func (m *mean) add(o mean) { m.sum, m.n = m.sum+o.sum, m.n+o.n }

// value returns the mean, at least 0. Chance makes differences negative as often as positive.
func (m mean) value() (float64, bool) {
	return math.Max(m.sum/math.Max(float64(m.n), 1), 0), m.n >= minDays
}

// swing compares each learned hour of a field with the distribution of its slot, and each day with the full baseline.
func (b *Builder) swing(name string, f *field) (of deviation) {
	days := make(map[int64]*cell)
	for _, h := range b.hours {
		counts := h.fields[name]
		if len(counts) != len(f.bins) {
			continue
		}
		expected := f.full
		if f.seasonal {
			expected = f.pooled[h.slot]
		}
		if x, ok := b.beyondChance(counts, expected, b.days[h.slot]); ok {
			of.hours[h.slot].add(mean{x, 1})
			of.all.add(mean{x, 1})
		}
		day := h.start.Unix() / int64(hoursPerDay*time.Hour/time.Second)
		if days[day] == nil {
			days[day] = new(cell)
		}
		days[day].add(counts)
	}
	for _, day := range slices.Sorted(maps.Keys(days)) { // A sum in another order differs in its last digit.
		if x, ok := b.beyondChance(days[day].bins, f.full, len(days)); ok {
			of.days.add(mean{x, 1})
		}
	}
	return of
}

// beyondChance returns the index of a part of a baseline against the full baseline or its slot, less what chance explains. The part is
// itself included in the counts that it is compared with, which come from the given number of days. This reduces the difference by a
// factor of (days-1)/days, which the result corrects, as a sample variance does.
func (b *Builder) beyondChance(part []int64, all cell, days int) (float64, bool) {
	if days < minDays || all.total == 0 {
		return 0, false
	}
	x, ok := drift.CompareBins(part, all.bins)
	if !ok || x.Noise > b.MaxNoise {
		return 0, false
	}
	return (x.PSI - x.Noise) * float64(days) / float64(days-1), true
}

// at returns the mean of the slot and of the hours before and after it. If these have too few values, it returns the mean of all hours.
func (s *deviation) at(k slot) (float64, bool) {
	near := s.hours[k]
	near.add(s.hours[k.neighbour(-1)])
	near.add(s.hours[k.neighbour(1)])
	if v, ok := near.value(); ok {
		return v, true
	}
	return s.all.value()
}

// DaySwing returns the mean index, beyond chance, of the baseline's days against the full baseline. It returns false if too few days
// had enough values.
func (s *Season) DaySwing(name string) (float64, bool) {
	f := s.fields[name]
	if f == nil {
		return 0, false
	}
	return f.swing.days.value()
}

// Swing returns the mean index, beyond chance, of the baseline's hours at the window's time of the day against the distribution that
// the window is compared with. For a window of a day or more it returns DaySwing. It returns false if too few hours, or days, had
// enough values.
func (s *Season) Swing(name string, from, to time.Time) (float64, bool) {
	if to.Sub(from) >= hoursPerDay*time.Hour {
		return s.DaySwing(name)
	}
	f := s.fields[name]
	if f == nil || !from.Before(to) {
		return 0, false
	}
	sum := 0.0
	for at := from; at.Before(to); {
		next := at.Truncate(time.Hour).Add(time.Hour)
		if next.After(to) {
			next = to
		}
		v, ok := f.swing.at(slotOf(at.Truncate(time.Hour).In(s.zone)))
		if !ok {
			return 0, false
		}
		sum += v * next.Sub(at).Hours()
		at = next
	}
	return sum / to.Sub(from).Hours(), true
}
