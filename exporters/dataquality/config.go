package dataquality

import (
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/owner"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// Config is the configuration file of the exporter.
type Config struct {
	config.Doc `yaml:"-"`

	// Sources are the databases, by name.
	Sources map[string]tables.Config `yaml:"sources"`
	// BaselineStore is where baselines are stored: a folder, or an object store that all replicas share. The default is the
	// folder "baselines" in $STATE_DIRECTORY or, without it, beside the configuration file.
	BaselineStore baseline.Config `yaml:"baseline_store"`
	// MaxConcurrentProfiles bounds the number of concurrent profiles.
	MaxConcurrentProfiles int `yaml:"max_concurrent_profiles"`
	// Defaults apply to datasets that do not set a value themselves.
	Defaults Defaults `yaml:"defaults"`
	// Datasets are the tables to watch.
	Datasets []DatasetConfig `yaml:"datasets"`
}

// SetDefaults implements config.Defaulter.
func (c *Config) SetDefaults() { c.MaxConcurrentProfiles = 2 }

// Defaults are the settings that most datasets share.
type Defaults struct {
	Window    config.Duration `yaml:"window"`
	Interval  config.Duration `yaml:"interval"`
	Timeout   config.Duration `yaml:"timeout"`
	ClockSkew config.Duration `yaml:"clock_skew"`
	// TimeZone is the time zone of the datasets' hours, days and weekends, such as America/Toronto.
	TimeZone config.TimeZone `yaml:"time_zone"`
}

// SetDefaults implements config.Defaulter.
func (d *Defaults) SetDefaults() {
	d.Window = config.Duration(24 * time.Hour)
	d.Interval = config.Duration(5 * time.Minute)
	d.Timeout = config.Duration(2 * time.Minute)
	d.ClockSkew = config.Duration(time.Minute)
}

// TableConfig names a table and its timestamp column.
type TableConfig struct {
	tables.Location `yaml:",inline"`
	// TimestampColumn holds the time of each record.
	TimestampColumn string `yaml:"timestamp_column,omitempty"`
}

// relation returns the SQL of the table for its source.
func (t *TableConfig) relation(s *tables.Source) (tables.Relation, error) {
	return t.Relation(s, t.TimestampColumn)
}

// DatasetConfig is one table to watch.
type DatasetConfig struct {
	config.Pos `yaml:"-"`

	Name        string `yaml:"name"`
	TableConfig `yaml:",inline"`
	// Owned is the owner of the dataset, and free labels for its alerts.
	owner.Owned `yaml:",inline"`

	// Window is the period of rows that a profile counts; 0s counts the whole table. Without a timestamp column it is always
	// the whole table.
	Window config.Duration `yaml:"window,omitempty"`
	// Interval is the time between two profiles. Timeout is the maximum duration of one.
	Interval config.Duration `yaml:"interval,omitempty"`
	Timeout  config.Duration `yaml:"timeout,omitempty"`
	// ClockSkew is how far in the future the time of a record may be for the record to count.
	ClockSkew config.Duration `yaml:"clock_skew,omitempty"`
	// TimeZone is the time zone of the dataset's hours, days and weekends.
	TimeZone config.TimeZone `yaml:"time_zone,omitempty"`
	// Due is the time of day, such as 07:00, by which the data of the previous day has to be in the table.
	Due string `yaml:"due,omitempty"`
	// SnapshotQuery returns the version of the data, such as a lakeFS commit or an Iceberg snapshot. Alerts name it.
	SnapshotQuery string `yaml:"snapshot_query,omitempty"`

	// Keys are lists of columns. No two rows should have the same values in all columns of a list.
	Keys [][]string `yaml:"keys,omitempty"`
	// KeysExactRows is the number of rows up to which duplicates are counted exactly. Above it, one key in sixteen is
	// counted.
	KeysExactRows int64 `yaml:"keys_exact_rows,omitempty"`
	// Checks are conditions that every row should fulfil.
	Checks []CheckConfig `yaml:"checks,omitempty"`

	// Segments are subsets of the dataset that are watched as datasets of their own.
	Segments []SegmentConfig `yaml:"segments,omitempty"`

	// Causes bounds the search for the rows that explain a change.
	Causes CausesConfig `yaml:"causes"`

	Columns     ColumnsConfig      `yaml:"columns"`
	Schema      []ColumnConfig     `yaml:"schema,omitempty"`
	Upstream    []UpstreamConfig   `yaml:"upstream,omitempty"`
	Comparisons []ComparisonConfig `yaml:"comparisons,omitempty"`
	Thresholds  ThresholdsConfig   `yaml:"thresholds,omitempty"`
	Baselines   BaselinesConfig    `yaml:"baselines"`

	hasWindow bool
	// segment is the subset of the table that this dataset consists of; nil for the whole table.
	segment *segment
}

// ColumnConfig is a column of the expected schema.
type ColumnConfig struct {
	Name string `yaml:"name"`
	// Type is the type name of the database; empty accepts any type.
	Type string `yaml:"type,omitempty"`
}

// ColumnsConfig selects the columns whose values are counted in bins. By default these are all columns except those that seem
// to be identifiers or free text.
type ColumnsConfig struct {
	Include []string `yaml:"include,omitempty"`
	Exclude []string `yaml:"exclude,omitempty"`
	// Accept names columns that may be added, be removed or change their type. Their new state becomes the expected one.
	Accept []string `yaml:"accept,omitempty"`
	// Reveal names columns whose categories are always published in clear text.
	Reveal []string `yaml:"reveal,omitempty"`
	// Bins is the number of intervals of a numeric column.
	Bins int `yaml:"bins,omitempty"`
	// Top is the number of categories that have a bin of their own.
	Top int `yaml:"top,omitempty"`
	// Max bounds the number of columns with bins, and of columns with counted nulls.
	Max int `yaml:"max,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (c *ColumnsConfig) SetDefaults() { c.Bins, c.Top, c.Max = 10, 20, 200 }

// Validate implements config.Validator.
func (c *ColumnsConfig) Validate(at config.At) {
	if c.Bins < 2 || c.Bins > binning.MaxEdges/2 {
		at.Errorf("bins", "%d; want 2 to %d", c.Bins, binning.MaxEdges/2)
	}
	if c.Top < 1 || c.Top > binning.MaxCategories {
		at.Errorf("top", "%d; want 1 to %d", c.Top, binning.MaxCategories)
	}
	if c.Max < 1 || c.Max > 10_000 {
		at.Errorf("max", "%d; want 1 to 10000", c.Max)
	}
	for key, patterns := range map[string][]string{"include": c.Include, "exclude": c.Exclude, "accept": c.Accept, "reveal": c.Reveal} {
		for _, p := range patterns {
			if _, err := path.Match(p, ""); err != nil {
				at.Errorf(key, "%q is not a pattern: %v", p, err)
			}
		}
	}
}

func (c ColumnsConfig) choice() tables.Choice {
	return tables.Choice{Include: c.Include, Exclude: c.Exclude, Bins: c.Bins, Top: c.Top, MaxColumns: c.Max}
}

// UpstreamConfig is an upstream: all of its rows should arrive in the dataset. It is another dataset of the configuration, or
// a table that is named here.
type UpstreamConfig struct {
	Dataset     string `yaml:"dataset,omitempty"`
	Name        string `yaml:"name,omitempty"`
	TableConfig `yaml:",inline"`
}

// Validate implements config.Validator.
func (u *UpstreamConfig) Validate(at config.At) {
	if u.Dataset != "" {
		if u.Name != "" || !reflect.ValueOf(u.TableConfig).IsZero() {
			at.Errorf("dataset", "%q is a dataset of this configuration and brings its own table; want nothing beside it", u.Dataset)
		}
		return
	}
	if u.Name == "" {
		at.Errorf("name", "missing; want a name for the upstream, or dataset")
	}
	u.TableConfig.Validate(at)
}

// ComparisonConfig compares the dataset with another store of the same data, such as the online store of a feature store, at
// the same points in time.
type ComparisonConfig struct {
	// Against names the other store.
	Against string `yaml:"against"`
	// Source runs the query; the dataset's own source by default.
	Source string `yaml:"source,omitempty"`
	// Query returns one row with the columns compared_rows and mismatched_rows. Its placeholders :window_start and
	// :window_end are the bounds of the dataset's window.
	Query string `yaml:"query"`
}

// Validate implements config.Validator.
func (c *ComparisonConfig) Validate(at config.At) {
	if c.Against == "" {
		at.Errorf("against", "missing; want the name of what the dataset is compared with")
	}
	if c.Query == "" {
		at.Errorf("query", "missing; want a SELECT of compared_rows and mismatched_rows")
	}
}

// ThresholdsConfig overrides the defaults of rules/thresholds.yaml.
type ThresholdsConfig struct {
	ColumnThresholds `yaml:",inline"`
	RowDropRatio     *float64         `yaml:"row_drop_ratio,omitempty"`
	MismatchRatio    *float64         `yaml:"mismatch_ratio,omitempty"`
	Freshness        *config.Duration `yaml:"freshness,omitempty"`
	VolumeDeviation  *float64         `yaml:"volume_deviation_ratio,omitempty"`
	DuplicateRatio   *float64         `yaml:"duplicate_ratio,omitempty"`
	FutureRatio      *float64         `yaml:"future_ratio,omitempty"`
	// Columns overrides the dataset's thresholds for one column, or for all columns that match a pattern such as *_note.
	Columns map[string]ColumnThresholds `yaml:"columns,omitempty"`
}

// ColumnThresholds are the thresholds that can be set for a single column.
type ColumnThresholds struct {
	NullRatio   *float64 `yaml:"null_ratio,omitempty"`
	DriftPSI    *float64 `yaml:"drift_psi,omitempty"`
	UnseenRatio *float64 `yaml:"unseen_ratio,omitempty"`
	// OutOfRangeRatio is a share of values outside the range of the baseline. MeanShift is in standard deviations of the
	// baseline.
	OutOfRangeRatio *float64 `yaml:"out_of_range_ratio,omitempty"`
	MeanShift       *float64 `yaml:"mean_shift_deviations,omitempty"`
}

// Validate implements config.Validator.
func (t *ColumnThresholds) Validate(at config.At) {
	ratio(at, "null_ratio", t.NullRatio)
	ratio(at, "unseen_ratio", t.UnseenRatio)
	ratio(at, "out_of_range_ratio", t.OutOfRangeRatio)
	if t.MeanShift != nil && *t.MeanShift <= 0 {
		at.Errorf("mean_shift_deviations", "%v; want a number above 0", *t.MeanShift)
	}
	if t.DriftPSI != nil && *t.DriftPSI <= 0 {
		at.Errorf("drift_psi", "%v; want a number above 0", *t.DriftPSI)
	}
}

// Validate implements config.Validator.
func (t *ThresholdsConfig) Validate(at config.At) {
	t.ColumnThresholds.Validate(at)
	for _, pattern := range slices.Sorted(maps.Keys(t.Columns)) {
		if _, err := path.Match(pattern, ""); err != nil {
			at.Errorf("columns", "%q is not a pattern: %v", pattern, err)
		}
	}
	ratio(at, "row_drop_ratio", t.RowDropRatio)
	ratio(at, "mismatch_ratio", t.MismatchRatio)
	ratio(at, "duplicate_ratio", t.DuplicateRatio)
	ratio(at, "future_ratio", t.FutureRatio)
	if t.VolumeDeviation != nil && *t.VolumeDeviation <= 0 {
		at.Errorf("volume_deviation_ratio", "%v; want a number above 0", *t.VolumeDeviation)
	}
	if t.Freshness != nil && *t.Freshness <= 0 {
		at.Errorf("freshness", "%v; want a duration above 0", *t.Freshness)
	}
}

func ratio(at config.At, key string, v *float64) {
	if v != nil && (*v < 0 || *v > 1) {
		at.Errorf(key, "%v; want a ratio from 0 to 1", *v)
	}
}

// BaselinesConfig selects the baselines of a dataset.
type BaselinesConfig struct {
	// Training is the data of the training run of the model.
	Training *TrainingConfig `yaml:"training,omitempty"`
	// Production is learned from the first days in production.
	Production ProductionConfig `yaml:"production"`
}

// TrainingConfig names the table of the training data.
type TrainingConfig struct {
	// The default source is the source of the dataset.
	TableConfig `yaml:",inline"`
}

// ProductionConfig sets how the production baseline is learned.
type ProductionConfig struct {
	// Days is the number of days to learn from; 0 disables the baseline.
	Days int `yaml:"days"`
	// FirstDay, such as 2026-01-05, is the first day to learn; the table must have it. The default is the day on which the
	// exporter first saw the dataset.
	FirstDay baseline.Day `yaml:"first_day,omitempty"`
	// Lateness is the time after the end of a day until its records are complete.
	Lateness config.Duration `yaml:"lateness"`
}

// SetDefaults implements config.Defaulter.
func (p *ProductionConfig) SetDefaults() {
	p.Days, p.Lateness = 30, config.Duration(time.Hour)
}

// Validate implements config.Validator.
func (p *ProductionConfig) Validate(at config.At) {
	if p.Days < 0 || p.Days > 366 {
		at.Errorf("days", "%d; want 1 to 366, or 0 for no production baseline", p.Days)
	}
	if p.FirstDay != "" {
		if _, err := p.FirstDay.Start(); err != nil {
			at.Errorf("first_day", "%q; want a day such as 2026-01-05", string(p.FirstDay))
		}
	}
	if p.Lateness < 0 {
		at.Errorf("lateness", "%v; want a duration from 0s", p.Lateness)
	}
}

// Validate implements config.Validator.
func (d *DatasetConfig) Validate(at config.At) {
	if d.Name == "" {
		at.Errorf("name", "missing; want the name of the dataset, the value of its label dataset")
	}
	d.TableConfig.Validate(at)
	d.Owned.Validate(at)
	d.hasWindow = at.Has("window")
	for key, v := range map[string]config.Duration{"interval": d.Interval, "timeout": d.Timeout} {
		if at.Has(key) && v <= 0 {
			at.Errorf(key, "%v; want a duration above 0", v)
		}
	}
	if d.TimestampColumn == "" {
		for key, has := range map[string]bool{
			"window":               d.hasWindow,
			"thresholds.freshness": d.Thresholds.Freshness != nil,
		} {
			if has {
				at.Errorf(key, "without timestamp_column there is no time to measure by; want both or neither")
			}
		}
	}
	d.validateDue(at)
	d.validateChecks(at)
	d.validateSegments(at)
	seen := make(map[string]bool)
	for _, c := range d.Schema {
		if c.Name == "" || seen[c.Name] {
			at.Errorf("schema", "column %q; want a name, and each once", c.Name)
		}
		seen[c.Name] = true
	}
}

// Validate implements config.Validator. It checks the references between sources and datasets, and fills in the defaults.
func (c *Config) Validate(at config.At) {
	if c.Defaults.TimeZone == "" {
		c.Defaults.TimeZone = at.TimeZone("defaults.time_zone", "")
	}
	if c.MaxConcurrentProfiles < 1 {
		at.Errorf("max_concurrent_profiles", "%d; want 1 or more", c.MaxConcurrentProfiles)
	}
	if c.Defaults.Interval <= 0 || c.Defaults.Timeout <= 0 {
		at.Errorf("defaults", "interval and timeout; want durations above 0")
	}
	if c.BaselineStore.Type == "" {
		c.BaselineStore = baseline.Folder(at.State("baseline_store", "baselines"))
	}
	if len(c.Datasets) == 0 {
		at.Errorf("datasets", "none; want one or more")
	}
	names := make(map[string]int)
	for i := range c.Datasets {
		d := &c.Datasets[i]
		if first, twice := names[d.Name]; twice {
			at.Errorf(field("datasets", i, "name"), "%q is also the name of datasets[%d]; want different names", d.Name, first)
		}
		names[d.Name] = i
		fill(&d.Interval, c.Defaults.Interval)
		fill(&d.Timeout, c.Defaults.Timeout)
		fill(&d.ClockSkew, c.Defaults.ClockSkew)
		fill(&d.TimeZone, c.Defaults.TimeZone)
		if !d.hasWindow && d.TimestampColumn != "" {
			d.Window = c.Defaults.Window
		}
	}
	for i := range c.Datasets {
		d := &c.Datasets[i]
		for _, s := range d.Segments {
			for _, name := range slices.Sorted(maps.Keys(names)) {
				if prefix := d.Name + "/" + s.Column + "="; strings.HasPrefix(name, prefix) {
					at.Errorf(field("datasets", i, "segments"), "their names begin with %q, as the name of datasets[%d] does; want another name", prefix, names[name])
				}
			}
		}
		d.CheckSource(at, field("datasets", i, "source"), c.Sources)
		if t := d.Baselines.Training; t != nil {
			fill(&t.Source, d.Source)
			if reflect.ValueOf(t.Reading).IsZero() {
				t.Reading = d.Reading
			}
			t.CheckSource(at, field("datasets", i, "baselines.training.source"), c.Sources)
		}
		for j := range d.Comparisons {
			fill(&d.Comparisons[j].Source, d.Source)
			(&tables.Location{Source: d.Comparisons[j].Source}).CheckSource(at, field("datasets", i, field("comparisons", j, "source")), c.Sources)
		}
		c.resolveReferences(at, i, names)
		for j := range d.Upstream {
			u := &d.Upstream[j]
			if u.Dataset == "" {
				fill(&u.Source, d.Source)
				u.CheckSource(at, field("datasets", i, field("upstream", j, "source")), c.Sources)
				continue
			}
			k, ok := names[u.Dataset]
			if !ok || k == i {
				others := slices.DeleteFunc(slices.Sorted(maps.Keys(names)), func(n string) bool { return n == d.Name })
				at.Errorf(field("datasets", i, field("upstream", j, "dataset")), "unknown dataset %q; want another one of %q", u.Dataset, others)
				continue
			}
			u.Name, u.TableConfig = u.Dataset, c.Datasets[k].TableConfig
		}
	}
}

// fill sets v to the default if the file sets no value.
func fill[T comparable](v *T, value T) {
	if *v == *new(T) {
		*v = value
	}
}

func field(list string, i int, key string) string {
	return list + "[" + strconv.Itoa(i) + "]." + key
}
