package scenario

import (
	"slices"
	"strconv"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// Data is a file of events that replaces a simulation.
type Data struct {
	config.Doc `yaml:"-"`

	// File is a Parquet or CSV file; --data NAME=FILE replaces it.
	File config.Path `yaml:"file,omitempty"`
	// Time is the column with the time of the event.
	Time string `yaml:"time"`
	// TimeFormat is the form of texts in it, as strptime has it; by default it is guessed.
	TimeFormat string `yaml:"time_format,omitempty"`
	// Speedup makes the events come so many times as fast; the first event comes at the start of the replay plus Shift.
	Speedup float64         `yaml:"speedup"`
	Shift   config.Duration `yaml:"shift"`
	// Anchor is the time in the file that becomes the start of the replay; by default the start itself.
	Anchor Moment `yaml:"anchor,omitempty"`
	// Columns are the columns to read; by default all.
	Columns []string `yaml:"columns,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (d *Data) SetDefaults() { d.Speedup = 1 }

// Validate implements config.Validator.
func (d *Data) Validate(at config.At) {
	if d.Time == "" {
		at.Errorf("time", "missing; want the column with the time of the event")
	}
	if d.Anchor.relative() {
		at.Errorf("anchor", "%v is a duration; want a time of the file, such as 2001-01-01", config.Duration(d.Anchor.offset))
	}
	for i, c := range d.Columns {
		key := "columns[" + strconv.Itoa(i) + "]"
		switch {
		case c == d.Time:
			at.Errorf(key, "%q is the column with the time, which every table has; want the other columns", c)
		case slices.Contains(d.Columns[:i], c):
			at.Errorf(key, "%q appears twice; want each column once", c)
		}
	}
	if !(d.Speedup > 0 && d.Speedup <= 10_000) {
		at.Errorf("speedup", "%v; want a number above 0, at most 10000", d.Speedup)
	}
}
