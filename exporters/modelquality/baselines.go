package modelquality

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/fields"
	"github.com/sightglass-ml/sightglass/internal/baseline"
)

// Baselines are the stored baselines of the models of a configuration, for an operator to look at, to freeze, to reset and to
// accept. The features belong to the model, the outputs to each version.
type Baselines struct {
	store *baseline.Store
	days  int
}

// OpenBaselines opens the store of the configuration.
func OpenBaselines(cfg Config, logger *slog.Logger, now func() time.Time) (*Baselines, error) {
	if cfg.BaselineStore.Type == "" {
		return nil, errors.New("the configuration has no baseline_store")
	}
	store, err := baseline.Open(cfg.BaselineStore, logger, nil, baseline.WithClock(now))
	if err != nil {
		return nil, err
	}
	return &Baselines{store, cfg.Baselines.Days}, nil
}

// Close closes the store.
func (b *Baselines) Close() error { return b.store.Close() }

// Days are learned for a production baseline.
func (b *Baselines) Days() int { return b.days }

// Models returns the models that the store has, or those that are named, which it must have.
func (b *Baselines) Models(ctx context.Context, names ...string) ([]string, error) {
	known, err := fields.Models(ctx, b.store)
	if err != nil || len(names) == 0 {
		return known, err
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("the baseline store has no model %q; want one of %q", name, known)
		}
	}
	return names, nil
}

// ModelStatus is what is stored of a model: of its features, and by version of its outputs.
type ModelStatus struct {
	Features []FieldStatus
	// Rows, Days and Frozen are those of the first baseline of the features; added and accepted ones have their own.
	Rows     int64
	Days     int
	Frozen   bool
	Versions []VersionStatus
}

// VersionStatus is what is stored of a version.
type VersionStatus struct {
	Version      string
	Outputs      []FieldStatus
	Rows         int64
	Days         int
	Frozen       bool
	TrainingRows int64
}

// FieldStatus is what is stored of a field.
type FieldStatus struct {
	Name       string
	Bins       []string
	Production map[string]int64
	Days       int
	Frozen     bool
}

// Status reads what is stored of a model.
func (b *Baselines) Status(ctx context.Context, model string) (ModelStatus, error) {
	var s ModelStatus
	views, definitions, err := fields.Books(ctx, b.store, model)
	if err != nil {
		return s, err
	}
	features := make(map[string]FieldStatus)
	for n, view := range views {
		p, err := view.Production(ctx, 0)
		if err != nil {
			return s, err
		}
		if n == 0 {
			s.Rows, s.Days, s.Frozen = p.Counts.Rows, len(p.Days), p.Frozen()
		}
		for _, f := range fieldStatus(definitions[n], p) {
			features[f.Name] = f
		}
	}
	s.Features = slices.Collect(maps.Values(features))
	sortByName(s.Features)
	versions, err := fields.Versions(ctx, b.store, model)
	if err != nil {
		return s, err
	}
	for _, version := range versions {
		v, err := b.version(ctx, model, version)
		if err != nil {
			return s, fmt.Errorf("version %q: %w", version, err)
		}
		s.Versions = append(s.Versions, v)
	}
	return s, nil
}

func (b *Baselines) version(ctx context.Context, model, version string) (VersionStatus, error) {
	v := VersionStatus{Version: version}
	view, err := fields.Outputs(b.store, model, version).View(ctx)
	if err != nil {
		return v, err
	}
	d, err := view.Definition(ctx)
	if err != nil {
		return v, notFound(err)
	}
	p, err := view.Production(ctx, 0)
	if err != nil {
		return v, err
	}
	v.Rows, v.Days, v.Frozen = p.Counts.Rows, len(p.Days), p.Frozen()
	for _, f := range fieldStatus(d, p) {
		if !f.isInput() {
			v.Outputs = append(v.Outputs, f)
		}
	}
	sortByName(v.Outputs)
	training, err := fields.TrainingOf(b.store, model, version).View(ctx)
	if err != nil {
		return v, err
	}
	counts, err := training.Training(ctx)
	v.TrainingRows = counts.Rows
	return v, notFound(err)
}

func (f FieldStatus) isInput() bool { return strings.HasPrefix(f.Name, "input/") }

func fieldStatus(d baseline.Definition, p baseline.Production) (all []FieldStatus) {
	for name, layout := range d.Fields {
		all = append(all, FieldStatus{name, layout.Bins(), p.Counts.Fields[name], len(p.Days), p.Frozen()})
	}
	return all
}

func sortByName(fields []FieldStatus) {
	slices.SortFunc(fields, func(a, b FieldStatus) int { return strings.Compare(a.Name, b.Name) })
}

func notFound(err error) error {
	if errors.Is(err, baseline.ErrNotFound) {
		return nil
	}
	return err
}

// subjects are those of the features of a model, or those of one version.
func (b *Baselines) subjects(ctx context.Context, model, version string) ([]*baseline.Subject, error) {
	if version != "" {
		return []*baseline.Subject{fields.Outputs(b.store, model, version)}, nil
	}
	views, _, err := fields.Books(ctx, b.store, model)
	if err != nil {
		return nil, err
	}
	var all []*baseline.Subject
	for n := range views {
		all = append(all, b.store.Subject(fields.InputsKind(n), model))
	}
	return all, nil
}

// Freeze ends the learning of the features of a model, or of the outputs of a version, with the days that are there.
func (b *Baselines) Freeze(ctx context.Context, model, version string) error {
	subjects, err := b.subjects(ctx, model, version)
	if err != nil {
		return err
	}
	for _, s := range subjects {
		if _, err := s.Freeze(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Reset begins anew with parts of the features' baselines of a model, or of those of a version. What was there stays in the
// store.
func (b *Baselines) Reset(ctx context.Context, model, version string, parts ...baseline.Part) error {
	if slices.Contains(parts, baseline.PartTraining) {
		if version == "" {
			return errors.New("training data belongs to a version; name it with --model-version")
		}
		// Its features are counted by the bins of the model, and kept apart from its outputs.
		if err := fields.TrainingOf(b.store, model, version).Reset(ctx, baseline.PartDefinition); err != nil {
			return err
		}
	}
	subjects, err := b.subjects(ctx, model, version)
	if err != nil {
		return err
	}
	// The last first: a model whose first book is gone has none.
	slices.Reverse(subjects)
	for _, s := range subjects {
		if err := s.Reset(ctx, parts...); err != nil {
			return err
		}
	}
	return nil
}

// Accept takes what a feature looks like from now on for what it should look like; all else stays.
func (b *Baselines) Accept(ctx context.Context, model, feature string) error {
	return fields.Accept(ctx, b.store, model, feature)
}
