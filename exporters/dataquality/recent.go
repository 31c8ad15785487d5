package dataquality

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/reveal"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// baselineSeasonRecent names the production baseline for the time of day of the recent window.
const baselineSeasonRecent = "season_recent"

// recentRows is the minimum number of rows of a recent window. The standard error of a 3 % share of 500 rows is 0.8
// percentage points.
const recentRows = 500

// recentLengths are the possible lengths of a recent window, besides the interval of profiles. A shorter window detects
// changes sooner.
var recentLengths = []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour}

// volumeRows is the minimum number of rows of the recent window whose volume is compared, which may be shorter: 62 % fewer are 57 rows, and
// by chance fewer than 104 are one window in 10 000.
const volumeRows = 150

// recentSlack is the hysteresis of the length: a shorter window needs 20 % more rows, and the present one may have 20 %
// fewer. After a change of length, the share of late rows has to be learned again.
const recentSlack = 0.2

// fewestArrived is the minimum share of rows that are there when a recent window ends. In a 15-minute window of a table
// loaded every 15 minutes that share varies between 0 and 1.
const fewestArrived = 0.5

// recentLength returns the shortest window, at least as long as the interval, that has enough rows at the last profile's mean
// rate and has most of them when it ends. If none has most of them, it returns the longest. It returns 0 if an hour has too
// few rows, or if the full window is less than twice as long. was is the last length.
func (d *dataset) recentLength(rows float64, was time.Duration) time.Duration {
	shortest := time.Duration(d.cfg.Interval).Truncate(time.Minute)
	longest := time.Duration(0)
	for _, length := range append([]time.Duration{max(shortest, time.Minute)}, recentLengths...) {
		enough := rows
		switch {
		case length == was:
			enough *= 1 - recentSlack
		case length < was:
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

// recentArrived returns the share of a recent window's rows that are there when it ends, and false if unknown. Until enough
// windows of this length were seen, it returns the share of the next shorter length, which is lower.
func (c *cycle) recentArrived(length time.Duration) (share float64, known bool) {
	var of time.Duration
	for kind, arrived := range c.good.Arrived {
		if l, ok := recentOf(kind); ok && l <= length && l > of {
			of, share = l, arrived
		}
	}
	return share, of > 0
}

// openRecent sets the start of the cycle's recent window, and of the one for the volume, if it has them.
func (d *dataset) openRecent(c *cycle) {
	if c.days > 0 || !hasHours(c.schema, d.relation) {
		return
	}
	if length := d.recentLength(recentRows, d.recentWas); length > 0 {
		c.recentFrom, d.recentWas = c.now.Add(-length), length
	}
	if length := d.recentLength(volumeRows, d.volumeWas); length > 0 {
		c.volumeFrom, d.volumeWas = c.now.Add(-length), length
	}
}

// countWindows counts the full window, the recent one and the segments in the same scans.
func (d *dataset) countWindows(ctx context.Context, c *cycle, fields tables.Fields) (tables.Profile, error) {
	if len(c.segments) > 0 {
		return d.countSegments(ctx, c, fields)
	}
	if c.volumeFrom.IsZero() {
		return d.source.Count(ctx, d.relation, c.schema, c.window, fields, c.now)
	}
	windows, err := d.source.CountRecent(ctx, d.relation, c.schema, c.window, tables.Starts{Recent: c.recentFrom, Newest: c.volumeFrom}, fields, c.now)
	if err == nil {
		c.take(windows)
	}
	return windows.Full, err
}

// take keeps the counts of the recent windows that the cycle has.
func (c *cycle) take(w tables.Windows) {
	if !c.recentFrom.IsZero() {
		c.recent = w.Recent
	}
	c.volumeRows = w.Newest
}

// noteRate stores the dataset's rows per second.
func (d *dataset) noteRate(c *cycle) {
	if c.window.From.IsZero() || c.profile.Nulls == nil || c.days > 0 {
		return
	}
	d.rowsPerSecond = float64(c.profile.Rows) / c.now.Sub(c.window.From).Seconds()
}

// recentMetrics publishes the counts of the recent window.
func (d *dataset) recentMetrics(m descs, c *cycle, gauge func(desc *prometheus.Desc, v float64, labels ...string)) {
	if !c.volumeFrom.IsZero() {
		gauge(m.volumeRows, float64(c.volumeRows))
		gauge(m.volumeWindow, c.now.Sub(c.volumeFrom).Seconds())
	}
	if c.recent.Nulls == nil {
		return
	}
	gauge(m.recentRows, float64(c.recent.Rows))
	gauge(m.recentWindow, c.now.Sub(c.recentFrom).Seconds())
	for _, column := range slices.Sorted(maps.Keys(c.recent.Nulls)) {
		if column != d.cfg.TimestampColumn { // The window has only rows with a time.
			gauge(m.recentNulls, float64(c.recent.Nulls[column]), column)
		}
	}
	for _, column := range slices.Sorted(maps.Keys(c.recent.Values)) {
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

// noteNulls updates the mean share of missing values in the first days of each column. It is the baseline of columns without
// bins, and of all columns until a day is learned. On the first day, a profile of few rows gives way to one of more. It reports
// whether there is anything new to store.
func (d *dataset) noteNulls(c *cycle) bool {
	if c.profile.Rows == 0 {
		return false
	}
	g, today, changed := &c.good, c.now.UTC().Format(time.DateOnly), false
	if g.Nulls == nil {
		g.Nulls = make(map[string]nullShare)
	}
	for column, n := range c.profile.Nulls {
		of := g.Nulls[column]
		if of.Days == 1 && of.Last == today && float64(of.Rows) < d.defaults[signalMinRows] && c.profile.Rows > of.Rows {
			of = nullShare{}
		}
		if of.Last == today || of.Days >= firstDays {
			continue
		}
		share := float64(n) / float64(c.profile.Rows)
		of.Share += (share - of.Share) / float64(of.Days+1)
		of.Days, of.Last, of.Rows = of.Days+1, today, c.profile.Rows
		g.Nulls[column], changed = of, true
	}
	return changed
}

// nullShare is the mean share of missing values of a column in its first days. Rows is the number of rows of the last profile
// in it.
type nullShare struct {
	Share float64 `json:"share"`
	Days  int     `json:"days"`
	Last  string  `json:"last"`
	Rows  int64   `json:"rows,omitempty"`
}

// firstDays is the number of days from which nullShare is learned.
const firstDays = 30

// baselineNullShare returns the baseline's share of missing values of a column, from the production baseline if there is one.
func (c *cycle) baselineNullShare(column string) (share float64, ok bool) {
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

// nullLimit computes what the rule dataset_column:ml_nulls:limit computes.
func (d *dataset) nullLimit(c *cycle, column string) float64 {
	for _, o := range []override{{signalNulls, column}, {signalNulls, ""}} {
		if v, ok := d.overrides[o]; ok {
			return v
		}
	}
	b, _ := c.baselineNullShare(column)
	return max(d.defaults[signalNulls], b+d.defaults[signalNullGrowth]*b*(1-b))
}
