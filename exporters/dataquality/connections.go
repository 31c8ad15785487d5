package dataquality

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/state"
	"github.com/sightglass-ml/sightglass/internal/tables"
	"github.com/sightglass-ml/sightglass/rules"
)

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
		name = cfg.segment.dataset
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
		l.parent = r.store.Subject(kind, cfg.segment.dataset)
	}
	return l
}

func (r *connections) resolveLearner(l *learner) (err error) {
	key := r.key(&l.cfg)
	if l.source, l.relation, err = r.table(&l.cfg.TableConfig, key); err != nil {
		return fmt.Errorf("dataset %q: %w", l.cfg.Name, err)
	}
	l.relation = l.cfg.segment.relation(l.source, l.relation)
	if t := l.cfg.Baselines.Training; t != nil {
		// An error here fails only the training baseline.
		if l.trainingSource, l.trainingRelation, l.trainingErr = r.table(&t.TableConfig, key+"baselines.training."); l.trainingErr == nil {
			l.trainingRelation = l.cfg.segment.relation(l.trainingSource, l.trainingRelation)
		}
	}
	return nil
}

// dataset returns the dataset of a configuration. resolve opens its tables later.
func (r *connections) dataset(cfg DatasetConfig, columns *limit.Limiter, now func() time.Time) *dataset {
	return &dataset{
		cfg: cfg, learner: r.newLearner(cfg, now),
		defaults: r.defaults, overrides: cfg.Thresholds.overrides(nil),
		connections: r, columns: columns, leftOut: make(map[string]bool),
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

// changedSources returns the sources whose configuration or resolved connection string changed.
func (r *connections) changedSources(cfg *Config) (map[string]bool, error) {
	changed, name, err := tables.Changed(r.config().Sources, cfg.Sources, func(name string) *tables.Source {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.sources[name]
	})
	if err != nil {
		return nil, cfg.Wrap("sources."+name, err)
	}
	return changed, nil
}

// replace stores the new configuration and closes the changed sources.
func (r *connections) replace(cfg *Config, changed map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cfg.Store(cfg)
	tables.CloseChanged(r.sources, changed, r.logger)
}
