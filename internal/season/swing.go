package season

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/internal/drift"
)

// maxNoise is the greatest index that chance alone may explain in an hour, as ml:threshold:drift_noise_psi of the rules: the
// indices of hours with fewer values say more about chance than about the hours.
const maxNoise = 0.07

// hour is an hour that was learned.
type hour struct {
	start  time.Time
	slot   slot
	fields map[string][]int64
}

// swing is how much the hours of a field at each time of the day, and its days, differ from the baseline beyond chance.
type swing struct {
	hours [slots]mean
	all   mean
	days  mean
}

// mean is a mean in the making.
type mean struct {
	sum float64
	n   int
}

func (m *mean) add(o mean) { m.sum, m.n = m.sum+o.sum, m.n+o.n }

// value is no less than 0: chance explains more than there is as often as less.
func (m mean) value() (float64, bool) {
	return math.Max(m.sum/math.Max(float64(m.n), 1), 0), m.n >= minDays
}

// swing compares each learned hour of a field with what its slot is compared with, and each day with the whole.
func (b *Builder) swing(name string, f *field) (of swing) {
	days := make(map[int64]*cell)
	for _, h := range b.hours {
		counts := h.fields[name]
		if len(counts) != len(f.bins) {
			continue
		}
		expected := f.whole
		if f.seasonal {
			expected = f.pooled[h.slot]
		}
		if x, ok := beyondChance(counts, expected, b.days[h.slot]); ok {
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
		if x, ok := beyondChance(days[day].bins, f.whole, len(days)); ok {
			of.days.add(mean{x, 1})
		}
	}
	return of
}

// beyondChance is the index of a part of a baseline against all of it, less what chance explains. The part is in what it is
// compared with, which is a mean of so many days: as in a sample variance, the difference is smaller for it by one in their number.
func beyondChance(part []int64, all cell, days int) (float64, bool) {
	if days < minDays || all.total == 0 {
		return 0, false
	}
	x, ok := drift.CompareBins(part, all.bins)
	if !ok || x.Noise > maxNoise {
		return 0, false
	}
	return (x.PSI - x.Noise) * float64(days) / float64(days-1), true
}

// at is the mean of the slot and of the hours before and after it; of all hours where these have too few.
func (s *swing) at(k slot) (float64, bool) {
	near := s.hours[k]
	near.add(s.hours[k.neighbour(-1)])
	near.add(s.hours[k.neighbour(1)])
	if v, ok := near.value(); ok {
		return v, true
	}
	return s.all.value()
}

// DaySwing is the mean index by which the days of the baseline differed from all of it, beyond chance. It returns false where too few
// days had enough values.
func (s *Season) DaySwing(name string) (float64, bool) {
	f := s.fields[name]
	if f == nil {
		return 0, false
	}
	return f.swing.days.value()
}

// Swing is the mean index by which the hours of the baseline at the time of the day at which the window lies differed from what the
// window is compared with, beyond chance; of a window of a day or more, that of its days. It returns false where too few hours, or
// days, had enough values.
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
