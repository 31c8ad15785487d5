package world

import (
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/replay/report"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// Truth returns the incidents of the world, after a run with the state of the baselines that they met.
func (w *World) Truth() report.Truth {
	s := w.scenario
	truth := report.Truth{Scenario: s.Name, From: s.From(), To: s.To(), Warmup: time.Duration(s.Warmup)}
	for i := range s.Incidents {
		e := &s.Incidents[i]
		for _, span := range e.Occurrences(s) {
			incident := report.Incident{
				Class: e.Class, Name: string(e.Kind), Object: object(e), Also: w.affectedModels(e), Part: subjectLabels(e), Onset: span.From,
				Detectors: e.Detectors, Consequences: e.Consequences, Aftermath: w.aftermath(e),
			}
			if span.To.Before(s.To()) {
				incident.End = span.To
			}
			if i := slices.IndexFunc(w.onsets, func(o *onset) bool { return o.Event == e && o.at.Equal(span.From) }); i >= 0 {
				incident.Learned = w.onsets[i].learned
			}
			if a := e.Accuracy; a != nil {
				incident.Harm = span.From.Add(time.Duration(a.Harmful() * float64(e.Ramp)))
			}
			truth.Incidents = append(truth.Incidents, incident)
		}
	}
	for _, x := range s.Exclude {
		truth.Excluded = append(truth.Excluded, report.Exclusion{
			Name: x.Name, Object: x.Object, Alerts: x.Alerts, From: x.From.From(s.From()), To: x.To.From(s.From()),
		})
	}
	return truth
}

// object returns the labels of alerts for the object of an incident.
func object(e *scenario.Event) map[string]string {
	switch {
	case e.Dataset != "":
		return map[string]string{"dataset": e.Dataset}
	case e.Model != "":
		return map[string]string{"model": e.Model}
	case e.Department != "":
		return map[string]string{"department": e.Department}
	}
	return map[string]string{"instance": e.Node}
}

// affectedModels returns the models that a node serves or a department pays for.
func (w *World) affectedModels(e *scenario.Event) (objects []map[string]string) {
	for _, n := range w.scenario.Nodes {
		for _, m := range n.Models {
			if n.Name == e.Node {
				objects = append(objects, map[string]string{"model": m})
			}
		}
	}
	if w.scenario.Costs != nil {
		for _, d := range w.scenario.Costs.Departments {
			if d.Name == e.Department {
				objects = append(objects, map[string]string{"model": d.Model})
			}
		}
	}
	return objects
}

// subjectLabels returns the column of a dataset or the field of a model.
func subjectLabels(e *scenario.Event) map[string]string {
	switch {
	case e.Column != "" && e.Dataset != "":
		return map[string]string{"column": e.Column}
	case e.Column != "":
		return map[string]string{"field": e.Column}
	}
	return nil
}

// aftermath returns how long windows still contain the bad data.
func (w *World) aftermath(e *scenario.Event) time.Duration {
	if e.Aftermath != nil {
		return time.Duration(*e.Aftermath)
	}
	after := 2 * time.Hour
	if w.datasets != nil && e.Dataset != "" {
		for _, d := range w.datasets.cfg.Datasets {
			if d.Name == e.Dataset {
				after = time.Duration(d.Window) + 2*time.Hour
			}
		}
	}
	if e.Delay > 0 {
		after += time.Duration(e.Delay)
	}
	return after
}
