package dataquality

import (
	"math"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/drift"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// countedWindow is a window with what its counts are compared with: the limits are those of the alerts. What says whether a
// snapshot is a good one and what asks for a cause are the same functions.
type countedWindow struct {
	dataset   *dataset
	cycle     *cycle
	profile   tables.Profile
	recent    bool
	window    tables.Window
	baselines []compareWith
	// z is the significance that the alerts ask for, and factor a multiple of drift_psi.
	z, factor float64
}

func (d *dataset) fullWindow(c *cycle) countedWindow {
	return countedWindow{dataset: d, cycle: c, profile: c.profile, window: c.window, baselines: c.baselines, z: d.defaults[signalSignificance], factor: 1}
}

// recentWindow is the recent window; it has no rows where none was counted.
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

// nulls is the share of missing values of a column, and whether it is beyond its limit.
func (w countedWindow) nulls(column string) (share float64, beyond bool) {
	share = min(float64(w.profile.Nulls[column])/w.rows(), 1)
	return share, share > w.dataset.nullLimit(w.cycle, column)
}

// unseen is the share of values that the baseline never had.
func (w countedWindow) unseen(column string) (share float64, beyond bool) {
	share = float64(w.profile.Values[column][binning.Unseen]) / w.rows()
	return share, share > w.dataset.threshold(signalUnseen, column)
}

// drift is the first baseline from which a column has drifted.
func (w countedWindow) drift(column string) (x drift.Index, from compareWith, beyond bool) {
	d := w.dataset
	for _, b := range w.baselines {
		if b.learning || b.replaced {
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

// volume is the number of rows that were to be expected: the median of the same time in the weeks before or, of a full window
// without them, that of the last week's good profiles.
func (w countedWindow) volume() (expected float64, beyond bool) {
	expected, ok := w.pastRows()
	if !ok && !w.recent {
		var usual int64
		usual, ok = w.cycle.good.usual(w.cycle.now)
		expected = float64(usual)
	}
	off := math.Abs(w.rows() - expected)
	return expected, ok && expected > 0 && off/expected > w.dataset.threshold(signalVolume, "") && off > w.z*math.Sqrt(expected)
}

func (w countedWindow) pastRows() (median float64, ok bool) {
	c, p := w.cycle, &w.dataset.past
	length, arrived := c.length(), 1.0
	if w.recent {
		length = c.now.Sub(c.recentFrom)
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
		if rows, ok := p.rows(at.Add(-length), at); ok {
			weeks = append(weeks, rows*arrived)
		}
	}
	if len(weeks) < 3 {
		return 0, false
	}
	slices.Sort(weeks)
	return weeks[len(weeks)/2], true
}

// chance is the highest share that chance makes of another one, as dataset_column:ml_nulls:upper is of the rules.
func (w countedWindow) chance(of float64) float64 {
	return of + w.z*math.Sqrt(of*(1-of)/w.rows()) + w.z*w.z/(3*w.rows())
}

// breach is a signal that is beyond its limit, and beyond chance.
type breach struct {
	incidentKey
	window countedWindow
	// baseline is what the column's bins are compared with; expected is the number of rows.
	baseline shares
	expected float64
}

// incidentKey tells incidents apart. Column is empty for the volume.
type incidentKey struct{ signal, column string }

// breaches are what the alerts of nulls, unseen values, drift and volume fire for: of the full window or else of the recent one.
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
		for _, column := range sortedKeys(w.profile.Nulls) {
			if column == d.cfg.TimestampColumn {
				continue // Rows without a time are in no window.
			}
			limit, of := d.nullLimit(c, column), shares{}
			usual, known := c.usualNulls(column)
			if !known {
				usual = limit
			}
			of.bins, of.values = map[string]float64{binning.Null: usual}, w.rows()
			if share, beyond := w.nulls(column); beyond && (share > w.chance(usual) || limit == 0) {
				add(breach{incidentKey{signalNulls, column}, w, of, 0})
			}
		}
		for _, column := range sortedKeys(w.profile.Values) {
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

// incident is a breach from its beginning until it has been over for a while, with what was found when it began.
type incident struct {
	last   time.Time
	result *explanation
}

// incidentOver is how long a signal has to be within its limit until its next breach is another incident. The alerts keep firing
// for up to half an hour, too.
const incidentOver = 30 * time.Minute
