package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/sightglass-ml/sightglass/instrument/telemetry"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// Env is the environment that the runtime gives to an Instance. It owns the background work of that instance and, as a
// prometheus.Collector, publishes the status of that work.
type Env struct {
	Logger  *slog.Logger
	Meters  metric.MeterProvider
	Tracers trace.TracerProvider

	ctx     context.Context
	cancel  context.CancelFunc
	dropped *prometheus.CounterVec
	panics  *prometheus.CounterVec // by part; nil in tests of a single instance
	work    sync.WaitGroup

	mu    sync.Mutex
	loops map[string]*loopStatus
	// wasReady means that each loop has run once. Loops that a reload adds do not reset it.
	wasReady bool
}

var _ prometheus.Collector = (*Env)(nil)

// loopStatus is the result of the last run of a loop. Before the first run, ran is false.
type loopStatus struct {
	ran         bool
	success     bool
	duration    time.Duration
	lastSuccess time.Time
}

// NewEnv returns the environment of one instance; Close ends it. dropped is the counter that its limiters share.
func NewEnv(ctx context.Context, logger *slog.Logger, tel *telemetry.Telemetry, dropped *prometheus.CounterVec) *Env {
	ctx, cancel := context.WithCancel(ctx)
	return &Env{
		Logger: logger, Meters: tel.Meters, Tracers: tel.Tracers,
		ctx: ctx, cancel: cancel, dropped: dropped,
		loops: map[string]*loopStatus{},
	}
}

// Context returns a context that ends when the instance is stopped.
func (e *Env) Context() context.Context { return e.ctx }

// Limit returns a limiter that admits most distinct values of a label and counts the others under name in
// sightglass_label_values_dropped_total.
func (e *Env) Limit(name string, most int) *limit.Limiter {
	return limit.New(name, most, e.dropped)
}

// restartPause is the pause before background work that panicked runs again.
const restartPause = time.Second

// Go runs f in the background. f must return when its context ends. After a panic it runs again, so that one bad input does not stop it
// permanently.
func (e *Env) Go(f func(ctx context.Context)) { e.background(e.ctx, f) }

func (e *Env) background(ctx context.Context, f func(ctx context.Context)) {
	e.work.Go(func() {
		for {
			err := protect(e.Logger, e.panics, "background", func() error {
				f(ctx)
				return nil
			})
			if err == nil {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(restartPause):
			}
		}
	})
}

// Close cancels the context and waits for the background work until ctx ends.
func (e *Env) Close(ctx context.Context) error {
	e.cancel()
	done := make(chan struct{})
	go func() {
		e.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("background work did not end in time and was left behind")
	}
}

// Ready returns an error while a loop has not run yet.
func (e *Env) Ready() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.wasReady {
		return nil
	}
	var waiting []string
	for name, s := range e.loops {
		if !s.ran {
			waiting = append(waiting, name)
		}
	}
	if e.wasReady = len(waiting) == 0; e.wasReady {
		return nil
	}
	slices.Sort(waiting)
	return fmt.Errorf("%d of %d collectors have not run yet, %s among them", len(waiting), len(e.loops), waiting[0])
}

var (
	successDesc = prometheus.NewDesc("sightglass_collector_success",
		"Whether the last run of the collector succeeded.", []string{"collector"}, nil)
	durationDesc = prometheus.NewDesc("sightglass_collector_duration_seconds",
		"Duration of the last run of the collector.", []string{"collector"}, nil)
	lastSuccessDesc = prometheus.NewDesc("sightglass_collector_last_success_timestamp_seconds",
		"Time of the end of the last successful run of the collector.", []string{"collector"}, nil)
)

// Describe implements prometheus.Collector.
func (e *Env) Describe(ch chan<- *prometheus.Desc) {
	ch <- successDesc
	ch <- durationDesc
	ch <- lastSuccessDesc
}

// Collect implements prometheus.Collector.
func (e *Env) Collect(ch chan<- prometheus.Metric) {
	var m Metrics
	e.mu.Lock()
	for name, s := range e.loops {
		if !s.ran {
			continue
		}
		m.Gauge(successDesc, boolean(s.success), name)
		m.Gauge(durationDesc, s.duration.Seconds(), name)
		if !s.lastSuccess.IsZero() {
			m.Gauge(lastSuccessDesc, seconds(s.lastSuccess), name)
		}
	}
	e.mu.Unlock()
	for _, metric := range m {
		ch <- metric
	}
}
