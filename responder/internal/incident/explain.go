package incident

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
	"github.com/sightglass-ml/sightglass/responder/internal/lineage"
)

// Prometheus is the API that Explain uses.
type Prometheus interface {
	lineage.Querier
	Alerts(ctx context.Context) (prometheus.AlertsResult, error)
}

// Explain computes the incident of an alert from Prometheus alone: firing alerts, the lineage, and changes whose time is in a
// series. It has no acknowledgement and no actions. The alert is identified by its name or its fingerprint.
func Explain(ctx context.Context, p Prometheus, alert string, cfg Config, now time.Time) (*View, error) {
	fire, err := p.Alerts(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask Prometheus which alerts fire: %w", err)
	}
	var alerts []*grouping.Alert
	annotations := map[string]map[string]string{}
	for _, a := range fire.Alerts {
		if a.State != prometheus.AlertStateFiring || len(alerts) == maxAlerts {
			continue
		}
		g := &grouping.Alert{ID: a.Labels.Fingerprint().String(), Labels: texts(a.Labels), StartsAt: a.ActiveAt.UTC()}
		alerts = append(alerts, g)
		annotations[g.ID] = texts(a.Annotations)
	}
	reading, err := lineage.Read(ctx, p, cfg.Links, now)
	notes := []string{"Made of what Prometheus knows now: actions, acknowledgements and changes without a series of their own are with the responder."}
	if err != nil {
		notes = append(notes, "A part of the lineage could not be read: "+err.Error())
	}
	groups, full := grouping.Find(alerts, reading.Graph, cfg.options(reading.Graph.Edges() == 0))
	for _, g := range groups {
		for _, m := range g.Members {
			if m.Alert.ID == alert || m.Alert.Labels["alertname"] == alert {
				return fromGroup(analyse(g, full, reading.Changes, reading.Segments, notes, stored{}), annotations), nil
			}
		}
	}
	return nil, fmt.Errorf("%w: no alert fires whose name or fingerprint is %q; %d others do", ErrNotFound, alert, len(alerts))
}

func texts(l model.LabelSet) map[string]string {
	m := make(map[string]string, len(l))
	for name, value := range l {
		m[string(name)] = string(value)
	}
	return m
}

// fromGroup returns the view of a group that is not stored.
func fromGroup(p *planned, annotations map[string]map[string]string) *View {
	s := Summary{ID: p.ID, Title: p.title, Severity: p.severity, State: Open, StartedAt: p.started, OpenedAt: p.started, Alerts: len(p.Members), Firing: len(p.Members)}
	s.setCause(p.analysis)
	g := gatherer{View: &View{Summary: s, Causes: p.Causes, Notes: p.Notes, Edges: p.Edges}, analysis: p.analysis}
	for _, m := range p.Members {
		g.member(&Alert{ID: m.Alert.ID, Object: m.Node, StartsAt: m.Alert.StartsAt}, m.Alert.Labels, annotations[m.Alert.ID])
	}
	g.began(time.Time{})
	g.objects()
	g.happened()
	g.sortTimeline()
	return g.View
}

// setCause sets the probable cause, if one is confident enough.
func (s *Summary) setCause(a analysis) {
	if len(a.Causes) > 0 && a.Causes[0].Confidence >= grouping.Claimed {
		s.Cause, s.Confidence = a.Causes[0].Title, a.Causes[0].Confidence
	}
}

// ReadView decodes the API's response for one incident.
func ReadView(text []byte) (*View, error) {
	var v View
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, fmt.Errorf("the answer is no incident: %w", err)
	}
	if cmp.Or(v.ID, v.Title) == "" {
		return nil, fmt.Errorf("the answer is no incident: it has no id")
	}
	return &v, nil
}
