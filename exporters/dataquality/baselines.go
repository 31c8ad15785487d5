package dataquality

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
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

// Segments returns the segments of a dataset that there are under its bins.
func (b *Baselines) Segments(ctx context.Context, d DatasetConfig) ([]DatasetConfig, error) {
	if len(d.Segments) == 0 {
		return nil, nil
	}
	status, err := b.Status(ctx, d)
	if err != nil || status.Definition.ID == "" {
		return nil, err
	}
	ways, err := d.segments(status.Definition, nil)
	var segments []DatasetConfig
	for _, s := range ways {
		for _, part := range sortedKeys(s.parts) {
			segments = append(segments, s.parts[part])
		}
	}
	return segments, err
}

// Datasets returns the named datasets of the configuration and their segments, or all datasets.
func (b *Baselines) Datasets(ctx context.Context, names ...string) ([]DatasetConfig, error) {
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
		if whole, segment := byName[name[:max(0, strings.LastIndex(name, "/"))]]; !ok && segment {
			segments, err := b.Segments(ctx, whole)
			if err != nil {
				return nil, fmt.Errorf("dataset %q: %w", whole.Name, err)
			}
			for _, s := range segments {
				byName[s.Name] = s
			}
			d, ok = byName[name]
		}
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
	view, definition, err := l.define(ctx, schema, d.at(b.now()))
	if err != nil {
		return err
	}
	if _, err := l.training(ctx, view, definition); err != nil {
		return err
	}
	if d.Baselines.Production.Days == 0 || d.TimestampColumn == "" {
		return nil
	}
	p, view, err := l.production(ctx, view, definition, nil, math.MaxInt)
	if err != nil {
		return err
	}
	if refined, err := l.refined(ctx, definition); err != nil || refined.ID != definition.ID {
		if err != nil {
			return err
		}
		if view, err = l.subject.View(ctx); err != nil {
			return err
		}
		if p, view, err = l.production(ctx, view, refined, nil, math.MaxInt); err != nil {
			return err
		}
		definition = refined
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

	good lastGood
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
	s.LastGood, s.good = good.Snapshot.Name, good
	return s, nil
}

// found takes what is not there for no failure.
func found(err error) error {
	if errors.Is(err, baseline.ErrNotFound) {
		return nil
	}
	return err
}

// Freeze ends the learning of a dataset's production baseline with the days that are
// there: it refines their bins first.
func (b *Baselines) Freeze(ctx context.Context, d DatasetConfig) (baseline.Production, error) {
	l, err := b.rooms.learner(d, b.now)
	if err != nil {
		return baseline.Production{}, err
	}
	view, p, err := l.look(ctx)
	if err != nil || p.Frozen() {
		return p, err
	}
	if len(p.Days) == 0 {
		return l.subject.Freeze(ctx) // It says why not.
	}
	definition, err := view.Definition(ctx)
	if err != nil {
		return p, err
	}
	if !definition.Refined() {
		if err := l.complete(ctx, view, definition, p, math.MaxInt); err != nil {
			return p, err
		}
		if definition, err = l.refined(ctx, definition); err != nil {
			return p, err
		}
	}
	if definition.Refined() {
		if view, p, err = l.look(ctx); err != nil {
			return p, err
		}
		p, _, err = l.production(ctx, view, definition, nil, math.MaxInt)
		return p, err
	}
	_, p, err = l.look(ctx)
	return p, err
}

// Accept makes what a column of a dataset is now what it is expected to be.
func (b *Baselines) Accept(ctx context.Context, d DatasetConfig, column string) (baseline.Accepted, error) {
	l, err := b.rooms.learner(d, b.now)
	if err != nil {
		return baseline.Accepted{}, err
	}
	return l.accept(ctx, column, d.at(b.now()))
}

// Reset begins anew with parts of a dataset's baselines; the exporter then
// builds or learns them again. What was there stays in the store.
func (b *Baselines) Reset(ctx context.Context, d DatasetConfig, parts ...baseline.Part) error {
	return b.rooms.store.Subject(kind, d.Name).Reset(ctx, parts...)
}
