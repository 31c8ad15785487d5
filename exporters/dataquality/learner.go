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

// learner maintains the baselines of one dataset: it cuts the bins, counts the training data and adds each complete day to
// the production baseline. All baselines are in the store; a new learner continues from there.
type learner struct {
	cfg      DatasetConfig
	subject  *baseline.Subject
	source   *tables.Source
	relation tables.Relation
	// parent has the bins of the dataset if this one is a segment of it; nil for others.
	parent *baseline.Subject
	// The following are set if there is a training baseline. trainingErr is the reason why its table cannot be opened.
	trainingSource   *tables.Source
	trainingRelation tables.Relation
	trainingErr      error
	now              func() time.Time
	logger           *slog.Logger
	// maxNoise is the threshold drift_noise_psi of the rules.
	maxNoise float64
	// withoutHours are days whose hours can no longer be counted.
	withoutHours map[baseline.Day]bool
	// progress, if set, receives the progress of long scans.
	progress func(doing string, done, total int)
}

// errNothingYet is returned while there is no data to cut bins from.
var errNothingYet = errors.New("the table has no rows to cut bins from yet")

// daysPerCycle bounds the days that one profile adds, so that learning past days does not delay the present profile.
const daysPerCycle = 3

// daysPerCycle is one for a segment, since the dataset waits for all of its segments.
func (d *DatasetConfig) daysPerCycle() int {
	if d.segment != nil {
		return 1
	}
	return daysPerCycle
}

// define returns the definition in force and a view of the store. On the first call it cuts the bins: from the training data
// or, without any, from the window.
func (l *learner) define(ctx context.Context, schema []tables.Column, w tables.Window) (*baseline.View, baseline.Definition, error) {
	if l.parent != nil {
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
		l.logLeftOut(cut.Left)
	} else if d, _, err = l.cutTraining(ctx, d, schema, w); err != nil {
		return view, baseline.Definition{}, err
	}
	if d, err = l.subject.CreateDefinition(ctx, d); err != nil {
		return view, baseline.Definition{}, err
	}
	view, err = l.subject.View(ctx)
	return view, d, err
}

// cutTraining cuts the bins from the training data. Columns that the training data lacks get provisional bins from the last windows.
func (l *learner) cutTraining(ctx context.Context, d baseline.Definition, schema []tables.Column, w tables.Window) (_ baseline.Definition, rows int64, err error) {
	r, trainingSchema, err := l.trainingTable(ctx)
	if err != nil {
		return d, 0, err
	}
	choice := l.cfg.Columns.choice()
	// Columns that the dataset does not have cannot be compared.
	both := slices.DeleteFunc(slices.Clone(trainingSchema), func(c tables.Column) bool { return !has(schema, c.Name) })
	outline, err := l.trainingSource.Outline(ctx, r, both, tables.Window{}, choice, l.step("cutting bins from the training data"))
	if err == nil && outline.Rows == 0 {
		err = errors.New("no rows")
	}
	if err != nil {
		return d, 0, fmt.Errorf("training data: %w", err)
	}
	timed := slices.DeleteFunc(slices.Clone(trainingSchema), func(c tables.Column) bool { return !has(both, c.Name) && c.Name != r.Time })
	days, err := l.trainingSource.SpreadDays(ctx, r, timed, choice)
	if err != nil {
		return d, 0, fmt.Errorf("training data: days: %w", err)
	}
	all := choice
	all.MaxColumns = len(schema)
	served, err := l.source.Recent(ctx, l.relation, schema, w, all, tables.FirstWindows, l.step("cutting bins of columns without training data"))
	if err != nil {
		return d, 0, err
	}
	cut := tables.CutTraining(both, r.Time, choice, outline, days, served)
	d.Edges, d.Fields, d.Left, d.Numbers = baseline.EdgesTraining, cut.Layouts, cut.Left, numbersOf([]tables.Outline{outline})
	for _, c := range schema {
		if !has(trainingSchema, c.Name) && c.Name != l.relation.Time && c.Class != tables.Opaque && !tables.MatchesAny(choice.Exclude, c.Name) {
			d.Untrained = append(d.Untrained, c.Name)
		}
	}
	return l.cutUntrained(d, slices.DeleteFunc(slices.Clone(schema), func(c tables.Column) bool { return has(trainingSchema, c.Name) }), served), outline.Rows, nil
}

// cutUntrained returns the definition with bins of the columns, which training data lacks, from outlines of production.
func (l *learner) cutUntrained(d baseline.Definition, columns []tables.Column, windows []tables.Outline) baseline.Definition {
	d.Fields, d.Left, d.Numbers = trained(d, d.Fields), trained(d, d.Left), trained(d, d.Numbers)
	choice := l.cfg.Columns.choice()
	choice.MaxColumns -= len(d.Fields)
	cut := tables.CutOutlines(columns, l.relation.Time, choice, windows...)
	maps.Copy(d.Fields, cut.Layouts)
	maps.Copy(d.Left, cut.Left)
	for name, m := range numbersOf(windows) {
		if has(columns, name) {
			d.Numbers[name] = m
		}
	}
	return d
}

// trained returns a copy of the map with only the columns of the training data. It is never nil.
func trained[V any](d baseline.Definition, of map[string]V) map[string]V {
	rest := make(map[string]V, len(of))
	for column, v := range of {
		if d.Trained(column) {
			rest[column] = v
		}
	}
	return rest
}

func has(schema []tables.Column, name string) bool {
	return slices.ContainsFunc(schema, func(c tables.Column) bool { return c.Name == name })
}

// timeColumns returns the timestamp column, which a window needs, as a schema.
func timeColumns(schema []tables.Column, name string) []tables.Column {
	return slices.DeleteFunc(slices.Clone(schema), func(c tables.Column) bool { return c.Name != name })
}

// training returns the counts of the training data. On the first call it counts them.
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
		// Without a time of each row, ages would be those of the training data at the time of counting, not of its features.
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

// trainingTable returns the relation of the training data. Its timestamp column has the name of the dataset's, unless the
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

// production adds up to atMost complete days that are not counted yet, and returns the production baseline. When all days are
// there, it refines provisional bins; with refined bins, it freezes the baseline.
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
	if l.relation.Time == "" && !d.Refined() {
		added, err = l.addToday(ctx, p, d, c)
	} else {
		added, err = l.addDays(ctx, p, d, c, atMost)
	}
	if err != nil {
		return p, view, err
	}
	if added {
		if view, p, err = l.readProduction(ctx); err != nil {
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
	// Refined bins take effect in the next profile: this one has counted by the old bins.
	after, frozen, err := l.readProduction(ctx)
	if err == nil && frozen.Frozen() {
		return frozen, after, nil
	}
	return p, view, err
}

// readProduction reads the current production baseline.
func (l *learner) readProduction(ctx context.Context) (*baseline.View, baseline.Production, error) {
	view, err := l.subject.View(ctx)
	if err != nil {
		return nil, baseline.Production{}, err
	}
	p, err := view.Production(ctx, 0)
	return view, p, err
}

// season returns the production baseline by time of day, or nil if that is unknown. Versions before hours were stored learned
// days without them: season counts those days again while the table still has them.
func (l *learner) season(ctx context.Context, view *baseline.View, d baseline.Definition, p baseline.Production) (*seasons, error) {
	added, err := l.addHours(ctx, view, d, p, l.cfg.daysPerCycle())
	if err != nil {
		return nil, err
	}
	if added > 0 {
		if view, err = l.subject.View(ctx); err != nil {
			return nil, err
		}
	}
	settings := season.Settings{Zone: l.cfg.zone(), MaxNoise: l.maxNoise}
	production, err := view.Season(ctx, p, settings)
	if err != nil || production == nil {
		return nil, err
	}
	accepted, err := view.AcceptedSeasons(ctx, p, settings)
	if err != nil {
		return nil, err
	}
	return &seasons{production, accepted}, nil
}

// addHours counts the hours of up to atMost stored days without hours. A day of which more than a hundredth of the rows were
// deleted or added since it was learned stays without hours.
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
		if hours.Empty() || max(counts.Rows-stored.Rows, stored.Rows-counts.Rows) > stored.Rows/100 {
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

// addToday adds the first profile of a day, and the outline of all rows, as that day: without a timestamp column the rows of a
// day cannot be told apart.
func (l *learner) addToday(ctx context.Context, p baseline.Production, d baseline.Definition, c *cycle) (bool, error) {
	today := baseline.DayOf(l.now())
	if c == nil || slices.Contains(p.Days, today) || c.profile.Rows == 0 {
		return false, nil
	}
	if l.provisional(d) {
		o, err := l.source.Outline(ctx, l.relation, l.provisionalColumns(d, c.schema), tables.Window{}, l.cfg.Columns.choice(), nil)
		if err != nil {
			return false, fmt.Errorf("outline of %s: %w", today, err)
		}
		if err := l.subject.AddOutline(ctx, d.ID, today, o); err != nil {
			return false, err
		}
	}
	return l.subject.AddDay(ctx, today, baseline.Counts{Definition: d.ID, Rows: c.profile.Rows, Fields: c.profile.Values})
}

// addDays counts up to atMost complete days that are not stored yet, the earliest first.
func (l *learner) addDays(ctx context.Context, p baseline.Production, d baseline.Definition, c *cycle, atMost int) (bool, error) {
	due, err := l.dueDays(p, d, c)
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

// dueDays returns the complete days that the baseline still needs. A table of dates has no complete day after the cycle's window.
func (l *learner) dueDays(p baseline.Production, d baseline.Definition, c *cycle) ([]baseline.Day, error) {
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
		if end.Add(time.Duration(cfg.Lateness)).After(l.now()) || c != nil && c.days > 0 && end.After(c.window.To) {
			break
		}
		if day := baseline.DayOf(start.AddDate(0, 0, i)); !slices.Contains(p.Days, day) {
			due = append(due, day)
		}
	}
	return due, nil
}

// countDay counts the rows of one day, in total and by hour. A column of dates has no hours.
func (l *learner) countDay(ctx context.Context, day baseline.Day, d baseline.Definition) (baseline.Counts, baseline.Hours, error) {
	var hours baseline.Hours
	counts := baseline.Counts{Definition: d.ID}
	if l.relation.Time == "" {
		counts, err := l.convertDay(ctx, day, d)
		return counts, hours, err
	}
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

// hasHours reports whether the timestamp column has a time of day.
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
