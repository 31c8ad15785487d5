package fields

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// Bins that no training data has are cut twice, like those of datasets. The first ones are provisional: the first inferences of a model know
// neither the night nor the weekend. When all days of the production baseline are learned, bins are cut from samples of all hours of these
// days, and the days are counted again by the samples. Fields of the training data keep their bins, unless their values are replaced over
// time: a file does not show that.

// errRefined is returned when the bins of a book were refined.
var errRefined = errors.New("the bins were refined")

// provisional reports whether the bins are still to be refined.
func (b *book) provisional() bool {
	return !b.definition.Refined() && !b.production.Frozen()
}

// maxOutlined limits the memory of the samples of the present day in all books together, in values of eight bytes.
const maxOutlined = 8 << 20

// sampled adds the wanted fields of an hour's sample. A day that does not fit into the memory has no sample.
func (b *book) sampled(hour time.Time, fields map[string]marginal, wanted func(field string) bool, k *Keeper) {
	if !b.provisional() {
		return
	}
	fields = maps.Clone(fields)
	maps.DeleteFunc(fields, func(field string, _ marginal) bool { return !wanted(field) })
	if len(fields) == 0 || b.unsampled == b.day {
		return
	}
	b.outline = append(b.outline, hourOutline{hour.UTC().Hour(), fields})
	for _, m := range fields {
		b.outlined += m.cells()
	}
	if k.outlined() > maxOutlined {
		b.outline, b.outlined, b.unsampled = nil, 0, b.day
	}
}

// hourCells is the limit of the sample of an hour, with which the days of all versions fit into the memory.
func (k *Keeper) hourCells() int {
	versions := 0
	for _, m := range k.models {
		versions += len(m.trackers)
	}
	return min(hourCells, maxOutlined/24/max(versions, 1))
}

// outlined is the memory of the samples of all books.
func (k *Keeper) outlined() (cells int) {
	for _, m := range k.models {
		for _, b := range m.books {
			cells += b.outlined
		}
		for _, t := range m.trackers {
			if t.outputs != nil {
				cells += t.outputs.outlined
			}
		}
	}
	return cells
}

// refine cuts the bins from all days and returns errRefined, if all days are learned. It keeps the provisional bins if days have no samples.
func (b *book) refine(ctx context.Context, view *baseline.View, k *Keeper, logger *slog.Logger) error {
	p, err := view.Production(ctx, 0)
	if err != nil {
		return fmt.Errorf("production baseline: %w", err)
	}
	b.production = p
	if !b.provisional() || len(p.Days) < k.Days || len(b.definition.Fields) == 0 {
		return nil
	}
	days := p.Days[:k.Days]
	if without := view.WithoutOutline(b.definition.ID, days); len(without) > 0 {
		logger.Warn("The production baseline keeps the bins that were cut from the first inferences, since days that it learned have no samples: an earlier version of this exporter learned them, or too many models learned at once. 'sightglass baseline reset MODEL --part definition' learns new bins.",
			"days", len(days), "days_without_samples", len(without))
		return nil
	}
	outlines := make([]outline, len(days))
	for i, day := range days {
		if err := view.Outline(ctx, b.definition.ID, day, &outlines[i]); err != nil {
			return err
		}
	}
	layouts, left := cutDays(outlines, b.definition, k.Choice)
	if reflect.DeepEqual(layouts, b.definition.Fields) {
		return nil
	}
	if err := b.subject.Refine(ctx, baseline.Definition{Edges: b.definition.Edges, Untrained: b.definition.Untrained, Fields: layouts, Left: left, Learned: days}); err != nil {
		return err
	}
	logger.Info("Cut the bins from samples of all learned days; the days are now counted by them. A window that has values by the old bins is not compared: the first hour, and the first day for slow drift.",
		"days", len(days), "fields", len(layouts), "left_out", left)
	return errRefined
}

// cutDays chooses the bins from the samples of days. Embeddings, of which there are no samples, keep theirs, and so do fields of the
// training data.
func cutDays(days []outline, before baseline.Definition, choice tables.Choice) (map[string]binning.Layout, map[string]string) {
	layouts, left := make(map[string]binning.Layout), make(map[string]string)
	for name, l := range before.Fields {
		if l.Centroid != nil || before.Trained(name) {
			layouts[name] = l
		}
	}
	kinds := kindsOf(days)
	// The number of fields is limited: outputs first, and fields that had bins.
	names := slices.SortedFunc(maps.Keys(kinds), func(a, b string) int {
		rank := func(name string) int {
			if _, ok := before.Fields[name]; ok || isOutput(name) {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	prefixed := make(map[string]string, len(names))
	var schema []tables.Column
	for _, name := range names {
		if kinds[name] != noValues {
			column, _ := labels(name)
			prefixed[column] = name
			schema = append(schema, kinds[name].column(column))
		}
	}
	outlines := make([]tables.Outline, len(days))
	for i, o := range days {
		outlines[i] = o.columns(kinds, choice)
	}
	cut := tables.CutOutlines(schema, "", choice, outlines...)
	for column, l := range cut.Layouts {
		if _, kept := layouts[prefixed[column]]; kept {
			continue
		}
		if l.Kind == binning.Categorical && !l.Open && isOpen(frequencies(outlines, column)) {
			l.Open, l.Rest = true, nil
		}
		layouts[prefixed[column]] = l
	}
	for column, reason := range cut.Left {
		name := prefixed[column]
		if _, kept := layouts[name]; kept && reason != tables.LeftTurnover {
			continue
		}
		delete(layouts, name)
		left[name] = reason
	}
	return layouts, left
}

// isOpen reports whether new categories are normal for a field. The share of values that occur once estimates the probability of an unseen
// value (Good, "The population frequencies of species", 1953); above 1/500, it is.
func isOpen(frequency map[string]int64) bool {
	var once, all int64
	for _, n := range frequency {
		all += n
		if n == 1 {
			once++
		}
	}
	return once*500 > all
}

// frequencies returns the frequencies of the categories of a column on all days.
func frequencies(days []tables.Outline, column string) map[string]int64 {
	all := make(map[string]int64)
	for _, o := range days {
		for category, n := range o.Columns[column].Categories {
			all[category] += n
		}
	}
	return all
}

// recount stores the days that refined bins have not counted yet, and returns the view after that.
func (b *book) recount(ctx context.Context, view *baseline.View) (*baseline.View, error) {
	if !b.definition.Refined() {
		return view, nil
	}
	p, err := view.Production(ctx, 0)
	if err != nil || p.Frozen() || len(p.Days) >= len(b.definition.Learned) {
		return view, err
	}
	before, err := view.Provisional(ctx)
	if err != nil {
		return view, err
	}
	counted := make(map[string]*field, len(b.definition.Fields))
	for name, l := range b.definition.Fields {
		if l.Centroid == nil && !b.definition.Trained(name) {
			counted[name] = newField(l)
		}
	}
	for _, day := range b.definition.Learned {
		if slices.Contains(p.Days, day) {
			continue
		}
		counts, hours, err := b.recountDay(ctx, view, before.ID, day, counted)
		if err != nil {
			return view, fmt.Errorf("count %s by the refined bins: %w", day, err)
		}
		if _, err := b.subject.AddDayByHour(ctx, day, counts, hours); err != nil {
			return view, err
		}
	}
	return b.subject.View(ctx)
}

// recountDay counts a day by the refined bins of fields. The other fields keep the counts that they have by the provisional bins.
func (b *book) recountDay(ctx context.Context, view *baseline.View, before string, day baseline.Day, fields map[string]*field) (baseline.Counts, baseline.Hours, error) {
	var hours baseline.Hours
	counts := baseline.Counts{Definition: b.definition.ID}
	var o outline
	if err := view.Outline(ctx, before, day, &o); err != nil {
		return counts, hours, err
	}
	old, err := view.Day(ctx, before, day)
	if err != nil {
		return counts, hours, err
	}
	oldHours, err := view.Hours(ctx, before, day)
	if err != nil && !errors.Is(err, baseline.ErrNotFound) {
		return counts, hours, err
	}
	counts.Rows = old.Rows
	for _, h := range o {
		of := make(map[string]map[string]int64, len(fields))
		for name, f := range fields {
			if m, ok := h.Fields[name]; ok {
				of[name] = m.count(f)
			}
		}
		counts = counts.Plus(baseline.Counts{Definition: counts.Definition, Fields: of})
		hours.Add(b.definition, h.Hour, of)
	}
	for name := range b.definition.Fields {
		if fields[name] != nil {
			continue
		}
		counts.Fields[name] = old.Fields[name]
		for i, hour := range oldHours.Hours {
			hours.Put(b.definition, i, name, hour[name])
		}
	}
	return counts, hours, nil
}

// noteReplaced notes the fields whose bins took the place of other bins. earlier reports whether an earlier book has a field.
func (b *book) noteReplaced(ctx context.Context, view *baseline.View, earlier func(field string) bool) error {
	d := b.definition
	if b.changed.Equal(d.Created) {
		return nil
	}
	b.changed = d.Created
	if view.WasReset(baseline.PartDefinition) {
		b.replaced = nil // The bins before are not known.
		return nil
	}
	b.replaced = make(map[string]bool)
	before := d
	if d.Refined() {
		var err error
		if before, err = view.Provisional(ctx); err != nil {
			return err
		}
	}
	for name, l := range d.Fields {
		bins, old := slices.Sorted(slices.Values(l.Bins())), slices.Sorted(slices.Values(before.Fields[name].Bins()))
		b.replaced[name] = earlier(name) || !slices.Equal(bins, old)
	}
	return nil
}

// settled reports whether a window has no values of the field by other bins any more. Another replica may use the bins a little later.
func (b *book) settled(field string, window time.Duration, k *Keeper) bool {
	return b.replaced != nil && !b.replaced[field] || k.Now().Sub(b.changed) >= window+min(k.Slow, 15*time.Minute)
}

// overlap is the time that the samples of a window in the rules reach back before it, and dayWindow is the day with them.
const (
	overlap   = 6 * time.Minute
	dayWindow = 25*time.Hour + overlap
)

func (l learned) settledDay(field string) bool { return l.settled(field, dayWindow) }
