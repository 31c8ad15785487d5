package dataquality

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// Baselines are the stored baselines of a configuration's datasets, for an
// operator to build ahead of the exporter, to look at, to freeze and to reset.
type Baselines struct {
	cfg   Config
	rooms *rooms
	now   func() time.Time
	// Progress, if set, is told of scans that take long.
	Progress func(dataset, doing string, done, total int)
}

// OpenBaselines opens the sources and the store of the configuration.
func OpenBaselines(cfg Config, logger *slog.Logger, now func() time.Time) (*Baselines, error) {
	r, err := openRooms(cfg, logger, baseline.WithClock(now))
	if err != nil {
		return nil, err
	}
	return &Baselines{cfg: cfg, rooms: r, now: now}, nil
}

// Close closes the sources and the store.
func (b *Baselines) Close() error { return b.rooms.close() }

// Datasets returns the named datasets of the configuration, or all of them.
func (b *Baselines) Datasets(names ...string) ([]DatasetConfig, error) {
	if len(names) == 0 {
		return b.cfg.Datasets, nil
	}
	byName := make(map[string]DatasetConfig)
	for _, d := range b.cfg.Datasets {
		byName[d.Name] = d
	}
	chosen := make([]DatasetConfig, len(names))
	for i, name := range names {
		d, ok := byName[name]
		if !ok {
			return nil, fmt.Errorf("unknown dataset %q; want one of %q", name, sortedKeys(byName))
		}
		chosen[i] = d
	}
	return chosen, nil
}

// Build does at once what the exporter does over time: it cuts the bins, counts
// the training data and adds every complete day that the production baseline
// still wants. What is there already is left as it is.
func (b *Baselines) Build(ctx context.Context, d DatasetConfig) error {
	l, err := b.rooms.learner(d, b.now)
	if err != nil {
		return err
	}
	if b.Progress != nil {
		l.progress = func(doing string, done, total int) { b.Progress(d.Name, doing, done, total) }
	}
	schema, err := l.source.Schema(ctx, l.relation)
	if err != nil {
		return err
	}
	var w tables.Window
	if d.TimestampColumn != "" && d.Window > 0 {
		w.From = b.now().Add(-time.Duration(d.Window))
	}
	view, definition, err := l.define(ctx, schema, w)
	if err != nil {
		return err
	}
	if _, err := l.training(ctx, view, definition); err != nil {
		return err
	}
	if d.Baselines.Production.Days == 0 || d.TimestampColumn == "" {
		return nil
	}
	p, err := view.Production(ctx, d.Baselines.Production.Days)
	if err != nil {
		return err
	}
	if !p.Frozen() {
		if _, err := l.addDays(ctx, p, definition, math.MaxInt); err != nil {
			return err
		}
		if view, err = l.subject.View(ctx); err != nil {
			return err
		}
		if p, err = view.Production(ctx, d.Baselines.Production.Days); err != nil {
			return err
		}
	}
	if !hasHours(schema, l.relation) {
		return nil
	}
	_, err = l.addHours(ctx, view, definition, p, math.MaxInt)
	return err
}

// BaselineStatus is what is stored for a dataset. Without a definition all else
// is empty.
type BaselineStatus struct {
	Definition baseline.Definition
	Training   baseline.Counts
	Production baseline.Production
	LastGood   string
}

// Status reads what is stored for a dataset.
func (b *Baselines) Status(ctx context.Context, d DatasetConfig) (BaselineStatus, error) {
	var s BaselineStatus
	view, err := b.rooms.store.Subject(kind, d.Name).View(ctx)
	if err != nil {
		return s, err
	}
	if s.Definition, err = view.Definition(ctx); err != nil {
		return s, found(err)
	}
	if s.Training, err = view.Training(ctx); found(err) != nil {
		return s, err
	}
	if s.Production, err = view.Production(ctx, 0); found(err) != nil {
		return s, err
	}
	var good lastGood
	if err := view.LastGood(ctx, &good); found(err) != nil {
		return s, err
	}
	s.LastGood = good.Snapshot.Name
	return s, nil
}

// found takes what is not there for no failure.
func found(err error) error {
	if errors.Is(err, baseline.ErrNotFound) {
		return nil
	}
	return err
}

// Freeze ends the learning of a dataset's production baseline.
func (b *Baselines) Freeze(ctx context.Context, d DatasetConfig) (baseline.Production, error) {
	return b.rooms.store.Subject(kind, d.Name).Freeze(ctx)
}

// Reset begins anew with parts of a dataset's baselines; the exporter then
// builds or learns them again. What was there stays in the store.
func (b *Baselines) Reset(ctx context.Context, d DatasetConfig, parts ...baseline.Part) error {
	return b.rooms.store.Subject(kind, d.Name).Reset(ctx, parts...)
}
