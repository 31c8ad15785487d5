// Package world simulates months of data, inferences and machines, and exposes them like the exporters.
//
// Input: a scenario. Output: targets for package replay/engine, and the truth about the incidents for package replay/report. State: the
// world at one virtual time, the exporters' counters and baselines. Rows and spans go through the exporters' own code: this package draws
// values, never shares of bins. It never reads the real clock. The same seed gives the same world.
package world

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/thanos-io/objstore"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/replay/report"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// Options configure a world in addition to its scenario.
type Options struct {
	// Seed replaces the scenario's seed if Seeded.
	Seed   uint64
	Seeded bool
	// Files replace the scenario's files, by the name of the dataset or model.
	Files  map[string]string
	Logger *slog.Logger
}

// World is a scenario at one time.
type World struct {
	scenario *scenario.Scenario
	seed     uint64
	files    map[string]string
	logger   *slog.Logger

	recordings map[string]*recording
	warnings   []string
	onsets     []*onset
	datasets   *datasets
	models     *models
	exporters  []*exporter
	nodes      []*node
	costs      *costs // or nil
}

// Open returns the world of a scenario at its start.
func Open(ctx context.Context, s *scenario.Scenario, o Options) (*World, error) {
	w := &World{scenario: s, seed: s.Seed, files: o.Files, logger: o.Logger, recordings: make(map[string]*recording)}
	if o.Seeded {
		w.seed = o.Seed
	}
	if w.logger == nil {
		w.logger = slog.New(slog.DiscardHandler)
	}
	w.onsets = onsets(s)
	var err error
	if len(s.Datasets) > 0 {
		if w.datasets, err = w.openDatasets(ctx); err != nil {
			return nil, err
		}
		w.exporters = append(w.exporters, w.newExporter("dataquality-exporter", w.datasets, w.datasets.clock))
	}
	if len(s.Models) > 0 {
		if w.models, err = w.openModels(ctx); err != nil {
			return nil, err
		}
		w.exporters = append(w.exporters, w.newExporter("modelquality-exporter", w.models, w.models.clock))
	}
	for i := range s.Nodes {
		w.nodes = append(w.nodes, w.newNode(&s.Nodes[i]))
	}
	if s.Costs != nil {
		w.costs = w.newCosts()
	}
	return w, nil
}

// Close releases the world's resources.
func (w *World) Close() error {
	var errs []error
	if w.datasets != nil {
		errs = append(errs, w.datasets.close())
	}
	if w.models != nil {
		errs = append(errs, w.models.close())
	}
	return errors.Join(errs...)
}

// clock is the clock of an exporter. Each exporter has its own, because exporters advance independently.
type clock struct {
	at   time.Time // the correct time
	skew time.Duration
}

func (w *World) newClock() *clock {
	return &clock{at: w.scenario.From(), skew: time.Duration(w.scenario.Environment.ClockSkew)}
}

func (c *clock) now() time.Time { return c.at.Add(c.skew) }

// newStore returns a store in memory for the baselines of an exporter.
func newStore(c *clock) *baseline.Store {
	return baseline.New(objstore.NewInMemBucket(), baseline.WithClock(c.now), baseline.WithSettle(0))
}

// recording reads a file once for each set of columns.
func (w *World) recording(ctx context.Context, name string, d *scenario.Data, columns []requestedColumn) (*recording, error) {
	data := *d
	if f, ok := w.files[name]; ok {
		data.File = config.Path(f)
	}
	if data.File == "" {
		return nil, d.At("file").Errorf("missing; want a Parquet or CSV file, or --data %s=FILE", name)
	}
	key := fmt.Sprintf("%s %q %q %v %v %v", data.File, data.Time, data.TimeFormat, data.Speedup, data.Shift, data.Anchor)
	for _, c := range columns {
		key += fmt.Sprintf(" %q", c.name)
	}
	r, ok := w.recordings[key]
	if !ok {
		var err error
		if r, err = readFile(ctx, &data, columns, w.scenario.From(), w.scenario.To()); err != nil {
			return nil, err
		}
		w.recordings[key] = r
	}
	if last := r.lastTime(); w.scenario.To().Sub(last) > 24*time.Hour {
		w.warn("%s: the last event of %s is at %s, %s before the end of the replay: from then on the feed appears to have stopped",
			name, data.File, last.Format(time.DateTime), config.Duration(w.scenario.To().Sub(last).Truncate(time.Hour)))
	}
	return r, nil
}

func (w *World) warn(format string, args ...any) {
	w.warnings = append(w.warnings, fmt.Sprintf(format, args...))
}

// Targets returns the targets that the engine scrapes.
func (w *World) Targets() []engine.Target {
	var targets []engine.Target
	for _, e := range w.exporters {
		targets = append(targets, engine.Target{Job: e.job, Instance: scenario.ExporterInstance, Source: e, Advance: e.move})
	}
	for _, n := range w.nodes {
		targets = append(targets, engine.Target{Job: "gpu-exporter", Instance: n.Name, Source: n, Advance: n.advance})
	}
	if w.costs != nil {
		targets = append(targets, engine.Target{Job: "cost-exporter", Instance: scenario.ExporterInstance, Source: w.costs, Advance: w.costs.advance})
	}
	return targets
}

// restarter is an exporter that can be restarted.
type restarter interface {
	restart() error
	// advance moves to a time: it generates the data up to then and runs the collections that are due.
	advance(ctx context.Context, at time.Time) error
	// write writes the exporter's metrics except those of its runtime.
	write(k *sink, to *engine.Scrape) error
	// learned returns the state of the baseline that an incident is compared with; ok means that it is about this exporter.
	learned(ctx context.Context, e *scenario.Event) (of report.Learned, ok bool, err error)
	// collectors calls each with the status of every collector.
	collectors(each func(name string, success bool, last time.Time))
}

// exporter is the process of an exporter, as a Prometheus target.
type exporter struct {
	restarter
	w        *World
	clock    *clock
	job      string
	restarts map[int64]bool
	noted    map[*onset]bool
	down     bool
	sink     *sink
}

var _ engine.Source = (*exporter)(nil)

func (w *World) newExporter(job string, of restarter, c *clock) *exporter {
	e := &exporter{restarter: of, w: w, clock: c, job: job, restarts: make(map[int64]bool), noted: make(map[*onset]bool)}
	if mean := time.Duration(w.scenario.Environment.Restarts); mean > 0 {
		r := random(w.seed, job+"/restarts", 0)
		from, to := float64(minuteOf(w.scenario.From())), float64(minuteOf(w.scenario.To()))
		for at := from + r.ExpFloat64()*mean.Minutes(); at < to; at += r.ExpFloat64() * mean.Minutes() {
			e.restarts[int64(math.Ceil(at))] = true
		}
	}
	return e
}

// move moves to a time.
func (e *exporter) move(ctx context.Context, at time.Time) error {
	e.clock.at = at
	// It is down for one scrape, and restarted after it.
	if e.down = e.restarts[minuteOf(at)]; e.down {
		if err := e.restart(); err != nil {
			return err
		}
	}
	if err := e.advance(ctx, at); err != nil {
		return err
	}
	return e.noteOnsets(ctx, at)
}

var errRestarting = errors.New("connection refused: the exporter restarts")

// Scrape implements engine.Source.
func (e *exporter) Scrape(_ context.Context, at time.Time, to *engine.Scrape) error {
	if e.down {
		return errRestarting
	}
	if share := e.w.scenario.Environment.MissingScrapes; share > 0 && random(e.w.seed, e.job+"/scrapes", minuteOf(at)).Float64() < share {
		return engine.ErrNoScrape
	}
	if e.sink == nil || e.sink.scrape != to {
		e.sink = newSink(to)
	}
	if err := e.write(e.sink, to); err != nil {
		return err
	}
	e.self(to)
	return nil
}

// self writes the metrics of the exporter's runtime.
func (e *exporter) self(to *engine.Scrape) {
	to.Float(e.sink.one("sightglass_config_last_reload_successful"), 1)
	e.collectors(func(name string, success bool, last time.Time) {
		value := 0.0
		if success {
			value = 1
		}
		to.Float(e.sink.one("sightglass_collector_success", "collector", name), value)
		if !last.IsZero() {
			to.Float(e.sink.one("sightglass_collector_last_success_timestamp_seconds", "collector", name), float64(last.Unix()))
		}
	})
}
