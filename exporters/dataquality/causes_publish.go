package dataquality

import (
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/reveal"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// logCause logs the result of a search.
func (d *dataset) logCause(key incidentKey, e *explanation) {
	logger := d.logger.With("signal", key.signal, "column", key.column)
	switch {
	case errors.Is(e.err, errBudget):
		logger.Info("The cause of a change is not looked for yet: the budget of an hour is spent.", "per_hour", d.cfg.Causes.PerHour)
	case e.err != nil:
		logger.Warn("The cause of a change could not be looked for. It is not tried again in this incident.", "err", e.err)
	case len(e.causes) == 0:
		attributes := []any{"compared_with", e.compared}
		if e.statement != "" {
			attributes = append(attributes, "statement", e.statement)
		}
		logger.Info("No single segment explains a change.", attributes...)
	}
	for _, f := range e.causes {
		attributes := []any{"cause", f.text, "explained", round(f.explained), "rows", round(f.rows), "compared_with", e.compared}
		if !f.onset.Since.IsZero() {
			attributes = append(attributes, "since", f.onset.Since, "gradual", f.onset.Gradual)
		}
		if f.partitions > 1 {
			attributes = append(attributes, "partitions", f.partitions, "affected_partitions", f.affected)
		}
		if f.statement != "" {
			attributes = append(attributes, "statement", f.statement)
		}
		logger.Warn("A probable cause of a change was found.", attributes...)
	}
}

func round(share float64) float64 { return math.Round(share*1000) / 1000 }

// maxPublishedStatement is the maximum length in bytes of a statement in a label. Longer ones are in the log and on the report page.
const maxPublishedStatement = 1000

// causeMetrics publishes the causes of the open incidents.
func (d *dataset) causeMetrics(m descs, gauge func(desc *prometheus.Desc, v float64, labels ...string)) {
	keys := make([]incidentKey, 0, len(d.incidents))
	for key := range d.incidents {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b incidentKey) int {
		return strings.Compare(a.signal+"\x00"+a.column, b.signal+"\x00"+b.column)
	})
	for _, key := range keys {
		e := d.incidents[key].result
		if e == nil || e.err != nil {
			continue
		}
		publishStatement := func(column, value, statement string) {
			if statement != "" && len(statement) <= maxPublishedStatement {
				gauge(m.causeStatement, 1, key.column, key.signal, column, value, statement)
			}
		}
		if len(e.causes) == 0 {
			gauge(m.causeInfo, 0, key.column, key.signal, "", "")
			publishStatement("", "", e.statement)
		}
		for _, f := range e.causes {
			gauge(m.causeInfo, f.explained, key.column, key.signal, f.column, f.value)
			gauge(m.causeRows, f.rows, key.column, key.signal, f.column, f.value)
			if !f.onset.Since.IsZero() {
				gauge(m.causeSince, seconds(f.onset.Since), key.column, key.signal, f.column, f.value)
				gauge(m.causeGradual, truth(f.onset.Gradual), key.column, key.signal, f.column, f.value)
			}
			publishStatement(f.column, f.value, f.statement)
			if f.partitions > 1 {
				gauge(m.causePartitions, float64(f.affected)/float64(f.partitions), key.column, key.signal, f.column, f.value)
			}
		}
	}
}

// publishedName returns the name under which a value may be published, and whether that name hides the value. code is the code in
// the sample; below 0 it means all infrequent values.
func (d *dataset) publishedName(c *cycle, f tables.SampledField, code int32, name string) (string, bool) {
	if !f.Values || code <= 0 {
		return name, false
	}
	return d.publishedValue(c, f.Column, f.Names[code])
}

// publishedValue returns the published name of a category, and whether that name hides the value. A value with its own bin has
// the name of the bin.
func (d *dataset) publishedValue(c *cycle, column, value string) (string, bool) {
	if hidden, ok := d.hidden(c, column)[binning.CategoryBin(value)]; ok {
		return hidden, true
	}
	layout := binning.Layout{Kind: binning.Categorical, Top: []string{value}}
	if hidden, ok := reveal.Policy(d.cfg.Columns.Reveal).Hidden(column, layout)[binning.CategoryBin(value)]; ok {
		_, hash, _ := strings.Cut(hidden, "~")
		return "#~" + hash, true // Without its own bin it has no rank.
	}
	return binning.CategoryBin(value), false
}
