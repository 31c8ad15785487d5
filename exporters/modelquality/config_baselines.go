package modelquality

import (
	"path"
	"time"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/reveal"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// CausesConfig limits the sample of recent inferences that is searched for probable causes.
type CausesConfig struct {
	// Window is compared with the window before it; 0 disables the search.
	Window config.Duration `yaml:"window"`
	// Memory limits the samples of all versions together.
	Memory config.Bytes `yaml:"memory"`
	// Fields is the number of fields that are searched for a cause.
	Fields int `yaml:"fields"`
}

// SetDefaults implements config.Defaulter.
func (c *CausesConfig) SetDefaults() {
	c.Window, c.Memory, c.Fields = config.Duration(time.Hour), 32<<20, 50
}

// Validate implements config.Validator.
func (c *CausesConfig) Validate(at config.At) {
	if c.Window != 0 && (c.Window < config.Duration(time.Minute) || c.Window > config.Duration(24*time.Hour)) {
		at.Errorf("window", "%v; want 1m to 1d, or 0 for no search", c.Window)
	}
	if c.Memory < 1<<20 || c.Memory > 4<<30 {
		at.Errorf("memory", "%v; want 1MiB to 4GiB", c.Memory)
	}
	if c.Fields < 1 || c.Fields > 250 {
		at.Errorf("fields", "%d; want 1 to 250", c.Fields)
	}
}

// BaselinesConfig configures how bins are cut and how long a baseline learns.
type BaselinesConfig struct {
	// Days is the number of days that the production baseline learns; 0 disables it.
	Days int `yaml:"days"`
	// Sample is the number of inferences from which bins are cut. After SampleWait, fewer are enough.
	Sample     int             `yaml:"sample"`
	SampleWait config.Duration `yaml:"sample_wait"`
	// Interval is the time between two reads of the store for a version that has its bins.
	Interval config.Duration `yaml:"interval"`
	// TimeZone defines hours of the day, weekdays and weekends of the models.
	TimeZone config.TimeZone `yaml:"time_zone,omitempty"`
	Fields   FieldsConfig    `yaml:"fields"`
}

// SetDefaults implements config.Defaulter.
func (b *BaselinesConfig) SetDefaults() {
	b.Days, b.Sample, b.SampleWait, b.Interval = 30, 1000, config.Duration(10*time.Minute), config.Duration(time.Minute)
}

// Validate implements config.Validator.
func (b *BaselinesConfig) Validate(at config.At) {
	if b.TimeZone == "" {
		b.TimeZone = at.TimeZone("time_zone", "")
	}
	if b.Days < 0 || b.Days > 366 {
		at.Errorf("days", "%d; want 1 to 366, or 0 for no production baseline", b.Days)
	}
	if b.Sample < 10 || b.Sample > 10_000 {
		at.Errorf("sample", "%d; want 10 to 10000", b.Sample)
	}
	for key, d := range sorted(map[string]config.Duration{"sample_wait": b.SampleWait, "interval": b.Interval}) {
		if d <= 0 {
			at.Errorf(key, "%v; want a duration above 0", d)
		}
	}
}

// FieldsConfig defines which fields have bins, and how many bins.
type FieldsConfig struct {
	Include []string `yaml:"include,omitempty"`
	Exclude []string `yaml:"exclude,omitempty"`
	// Reveal names fields whose categories are never hidden.
	Reveal []string `yaml:"reveal,omitempty"`
	Bins   int      `yaml:"bins"`
	Top    int      `yaml:"top"`
	// Max limits the fields of a model, MaxTotal those of all versions of all models.
	Max      int `yaml:"max"`
	MaxTotal int `yaml:"max_total"`
}

// revealed returns the fields whose categories are never hidden: those of the configuration, and those whose categories the exporter itself
// defines.
func (f *FieldsConfig) revealed() reveal.Policy {
	return append(reveal.Policy{"text.answer", "text.json", "text.language", "text.script"}, f.Reveal...)
}

// SetDefaults implements config.Defaulter.
func (f *FieldsConfig) SetDefaults() { f.Bins, f.Top, f.Max, f.MaxTotal = 10, 20, 100, 2000 }

// Validate implements config.Validator.
func (f *FieldsConfig) Validate(at config.At) {
	for key, v := range sorted(map[string]struct{ n, least, most int }{
		"bins": {f.Bins, 2, binning.MaxEdges / 2}, "top": {f.Top, 1, binning.MaxCategories}, "max": {f.Max, 1, 250}, "max_total": {f.MaxTotal, 1, 100_000},
	}) {
		if v.n < v.least || v.n > v.most {
			at.Errorf(key, "%d; want %d to %d", v.n, v.least, v.most)
		}
	}
	for key, patterns := range sorted(map[string][]string{"include": f.Include, "exclude": f.Exclude, "reveal": f.Reveal}) {
		for _, p := range patterns {
			if _, err := path.Match(p, ""); err != nil {
				at.Errorf(key, "%q is not a pattern: %v", p, err)
			}
		}
	}
}

func (f FieldsConfig) choice() tables.Choice {
	return tables.Choice{Include: f.Include, Exclude: f.Exclude, Bins: f.Bins, Top: f.Top, MaxColumns: f.Max}
}
