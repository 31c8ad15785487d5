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

// ReplayOptions are what a Replay does not make itself.
type ReplayOptions struct {
	// Sources are the places of the configuration, by name. They are not closed.
	Sources map[string]*tables.Source
	// Store keeps the baselines. It is not closed.
	Store  *baseline.Store
	Now    func() time.Time
	Logger *slog.Logger
}

// Replay is the exporter without its loops: whoever owns the clock says when a dataset is profiled.
type Replay struct {
	rooms    *rooms
	datasets []*dataset
	descs    descs
}

// NewReplay starts the exporter under a configuration, as a new process would. Baselines that the store has go on.
func NewReplay(cfg Config, o ReplayOptions) (*Replay, error) {
	named := cfg
	named.Sources = nil
	r, err := openRooms(named, o.Logger)
	if err != nil {
		return nil, err
	}
	if err := r.store.Close(); err != nil {
		return nil, err
	}
	r.store, r.sources = o.Store, o.Sources
	replay := &Replay{rooms: r, descs: newDescs(newCatalogue())}
	dropped := limit.NewDropped()
	for _, dc := range cfg.Datasets {
		if len(dc.Segments) > 0 {
			return nil, fmt.Errorf("dataset %q: a replay has no segments", dc.Name)
		}
		dc.Causes.PerHour = 0 // A replay makes its tables row by row and asks what the alerts do, not why.
		replay.datasets = append(replay.datasets, r.dataset(dc, limit.New("columns", 2*dc.Columns.Max, dropped), o.Now))
	}
	return replay, nil
}

// Profile profiles the dataset of that index in the configuration, and returns what the exporter publishes of it. The error
// is that of the profile, and the metrics are there all the same. took is how long the profile is said to have taken.
func (r *Replay) Profile(ctx context.Context, dataset int, took time.Duration) ([]prometheus.Metric, error) {
	if dataset < 0 || dataset >= len(r.datasets) {
		return nil, errors.New("no such dataset")
	}
	d := r.datasets[dataset]
	if err := r.rooms.resolve(d); err != nil {
		return d.metrics(r.descs, &cycle{now: d.now()}, took, err), err
	}
	c, err := d.run(ctx)
	return d.metrics(r.descs, c, took, err), err
}
