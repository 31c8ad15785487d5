// Package dataquality turns tables into metrics.
//
// In flows a configuration that names sources and datasets. Out flow, for each
// dataset and on its own clock, rows, nulls, freshness, the schema and the count
// of every bin of every column, with the baselines to compare them with; the
// rules draw the conclusions. What has to outlive the process, the baselines and
// the last good snapshot, is in the baseline store. Everything else is a
// snapshot of the last profile, owned by the Exporter.
package dataquality

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/tables"
	"github.com/sightglass-ml/sightglass/rules"
)

// Load reads and checks a configuration file.
func Load(path string) (Config, error) { return config.Load[Config](path) }

// Spec is the exporter's binary.
func Spec() exporter.Spec[Config] {
	return exporter.Spec[Config]{
		Name:           "dataquality_exporter",
		Description:    "Publishes volume, nulls, freshness, schema and distributions of tables.",
		DefaultAddress: ":10911",
		Load:           Load,
		Start:          Start,
	}
}

// Exporter is the exporter under one configuration.
type Exporter struct {
	exporter.Snapshots
	rooms *rooms
	descs descs
	// slots bounds the profiles that run at the same time.
	slots chan struct{}
}

var (
	_ exporter.Instance = (*Exporter)(nil)
	_ exporter.Stopper  = (*Exporter)(nil)
)

// Start opens the sources and starts a loop for each dataset.
func Start(_ context.Context, env *exporter.Env, cfg Config) (exporter.Instance, error) {
	r, err := openRooms(cfg, env.Logger, nil)
	if err != nil {
		return nil, err
	}
	e := &Exporter{rooms: r, descs: newDescs(newCatalogue()), slots: make(chan struct{}, cfg.MaxConcurrentProfiles)}
	for _, dc := range cfg.Datasets {
		// Half of the series are for columns with bins, half for all others.
		columns := env.Limit("columns", 2*dc.Columns.Max)
		d, err := r.dataset(dc, columns, time.Now) //nolint:forbidigo // The process's clock comes in here.
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		timeout := time.Duration(dc.Timeout)
		if err := env.Loop(exporter.Loop{
			Name:     "dataset/" + dc.Name,
			Interval: time.Duration(dc.Interval),
			// A profile may have to wait for its turn first.
			Timeout: time.Duration(dc.Interval) + timeout,
			Collect: func(ctx context.Context) error { return e.profile(ctx, d, timeout) },
		}); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	return e, nil
}

// profile runs one profile when it is its turn and publishes what was found.
func (e *Exporter) profile(ctx context.Context, d *dataset, timeout time.Duration) error {
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return fmt.Errorf("waited too long for other profiles: %w", ctx.Err())
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := d.now()
	c, err := d.run(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("profile took longer than %s: %w", timeout, err)
	}
	// Two failed runs in a row are survived by what is still true; after
	// that, absent beats wrong.
	validFor := 2*time.Duration(d.cfg.Interval) + timeout
	e.Set(d.cfg.Name, d.metrics(e.descs, c, d.now().Sub(start), err), validFor)
	return err
}

// Stop closes the sources and the store.
func (e *Exporter) Stop(context.Context) error { return e.rooms.close() }

// rooms are the places that datasets are read from and baselines kept in.
type rooms struct {
	sources  map[string]*tables.Source
	store    *baseline.Store
	logger   *slog.Logger
	defaults map[string]float64
}

func openRooms(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*rooms, error) {
	thresholds, err := rules.Thresholds()
	if err != nil {
		return nil, err
	}
	r := &rooms{sources: make(map[string]*tables.Source), logger: logger, defaults: make(map[string]float64, len(thresholds))}
	for _, t := range thresholds {
		r.defaults[t.Signal] = t.Value
	}
	for _, signal := range []string{
		signalNulls, signalDrift, signalUnseen, signalRowDrop, signalMismatch, signalFreshness, signalVolume, signalDuplicates, signalFuture, signalSignificance, signalMinRows, signalDriftNoise,
	} {
		if _, ok := r.defaults[signal]; !ok {
			return nil, fmt.Errorf("rules/thresholds.yaml has no threshold %q", signal)
		}
	}
	if r.store, err = baseline.Open(cfg.BaselineStore, logger, reg); err != nil {
		return nil, fmt.Errorf("open baseline store: %w", err)
	}
	for name, s := range cfg.Sources {
		if r.sources[name], err = s.Open(); err != nil {
			delete(r.sources, name)
			return nil, errors.Join(fmt.Errorf("source %q: %w", name, err), r.close())
		}
	}
	return r, nil
}

func (r *rooms) close() error {
	errs := []error{r.store.Close()}
	for _, s := range r.sources {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// kind is the kind of baselines that belong to datasets.
const kind = "dataset"

func (r *rooms) learner(cfg DatasetConfig, now func() time.Time) (*learner, error) {
	l := &learner{cfg: cfg, subject: r.store.Subject(kind, cfg.Name), source: r.sources[cfg.Source], now: now}
	var err error
	if l.relation, err = cfg.relation(l.source); err != nil {
		return nil, fmt.Errorf("dataset %q: %w", cfg.Name, err)
	}
	l.relation = cfg.segment.of(l.source, l.relation)
	if t := cfg.Baselines.Training; t != nil {
		l.trainingSource = r.sources[t.Source]
		if l.trainingRelation, err = t.relation(l.trainingSource); err != nil {
			return nil, fmt.Errorf("dataset %q: training data: %w", cfg.Name, err)
		}
		l.trainingRelation = cfg.segment.of(l.trainingSource, l.trainingRelation)
	}
	return l, nil
}

func (r *rooms) dataset(cfg DatasetConfig, columns *limit.Limiter, now func() time.Time) (*dataset, error) {
	l, err := r.learner(cfg, now)
	if err != nil {
		return nil, err
	}
	d := &dataset{
		cfg: cfg, source: l.source, relation: l.relation, learner: l,
		defaults: r.defaults, overrides: cfg.Thresholds.overrides(),
		columns: columns, leftOut: make(map[string]bool),
		logger: r.logger.With("dataset", cfg.Name), now: now,
	}
	for _, u := range cfg.Upstream {
		source := r.sources[u.Source]
		relation, err := u.relation(source)
		if err != nil {
			return nil, fmt.Errorf("dataset %q: upstream %q: %w", cfg.Name, u.Name, err)
		}
		d.upstreams = append(d.upstreams, upstream{u.Name, source, relation})
	}
	if d.checks, err = r.checks(cfg); err != nil {
		return nil, fmt.Errorf("dataset %q: %w", cfg.Name, err)
	}
	for _, c := range cfg.Comparisons {
		d.comparisons = append(d.comparisons, comparison{c.Against, r.sources[c.Source], c.Query})
	}
	return d, nil
}
