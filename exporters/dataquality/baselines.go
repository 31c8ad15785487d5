package dataquality

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
)

// Baselines manages the stored baselines of a configuration's datasets. An operator builds, inspects, freezes and resets them
// with it, independently of a running exporter.
type Baselines struct {
	cfg         Config
	connections *connections
	now         func() time.Time
	// Progress, if set, receives the progress of long scans.
	Progress func(dataset, doing string, done, total int)
}

// OpenBaselines opens the sources and the store of the configuration.
func OpenBaselines(cfg Config, logger *slog.Logger, now func() time.Time) (*Baselines, error) {
	r, err := openConnections(cfg, logger, baseline.WithClock(now))
	if err != nil {
		return nil, err
	}
	return &Baselines{cfg: cfg, connections: r, now: now}, nil
}

// Close closes the sources and the store.
func (b *Baselines) Close() error { return b.connections.close() }

// Segments returns the segments of a dataset that exist under its stored bins.
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
		for _, part := range slices.Sorted(maps.Keys(s.parts)) {
			segments = append(segments, s.parts[part])
		}
	}
	return segments, err
}

// Datasets returns the datasets and segments with these names, or all datasets without names.
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
		if dataset, segment := byName[name[:max(0, strings.LastIndex(name, "/"))]]; !ok && segment {
			segments, err := b.Segments(ctx, dataset)
			if err != nil {
				return nil, fmt.Errorf("dataset %q: %w", dataset.Name, err)
			}
			for _, s := range segments {
				byName[s.Name] = s
			}
			d, ok = byName[name]
		}
		if !ok {
			return nil, fmt.Errorf("unknown dataset %q; want one of %q", name, slices.Sorted(maps.Keys(byName)))
		}
		chosen[i] = d
	}
	return chosen, nil
}

// Build does at once what the exporter does over several profiles: it cuts the bins, counts the training data and adds every
// complete day that the production baseline still needs. It keeps everything that is stored already.
func (b *Baselines) Build(ctx context.Context, d DatasetConfig) error {
	l, err := b.connections.learner(d, b.now)
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

// BaselineStatus is the stored state of a dataset. Without a definition, all other fields are empty.
type BaselineStatus struct {
	Definition baseline.Definition
	Training   baseline.Counts
	Production baseline.Production
	LastGood   string
	// Old are the numeric columns whose bins version 0.1 cut. DaysWithoutHours are days of the production baseline.
	Old              []string
	DaysWithoutHours int

	good lastGood
}

// oldColumns returns the numeric columns whose bins are in force and were cut by version 0.1: without a minimum, maximum and mean.
func oldColumns(d baseline.Definition, p baseline.Production) (columns []string) {
	if d.Edges == baseline.EdgesProduction && !p.Frozen() {
		return nil // They are refined.
	}
	for _, column := range slices.Sorted(maps.Keys(d.Fields)) {
		l := d.Fields[column]
		if _, known := d.Numbers[column]; !known && l.Kind == binning.Numeric && len(l.Edges) > 0 && !l.Ranged {
			columns = append(columns, column)
		}
	}
	return columns
}

// Status reads the stored state of a dataset.
func (b *Baselines) Status(ctx context.Context, d DatasetConfig) (BaselineStatus, error) {
	var s BaselineStatus
	view, err := b.connections.store.Subject(kind, d.Name).View(ctx)
	if err != nil {
		return s, err
	}
	if s.Definition, err = view.Definition(ctx); err != nil {
		return s, ignoreNotFound(err)
	}
	if s.Training, err = view.Training(ctx); ignoreNotFound(err) != nil {
		return s, err
	}
	if s.Production, err = view.Production(ctx, 0); ignoreNotFound(err) != nil {
		return s, err
	}
	s.Old, s.DaysWithoutHours = oldColumns(s.Definition, s.Production), len(view.WithoutHours(s.Production))
	var good lastGood
	if err := view.LastGood(ctx, &good); ignoreNotFound(err) != nil {
		return s, err
	}
	s.LastGood, s.good = good.Snapshot.Name, good
	return s, nil
}

// ignoreNotFound returns nil for baseline.ErrNotFound, and any other error unchanged.
func ignoreNotFound(err error) error {
	if errors.Is(err, baseline.ErrNotFound) {
		return nil
	}
	return err
}

// Freeze ends the learning of a dataset's production baseline with the days that are stored. It refines the bins first.
func (b *Baselines) Freeze(ctx context.Context, d DatasetConfig) (baseline.Production, error) {
	l, err := b.connections.learner(d, b.now)
	if err != nil {
		return baseline.Production{}, err
	}
	view, p, err := l.readProduction(ctx)
	if err != nil || p.Frozen() {
		return p, err
	}
	if len(p.Days) == 0 {
		return l.subject.Freeze(ctx) // Without days, it returns an error with the reason.
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
		if view, p, err = l.readProduction(ctx); err != nil {
			return p, err
		}
		p, _, err = l.production(ctx, view, definition, nil, math.MaxInt)
		return p, err
	}
	_, p, err = l.readProduction(ctx)
	return p, err
}

// Accept stores the present state of a column (added, removed or with another type) as its expected state.
func (b *Baselines) Accept(ctx context.Context, d DatasetConfig, column string) (baseline.Accepted, error) {
	l, err := b.connections.learner(d, b.now)
	if err != nil {
		return baseline.Accepted{}, err
	}
	return l.accept(ctx, column, d.at(b.now()))
}

// Reset resets parts of a dataset's baselines. The exporter builds or learns them again. The old objects remain in the store.
func (b *Baselines) Reset(ctx context.Context, d DatasetConfig, parts ...baseline.Part) error {
	return b.connections.store.Subject(kind, d.Name).Reset(ctx, parts...)
}
