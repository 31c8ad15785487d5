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

	day     baseline.Day // the day that is being counted
	counts  baseline.Counts
	hours   baseline.Hours
	pending []pendingDay
	warned  string // what it lacks
}

type pendingDay struct {
	day    baseline.Day
	counts baseline.Counts
	hours  baseline.Hours
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
	b.pending = append(b.pending, pendingDay{b.day, b.counts, b.hours})
	b.pending = b.pending[max(0, len(b.pending)-maxPending):]
	b.day, b.counts, b.hours = "", baseline.Counts{}, baseline.Hours{}
}

// waiting reports whether days wait to be stored.
func (b *book) waiting() bool { return b != nil && len(b.pending) > 0 }

// read stores the waiting days and reads the production baseline, of at most days days.
func (b *book) read(ctx context.Context, view *baseline.View, days int, settings season.Settings, logger *slog.Logger) (err error) {
	for ; len(b.pending) > 0; b.pending = b.pending[1:] {
		if _, err := b.subject.AddDayByHour(ctx, b.pending[0].day, b.pending[0].counts, b.pending[0].hours); err != nil {
			return fmt.Errorf("production baseline: %w", err)
		}
		if view, err = b.subject.View(ctx); err != nil {
			return err
		}
	}
	if b.production, err = view.Production(ctx, days); err != nil {
		return fmt.Errorf("production baseline: %w", err)
	}
	if b.season, err = view.Season(ctx, b.production, settings); err != nil {
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
	// frozen says that it is a measure, and no longer learning.
	frozen bool
	names  []string // of the fields, sorted
}

func newLearned(s *season.Season, counts baseline.Counts, frozen bool) learned {
	return learned{s, counts, frozen, slices.Sorted(maps.Keys(counts.Fields))}
}

// learned returns the production baseline of the fields that only accepts.
func (b *book) learned(only func(field string) bool) learned {
	counts := b.production.Counts
	counts.Fields = maps.Clone(counts.Fields)
	maps.DeleteFunc(counts.Fields, func(field string, _ map[string]int64) bool { return !only(field) })
	return newLearned(b.season, counts, b.production.Frozen())
}
