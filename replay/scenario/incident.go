package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// Event is a fault of a dataset, a model, a node or a department.
type Event struct {
	config.Pos `yaml:"-"`

	Kind Kind `yaml:"kind"`
	// Class groups incidents in the report; by default it is the kind.
	Class string `yaml:"class,omitempty"`
	// Exactly one of the following is the affected object.
	Dataset    string `yaml:"dataset,omitempty"`
	Model      string `yaml:"model,omitempty"`
	Node       string `yaml:"node,omitempty"`
	Department string `yaml:"department,omitempty"`
	// Column is the affected column of the dataset, or feature of the model.
	Column string `yaml:"column,omitempty"`

	At Moment `yaml:"at"`
	// For is its duration; by default to the end of the replay.
	For config.Duration `yaml:"for"`
	// Ramp is the time until it has its full size.
	Ramp config.Duration `yaml:"ramp"`
	// Size is the size in the unit of the kind, by default that of the kind; see docs/replay.md.
	Size float64 `yaml:"size"`
	// Delay is how late data is, or how old a snapshot is.
	Delay config.Duration `yaml:"delay"`
	// Category is the category that is renamed, added, or the only one left.
	Category string `yaml:"category,omitempty"`

	// Repeat is the number of occurrences, Every the time between them.
	Repeat int             `yaml:"repeat"`
	Every  config.Duration `yaml:"every"`

	// Detectors and Consequences are alerts that replace those of the kind.
	Detectors    []string `yaml:"detectors,omitempty"`
	Consequences []string `yaml:"consequences,omitempty"`
	// Aftermath is the time after the end in which alerts still belong to it; by default the length of the longest window.
	Aftermath *config.Duration `yaml:"aftermath,omitempty"`
	// Accuracy defines when a drift does harm.
	Accuracy *Accuracy `yaml:"accuracy,omitempty"`

	// spec has the properties of the kind.
	spec *Spec
	// ownDetectors and ownConsequences mean that these are of the scenario, not of the kind.
	ownDetectors, ownConsequences bool
}

// Accuracy defines how a drift reduces the simulated accuracy of a model: by Loss at its full size, proportional to the square of the
// drift.
type Accuracy struct {
	Base  float64 `yaml:"base"`
	Loss  float64 `yaml:"loss"`
	Limit float64 `yaml:"limit"`
}

// SetDefaults implements config.Defaulter.
func (a *Accuracy) SetDefaults() { *a = Accuracy{0.92, 0.08, 0.87} }

// Validate implements config.Validator.
func (a *Accuracy) Validate(at config.At) {
	if !(a.Base > a.Limit && a.Base-a.Loss < a.Limit && a.Limit > 0 && a.Base <= 1) {
		at.Errorf("", "base %v, loss %v and limit %v; want base above limit, and base less loss below it", a.Base, a.Loss, a.Limit)
	}
}

// Harmful returns the share of a drift at which the accuracy falls below its limit.
func (a *Accuracy) Harmful() float64 { return sqrt((a.Base - a.Limit) / a.Loss) }

// Kind is a kind of incident.
type Kind string

// Want completes "want …" in messages.
func (Kind) Want() string { return "one of " + strings.Join(KindNames(), ", ") }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Kind) UnmarshalText(text []byte) error {
	if _, ok := specs[Kind(text)]; !ok {
		return fmt.Errorf("%q; want %s", text, k.Want())
	}
	*k = Kind(text)
	return nil
}

// KindNames returns all kinds, sorted.
func KindNames() []string {
	var names []string
	for k := range specs {
		names = append(names, string(k))
	}
	slices.Sort(names)
	return names
}

// Spec returns the properties of the incident's kind.
func (e *Event) Spec() *Spec { return e.spec }

// SetDefaults implements config.Defaulter.
func (e *Event) SetDefaults() { e.Repeat = 1 }

// Occurrences returns the periods of the incident: one, or several if it repeats.
func (e *Event) Occurrences(s *Scenario) []Span {
	var spans []Span
	for i := range e.Repeat {
		from := e.At.From(s.From()).Add(time.Duration(i) * time.Duration(e.Every))
		to := s.To()
		if e.For > 0 {
			to = from.Add(time.Duration(e.For))
		}
		if from.Before(s.To()) {
			spans = append(spans, Span{from, to})
		}
	}
	return spans
}

// Span is the period from From to before To.
type Span struct{ From, To time.Time }
