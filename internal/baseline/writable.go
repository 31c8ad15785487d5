package baseline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sightglass-ml/sightglass/internal/state"
)

// failureLife is how long a failed write counts without another attempt: who made it may be gone.
const failureLife = 24 * time.Hour

// failure is the last attempt to write, where it failed.
type failure struct {
	err error
	at  time.Time
}

// wrote remembers how an attempt to write an object ended. One that was called off says nothing.
func (s *Store) wrote(err error) {
	switch {
	case err == nil:
		s.failed.Store(nil)
	case !errors.Is(err, context.Canceled):
		s.failed.Store(&failure{err, s.now()})
	}
}

// Writable makes the folder of the store and says why nothing can be written to
// it. An object store is not asked: it may be away for a while.
func (s *Store) Writable() error {
	if s.folder == nil {
		return nil
	}
	return state.Writable(s.folder.root)
}

// Check says why the store cannot be written: a folder is tried, and of any store the last attempt to write counts. Baselines are
// written once a day or less, so an attempt that fails is too late to tell.
func (s *Store) Check(context.Context) error {
	if err := s.Writable(); err != nil {
		return err
	}
	if f := s.failed.Load(); f != nil && s.now().Sub(f.at) < failureLife {
		return fmt.Errorf("the last attempt to write, at %s, failed: %w", f.at.UTC().Format(time.RFC3339), f.err)
	}
	return nil
}

// Collector is the name under which exporters publish whether the store can be written, and CheckInterval how often they try.
const (
	Collector     = "baseline_store"
	CheckInterval = time.Minute
)
