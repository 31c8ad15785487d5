package exporter

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Loop is a collector that runs at its own interval.
type Loop struct {
	Name     string        // unique in the instance; the label collector
	Interval time.Duration // from start to start
	Timeout  time.Duration // of one run; the interval by default
	Collect  func(ctx context.Context) error
}

const (
	// jitter spreads the runs of many loops and replicas, which would otherwise query a shared source at the same time.
	jitter = 0.05
	// grace is the time that a run has to return after its deadline before it counts as stuck. Its own error is more informative than a
	// timeout.
	grace = time.Second
)

// Loop runs l immediately and then at its interval until the instance stops. It makes one run at a time, each with a deadline. A run
// that panics fails. A run that ignores its deadline also fails, and the next one starts only after it has returned. The result of the
// last run is published as sightglass_collector_*.
func (e *Env) Loop(l Loop) error {
	_, err := e.StartLoop(l)
	return err
}

// StartLoop is Loop, and returns a function that stops that loop alone. stop returns false if the loop has not returned when ctx ends;
// the loop is then abandoned.
func (e *Env) StartLoop(l Loop) (stop func(ctx context.Context) bool, err error) {
	if l.Name == "" || l.Interval <= 0 || l.Timeout < 0 || l.Collect == nil {
		return nil, fmt.Errorf("exporter: loop %q needs a name, a positive interval and a collect function", l.Name)
	}
	if l.Timeout == 0 {
		l.Timeout = l.Interval
	}
	e.mu.Lock()
	_, taken := e.loops[l.Name]
	status := &loopStatus{}
	if !taken {
		e.loops[l.Name] = status
	}
	e.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("exporter: there are two loops %q", l.Name)
	}
	r := &runner{Loop: l, env: e, log: e.Logger.With("collector", l.Name), tracer: e.Tracers.Tracer("github.com/sightglass-ml/sightglass/internal/exporter")}
	ctx, cancel := context.WithCancel(e.ctx)
	done := make(chan struct{})
	r.status = status
	e.background(ctx, func(ctx context.Context) {
		r.run(ctx)
		close(done)
	})
	return func(late context.Context) bool {
		cancel()
		e.mu.Lock()
		if e.loops[l.Name] == status {
			delete(e.loops, l.Name)
		}
		e.mu.Unlock()
		select {
		case <-done:
			return true
		case <-late.Done():
			return false
		}
	}, nil
}

type runner struct {
	Loop
	env     *Env
	log     *slog.Logger
	tracer  trace.Tracer
	status  *loopStatus
	lastErr string // the last logged error, so that a lasting failure is logged once
}

func (r *runner) run(ctx context.Context) {
	for {
		spread := 1 + jitter*(2*rand.Float64()-1) //nolint:gosec // Nothing depends on it being unpredictable.
		next := time.Now().Add(time.Duration(float64(r.Interval) * spread))
		r.once(ctx)
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// once makes one run and returns when it has returned, even after its deadline.
func (r *runner) once(parent context.Context) {
	ctx, cancel := context.WithTimeout(parent, r.Timeout)
	defer cancel()
	ctx, span := r.tracer.Start(ctx, "collect", trace.WithAttributes(attribute.String("collector", r.Name)))
	defer span.End()

	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- r.protected(ctx) }()

	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		late := time.NewTimer(grace)
		defer late.Stop()
		select {
		case err = <-done:
			if err == nil {
				err = fmt.Errorf("took longer than %s", r.Timeout)
			}
		case <-late.C:
			r.report(parent, span, start, fmt.Errorf("took longer than %s and does not stop", r.Timeout))
			r.log.Info("Collector returned at last", "err", <-done)
			return
		}
	}
	r.report(parent, span, start, err)
}

// protected converts a panic to an error, so that one faulty source does not stop the others.
func (r *runner) protected(ctx context.Context) error {
	return protect(r.log, r.env.panics, "collector", func() error { return r.Collect(ctx) })
}

func (r *runner) report(parent context.Context, span trace.Span, start time.Time, err error) {
	if parent.Err() != nil {
		return // the instance is being stopped, which is not a failure of the source
	}
	now := time.Now()
	r.env.mu.Lock()
	s := r.status
	s.ran, s.success, s.duration = true, err == nil, now.Sub(start)
	if err == nil {
		s.lastSuccess = now
	}
	r.env.mu.Unlock()

	switch {
	case err == nil && r.lastErr != "":
		r.lastErr = ""
		r.log.Info("Collector recovered", "duration", now.Sub(start))
	case err == nil:
		r.log.Debug("Collector ran", "duration", now.Sub(start))
	default:
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
		level := slog.LevelError
		if err.Error() == r.lastErr {
			level = slog.LevelDebug
		}
		r.lastErr = err.Error()
		r.log.Log(context.WithoutCancel(parent), level, "Collector failed", "err", err, "duration", now.Sub(start))
	}
}
