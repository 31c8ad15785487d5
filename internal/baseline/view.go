package baseline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// View is the state of a subject at one moment. All results of a view are consistent with each other: a later reset appears only in the
// next view. A View is not safe for concurrent use.
type View struct {
	subject *Subject
	gens    generations
	objects map[string]listed
	// good is the last good snapshot, after it was read.
	good json.RawMessage
}

// View lists the subject in the store. That costs one listing; the view's methods read an object only if it is new. In an object store,
// View first waits until the winner of each new object is settled, ten seconds at most.
func (b *Subject) View(ctx context.Context) (*View, error) {
	objects, err := b.settled(ctx)
	if err != nil {
		return nil, err
	}
	return &View{subject: b, gens: generationsOf(objects), objects: objects}, nil
}

func generationsOf(objects map[string]listed) generations {
	g := make(generations)
	for stem := range objects {
		g.add(stem)
	}
	return g
}

func (v *View) has(stem string) bool {
	_, ok := v.objects[stem]
	return ok
}

// Definition returns the definition in force, or ErrNotFound. It is the refined definition if there is one, with the columns accepted
// since.
func (v *View) Definition(ctx context.Context) (Definition, error) {
	r, err := fetch(ctx, v, v.gens.definition(), kindDefinition, &v.subject.definition)
	if err != nil {
		return Definition{}, err
	}
	if stem := v.gens.refined(r.header.Sum); v.has(stem) {
		if r, err = fetch(ctx, v, stem, kindRefined, &v.subject.refined); err != nil {
			return Definition{}, err
		}
	}
	r.value.ID, r.value.Created = r.header.Sum, r.header.Created
	columns, err := v.accepted(ctx, r.value.ID)
	return r.value.with(columns), err
}

// Training returns the counts of the training data, or ErrNotFound. It leaves out columns that were accepted after the training data was
// counted, because they have other bins now. The caller must not change the maps, which are shared with later callers.
func (v *View) Training(ctx context.Context) (Counts, error) {
	def, err := v.Definition(ctx)
	if err != nil {
		return Counts{}, err
	}
	stem := v.gens.training(def.ID)
	if def.Edges == EdgesTraining && def.Refined() && !v.has(stem) {
		// The refinement has changed no bins of fields that the training data has.
		provisional, err := v.Provisional(ctx)
		if err != nil {
			return Counts{}, err
		}
		stem = v.gens.training(provisional.ID)
	}
	r, err := fetch(ctx, v, stem, kindTraining, &v.subject.training)
	if err != nil {
		return Counts{}, err
	}
	columns, err := v.accepted(ctx, def.ID)
	cloned := false
	for _, a := range columns {
		if _, ok := r.value.Fields[a.Column.Name]; !ok || a.At.Before(r.header.Created) {
			continue
		}
		if !cloned {
			r.value.Fields, cloned = maps.Clone(r.value.Fields), true
		}
		delete(r.value.Fields, a.Column.Name)
	}
	return r.value, err
}

// Production returns the production baseline: the frozen one, or the sum of the days learned so far. If there are at least wantDays
// days, it freezes the first wantDays of them. With wantDays 0 it never freezes. It returns ErrNotFound if there is no definition.
func (v *View) Production(ctx context.Context, wantDays int) (Production, error) {
	def, err := v.Definition(ctx)
	if err != nil {
		return Production{}, err
	}
	if v.has(v.gens.frozen(def.ID)) {
		return v.readFrozen(ctx, def.ID)
	}
	days := v.days(def.ID)
	full := wantDays > 0 && len(days) >= wantDays
	if full {
		days = days[:wantDays]
	}
	p := Production{Days: days}
	if p.Counts, err = v.sum(ctx, def.ID, days); err != nil {
		return Production{}, err
	}
	if !full {
		// Until every day includes an accepted column, its counts are those that it was accepted with.
		columns, err := v.accepted(ctx, def.ID)
		p.Counts = p.Counts.with(columns)
		return p, err
	}
	return v.freeze(ctx, p)
}

func (v *View) freeze(ctx context.Context, p Production) (Production, error) {
	definition := p.Counts.Definition
	if _, err := create(ctx, v, v.gens.frozen(definition), kindFrozen, p); err != nil {
		return Production{}, err
	}
	return v.readFrozen(ctx, definition)
}

func (v *View) readFrozen(ctx context.Context, definition string) (Production, error) {
	r, err := fetch(ctx, v, v.gens.frozen(definition), kindFrozen, &v.subject.frozen)
	if err != nil {
		return Production{}, err
	}
	r.value.FrozenAt = r.header.Created
	columns, err := v.accepted(ctx, definition)
	r.value.Counts = r.value.Counts.with(columns)
	return r.value, err
}

// days returns the counted days in ascending order.
func (v *View) days(definition string) []Day {
	prefix := v.gens.day(definition, "")
	var days []Day
	for stem := range v.objects {
		rest, ok := strings.CutPrefix(stem, prefix)
		if _, err := Day(rest).Start(); ok && err == nil {
			days = append(days, Day(rest))
		}
	}
	slices.Sort(days)
	return days
}

// sum adds up days. It starts from the last sum, so that a cycle reads only new days.
func (v *View) sum(ctx context.Context, definition string, days []Day) (Counts, error) {
	b := v.subject
	stems := make(map[string]string, len(days))
	objects := make([]string, len(days))
	for i, d := range days {
		stem := v.gens.day(definition, d)
		objects[i] = v.objects[stem].winner
		stems[objects[i]] = stem
	}
	b.mu.Lock()
	last := b.learned
	b.mu.Unlock()
	if slices.ContainsFunc(last.objects, func(o string) bool { return stems[o] == "" }) {
		last = daySum{}
	}
	counts := last.counts
	if counts.Definition == definition && slices.Equal(last.objects, objects) {
		return counts, nil
	}
	counts.Definition = definition
	for _, object := range objects {
		if slices.Contains(last.objects, object) {
			continue
		}
		// Single days are not cached, only their sum.
		day, err := fetch(ctx, v, stems[object], kindDay, new(record[Counts]))
		if err != nil {
			return Counts{}, err
		}
		counts = counts.Plus(day.value)
	}
	if err := counts.validate(); err != nil {
		return Counts{}, fmt.Errorf("sum of %d days of %s: %w", len(days), b.id, err)
	}
	b.mu.Lock()
	b.learned = daySum{objects, counts}
	b.mu.Unlock()
	return counts, nil
}

// LastGood decodes into snapshot what SetLastGood stored, or returns ErrNotFound.
func (v *View) LastGood(ctx context.Context, snapshot any) error {
	payload, err := v.lastGood(ctx)
	if err != nil {
		return err
	}
	if err := readPayload(payload, snapshot); err != nil {
		refused := &ObjectError{Object: v.objects[v.gens.lastGood()].winner, Reason: fmt.Sprintf("its payload %v", err), Err: ErrCorrupt}
		return fmt.Errorf("baseline store %s: %w", v.subject.store.Name(), refused)
	}
	return nil
}

// LastGoodJSON returns the JSON that LastGood decodes. Callers can skip decoding while it is unchanged.
func (v *View) LastGoodJSON(ctx context.Context) (json.RawMessage, error) { return v.lastGood(ctx) }

// lastGood returns the JSON that SetLastGood stored. The object is replaced at every profile, mostly by this process. If its bytes are
// those that were read or written last, they were already validated.
func (v *View) lastGood(ctx context.Context) (json.RawMessage, error) {
	b, stem := v.subject, v.gens.lastGood()
	if !v.has(stem) {
		return nil, fmt.Errorf("last good snapshot of %s is %w", b.id, ErrNotFound)
	}
	if v.good != nil {
		return v.good, nil
	}
	object := v.objects[stem].winner
	data, err := b.store.get(ctx, object)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	last := b.lastGood
	b.mu.Unlock()
	if last.object == object && bytes.Equal(last.data, data) {
		v.good = last.payload
		return v.good, nil
	}
	var payload json.RawMessage
	if _, err := b.decode(object, data, kindLastGood, stem, &payload); err != nil {
		return nil, err
	}
	b.keepLastGood(mutableObject{object, data, payload})
	v.good = payload
	return v.good, nil
}

func (b *Subject) keepLastGood(r mutableObject) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lastGood = r
}

// SetLastGood stores information about the last good snapshot as JSON and replaces the previous one. It does not replace a damaged or
// foreign object; PartLastGood must be reset first.
func (v *View) SetLastGood(ctx context.Context, snapshot any) error {
	wanted, err := marshal(snapshot)
	if err != nil {
		return fmt.Errorf("last good snapshot of %s: %w", v.subject.id, err)
	}
	return v.SetLastGoodJSON(ctx, bytes.TrimSpace(wanted))
}

// SetLastGoodJSON is SetLastGood for JSON that encoding/json wrote compactly and without HTML escapes. Other JSON could not be read
// back.
func (v *View) SetLastGoodJSON(ctx context.Context, wanted json.RawMessage) error {
	b, stem := v.subject, v.gens.lastGood()
	if v.has(stem) {
		stored, err := v.lastGood(ctx)
		if err != nil {
			return err
		}
		if bytes.Equal(wanted, stored) {
			return nil
		}
	}
	data, err := encodeJSON(b.newHeader(kindLastGood, stem), wanted)
	if err != nil {
		return fmt.Errorf("last good snapshot of %s: %w", b.id, err)
	}
	object := b.dir + "/" + stem + ".json"
	if err := b.replace(ctx, object, data); err != nil {
		return fmt.Errorf("write last good snapshot of %s: %w", b.id, err)
	}
	b.keepLastGood(mutableObject{object, data, wanted})
	v.good = wanted
	v.objects[stem] = listed{winner: object}
	return nil
}

// fetch returns the object of a view with the given stem, from the cache if it is there.
func fetch[T any](ctx context.Context, v *View, stem, kind string, cache *record[T]) (record[T], error) {
	b := v.subject
	if !v.has(stem) {
		return record[T]{}, fmt.Errorf("%s of %s is %w", kind, b.id, ErrNotFound)
	}
	object := v.objects[stem].winner
	b.mu.Lock()
	r := *cache
	b.mu.Unlock()
	if r.object == object {
		return r, nil
	}
	r = record[T]{object: object}
	var err error
	if r.header, err = b.read(ctx, object, kind, stem, &r.value); err != nil {
		return record[T]{}, err
	}
	b.mu.Lock()
	*cache = r
	b.mu.Unlock()
	return r, nil
}
