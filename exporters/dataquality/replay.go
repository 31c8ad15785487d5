package dataquality

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// ReplayOptions are the dependencies of a Replay. The caller owns them.
type ReplayOptions struct {
	// Sources are the open sources by name. Replay does not close them.
	Sources map[string]*tables.Source
	// Store stores the baselines. Replay does not close it.
	Store  *baseline.Store
	Now    func() time.Time
	Logger *slog.Logger
}

// Replay is the exporter without loops: the caller, who owns the clock, starts each profile.
type Replay struct {
	connections *connections
	datasets    []*dataset
	descs       descs
}

// NewReplay starts the exporter as a new process would. It continues with the baselines in the store.
func NewReplay(cfg Config, o ReplayOptions) (*Replay, error) {
	named := cfg
	named.Sources = nil
	r, err := openConnections(named, o.Logger)
	if err != nil {
		return nil, err
	}
	if err := r.store.Close(); err != nil {
		return nil, err
	}
	r.store, r.sources = o.Store, o.Sources
	replay := &Replay{connections: r, descs: newDescs(newCatalogue())}
	dropped := limit.NewDropped()
	for _, dc := range cfg.Datasets {
		if len(dc.Segments) > 0 {
			return nil, fmt.Errorf("dataset %q: a replay has no segments", dc.Name)
		}
		dc.Causes.PerHour = 0 // A replay evaluates alerts and needs no causes.
		replay.datasets = append(replay.datasets, r.dataset(dc, limit.New("columns", 2*dc.Columns.Max, dropped), o.Now))
	}
	return replay, nil
}

// Profile profiles the dataset at this index of the configuration and returns the samples that the exporter would publish,
// also if the profile fails. took is the duration to publish.
func (r *Replay) Profile(ctx context.Context, dataset int, took time.Duration) ([]prometheus.Metric, error) {
	if dataset < 0 || dataset >= len(r.datasets) {
		return nil, errors.New("no such dataset")
	}
	d := r.datasets[dataset]
	if err := r.connections.resolve(d); err != nil {
		return d.metrics(r.descs, &cycle{now: d.now()}, took, err), err
	}
	c, err := d.run(ctx)
	return d.metrics(r.descs, c, took, err), err
}
