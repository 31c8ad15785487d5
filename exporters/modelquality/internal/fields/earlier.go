package fields

import (
	"context"
	"errors"

	"github.com/sightglass-ml/sightglass/internal/baseline"
)

// stored is what the store has of a version.
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

// versions reads what the store has of the versions of a model. One that cannot be read stands in nobody's way.
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

// takeOver makes the first book of what an earlier version of the program learned, which kept the features of each version
// apart: of the version that learned most. It is tried once, and goes on where an earlier try was interrupted.
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
	if p, err := view.Production(ctx, 0); err == nil && p.Frozen() {
		m.searched = true
		return nil
	}
	all, err := m.versions(ctx)
	if err != nil {
		return err
	}
	var best *stored
	for _, s := range all {
		s.definition = onlyFields(s.definition, isInput)
		if len(s.definition.Fields) > 0 && (best == nil || s.learnedMore(best)) {
			best = s
		}
	}
	if best != nil {
		if _, err := subject.CreateDefinition(ctx, baseline.Definition{Edges: best.definition.Edges, Fields: best.definition.Fields}); err != nil {
			return err
		}
		days, err := subject.CopyProduction(ctx, best.view)
		if err != nil {
			return err
		}
		m.logger.Info("The baselines of features belong to the model now, no longer to each version: took over what a version had learned",
			"from_version", best.version, "features", len(best.definition.Fields), "days", days, "frozen", best.production.Frozen())
	}
	m.searched = true
	return nil
}

// learnedMore reports whether a version has learned more than another: one that is frozen, else more days, else later ones.
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

// enoughDays of a version that was replaced before its baseline was frozen are a measure for the next one's outputs: each
// day of the week once.
const enoughDays = 7

// predecessor is the version that a version's outputs are compared with until its own baseline is frozen.
type predecessor struct {
	stored
	learned learned
	// enough says that it has learned enough to be compared with; else only its bins are used.
	enough bool
}

// predecessor returns the version before, nil if there is none: of those that have learned enough the one that served last,
// else the one that was seen last.
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
	if b.season, err = best.view.Season(ctx, best.production, m.keeper.Zone); err != nil {
		return nil, err
	}
	best.learned = b.learned(isOutput)
	return best, nil
}

// before reports whether a version comes before another in the choice of a predecessor.
func (p *predecessor) before(o *predecessor) bool {
	if p.enough != o.enough {
		return p.enough
	}
	if p.lastDay() != o.lastDay() {
		return p.lastDay() > o.lastDay()
	}
	return p.definition.Created.After(o.definition.Created)
}
