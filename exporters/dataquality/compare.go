package dataquality

import (
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/season"
)

// baselineSeason is the production baseline at the time of the day at which a
// short window lies.
const baselineSeason = "season"

// compareWith is a baseline to compare with.
type compareWith struct {
	name     string
	learning bool
	// replaced says that another baseline is compared with instead of this one,
	// which is published all the same.
	replaced bool
	shares   map[string]shares
}

// shares are the shares of a column's bins, of so many values.
type shares struct {
	bins   map[string]float64
	values float64
	swing  *float64 // How much its days, or hours, differ; nil where that is not known.
}

func sharesOf(c baseline.Counts) map[string]shares {
	of := make(map[string]shares, len(c.Fields))
	for field, counts := range c.Fields {
		var total int64
		for _, n := range counts {
			total += n
		}
		s := shares{bins: make(map[string]float64, len(counts)), values: float64(total)}
		for bin, n := range counts {
			s.bins[bin] = float64(n) / float64(max(total, 1))
		}
		of[field] = s
	}
	return of
}

// seasonShares is what the window is compared with, of each column of the
// production baseline.
func seasonShares(s *season.Season, d baseline.Definition, p baseline.Production, from, to time.Time) map[string]shares {
	of := sharesOf(p.Counts)
	for field := range d.Fields {
		if e, ok := s.Window(field, from, to); ok {
			of[field] = shares{bins: e.Shares, values: e.Values, swing: swingOf(s.Swing(field, from, to))}
		}
	}
	return of
}

// withDays adds how much the days of the production baseline differ.
func withDays(of map[string]shares, s *season.Season) map[string]shares {
	for field, all := range of {
		all.swing = swingOf(s.DaySwing(field))
		of[field] = all
	}
	return of
}

func swingOf(v float64, known bool) *float64 {
	if !known {
		return nil
	}
	return &v
}

// short reports whether the window has a time of the day: it is shorter than a day.
func (d DatasetConfig) short() bool {
	return d.Window > 0 && time.Duration(d.Window) < 24*time.Hour
}

// zone is the time zone of the dataset's days and nights. It is checked when the
// configuration is read.
func (d DatasetConfig) zone() *time.Location { return d.TimeZone.Location() }
