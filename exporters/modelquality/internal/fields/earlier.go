package fields

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"

	"github.com/sightglass-ml/sightglass/internal/baseline"
)

// stored is the stored state of a version.
type stored struct {
	version    string
	view       *baseline.View
	definition baseline.Definition
	production baseline.Production
}

func (s *stored) lastDay() baseline.Day {
	if n := len(s.production.Days); n > 0 {
		return s.production.Days[n-1]
	}
	return ""
}

// versions reads the stored versions of a model. It skips a version that cannot be read.
func (m *model) versions(ctx context.Context) ([]*stored, error) {
	ids, err := m.keeper.Store.List(ctx)
	if err != nil {
		return nil, err
	}
	var all []*stored
	for _, id := range ids {
		version, ok := versionOf(m.name, id.Name)
		if id.Kind != kind || !ok {
			continue
		}
		s := &stored{version: version}
		if s.view, err = m.keeper.Store.Subject(id.Kind, id.Name).View(ctx); err == nil {
			if s.definition, err = s.view.Definition(ctx); err == nil {
				s.production, err = s.view.Production(ctx, 0)
			}
		}
		switch {
		case errors.Is(err, baseline.ErrNotFound):
		case ctx.Err() != nil:
			return nil, err
		case err != nil:
			m.logger.Warn("Left out the baseline of a version, since it cannot be read", "of_version", version, "err", err)
		default:
			all = append(all, s)
		}
	}
	return all, nil
}

// takeOver creates the model's first books from the baselines of an older release of this exporter, which stored features by version. It
// takes the features of the version that learned most, and those that only other versions have into further books. It runs until the model
// has a frozen baseline or a day of its own, and continues an interrupted attempt. The first book is last: without it there are none.
func (m *model) takeOver(ctx context.Context) error {
	if m.searched {
		return nil
	}
	subject := m.subject(0)
	view, err := subject.View(ctx)
	if err != nil {
		return err
	}
	if view.WasReset(baseline.PartDefinition) || view.WasReset(baseline.PartProduction) {
		m.searched = true
		return nil
	}
	if d, err := view.Definition(ctx); err == nil {
		p, err := view.Production(ctx, 0)
		if err == nil && (p.Frozen() || len(p.Days) > 0 && p.Days[len(p.Days)-1] >= baseline.DayOf(d.Created)) {
			m.searched = true
			return nil
		}
	}
	all, err := m.versions(ctx)
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b *stored) int {
		switch {
		case a.learnedMore(b):
			return -1
		case b.learnedMore(a):
			return 1
		}
		return 0
	})
	taken := make(map[string]bool)
	var books []*stored
	for _, s := range all {
		s.definition = onlyFields(s.definition, func(field string) bool { return isInput(field) && !taken[field] })
		if len(s.definition.Fields) > 0 && len(books) < maxBooks {
			books = append(books, s)
		}
		for field := range s.definition.Fields {
			taken[field] = true
		}
	}
	for n, s := range slices.Backward(books) {
		subject := m.subject(n)
		d, err := subject.CreateDefinition(ctx, baseline.Definition{Edges: s.definition.Edges, Fields: s.definition.Fields})
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(d.Fields, s.definition.Fields) {
			continue // Of features that were added or accepted since.
		}
		days, err := subject.CopyProduction(ctx, s.view)
		if err != nil {
			return err
		}
		m.logger.Info("The baselines of features belong to the model now, no longer to each version: took over what a version had learned",
			"from_version", s.version, "features", slices.Sorted(maps.Keys(s.definition.Fields)), "days", days, "frozen", s.production.Frozen())
	}
	m.searched = true
	return nil
}

// learnedMore reports whether s learned more than another version: a frozen one first, then the one with more days, then the one with later
// days.
func (s *stored) learnedMore(than *stored) bool {
	if s.production.Frozen() != than.production.Frozen() {
		return s.production.Frozen()
	}
	if n, m := len(s.production.Days), len(than.production.Days); n != m {
		return n > m
	}
	if s.lastDay() != than.lastDay() {
		return s.lastDay() > than.lastDay()
	}
	return s.definition.Created.After(than.definition.Created)
}

// enoughDays is the number of days after which the outputs of a replaced version can be a baseline before it is frozen: each weekday once.
const enoughDays = 7

// predecessor is the version that a version's outputs are compared with until its own baseline is frozen.
type predecessor struct {
	stored
	learned learned
	// enough means that it learned enough days. Otherwise only its bins are used.
	enough bool
}

// predecessor returns the previous version, or nil. It prefers versions that learned enough days, and of these the one that served last.
func (m *model) predecessor(ctx context.Context, of string) (*predecessor, error) {
	all, err := m.versions(ctx)
	if err != nil {
		return nil, err
	}
	var best *predecessor
	for _, s := range all {
		s.definition = onlyFields(s.definition, isOutput)
		if s.version == of || len(s.definition.Fields) == 0 {
			continue
		}
		p := &predecessor{stored: *s}
		p.enough = s.production.Frozen() || len(s.production.Days) >= min(enoughDays, m.keeper.Days) && m.keeper.Days > 0
		if best == nil || p.before(best) {
			best = p
		}
	}
	if best == nil || !best.enough {
		return best, nil
	}
	b := &book{production: best.production}
	if b.season, err = best.view.Season(ctx, best.production, m.keeper.Season); err != nil {
		return nil, err
	}
	best.learned = b.learned(isOutput)
	return best, nil
}

// before reports whether p is preferred to o as predecessor.
func (p *predecessor) before(o *predecessor) bool {
	if p.enough != o.enough {
		return p.enough
	}
	if p.lastDay() != o.lastDay() {
		return p.lastDay() > o.lastDay()
	}
	return p.definition.Created.After(o.definition.Created)
}
