package fields

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/season"
)

// book has the bins of some fields, their production baseline, and the counts of this process that are not stored yet. Only the keeper's
// cycle uses it.
type book struct {
	subject    *baseline.Subject
	definition baseline.Definition
	production baseline.Production
	season     *season.Season // nil if no hours were learned

	// changed is when the bins of the fields in replaced took the place of other bins. A nil replaced means all fields.
	changed  time.Time
	replaced map[string]bool

	day     baseline.Day // the day that is being counted
	counts  baseline.Counts
	hours   baseline.Hours
	outline outline // while the bins are provisional
	// outlined is the memory of the outline, in values of eight bytes.
	outlined int
	// unsampled is a day without an outline.
	unsampled baseline.Day
	pending   []pendingDay
	warned    string // what it lacks
}

type pendingDay struct {
	day     baseline.Day
	counts  baseline.Counts
	hours   baseline.Hours
	outline outline
}

// maxPending limits the days that wait while the store is unavailable.
const maxPending = 3

// add adds the counts of an hour.
func (b *book) add(hour time.Time, counted baseline.Counts) {
	counted.Definition = b.definition.ID
	b.day = baseline.DayOf(hour)
	b.counts = b.counts.Plus(counted)
	b.hours.Add(b.definition, hour.UTC().Hour(), counted.Fields)
}

// closeDay queues the counts of an ended day for the store.
func (b *book) closeDay(today baseline.Day) {
	if b.day == "" || b.day == today {
		return
	}
	b.pending = append(b.pending, pendingDay{b.day, b.counts, b.hours, b.outline})
	b.pending = b.pending[max(0, len(b.pending)-maxPending):]
	b.day, b.counts, b.hours, b.outline, b.outlined = "", baseline.Counts{}, baseline.Hours{}, nil, 0
}

// waiting reports whether days wait to be stored.
func (b *book) waiting() bool { return b != nil && len(b.pending) > 0 }

// read stores the waiting days and reads the production baseline. It returns errRefined if the bins were refined, so that the book is to be
// read again. With keepBins, provisional bins stay.
func (b *book) read(ctx context.Context, view *baseline.View, k *Keeper, keepBins bool, logger *slog.Logger) (err error) {
	for ; len(b.pending) > 0; b.pending = b.pending[1:] {
		day := b.pending[0]
		if _, err := b.subject.AddDayByHour(ctx, day.day, day.counts, day.hours); err != nil {
			return fmt.Errorf("production baseline: %w", err)
		}
		if len(day.outline) > 0 {
			if err := b.subject.AddOutline(ctx, b.definition.ID, day.day, day.outline); err != nil {
				return fmt.Errorf("production baseline: %w", err)
			}
		}
		if view, err = b.subject.View(ctx); err != nil {
			return err
		}
	}
	if !keepBins {
		if err := b.refine(ctx, view, k, logger); err != nil {
			return err
		}
	}
	if view, err = b.recount(ctx, view); err != nil {
		return err
	}
	days := k.Days
	if b.definition.Refined() {
		days = len(b.definition.Learned)
	}
	if b.production, err = view.Production(ctx, days); err != nil {
		return fmt.Errorf("production baseline: %w", err)
	}
	if b.season, err = view.Season(ctx, b.production, k.Season); err != nil {
		return fmt.Errorf("hours of the production baseline: %w", err)
	}
	if lacks, part := Lacks(b.definition, b.production, len(view.WithoutHours(b.production))); lacks != "" && lacks != b.warned {
		b.warned = lacks
		logger.Warn("The production baseline lacks something, mostly because an earlier version learned it. To learn it again, run 'sightglass baseline reset' with the model and this part.",
			"lacks", lacks, "part", part)
	}
	return nil
}

// learned is the production baseline of some fields, with its season if there is one.
type learned struct {
	season *season.Season
	counts baseline.Counts
	// settled reports whether a window has no values of the field by other bins any more.
	settled func(field string, window time.Duration) bool
	// frozen says that it is a measure, and no longer learning.
	frozen bool
	names  []string // of the fields, sorted
}

func newLearned(s *season.Season, counts baseline.Counts, frozen bool) learned {
	return learned{season: s, counts: counts, frozen: frozen, names: slices.Sorted(maps.Keys(counts.Fields))}
}

// learned returns the production baseline of the fields that only accepts.
func (b *book) learned(only func(field string) bool) learned {
	counts := b.production.Counts
	counts.Fields = maps.Clone(counts.Fields)
	maps.DeleteFunc(counts.Fields, func(field string, _ map[string]int64) bool { return !only(field) })
	return newLearned(b.season, counts, b.production.Frozen())
}
