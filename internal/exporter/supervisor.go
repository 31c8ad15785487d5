package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sightglass-ml/sightglass/instrument/telemetry"
)

const (
	// readyWait is the time that a reload waits until the new instance has data, so that there is no gap between scrapes. The wait is
	// limited, because a source may be down, and this may be the reason for the reload.
	readyWait = time.Minute
	readyPoll = 100 * time.Millisecond
)

// supervisor owns the running instance and replaces it at a reload.
type supervisor[C any] struct {
	spec   Spec[C]
	path   string
	logger *slog.Logger
	tel    *telemetry.Telemetry
	self   *selfMetrics

	mu      sync.Mutex // held while current is changed
	current atomic.Pointer[generation]
}

// generation is one instance with its environment and its routes.
type generation struct {
	instance Instance
	env      *Env
	mux      *http.ServeMux
}

func (g *generation) ready() error {
	if r, ok := g.instance.(Readier); ok {
		return r.Ready()
	}
	return g.env.Ready()
}

// start starts the first generation.
func (s *supervisor[C]) start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	cfg, err := s.load()
	if err != nil {
		return err
	}
	for _, n := range notesOf(cfg) {
		level := slog.LevelError
		if n.Later {
			level = slog.LevelWarn
		}
		s.logger.Log(ctx, level, "A part of the configuration will not work", "err", n.Error)
	}
	g, err := s.generate(ctx, cfg)
	if err != nil {
		return err
	}
	s.current.Store(g)
	s.self.reloaded(true)
	s.describe(cfg)
	return nil
}

// describe logs what a configuration monitors.
func (s *supervisor[C]) describe(cfg C) {
	file := s.path
	if file == "" {
		file = "(defaults)"
	}
	attributes := []any{"file", file}
	if s.spec.Watching != nil {
		attributes = append(attributes, s.spec.Watching(cfg)...)
	}
	s.logger.Info("Watching", attributes...)
}

// generate starts an instance. The instance runs until it is stopped, not until ctx ends, because requests in progress finish first
// when the process ends.
func (s *supervisor[C]) generate(ctx context.Context, cfg C) (*generation, error) {
	env := NewEnv(context.WithoutCancel(ctx), s.logger, s.tel, s.self.dropped)
	env.panics = s.self.panics
	g := &generation{env: env, mux: http.NewServeMux()}
	err := s.within(ctx, env, func() (err error) {
		// A typed nil pointer is never stored, and an instance returned with an error is discarded.
		instance, err := s.spec.Start(env.Context(), env, cfg)
		switch {
		case err != nil:
			return err
		case isNil(instance):
			return fmt.Errorf("start %s: no instance was made; this is a bug of Sightglass", s.spec.Name)
		}
		g.instance = instance
		if r, ok := instance.(Router); ok {
			r.Routes(g.mux)
		}
		return nil
	})
	if err != nil {
		s.stop(ctx, g)
		return nil, s.located(err)
	}
	return g, nil
}

// reload applies the current configuration file. On an error, the previous instance continues. The context is the process's, so a
// client that disconnects does not interrupt a reload. The caller holds s.mu.
func (s *supervisor[C]) reload(ctx context.Context) error {
	err := s.replace(ctx)
	s.self.reloaded(err == nil)
	if err != nil {
		s.logger.Error("Reload failed; the last good configuration stays in effect", "err", err)
		return err
	}
	s.logger.Info("Configuration reloaded", "file", s.path)
	return nil
}

func (s *supervisor[C]) replace(ctx context.Context) error {
	cfg, err := s.load()
	if err != nil {
		return err
	}
	for _, n := range notesOf(cfg) {
		if n.Later {
			s.logger.Warn("A part of the configuration will not work yet", "err", n.Error)
		}
	}
	if err := failing(cfg); err != nil {
		return err
	}
	old := s.current.Load()
	if r, ok := old.instance.(Reloader[C]); ok {
		err := s.guard("reload", func() error { return r.Reload(ctx, cfg) })
		if !errors.Is(err, ErrReplace) {
			if err == nil {
				s.describe(cfg)
			}
			return s.located(err)
		}
	}
	g, err := s.generate(ctx, cfg)
	if err != nil {
		return err
	}
	s.describe(cfg)
	s.awaitReady(ctx, g)
	s.current.Store(g)
	s.stop(ctx, old)
	return nil
}

// awaitReady returns when the generation is ready, or after readyWait.
func (s *supervisor[C]) awaitReady(ctx context.Context, g *generation) {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for err := g.ready(); err != nil; err = g.ready() {
		select {
		case <-ctx.Done():
			s.logger.Warn("The new instance takes over before it is ready", "err", err)
			return
		case <-tick.C:
		}
	}
}

// stop stops the work of a generation and waits for it for a limited time. A driver that closes its connection only after a query that
// hangs is abandoned.
func (s *supervisor[C]) stop(ctx context.Context, g *generation) {
	work, cancel := after(ctx, s.spec.StopTimeout)
	defer cancel()
	err := g.env.Close(work)
	if st, ok := g.instance.(Stopper); ok {
		release, cancel := after(ctx, s.spec.StopTimeout)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- s.guard("stop", func() error { return st.Stop(release) }) }()
		select {
		case stopErr := <-done:
			err = errors.Join(err, stopErr)
		case <-release.Done():
			err = errors.Join(err, errors.New("what it holds was not released in time and was left behind"))
		}
	}
	if err != nil {
		s.logger.Warn("Instance did not stop cleanly", "err", err)
	}
}

// close stops the last generation. If a reload is still running, its instance is not stopped.
func (s *supervisor[C]) close(ctx context.Context) {
	if !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	s.stop(ctx, s.current.Load())
}

// instance returns a collector of the current instance's metrics.
func (s *supervisor[C]) instance() prometheus.Collector {
	return collectorFunc(func(ch chan<- prometheus.Metric) {
		if err := s.guard("scrape", func() error {
			s.current.Load().instance.Collect(ch)
			return nil
		}); err != nil {
			ch <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
		}
	})
}

// prepared returns the prepared metrics of the current instance.
func (s *supervisor[C]) prepared() ([]*dto.MetricFamily, error) {
	var families []*dto.MetricFamily
	var errs []error
	if p, ok := s.current.Load().instance.(Preparer); ok {
		for _, one := range p.Prepared() {
			families = append(families, one.families...)
			errs = append(errs, one.err)
		}
	}
	return families, errors.Join(errs...)
}

// status returns a collector of the status of the current instance's loops.
func (s *supervisor[C]) status() prometheus.Collector {
	return collectorFunc(func(ch chan<- prometheus.Metric) { s.current.Load().env.Collect(ch) })
}

// collectorFunc declares nothing, because an instance's metrics depend on its configuration and its source.
type collectorFunc func(chan<- prometheus.Metric)

// Describe implements prometheus.Collector.
func (collectorFunc) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (f collectorFunc) Collect(ch chan<- prometheus.Metric) { f(ch) }
