package dataquality

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/drift"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// Report is one profile of a dataset with its baselines, for people to read.
type Report struct {
	Dataset string
	At      time.Time
	// Window is empty if the whole table was profiled.
	Window               string
	Rows, Future, Unread int64
	Latest               time.Time
	Unreadable           []string
	Baselines            []string
	Changes              []ReportChange
	Keys                 []ReportKey
	Checks               []ReportCheck
	Columns              []ReportColumn
	Segments             []ReportSegment
	Causes               []ReportCause
}

// ReportCause is a signal beyond its limit with a probable cause. Cause is empty if no single segment explains the change.
type ReportCause struct {
	Column, Signal, Cause string
	Explained, Rows       float64
	// Since is when rows began to be affected; zero if they were affected from the start of the window.
	Since   time.Time
	Gradual bool
	// Statement lists the affected rows. Compared names the comparison.
	Statement, Compared string
	Failure             string
}

// Plain returns the columns without bins.
func (r Report) Plain() []ReportColumn {
	return slices.DeleteFunc(slices.Clone(r.Columns), func(c ReportColumn) bool { return c.Without == "" })
}

// ReportSegment lists what is wrong with a segment, if anything is.
type ReportSegment struct {
	Name  string
	Rows  int64
	Share float64
	// Nulls are columns with too many nulls, Drifted those that drifted from a baseline, and Broken the failed keys and
	// checks.
	Nulls, Drifted, Broken []string
	Baselines              []string
}

// ReportChange is a column that differs from the expected schema.
type ReportChange struct{ Column, Kind, Expected, Actual string }

// ReportKey has the duplicates of a key.
type ReportKey struct {
	Name         string
	Duplicates   int64
	Share, Limit float64
	Sampled      bool
	Bad          bool
}

// ReportCheck has the rows that break a check.
type ReportCheck struct {
	Name, Severity string
	Broken         int64
	Share, Limit   float64
	Bad            bool
	Failure        string
}

// ReportColumn is the profile of one column.
type ReportColumn struct {
	Name, Type string
	Nulls      int64
	NullShare  float64
	ManyNulls  bool
	// Numbers are the moments of a numeric column with values. ZeroShare is the share of zeros.
	Numbers   *tables.Moments
	ZeroShare float64
	// Without is the reason why the column has no bins.
	Without string
	Drifts  []ReportDrift
	Bins    []ReportBin
	// Largest is the largest share of a bin, in the window or in a baseline.
	Largest float64
}

// ReportDrift is the drift from a baseline.
type ReportDrift struct {
	Baseline string
	PSI      float64
	Drifted  bool
}

// ReportBin has the share of a bin in the window and in each baseline, in the order of the baselines. A share below 0 means
// no value.
type ReportBin struct {
	Name      string
	Count     int64
	Share     float64
	Baselines []float64
}

// Report profiles a dataset once and compares it with the stored baselines. It stores nothing.
func (b *Baselines) Report(ctx context.Context, cfg DatasetConfig) (Report, error) {
	columns := limit.New("columns", 2*cfg.Columns.Max, limit.NewDropped())
	d := b.connections.dataset(cfg, columns, b.now)
	if err := b.connections.resolve(d); err != nil {
		return Report{}, err
	}
	stored, err := b.Status(ctx, cfg)
	if err != nil {
		return Report{}, err
	}
	c := &cycle{now: b.now()}
	if cfg.TimestampColumn != "" {
		c.window.To = c.now.Add(time.Duration(cfg.ClockSkew))
		if cfg.Window > 0 {
			c.window.From = c.now.Add(-time.Duration(cfg.Window))
		}
	}
	if c.schema, err = d.source.Schema(ctx, d.relation); err != nil {
		return Report{}, err
	}
	expected := stored.Definition.Schema
	if len(cfg.Schema) > 0 {
		expected = nil
		for _, e := range cfg.Schema {
			expected = append(expected, baseline.Column{Name: e.Name, Type: e.Type})
		}
	}
	if len(expected) > 0 && len(c.schema) > 0 {
		if c.schema, err = d.source.Conform(ctx, d.relation, c.schema, typesOf(expected)); err != nil {
			return Report{}, err
		}
		c.changes = changes(expected, c.schema)
	}
	layouts, left := stored.Definition.Fields, map[string]string{}
	if len(c.schema) > 0 {
		// The reasons why columns have no bins are not stored.
		cut, err := d.source.Cut(ctx, d.relation, c.schema, c.window, cfg.Columns.choice(), nil)
		if err != nil {
			return Report{}, err
		}
		if left = cut.Left; len(layouts) == 0 {
			layouts = cut.Layouts
		}
	}
	for name := range stored.Definition.Learning {
		left[name] = stored.Definition.Left[name]
	}
	if len(layouts) > 0 {
		if c.segments, err = cfg.segments(baseline.Definition{Fields: layouts, Left: left}, c.schema); err != nil {
			return Report{}, fmt.Errorf("segments: %w", err)
		}
	}
	c.future = c.now.Add(time.Duration(cfg.ClockSkew))
	if c.profile, err = d.countWindows(ctx, c, d.fields(c.schema, layouts)); err != nil {
		return Report{}, err
	}
	if err := d.countOfSegments(ctx, c); err != nil {
		return Report{}, fmt.Errorf("segments: %w", err)
	}
	if err := errors.Join(d.countOutsideWindow(ctx, c, c.future), d.countDuplicates(ctx, c)); err != nil {
		return Report{}, err
	}
	if err := d.runChecks(ctx, c); err != nil && c.checked == nil {
		return Report{}, err
	}
	c.baselines = stored.baselines()
	r := d.report(c, layouts, left)
	c.definition, c.good = stored.Definition, stored.good
	r.Causes = d.reportCauses(ctx, c)
	for _, way := range c.segments {
		for _, part := range slices.Sorted(maps.Keys(way.parts)) {
			s, err := b.segment(ctx, c, way.parts[part], way.counts[part], layouts)
			if err != nil {
				return Report{}, fmt.Errorf("segment %q: %w", way.parts[part].Name, err)
			}
			r.Segments = append(r.Segments, s)
		}
	}
	return r, nil
}

// reportCauses searches for the causes of all present breaches.
func (d *dataset) reportCauses(ctx context.Context, c *cycle) []ReportCause {
	if c.definition.ID == "" || d.cfg.segment != nil || d.cfg.Causes.PerHour == 0 {
		return nil
	}
	breaches := d.breaches(c)
	found := d.explain(ctx, c, breaches)
	var causes []ReportCause
	for _, b := range breaches {
		e := found[b.incidentKey]
		line := ReportCause{Column: b.column, Signal: b.signal, Compared: e.compared, Statement: e.statement}
		if e.err != nil {
			line.Failure = e.err.Error()
		}
		if len(e.causes) == 0 {
			causes = append(causes, line)
		}
		for _, f := range e.causes {
			line.Cause, line.Explained, line.Rows, line.Since, line.Gradual, line.Statement = f.text, f.explained, f.rows, f.onset.Since, f.onset.Gradual, f.statement
			causes = append(causes, line)
		}
	}
	return causes
}

// baselines returns the stored baselines for comparison.
func (s BaselineStatus) baselines() []compareWith {
	var all []compareWith
	for _, of := range []compareWith{
		{name: baseline.EdgesTraining, shares: sharesOf(s.Training)},
		{name: baseline.EdgesProduction, shares: sharesOf(s.Production.Counts), learning: !s.Production.Frozen()},
	} {
		if len(of.shares) > 0 {
			all = append(all, of)
		}
	}
	return all
}

// segment reports one segment from the counts of its dataset's cycle.
func (b *Baselines) segment(ctx context.Context, of *cycle, cfg DatasetConfig, counts partCounts, layouts map[string]binning.Layout) (ReportSegment, error) {
	d := b.connections.dataset(cfg, limit.New("columns", 2*cfg.Columns.Max, limit.NewDropped()), b.now)
	d.overrides = cfg.Thresholds.overrides(of.schema)
	stored, err := b.Status(ctx, cfg)
	if err != nil {
		return ReportSegment{}, err
	}
	c := &cycle{
		now: of.now, window: of.window, schema: of.schema, profile: counts.Full,
		outside: counts.outside, duplicates: counts.duplicates, checked: counts.checked, baselines: stored.baselines(),
	}
	result := d.report(c, layouts, nil)
	s := ReportSegment{
		Name: strings.TrimPrefix(cfg.Name, cfg.segment.dataset+"/"), Rows: result.Rows,
		Share: float64(result.Rows) / math.Max(float64(of.profile.Rows), 1), Baselines: result.Baselines,
	}
	for _, column := range result.Columns {
		if column.ManyNulls {
			s.Nulls = append(s.Nulls, fmt.Sprintf("%s %.1f %%", column.Name, 100*column.NullShare))
		}
		for _, x := range column.Drifts {
			if x.Drifted {
				s.Drifted = append(s.Drifted, fmt.Sprintf("%s (PSI %.2f from %s)", column.Name, x.PSI, x.Baseline))
			}
		}
	}
	for _, k := range result.Keys {
		if k.Bad {
			s.Broken = append(s.Broken, fmt.Sprintf("unique %s: %d rows", k.Name, k.Duplicates))
		}
	}
	for _, k := range result.Checks {
		if k.Bad && k.Failure == "" {
			s.Broken = append(s.Broken, fmt.Sprintf("%s: %d rows", k.Name, k.Broken))
		}
	}
	return s, nil
}

func (d *dataset) report(c *cycle, layouts map[string]binning.Layout, left map[string]string) Report {
	r := Report{
		Dataset: d.cfg.Name, At: c.now, Rows: c.profile.Rows, Future: c.outside.Future, Unread: c.outside.Untimed,
		Latest: c.profile.Latest, Unreadable: c.profile.Unreadable,
	}
	if !c.window.From.IsZero() {
		r.Window = interval(c.window)
	}
	for _, b := range c.baselines {
		r.Baselines = append(r.Baselines, b.name)
	}
	for _, ch := range c.changes {
		r.Changes = append(r.Changes, ReportChange{ch.column, ch.kind, ch.expected, ch.actual})
	}
	rows := math.Max(float64(r.Rows), 1)
	for i, k := range c.duplicates {
		share, limit := float64(k.Rows)/rows, d.threshold(signalDuplicates, "")
		r.Keys = append(r.Keys, ReportKey{keyName(d.cfg.Keys[i]), k.Rows, share, limit, k.Sample < 1, share > limit})
	}
	for i, k := range c.checked {
		check := d.cfg.Checks[i]
		share := float64(k.BrokenRows) / rows
		line := ReportCheck{Name: check.Name, Severity: check.Severity, Broken: k.BrokenRows, Share: share, Limit: check.MaxRatio, Bad: share > check.MaxRatio}
		if k.Err != nil {
			line.Failure, line.Bad = k.Err.Error(), true
		}
		r.Checks = append(r.Checks, line)
	}
	for _, column := range c.schema {
		r.Columns = append(r.Columns, d.reportColumn(c, column, layouts[column.Name], left[column.Name]))
	}
	return r
}

func (d *dataset) reportColumn(c *cycle, column tables.Column, layout binning.Layout, left string) ReportColumn {
	rows := math.Max(float64(c.profile.Rows), 1)
	nulls, counted := c.profile.Nulls[column.Name]
	share := math.Min(float64(nulls)/rows, 1)
	rc := ReportColumn{Name: column.Name, Type: column.Type, Nulls: nulls, NullShare: share, ManyNulls: share > d.threshold(signalNulls, column.Name)}
	values, ok := c.profile.Values[column.Name]
	if !ok {
		if rc.Without = left; left == "" {
			rc.Without = "came after the bins were cut: reset the definition to give it bins"
		}
		if !counted {
			rc.Without += "; its nulls are not counted"
		}
		return rc
	}
	if m, ok := c.profile.Numbers[column.Name]; ok {
		rc.Numbers, rc.ZeroShare = &m, float64(m.Zeros)/rows
	}
	for _, b := range c.baselines {
		if x, ok := drift.CompareShares(values, b.shares[column.Name].bins, b.shares[column.Name].values); ok {
			rc.Drifts = append(rc.Drifts, ReportDrift{b.name, x.PSI, x.Exceeds(d.driftLimits(column.Name, b.shares[column.Name]))})
		}
	}
	for _, bin := range layout.Bins() {
		line := ReportBin{Name: bin, Count: values[bin], Share: float64(values[bin]) / rows}
		for _, b := range c.baselines {
			shares, ok := b.shares[column.Name]
			if !ok {
				line.Baselines = append(line.Baselines, -1)
				continue
			}
			line.Baselines = append(line.Baselines, shares.bins[bin])
		}
		rc.Largest = max(rc.Largest, line.Share)
		for _, share := range line.Baselines {
			rc.Largest = max(rc.Largest, share)
		}
		rc.Bins = append(rc.Bins, line)
	}
	return rc
}

// grouped formats a whole number with narrow no-break spaces between thousands.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var b strings.Builder
	for i, d := range digits {
		if left := len(digits) - i; i > 0 && left%3 == 0 && digits[i-1] != '-' {
			b.WriteRune('\u202f')
		}
		b.WriteRune(d)
	}
	return b.String()
}

var longNumber = regexp.MustCompile(`-?[0-9]+\.[0-9]{5,}(e[-+][0-9]+)?`)

// shortened formats the name of an interval with four significant digits. It does not change names of categories.
func shortened(bin string) string {
	if bin == "" || !strings.ContainsRune("([", rune(bin[0])) {
		return bin
	}
	return longNumber.ReplaceAllStringFunc(bin, func(number string) string {
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return number
		}
		return strconv.FormatFloat(v, 'g', 4, 64)
	})
}

//go:embed report.html
var reportPage string

// WriteHTML writes the report as one self-contained page.
func (r Report) WriteHTML(w io.Writer) error {
	page, err := template.New("report").Funcs(template.FuncMap{
		"percent": func(v float64) string {
			if v < 0 {
				return "–"
			}
			return fmt.Sprintf("%.2f %%", 100*v)
		},
		"width": func(v, largest float64) string {
			return fmt.Sprintf("%.2f", 100*math.Max(0, math.Min(v/math.Max(largest, 1e-9), 1)))
		},
		"count":  grouped,
		"bin":    shortened,
		"number": func(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) },
		"list":   func(parts []string) string { return strings.Join(parts, ", ") },
		"words":  func(s string) string { return strings.ReplaceAll(s, "_", " ") },
		"date":   func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
		"clock":  func(t time.Time) string { return t.UTC().Format("15:04:05 UTC") },
		"time":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	}).Parse(reportPage)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return page.Execute(w, r)
}
