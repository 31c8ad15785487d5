package modelquality

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/outbox"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/httpclient"
	"github.com/sightglass-ml/sightglass/internal/state"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// connections are the connections to other systems: sources of training data and labels, the stores of baselines and reviews, and MLflow.
type connections struct {
	cfg     atomic.Pointer[Config]
	mu      sync.Mutex                // guards sources, labels and closed
	sources map[string]*tables.Source // opened sources
	labels  map[string]*labelled      // by name
	closed  bool
	// The following are nil if they are not configured.
	store    *baseline.Store
	registry atomic.Pointer[registry]
	outbox   *outbox.Outbox
}

func newConnections(cfg *Config) *connections {
	r := &connections{sources: make(map[string]*tables.Source), labels: make(map[string]*labelled)}
	r.cfg.Store(cfg)
	return r
}

func openConnections(cfg *Config, env *exporter.Env) (_ *connections, err error) {
	r := newConnections(cfg)
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
	if v := cfg.Reviews; v != nil {
		client, err := httpclient.New(v.HTTPClient, v.client, clientName)
		if err != nil {
			return nil, cfg.Wrap("reviews.http_client", err)
		}
		if r.outbox, err = outbox.Open(outbox.Options{
			File: string(v.File), URL: v.URL, Token: v.Token, MaxBytes: int64(v.MaxBytes), Timeout: time.Duration(v.Timeout), Client: client,
			MinBackoff: minBackoff, MaxBackoff: time.Duration(v.MaxBackoff), Models: env.Limit("reviewed_models", cfg.Limits.Versions), Logger: env.Logger,
		}); err != nil {
			return nil, cfg.Wrap("reviews.file", fmt.Errorf("reviews: %w; want a file in a folder that user %d of this process can write to", err, os.Getuid()))
		}
	}
	return r, nil
}

// clientName is the name of the HTTP clients in the metrics of Prometheus's library.
const clientName = "modelquality-exporter"

// source opens a source on first use, and again after a failure.
func (r *connections) source(name string) (*tables.Source, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.sources[name]; ok {
		return s, nil
	}
	if r.closed {
		return nil, fmt.Errorf("source %q: the exporter stops", name)
	}
	c := r.cfg.Load().Sources[name]
	if c.Type == tables.DuckDB && c.TempDirectory == "" {
		c.TempDirectory = config.Path(tables.Scratch(r.temp()))
	}
	s, err := c.Open()
	if err != nil {
		return nil, r.cfg.Load().Wrap("sources."+name, fmt.Errorf("source %q: %w", name, err))
	}
	r.sources[name] = s
	return s, nil
}

// table returns a source and the relation of a table in it. key is the table's position in the configuration.
func (r *connections) table(p *tables.Location, timeColumn, key string) (*tables.Source, tables.Relation, error) {
	source, err := r.source(p.Source)
	if err != nil {
		return nil, tables.Relation{}, err
	}
	relation, err := p.Relation(source, timeColumn)
	return source, relation, r.cfg.Load().Wrap(key+p.Key(), err)
}

// temp returns the folder for temporary files.
func (r *connections) temp() string {
	folder := ""
	switch {
	case r.store != nil && r.store.Folder() != "":
		folder = r.store.Folder()
	case r.cfg.Load().Reviews != nil:
		folder = filepath.Dir(string(r.cfg.Load().Reviews.File))
	}
	return state.Temp(folder)
}

func (r *connections) collect(ch chan<- prometheus.Metric) {
	if m := r.registry.Load(); m != nil {
		m.collect(ch)
	}
	if r.outbox != nil {
		r.outbox.Collect(ch)
	}
	r.mu.Lock()
	tables := slices.Collect(maps.Values(r.labels))
	r.mu.Unlock()
	for _, l := range tables {
		l.table.Collect(ch)
	}
}

func (r *connections) close() error {
	var errs []error
	if r.store != nil {
		errs = append(errs, r.store.Close())
	}
	if r.outbox != nil {
		errs = append(errs, r.outbox.Close())
	}
	if m := r.registry.Load(); m != nil {
		errs = append(errs, m.close())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, s := range r.sources {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
