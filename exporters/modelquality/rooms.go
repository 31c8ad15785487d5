package modelquality

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"text/template"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/thanos-io/objstore"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/datasets"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/labels"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/lineage"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/outbox"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/state"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// rooms are the connections to other systems: sources of training data and labels, the stores of baselines and reviews, and MLflow.
type rooms struct {
	cfg     *Config
	mu      sync.Mutex
	sources map[string]*tables.Source // opened sources
	closed  bool
	// The following are nil if they are not configured.
	store    *baseline.Store
	registry *lineage.Registry
	datasets *datasets.Reader // fetches the datasets of runs
	files    *tables.Source   // reads these files
	buckets  []objstore.Bucket
	outbox   *outbox.Outbox
	labels   []*labels.Table
}

func openRooms(cfg *Config, env *exporter.Env, now func() time.Time) (_ *rooms, err error) {
	r := &rooms{cfg: cfg, sources: make(map[string]*tables.Source)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if cfg.BaselineStore.Type != "" {
		if r.store, err = baseline.Open(cfg.BaselineStore, env.Logger, nil); err != nil {
			return nil, cfg.Wrap("baseline_store", fmt.Errorf("open baseline store: %w", err))
		}
		if err := r.store.Writable(); err != nil {
			return nil, cfg.Wrap("baseline_store", err)
		}
	}
	if m := cfg.MLflow; m != nil {
		if err := r.openMLflow(m, cfg.Limits.Versions, env, now); err != nil {
			return nil, cfg.Wrap("mlflow", fmt.Errorf("mlflow: %w", err))
		}
	}
	if v := cfg.Reviews; v != nil {
		if r.outbox, err = outbox.Open(outbox.Options{
			File: string(v.File), URL: v.URL, Token: v.Token, MaxBytes: int64(v.MaxBytes), Timeout: time.Duration(v.Timeout),
			MinBackoff: minBackoff, MaxBackoff: time.Duration(v.MaxBackoff), Models: env.Limit("reviewed_models", cfg.Limits.Versions), Logger: env.Logger,
		}); err != nil {
			return nil, cfg.Wrap("reviews.file", fmt.Errorf("reviews: %w; want a file in a folder that user %d of this process can write to", err, os.Getuid()))
		}
	}
	for i := range cfg.Labels {
		l := &cfg.Labels[i]
		key := "labels[" + strconv.Itoa(i) + "]."
		table, err := labels.New(labels.Options{
			Open: func() (*tables.Source, tables.Relation, error) { return r.table(&l.Place, l.TimeColumn, key) }, Model: l.Model, Version: l.Version, Window: time.Duration(l.Window),
			Columns: tables.Labels{
				Prediction: l.PredictionColumn, Label: l.LabelColumn, Model: l.ModelColumn, Version: l.VersionColumn,
				Segment: l.SegmentColumn, LabelTime: l.LabelTimeColumn, Numeric: l.Numeric,
				Confidence: l.ConfidenceColumn, Bins: l.bins(),
			},
			// Counts stay valid if two runs in a row fail.
			Valid:    2*time.Duration(l.Interval) + time.Duration(l.Timeout),
			Versions: env.Limit("labelled_versions", cfg.Limits.Versions), Segments: env.Limit("segments", l.MaxSegments), Classes: env.Limit("classes", l.MaxClasses),
			Binned: env.Limit("labelled_bins", maxLabelledBins), Now: now,
		})
		if err != nil {
			return nil, cfg.Wrap(key+"name", fmt.Errorf("labels %q: %w", l.Name, err))
		}
		r.labels = append(r.labels, table)
	}
	return r, nil
}

// source opens a source on first use, and again after a failure.
func (r *rooms) source(name string) (*tables.Source, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.sources[name]; ok {
		return s, nil
	}
	if r.closed {
		return nil, fmt.Errorf("source %q: the exporter stops", name)
	}
	c := r.cfg.Sources[name]
	if c.Type == tables.DuckDB && c.TempDirectory == "" {
		c.TempDirectory = config.Path(tables.Scratch(r.temp()))
	}
	s, err := c.Open()
	if err != nil {
		return nil, r.cfg.Wrap("sources."+name, fmt.Errorf("source %q: %w", name, err))
	}
	r.sources[name] = s
	return s, nil
}

// table returns a source and the relation of a table in it. key is the table's position in the configuration.
func (r *rooms) table(p *tables.Place, timeColumn, key string) (*tables.Source, tables.Relation, error) {
	source, err := r.source(p.Source)
	if err != nil {
		return nil, tables.Relation{}, err
	}
	relation, err := p.Relation(source, timeColumn)
	return source, relation, r.cfg.Wrap(key+p.Key(), err)
}

// temp returns the folder for temporary files.
func (r *rooms) temp() string {
	folder := ""
	switch {
	case r.store != nil && r.store.Folder() != "":
		folder = r.store.Folder()
	case r.cfg.Reviews != nil:
		folder = filepath.Dir(string(r.cfg.Reviews.File))
	}
	return state.Temp(folder)
}

func (r *rooms) openMLflow(m *MLflowConfig, versions int, env *exporter.Env, now func() time.Time) (err error) {
	var link *template.Template
	if m.TraceLink != "" {
		if link, err = template.New("trace_link").Parse(m.TraceLink); err != nil {
			return err
		}
	}
	if r.registry, err = lineage.New(lineage.Options{
		URL: m.URL, Token: m.Token, Username: m.Username, Password: m.Password, Aliases: m.Aliases,
		Refresh: time.Duration(m.Refresh), RetryMissing: time.Duration(m.RetryMissing), Timeout: time.Duration(m.Timeout),
		RequestsPerSecond: m.RequestsPerSecond, MaxVersions: max(versions, 1), WriteBack: m.WriteBack, TraceLink: link, Logger: env.Logger, Now: now,
	}); err != nil {
		return err
	}
	return r.openDatasets(&m.Datasets, env, now)
}

func (r *rooms) openDatasets(d *DatasetsConfig, env *exporter.Env, now func() time.Time) (err error) {
	if !d.any() {
		return nil
	}
	o := datasets.Options{
		Hosts: d.Hosts, MaxBytes: int64(d.MaxBytes), Timeout: time.Duration(d.Timeout), TempDir: cmp.Or(string(d.TempDirectory), r.temp()), Now: now, Logger: env.Logger,
	}
	for _, f := range d.Folders {
		o.Folders = append(o.Folders, string(f))
	}
	if d.Artifacts {
		o.Artifacts = r.registry
	}
	for _, b := range d.Buckets {
		bucket, err := b.Bucket(env.Logger)
		if err != nil {
			return fmt.Errorf("datasets: bucket %s: %w", b.URI, err)
		}
		r.buckets = append(r.buckets, bucket)
		o.Buckets = append(o.Buckets, datasets.Bucket{URI: b.URI, BucketReader: bucket})
	}
	if r.datasets, err = datasets.New(o); err != nil {
		return err
	}
	r.files, err = tables.Open(tables.Options{Type: tables.DuckDB, TempDirectory: tables.Scratch(r.temp())})
	return err
}

func (r *rooms) collect(ch chan<- prometheus.Metric) {
	if r.registry != nil {
		r.registry.Collect(ch)
	}
	if r.outbox != nil {
		r.outbox.Collect(ch)
	}
	for _, l := range r.labels {
		l.Collect(ch)
	}
}

func (r *rooms) close() error {
	var errs []error
	if r.store != nil {
		errs = append(errs, r.store.Close())
	}
	if r.outbox != nil {
		errs = append(errs, r.outbox.Close())
	}
	if r.files != nil {
		errs = append(errs, r.files.Close())
	}
	for _, b := range r.buckets {
		errs = append(errs, b.Close())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, s := range r.sources {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
