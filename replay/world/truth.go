package world

import (
	"time"

	"github.com/sightglass-ml/sightglass/replay/report"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// Truth is what goes wrong in the world.
func (w *World) Truth() report.Truth {
	s := w.scenario
	truth := report.Truth{Scenario: s.Name, From: s.From(), To: s.To(), Warmup: time.Duration(s.Warmup)}
	for i := range s.Incidents {
		e := &s.Incidents[i]
		for _, span := range e.Occurrences(s) {
			incident := report.Incident{
				Class: e.Class, Name: string(e.Kind), Object: w.object(e), Onset: span.From,
				Detectors: e.Detectors, Consequences: e.Consequences, Aftermath: w.aftermath(e),
			}
			if span.To.Before(s.To()) {
				incident.End = span.To
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

// object are the labels of alerts about what an incident happens to.
func (w *World) object(e *scenario.Event) map[string]string {
	switch {
	case e.Dataset != "":
		return map[string]string{"dataset": e.Dataset}
	case e.Model != "":
		return map[string]string{"model": e.Model}
	case e.Department != "" && e.Kind == scenario.CostCreep:
		// Costs of an inference are by model.
		for _, d := range w.scenario.Costs.Departments {
			if d.Name == e.Department {
				return map[string]string{"model": d.Model}
			}
		}
	case e.Department != "":
		return map[string]string{"department": e.Department}
	case e.Kind == scenario.GPUQueueing:
		// The queue is told of the models, the memory of the node.
		return map[string]string{}
	}
	return map[string]string{"instance": e.Node}
}

// aftermath is how long windows still hold what went wrong.
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
