package fields

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/baseline"
)

// Books returns the stored books of a model's features. If two books have a feature, the later one is used.
func Books(ctx context.Context, store *baseline.Store, model string) ([]*baseline.View, []baseline.Definition, error) {
	var views []*baseline.View
	var definitions []baseline.Definition
	for n := range maxBooks {
		view, err := store.Subject(InputsKind(n), model).View(ctx)
		if err != nil {
			return nil, nil, err
		}
		d, err := view.Definition(ctx)
		if errors.Is(err, baseline.ErrNotFound) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		views, definitions = append(views, view), append(definitions, d)
	}
	return views, definitions, nil
}

// Accept makes the present distribution of a feature its new baseline: the exporter learns it again. All other fields keep theirs.
func Accept(ctx context.Context, store *baseline.Store, model, feature string) error {
	views, definitions, err := Books(ctx, store, model)
	if err != nil {
		return err
	}
	last, names := -1, make(map[string]bool)
	for n, d := range definitions {
		for field := range d.Fields {
			names[fmt.Sprintf("%q", strings.TrimPrefix(field, input))] = true
		}
		if _, ok := d.Fields[input+feature]; ok {
			last = n
		}
	}
	if last < 0 {
		return fmt.Errorf("model %q has no baseline of the feature %q; want one of %s", model, feature, strings.Join(slices.Sorted(maps.Keys(names)), ", "))
	}
	var accepted Accepted
	if err := views[0].LastGood(ctx, &accepted); err != nil && !errors.Is(err, baseline.ErrNotFound) {
		return err
	}
	features := maps.Clone(accepted.Features)
	if features == nil {
		features = make(map[string]int)
	}
	features[feature] = last
	return views[0].SetLastGood(ctx, Accepted{Features: features})
}

// Models returns the models that the store has.
func Models(ctx context.Context, store *baseline.Store) ([]string, error) {
	ids, err := store.List(ctx)
	if err != nil {
		return nil, err
	}
	models := make(map[string]bool)
	for _, id := range ids {
		switch id.Kind {
		case inputsKind:
			models[id.Name] = true
		case kind:
			// Older releases of this exporter stored only by version.
			model, _, _ := strings.Cut(id.Name, "@")
			models[model] = true
		}
	}
	return slices.Sorted(maps.Keys(models)), nil
}

// Versions returns the versions of a model that the store has.
func Versions(ctx context.Context, store *baseline.Store, model string) ([]string, error) {
	ids, err := store.List(ctx)
	if err != nil {
		return nil, err
	}
	versions := make(map[string]bool)
	for _, id := range ids {
		if version, ok := versionOf(model, id.Name); ok && id.Kind == kind {
			versions[version] = true
		}
	}
	return slices.Sorted(maps.Keys(versions)), nil
}

// Outputs returns the subject of a version's outputs.
func Outputs(store *baseline.Store, model, version string) *baseline.Subject {
	return store.Subject(kind, subjectName(model, version))
}

// TrainingOf returns the subject of the features in a version's training data.
func TrainingOf(store *baseline.Store, model, version string) *baseline.Subject {
	return store.Subject(trainingKind, subjectName(model, version))
}
