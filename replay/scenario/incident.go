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
	// Size is the size in the unit of the kind; see docs/replay.md.
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
func (e *Event) SetDefaults() { e.Size, e.Repeat = -1, 1 }

// check validates an incident's references, and sets the defaults of its kind.
func (e *Event) check(at config.At, key string, s *Scenario) {
	spec, ok := specs[e.Kind]
	if !ok {
		at.Errorf(key+".kind", "missing; want %s", e.Kind.Want())
		return
	}
	e.spec = spec
	if e.Class == "" {
		e.Class = string(e.Kind)
	}
	if e.At.IsZero() {
		at.Errorf(key+".at", "missing; want %s", e.At.Want())
	} else if t := e.At.From(s.From()); t.Before(s.From()) || !t.Before(s.To()) {
		at.Errorf(key+".at", "%s is outside the replay, which is from %s to %s", t.Format(time.RFC3339), s.From().Format(time.DateOnly), s.To().Format(time.DateOnly))
	}
	targets := map[Target]string{OnDataset: e.Dataset, OnModel: e.Model, OnNode: e.Node, OnDepartment: e.Department}
	var named []string
	found := false
	for _, target := range []Target{OnDataset, OnModel, OnNode, OnDepartment} {
		if targets[target] == "" {
			continue
		}
		named = append(named, string(target))
		found = found || slices.Contains(spec.Targets, target)
	}
	if len(named) != 1 || !found {
		at.Errorf(key, "%s of %q; want exactly one of %q for it", e.Kind, named, spec.Targets)
		return
	}
	columns, ok := s.columnsOf(e)
	switch {
	case !ok:
		at.Errorf(key+"."+named[0], "the scenario has no %s %q", named[0], targets[Target(named[0])])
	case spec.Column && e.Column == "":
		at.Errorf(key+".column", "missing; want the column that it happens to")
	case !spec.Column && e.Column != "":
		at.Errorf(key+".column", "%s is of the whole %s; want no column", e.Kind, named[0])
	case columns != nil && e.Column != "" && !slices.Contains(columns, e.Column):
		at.Errorf(key+".column", "%q; want one of %q", e.Column, columns)
	}
	if e.Size == -1 {
		e.Size = spec.Size
	}
	if e.Size < spec.Least || e.Size > spec.Most {
		at.Errorf(key+".size", "%v; want %v to %v: %s", e.Size, spec.Least, spec.Most, spec.Unit)
	}
	for k, d := range map[string]*config.Duration{"delay": &e.Delay, "ramp": &e.Ramp, "for": &e.For} {
		if *d < 0 || *d%config.Duration(time.Minute) != 0 {
			at.Errorf(key+"."+k, "%v; want whole minutes", *d)
		}
	}
	if e.Delay == 0 {
		e.Delay = config.Duration(spec.Delay)
	}
	if e.Ramp == 0 {
		e.Ramp = config.Duration(spec.Ramp)
	}
	if spec.Category && e.Category == "" {
		e.Category = "new category"
	}
	if e.Repeat < 1 || e.Repeat > 1 && e.Every < config.Duration(time.Hour) {
		at.Errorf(key+".repeat", "%d times every %v; want 1 or more, an hour or more apart", e.Repeat, e.Every)
	}
	if e.Accuracy != nil && e.Ramp == 0 {
		at.Errorf(key+".accuracy", "of an incident without a ramp; want it with one that grows")
	}
	if len(e.Detectors) == 0 {
		for _, t := range spec.Targets {
			if targets[t] != "" {
				e.Detectors = spec.Detectors[t]
			}
		}
	}
	if len(e.Consequences) == 0 {
		e.Consequences = spec.Consequences
	}
}

// columnsOf returns the columns that an incident can name; nil if they are only in a file. ok means that the affected object exists.
func (s *Scenario) columnsOf(e *Event) (columns []string, ok bool) {
	for i := range s.Datasets {
		if d := &s.Datasets[i]; d.Name == e.Dataset {
			for _, c := range d.Columns {
				columns = append(columns, c.Name)
			}
			return columns, true
		}
	}
	for i := range s.Models {
		if m := &s.Models[i]; m.Name == e.Model {
			for _, c := range m.Features {
				columns = append(columns, c.Name)
			}
			if m.Data != nil {
				columns = m.FeatureColumns
			}
			return columns, true
		}
	}
	for _, n := range s.Nodes {
		if n.Name == e.Node {
			return nil, true
		}
	}
	if s.Costs != nil && e.Department != "" {
		for _, d := range s.Costs.Departments {
			if d.Name == e.Department {
				return nil, true
			}
		}
	}
	return nil, false
}

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

// Exclude is a period in which alerts for an object count neither as true nor as false.
type Exclude struct {
	Name   string            `yaml:"name"`
	From   Moment            `yaml:"from"`
	To     Moment            `yaml:"to"`
	Object map[string]string `yaml:"object,omitempty"`
	Alerts []string          `yaml:"alerts,omitempty"`
}

// Validate implements config.Validator.
func (e *Exclude) Validate(at config.At) {
	named(at, e.Name, "reason")
	if e.From.IsZero() || e.To.IsZero() {
		at.Errorf("from", "want from and to")
	}
}
