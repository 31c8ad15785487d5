package dataquality

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// SegmentConfig divides a dataset into segments by the values of one column or of two.
type SegmentConfig struct {
	SegmentColumn `yaml:",inline"`
	// By is a second column; each pair of values is a segment.
	By *SegmentColumn `yaml:"by,omitempty"`
}

// SegmentColumn is a column and its values that are segments: the listed ones, or the most frequent ones of the baseline and
// one segment for all others.
type SegmentColumn struct {
	Column string    `yaml:"column"`
	Values []Literal `yaml:"values,omitempty"`
	// Top is the number of most frequent values, if none are listed.
	Top int `yaml:"top,omitempty"`
}

// Shorthand implements config.Shorthand, for segments: [country].
func (s *SegmentColumn) Shorthand() string { return "column" }

// Limits of segments. Each segment has the series of a dataset, and data must not add series without a bound.
const (
	maxSegments = 50
	// topSegments is the default number of values of one column, topCrossed that of each of two columns.
	topSegments, topCrossed = 10, 6
)

// Validate implements config.Validator.
func (s *SegmentColumn) Validate(at config.At) {
	if s.Column == "" {
		at.Errorf("column", "missing; want the column whose values are the segments, as in segments: [country]")
	}
	if len(s.Values) > 0 && s.Top != 0 || s.Top < 0 || s.Top > maxSegments {
		at.Errorf("top", "%d with %d values; want a number of values to find from 1 to %d, or values alone", s.Top, len(s.Values), maxSegments)
	}
	seen := make(map[Literal]bool)
	for _, v := range s.Values {
		if seen[v] {
			at.Errorf("values", "%q is there twice; want each value once", v)
		}
		seen[v] = true
	}
}

// Validate implements config.Validator.
func (s *SegmentConfig) Validate(at config.At) {
	s.SegmentColumn.Validate(at)
	if s.By != nil && s.By.Column == s.Column {
		at.Errorf("by.column", "%q is also the column that is crossed with it; want another one", s.Column)
	}
	for _, c := range s.columns() {
		if len(c.Values) == 0 && c.Top == 0 {
			if c.Top = topSegments; s.By != nil {
				c.Top = topCrossed
			}
		}
	}
}

func (s *SegmentConfig) columns() []*SegmentColumn {
	if s.By == nil {
		return []*SegmentColumn{&s.SegmentColumn}
	}
	return []*SegmentColumn{&s.SegmentColumn, s.By}
}

// most returns the maximum number of segments.
func (s *SegmentConfig) most() int {
	n := 1
	for _, c := range s.columns() {
		if c.found() {
			n *= c.Top + 1
		} else {
			n *= len(c.Values)
		}
	}
	return n
}

// found reports that the values come from the baseline because none are listed.
func (s *SegmentColumn) found() bool { return len(s.Values) == 0 }

func (d *DatasetConfig) validateSegments(at config.At) {
	n := 0
	for i := range d.Segments {
		n += d.Segments[i].most()
		for j := range i {
			if d.Segments[i].label() == d.Segments[j].label() {
				at.Errorf("segments", "%q is there twice; want each column once, and each pair", d.Segments[i].label())
			}
		}
	}
	if n > maxSegments {
		at.Errorf("segments", "%d segments; want %d or fewer, since each has the series of a dataset: list fewer values, or lower top", n, maxSegments)
	}
}

func (s *SegmentConfig) label() string {
	names := make([]string, 0, 2)
	for _, c := range s.columns() {
		names = append(names, c.Column)
	}
	return strings.Join(names, ",")
}

// segment identifies a subset of a dataset's rows.
type segment struct {
	// dataset is the name of the dataset.
	dataset string
	split   tables.Split
	part    int
}

// name returns the value of the label dataset of the segment.
func (s *segment) name() string {
	values, other := s.split.Values(s.part)
	parts := make([]string, len(s.split))
	for i, c := range s.split {
		// CategoryBin quotes a value that is named other.
		parts[i] = c.Column + "=" + binning.CategoryBin(values[i])
		if other[i] {
			parts[i] = c.Column + "=" + binning.Other
		}
	}
	return s.dataset + "/" + strings.Join(parts, ",")
}

// relation returns the relation of the segment's rows.
func (s *segment) relation(source *tables.Source, r tables.Relation) tables.Relation {
	if s == nil {
		return r
	}
	return r.Part(source, s.split, s.part)
}

// split returns the division of the rows: by the listed values, or by the most frequent ones in the present bins.
func (s *SegmentConfig) split(d baseline.Definition) (tables.Split, error) {
	var split tables.Split
	for _, c := range s.columns() {
		of := tables.SplitColumn{Column: c.Column}
		for _, v := range c.Values {
			of.Values = append(of.Values, string(v))
		}
		if c.found() {
			layout, ok := d.Fields[c.Column]
			if !ok || layout.Kind != binning.Categorical || len(layout.Top) == 0 {
				return nil, fmt.Errorf("column %q has no bins by category whose values could be segments%s; list its values, or name it in columns.include", c.Column, because(d.Left[c.Column]))
			}
			of.Values = layout.Top[:min(c.Top, len(layout.Top))]
		}
		split = append(split, of)
	}
	return split, nil
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

// segments returns, for each configured split, the configurations of its segments under the given bins. A segment has all
// settings of the dataset except upstreams and comparisons: other tables are not divided.
func (d *DatasetConfig) segments(definition baseline.Definition, schema []tables.Column) ([]segmentation, error) {
	var all []segmentation
	var errs []error
	for i := range d.Segments {
		s := &d.Segments[i]
		split, err := s.split(definition)
		for _, c := range s.columns() {
			if err == nil && len(schema) > 0 && !has(schema, c.Column) {
				err = fmt.Errorf("column %q: %w; the columns are %q", c.Column, tables.ErrNoColumn, namesOf(schema))
			}
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		of := segmentation{split: split, parts: make(map[int]DatasetConfig)}
		for part := range split.Parts() {
			_, other := split.Values(part)
			if slices.ContainsFunc(s.columns(), func(c *SegmentColumn) bool { return !c.found() && other[slices.Index(s.columns(), c)] }) {
				continue // Only listed values are watched.
			}
			cfg := *d
			cfg.segment = &segment{dataset: d.Name, split: split, part: part}
			cfg.Name = cfg.segment.name()
			cfg.Segments, cfg.Upstream, cfg.Comparisons = nil, nil, nil
			of.parts[part] = cfg
		}
		all = append(all, of)
	}
	return all, errors.Join(errs...)
}

// segmentation is a split of a dataset and the configurations of the watched segments.
type segmentation struct {
	split tables.Split
	parts map[int]DatasetConfig
	// counts are the counts of all segments of the split, by number.
	counts []partCounts
}

// partCounts are the counts of one segment from the scans of its dataset.
type partCounts struct {
	tables.Windows
	outside    tables.OutsideWindow
	duplicates []tables.Duplicates
	checked    []tables.Checked
}

// countSegments counts the window, the recent window and all segments, in one scan for each split.
func (d *dataset) countSegments(ctx context.Context, c *cycle, fields tables.Fields) (tables.Profile, error) {
	var windows tables.Windows
	for i := range c.segments {
		s := &c.segments[i]
		all, parts, err := d.source.CountParts(ctx, d.relation, c.schema, c.window, tables.Starts{Recent: c.recentFrom, Newest: c.volumeFrom}, s.split, fields, c.now)
		if err != nil {
			return tables.Profile{}, err
		}
		s.counts = make([]partCounts, len(parts))
		for j, p := range parts {
			s.counts[j].Windows = p
		}
		if i == 0 {
			windows = all
		}
	}
	c.take(windows)
	return windows.Full, nil
}

// countOfSegments counts, for all segments at once, records outside the window, broken checks and duplicates. The dataset's
// own numbers of records outside the window and of broken checks are the sums over the segments.
func (d *dataset) countOfSegments(ctx context.Context, c *cycle) error {
	for i := range c.segments {
		s := &c.segments[i]
		outside, err := d.source.OutsideParts(ctx, d.relation, c.schema, tables.Window{From: c.window.From, To: c.future}, s.split)
		if err != nil {
			return err
		}
		checked, err := d.source.CheckParts(ctx, d.relation, c.schema, c.window, s.split, d.checks)
		if err != nil {
			return err
		}
		for j := range s.counts {
			s.counts[j].outside, s.counts[j].checked = outside[j], checked[j]
			if i > 0 {
				continue // Another split of the same rows.
			}
			c.outside = c.outside.Plus(outside[j])
			if c.checked == nil {
				c.checked = make([]tables.Checked, len(d.checks))
			}
			for k, n := range checked[j] {
				c.checked[k] = tables.Checked{BrokenRows: c.checked[k].BrokenRows + n.BrokenRows, Err: n.Err}
			}
		}
		for _, key := range d.cfg.Keys {
			duplicates, err := d.source.DuplicateParts(ctx, d.relation, c.schema, c.window, s.split, key, c.profile.Rows, d.cfg.KeysExactRows)
			for j := range s.counts {
				var n tables.Duplicates // The dataset's own count reports the error.
				if err == nil {
					n = duplicates[j]
				}
				s.counts[j].duplicates = append(s.counts[j].duplicates, n)
			}
		}
	}
	return nil
}

// pastsPerCycle bounds the segments whose past is first counted in one profile. Each needs a scan.
const pastsPerCycle = 3

// segmentProfile is the profile of one segment.
type segmentProfile struct {
	dataset *dataset
	cycle   *cycle
	took    time.Duration
	err     error
}

// profileSegments profiles the segments from the counts of the dataset's cycle. A failing segment does not affect the others.
func (d *dataset) profileSegments(ctx context.Context, c *cycle) ([]segmentProfile, error) {
	var profiles []segmentProfile
	var errs []error
	children := make(map[string]*dataset)
	begun := 0
	for _, s := range c.segments {
		for _, part := range slices.Sorted(maps.Keys(s.parts)) {
			if part >= len(s.counts) {
				continue // not counted
			}
			cfg, start := s.parts[part], d.now()
			child := d.children[cfg.Name]
			var err error
			if child == nil {
				child = d.connections.dataset(cfg, d.columns, d.now)
			}
			children[cfg.Name] = child
			sc := &cycle{now: c.now}
			if err = d.connections.resolve(child); err == nil {
				readPast := child.past.hours != nil || begun < pastsPerCycle
				if child.past.hours == nil {
					begun++
				}
				sc, err = child.runPart(ctx, c, s.counts[part], readPast)
			}
			if err != nil {
				err = fmt.Errorf("segment %q: %w", cfg.Name, err)
				errs = append(errs, err)
			}
			profiles = append(profiles, segmentProfile{child, sc, d.now().Sub(start), err})
		}
	}
	if len(profiles) > 0 {
		d.children = children
	}
	return profiles, errors.Join(errs...)
}

// runPart profiles a segment from the counts of its dataset's cycle.
func (d *dataset) runPart(ctx context.Context, of *cycle, counts partCounts, readPast bool) (*cycle, error) {
	c := &cycle{
		now: of.now, window: of.window, days: of.days, dayEnd: of.dayEnd, schema: of.schema,
		profile: counts.Full, outside: counts.outside, duplicates: counts.duplicates, checked: counts.checked,
	}
	d.overrides = d.cfg.Thresholds.overrides(c.schema)
	c.counted = readPast && d.countPast(ctx, c)
	// A recent window with few rows of the segment would not be significant.
	enough := func(from time.Time, rows float64) bool {
		return !from.IsZero() && !c.window.From.IsZero() && float64(c.profile.Rows)*of.now.Sub(from).Seconds() >= rows*of.now.Sub(c.window.From).Seconds()
	}
	if enough(of.recentFrom, recentRows) {
		c.recentFrom, c.recent = of.recentFrom, counts.Recent
	}
	switch {
	case enough(of.volumeFrom, volumeRows):
		c.volumeFrom, c.volumeRows = of.volumeFrom, counts.Newest
	case enough(of.recentFrom, volumeRows):
		c.volumeFrom, c.volumeRows = of.recentFrom, counts.Recent.Rows
	}
	view, definition, err := d.learner.define(ctx, c.schema, c.window)
	if errors.Is(err, errNothingYet) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("baseline: %w", err)
	}
	err = errors.Join(errors.Join(d.problems...), err, d.noteLatest(ctx, c, of.future))
	if _, counted := c.profile.Nulls[d.cfg.TimestampColumn]; counted {
		c.profile.Nulls[d.cfg.TimestampColumn] = c.outside.Untimed
	}
	// The dataset's own profile reports checks that cannot be counted.
	complete := err == nil && d.noteChecked(c) == nil
	return c, errors.Join(err, d.conclude(ctx, c, view, definition, complete))
}

// defineSegment returns the definition of a segment. It has the bins of its dataset, so that one scan counts all segments,
// and its own baselines.
func (l *learner) defineSegment(ctx context.Context, w tables.Window) (*baseline.View, baseline.Definition, error) {
	view, err := l.subject.View(ctx)
	if err != nil {
		return nil, baseline.Definition{}, err
	}
	parentView, err := l.parent.View(ctx)
	if err != nil {
		return view, baseline.Definition{}, err
	}
	parent, err := parentView.Definition(ctx)
	if errors.Is(err, baseline.ErrNotFound) {
		return view, baseline.Definition{}, errNothingYet
	}
	if err != nil {
		return view, baseline.Definition{}, err
	}
	// Moments are left out: the dataset's moments do not describe a segment.
	bins := baseline.Definition{Edges: parent.Edges, Schema: parent.Schema, Fields: parent.Fields, Left: parent.Left, Untrained: parent.Untrained}
	current, err := view.Definition(ctx)
	switch {
	case errors.Is(err, baseline.ErrNotFound):
	case err != nil:
		return view, baseline.Definition{}, err
	case len(differing(current, parent)) == 0:
		return view, current, nil
	case parent.Refined() && !current.Refined() && current.Created.Before(parent.Created):
		p, err := view.Production(ctx, 0)
		if err != nil {
			return view, current, err
		}
		if today := baseline.DayOf(l.now()); l.relation.Time == "" && slices.Contains(parent.Learned, today) && !slices.Contains(p.Days, today) {
			return view, current, nil // The profile of today is a learned day, too.
		}
		bins.Learned = parent.Learned
		if err := l.subject.Refine(ctx, bins); err != nil {
			return view, current, err
		}
		return l.defined(ctx)
	case len(differing(current, parent)) <= min(followed, len(current.Fields)/2):
		for _, column := range differing(current, parent) {
			if _, err := l.accept(ctx, column, w); err != nil {
				return view, current, fmt.Errorf("accept column %q as in the dataset: %w", column, err)
			}
		}
		return l.defined(ctx)
	default:
		l.logger.Info("The bins of the dataset were cut again, so the baselines of its segment start again.")
		if err := l.subject.Reset(ctx, baseline.PartDefinition); err != nil {
			return view, current, err
		}
	}
	if bins.Learned, err = l.daysStillInTable(ctx, parent.Learned); err != nil {
		return view, baseline.Definition{}, err
	}
	if _, err := l.subject.CreateDefinition(ctx, bins); err != nil {
		return view, baseline.Definition{}, err
	}
	return l.defined(ctx)
}

// daysStillInTable returns the days that the dataset has learned if the table still has rows of them. A segment then learns the
// same days.
func (l *learner) daysStillInTable(ctx context.Context, days []baseline.Day) ([]baseline.Day, error) {
	if len(days) == 0 || l.relation.Time == "" {
		return nil, nil
	}
	first, err := days[0].Start()
	if err != nil {
		return nil, err
	}
	last, err := days[len(days)-1].Start()
	if err != nil {
		return nil, err
	}
	rows, err := l.source.Rows(ctx, l.relation, tables.Window{From: first, To: last.AddDate(0, 0, 1)})
	if err != nil || rows == 0 {
		return nil, err
	}
	return days, nil
}

// defined reads the stored definition.
func (l *learner) defined(ctx context.Context) (*baseline.View, baseline.Definition, error) {
	view, err := l.subject.View(ctx)
	if err != nil {
		return nil, baseline.Definition{}, err
	}
	d, err := view.Definition(ctx)
	return view, d, err
}

// differing returns the columns whose bins differ between two definitions.
func differing(a, b baseline.Definition) []string {
	var columns []string
	for name, l := range a.Fields {
		if !reflect.DeepEqual(l, b.Fields[name]) {
			columns = append(columns, name)
		}
	}
	for name := range b.Fields {
		if _, ok := a.Fields[name]; !ok {
			columns = append(columns, name)
		}
	}
	slices.Sort(columns)
	return columns
}

// followed bounds the columns that a segment accepts because its dataset did. If more columns differ, the dataset's bins were
// reset.
const followed = 10
