package dataquality

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/reveal"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// metrics returns the samples of one profile. After an error it returns only samples that are still correct.
func (d *dataset) metrics(m descs, c *cycle, took time.Duration, err error) []prometheus.Metric {
	out := &d.batch
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		out.Gauge(desc, v, d.cfg.Name, labels...)
	}
	for o, v := range d.overrides {
		gauge(m.threshold, v, o.signal, o.column)
	}
	if info := m.owner.Metric(d.cfg.Name, d.cfg.Owned); info != nil {
		out.Add(info)
	}
	gauge(m.profileSuccess, truth(err == nil))
	gauge(m.profileDuration, took.Seconds())
	if c.schema != nil {
		counts := make(map[string]int)
		for _, ch := range c.changes {
			counts[ch.kind]++
		}
		for _, kind := range []string{added, removed, typeChanged} {
			gauge(m.schemaChanges, float64(counts[kind]), kind)
		}
		for i, ch := range c.changes {
			// A replaced table changes every column. The metric schemaChanges has the number.
			if i == maxChangeInfos {
				break
			}
			gauge(m.schemaChangeInfo, 1, ch.column, ch.kind, ch.expected, ch.actual)
		}
	}
	if d.cfg.Baselines.Production.Days > 0 {
		gauge(m.wantedDays, float64(d.cfg.Baselines.Production.Days))
	}
	if c.learned {
		gauge(m.days, float64(len(c.production.Days)))
		gauge(m.frozen, truth(c.production.Frozen()))
		if len(c.production.Days) > 0 {
			if start, err := c.production.Days[0].Start(); err == nil {
				gauge(m.firstDay, seconds(start))
			}
		}
	}
	if c.good.Snapshot.Name != "" {
		gauge(m.lastGoodSnapshotInfo, 1, c.good.Snapshot.Name, c.good.Snapshot.Digest)
	}
	c.passedMetrics(m, gauge)
	if c.profile.Nulls == nil {
		return out.Take()
	}
	if err == nil {
		gauge(m.profileFinish, seconds(d.now()))
	}
	gauge(m.rows, float64(c.profile.Rows))
	if d.cfg.TimestampColumn != "" {
		gauge(m.future, float64(c.outside.Future))
		gauge(m.windowEmpty, truth(c.empty))
	}
	if d.cfg.OnUnreadable == tables.SkipUnreadable {
		gauge(m.unreadable, float64(len(c.profile.Unreadable)))
	}
	if !c.window.From.IsZero() {
		gauge(m.window, c.length().Seconds())
	}
	if !c.latest.IsZero() {
		gauge(m.latest, seconds(c.latest))
	}
	columns := sortedKeys(c.profile.Nulls)
	for _, column := range columns {
		gauge(m.nulls, float64(c.profile.Nulls[column]), column)
	}
	d.numberMetrics(m, c, gauge)
	for column, reason := range c.definition.Left {
		if _, counted := c.profile.Nulls[column]; counted {
			gauge(m.withoutBins, 1, column, reason) // Columns beyond the limit have no series: their number is unbounded.
		}
	}
	for _, column := range sortedKeys(c.profile.Values) {
		bins := c.profile.Values[column]
		hidden := d.hidden(c, column)
		for _, bin := range order(d, column, bins) {
			gauge(m.values, float64(bins[bin]), column, reveal.Name(hidden, bin))
		}
		for _, b := range c.baselines {
			s, ok := b.shares[column]
			if !ok {
				continue
			}
			gauge(m.baselineRows, s.values, column, b.name)
			if s.swing != nil {
				gauge(m.baselineSwing, *s.swing, column, b.name)
			}
			for _, bin := range order(d, column, s.bins) {
				gauge(m.baselineRatio, s.bins[bin], column, reveal.Name(hidden, bin), b.name)
			}
		}
	}
	d.recentMetrics(m, c, gauge)
	d.pastMetrics(m, c, gauge)
	for _, column := range columns {
		if share, ok := c.baselineNullShare(column); ok {
			gauge(m.usualNulls, share, column)
		}
	}
	d.checkMetrics(m, c, gauge)
	d.causeMetrics(m, gauge)
	for _, u := range c.upstreams {
		gauge(m.upstreamRows, float64(u.rows), u.name)
	}
	for _, x := range c.comparisons {
		gauge(m.comparedRows, float64(x.compared), x.against)
		gauge(m.mismatchedRows, float64(x.mismatched), x.against)
	}
	if c.snapshot.Name != "" {
		gauge(m.snapshotInfo, 1, c.snapshot.Name, c.snapshot.Digest)
	}
	return out.Take()
}

// order returns the bins of a column, sorted. It caches the last result, which rarely changes.
func order[V any](d *dataset, column string, bins map[string]V) []string {
	key := binsOf{column, len(bins)}
	sorted := d.sorted[key]
	if len(sorted) == len(bins) && !slices.ContainsFunc(sorted, func(bin string) bool {
		_, ok := bins[bin]
		return !ok
	}) {
		return sorted
	}
	if d.sorted == nil || len(d.sorted) > maxSorted {
		d.sorted = make(map[binsOf][]string)
	}
	d.sorted[key] = sortedKeys(bins)
	return d.sorted[key]
}

// binsOf is the key of a set of bins: a column has few sets, such as with and without the bin of unseen values, and they
// differ in size.
type binsOf struct {
	column string
	n      int
}

// maxSorted bounds the cached sets of bins. A dataset has fewer.
const maxSorted = 10_000

// maxChangeInfos bounds the series that describe single schema changes.
const maxChangeInfos = 50

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

// hiddenOf are the hidden names for a list of categories.
type hiddenOf struct {
	categories []string
	hidden     map[string]string
}

// hidden returns the published names of categories that must not be published in clear text. It computes them again only if
// the categories changed.
func (d *dataset) hidden(c *cycle, column string) map[string]string {
	layout := c.definition.Fields[column]
	last, ok := d.shown[column]
	if ok && slices.Equal(last.categories, layout.Top) {
		return last.hidden
	}
	if d.shown == nil {
		d.shown = make(map[string]hiddenOf)
	}
	now := hiddenOf{layout.Top, reveal.Policy(d.cfg.Columns.Reveal).Hidden(column, layout)}
	d.shown[column] = now
	return now.hidden
}
