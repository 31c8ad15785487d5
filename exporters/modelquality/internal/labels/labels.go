// Package labels compares predictions with labels that become known later.
//
// Input: the rows of a table with predictions and labels. Output for each version of a model and each segment of the window: the counts of
// every pair of classes, or sums of errors, and the delay of labels. Rules compute accuracy and the other measures from them. Counts by
// bins of the confidence or prediction are the basis of estimated performance. State: the last counts of a Table. The package never reads
// single rows; the database counts.
package labels

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// OtherWrong is the predicted class if two different classes are both folded into other, because "other" would count as correct.
const OtherWrong = "other (another)"

// Halves of the window for the counts by bins. The later half tests estimates made from the earlier half.
const (
	Earlier = "earlier"
	Later   = "later"
)

// MaxGroups limits the combinations in a database's answer, MaxBinned those with bins.
const (
	MaxGroups = 20_000
	MaxBinned = 100_000
)

// Options configure a Table.
type Options struct {
	// Open returns the source and relation of the predictions for one count. The relation's Time is that of the prediction.
	Open    func() (*tables.Source, tables.Relation, error)
	Columns tables.Labels
	// Model and Version are used if the columns have no value.
	Model, Version string
	// Window is the period of the predictions that are counted.
	Window time.Duration
	// Valid is the time for which counts are published if no newer ones follow.
	Valid time.Duration
	// Versions, Segments and Classes limit label values. Binned limits their combinations that are counted by bins.
	Versions, Segments, Classes, Binned *limit.Limiter
	Now                                 func() time.Time
}

// Table counts the labelled predictions of one table.
type Table struct {
	Options
	descs    descs
	snapshot exporter.Snapshot
}

type descs struct {
	pairs, rows, absolute, squared, delay         *prometheus.Desc
	calibration, binRows, binAbsolute, binSquared *prometheus.Desc
}

// Declare declares the metrics of a Table in the reference.
func Declare(c *catalogue.Catalogue) { newDescs(c) }

func newDescs(c *catalogue.Catalogue) descs {
	of := func(more ...string) []string { return append([]string{"model", "version"}, more...) }
	return descs{
		pairs:    c.Gauge("ml_model_labelled_predictions", "Labelled predictions of the window by predicted and actual class.", of("predicted", "actual", "segment")...),
		rows:     c.Gauge("ml_model_labelled_rows", "Labelled predictions of the window.", of("segment")...),
		absolute: c.Gauge("ml_model_absolute_error_sum", "Sum of the absolute differences of predictions and labels in the window.", of("segment")...),
		squared:  c.Gauge("ml_model_squared_error_sum", "Sum of the squared differences of predictions and labels in the window.", of("segment")...),
		calibration: c.Gauge("ml_model_labelled_confidence_rows",
			"Labelled predictions of either part of the window by bin of their confidence. The label bin is the upper bound. For a class: right are true positives, wrong are false positives, missed are false negatives.", of("segment", "class", "bin", "result", "part")...),
		binRows:     c.Gauge("ml_model_labelled_bin_rows", "Labelled predictions of either part of the window by bin of the prediction. The label bin is the upper bound.", of("segment", "bin", "part")...),
		binAbsolute: c.Gauge("ml_model_labelled_bin_absolute_error_sum", "Sum of the absolute differences of the predictions and labels of ml_model_labelled_bin_rows.", of("segment", "bin", "part")...),
		binSquared:  c.Gauge("ml_model_labelled_bin_squared_error_sum", "Sum of the squared differences of the predictions and labels of ml_model_labelled_bin_rows.", of("segment", "bin", "part")...),
		delay:       c.Gauge("ml_model_label_delay_seconds", "Mean time from a prediction of the window to its label.", of()...),
	}
}

// New makes a Table.
func New(o Options) (*Table, error) {
	switch {
	case o.Open == nil || o.Columns.Prediction == "" || o.Columns.Label == "":
		return nil, errors.New("labels need a table with columns of the prediction and the label")
	case o.Columns.Model == "" && o.Model == "":
		return nil, errors.New("labels need a model, or a column that names it")
	case (o.Columns.Confidence != "" || o.Columns.Numeric && len(o.Columns.Bins) > 0) && o.Binned == nil, o.Columns.Confidence != "" && (o.Columns.Numeric || len(o.Columns.Bins) == 0):
		return nil, errors.New("labels by confidence need predictions that are classes, bins and a limit")
	case o.Window <= 0 || o.Valid <= 0 || o.Versions == nil || o.Segments == nil || o.Classes == nil || o.Now == nil:
		return nil, errors.New("labels need times above 0, limits and a clock")
	}
	return &Table{Options: o, descs: newDescs(new(catalogue.Catalogue))}, nil
}

type (
	version struct{ model, version string }
	segment struct {
		version
		name string
	}
	pair struct {
		segment
		predicted, actual string
	}
	sums struct {
		rows              int64
		absolute, squared float64
	}
	delay struct {
		rows    int64
		seconds float64
	}
)

// Cycle counts the window that ends now.
func (t *Table) Cycle(ctx context.Context) error {
	now := t.Now()
	source, relation, err := t.Open()
	if err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	columns, most := t.Columns, MaxGroups
	if t.binned() {
		columns.Middle, most = now.Add(-t.Window/2), MaxBinned
	}
	groups, err := source.Labelled(ctx, relation, tables.Window{From: now.Add(-t.Window), To: now}, columns, most)
	if err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	t.snapshot.Set(t.metrics(groups), t.Valid)
	return nil
}

// binned reports whether rows are counted by bins.
func (t *Table) binned() bool { return len(t.Columns.Bins) > 0 }

func (t *Table) metrics(groups []tables.Labelled) exporter.Metrics {
	// The most frequent first, so that the limits admit these.
	slices.SortFunc(groups, func(a, b tables.Labelled) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Model+"\x1f"+a.Version+"\x1f"+a.Segment, b.Model+"\x1f"+b.Version+"\x1f"+b.Segment),
			cmp.Compare(a.Actual, b.Actual), cmp.Compare(a.Predicted, b.Predicted), cmp.Compare(a.Bin, b.Bin))
	})
	pairs, bySegment, delays := make(map[pair]int64), make(map[segment]sums), make(map[version]delay)
	for _, g := range groups {
		if g.Rows == 0 {
			continue // a window without rows, if nothing is grouped
		}
		s := t.segment(g)
		d := delays[s.version]
		delays[s.version] = delay{d.rows + g.DelayRows, d.seconds + g.Delay}
		sum := bySegment[s]
		bySegment[s] = sums{sum.rows + g.Rows, sum.absolute + g.AbsoluteError, sum.squared + g.SquaredError}
		if !t.Columns.Numeric {
			p := pair{s, t.Classes.Fold(g.Predicted), t.Classes.Fold(g.Actual)}
			if p.predicted == limit.Other && p.actual == limit.Other && g.Predicted != g.Actual {
				p.predicted = OtherWrong
			}
			pairs[p] += g.Rows
		}
	}
	var m exporter.Metrics
	for p, n := range pairs {
		m.Gauge(t.descs.pairs, float64(n), p.model, p.version.version, p.predicted, p.actual, p.name)
	}
	for s, sum := range bySegment {
		m.Gauge(t.descs.rows, float64(sum.rows), s.model, s.version.version, s.name)
		if t.Columns.Numeric {
			m.Gauge(t.descs.absolute, sum.absolute, s.model, s.version.version, s.name)
			m.Gauge(t.descs.squared, sum.squared, s.model, s.version.version, s.name)
		}
	}
	for v, d := range delays {
		if d.rows > 0 {
			m.Gauge(t.descs.delay, d.seconds/float64(d.rows), v.model, v.version)
		}
	}
	if t.binned() {
		m = append(m, t.byBin(groups)...)
	}
	return m
}

// segment returns the segment in which the rows of a group are counted.
func (t *Table) segment(g tables.Labelled) segment {
	v := version{g.Model, g.Version}
	if t.Columns.Model == "" {
		v.model = t.Model
	}
	if t.Columns.Version == "" {
		v.version = t.Version
	}
	if t.Versions.Fold(v.model+"\x1f"+v.version) == limit.Other {
		v = version{limit.Other, limit.Other}
	}
	return segment{v, t.Segments.Fold(g.Segment)}
}

var _ prometheus.Collector = (*Table)(nil)

// Describe implements prometheus.Collector. It sends nothing, because the metrics depend on the table.
func (t *Table) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (t *Table) Collect(ch chan<- prometheus.Metric) { t.snapshot.Collect(ch) }
