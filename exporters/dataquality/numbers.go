package dataquality

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
)

// foldUnseen moves unseen values to the bin other where unseen has no meaning: while the baseline is learning, and where the
// frozen baseline itself has unseen values, since its bins were cut from some of its days only. Compared with training data,
// values count as unseen from the first day.
func (d *dataset) foldUnseen(c *cycle) {
	d.logUnknownValues(c)
	if d.cfg.Baselines.Production.Days == 0 {
		return // Without learning, the first bins are the only baseline.
	}
	trained := func(column string) bool {
		_, ok := c.definition.Numbers[column]
		for _, b := range c.baselines {
			if b.name == baseline.EdgesTraining && !ok {
				_, ok = b.shares[column]
			}
		}
		return c.definition.Trained(column) && ok
	}
	for column, bins := range c.profile.Values {
		if _, counted := bins[binning.Unseen]; !counted || trained(column) || c.production.Frozen() && c.production.Counts.Fields[column][binning.Unseen] == 0 {
			continue
		}
		foldBin(bins)
		for _, b := range c.baselines {
			if s, ok := b.shares[column]; ok {
				foldBin(s.bins)
			}
		}
		if recent, ok := c.recent.Values[column]; ok {
			foldBin(recent)
		}
		if s, ok := c.seasonRecent[column]; ok {
			// Without a season this is the same map as the baseline's, and folding it again does nothing.
			foldBin(s.bins)
		}
	}
}

// foldBin moves the count of unseen to other.
func foldBin[N int64 | float64](bins map[string]N) {
	bins[binning.Other] += bins[binning.Unseen]
	delete(bins, binning.Unseen)
}

// logUnknownValues logs once which columns have unseen values in their own baseline, and which have no minimum, maximum and mean. Either a
// version before 0.2 cut the bins from the first day alone, or the table no longer had the learned days when the bins were to be refined.
func (d *dataset) logUnknownValues(c *cycle) {
	if d.loggedUnknownValues || c.definition.Edges == baseline.EdgesProduction && !c.production.Frozen() {
		return
	}
	d.loggedUnknownValues = true
	if old := oldColumns(c.definition, c.production); len(old) > 0 {
		d.logger.Warn("The bins of numeric columns were cut by version 0.1, without a minimum, maximum and mean. They are used as they are; MLDatasetValuesOutOfRange and MLDatasetMeanShifted cannot fire for these columns. To cut them again, run 'sightglass baseline reset --part definition' and 'sightglass baseline build'.",
			"columns", listed(old))
	}
	if c.definition.Edges != baseline.EdgesProduction {
		return
	}
	var columns []string
	for _, column := range slices.Sorted(maps.Keys(c.production.Counts.Fields)) {
		if c.production.Counts.Fields[column][binning.Unseen] > 0 {
			columns = append(columns, column)
		}
	}
	if len(columns) > 0 {
		d.logger.Warn("The bins of the production baseline were cut from a part of its days, as versions before 0.2 did. It is used as it is; values that its bins do not know are counted as other. To cut them from all days that the table has, run 'sightglass baseline reset --part definition' and 'sightglass baseline build'.",
			"columns", listed(columns))
	}
}

// comparable reports whether the range and the moments of a column's baseline are final. Provisional bins are from a few days,
// whose extremes are too narrow.
func (c *cycle) comparable(column string) bool {
	return c.definition.Trained(column) || c.production.Frozen()
}

// numbersCheck returns what is wrong with the values of a numeric column, by the conditions of MLDatasetValuesOutOfRange and
// MLDatasetMeanShifted.
func (d *dataset) numbersCheck(c *cycle, column string, values map[string]int64) string {
	of, known := c.definition.Numbers[column]
	is, counted := c.profile.Numbers[column]
	if !c.comparable(column) || !known || !counted || c.definition.Fields[column].Kind != binning.Numeric {
		return ""
	}
	rows, z := float64(c.profile.Rows), d.defaults[signalSignificance]
	if n, ok := c.definition.Fields[column].OutOfRange(values); ok {
		limit := d.threshold(signalOutOfRange, column)
		if share := float64(n) / rows; share > limit+z*math.Sqrt(limit*(1-limit)/rows) {
			return fmt.Sprintf("column %q: %.4f of the values are out of the range %g to %g", column, share, of.Min, of.Max)
		}
	}
	if d.cfg.short() || of.Stddev == 0 || rows < d.defaults[signalMinRows] {
		return ""
	}
	shift := math.Abs(is.Mean - of.Mean)
	chance := math.Sqrt(is.Stddev*is.Stddev/float64(is.Values) + of.Stddev*of.Stddev/float64(of.Values))
	if shift/of.Stddev > d.threshold(signalMeanShift, column) && shift > z*chance {
		return fmt.Sprintf("column %q: the mean %g is %.2f standard deviations from %g", column, is.Mean, shift/of.Stddev, of.Mean)
	}
	return ""
}

// numberMetrics publishes the moments of each numeric column and those of the baseline from which its bins were cut.
func (d *dataset) numberMetrics(m descs, c *cycle, gauge func(desc *prometheus.Desc, v float64, labels ...string)) {
	for _, column := range slices.Sorted(maps.Keys(c.profile.Numbers)) {
		n := c.profile.Numbers[column]
		gauge(m.min, n.Min, column)
		gauge(m.max, n.Max, column)
		gauge(m.mean, n.Mean, column)
		gauge(m.stddev, n.Stddev, column)
		gauge(m.sum, n.Sum, column)
		gauge(m.zeros, float64(n.Zeros), column)
	}
	for _, column := range slices.Sorted(maps.Keys(c.definition.Fields)) {
		layout := c.definition.Fields[column]
		bins, counted := c.profile.Values[column]
		of, known := c.definition.Numbers[column]
		if !counted || !known || !c.comparable(column) || of.Values == 0 || layout.Kind != binning.Numeric {
			continue // Columns with few distinct whole numbers are compared by category.
		}
		edges := baseline.EdgesProduction
		if c.definition.Trained(column) {
			edges = baseline.EdgesTraining
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
