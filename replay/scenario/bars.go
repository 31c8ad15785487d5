package scenario

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// Measure is the quantity that a bar limits.
type Measure string

// Measures.
const (
	MedianDetection    Measure = "median_detection"
	MedianOfAll        Measure = "median_detection_of_all"
	WorstDetection     Measure = "worst_detection"
	Missed             Measure = "missed"
	FalseAlarms        Measure = "false_alarms"
	FalseAlarmsPerWeek Measure = "false_alarms_per_week"
	FalseAlarmShare    Measure = "false_alarm_share"
	MinLead            Measure = "min_lead"
)

var measures = []Measure{MedianDetection, MedianOfAll, WorstDetection, Missed, FalseAlarms, FalseAlarmsPerWeek, FalseAlarmShare, MinLead}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Measure) UnmarshalText(text []byte) error {
	if !slices.Contains(measures, Measure(text)) {
		return fmt.Errorf("%q; want one of %q", text, measures)
	}
	*m = Measure(text)
	return nil
}

// IsDuration reports whether the measure is a duration.
func (m Measure) IsDuration() bool {
	return m == MedianDetection || m == MedianOfAll || m == WorstDetection || m == MinLead
}

// Bar is a limit that a replay must reach.
type Bar struct {
	config.Pos `yaml:"-"`

	Measure Measure `yaml:"measure"`
	// Class is the class of incidents that the bar applies to; all classes by default.
	Class string `yaml:"class,omitempty"`
	// Limit is a duration or a number.
	Limit string `yaml:"limit"`
	// KnownMiss is why the bar is not reached yet, and where this is worked on. Once the bar is reached, a KnownMiss is an error, so that
	// it is removed.
	KnownMiss string `yaml:"known_miss,omitempty"`

	duration time.Duration
	number   float64
}

// Duration returns the limit of a measure that is a duration.
func (b *Bar) Duration() time.Duration { return b.duration }

// Number returns the limit of a measure that is not a duration.
func (b *Bar) Number() float64 { return b.number }

// General reports whether the bar applies to every class without its own bar of the same measure.
func (b *Bar) General() bool { return b.Class == "" && b.ofClasses() }

func (b *Bar) ofClasses() bool {
	return b.Measure == Missed || b.Measure.IsDuration() && b.Measure != MedianOfAll
}

// Validate implements config.Validator.
func (b *Bar) Validate(at config.At) {
	if b.Measure == "" {
		at.Errorf("measure", "missing; want one of %q", measures)
		return
	}
	switch {
	case !at.Has("limit"):
		at.Errorf("limit", "missing; want %s", b.Measure.wants())
	case !b.readLimit():
		at.Errorf("limit", "%q; want %s", b.Limit, b.Measure.wants())
	}
	if b.Class != "" && !b.ofClasses() {
		at.Errorf("class", "%q; this measure is not of a class of incidents", b.Class)
	}
}

// wants describes the limit of the measure.
func (m Measure) wants() string {
	switch {
	case m.IsDuration():
		return "a duration such as 11m, since " + string(m) + " is a time"
	case m == FalseAlarmShare:
		return "a share from 0 to 1"
	case m == FalseAlarmsPerWeek:
		return "a number from 0"
	}
	return "a whole number from 0"
}

// readLimit reads the limit as the measure has it, and reports whether it can be one.
func (b *Bar) readLimit() bool {
	if b.Measure.IsDuration() {
		var d config.Duration
		err := d.UnmarshalText([]byte(b.Limit))
		b.duration = time.Duration(d)
		return err == nil && d >= 0
	}
	n, err := strconv.ParseFloat(b.Limit, 64)
	b.number = n
	whole := b.Measure == Missed || b.Measure == FalseAlarms
	return err == nil && n >= 0 && n <= math.MaxInt32 && (!whole || n == math.Trunc(n)) && (b.Measure != FalseAlarmShare || n <= 1)
}

// check checks that the scenario has the bar's class, and what it measures. It returns the key with a problem, or an empty one.
func (b *Bar) check(s *Scenario) (key, problem string) {
	var classes []string
	harmful := false
	for i := range s.Incidents {
		e := &s.Incidents[i]
		if !slices.Contains(classes, e.Class) {
			classes = append(classes, e.Class)
		}
		harmful = harmful || e.Accuracy != nil && (b.Class == "" || b.Class == e.Class)
	}
	switch {
	case b.Class != "" && !slices.Contains(classes, b.Class):
		return "class", fmt.Sprintf("%q; no incident is of this class: want one of %q", b.Class, classes)
	case b.Measure == MinLead && !harmful:
		return "measure", "min_lead of incidents without harm; want accuracy in one of them"
	}
	return "", ""
}

// Bars is a file with the bars of several scenarios.
type Bars struct {
	// Every has the bars of each scenario that uses the file, Scenarios those of single scenarios by name. A bar of a class replaces the
	// bar of the same measure for all classes.
	Every     []Bar            `yaml:"every,omitempty"`
	Scenarios map[string][]Bar `yaml:"scenarios,omitempty"`
}

// readBars adds the bars of the file that the scenario names to its own.
func (s *Scenario) readBars() error {
	if s.BarsFrom == "" {
		return nil
	}
	bars, err := config.Load[Bars](string(s.BarsFrom))
	if err != nil {
		return err
	}
	of, ok := bars.Scenarios[s.Name]
	if !ok {
		return fmt.Errorf("%s: scenarios has no %q; want the bars of this scenario, or [] for those of every one", s.BarsFrom, s.Name)
	}
	for _, b := range of {
		if key, problem := b.check(s); key != "" {
			return config.Pos{File: b.File, Line: b.Line, Key: b.Key + "." + key}.Errorf("%s (scenario %s)", problem, s.Name)
		}
	}
	s.Bars = slices.Concat(s.Bars, of, bars.Every)
	return nil
}
