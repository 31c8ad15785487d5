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

// Baselines gives an operator access to the stored baselines of the models of a configuration: to read, freeze, reset and accept them.
// Feature baselines belong to the model, output baselines to each version.
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

// Days returns the number of days that a production baseline learns.
func (b *Baselines) Days() int { return b.days }

// Models returns the models that the store has. With names, it returns these, and an error if the store lacks one.
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

// ModelStatus is the stored state of a model: its features, and the outputs of each version.
type ModelStatus struct {
	Features []FieldStatus
	// Rows, Days and Frozen are those of the model's first baseline. Added and accepted features have their own.
	Rows     int64
	Days     int
	Frozen   bool
	Versions []VersionStatus
	Lacks    []Lack
}

// Lack is what a baseline lacks because an earlier version learned it, and the part to reset so that it is learned again.
type Lack struct {
	What string
	Part baseline.Part
}

func lack(d baseline.Definition, p baseline.Production, view *baseline.View) (all []Lack) {
	if what, part := fields.Lacks(d, p, len(view.WithoutHours(p))); what != "" {
		all = append(all, Lack{what, part})
	}
	return all
}

// VersionStatus is the stored state of a version.
type VersionStatus struct {
	Version      string
	Outputs      []FieldStatus
	Rows         int64
	Days         int
	Frozen       bool
	TrainingRows int64
	Lacks        []Lack
}

// FieldStatus is the stored state of a field.
type FieldStatus struct {
	Name       string
	Bins       []string
	Production map[string]int64
	Rows       int64
	Days       int
	Frozen     bool
}

// Status reads the stored state of a model.
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
		s.Lacks = append(s.Lacks, lack(definitions[n], p, view)...)
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
	d.Fields = nil // Older releases also stored features here, which are no longer used.
	v.Lacks = lack(d, p, view)
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
		all = append(all, FieldStatus{name, layout.Bins(), p.Counts.Fields[name], p.Counts.Rows, len(p.Days), p.Frozen()})
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

// subjects returns the subjects of a model's features, or the subject of one version's outputs.
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

// Freeze ends learning of a model's features, or of a version's outputs. The days learned so far become the baseline. Features that cannot be
// frozen do not stop the others; the error names them.
func (b *Baselines) Freeze(ctx context.Context, model, version string) error {
	if version != "" {
		_, err := fields.Outputs(b.store, model, version).Freeze(ctx)
		return err
	}
	_, definitions, err := fields.Books(ctx, b.store, model)
	if err != nil {
		return err
	}
	if len(definitions) == 0 {
		return errors.New("no features have bins yet, so there is nothing to freeze")
	}
	var failures []error
	for n, d := range definitions {
		var names []string // of the features whose last baseline it is
		for field := range d.Fields {
			if !slices.ContainsFunc(definitions[n+1:], func(later baseline.Definition) bool { _, ok := later.Fields[field]; return ok }) {
				names = append(names, strings.TrimPrefix(field, "input/"))
			}
		}
		slices.Sort(names)
		if _, err := b.store.Subject(fields.InputsKind(n), model).Freeze(ctx); err != nil && len(names) > 0 {
			failures = append(failures, fmt.Errorf("not frozen: %s: %w", strings.Join(names, ", "), err))
		}
	}
	return errors.Join(failures...)
}

// Reset starts the named parts of a baseline again: of a model's features, or of a version. The old objects stay in the store.
func (b *Baselines) Reset(ctx context.Context, model, version string, parts ...baseline.Part) error {
	if slices.Contains(parts, baseline.PartTraining) {
		if version == "" {
			return errors.New("training data belongs to a version; name it with --model-version")
		}
		// The bins of training features are those of the model. They are stored separately from the version's outputs.
		if err := fields.TrainingOf(b.store, model, version).Reset(ctx, baseline.PartDefinition); err != nil {
			return err
		}
	}
	subjects, err := b.subjects(ctx, model, version)
	if err != nil {
		return err
	}
	// The last subject first: a model without its first book counts as a model without any.
	slices.Reverse(subjects)
	for _, s := range subjects {
		if err := s.Reset(ctx, parts...); err != nil {
			return err
		}
	}
	return nil
}

// Accept makes the present distribution of one feature its new baseline. All other fields keep theirs.
func (b *Baselines) Accept(ctx context.Context, model, feature string) error {
	return fields.Accept(ctx, b.store, model, feature)
}
