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
	"maps"
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
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
		Start:          start,
		Watching: func(cfg Config) []any {
			names := make([]string, len(cfg.Datasets))
			for i, d := range cfg.Datasets {
				names[i] = d.Name
			}
			return []any{"datasets", strings.Join(names, ","), "sources", strings.Join(slices.Sorted(maps.Keys(cfg.Sources)), ",")}
		},
	}
}

// Exporter is the running exporter.
type Exporter struct {
	exporter.Snapshots
	connections *connections
	descs       descs
	// slots bounds the number of concurrent profiles.
	slots chan struct{}
	env   *exporter.Env
	// watched are the datasets by name. Only start and Reload use it, and the runtime never calls these concurrently.
	watched map[string]watched
}

var (
	_ exporter.Instance = (*Exporter)(nil)
	_ exporter.Stopper  = (*Exporter)(nil)

	_ exporter.Reloader[Config] = (*Exporter)(nil)
)

// start opens the store and starts a loop for each dataset. An error of one dataset or its source fails only that loop, which
// retries at the next interval.
func start(_ context.Context, env *exporter.Env, cfg Config) (exporter.Instance, error) {
	r, err := openConnections(cfg, env.Logger)
	if err != nil {
		return nil, err
	}
	if err := r.store.Writable(); err != nil {
		return nil, errors.Join(cfg.Wrap("baseline_store", err), r.close())
	}
	e := &Exporter{
		connections: r, descs: newDescs(newCatalogue()), slots: make(chan struct{}, cfg.MaxConcurrentProfiles),
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

// Stop closes the sources and the store.
func (e *Exporter) Stop(context.Context) error { return e.connections.close() }
