package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// check validates an incident's references and sizes, and sets the defaults of its kind.
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
	target := e.checkObject(at, key)
	if target == "" || !s.checkName(at, key+"."+string(target), target, e.object(target)) {
		return
	}
	e.checkSize(at, key)
	e.checkColumn(at, key, s, target)
	e.checkModel(at, key, s)
	e.checkNode(at, key, s)
	e.checkTimes(at, key, s)
	if e.Aftermath != nil && *e.Aftermath < 0 {
		at.Errorf(key+".aftermath", "%v; want a duration from 0s", *e.Aftermath)
	}
	if e.ownDetectors = len(e.Detectors) > 0; !e.ownDetectors {
		e.Detectors = spec.Detectors[target]
	}
	if e.ownConsequences = len(e.Consequences) > 0; !e.ownConsequences {
		e.Consequences = spec.Consequences
	}
}

// object returns the name of the affected object.
func (e *Event) object(of Target) string {
	return map[Target]string{OnDataset: e.Dataset, OnModel: e.Model, OnNode: e.Node, OnDepartment: e.Department}[of]
}

// checkObject returns the type of the affected object; an empty one after a problem.
func (e *Event) checkObject(at config.At, key string) (target Target) {
	var names []string
	for _, t := range e.spec.Targets {
		names = append(names, string(t))
	}
	want := strings.Join(names, " or ")
	ok, found := true, Target("")
	for _, t := range []Target{OnDataset, OnModel, OnNode, OnDepartment} {
		switch {
		case e.object(t) == "":
		case !slices.Contains(e.spec.Targets, t):
			at.Errorf(key+"."+string(t), "%s does not apply to a %s; want a %s", e.Kind, t, want)
			ok = false
		case found != "":
			at.Errorf(key+"."+string(t), "not together with %s; want one object, and a second incident for the other", found)
			ok = false
		default:
			found = t
		}
	}
	switch {
	case !ok:
		return ""
	case found == "":
		at.Errorf(key+"."+names[0], "missing; want the %s that %s applies to", want, e.Kind)
	}
	return found
}

// checkSize checks the size, the delay, the ramp and the category against the kind, which gives their defaults.
func (e *Event) checkSize(at config.At, key string) {
	spec := e.spec
	if !at.Has(key + ".size") {
		e.Size = spec.Size
	}
	switch {
	case !spec.sized():
		if at.Has(key + ".size") {
			at.Errorf(key+".size", "%v; %s has no size: remove it", e.Size, e.Kind)
		}
	case !(e.Size >= spec.Least && e.Size <= spec.Most):
		at.Errorf(key+".size", "%v; want %v to %v: %s", e.Size, spec.Least, spec.Most, spec.Unit)
	case e.Size == spec.Neutral: //nolint:gocritic // Neutral is a number that is written, not computed.
		at.Errorf(key+".size", "%v changes nothing; want another %s", e.Size, spec.Unit)
	}
	for _, k := range []struct {
		key      string
		d        *config.Duration
		of       bool
		fallback time.Duration
	}{{"delay", &e.Delay, spec.Delay > 0, spec.Delay}, {"ramp", &e.Ramp, !spec.Sudden, spec.Ramp}} {
		switch {
		case !at.Has(key + "." + k.key):
			*k.d = config.Duration(k.fallback)
		case !k.of:
			at.Errorf(key+"."+k.key, "%v; %s has no %s: remove it", *k.d, e.Kind, k.key)
		}
	}
	switch {
	case !spec.Category && e.Category != "":
		at.Errorf(key+".category", "%q; %s has no category: remove it", e.Category, e.Kind)
	case spec.Category && e.Category == "":
		e.Category = "new category"
	}
	if e.Accuracy != nil && e.Ramp == 0 {
		at.Errorf(key+".accuracy", "of an incident without a ramp; want it with one that grows")
	}
}

// checkColumn checks the column and its values. Those of a file are known when it is read; see Problem.
func (e *Event) checkColumn(at config.At, key string, s *Scenario, target Target) {
	key += ".column"
	switch {
	case !e.spec.Column && e.Column != "":
		at.Errorf(key, "%q; %s affects the whole %s: remove it", e.Column, e.Kind, target)
		return
	case e.spec.Column && e.Column == "":
		at.Errorf(key, "missing; want the affected column or feature")
		return
	case e.Column == "":
		return
	}
	var names []string
	var simulated []Column
	for i := range s.Datasets {
		if d := &s.Datasets[i]; d.Name == e.Dataset {
			if simulated = d.Columns; d.Data == nil {
				break
			}
			if e.Column == d.Data.Time {
				at.Errorf(key, "%q is the column with the time; want another one", e.Column)
				return
			}
			if names = d.Data.Columns; len(names) == 0 {
				return // All columns of the file, which package world checks.
			}
		}
	}
	for i := range s.Models {
		if m := &s.Models[i]; m.Name == e.Model {
			simulated, names = m.Features, m.FeatureColumns
		}
	}
	for i := range simulated {
		c := &simulated[i]
		names = append(names, c.Name)
		if c.Name != e.Column {
			continue
		}
		if problem := e.Problem(c.class(), c.Nulls); problem != "" {
			at.Errorf(key, "%q %s", e.Column, problem)
		} else if e.Kind == UnmappedCategory && slices.Contains(c.Categories.Values, e.Category) {
			at.Errorf(strings.TrimSuffix(key, "column")+"category", "%q is one of the column's; want a new one", e.Category)
		}
	}
	if !slices.Contains(names, e.Column) {
		at.Errorf(key, "%q; want one of %q", e.Column, names)
	}
}

// Values are the values that a column has.
type Values string

// Values of columns.
const (
	Numbers    Values = "numbers"
	Texts      Values = "texts"
	Booleans   Values = "booleans"
	Timestamps Values = "timestamps"
)

// Problem returns why the incident would change nothing in a column of these values and this share of nulls; an empty string if it does.
func (e *Event) Problem(has Values, nulls float64) string {
	switch {
	case len(e.spec.Values) > 0 && !slices.Contains(e.spec.Values, has):
		return fmt.Sprintf("has %s; want a column of %s for %s", has, join(e.spec.Values), e.Kind)
	case e.Kind == NullSurge && e.Size > 0 && e.Size <= nulls:
		return fmt.Sprintf("has %.4g nulls already; want a size above it, not %v", nulls, e.Size)
	}
	return ""
}

func join(values []Values) string {
	var names []string
	for _, v := range values {
		names = append(names, string(v))
	}
	return strings.Join(names, " or ")
}

// checkModel checks that the model has what the incident changes.
func (e *Event) checkModel(at config.At, key string, s *Scenario) {
	i := slices.IndexFunc(s.Models, func(m Model) bool { return m.Name == e.Model })
	if e.Model == "" || i < 0 {
		return
	}
	m := &s.Models[i]
	switch e.Kind {
	case ConfidenceCollapse:
		if m.Confidence == nil {
			at.Errorf(key+".model", "%q has no simulated confidence; want a model with confidence: {mean, concentration}", e.Model)
		}
	case GroundednessDecay, HallucinationSurge:
		if !slices.ContainsFunc(m.Evaluations, func(v Evaluation) bool { return v.Name == "groundedness" }) {
			at.Errorf(key+".model", "%q is not scored for groundedness; want a model with evaluations: [{name: groundedness}]", e.Model)
		}
	}
}

func (e *Event) checkNode(at config.At, key string, s *Scenario) {
	for _, n := range s.Nodes {
		if n.Name == e.Node && e.Kind == GPULost && int(e.Size) > n.GPUs {
			at.Errorf(key+".size", "%v; node %q has %d GPUs: want 1 to %d", e.Size, n.Name, n.GPUs, n.GPUs)
		}
	}
}

// checkTimes checks that every occurrence is after the warm-up and within the replay.
func (e *Event) checkTimes(at config.At, key string, s *Scenario) {
	for _, k := range []struct {
		key string
		d   config.Duration
	}{{"delay", e.Delay}, {"ramp", e.Ramp}, {"for", e.For}, {"every", e.Every}} {
		if k.d < 0 || k.d%config.Duration(time.Minute) != 0 {
			at.Errorf(key+"."+k.key, "%v; want whole minutes", k.d)
			return
		}
	}
	onset, counted := e.At.From(s.From()), s.From().Add(time.Duration(s.Warmup))
	last := onset.Add(time.Duration(e.Repeat-1) * time.Duration(e.Every))
	end, lasts := last.Add(time.Duration(e.For)), e.For
	if e.For == 0 {
		end, lasts = s.To(), config.Duration(s.To().Sub(last))
	}
	rows := s.firstRow(e.Dataset)
	switch {
	case e.At.IsZero():
		at.Errorf(key+".at", "missing; want %s", e.At.Want())
	case onset.Before(s.From()) || !onset.Before(s.To()):
		at.Errorf(key+".at", "%s", s.outside(onset))
	case !onset.Equal(onset.Truncate(time.Minute)):
		at.Errorf(key+".at", "%s; want a whole minute", onset.Format(time.RFC3339))
	case onset.Before(counted):
		at.Errorf(key+".at", "%s is within the warm-up, in which no alert counts, until %s; want a later time, or a shorter warmup", onset.Format(time.RFC3339), counted.Format(time.RFC3339))
	case e.Kind == WrongSnapshot && !rows.IsZero() && onset.Add(-time.Duration(e.Delay)).Before(rows):
		at.Errorf(key+".delay", "%v; the snapshot of %s would have no rows: want a delay of %v or less, or a longer history", e.Delay, onset.Add(-time.Duration(e.Delay)).Format(time.RFC3339), config.Duration(onset.Sub(rows)))
	case at.Has(key+".for") && e.For == 0:
		at.Errorf(key+".for", "0s; want a minute or more, or leave it out: the incident then lasts to the end")
	case e.Repeat < 1:
		at.Errorf(key+".repeat", "%d; want 1 or more", e.Repeat)
	case e.Repeat == 1 && e.Every > 0:
		at.Errorf(key+".every", "%v without repeat; want repeat: 2 or more, the number of occurrences", e.Every)
	case e.Repeat > 1 && (e.Every < config.Duration(time.Hour) || e.For == 0 || e.For > e.Every):
		at.Errorf(key+".repeat", "%d times for %v every %v; want them an hour or more apart, each over before the next", e.Repeat, e.For, e.Every)
	case !last.Before(s.To()):
		at.Errorf(key+".repeat", "%d; the last one at %s", e.Repeat, s.outside(last))
	case end.After(s.To()):
		at.Errorf(key+".for", "%v; it would end at %s, after the replay; want %v or less, or leave it out: the incident then lasts to the end", e.For, end.Format(time.RFC3339), config.Duration(s.To().Sub(last)))
	case e.Ramp > lasts:
		at.Errorf(key+".ramp", "%v; the incident lasts %v and would not reach its size; want a ramp up to that", e.Ramp, lasts)
	}
}

// firstRow returns the time of the first row of a simulated dataset; zero of any other.
func (s *Scenario) firstRow(dataset string) (first time.Time) {
	for i := range s.Datasets {
		if d := &s.Datasets[i]; d.Name == dataset && d.Data == nil {
			first = s.From().Add(-time.Duration(d.History))
		}
	}
	return first
}
