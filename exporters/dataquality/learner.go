package dataquality

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/season"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// learner keeps the baselines of one dataset: it cuts the bins, counts the
// training data and adds each complete day to the production baseline. All of
// it is in the store; the learner itself can be thrown away at any time.
type learner struct {
	cfg      DatasetConfig
	subject  *baseline.Subject
	source   *tables.Source
	relation tables.Relation
	// whole is where the dataset has its bins of which this one is a segment; nil for others.
	whole *baseline.Subject
	// The following are set if there is a training baseline: where its data is, or why that cannot be opened.
	trainingSource   *tables.Source
	trainingRelation tables.Relation
	trainingErr      error
	now              func() time.Time
	logger           *slog.Logger
	// maxNoise is the threshold drift_noise_psi of the rules.
	maxNoise float64
	// withoutHours are days whose hours cannot be counted any more.
	withoutHours map[baseline.Day]bool
	// progress is told of what takes long; it may be nil.
	progress func(doing string, done, total int)
}

// errNothingYet says that there is no data yet to cut bins from.
var errNothingYet = errors.New("the table has no rows to cut bins from yet")

// daysPerCycle bounds the days that one profile adds, so that a baseline of the
// past does not keep the present waiting.
const daysPerCycle = 3

// daysPerCycle is one for a segment: the whole waits for all of them.
func (d *DatasetConfig) daysPerCycle() int {
	if d.segment != nil {
		return 1
	}
	return daysPerCycle
}

// define returns the definition in force and a view of the store. The first
// time, it cuts the bins: from the training data, or from the window if there
// is none.
func (l *learner) define(ctx context.Context, schema []tables.Column, w tables.Window) (*baseline.View, baseline.Definition, error) {
	if l.whole != nil {
		return l.defineSegment(ctx, w)
	}
	view, err := l.subject.View(ctx)
	if err != nil {
		return nil, baseline.Definition{}, err
	}
	d, err := view.Definition(ctx)
	if !errors.Is(err, baseline.ErrNotFound) {
		return view, d, err
	}
	if len(schema) == 0 {
		return view, baseline.Definition{}, errNothingYet
	}
	untyped, err := l.source.Untyped(ctx, l.relation, schema)
	if err != nil {
		return view, baseline.Definition{}, err
	}
	expected, schema := typed(schema, untyped, l.relation.Time)
	d = baseline.Definition{Edges: baseline.EdgesProduction, Schema: storedSchema(expected)}
	choice := l.cfg.Columns.choice()
	if l.cfg.Baselines.Training == nil {
		outlines, err := l.source.Recent(ctx, l.relation, schema, w, choice, tables.FirstWindows, l.step("cutting bins"))
		if err == nil && len(outlines) == 0 {
			err = errNothingYet
		}
		if err != nil {
			return view, baseline.Definition{}, err
		}
		cut := tables.CutOutlines(schema, l.relation.Time, choice, outlines...)
		d.Fields, d.Left = cut.Layouts, cut.Left
		l.sayLeft(cut.Left)
	} else if d, err = l.cutTraining(ctx, d, schema, w); err != nil {
		return view, baseline.Definition{}, err
	}
	if d, err = l.subject.CreateDefinition(ctx, d); err != nil {
		return view, baseline.Definition{}, err
	}
	view, err = l.subject.View(ctx)
	return view, d, err
}

// cutTraining cuts the bins from the training data, and those of columns that
// the training data lacks from the window.
func (l *learner) cutTraining(ctx context.Context, d baseline.Definition, schema []tables.Column, w tables.Window) (baseline.Definition, error) {
	r, trainingSchema, err := l.trainingTable(ctx)
	if err != nil {
		return d, err
	}
	// Only what is served is worth comparing.
	trained := slices.DeleteFunc(slices.Clone(trainingSchema), func(c tables.Column) bool { return !has(schema, c.Name) })
	outline, err := l.trainingSource.Outline(ctx, r, trained, tables.Window{}, l.cfg.Columns.choice(), l.step("cutting bins from the training data"))
	if err != nil {
		return d, fmt.Errorf("training data: %w", err)
	}
	cut := tables.CutOutlines(trained, r.Time, l.cfg.Columns.choice(), outline)
	if cut.Rows == 0 {
		return d, errors.New("training data: no rows")
	}
	d.Edges, d.Fields, d.Left, d.Numbers = baseline.EdgesTraining, cut.Layouts, cut.Left, numbersOf([]tables.Outline{outline})
	untrained := slices.DeleteFunc(slices.Clone(schema), func(c tables.Column) bool { return has(trainingSchema, c.Name) })
	if len(untrained) == 0 {
		return d, nil
	}
	choice := l.cfg.Columns.choice()
	choice.MaxColumns -= len(cut.Layouts)
	rest, err := l.source.Cut(ctx, l.relation, append(untrained, timeColumns(schema, l.relation.Time)...), w, choice, l.step("cutting bins of columns without training data"))
	if err != nil {
		return d, err
	}
	for name, layout := range rest.Layouts {
		if _, ok := d.Fields[name]; !ok {
			d.Fields[name] = layout
		}
	}
	for name, reason := range rest.Left {
		if _, ok := d.Fields[name]; !ok {
			d.Left[name] = reason
		}
	}
	return d, nil
}

func has(schema []tables.Column, name string) bool {
	return slices.ContainsFunc(schema, func(c tables.Column) bool { return c.Name == name })
}

// timeColumns is the column a window needs, as a schema.
func timeColumns(schema []tables.Column, name string) []tables.Column {
	return slices.DeleteFunc(slices.Clone(schema), func(c tables.Column) bool { return c.Name != name })
}

// training returns the counts of the training data, and makes them the first time.
func (l *learner) training(ctx context.Context, view *baseline.View, d baseline.Definition) (baseline.Counts, error) {
	if l.cfg.Baselines.Training == nil {
		return baseline.Counts{}, nil
	}
	counts, err := view.Training(ctx)
	if !errors.Is(err, baseline.ErrNotFound) {
		return counts, err
	}
	l.report("counting the training data", 0, 1)
	r, schema, err := l.trainingTable(ctx)
	if err != nil {
		return baseline.Counts{}, err
	}
	fields := layouts(d)
	if r.Time == "" {
		// Ages at the time of counting would say how old the training
		// data is, not how old its features were.
		maps.DeleteFunc(fields, func(_ string, l *binning.Layout) bool { return l.Kind == binning.Aged })
	}
	p, err := l.trainingSource.Count(ctx, r, schema, tables.Window{}, fields, l.now())
	if err != nil {
		return baseline.Counts{}, fmt.Errorf("training data: %w", err)
	}
	counts = baseline.Counts{Definition: d.ID, Rows: p.Rows, Fields: p.Values}
	l.report("counting the training data", 1, 1)
	return l.subject.CreateTraining(ctx, counts)
}

// trainingTable is the relation of the training data. Its records have their
// time in the column where the dataset's records have it, unless the
// configuration names another one.
func (l *learner) trainingTable(ctx context.Context) (tables.Relation, []tables.Column, error) {
	r := l.trainingRelation
	if l.trainingErr != nil {
		return r, nil, fmt.Errorf("training data: %w", l.trainingErr)
	}
	schema, err := l.trainingSource.Schema(ctx, r)
	if err != nil {
		return r, nil, fmt.Errorf("training data: %w", err)
	}
	if r.Time == "" && has(schema, l.relation.Time) {
		r.Time = l.relation.Time
	}
	return r, schema, nil
}

// production adds the days that are complete and not yet counted, up to atMost, and
// returns the production baseline as it is then. Once all days are there it refines
// the bins or, if they are, freezes the baseline.
func (l *learner) production(ctx context.Context, view *baseline.View, d baseline.Definition, c *cycle, atMost int) (baseline.Production, *baseline.View, error) {
	want := l.cfg.Baselines.Production.Days
	if want == 0 {
		return baseline.Production{}, view, nil
	}
	p, err := view.Production(ctx, 0)
	if err != nil || p.Frozen() {
		return p, view, err
	}
	var added bool
	if l.relation.Time == "" {
		added, err = l.addToday(ctx, p, d, c)
	} else {
		added, err = l.addDays(ctx, p, d, atMost)
	}
	if err != nil {
		return p, view, err
	}
	if added {
		if view, p, err = l.look(ctx); err != nil {
			return p, view, err
		}
	}
	if l.provisional(d) {
		if err := l.outline(ctx, view, d, p.Days, atMost); err != nil {
			return p, view, err
		}
	}
	if d.Refined() {
		want = len(d.Learned)
	}
	if len(p.Days) < want {
		return p, view, nil
	}
	if err := l.complete(ctx, view, d, p, atMost); err != nil {
		return p, view, err
	}
	// Refined bins are in force from the next profile on: this one counted by the others.
	after, frozen, err := l.look(ctx)
	if err == nil && frozen.Frozen() {
		return frozen, after, nil
	}
	return p, view, err
}

// look returns the production baseline as it is now.
func (l *learner) look(ctx context.Context) (*baseline.View, baseline.Production, error) {
	view, err := l.subject.View(ctx)
	if err != nil {
		return nil, baseline.Production{}, err
	}
	p, err := view.Production(ctx, 0)
	return view, p, err
}

// season returns what the production baseline was like at each time of the day,
// or nil where that is not known: days that were learned before hours were kept
// are counted again, as long as the table has them.
func (l *learner) season(ctx context.Context, view *baseline.View, d baseline.Definition, p baseline.Production) (*season.Season, error) {
	added, err := l.addHours(ctx, view, d, p, l.cfg.daysPerCycle())
	if err != nil {
		return nil, err
	}
	if added > 0 {
		if view, err = l.subject.View(ctx); err != nil {
			return nil, err
		}
	}
	return view.Season(ctx, p, season.Settings{Zone: l.cfg.zone(), MaxNoise: l.maxNoise})
}

// addHours counts the hours of up to atMost days that the baseline holds without
// them. A day whose rows are not those of the baseline any more, since they were
// deleted or corrected, stays without hours.
func (l *learner) addHours(ctx context.Context, view *baseline.View, d baseline.Definition, p baseline.Production, atMost int) (int, error) {
	due := slices.DeleteFunc(view.WithoutHours(p), func(day baseline.Day) bool { return l.withoutHours[day] })
	if len(due) == 0 {
		return 0, nil
	}
	if len(l.withoutHours) == 0 {
		l.logger.Info("Counting the hours of days that were learned by an earlier version.", "days", len(due))
	}
	due = due[:min(len(due), atMost)]
	added := 0
	for i, day := range due {
		l.report("counting hours", i, len(due))
		stored, err := view.Day(ctx, d.ID, day)
		if err != nil {
			return added, fmt.Errorf("hours of %s: %w", day, err)
		}
		counts, hours, err := l.countDay(ctx, day, d)
		if err != nil {
			return added, fmt.Errorf("count hours of %s: %w", day, err)
		}
		if hours.Empty() || counts.Rows != stored.Rows {
			l.logger.Warn("A day of the production baseline has no hours: the table does not have the rows any more that it had when the day was learned. Short windows are compared with the other days' hours, or with the whole baseline if there are none; 'sightglass baseline reset --part production' learns new days.",
				"day", day, "learned_rows", stored.Rows, "rows", counts.Rows)
			l.withoutHours[day] = true
			continue
		}
		if err := l.subject.AddHours(ctx, day, hours); err != nil {
			return added, err
		}
		added++
	}
	l.report("counting hours", len(due), len(due))
	return added, nil
}

// addToday takes the first profile of a day for the day: without a timestamp
// column nothing tells which rows are of today.
func (l *learner) addToday(ctx context.Context, p baseline.Production, d baseline.Definition, c *cycle) (bool, error) {
	today := baseline.DayOf(l.now())
	if c == nil || slices.Contains(p.Days, today) || c.profile.Rows == 0 {
		return false, nil
	}
	return l.subject.AddDay(ctx, today, baseline.Counts{Definition: d.ID, Rows: c.profile.Rows, Fields: c.profile.Values})
}

// addDays counts up to atMost of the complete days that are not there yet, the
// earliest first.
func (l *learner) addDays(ctx context.Context, p baseline.Production, d baseline.Definition, atMost int) (bool, error) {
	due, err := l.dueDays(p, d)
	if err != nil {
		return false, err
	}
	due = due[:min(len(due), atMost)]
	for i, day := range due {
		l.report("counting days", i, len(due))
		counts, hours, err := l.countDay(ctx, day, d)
		if err != nil {
			return false, fmt.Errorf("count day %s: %w", day, err)
		}
		if _, err := l.subject.AddDayByHour(ctx, day, counts, hours); err != nil {
			return false, err
		}
	}
	l.report("counting days", len(due), len(due))
	return len(due) > 0, nil
}

// dueDays are the complete days that the baseline still wants.
func (l *learner) dueDays(p baseline.Production, d baseline.Definition) ([]baseline.Day, error) {
	if d.Refined() {
		return slices.DeleteFunc(slices.Clone(d.Learned), func(day baseline.Day) bool { return slices.Contains(p.Days, day) }), nil
	}
	cfg := l.cfg.Baselines.Production
	first := baseline.DayOf(d.Created)
	switch {
	case cfg.FirstDay != "":
		first = cfg.FirstDay
	case len(p.Days) > 0:
		first = p.Days[0]
	}
	start, err := first.Start()
	if err != nil {
		return nil, err
	}
	var due []baseline.Day
	for i := range cfg.Days {
		end := start.AddDate(0, 0, i+1)
		if end.Add(time.Duration(cfg.Lateness)).After(l.now()) {
			break
		}
		if day := baseline.DayOf(start.AddDate(0, 0, i)); !slices.Contains(p.Days, day) {
			due = append(due, day)
		}
	}
	return due, nil
}

// countDay counts the rows of one day, as a whole and by hour. Dates have no hours.
func (l *learner) countDay(ctx context.Context, day baseline.Day, d baseline.Definition) (baseline.Counts, baseline.Hours, error) {
	var hours baseline.Hours
	counts := baseline.Counts{Definition: d.ID}
	schema, w, err := l.daySchema(ctx, day, d)
	if err != nil {
		return counts, hours, err
	}
	if !hasHours(schema, l.relation) {
		p, err := l.source.Count(ctx, l.relation, schema, w, layouts(d), w.To)
		counts.Rows, counts.Fields = p.Rows, p.Values
		return counts, hours, err
	}
	hourly, err := l.source.Hourly(ctx, l.relation, schema, w, layouts(d))
	if err != nil {
		return counts, hours, err
	}
	for hour := range 24 {
		p := hourly[w.From.Add(time.Duration(hour)*time.Hour)]
		hours.Add(d, hour, p.Values)
		counts = counts.Plus(baseline.Counts{Definition: d.ID, Rows: p.Rows, Fields: p.Values})
	}
	return counts, hours, nil
}

// hasHours reports whether the relation has a column that tells the hour of a record.
func hasHours(schema []tables.Column, r tables.Relation) bool {
	return slices.ContainsFunc(schema, func(c tables.Column) bool {
		return c.Name == r.Time && (c.Class == tables.Timestamp || c.Class == tables.TimestampTZ)
	})
}

func layouts(d baseline.Definition) tables.Fields {
	fields := make(tables.Fields, len(d.Fields))
	for name, layout := range d.Fields {
		fields[name] = &layout
	}
	return fields
}

func (l *learner) report(doing string, done, total int) {
	if l.progress != nil {
		l.progress(doing, done, total)
	}
}

func (l *learner) step(doing string) func(done, total int) {
	return func(done, total int) { l.report(doing, done, total) }
}
