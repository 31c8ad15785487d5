package dataquality

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/drift"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// threshold returns the override for the column, the one for the dataset, or the default.
func (d *dataset) threshold(signal, column string) float64 {
	if v, ok := d.overrides[override{signal, column}]; ok {
		return v
	}
	if v, ok := d.overrides[override{signal, ""}]; ok {
		return v
	}
	return d.defaults[signal]
}

// driftLimits returns the limits of a column's drift, as in the rules: the default limit, or the variation between the
// baseline's days or hours if that is larger and the configuration sets no limit.
func (d *dataset) driftLimits(column string, s shares) drift.Limits {
	l := drift.Limits{
		PSI: d.threshold(signalDrift, column), Z: d.defaults[signalSignificance], Values: d.defaults[signalMinRows], Noise: d.defaults[signalDriftNoise],
	}
	_, columnSet := d.overrides[override{signalDrift, column}]
	_, tableSet := d.overrides[override{signalDrift, ""}]
	if s.swing != nil && !columnSet && !tableSet {
		l.PSI = max(l.PSI, *s.swing*l.Z*l.Z)
	}
	return l
}

type override struct{ signal, column string }

// overrides returns the configured thresholds for a table with these columns. A column's own name takes precedence over
// patterns, and among matching patterns the first in alphabetical order applies.
func (t ThresholdsConfig) overrides(columns []tables.Column) map[override]float64 {
	o := make(map[override]float64)
	set := func(signal, column string, v *float64) {
		if v != nil {
			o[override{signal, column}] = *v
		}
	}
	perColumn := func(column string, c ColumnThresholds) {
		set(signalNulls, column, c.NullRatio)
		set(signalDrift, column, c.DriftPSI)
		set(signalUnseen, column, c.UnseenRatio)
		set(signalOutOfRange, column, c.OutOfRangeRatio)
		set(signalMeanShift, column, c.MeanShift)
	}
	perColumn("", t.ColumnThresholds)
	for _, pattern := range slices.Backward(slices.Sorted(maps.Keys(t.Columns))) {
		for _, c := range columns {
			if tables.MatchesAny([]string{pattern}, c.Name) {
				perColumn(c.Name, t.Columns[pattern])
			}
		}
	}
	for column, c := range t.Columns {
		if !strings.ContainsAny(column, "*?[") {
			perColumn(column, c)
		}
	}
	set(signalRowDrop, "", t.RowDropRatio)
	set(signalMismatch, "", t.MismatchRatio)
	set(signalVolume, "", t.VolumeDeviation)
	set(signalDuplicates, "", t.DuplicateRatio)
	set(signalFuture, "", t.FutureRatio)
	if t.Freshness != nil {
		o[override{signalFreshness, ""}] = time.Duration(*t.Freshness).Seconds()
	}
	return o
}
