package modelquality

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// stop ends a loop. It returns false if the loop has not ended when the context ends.
type stop = func(context.Context) bool

// stopTimeout is the time that a reload waits for loops to end.
const stopTimeout = 1800 * time.Millisecond

// Reload implements exporter.Reloader. It replaces the registry and the tables of labels if they have changed, and opens changed sources
// again. It applies attribute names, gates, thresholds, training data, clients and forget_after. All other settings affect sockets, files
// or the memory of counters: changing them is an error that names the setting.
func (e *Exporter) Reload(ctx context.Context, cfg Config) error {
	old := e.cfg.Load()
	for _, part := range []struct {
		key      string
		old, new any
	}{
		{"otlp", old.OTLP, cfg.OTLP},
		{"limits", old.Limits, cfg.Limits},
		{"join", old.Join, cfg.Join},
		{"baseline_store", old.BaselineStore, cfg.BaselineStore},
		{"baselines", old.Baselines, cfg.Baselines},
		{"causes", old.Causes, cfg.Causes},
		{"reviews", old.Reviews, cfg.Reviews},
	} {
		if !config.Equal(part.old, part.new) {
			return cfg.Wrap(part.key, errors.New("has changed; restart the exporter, or undo the change"))
		}
	}
	s, err := newSettings(&cfg, e.limiter)
	if err != nil {
		return cfg.Wrap("attributes", err)
	}
	next, err := e.prepare(&cfg)
	if err != nil {
		return err
	}
	s.clients.Readmit(e.meter.Versions())
	e.pipeline.apply(&cfg, s)
	e.cfg.Store(&cfg)
	if !config.Equal(old.Clients, cfg.Clients) {
		e.fields.Store(new(fieldLimits(&cfg, e.limiter)))
	}
	e.meter.Estimate(cfg.estimated())
	return e.replace(ctx, &cfg, next)
}

// changes are the parts of a configuration that differ from the previous one. They are opened but not started.
type changes struct {
	sources  map[string]bool // changed ones
	labels   []*labelled
	ended    []string // removed tables of labels
	replaced bool     // whether the registry changed
	registry *registry
}

// prepare does the steps of a reload that may fail.
func (e *Exporter) prepare(cfg *Config) (_ *changes, err error) {
	next := &changes{}
	if next.sources, err = e.connections.changedSources(cfg); err != nil {
		return nil, err
	}
	e.connections.mu.Lock()
	defer e.connections.mu.Unlock()
	kept := make(map[string]bool)
	for i, l := range cfg.Labels {
		was := e.connections.labels[l.Name]
		if was != nil && config.Equal(was.cfg, l) && !next.sources[l.Source] {
			kept[l.Name] = true
			continue
		}
		opened, err := e.openLabels(cfg, i)
		if err != nil {
			return nil, err
		}
		next.labels = append(next.labels, opened)
	}
	for name := range e.connections.labels {
		if !kept[name] {
			next.ended = append(next.ended, name)
		}
	}
	if next.replaced = !config.Equal(e.cfg.Load().MLflow, cfg.MLflow); next.replaced {
		next.registry, err = e.openMLflow(cfg)
	}
	return next, err
}

// replace stops what has changed and starts its replacement.
func (e *Exporter) replace(ctx context.Context, cfg *Config, next *changes) error {
	late, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	end := func(what string, s stop) {
		if s != nil && !s(late) {
			e.env.Logger.Warn("A reload left work behind that did not end in time", "collector", what)
		}
	}
	e.connections.mu.Lock()
	var left []*labelled
	for _, name := range next.ended {
		left = append(left, e.connections.labels[name])
		delete(e.connections.labels, name)
	}
	e.connections.mu.Unlock()
	for _, l := range left {
		end("labels/"+l.cfg.Name, l.stop)
	}
	e.connections.apply(cfg, next.sources, e.env.Logger)
	var errs []error
	for _, l := range next.labels {
		errs = append(errs, e.watchLabels(l))
	}
	if !next.replaced {
		return errors.Join(errs...)
	}
	was := e.connections.registry.Load()
	if was != nil {
		for _, s := range was.stops {
			end("mlflow", s)
		}
	}
	errs = append(errs, e.watchMLflow(next.registry, cfg.MLflow))
	if was != nil {
		go func() { // A read of training data may still use it.
			if err := was.close(); err != nil {
				e.env.Logger.Warn("What was read by the MLflow server of before was not closed cleanly", "err", err)
			}
		}()
	}
	return errors.Join(errs...)
}

// changedSources returns the sources whose configuration or connection string has changed.
func (r *connections) changedSources(cfg *Config) (map[string]bool, error) {
	changed, name, err := tables.Changed(r.cfg.Load().Sources, cfg.Sources, func(name string) *tables.Source {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.sources[name]
	})
	if err != nil {
		return nil, cfg.Wrap("sources."+name, err)
	}
	return changed, nil
}

// apply makes a configuration current and closes the changed sources of the old one.
func (r *connections) apply(cfg *Config, changed map[string]bool, logger *slog.Logger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cfg.Store(cfg)
	tables.CloseChanged(r.sources, changed, logger)
}
