package responder

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/responder/internal/action"
	"github.com/sightglass-ml/sightglass/responder/internal/incident"
)

// Catalogue returns the metrics of the responder for the reference.
func Catalogue() *catalogue.Catalogue {
	c := &catalogue.Catalogue{Prefix: "ml_"}
	newDescs(c)
	newPeopleDescs(c)
	newIncidentDescs(c)
	return c
}

type descs struct {
	actions, pending, retrying, running *prometheus.Desc
}

// latencyName and latencyHelp describe the only metric that client_golang counts itself.
const (
	latencyName = "response_latency_seconds"
	latencyHelp = "Time from the receipt of the alert until the target accepted the action. Only of this replica."
)

func newDescs(c *catalogue.Catalogue) descs {
	d := descs{
		actions:  c.Counter("response_actions_total", "Actions by result, or by the reason why they were held back. All replicas publish the same total.", "action", "result"),
		pending:  c.Gauge("response_pending", "Actions that no target has accepted yet.", "action"),
		retrying: c.Gauge("response_retrying", "Pending actions whose last attempt failed.", "action"),
		running:  c.Gauge("response_running", "Actions that a target has accepted and that have not ended.", "action"),
	}
	c.Metrics = append(c.Metrics, catalogue.Metric{Name: c.Prefix + latencyName, Type: "histogram", Help: latencyHelp, Labels: []string{"action"}})
	return d
}

// metrics publishes all actions and results, including those with a count of 0: a counter that first appears with its first
// increment hides that increment.
func (d descs) metrics(s action.Status) exporter.Metrics {
	var m exporter.Metrics
	for _, a := range action.Responses {
		for _, result := range action.Results {
			m.Counter(d.actions, float64(s.Totals[[2]string{a, result}]), a, result)
		}
		m.Gauge(d.pending, float64(s.Pending[a]), a)
		m.Gauge(d.retrying, float64(s.Retrying[a]), a)
		m.Gauge(d.running, float64(s.Running[a]), a)
	}
	return m
}

func newLatency() *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(exporter.HistogramOpts("ml_"+latencyName, latencyHelp,
		[]float64{0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600}), []string{"action"})
	for _, a := range action.Responses {
		h.WithLabelValues(a)
	}
	return h
}

// incidentDescs has the metrics of incidents.
type incidentDescs struct {
	incidents, opened, alerts, queries, messages *prometheus.Desc
}

func newIncidentDescs(c *catalogue.Catalogue) incidentDescs {
	const stored = " All replicas publish the same."
	return incidentDescs{
		incidents: c.Gauge("incidents", "Unresolved incidents by state."+stored, "state"),
		opened:    c.Gauge("incidents_kept", "Stored incidents, including resolved ones."+stored),
		alerts:    c.Gauge("incident_alerts", "Firing alerts that are part of an incident."+stored),
		queries:   c.Counter("incident_lineage_queries_total", "Queries of Prometheus for the lineage of datasets, models and departments, by result. Only of this replica.", "result"),
		messages:  c.Counter("incident_messages_total", "Messages about incidents to Slack, including updates, by result. Only of this replica.", "result"),
	}
}

func (d incidentDescs) metrics(s incident.Status, e *incident.Engine, a *incident.Announcer) exporter.Metrics {
	var m exporter.Metrics
	m.Gauge(d.incidents, float64(s.Open), incident.Open)
	m.Gauge(d.incidents, float64(s.Acknowledged), incident.Acknowledged)
	m.Gauge(d.opened, float64(s.Opened))
	m.Gauge(d.alerts, float64(s.Alerts))
	answered, failed := e.Queries()
	m.Counter(d.queries, float64(answered), "answered")
	m.Counter(d.queries, float64(failed), "failed")
	sent, refused := a.Messages()
	m.Counter(d.messages, float64(sent), "sent")
	m.Counter(d.messages, float64(refused), "failed")
	return m
}
