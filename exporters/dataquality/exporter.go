// Package dataquality profiles tables and publishes metrics about them.
//
// Input: a configuration with sources and datasets, and the tables themselves. Output: for each dataset, at its own interval,
// the number of rows, nulls, freshness, the schema, the count of every bin of every column, the results of keys and checks,
// and the baselines for comparison. State: baselines and the last good snapshot are in the baseline store and survive a
// restart. Everything else is the snapshot of the last profile, which the Exporter holds in memory. It never fires alerts and
// never writes to a source; the rules compare the counts with the baselines.
package dataquality

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/state"
	"github.com/sightglass-ml/sightglass/internal/tables"
	"github.com/sightglass-ml/sightglass/rules"
)

// Load reads and checks a configuration file.
func Load(path string) (Config, error) { return config.Load[Config](path) }

// Spec describes the exporter's binary.
func Spec() exporter.Spec[Config] {
	return exporter.Spec[Config]{
		Name:           "dataquality_exporter",
		Description:    "Publishes volume, nulls, freshness, schema and distributions of tables.",
		DefaultAddress: ":10911",
		Load:           Load,
		Start:          Start,
		Watching: func(cfg Config) []any {
			names := make([]string, len(cfg.Datasets))
			for i, d := range cfg.Datasets {
				names[i] = d.Name
			}
			return []any{"datasets", strings.Join(names, ","), "sources", strings.Join(sortedKeys(cfg.Sources), ",")}
		},
	}
}

// Exporter is the running exporter.
type Exporter struct {
	exporter.Snapshots
	rooms *connections
	descs descs
	// slots bounds the number of concurrent profiles.
	slots chan struct{}
	env   *exporter.Env
	// watched are the datasets by name. Only Start and Reload use it, and the runtime never calls these concurrently.
	watched map[string]watched
}

var (
	_ exporter.Instance = (*Exporter)(nil)
	_ exporter.Stopper  = (*Exporter)(nil)

	_ exporter.Reloader[Config] = (*Exporter)(nil)
)

// Start opens the store and starts a loop for each dataset. An error of one dataset or its source fails only that loop, which
// retries at the next interval.
func Start(_ context.Context, env *exporter.Env, cfg Config) (exporter.Instance, error) {
	r, err := openConnections(cfg, env.Logger)
	if err != nil {
		return nil, err
	}
	if err := r.store.Writable(); err != nil {
		return nil, errors.Join(cfg.Wrap("baseline_store", err), r.close())
	}
	e := &Exporter{
		rooms: r, descs: newDescs(newCatalogue()), slots: make(chan struct{}, cfg.MaxConcurrentProfiles),
		env: env, watched: make(map[string]watched),
	}
	if err := env.Loop(exporter.Loop{Name: baseline.Collector, Interval: baseline.CheckInterval, Collect: r.store.Check}); err != nil {
		return nil, errors.Join(err, r.close())
	}
	for _, dc := range cfg.Datasets {
		if err := e.watch(dc); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	return e, nil
}

// profile waits for a slot, runs one profile and publishes its results.
func (e *Exporter) profile(ctx context.Context, d *dataset, timeout time.Duration) error {
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return fmt.Errorf("waited too long for other profiles: %w", ctx.Err())
	}
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := d.now()
	c := &cycle{now: start}
	err := e.rooms.resolve(d)
	if err == nil {
		c, err = d.run(ctx)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("profile took longer than %s: %w", timeout, err)
	}
	if errors.Is(parent.Err(), context.Canceled) {
		return err // A reload ended it. The complete results of the last profile are better than incomplete ones.
	}
	// The results stay valid through two failed profiles. After that they expire: no data is better than outdated data.
	validFor := 2*time.Duration(d.cfg.Interval) + timeout
	e.Set(d.cfg.Name, d.metrics(e.descs, c, d.now().Sub(start), err), validFor)
	segments, segmentsErr := d.profileSegments(ctx, c)
	for _, s := range segments {
		e.Set(s.dataset.cfg.Name, s.dataset.metrics(e.descs, s.cycle, s.took, s.err), validFor)
	}
	return errors.Join(err, segmentsErr)
}

// Stop closes the sources and the store.
func (e *Exporter) Stop(context.Context) error { return e.rooms.close() }

// connections holds the open sources and the baseline store.
type connections struct {
	cfg      atomic.Pointer[Config]
	store    *baseline.Store
	logger   *slog.Logger
	defaults map[string]float64

	mu      sync.Mutex
	sources map[string]*tables.Source // only opened ones
}

func (r *connections) config() *Config { return r.cfg.Load() }

func openConnections(cfg Config, logger *slog.Logger, opts ...baseline.Option) (*connections, error) {
	thresholds, err := rules.Thresholds()
	if err != nil {
		return nil, err
	}
	r := &connections{sources: make(map[string]*tables.Source), logger: logger, defaults: make(map[string]float64, len(thresholds))}
	r.cfg.Store(&cfg)
	for _, t := range thresholds {
		r.defaults[t.Signal] = t.Value
	}
	for _, signal := range []string{
		signalNulls, signalDrift, signalUnseen, signalRowDrop, signalMismatch, signalFreshness, signalVolume, signalDuplicates, signalFuture, signalOutOfRange, signalMeanShift, signalSignificance, signalMinRows, signalDriftNoise, signalNullGrowth, signalGapFactor, signalGrace,
		signalSudden, signalSuddenFactor, signalSuddenMinRows,
	} {
		if _, ok := r.defaults[signal]; !ok {
			return nil, fmt.Errorf("rules/thresholds.yaml has no threshold %q", signal)
		}
	}
	if r.store, err = baseline.Open(cfg.BaselineStore, logger, nil, opts...); err != nil {
		return nil, cfg.Wrap("baseline_store", fmt.Errorf("open baseline store: %w", err))
	}
	return r, nil
}

// source returns an open source. It opens the source on first use, and tries again after a failure.
func (r *connections) source(name string) (*tables.Source, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.sources[name]; ok {
		return s, nil
	}
	c := r.config().Sources[name]
	if c.Type == tables.DuckDB && c.TempDirectory == "" {
		c.TempDirectory = config.Path(tables.Scratch(state.Temp(r.store.Folder())))
	}
	s, err := c.Open()
	if err != nil {
		return nil, r.config().Wrap("sources."+name, fmt.Errorf("source %q: %w", name, err))
	}
	r.sources[name] = s
	return s, nil
}

func (r *connections) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	errs := []error{r.store.Close()}
	for _, s := range r.sources {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// table returns the source of a table and its SQL. key is the table's position in the configuration, for errors.
func (r *connections) table(t *TableConfig, key string) (*tables.Source, tables.Relation, error) {
	source, err := r.source(t.Source)
	if err != nil {
		return nil, tables.Relation{}, err
	}
	relation, err := t.relation(source)
	return source, relation, r.config().Wrap(key+t.Key(), err)
}

// key returns the position of a dataset in the configuration.
func (r *connections) key(cfg *DatasetConfig) string {
	name := cfg.Name
	if cfg.segment != nil {
		name = cfg.segment.whole
	}
	for i, d := range r.config().Datasets {
		if d.Name == name {
			return "datasets[" + strconv.Itoa(i) + "]."
		}
	}
	return ""
}

// kind is the kind of baselines that datasets have in the store.
const kind = "dataset"

func (r *connections) learner(cfg DatasetConfig, now func() time.Time) (*learner, error) {
	l := r.newLearner(cfg, now)
	return l, r.resolveLearner(l)
}

func (r *connections) newLearner(cfg DatasetConfig, now func() time.Time) *learner {
	l := &learner{
		cfg: cfg, subject: r.store.Subject(kind, cfg.Name), now: now,
		logger: r.logger.With("dataset", cfg.Name), withoutHours: make(map[baseline.Day]bool),
		maxNoise: r.defaults[signalDriftNoise],
	}
	if cfg.segment != nil {
		l.whole = r.store.Subject(kind, cfg.segment.whole)
	}
	return l
}

func (r *connections) resolveLearner(l *learner) (err error) {
	key := r.key(&l.cfg)
	if l.source, l.relation, err = r.table(&l.cfg.TableConfig, key); err != nil {
		return fmt.Errorf("dataset %q: %w", l.cfg.Name, err)
	}
	l.relation = l.cfg.segment.of(l.source, l.relation)
	if t := l.cfg.Baselines.Training; t != nil {
		// An error here fails only the training baseline.
		if l.trainingSource, l.trainingRelation, l.trainingErr = r.table(&t.TableConfig, key+"baselines.training."); l.trainingErr == nil {
			l.trainingRelation = l.cfg.segment.of(l.trainingSource, l.trainingRelation)
		}
	}
	return nil
}

// dataset returns the dataset of a configuration. resolve opens its tables later.
func (r *connections) dataset(cfg DatasetConfig, columns *limit.Limiter, now func() time.Time) *dataset {
	return &dataset{
		cfg: cfg, learner: r.newLearner(cfg, now),
		defaults: r.defaults, overrides: cfg.Thresholds.overrides(nil),
		rooms: r, columns: columns, leftOut: make(map[string]bool),
		logger: r.logger.With("dataset", cfg.Name), now: now,
	}
}

// resolve opens the tables of a dataset. It runs before each profile, since a source may have recovered and a folder may have
// new files. Errors of tables other than the dataset's own become problems of the profile.
func (r *connections) resolve(d *dataset) error {
	if err := r.resolveLearner(d.learner); err != nil {
		return err
	}
	d.source, d.relation = d.learner.source, d.learner.relation
	key := r.key(&d.cfg)
	d.upstreams, d.comparisons, d.problems = nil, nil, nil
	for i, u := range d.cfg.Upstream {
		source, relation, err := r.table(&u.TableConfig, key+"upstream["+strconv.Itoa(i)+"].")
		if err != nil {
			d.problems = append(d.problems, fmt.Errorf("upstream %q: %w", u.Name, err))
			continue
		}
		d.upstreams = append(d.upstreams, upstream{u.Name, source, relation})
	}
	var err error
	if d.checks, err = r.checks(d.cfg, d.source); err != nil {
		d.problems = append(d.problems, err)
	}
	for _, c := range d.cfg.Comparisons {
		source, err := r.source(c.Source)
		if err != nil {
			d.problems = append(d.problems, fmt.Errorf("comparison with %q: %w", c.Against, err))
			continue
		}
		d.comparisons = append(d.comparisons, comparison{c.Against, source, c.Query})
	}
	return nil
}
