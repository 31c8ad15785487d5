package dataquality

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
)

// foldUnseen counts values that the bins do not know as other where that says nothing
// of the values: while the baseline is learning, and where the baseline itself had
// such values, since its bins were not cut from all of it. Against training data,
// values that are not in it are unseen from the first day.
func (d *dataset) foldUnseen(c *cycle) {
	trained := func(column string) bool {
		_, ok := c.definition.Numbers[column]
		for _, b := range c.baselines {
			if b.name == baseline.EdgesTraining && !ok {
				_, ok = b.shares[column]
			}
		}
		return c.definition.Edges == baseline.EdgesTraining && ok
	}
	for column, bins := range c.profile.Values {
		unseen, counted := bins[binning.Unseen]
		if !counted || trained(column) || c.production.Frozen() && c.production.Counts.Fields[column][binning.Unseen] == 0 {
			continue
		}
		bins[binning.Other] += unseen
		delete(bins, binning.Unseen)
		for _, b := range c.baselines {
			if s, ok := b.shares[column]; ok {
				s.bins[binning.Other] += s.bins[binning.Unseen]
				delete(s.bins, binning.Unseen)
			}
		}
	}
}

// numberMetrics are the samples of the moments of each numeric column, and of those
// of the baseline that its bins were cut from.
func (d *dataset) numberMetrics(m descs, c *cycle, gauge func(desc *prometheus.Desc, v float64, labels ...string)) {
	for column, n := range c.profile.Numbers {
		gauge(m.min, n.Min, column)
		gauge(m.max, n.Max, column)
		gauge(m.mean, n.Mean, column)
		gauge(m.stddev, n.Stddev, column)
	}
	// Provisional bins are of a few days, and so are their extremes.
	edges := c.definition.Edges
	if edges == baseline.EdgesProduction && !c.production.Frozen() {
		return
	}
	for column, layout := range c.definition.Fields {
		bins, counted := c.profile.Values[column]
		of, known := c.definition.Numbers[column]
		if !counted || !known || of.Values == 0 {
			continue
		}
		if n, ok := layout.OutOfRange(bins); ok {
			gauge(m.outOfRange, float64(n), column)
		}
		gauge(m.baselineMin, of.Min, column, edges)
		gauge(m.baselineMax, of.Max, column, edges)
		if !d.cfg.short() {
			gauge(m.baselineMean, of.Mean, column, edges)
			gauge(m.baselineSD, of.Stddev, column, edges)
		}
	}
}
