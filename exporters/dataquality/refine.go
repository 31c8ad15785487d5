package dataquality

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// Bins are cut twice. A new dataset has little data, so its first bins are provisional: they serve until all days of the
// production baseline are learned. Each learned day has an outline; the bins are refined from all outlines together. Then the
// days are counted again. Bins from training data are final; those of columns that the training data lacks are refined. Without a
// timestamp column the days cannot be counted again: the bins are extended, and the counts of the days converted.

// provisional reports whether bins are still to be refined. A segment has the bins of its dataset and never refines them.
func (l *learner) provisional(d baseline.Definition) bool {
	return (d.Edges == baseline.EdgesProduction || len(d.Untrained) > 0) && !d.Refined() && l.parent == nil
}

// provisionalColumns returns the columns whose bins are to be refined, and the timestamp column.
func (l *learner) provisionalColumns(d baseline.Definition, schema []tables.Column) []tables.Column {
	return slices.DeleteFunc(slices.Clone(schema), func(c tables.Column) bool { return d.Trained(c.Name) && c.Name != l.relation.Time })
}

// outline stores outlines for up to atMost learned days that have none.
func (l *learner) outline(ctx context.Context, view *baseline.View, d baseline.Definition, days []baseline.Day, atMost int) error {
	if l.relation.Time == "" {
		return nil // addToday stores them.
	}
	due := view.WithoutOutline(d.ID, days)
	due = due[:min(len(due), atMost)]
	for i, day := range due {
		l.report("outlining days", i, len(due))
		schema, w, err := l.daySchema(ctx, day, d)
		if err != nil {
			return err
		}
		o, err := l.source.Outline(ctx, l.relation, l.provisionalColumns(d, schema), w, l.cfg.Columns.choice(), nil)
		if err != nil {
			return fmt.Errorf("outline of %s: %w", day, err)
		}
		if err := l.subject.AddOutline(ctx, d.ID, day, o); err != nil {
			return err
		}
	}
	l.report("outlining days", len(due), len(due))
	return nil
}

// refine cuts the bins from the outlines of all learned days. It returns false and keeps the old bins if the table no longer
// has all of these days, since they could not be counted again. A hundredth of the first day's rows may be gone, such as rows
// that somebody asked to delete.
func (l *learner) refine(ctx context.Context, view *baseline.View, d baseline.Definition, p baseline.Production) (bool, error) {
	schema, countable, err := l.countable(ctx, view, d, p)
	if err != nil || !countable {
		return false, err
	}
	outlines := make([]tables.Outline, len(p.Days))
	for i, day := range p.Days {
		if err := view.Outline(ctx, d.ID, day, &outlines[i]); err != nil {
			return false, err
		}
	}
	refined := baseline.Definition{
		Edges: d.Edges, Schema: d.Schema, Fields: d.Fields, Left: d.Left, Numbers: d.Numbers, Untrained: d.Untrained, Learned: p.Days,
	}
	if l.relation.Time == "" {
		refined = extended(refined, outlines)
	} else {
		refined = l.cutUntrained(refined, l.provisionalColumns(d, schema), outlines)
	}
	if err := l.subject.Refine(ctx, refined); err != nil {
		return false, err
	}
	l.logger.Info("Cut the bins from all learned days; the days are now counted by them.", "days", len(p.Days), "columns", len(refined.Fields))
	l.logLeftOut(refined.Left)
	return true, nil
}

// countable returns the schema by which the learned days are counted, and whether the table still has the first of them. Without
// a timestamp column the stored counts are converted.
func (l *learner) countable(ctx context.Context, view *baseline.View, d baseline.Definition, p baseline.Production) (_ []tables.Column, ok bool, err error) {
	schema, w, err := l.daySchema(ctx, p.Days[0], d)
	if err != nil || l.relation.Time == "" {
		return schema, true, err
	}
	first, err := view.Day(ctx, d.ID, p.Days[0])
	if err != nil {
		return nil, false, err
	}
	rows, err := l.source.Rows(ctx, l.relation, w)
	if err != nil {
		return nil, false, err
	}
	if rows < first.Rows-first.Rows/100 {
		l.logger.Warn("The production baseline keeps the bins that were cut when the dataset was first seen: the table does not have all learned days any more, so that they cannot be counted by bins of all days. Values that the bins did not know are counted as other, and not as unseen. Learn fewer days (baselines.production.days) than the table keeps, then 'sightglass baseline reset --part definition'.",
			"day", p.Days[0], "learned_rows", first.Rows, "rows", rows)
		return nil, false, nil
	}
	return schema, true, nil
}

// extended returns the definition with its bins extended by the outlines of all learned days.
func extended(d baseline.Definition, outlines []tables.Outline) baseline.Definition {
	d.Fields, d.Numbers = maps.Clone(d.Fields), trained(d, d.Numbers)
	numbers := numbersOf(outlines)
	for name, layout := range d.Fields {
		if d.Trained(name) {
			continue
		}
		if m, ok := numbers[name]; ok {
			d.Numbers[name] = m
		}
		var categories []string
		for _, o := range outlines {
			categories = slices.AppendSeq(categories, maps.Keys(o.Columns[name].Categories))
		}
		d.Fields[name] = layout.Extended(numbers[name], categories)
	}
	return d
}

// convertDay returns the counts of a day of a table without a timestamp column, which were made by the provisional bins.
func (l *learner) convertDay(ctx context.Context, day baseline.Day, d baseline.Definition) (baseline.Counts, error) {
	converted := baseline.Counts{Definition: d.ID, Fields: make(map[string]map[string]int64)}
	view, err := l.subject.View(ctx)
	if err != nil {
		return converted, err
	}
	provisional, err := view.Provisional(ctx)
	if err != nil {
		return converted, err
	}
	counts, err := view.Day(ctx, provisional.ID, day)
	if ignoreNotFound(err) != nil {
		return converted, err // A segment may lack a day.
	}
	converted.Rows = counts.Rows
	for name, bins := range counts.Fields {
		if layout, ok := d.Fields[name]; ok {
			converted.Fields[name] = layout.Converted(provisional.Fields[name], bins)
		}
	}
	return converted, nil
}

// numbersOf returns the moments of each column over all outlines.
func numbersOf(outlines []tables.Outline) map[string]baseline.Moments {
	numbers := make(map[string]baseline.Moments)
	for _, o := range outlines {
		for name, c := range o.Columns {
			if c.Moments != nil {
				numbers[name] = numbers[name].Plus(*c.Moments)
			}
		}
	}
	return numbers
}

// logLeftOut logs the columns without bins, by reason.
func (l *learner) logLeftOut(left map[string]string) {
	byReason := make(map[string][]string)
	for _, column := range slices.Sorted(maps.Keys(left)) {
		byReason[left[column]] = append(byReason[left[column]], column)
	}
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		l.logger.Info("Columns without bins: only their missing values are counted. Name those that have a distribution all the same in columns.include.",
			"columns", listed(byReason[reason]), "reason", reason)
	}
}

// daySchema returns the schema by which a learned day is counted, and the window of the day.
func (l *learner) daySchema(ctx context.Context, day baseline.Day, d baseline.Definition) ([]tables.Column, tables.Window, error) {
	start, err := day.Start()
	if err != nil {
		return nil, tables.Window{}, err
	}
	schema, err := l.source.Schema(ctx, l.relation)
	if err == nil {
		schema, err = l.source.Conform(ctx, l.relation, schema, typesOf(d.Schema))
	}
	return schema, tables.Window{From: start, To: start.AddDate(0, 0, 1)}, err
}

// refined reads the definition in force, which refine may have replaced.
func (l *learner) refined(ctx context.Context, d baseline.Definition) (baseline.Definition, error) {
	view, err := l.subject.View(ctx)
	if err != nil {
		return d, err
	}
	return view.Definition(ctx)
}

// complete finishes a production baseline that has all its days: it refines provisional bins, or freezes the baseline.
func (l *learner) complete(ctx context.Context, view *baseline.View, d baseline.Definition, p baseline.Production, atMost int) error {
	if l.provisional(d) {
		if err := l.outline(ctx, view, d, p.Days, atMost); err != nil {
			return err
		}
		var err error
		if view, err = l.subject.View(ctx); err != nil {
			return err
		}
		outlined := len(view.WithoutOutline(d.ID, p.Days)) == 0
		if !outlined && l.relation.Time != "" {
			return nil // The next profile adds the missing outlines.
		}
		if outlined {
			if refined, err := l.refine(ctx, view, d, p); refined || err != nil {
				return err
			}
		}
	}
	_, err := l.subject.Freeze(ctx)
	return err
}

// acceptChanges accepts changes of the columns in columns.accept.
func (d *dataset) acceptChanges(ctx context.Context, c *cycle) error {
	if len(d.cfg.Columns.Accept) == 0 || len(d.cfg.Schema) > 0 {
		return nil
	}
	var kept []change
	var errs []error
	accepted := 0
	for _, ch := range c.changes {
		if accepted == acceptedPerCycle || !tables.MatchesAny(d.cfg.Columns.Accept, ch.column) {
			kept = append(kept, ch)
			continue
		}
		if _, err := d.learner.accept(ctx, ch.column, c.window); err != nil {
			errs = append(errs, fmt.Errorf("column %q: %w", ch.column, err))
			kept = append(kept, ch)
			continue
		}
		accepted++
		d.logger.Info("Accepted a column, as columns.accept says.", "column", ch.column, "change", ch.kind, "expected", ch.expected, "actual", ch.actual)
	}
	c.changes = kept
	return errors.Join(errs...)
}

// acceptedPerCycle bounds the columns that one profile accepts.
const acceptedPerCycle = 3

// acceptLearned accepts columns again that had too few days with values when they were accepted.
func (d *dataset) acceptLearned(ctx context.Context, c *cycle, definition baseline.Definition) error {
	var errs []error
	accepted := 0
	for _, name := range slices.Sorted(maps.Keys(definition.Learning)) {
		since := definition.Learning[name]
		nulls, counted := c.profile.Nulls[name]
		waits := nulls == c.profile.Rows
		if !since.IsZero() && !c.window.From.IsZero() {
			waits = since.After(lastDays(c.window)[0].From)
		}
		if !counted || waits || accepted == acceptedPerCycle {
			continue
		}
		a, err := d.learner.accept(ctx, name, c.window)
		if err != nil {
			errs = append(errs, fmt.Errorf("column %q: %w", name, err))
		} else if !a.Learning {
			d.logger.Info("An accepted column has a baseline now.", "column", name)
		}
		accepted++
	}
	return errors.Join(errs...)
}

// accept stores the present state of a column as its expected state. An added column gets bins and a baseline from the last
// days, or waits until it had values on all of them; a removed one is no longer expected. The baselines of other columns do not change.
func (l *learner) accept(ctx context.Context, name string, w tables.Window) (baseline.Accepted, error) {
	view, err := l.subject.View(ctx)
	if err != nil {
		return baseline.Accepted{}, err
	}
	d, err := view.Definition(ctx)
	if errors.Is(err, baseline.ErrNotFound) {
		return baseline.Accepted{}, errors.New("there is no baseline yet, and so nothing that the column differs from: the exporter or 'sightglass baseline build' makes one")
	}
	if err != nil {
		return baseline.Accepted{}, err
	}
	schema, err := l.source.Schema(ctx, l.relation)
	if err != nil {
		return baseline.Accepted{}, err
	}
	a := baseline.Accepted{Column: baseline.Column{Name: name}}
	expected := false
	for _, c := range d.Schema {
		if c.Name == name {
			a.Column, expected = c, true
		}
	}
	if !has(schema, name) {
		if !expected {
			return a, fmt.Errorf("the table has no column %q and the expected schema has none either; want one of %q", name, namesOf(schema))
		}
		a.Removed = true
		return a, l.subject.Accept(ctx, d.ID, a)
	}
	var column []tables.Column
	for _, c := range schema {
		if c.Name == name || c.Name == l.relation.Time {
			column = append(column, c)
		}
		if c.Name == name {
			a.Column.Type = c.Type
		}
	}
	outlines, err := l.source.Recent(ctx, l.relation, column, w, l.cfg.Columns.choice(), acceptedDays, l.step("cutting bins"))
	if err != nil {
		return a, err
	}
	cut := tables.CutOutlines(column, l.relation.Time, l.cfg.Columns.choice(), outlines...)
	layout, binned := cut.Layouts[name]
	left := cut.Left[name]
	if l.parent != nil {
		parentView, err := l.parent.View(ctx)
		if err != nil {
			return a, err
		}
		parent, err := parentView.Definition(ctx)
		if err != nil {
			return a, err
		}
		layout, binned = parent.Fields[name]
		left = parent.Left[name]
	}
	if !binned {
		a.Left = left
		return a, l.subject.Accept(ctx, d.ID, a)
	}
	windows := lastDays(w)
	step := day
	if hasHours(column, l.relation) {
		step = time.Hour
	}
	hours, err := l.countBy(ctx, step, column, windows, name, layout)
	if err != nil {
		return a, err
	}
	// The rows from before an added column existed do not count.
	since, learning := d.Learning[name]
	if (learning || !expected) && !w.From.IsZero() {
		first := slices.IndexFunc(hours, hasValues)
		switch {
		case first < 0:
			hours, since = nil, time.Time{}
		case first > 0 && since.IsZero():
			since = hours[first].Start.Add(step)
		}
		hours = slices.DeleteFunc(hours, func(h baseline.AcceptedHour) bool { return h.Start.Before(since) })
		if l.parent == nil && (first < 0 || since.After(windows[0].From)) {
			a.Learning, a.Since, a.Left = true, since, leftLearning
			return a, l.subject.Accept(ctx, d.ID, a)
		}
	}
	if m, ok := numbersOf(outlines)[name]; ok {
		a.Moments = &m
	}
	a.Layout, a.Counts = &layout, make(map[string]int64)
	for _, h := range hours {
		for i, bin := range layout.Bins() {
			a.Counts[bin] += h.Counts[i]
		}
	}
	if step == time.Hour && !w.From.IsZero() {
		a.Hours = hours
	}
	return a, l.subject.Accept(ctx, d.ID, a)
}

// leftLearning is the reason why an added column has no bins yet.
const leftLearning = "added recently: it gets bins and a baseline when it has had values for a week"

// acceptedDays is the number of days in the baseline of an accepted column. There may be no more data, since the column may
// be new.
const acceptedDays = 7

// lastDays returns the window and the days before it, acceptedDays in all. A window without a start is the only one.
func lastDays(w tables.Window) []tables.Window {
	days := []tables.Window{w}
	for !w.From.IsZero() && len(days) < acceptedDays {
		to := days[0].From
		days = append([]tables.Window{{From: to.Add(-day), To: to}}, days...)
	}
	return days
}

// countBy counts a column in each window, by hour if step is an hour and the windows have a start. Hours without rows are left out.
func (l *learner) countBy(ctx context.Context, step time.Duration, column []tables.Column, windows []tables.Window, name string, layout binning.Layout) ([]baseline.AcceptedHour, error) {
	fields, bins := tables.Fields{name: &layout}, layout.Bins()
	counts := make(map[time.Time][]int64)
	for _, w := range windows {
		var profiles map[time.Time]tables.Profile
		var err error
		if step == time.Hour && !w.From.IsZero() {
			profiles, err = l.source.Hourly(ctx, l.relation, column, w, fields)
		} else {
			var p tables.Profile
			p, err = l.source.Count(ctx, l.relation, column, w, fields, cmp.Or(w.To, l.now()))
			profiles = map[time.Time]tables.Profile{w.From: p}
		}
		if err != nil {
			return nil, err
		}
		for start, p := range profiles {
			if p.Rows == 0 {
				continue
			}
			if counts[start] == nil {
				counts[start] = make([]int64, len(bins))
			}
			for i, bin := range bins {
				counts[start][i] += p.Values[name][bin]
			}
		}
	}
	var hours []baseline.AcceptedHour
	for _, start := range slices.SortedFunc(maps.Keys(counts), time.Time.Compare) {
		hours = append(hours, baseline.AcceptedHour{Start: start, Counts: counts[start]})
	}
	return hours, nil
}

// hasValues reports whether any value of the hour is not missing.
func hasValues(h baseline.AcceptedHour) bool {
	for bin, n := range h.Counts {
		if bin != binning.NullBin && n > 0 {
			return true
		}
	}
	return false
}

func namesOf(schema []tables.Column) []string {
	names := make([]string, len(schema))
	for i, c := range schema {
		names[i] = c.Name
	}
	return names
}
