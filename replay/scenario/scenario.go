// Package scenario reads the scenarios of replays.
//
// Input: a YAML file with datasets, models, GPUs and costs, which are simulated or read from files of events, and with incidents. Output: a
// validated Scenario. An unknown key, a wrong unit or an unknown name is an error with file and line. State: none. It never reads a file of
// events; package replay/world does.
package scenario

import (
	"strconv"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/dataquality"
	"github.com/sightglass-ml/sightglass/internal/config"
)

// Scenario is one replay.
type Scenario struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description,omitempty"`
	// Start is the first instant, Length the duration of the replay.
	Start  Moment          `yaml:"start"`
	Length config.Duration `yaml:"length"`
	// Warmup is the period at the start in which no alert counts, because baselines are learned.
	Warmup config.Duration `yaml:"warmup"`
	Seed   uint64          `yaml:"seed"`
	// Exporters overrides settings of the exporters. All other settings have the product's defaults.
	Exporters   Exporters   `yaml:"exporters"`
	Environment Environment `yaml:"environment"`

	Holidays  []Date    `yaml:"holidays,omitempty"`
	Datasets  []Dataset `yaml:"datasets,omitempty"`
	Models    []Model   `yaml:"models,omitempty"`
	Nodes     []Node    `yaml:"nodes,omitempty"`
	Costs     *Costs    `yaml:"costs,omitempty"`
	Incidents []Event   `yaml:"incidents,omitempty"`
	Exclude   []Exclude `yaml:"exclude,omitempty"`
	Bars      []Bar     `yaml:"bars,omitempty"`
	// BarsFrom is a file with the bars of several scenarios; see Bars.
	BarsFrom config.Path `yaml:"bars_from,omitempty"`
}

// Exporters are the overridden settings of the exporters.
type Exporters struct {
	// Datasets are the defaults of the data-quality exporter: window, interval, timeout, clock_skew.
	Datasets dataquality.Defaults `yaml:"datasets"`
}

// Environment has faults of the monitoring itself.
type Environment struct {
	// MissingScrapes is the share of scrapes that Prometheus does not make.
	MissingScrapes float64 `yaml:"missing_scrapes"`
	// Restarts is the mean time between two restarts of each exporter; 0s for none.
	Restarts config.Duration `yaml:"restarts"`
	// ClockSkew is how far the exporters' clocks are ahead of the data's.
	ClockSkew config.Duration `yaml:"clock_skew"`
}

// SetDefaults implements config.Defaulter. By default some scrapes are missing, and exporters restart sometimes.
func (e *Environment) SetDefaults() {
	e.MissingScrapes, e.Restarts = 0.001, config.Duration(14*24*time.Hour)
}

// Validate implements config.Validator.
func (e *Environment) Validate(at config.At) {
	if !(e.MissingScrapes >= 0 && e.MissingScrapes < 1) {
		at.Errorf("missing_scrapes", "%v; want a share from 0, below 1", e.MissingScrapes)
	}
	if e.Restarts != 0 && e.Restarts < config.Duration(time.Hour) {
		at.Errorf("restarts", "%v; want 1h or more, or 0s for none", e.Restarts)
	}
	if e.ClockSkew < config.Duration(-time.Hour) || e.ClockSkew > config.Duration(time.Hour) {
		at.Errorf("clock_skew", "%v; want at most 1h", e.ClockSkew)
	}
}

// Dataset is a table that the data-quality exporter profiles.
type Dataset struct {
	config.Pos `yaml:"-"`

	Name string `yaml:"name"`
	// Data is a file to replay instead of rows_per_hour and columns.
	Data *Data `yaml:"data,omitempty"`
	// RowsPerHour is the mean of a normal day.
	RowsPerHour float64  `yaml:"rows_per_hour"`
	Traffic     Traffic  `yaml:"traffic"`
	Load        Load     `yaml:"load"`
	Columns     []Column `yaml:"columns,omitempty"`
	// History is the period before the start for which the table has rows.
	History config.Duration `yaml:"history"`
	// FirstDay gives the exporter a baseline of days before the start; see the exporter's baselines.production.first_day.
	FirstDay Date `yaml:"first_day,omitempty"`
	// Freshness and Window override the exporter's thresholds.freshness and window.
	Freshness *config.Duration `yaml:"freshness,omitempty"`
	Window    *config.Duration `yaml:"window,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (d *Dataset) SetDefaults() {
	d.RowsPerHour, d.History = 5000, config.Duration(35*24*time.Hour)
}

// Validate implements config.Validator.
func (d *Dataset) Validate(at config.At) {
	named(at, d.Name, "dataset")
	if d.Data == nil && len(d.Columns) == 0 {
		at.Errorf("columns", "none; want one or more, or data")
	}
	if d.Data != nil {
		for _, key := range []string{"columns", "rows_per_hour", "traffic", "history"} {
			withData(at, key, "the rows are those of the file")
		}
	}
	if !(d.RowsPerHour > 0 && d.RowsPerHour <= 1e6) {
		at.Errorf("rows_per_hour", "%v; want a number above 0, at most 1000000", d.RowsPerHour)
	}
	if d.History < 0 || d.History > config.Duration(400*24*time.Hour) {
		at.Errorf("history", "%v; want a duration up to 400d", d.History)
	}
	if w := d.Window; w != nil && (*w <= 0 || *w%config.Duration(time.Minute) != 0) {
		at.Errorf("window", "%v; want whole minutes above 0", *w)
	}
	if f := d.Freshness; f != nil && *f <= 0 {
		at.Errorf("freshness", "%v; want a duration above 0", *f)
	}
	unique(at, d.Columns)
}

// withData reports a key that has no effect together with data.
func withData(at config.At, key, because string) {
	if at.Has(key) {
		at.Errorf(key, "not together with data: %s", because)
	}
}

func unique(at config.At, columns []Column) {
	seen := make(map[string]bool)
	for i, c := range columns {
		if seen[c.Name] || c.Name == TimeColumn {
			at.Errorf("columns["+strconv.Itoa(i)+"].name", "%q is already used; want different names", c.Name)
		}
		seen[c.Name] = true
	}
}

// TimeColumn is the timestamp column of every simulated table.
const TimeColumn = "event_time"

func named(at config.At, name, what string) {
	if name == "" {
		at.Errorf("name", "missing; want the name of the %s", what)
	}
}

// Load defines how rows arrive in the table.
type Load struct {
	// Every is the time between two loads; 0s for a stream.
	Every config.Duration `yaml:"every"`
	// Lateness is the time from a row's event to its arrival.
	Lateness config.Duration `yaml:"lateness"`
}

// Validate implements config.Validator.
func (l *Load) Validate(at config.At) {
	for _, k := range []struct {
		key string
		d   config.Duration
	}{{"every", l.Every}, {"lateness", l.Lateness}} {
		if k.d < 0 || k.d > config.Duration(48*time.Hour) || k.d%config.Duration(time.Minute) != 0 {
			at.Errorf(k.key, "%v; want whole minutes, at most 2d", k.d)
		}
	}
}

// Traffic is the rate of events over time.
type Traffic struct {
	// Daily is the amplitude of a day, 0 to 1: at 0.8 the busiest hour has nine times the events of the quietest one.
	Daily float64 `yaml:"daily"`
	// Peak is the busiest hour.
	Peak float64 `yaml:"peak"`
	// Weekend is the factor for Saturdays and Sundays, Holiday that for holidays.
	Weekend float64 `yaml:"weekend"`
	Holiday float64 `yaml:"holiday"`
	// Growth is the growth in a month of thirty days, as a share.
	Growth float64 `yaml:"growth_per_month"`
	// HourlyNoise and DailyNoise are the standard deviations of the logarithm of an hour's and a day's factor. Counts thus vary more than a
	// Poisson variable, and are skewed.
	HourlyNoise float64 `yaml:"hourly_noise"`
	DailyNoise  float64 `yaml:"daily_noise"`
	// Zone is the time zone of days and weeks.
	Zone string `yaml:"time_zone"`

	location *time.Location
}

// SetDefaults implements config.Defaulter.
func (t *Traffic) SetDefaults() {
	*t = Traffic{Daily: 0.7, Peak: 15, Weekend: 0.7, Holiday: 0.5, HourlyNoise: 0.05, DailyNoise: 0.04, Zone: "UTC", location: time.UTC}
}

// Validate implements config.Validator.
func (t *Traffic) Validate(at config.At) {
	if !(t.Daily >= 0 && t.Daily < 1) {
		at.Errorf("daily", "%v; want a number from 0, below 1", t.Daily)
	}
	for key, v := range map[string]float64{"weekend": t.Weekend, "holiday": t.Holiday} {
		if !(v > 0 && v <= 10) {
			at.Errorf(key, "%v; want a factor above 0, at most 10", v)
		}
	}
	for key, v := range map[string]float64{"hourly_noise": t.HourlyNoise, "daily_noise": t.DailyNoise} {
		if !(v >= 0 && v <= 1) {
			at.Errorf(key, "%v; want a standard deviation from 0 to 1", v)
		}
	}
	if !(t.Growth > -0.5 && t.Growth <= 1) {
		at.Errorf("growth_per_month", "%v; want a share above -0.5, at most 1", t.Growth)
	}
	if !(t.Peak >= 0 && t.Peak < 24) {
		at.Errorf("peak", "%v; want an hour from 0, below 24", t.Peak)
	}
	var err error
	if t.location, err = time.LoadLocation(t.Zone); err != nil {
		at.Errorf("time_zone", "%q; want a name such as America/Toronto", t.Zone)
		t.location = time.UTC
	}
}

// Location returns the time zone.
func (t *Traffic) Location() *time.Location { return t.location }

// SetDefaults implements config.Defaulter.
func (s *Scenario) SetDefaults() { s.Seed = 1 }

// From returns the start of the replay.
func (s *Scenario) From() time.Time { return s.Start.time }

// To returns the end of the replay.
func (s *Scenario) To() time.Time { return s.Start.time.Add(time.Duration(s.Length)) }

// LoadFile reads and validates a scenario.
func LoadFile(path string) (*Scenario, error) {
	s, err := config.Load[Scenario](path)
	if err != nil {
		return nil, err
	}
	return &s, s.readBars()
}

func share(at config.At, key string, v float64) {
	if !(v >= 0 && v <= 1) {
		at.Errorf(key, "%v; want a share from 0 to 1", v)
	}
}

// Parse reads and validates a scenario in memory. Messages use name as the file name.
func Parse(name string, text []byte) (*Scenario, error) {
	var s Scenario
	if err := config.Decode(name, text, &s); err != nil {
		return nil, err
	}
	return &s, nil
}
