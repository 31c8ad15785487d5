package fields

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
)

// model has what the versions of a model share: its features, their bins, and their production baseline. A release does not change the
// distribution of inputs, so a new version continues with the baseline of the previous one.
//
// The first book is created when the model is first seen. Features that a later version adds, and accepted features, have later books. If
// two books have a feature, the later one is used.
type model struct {
	name   string
	keeper *Keeper
	logger *slog.Logger

	trackers []*Tracker // of the versions that are served
	books    []*book
	hour     time.Time // the hour that is being counted
	readAt   time.Time // time of the last read of the store
	searched bool      // whether takeOver has run
	accepted Accepted
	// gaveUp has accepted features that the model is not asked with. They are learned when they are sent again.
	gaveUp map[string]int
}

// maxBooks limits the books of a model. Each book costs a listing of the store at every read.
const maxBooks = 32

func (k *Keeper) newModel(name string, now time.Time) *model {
	return &model{name: name, keeper: k, logger: k.Logger.With("model", name), hour: now.Truncate(time.Hour), gaveUp: make(map[string]int)}
}

// subject returns the subject of the n-th book.
func (m *model) subject(n int) *baseline.Subject {
	if n < len(m.books) {
		return m.books[n].subject
	}
	return m.keeper.Store.Subject(InputsKind(n), m.name)
}

// lastBook returns the number of the book by which a feature is counted, or -1.
func lastBook(books []*book, field string) int {
	for n := len(books) - 1; n >= 0; n-- {
		if _, ok := books[n].definition.Fields[field]; ok {
			return n
		}
	}
	return -1
}

// layouts returns the bins of all features.
func (m *model) layouts() map[string]binning.Layout {
	all := make(map[string]binning.Layout)
	for _, b := range m.books {
		maps.Copy(all, b.definition.Fields)
	}
	return all
}

// id returns an identifier that changes with the bins.
func (m *model) id() string {
	var id strings.Builder
	for _, b := range m.books {
		id.WriteString(b.definition.ID + "+")
	}
	return id.String()
}

func (m *model) waiting() bool {
	for _, b := range m.books {
		if b.waiting() {
			return true
		}
	}
	return false
}

// idle reports whether everything is stored.
func (m *model) idle() bool {
	for _, b := range m.books {
		if b.waiting() || b.day != "" {
			return false
		}
	}
	return true
}

// acceptedWithoutBins returns accepted features that have no new bins yet.
func (m *model) acceptedWithoutBins() map[string]int {
	wanted := make(map[string]int)
	for field := range m.accepted.Features {
		book, pending := m.pendingAcceptance(field)
		if gaveUp, ok := m.gaveUp[field]; pending && (!ok || gaveUp != book) {
			wanted[input+field] = book
		}
	}
	return wanted
}

// pendingAcceptance returns the last book that no longer applies to an accepted feature, if the feature has no new bins yet.
func (m *model) pendingAcceptance(feature string) (book int, pending bool) {
	book, accepted := m.accepted.Features[feature]
	n := lastBook(m.books, input+feature)
	return book, accepted && n >= 0 && n <= book
}

// read reads the books and stores the waiting days.
func (m *model) read(ctx context.Context, now time.Time) error {
	if len(m.books) > 0 && !m.waiting() && now.Sub(m.readAt) < m.keeper.Slow {
		return nil
	}
	if err := m.takeOver(ctx); err != nil {
		return fmt.Errorf("baselines of an earlier version of the program: %w", err)
	}
	for n := 0; n < maxBooks; n++ {
		subject := m.subject(n)
		view, err := subject.View(ctx)
		if err != nil {
			return err
		}
		d, err := view.Definition(ctx)
		if errors.Is(err, baseline.ErrNotFound) {
			m.books = m.books[:min(n, len(m.books))]
			break
		}
		if err != nil {
			return err
		}
		if n >= len(m.books) {
			m.books = append(m.books, &book{subject: subject, definition: d})
		} else if m.books[n].definition.ID != d.ID {
			m.books[n] = &book{subject: subject, definition: d}
		}
		b := m.books[n]
		if err := b.noteReplaced(ctx, view, func(field string) bool { return lastBook(m.books[:n], field) >= 0 }); err != nil {
			return err
		}
		if m.keeper.Days > 0 {
			switch err := b.read(ctx, view, m.keeper, false, m.logger); {
			case errors.Is(err, errRefined):
				n-- // The refined book is read.
				continue
			case err != nil:
				return err
			}
		}
		if n == 0 {
			m.accepted = Accepted{}
			if err := view.LastGood(ctx, &m.accepted); err != nil && !errors.Is(err, baseline.ErrNotFound) {
				return err
			}
		}
	}
	m.readAt = now
	return nil
}

// add creates another book.
func (m *model) add(ctx context.Context, d baseline.Definition) error {
	if len(m.books) == maxBooks {
		return fmt.Errorf("model %q has features that were added or accepted %d times; begin anew with 'sightglass baseline reset'", m.name, maxBooks)
	}
	if _, err := m.subject(len(m.books)).CreateDefinition(ctx, d); err != nil {
		return err
	}
	m.readAt = time.Time{}
	return m.read(ctx, m.keeper.Now())
}

// record adds the counts of a version since the previous call to the books.
func (m *model) record(t *Tracker) {
	c := t.counters.Load()
	if c == nil {
		return
	}
	counted := c.snapshot()
	d := since(t.recorded, counted)
	t.recorded = counted
	if d.Rows == 0 || m.keeper.Days == 0 {
		return
	}
	sampled := c.takeSample(d, m.keeper.hourCells())
	add := func(b *book, wanted func(field string) bool) {
		b.add(m.hour, onlyCounts(d, wanted))
		b.sampled(m.hour, sampled, wanted, m.keeper)
	}
	for n, b := range t.books {
		add(b, func(field string) bool { return isInput(field) && max(lastBook(t.books, field), 0) == n })
	}
	add(t.outputs, isOutput)
	if !t.outputs.provisional() && !slices.ContainsFunc(t.books, (*book).provisional) {
		c.endSample()
	}
}

// closeHour adds the counts of an ended hour, and closes an ended day.
func (m *model) closeHour(now time.Time) {
	if hour := now.Truncate(time.Hour); !hour.Equal(m.hour) {
		for _, t := range m.trackers {
			m.record(t)
		}
		m.hour = hour
	}
	today := baseline.DayOf(now)
	for _, b := range m.books {
		b.closeDay(today)
	}
	for _, t := range m.trackers {
		if t.outputs != nil {
			t.outputs.closeDay(today)
		}
	}
}

func onlyCounts(c baseline.Counts, wanted func(field string) bool) baseline.Counts {
	c.Fields = maps.Clone(c.Fields)
	maps.DeleteFunc(c.Fields, func(field string, _ map[string]int64) bool { return !wanted(field) })
	return c
}

func isInput(field string) bool  { return strings.HasPrefix(field, input) }
func isOutput(field string) bool { return !isInput(field) }

// onlyFields returns a definition with only the wanted fields.
func onlyFields(d baseline.Definition, wanted func(field string) bool) baseline.Definition {
	d.Fields = maps.Clone(d.Fields)
	maps.DeleteFunc(d.Fields, func(field string, _ binning.Layout) bool { return !wanted(field) })
	d.Left = maps.Clone(d.Left)
	maps.DeleteFunc(d.Left, func(field, _ string) bool { return !wanted(field) })
	d.Untrained = slices.DeleteFunc(slices.Clone(d.Untrained), func(field string) bool { return !wanted(field) })
	return d
}
