package world

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"github.com/sightglass-ml/sightglass/exporters/dataquality"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/tables"
	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// took is the reported duration of a profile or a cycle.
const took = 500 * time.Millisecond

// datasets are the tables of a scenario, profiled by the data-quality exporter.
type datasets struct {
	w       *World
	clock   *clock
	store   *baseline.Store
	cfg     dataquality.Config
	source  *tables.Source
	replay  *dataquality.Replay
	current []profiled
}

// profiled is what the exporter publishes of a dataset.
type profiled struct {
	metrics   []prometheus.Metric
	changed   bool
	held      *engine.Held
	sink      *sink
	positions []metricPosition // of metrics in the sink
	ran       bool
	err       error
	success   time.Time
}

func (w *World) openDatasets(ctx context.Context) (*datasets, error) {
	s := w.scenario
	clock := w.newClock()
	d := &datasets{w: w, clock: clock, store: newStore(clock), current: make([]profiled, len(s.Datasets))}
	virtual := make(map[string]tables.Virtual)
	var list []map[string]any
	for i := range s.Datasets {
		ds := &s.Datasets[i]
		f, column, err := w.datasetFeed(ctx, ds)
		if err != nil {
			return nil, withObject("dataset", ds.Name, err)
		}
		virtual[ds.Name] = newTable(f, column, clock.now)
		entry := map[string]any{"name": ds.Name, "source": "replay", "table": ds.Name, "timestamp_column": column}
		if ds.Window != nil {
			entry["window"] = ds.Window.String()
		}
		if ds.Freshness != nil {
			entry["thresholds"] = map[string]any{"freshness": ds.Freshness.String()}
		}
		if !ds.FirstDay.IsZero() {
			entry["baselines"] = map[string]any{"production": map[string]any{"first_day": ds.FirstDay.String()}}
		}
		list = append(list, entry)
	}
	// The configuration is YAML as a user writes it, so that omitted settings have the product's defaults.
	text, err := yaml.Marshal(map[string]any{
		"sources":  map[string]any{"replay": map[string]any{"type": "duckdb"}},
		"datasets": list,
	})
	if err != nil {
		return nil, err
	}
	if err := config.Decode("replay.yaml", text, &d.cfg); err != nil {
		return nil, fmt.Errorf("configuration of the data-quality exporter: %w", err)
	}
	w.override(&d.cfg)
	if d.source, err = tables.OpenVirtual(virtual); err != nil {
		return nil, err
	}
	return d, d.restart()
}

// override applies the scenario's settings for all datasets.
func (w *World) override(cfg *dataquality.Config) {
	of := w.scenario.Exporters.Datasets
	for i := range cfg.Datasets {
		ds := &cfg.Datasets[i]
		if w.scenario.Datasets[i].Window == nil {
			ds.Window = of.Window
		}
		ds.Interval, ds.Timeout, ds.ClockSkew = of.Interval, of.Timeout, of.ClockSkew
	}
}

// withObject adds the name of an object to an error that has no position in the scenario.
func withObject(what, name string, err error) error {
	if config.Positioned(err) {
		return err
	}
	return fmt.Errorf("%s %q: %w", what, name, err)
}

// below is the position of a value of an object.
func below(of config.Pos, key string) config.Pos {
	return config.Pos{File: of.File, Line: of.Line, Key: of.Key + "." + key}
}

// datasetFeed returns the feed of a dataset, and its timestamp column.
func (w *World) datasetFeed(ctx context.Context, ds *scenario.Dataset) (*feed, string, error) {
	s := w.scenario
	faults := occurrences(s, func(e *scenario.Event) bool { return e.Dataset == ds.Name })
	if ds.Data != nil {
		var columns []requestedColumn
		for i, name := range ds.Data.Columns {
			columns = append(columns, requestedColumn{name: name, pos: ds.Data.At(fmt.Sprintf("columns[%d]", i))})
		}
		r, err := w.recording(ctx, ds.Name, ds.Data, columns)
		if err != nil {
			return nil, "", err
		}
		if first := ds.FirstDay.Start(); !ds.FirstDay.IsZero() && !r.firstTime().Before(first.AddDate(0, 0, 1)) {
			return nil, "", below(ds.Pos, "first_day").Errorf("%s is before the first row of the file, of %s: days without rows would be learned; want that day or a later one", ds.FirstDay, r.firstTime().Format(time.DateTime))
		}
		f := newFeed(r, r.dicts, w.seed, ds.Name, ds.Load, faults)
		return f, ds.Data.Time, f.check()
	}
	t := newTraffic(ds.Traffic, w.seed, ds.Name, ds.RowsPerHour/60, s.From(), s.Holidays)
	sim := newSimulation(w.seed, ds.Name, ds.Columns, t, minuteOf(s.From().Add(-time.Duration(ds.History))), minuteOf(s.To()))
	return newFeed(sim, sim.dicts, w.seed, ds.Name, ds.Load, faults), scenario.TimeColumn, nil
}

// advance implements restarter. It profiles the datasets that are due, two at a time.
func (d *datasets) advance(ctx context.Context, at time.Time) error {
	all, cancelled := errgroup.WithContext(ctx)
	all.SetLimit(2)
	for i := range d.current {
		if d.due(i, at) {
			all.Go(func() error { return d.profile(cancelled, i, at) })
		}
	}
	return all.Wait()
}

// close releases all resources.
func (d *datasets) close() error { return errors.Join(d.source.Close(), d.store.Close()) }

// restart restarts the exporter: published metrics are lost, stored baselines are not.
func (d *datasets) restart() (err error) {
	d.replay, err = dataquality.NewReplay(d.cfg, dataquality.ReplayOptions{
		Sources: map[string]*tables.Source{"replay": d.source}, Store: d.store, Now: d.clock.now, Logger: d.w.logger,
	})
	d.current = make([]profiled, len(d.cfg.Datasets))
	return err
}

// due reports whether the dataset with this index has to be profiled. A new process profiles at once. After that, datasets are profiled in
// different minutes.
func (d *datasets) due(i int, at time.Time) bool {
	if !d.current[i].ran {
		return true
	}
	every := int64(max(1, time.Duration(d.cfg.Datasets[i].Interval)/time.Minute))
	return (minuteOf(at)+int64(i))%every == 0
}

func (d *datasets) profile(ctx context.Context, i int, at time.Time) error {
	metrics, err := d.replay.Profile(ctx, i, took)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p := &d.current[i]
	p.metrics, p.changed, p.ran, p.err = metrics, true, true, err
	if err == nil {
		p.success = at
	} else {
		d.w.logger.Debug("A profile failed.", "dataset", d.cfg.Datasets[i].Name, "err", err)
	}
	return nil
}

// write implements restarter.
func (d *datasets) write(k *sink, to *engine.Scrape) (err error) {
	for i := range d.current {
		p := &d.current[i]
		if p.changed || p.sink != k {
			// Between two profiles the metrics do not change.
			if p.sink != k {
				p.positions = nil
			}
			if p.held, err = k.held(p.metrics, &p.positions); err != nil {
				return err
			}
			p.metrics, p.changed, p.sink = nil, false, k
		}
		to.Held(p.held)
	}
	return nil
}

// collectors implements restarter.
func (d *datasets) collectors(each func(name string, success bool, last time.Time)) {
	for i, p := range d.current {
		if p.ran {
			each("dataset/"+d.cfg.Datasets[i].Name, p.err == nil, p.success)
		}
	}
}
