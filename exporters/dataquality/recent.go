package dataquality

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/reveal"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// baselineSeasonRecent is the production baseline at the time of the day of the recent window.
const baselineSeasonRecent = "season_recent"

// recentRows is how many rows a recent window should have: of 500, chance moves a share of 3 % by 0.8 points.
const recentRows = 500

// recentLengths are the lengths of a recent window, beside the time between two profiles. A shorter one tells sooner.
var recentLengths = []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour}

// recentSlack is how many more rows a shorter window must have, and how many fewer the present one may have: a window of
// another length begins to learn anew how late rows come.
const recentSlack = 0.2

// fewestArrived is the least share of its rows that a recent window must usually have when it ends. Of a table that is loaded every
// quarter of an hour a quarter of an hour has anything between nothing and all.
const fewestArrived = 0.5

// recentLength is the shortest window, no shorter than the time between two profiles, that has enough rows at the mean rate of
// the last profile and does not lack most of them when it ends; the longest, if all do; 0 where an hour has too few, or where the
// window itself is not much longer.
func (d *dataset) recentLength() time.Duration {
	shortest := time.Duration(d.cfg.Interval).Truncate(time.Minute)
	longest := time.Duration(0)
	for _, length := range append([]time.Duration{max(shortest, time.Minute)}, recentLengths...) {
		enough := float64(recentRows)
		switch {
		case length == d.recentWas:
			enough *= 1 - recentSlack
		case length < d.recentWas:
			enough *= 1 + recentSlack
		}
		if length < shortest || 2*length > time.Duration(d.cfg.Window) || d.rowsPerSecond*length.Seconds() < enough {
			continue
		}
		if arrived, known := d.good.Arrived[windowRecent(length)]; !known || arrived >= fewestArrived {
			return length
		}
		longest = length
	}
	return longest
}

// recentArrived is which share of the rows of a recent window is there when it ends; false where that is not known. A shorter
// window has less of its rows: its share stands in until as many windows of this length were seen.
func (c *cycle) recentArrived(length time.Duration) (share float64, known bool) {
	var of time.Duration
	for kind, arrived := range c.good.Arrived {
		if l, ok := recentOf(kind); ok && l <= length && l > of {
			of, share = l, arrived
		}
	}
	return share, of > 0
}

// openRecent begins the recent window of a cycle, where there is one.
func (d *dataset) openRecent(c *cycle) {
	length := d.recentLength()
	if length == 0 || c.days > 0 || !hasHours(c.schema, d.relation) {
		return
	}
	c.recentFrom, d.recentWas = c.now.Add(-length), length
}

// countWindows counts the window and, beside it in the same scan, the recent one and the segments.
func (d *dataset) countWindows(ctx context.Context, c *cycle, fields tables.Fields) (tables.Profile, error) {
	if len(c.segments) > 0 {
		return d.countSegments(ctx, c, fields)
	}
	if c.recentFrom.IsZero() {
		return d.source.Count(ctx, d.relation, c.schema, c.window, fields, c.now)
	}
	whole, recent, err := d.source.CountRecent(ctx, d.relation, c.schema, c.window, c.recentFrom, fields, c.now)
	if err == nil {
		c.recent = recent
	}
	return whole, err
}

// noteRate takes note of how many rows a second the dataset gets.
func (d *dataset) noteRate(c *cycle) {
	if c.window.From.IsZero() || c.profile.Nulls == nil || c.days > 0 {
		return
	}
	d.rowsPerSecond = float64(c.profile.Rows) / c.now.Sub(c.window.From).Seconds()
}

// recentMetrics are the samples of the recent window.
func (d *dataset) recentMetrics(m descs, c *cycle, gauge func(desc *prometheus.Desc, v float64, labels ...string)) {
	if c.recent.Nulls == nil {
		return
	}
	gauge(m.recentRows, float64(c.recent.Rows))
	gauge(m.recentWindow, c.now.Sub(c.recentFrom).Seconds())
	for _, column := range sortedKeys(c.recent.Nulls) {
		if column != d.cfg.TimestampColumn { // The window has those with a time.
			gauge(m.recentNulls, float64(c.recent.Nulls[column]), column)
		}
	}
	for _, column := range sortedKeys(c.recent.Values) {
		bins := c.recent.Values[column]
		hidden := d.hidden(c, column)
		for _, bin := range order(d, column, bins) {
			gauge(m.recentValues, float64(bins[bin]), column, reveal.Name(hidden, bin))
		}
		s, ok := c.seasonRecent[column]
		if !ok {
			continue
		}
		gauge(m.baselineRows, s.values, column, baselineSeasonRecent)
		if s.swing != nil {
			gauge(m.baselineSwing, *s.swing, column, baselineSeasonRecent)
		}
		for _, bin := range order(d, column, s.bins) {
			gauge(m.baselineRatio, s.bins[bin], column, reveal.Name(hidden, bin), baselineSeasonRecent)
		}
	}
}

// noteNulls keeps the share of missing values that columns had in their first days: the baseline of those that have no bins,
// and of all others until a day is learned. It reports whether there is anything new to store.
func (d *dataset) noteNulls(c *cycle) bool {
	if float64(c.profile.Rows) < d.defaults[signalMinRows] {
		return false
	}
	g, today, changed := &c.good, c.now.UTC().Format(time.DateOnly), false
	if g.Nulls == nil {
		g.Nulls = make(map[string]nullShare)
	}
	for column, n := range c.profile.Nulls {
		of, known := g.Nulls[column]
		if known && (of.Last == today || of.Days >= firstDays) {
			continue
		}
		share := float64(n) / float64(c.profile.Rows)
		of.Share += (share - of.Share) / float64(of.Days+1)
		of.Days, of.Last = of.Days+1, today
		g.Nulls[column], changed = of, true
	}
	return changed
}

// nullShare is the mean share of missing values in the first days of a column.
type nullShare struct {
	Share float64 `json:"share"`
	Days  int     `json:"days"`
	Last  string  `json:"last"`
}

// firstDays is from how many days a share of missing values is learned.
const firstDays = 30

// usualNulls is the share of missing values that a column had in its baseline: that of production, if there is one.
func (c *cycle) usualNulls(column string) (share float64, ok bool) {
	for _, b := range c.baselines {
		if s, has := b.shares[column]; has && b.name != baselineSeason {
			share, ok = s.bins[binning.Null], true
		}
	}
	if ok {
		return share, true
	}
	of, ok := c.good.Nulls[column]
	return of.Share, ok
}

// nullLimit is dataset_column:ml_nulls:limit of the rules.
func (d *dataset) nullLimit(c *cycle, column string) float64 {
	for _, o := range []override{{signalNulls, column}, {signalNulls, ""}} {
		if v, ok := d.overrides[o]; ok {
			return v
		}
	}
	b, _ := c.usualNulls(column)
	return max(d.defaults[signalNulls], b+d.defaults[signalNullGrowth]*b*(1-b))
}
