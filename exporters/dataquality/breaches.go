package dataquality

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/drift"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// countedWindow is a counted window with the baselines for its comparison. It applies the limits of the alerts. The check of
// a good snapshot and the search for causes use the same methods.
type countedWindow struct {
	dataset   *dataset
	cycle     *cycle
	profile   tables.Profile
	recent    bool
	window    tables.Window
	baselines []compareWith
	// z is the significance that the alerts require. factor multiplies the limit drift_psi.
	z, factor float64
}

func (d *dataset) fullWindow(c *cycle) countedWindow {
	return countedWindow{dataset: d, cycle: c, profile: c.profile, window: c.window, baselines: c.baselines, z: d.defaults[signalSignificance], factor: 1}
}

// recentWindow is the recent window. It has no rows if the cycle has no recent window.
func (d *dataset) recentWindow(c *cycle) countedWindow {
	w := countedWindow{
		dataset: d, cycle: c, profile: c.recent, recent: true, window: tables.Window{From: c.recentFrom, To: c.window.To},
		z: d.defaults[signalSudden], factor: d.defaults[signalSuddenFactor],
	}
	if float64(c.recent.Rows) >= d.defaults[signalSuddenMinRows] {
		w.baselines = []compareWith{{name: baselineSeasonRecent, shares: c.seasonRecent, learning: !c.production.Frozen()}}
	}
	return w
}

func (w countedWindow) rows() float64 { return float64(w.profile.Rows) }

// nulls returns the share of missing values of a column, and whether it exceeds the limit.
func (w countedWindow) nulls(column string) (share float64, beyond bool) {
	share = min(float64(w.profile.Nulls[column])/w.rows(), 1)
	return share, share > w.dataset.nullLimit(w.cycle, column)
}

// unseen returns the share of values in the bin unseen, and whether it exceeds the limit.
func (w countedWindow) unseen(column string) (share float64, beyond bool) {
	share = float64(w.profile.Values[column][binning.Unseen]) / w.rows()
	return share, share > w.dataset.threshold(signalUnseen, column)
}

// drift returns the first baseline from which a column has drifted.
func (w countedWindow) drift(column string) (x drift.Index, from compareWith, beyond bool) {
	d := w.dataset
	for _, b := range w.baselines {
		if b.learning || b.notJudged {
			continue
		}
		x, ok := drift.CompareShares(w.profile.Values[column], b.shares[column].bins, b.shares[column].values)
		limits := d.driftLimits(column, b.shares[column])
		limits.PSI, limits.Z = w.factor*limits.PSI, w.z
		if ok && x.Exceeds(limits) {
			return x, b, true
		}
	}
	return x, from, false
}

// volume returns the expected number of rows, and whether the window's number deviates too much from it. Expected is the
// median of the same time in the weeks before. A full window without these weeks uses the median of the last week's good
// profiles.
func (w countedWindow) volume() (expected float64, beyond bool) {
	expected, ok := w.pastRows()
	if !ok && !w.recent {
		var median int64
		median, ok = w.cycle.good.medianVolume(w.cycle.now)
		expected = float64(median)
	}
	off := math.Abs(w.rows() - expected)
	return expected, ok && expected > 0 && off/expected > w.dataset.threshold(signalVolume, "") && off > w.z*math.Sqrt(expected)
}

func (w countedWindow) pastRows() (median float64, ok bool) {
	c, p := w.cycle, &w.dataset.past
	startOf, arrived := c.startOf, 1.0
	if w.recent {
		length := c.now.Sub(c.recentFrom)
		startOf = func(end time.Time) time.Time { return end.Add(-length) }
		if arrived, ok = c.good.Arrived[windowRecent(length)]; !ok {
			return 0, false
		}
	} else if share, ok := c.good.Arrived[windowFull]; ok && c.days == 0 {
		arrived = share
	}
	if w.window.From.IsZero() || p.first.IsZero() {
		return 0, false
	}
	var weeks []float64
	for week := 1; week <= pastWeeks; week++ {
		at := c.end().AddDate(0, 0, -7*week)
		if rows, ok := p.rows(startOf(at), at); ok {
			weeks = append(weeks, rows*arrived)
		}
	}
	if len(weeks) < 3 {
		return 0, false
	}
	slices.Sort(weeks)
	return weeks[len(weeks)/2], true
}

// chance is the upper bound of a share that the given share explains by chance. It computes what the rule
// dataset_column:ml_nulls:upper computes.
func (w countedWindow) chance(of float64) float64 {
	return of + w.z*math.Sqrt(of*(1-of)/w.rows()) + w.z*w.z/(3*w.rows())
}

// breach is a signal that exceeds its limit by more than chance explains.
type breach struct {
	incidentKey
	window countedWindow
	// baseline has the shares for comparison of the column's bins. expected is the expected number of rows.
	baseline shares
	expected float64
}

// incidentKey identifies an incident of a dataset. column is empty for the volume.
type incidentKey struct{ signal, column string }

// breaches returns the signals for which the alerts of nulls, unseen values, drift and volume fire. The full window comes
// first; the recent window adds the signals that the full one does not have.
func (d *dataset) breaches(c *cycle) []breach {
	var all []breach
	add := func(b breach) {
		if !slices.ContainsFunc(all, func(o breach) bool { return o.incidentKey == b.incidentKey }) {
			all = append(all, b)
		}
	}
	for _, w := range []countedWindow{d.fullWindow(c), d.recentWindow(c)} {
		if w.profile.Nulls == nil || w.profile.Rows == 0 {
			continue
		}
		if expected, beyond := w.volume(); beyond {
			add(breach{incidentKey{signalVolume, ""}, w, shares{}, expected})
		}
		for _, column := range slices.Sorted(maps.Keys(w.profile.Nulls)) {
			if column == d.cfg.TimestampColumn {
				continue // No window contains rows without a time.
			}
			limit, of := d.nullLimit(c, column), shares{}
			expected, known := c.baselineNullShare(column)
			if !known {
				expected = limit
			}
			of.bins, of.values = map[string]float64{binning.Null: expected}, w.rows()
			if share, beyond := w.nulls(column); beyond && (share > w.chance(expected) || limit == 0) {
				add(breach{incidentKey{signalNulls, column}, w, of, 0})
			}
		}
		for _, column := range slices.Sorted(maps.Keys(w.profile.Values)) {
			limit := d.threshold(signalUnseen, column)
			if share, beyond := w.unseen(column); beyond && (share > w.chance(limit) || limit == 0) {
				add(breach{incidentKey{signalUnseen, column}, w, shares{bins: map[string]float64{binning.Unseen: 0}, values: w.rows()}, 0})
			}
			if _, from, beyond := w.drift(column); beyond {
				add(breach{incidentKey{signalDrift, column}, w, from.shares[column], 0})
			}
		}
	}
	return all
}

// incident is a breach from its start until incidentOver has passed without it, with the causes that were found at its start.
type incident struct {
	last   time.Time
	result *explanation
}

// incidentOver is the time that a signal has to stay within its limit before its next breach counts as a new incident. The
// alerts also keep firing for up to half an hour.
const incidentOver = 30 * time.Minute
