package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// Validate implements config.Validator. It checks what single values cannot: times against the replay, and names against what they name.
func (s *Scenario) Validate(at config.At) {
	named(at, s.Name, "scenario")
	if !s.checkLength(at) {
		return // Nothing can be compared with a start or a length that is wrong.
	}
	if len(s.Datasets)+len(s.Models)+len(s.Nodes) == 0 && s.Costs == nil {
		at.Errorf("datasets", "no datasets, models, nodes or costs; want one or more of these")
	}
	s.checkNames(at)
	s.checkDates(at)
	for i := range s.Nodes {
		s.checkNode(at, item("nodes", i), &s.Nodes[i])
	}
	for i := range s.Models {
		s.checkReleases(at, item("models", i), &s.Models[i])
	}
	for i := range s.Incidents {
		s.Incidents[i].check(at, item("incidents", i), s)
	}
	for i := range s.Exclude {
		s.checkExclude(at, item("exclude", i), &s.Exclude[i])
	}
	for i := range s.Bars {
		if key, problem := s.Bars[i].check(s); key != "" {
			at.Errorf(item("bars", i)+"."+key, "%s", problem)
		}
	}
}

// item is the key of an element of a list.
func item(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

func (s *Scenario) checkLength(at config.At) (ok bool) {
	ok = true
	invalid := func(key, format string, args ...any) {
		at.Errorf(key, format, args...)
		ok = false
	}
	switch {
	case s.Start.IsZero():
		invalid("start", "missing; want a date such as 2026-01-05")
	case s.Start.relative():
		invalid("start", "%v is a duration; want a date such as 2026-01-05", config.Duration(s.Start.offset))
	}
	if s.Length < config.Duration(time.Hour) || s.Length > config.Duration(3*366*24*time.Hour) {
		invalid("length", "%v; want 1h to 1098d", s.Length)
	} else if s.Warmup < 0 || s.Warmup >= s.Length {
		invalid("warmup", "%v; want a duration below the length, %v, since no alert counts in it", s.Warmup, s.Length)
	}
	return ok
}

// names returns the names of the datasets, models, nodes and departments.
func (s *Scenario) names() map[Target][]string {
	names := map[Target][]string{}
	for i := range s.Datasets {
		names[OnDataset] = append(names[OnDataset], s.Datasets[i].Name)
	}
	for i := range s.Models {
		names[OnModel] = append(names[OnModel], s.Models[i].Name)
	}
	for i := range s.Nodes {
		names[OnNode] = append(names[OnNode], s.Nodes[i].Name)
	}
	if s.Costs != nil {
		for i := range s.Costs.Departments {
			names[OnDepartment] = append(names[OnDepartment], s.Costs.Departments[i].Name)
		}
	}
	return names
}

func (s *Scenario) checkNames(at config.At) {
	lists := map[Target]string{OnDataset: "datasets", OnModel: "models", OnNode: "nodes", OnDepartment: "costs.departments"}
	for of, names := range s.names() {
		for i, name := range names {
			if slices.Contains(names[:i], name) {
				at.Errorf(item(lists[of], i)+".name", "%q appears twice; want different names", name)
			}
		}
	}
}

// checkDates checks the holidays and the first days of baselines against the periods that have rows.
func (s *Scenario) checkDates(at config.At) {
	from := s.From().AddDate(0, 0, -30) // Models have rows of the month before the start: their training data.
	for i := range s.Datasets {
		d := &s.Datasets[i]
		history := s.From().Add(-time.Duration(d.History))
		if history.Before(from) {
			from = history
		}
		first, key := d.FirstDay.Start(), item("datasets", i)+".first_day"
		switch {
		case d.FirstDay.IsZero():
		case !first.Before(s.From()):
			at.Errorf(key, "%s is not before the start, %s; want a day 30 or more before it, so that the baseline is complete", d.FirstDay, s.From().Format(time.DateOnly))
		case d.Data == nil && first.Before(history.Truncate(24*time.Hour)):
			at.Errorf(key, "%s is before the first row, of %s: days without rows would be learned; want a later day, or a history of %v or more",
				d.FirstDay, history.Format(time.DateTime), config.Duration(s.From().Sub(first)))
		}
	}
	for i, h := range s.Holidays {
		if h.Start().Before(from.Truncate(24*time.Hour)) || !h.Start().Before(s.To()) {
			at.Errorf(item("holidays", i), "%s has no traffic; want a date from %s to %s", h, from.Format(time.DateOnly), s.To().Format(time.DateOnly))
		}
	}
}

func (s *Scenario) checkNode(at config.At, key string, n *Node) {
	for i, name := range n.Models {
		k := item(key+".models", i)
		s.checkName(at, k, OnModel, name)
		if slices.Contains(n.Models[:i], name) {
			at.Errorf(k, "%q appears twice; want each model once", name)
		}
	}
}

// checkName reports an error if the scenario has no object of that name.
func (s *Scenario) checkName(at config.At, key string, of Target, name string) bool {
	names := s.names()[of]
	switch {
	case slices.Contains(names, name):
		return true
	case len(names) == 0:
		at.Errorf(key, "%q; the scenario has no %ss", name, of)
	default:
		at.Errorf(key, "the scenario has no %s %q; want one of %q", of, name, names)
	}
	return false
}

func (s *Scenario) checkReleases(at config.At, key string, m *Model) {
	for i, r := range m.Releases {
		if t := r.At.From(s.From()); t.Before(s.From()) || !t.Before(s.To()) {
			at.Errorf(item(key+".releases", i)+".at", "%s", s.outside(t))
		}
		if r.Version == m.Version || slices.ContainsFunc(m.Releases[:i], func(o Release) bool { return o.Version == r.Version }) {
			at.Errorf(item(key+".releases", i)+".version", "%q is already used; want a new version", r.Version)
		}
	}
}

// outside is the problem of a time that is not within the replay.
func (s *Scenario) outside(t time.Time) string {
	return fmt.Sprintf("%s is outside the replay, which is from %s to %s", t.Format(time.RFC3339), s.From().Format(time.RFC3339), s.To().Format(time.RFC3339))
}

// objectLabels are the labels of alerts that an exclusion may name, and what of the scenario their values name, if anything.
var objectLabels = map[string]Target{
	"dataset": OnDataset, "model": OnModel, "instance": OnNode, "department": OnDepartment,
	"column": "", "field": "", "version": "", "gpu": "", "collector": "", "job": "", "resource": "", "signal": "",
}

func (s *Scenario) checkExclude(at config.At, key string, x *Exclude) {
	from, to := x.From.From(s.From()), x.To.From(s.From())
	switch {
	case !from.Before(to):
		at.Errorf(key+".to", "%s is not after from, %s", to.Format(time.RFC3339), from.Format(time.RFC3339))
	case !from.Before(s.To()) || from.Before(s.From()):
		at.Errorf(key+".from", "%s", s.outside(from))
	case to.After(s.To()):
		at.Errorf(key+".to", "%s", s.outside(to))
	}
	for _, label := range slices.Sorted(maps.Keys(x.Object)) {
		value, k := x.Object[label], key+".object."+label
		switch of, ok := objectLabels[label]; {
		case !ok:
			at.Errorf(k, "not a label of an object; want some of %q", slices.Sorted(maps.Keys(objectLabels)))
		case label == "instance" && value == ExporterInstance, of == "":
		default:
			s.checkName(at, k, of, value)
		}
	}
}

// ExporterInstance is the instance label of the exporters in a replay.
const ExporterInstance = "replay:9100"

// CheckAlerts checks the names of alerts in the scenario against those of the rules.
func (s *Scenario) CheckAlerts(known []string) error {
	var errs config.Errors
	check := func(pos config.Pos, key string, names []string) {
		for i, name := range names {
			if name != "*" && !slices.Contains(known, name) {
				pos := config.Pos{File: pos.File, Line: pos.Line, Key: pos.Key + "." + item(key, i)}
				errs = append(errs, pos.Errorf("the rules have no alert %q; want one of %q", name, known))
			}
		}
	}
	for i := range s.Incidents {
		e := &s.Incidents[i]
		if e.ownDetectors {
			check(e.Pos, "detectors", e.Detectors)
		}
		if e.ownConsequences {
			check(e.Pos, "consequences", e.Consequences)
		}
	}
	for i := range s.Exclude {
		check(s.Exclude[i].Pos, "alerts", s.Exclude[i].Alerts)
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}
