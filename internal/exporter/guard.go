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

// protect calls f and converts a panic to an error, so that it does not end the process. The stack is logged, and
// sightglass_panics_total counts the panic.
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

// isNil reports whether the interface is nil or contains a nil pointer. A constructor that returns a concrete type returns a nil
// pointer with an error.
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

// located adds the name of the file to an error without a position.
func (s *supervisor[C]) located(err error) error {
	if err == nil || s.path == "" || config.Positioned(err) {
		return err
	}
	return fmt.Errorf("%s: %w", s.path, err)
}

// within starts an instance. If the process is stopped, it does not wait for a start that hangs in a database or a network file system.
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

// documented is a configuration that has the positions of its values.
type documented interface{ Document() config.Doc }

// notesOf returns the notes of a valid configuration.
func notesOf(cfg any) []config.Note {
	if d, ok := cfg.(documented); ok {
		return d.Document().Notes()
	}
	return nil
}

// failing returns the notes that need action, as an error.
func failing(cfg any) error {
	if d, ok := cfg.(documented); ok {
		return d.Document().Failing()
	}
	return nil
}
