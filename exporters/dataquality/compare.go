package dataquality

import (
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/season"
)

// baselineSeason names the production baseline for the time of day of a window shorter than a day.
const baselineSeason = "season"

// compareWith is a baseline for comparison.
type compareWith struct {
	name     string
	learning bool
	// notJudged reports that drift from this baseline is not judged in a window of this length. The baseline is still published: its
	// values are not broken.
	notJudged bool
	shares    map[string]shares
}

// shares has the share of each bin of a column, and the number of values they were computed from.
type shares struct {
	bins   map[string]float64
	values float64
	swing  *float64 // Variation between the days or hours; nil if unknown.
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

// seasons has the season of the production baseline, and those of accepted columns, which were counted on other days.
type seasons struct {
	production *season.Season
	accepted   map[string]*season.Season
}

func (s *seasons) of(column string) *season.Season {
	if own := s.accepted[column]; own != nil {
		return own
	}
	return s.production
}

// seasonShares returns, for each column, the shares of the production baseline for the time of day from from to to.
func seasonShares(s *seasons, d baseline.Definition, p baseline.Production, from, to time.Time) map[string]shares {
	of := sharesOf(p.Counts)
	for field := range d.Fields {
		if e, ok := s.of(field).Window(field, from, to); ok {
			of[field] = shares{bins: e.Shares, values: e.Values, swing: swingOf(s.of(field).Swing(field, from, to))}
		}
	}
	return of
}

// withDays adds the variation between the days of the production baseline.
func withDays(of map[string]shares, s *seasons) map[string]shares {
	for field, all := range of {
		all.swing = swingOf(s.of(field).DaySwing(field))
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

// short reports whether the window is shorter than a day, so that it has a time of day.
func (d DatasetConfig) short() bool {
	return d.Window > 0 && time.Duration(d.Window) < 24*time.Hour
}

// zone is the time zone of the dataset. Validate has checked it.
func (d DatasetConfig) zone() *time.Location { return d.TimeZone.Location() }
