package dataquality

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/drift"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// Report is one profile of a dataset beside its baselines, for people to read.
type Report struct {
	Dataset string
	At      time.Time
	// Window is empty where the whole table was profiled.
	Window               string
	Rows, Future, Unread int64
	Latest               time.Time
	Unreadable           []string
	Baselines            []string
	Changes              []ReportChange
	Keys                 []ReportKey
	Checks               []ReportCheck
	Columns              []ReportColumn
}

// ReportChange is a column that differs from the expected schema.
type ReportChange struct{ Column, Kind, Expected, Actual string }

// ReportKey is how unique a key is.
type ReportKey struct {
	Name         string
	Duplicates   int64
	Share, Limit float64
	Sampled      bool
	Bad          bool
}

// ReportCheck is how many rows break a check.
type ReportCheck struct {
	Name, Severity string
	Broken         int64
	Share, Limit   float64
	Bad            bool
	Failure        string
}

// ReportColumn is one column.
type ReportColumn struct {
	Name, Type string
	Nulls      int64
	NullShare  float64
	ManyNulls  bool
	// Without says why the column has no bins.
	Without string
	Drifts  []ReportDrift
	Bins    []ReportBin
	// Largest is the largest share of a bin, here or in a baseline.
	Largest float64
}

// ReportDrift is the distance from a baseline.
type ReportDrift struct {
	Baseline string
	PSI      float64
	Drifted  bool
}

// ReportBin is the share of a bin in the window and in the baselines, in their order; a share below 0 is none.
type ReportBin struct {
	Name      string
	Count     int64
	Share     float64
	Baselines []float64
}

// Report profiles a dataset once and compares it with what is stored. It stores nothing.
func (b *Baselines) Report(ctx context.Context, cfg DatasetConfig) (Report, error) {
	columns := limit.New("columns", 2*cfg.Columns.Max, limit.NewDropped())
	d := b.rooms.dataset(cfg, columns, b.now)
	if err := b.rooms.resolve(d); err != nil {
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
		// Why a column has no bins is not stored, and found again.
		cut, err := d.source.Cut(ctx, d.relation, c.schema, c.window, cfg.Columns.choice(), nil)
		if err != nil {
			return Report{}, err
		}
		if left = cut.Left; len(layouts) == 0 {
			layouts = cut.Layouts
		}
	}
	if c.profile, err = d.source.Count(ctx, d.relation, c.schema, c.window, d.fields(c.schema, layouts), c.now); err != nil {
		return Report{}, err
	}
	if err := errors.Join(d.lookOutside(ctx, c, c.now.Add(time.Duration(cfg.ClockSkew))), d.countDuplicates(ctx, c)); err != nil {
		return Report{}, err
	}
	if err := d.runChecks(ctx, c); err != nil && c.checked == nil {
		return Report{}, err
	}
	for _, s := range []compareWith{
		{name: baseline.EdgesTraining, shares: sharesOf(stored.Training)},
		{name: baseline.EdgesProduction, shares: sharesOf(stored.Production.Counts), learning: !stored.Production.Frozen()},
	} {
		if len(s.shares) > 0 {
			c.baselines = append(c.baselines, s)
		}
	}
	return d.report(c, layouts, left), nil
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
		share := float64(k.Broken) / rows
		line := ReportCheck{Name: check.Name, Severity: check.Severity, Broken: k.Broken, Share: share, Limit: check.MaxRatio, Bad: share > check.MaxRatio}
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
	for _, b := range c.baselines {
		if x, ok := drift.CompareShares(values, b.shares[column.Name].bins, b.shares[column.Name].values); ok {
			rc.Drifts = append(rc.Drifts, ReportDrift{b.name, x.PSI, x.Exceeds(drift.Limits{
				PSI: d.threshold(signalDrift, column.Name), Z: d.defaults[signalSignificance], Values: d.defaults[signalMinRows], Noise: d.defaults[signalDriftNoise],
			})})
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

// grouped writes a whole number with thin spaces between its thousands.
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

//go:embed report.html
var reportPage string

// WriteHTML writes the report as one page that needs nothing else.
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
		"count": grouped,
		"words": func(s string) string { return strings.ReplaceAll(s, "_", " ") },
		"time":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	}).Parse(reportPage)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return page.Execute(w, r)
}
