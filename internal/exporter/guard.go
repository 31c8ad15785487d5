package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/guard"
)

// protect calls f and turns a panic into an error, so that no part ends the
// process. The log gets the stack, and sightglass_panics_total counts it.
func protect(log *slog.Logger, panics *prometheus.CounterVec, part string, f func() error) error {
	err := guard.Call(log, part, f)
	if caught := (*guard.PanicError)(nil); panics != nil && errors.As(err, &caught) {
		panics.WithLabelValues(part).Inc()
	}
	return err
}

func (s *supervisor[C]) guard(part string, f func() error) error {
	return protect(s.logger, s.self.panics, part, f)
}

// isNil says whether the interface holds nothing, or a pointer that is nil: a
// constructor that returns its own type gives such a one with its error.
func isNil(i Instance) bool {
	if i == nil {
		return true
	}
	v := reflect.ValueOf(i)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// load reads the configuration.
func (s *supervisor[C]) load() (cfg C, err error) {
	err = s.guard("load", func() (err error) {
		cfg, err = s.spec.Load(s.path)
		return err
	})
	return cfg, err
}

// located gives an error that has no position at least its file.
func (s *supervisor[C]) located(err error) error {
	if err == nil || s.path == "" || config.Positioned(err) {
		return err
	}
	return fmt.Errorf("%s: %w", s.path, err)
}

// within starts an instance. The end of the process does not wait for a start
// that hangs, in a database or a network file system.
func (s *supervisor[C]) within(ctx context.Context, env *Env, start func() error) error {
	started := make(chan error, 1)
	go func() { started <- s.guard("start", start) }()
	select {
	case err := <-started:
		return err
	case <-ctx.Done():
	}
	env.cancel()
	grace, cancel := after(ctx, s.spec.StopTimeout)
	defer cancel()
	select {
	case err := <-started:
		return errors.Join(err, errStoppedEarly)
	case <-grace.Done():
		return fmt.Errorf("%w, and a part of it does not end", errStoppedEarly)
	}
}

var errStoppedEarly = errors.New("stopped while it was starting")

// documented is a configuration that knows where its values stand.
type documented interface{ Document() config.Doc }

// notesOf are the problems of a configuration that is valid.
func notesOf(cfg any) []config.Note {
	if d, ok := cfg.(documented); ok {
		return d.Document().Notes()
	}
	return nil
}

// failing are those of them that somebody has to do something about.
func failing(cfg any) error {
	if d, ok := cfg.(documented); ok {
		return d.Document().Failing()
	}
	return nil
}
