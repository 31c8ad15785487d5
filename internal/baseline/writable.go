package baseline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sightglass-ml/sightglass/internal/state"
)

// failureLife is the time after which a failed write is ignored if no other write followed, because its writer may no longer exist.
const failureLife = 24 * time.Hour

// failure is the last attempt to write, if it failed.
type failure struct {
	err error
	at  time.Time
}

// wrote records the result of an attempt to write. It ignores an attempt that was cancelled.
func (s *Store) wrote(err error) {
	switch {
	case err == nil:
		s.failed.Store(nil)
	case !errors.Is(err, context.Canceled):
		s.failed.Store(&failure{err, s.now()})
	}
}

// Writable creates the folder of the store and returns an error if it cannot be written. It does not check an object store, which may
// be temporarily unavailable.
func (s *Store) Writable() error {
	if s.folder == nil {
		return nil
	}
	return state.Writable(s.folder.root)
}

// Check returns an error if the store cannot be written. It tests a folder; for any store it also reports the last failed write.
// Baselines are written once a day or less, so a failed write alone would be reported too late.
func (s *Store) Check(context.Context) error {
	if err := s.Writable(); err != nil {
		return err
	}
	if f := s.failed.Load(); f != nil && s.now().Sub(f.at) < failureLife {
		return fmt.Errorf("the last attempt to write, at %s, failed: %w", f.at.UTC().Format(time.RFC3339), f.err)
	}
	return nil
}

// Collector is the collector name under which exporters publish whether the store can be written. CheckInterval is the interval of the
// check.
const (
	Collector     = "baseline_store"
	CheckInterval = time.Minute
)
