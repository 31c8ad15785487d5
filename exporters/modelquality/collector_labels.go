package modelquality

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/labels"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// labelled is a table of labels with its loop.
type labelled struct {
	cfg   LabelsConfig
	table *labels.Table
	stop  stop
}

// openLabels creates the table with an index in the configuration's labels. It reads nothing.
func (e *Exporter) openLabels(cfg *Config, i int) (*labelled, error) {
	l, limits := cfg.Labels[i], e.env.Limit
	key := "labels[" + strconv.Itoa(i) + "]."
	table, err := labels.New(labels.Options{
		Open: func() (*tables.Source, tables.Relation, error) {
			return e.connections.table(&l.Location, l.TimeColumn, key)
		}, Model: l.Model, Version: l.Version, Window: time.Duration(l.Window),
		Columns: tables.Labels{
			Prediction: l.PredictionColumn, Label: l.LabelColumn, Model: l.ModelColumn, Version: l.VersionColumn,
			Segment: l.SegmentColumn, LabelTime: l.LabelTimeColumn, Numeric: l.Numeric,
			Confidence: l.ConfidenceColumn, Bins: l.bins(),
		},
		// Counts stay valid if two runs in a row fail.
		Valid:    2*time.Duration(l.Interval) + time.Duration(l.Timeout),
		Versions: limits("labelled_versions", cfg.Limits.Versions), Segments: limits("segments", l.MaxSegments), Classes: limits("classes", l.MaxClasses),
		Binned: limits("labelled_bins", maxLabelledBins), Now: e.pipeline.now,
	})
	if err != nil {
		return nil, cfg.Wrap(key+"name", fmt.Errorf("labels %q: %w", l.Name, err))
	}
	return &labelled{cfg: l, table: table}, nil
}

// watchLabels starts the loop of a table and publishes its metrics.
func (e *Exporter) watchLabels(l *labelled) (err error) {
	e.connections.mu.Lock()
	e.connections.labels[l.cfg.Name] = l
	e.connections.mu.Unlock()
	l.stop, err = e.env.StartLoop(exporter.Loop{
		Name: "labels/" + l.cfg.Name, Interval: time.Duration(l.cfg.Interval), Timeout: time.Duration(l.cfg.Timeout), Collect: l.table.Cycle,
	})
	return err
}
