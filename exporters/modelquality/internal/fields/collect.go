package fields

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// predecessorEvery is the interval of searches for a predecessor while a version's own baseline is not frozen.
const predecessorEvery = 6 * time.Hour

// collectVersion is one cycle of one version.
func (k *Keeper) collectVersion(ctx context.Context, m *model, t *Tracker) (err error) {
	now := k.Now()
	c := t.counters.Load()
	if c != nil {
		k.publishSeason(t, now)
		t.logMismatches(c, k.Logger)
		if !t.failed && !m.waiting() && !t.outputs.waiting() && now.Sub(t.collectedAt) < k.Slow {
			return nil
		}
	}
	t.collectedAt, t.failed = now, true
	data := &training{ask: func() (Training, bool, error) { return k.Training(ctx, t.model, t.version) }}
	defer func() { data.close(err) }()
	if err := m.read(ctx, now); err != nil {
		return err
	}
	subject := k.Store.Subject(kind, subjectName(t.model, t.version))
	if t.outputs != nil {
		subject = t.outputs.subject
	}
	view, err := k.readOutputs(ctx, m, t, subject)
	if err != nil {
		return err
	}
	if err := m.readSent(ctx, t, view); err != nil {
		return fmt.Errorf("the features that it has sent: %w", err)
	}
	if len(m.books) == 0 || t.outputs == nil || len(m.acceptedWithoutBins()) > 0 {
		if c != nil { // It was reset, or a feature was accepted.
			m.record(t)
			t.restart(now)
			k.hide(t)
			c = nil
			for field := range m.acceptedWithoutBins() {
				delete(t.sent, field[len(input):])
			}
		}
		if t.outputs == nil {
			if err := k.searchPredecessor(ctx, m, t, now); err != nil {
				return err
			}
		}
		requested := len(m.books) > 0 && len(m.acceptedWithoutBins()) == 0 && t.hasBins(m, now)
		if !requested && !t.ready(now) {
			t.failed = false
			return nil
		}
		if err := k.define(ctx, m, t, subject, view, data); err != nil {
			return err
		}
		if view, err = k.readOutputs(ctx, m, t, subject); err != nil {
			return err
		}
		if t.outputs == nil {
			return errors.New("its bins vanished after they were stored")
		}
	}
	if id := m.id() + t.outputs.definition.ID; c == nil || c.id != id {
		if c != nil {
			m.record(t)
		}
		d := baseline.Definition{Edges: t.outputs.definition.Edges, Fields: m.layouts()}
		maps.Copy(d.Fields, t.outputs.definition.Fields)
		c = t.adopt(k.bounded(t, d), id, m.books)
		k.Logger.Info("Counting the fields of a model", "model", t.model, "version", t.version, "fields", len(c.all), "bins_from", m.books[0].definition.Edges)
	}
	if err := k.searchPredecessor(ctx, m, t, now); err != nil {
		return err
	}
	if err := k.publish(ctx, m, t, view, data); err != nil {
		return err
	}
	if err := m.writeSent(ctx, t, view); err != nil {
		return fmt.Errorf("the features that it has sent: %w", err)
	}
	t.failed = false
	return nil
}

// readOutputs reads the version's own book. There is none until it has bins.
func (k *Keeper) readOutputs(ctx context.Context, m *model, t *Tracker, subject *baseline.Subject) (*baseline.View, error) {
	view, err := subject.View(ctx)
	if err != nil {
		return nil, err
	}
	d, err := view.Definition(ctx)
	if errors.Is(err, baseline.ErrNotFound) {
		t.outputs = nil
		return view, nil
	}
	if err != nil {
		return nil, err
	}
	// Older releases of this exporter stored features here as well.
	if d = onlyFields(d, isOutput); t.outputs == nil || t.outputs.definition.ID != d.ID {
		t.outputs = &book{subject: subject, definition: d}
	}
	if err := t.outputs.noteReplaced(ctx, view, func(string) bool { return false }); err != nil {
		return nil, err
	}
	if k.Days == 0 {
		return view, nil
	}
	err = t.outputs.read(ctx, view, k, m.isPredecessor(t), k.Logger.With("model", t.model, "version", t.version))
	if errors.Is(err, errRefined) {
		return k.readOutputs(ctx, m, t, subject)
	}
	return view, err
}

// isPredecessor reports whether the outputs of another served version are compared with those of this version, by its bins.
func (m *model) isPredecessor(t *Tracker) bool {
	return slices.ContainsFunc(m.trackers, func(o *Tracker) bool {
		return o.predecessor != nil && o.predecessor.version == t.version && (o.outputs == nil || !o.outputs.production.Frozen())
	})
}

// searchPredecessor searches for the previous version, unless it searched recently or the version has its own frozen baseline.
func (k *Keeper) searchPredecessor(ctx context.Context, m *model, t *Tracker, now time.Time) (err error) {
	if t.outputs != nil && (k.Days == 0 || t.outputs.production.Frozen()) || now.Sub(t.searched) < predecessorEvery {
		return nil
	}
	if t.predecessor, err = m.predecessor(ctx, t.version); err != nil {
		return fmt.Errorf("the version before: %w", err)
	}
	t.searched = now
	return nil
}

// bounded removes the fields beyond the limit.
func (k *Keeper) bounded(t *Tracker, d baseline.Definition) baseline.Definition {
	kept := make(map[string]binning.Layout, len(d.Fields))
	for _, name := range slices.Sorted(maps.Keys(d.Fields)) {
		if k.Fields(t.model).Fold(t.key()+"\x1f"+name) != limit.Other {
			kept[name] = d.Fields[name]
		}
	}
	d.Fields = kept
	return d
}

// define cuts the missing bins: from the training data for the fields that it has, from the sample for all others. The outputs of a version
// get the bins of its predecessor, so that they can be compared, unless they were reset.
func (k *Keeper) define(ctx context.Context, m *model, t *Tracker, subject *baseline.Subject, view *baseline.View, data *training) error {
	accepted := m.acceptedWithoutBins()
	missing := func(field string) bool {
		if isOutput(field) {
			return t.outputs == nil
		}
		_, ok := accepted[field]
		return ok || lastBook(m.books, field) < 0 && (len(m.books) == 0 || t.outputs == nil)
	}
	before := baseline.Definition{}
	if t.outputs == nil && t.predecessor != nil && !view.WasReset(baseline.PartDefinition) {
		before = t.predecessor.definition
	}
	t.mu.Lock()
	sampled, left := t.sample.cut(k.Choice)
	k.logWithoutBins(t, left)
	served := slices.DeleteFunc(slices.Clone(t.sample.names), func(field string) bool {
		_, ok := before.Fields[field]
		return ok || !missing(field) || sampled[field].Centroid != nil
	})
	t.mu.Unlock()
	d := baseline.Definition{Edges: baseline.EdgesProduction, Fields: sampled, Left: left}
	if len(served) > 0 {
		trained, ok, err := data.open()
		if err != nil {
			return err
		}
		if ok {
			layouts, left, err := trained.cut(ctx, served, k.Choice)
			if err != nil {
				return fmt.Errorf("training data: %w", err)
			}
			maps.Copy(d.Fields, layouts)
			for field, reason := range left {
				delete(d.Fields, field)
				d.Left[field] = reason
			}
			if len(layouts) > 0 {
				d.Edges = baseline.EdgesTraining
				for _, field := range slices.Sorted(maps.Keys(d.Fields)) {
					if _, ok := layouts[field]; !ok {
						d.Untrained = append(d.Untrained, field)
					}
					delete(d.Left, field)
				}
			}
		}
	}
	inputs := onlyFields(d, func(field string) bool { return isInput(field) && missing(field) })
	for field, book := range accepted {
		if _, ok := inputs.Fields[field]; !ok {
			m.gaveUp[field[len(input):]] = book
			m.logger.Warn("A feature was accepted that the model is not asked with, or that cannot have bins. If it is not sent, it is absent and not null; it is learned when it is sent again.", "feature", field[len(input):])
		}
	}
	if len(m.books) == 0 || len(inputs.Fields) > 0 {
		if err := m.add(ctx, inputs); err != nil {
			return err
		}
	}
	if t.outputs != nil {
		return nil
	}
	outputs := onlyFields(d, isOutput)
	if len(before.Fields) > 0 {
		outputs.Edges, outputs.Untrained = before.Edges, before.Untrained
		maps.Copy(outputs.Fields, before.Fields)
	}
	_, err := subject.CreateDefinition(ctx, outputs)
	return err
}

// publish stores the counts of the training data if they are missing, and publishes the baselines.
func (k *Keeper) publish(ctx context.Context, m *model, t *Tracker, view *baseline.View, data *training) error {
	var out exporter.Metrics
	// While the store is unavailable, the published baselines stay: they do not change.
	if err := k.training(ctx, m, t, view, data, &out); err != nil {
		return fmt.Errorf("training data: %w", err)
	}
	if k.Days > 0 {
		if err := k.production(m, t, &out); err != nil {
			return err
		}
	}
	for _, b := range append(slices.Clone(m.books), t.outputs) {
		for name, reason := range b.definition.Left {
			if field, role := labels(name); t.counters.Load().all[name] == nil {
				out.Gauge(k.descs.withoutBins, 1, t.model, t.version, field, role, reason)
			}
		}
	}
	k.snapshots.Set(t.key(), out, 365*24*time.Hour)
	t.seasonAt = time.Time{}
	k.publishSeason(t, k.Now())
	return nil
}

// training publishes the training baseline: outputs by the version's bins, features by the model's bins. Features are counted again when
// these bins change.
func (k *Keeper) training(ctx context.Context, m *model, t *Tracker, view *baseline.View, data *training, out *exporter.Metrics) error {
	stored, err := view.Training(ctx)
	known := err == nil
	if err != nil && !errors.Is(err, baseline.ErrNotFound) {
		return err
	}
	if !known && len(t.outputs.definition.Fields) > 0 {
		if stored, known, err = k.countTraining(ctx, t.outputs.subject, t.outputs.definition, data); err != nil {
			return err
		}
	}
	if known {
		k.publishCounts(t, onlyCounts(stored, func(field string) bool { return isOutput(field) && t.outputs.settled(field, dayWindow, k) }), baseline.EdgesTraining, out)
	}
	layouts := m.layouts()
	if len(layouts) == 0 {
		return nil
	}
	if t.trained == nil {
		t.trained = k.Store.Subject(trainingKind, subjectName(t.model, t.version))
	}
	counts, known, err := k.inputsTraining(ctx, t.trained, layouts, data)
	if err != nil {
		return err
	}
	if !known {
		// Older releases of this exporter counted features by the version's bins, which may equal the model's.
		d, err := view.Definition(ctx)
		if err != nil {
			return err
		}
		counts = onlyCounts(stored, func(field string) bool {
			return isInput(field) && reflect.DeepEqual(d.Fields[field], layouts[field])
		})
	}
	counts = onlyCounts(counts, func(field string) bool {
		n := lastBook(m.books, field)
		return n < 0 || m.books[n].settled(field, dayWindow, k)
	})
	k.publishCounts(t, counts, baseline.EdgesTraining, out)
	return nil
}

// inputsTraining returns the counts of the features in the training data by the present bins.
func (k *Keeper) inputsTraining(ctx context.Context, subject *baseline.Subject, layouts map[string]binning.Layout, data *training) (baseline.Counts, bool, error) {
	view, err := subject.View(ctx)
	if err != nil {
		return baseline.Counts{}, false, err
	}
	d, err := view.Definition(ctx)
	switch {
	case err == nil && reflect.DeepEqual(d.Fields, layouts):
		counts, err := view.Training(ctx)
		if err == nil || !errors.Is(err, baseline.ErrNotFound) {
			return counts, err == nil, err
		}
	case err != nil && !errors.Is(err, baseline.ErrNotFound):
		return baseline.Counts{}, false, err
	default:
		if _, ok, unknown := data.open(); !ok || unknown != nil {
			return baseline.Counts{}, false, unknown
		}
		if err == nil {
			if err := subject.Reset(ctx, baseline.PartDefinition); err != nil {
				return baseline.Counts{}, false, err
			}
		}
		if d, err = subject.CreateDefinition(ctx, baseline.Definition{Edges: baseline.EdgesTraining, Fields: layouts}); err != nil {
			return baseline.Counts{}, false, err
		}
	}
	return k.countTraining(ctx, subject, d, data)
}

// countTraining counts the training data by the bins of a definition and stores the counts. It reports whether there is training data.
func (k *Keeper) countTraining(ctx context.Context, subject *baseline.Subject, d baseline.Definition, data *training) (baseline.Counts, bool, error) {
	trained, ok, err := data.open()
	if !ok || err != nil {
		return baseline.Counts{}, false, err
	}
	counts, err := trained.count(ctx, d, k.Now())
	if err == nil {
		counts, err = subject.CreateTraining(ctx, counts)
	}
	return counts, err == nil, err
}
