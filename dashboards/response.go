package dashboards

import (
	"github.com/sightglass-ml/sightglass/dashboards/internal/kit"
)

const responseUID = "sightglass-response"

// responseDashboard shows from top to bottom: whether incidents are detected and resolved faster than before, which alerts are false, what
// waits for review, and the automated actions.
func responseDashboard() kit.Dashboard {
	return kit.Dashboard{
		UID:         responseUID,
		Title:       "Response",
		Description: "How soon incidents are found and over, how many alerts are false, what waits for review, and which actions were automatic.",
		Tags:        []string{"response"},
		From:        "now-7d",
		Variables:   kit.Header("ml_response_pending"),
		Rows: []kit.Row{
			{ID: 10, Title: "Before and after", Panels: beforeAfterRow()},
			{ID: 20, Title: "Human review", Panels: reviewRow()},
			{ID: 30, Title: "Automated actions", Panels: actionRow()},
		},
	}
}

// measured adds the label measure, which is the row of the table.
func measured(name, expr string) string {
	return `label_replace(` + expr + `, "measure", "` + name + `", "", "")`
}

func beforeAfterRow() kit.Panels {
	const by = "cluster, namespace"
	both := func(detect, resolve string) string {
		return measured("Time to detect", detect) + "\nor\n" + measured("Time to resolve", resolve)
	}
	const detect, resolve = "namespace:ml_incident_time_to_detect_seconds:mean", "namespace:ml_incident_time_to_resolve_seconds:mean"
	before := func(metric string) string { return kit.MaxBy(by, kit.Raw(metric)) }
	incidents := kit.Table(kit.Text{
		ID: 11, Title: "Incidents", Unit: "s",
		Description: "Mean time from the onset of an incident, as noted on the responder's page, until its first alert fired and until its last was resolved. Before is what the responder's configuration says.",
	}).Span(14).Height(6).
		WithTarget(kit.Instant("before", both(before("ml_incident_time_to_detect_before_seconds"), before("ml_incident_time_to_resolve_before_seconds")))).
		WithTarget(kit.Instant("now", both(kit.Recorded(detect), kit.Recorded(resolve)))).
		WithTarget(kit.Instant("change", both(
			kit.Recorded(detect)+" / on ("+by+") "+before("ml_incident_time_to_detect_before_seconds")+" - 1",
			kit.Recorded(resolve)+" / on ("+by+") "+before("ml_incident_time_to_resolve_before_seconds")+" - 1"))).
		WithTarget(kit.Instant("count", both(before("ml_incident_time_to_detect_seconds_count"), before("ml_incident_time_to_resolve_seconds_count"))))
	alarms := kit.Table(kit.Text{
		ID: 12, Title: "False alarms", Unit: "percentunit",
		Description: "Share of the alerts that somebody judged which were false. Alerts that nobody judged are in no share.",
	}).Span(10).Height(6).
		WithTarget(kit.Instant("before", before("ml_alerts_false_before_ratio"))).
		WithTarget(kit.Instant("now", kit.Recorded("namespace:ml_alerts_false:ratio"))).
		WithTarget(kit.Instant("judged", "sum by ("+by+") ("+kit.Recorded("alertname:ml_alerts:count", `verdict=~"true|false"`)+")"))
	count := func(verdict string) string {
		return "sum by (cluster, namespace, alertname) (" + kit.Recorded("alertname:ml_alerts:count", `verdict="`+verdict+`"`) + ")"
	}
	alerts := kit.Table(kit.Text{
		ID: 13, Title: "By alert", Unit: "short",
		Description: "Which alerts are right and which cry wolf. Click an alert for its runbook.",
	}).Height(9).SortBy(kit.LargestFirst("False share")).
		WithTarget(kit.Instant("ratio", kit.Recorded("alertname:ml_alerts_false:ratio"))).
		WithTarget(kit.Instant("false", count("false"))).
		WithTarget(kit.Instant("true", count("true"))).
		WithTarget(kit.Instant("unjudged", count("unjudged")))
	return kit.Panels{
		kit.Columns(incidents, []kit.Column{
			kit.Col("measure", "Measure"),
			kit.Col("Value #before", "Before"),
			kit.Col("Value #now", "Now"),
			kit.Col("Value #change", "Change", kit.Unit("percentunit"), kit.Decimals(0)),
			kit.Col("Value #count", "Incidents", kit.Unit("short"), kit.Decimals(0)),
		}),
		kit.Columns(alarms, []kit.Column{
			kit.Col("Value #before", "Before"),
			kit.Col("Value #now", "Now"),
			kit.Col("Value #judged", "Judged alerts", kit.Unit("short"), kit.Decimals(0)),
		}),
		kit.Columns(alerts, []kit.Column{
			kit.Col("alertname", "Alert", kit.LinkProperty("Runbook", "${runbooks:raw}/${__data.fields.Alert}.md", true)),
			kit.Col("Value #ratio", "False share", kit.Unit("percentunit"), kit.Decimals(0)),
			kit.Col("Value #false", "False"),
			kit.Col("Value #true", "True"),
			kit.Col("Value #unjudged", "Unjudged"),
		}),
	}
}

// most draws the ten largest of what replicas publish.
func most(by string, read func(kit.Read, string) string, metric string) string {
	return kit.Top(10, func(r kit.Read) string { return kit.MaxBy("cluster, namespace, "+by, read(r, kit.Raw(metric))) })
}

// hourly is how much a counter grows in an hour.
func hourly(r kit.Read, series string) string { return r.Increase("1h", series) }

func reviewRow() kit.Panels {
	return kit.Panels{
		kit.Timeseries(kit.Text{
			ID: 21, Title: "Review queue", Unit: "short",
			Description: "Answers below their gate, by what became of them. When the open ones grow, more come than people can look at.",
		}).Span(12).Min(0).Decimals(0).
			WithTarget(kit.Range("items", most("state", kit.Read.Value, "ml_review_queue_items"), "{{state}}")),
		kit.Timeseries(kit.Text{
			ID: 22, Title: "Decisions an hour", Unit: "short",
			Description: "What people decided. Many accepted answers mean that the gate is too strict.",
		}).Span(12).Min(0).
			WithTarget(kit.Range("decisions", most("decision", hourly, "ml_review_decisions_total"), "{{decision}}")),
	}
}

func actionRow() kit.Panels {
	return kit.Panels{
		kit.Timeseries(kit.Text{
			ID: 31, Title: "Actions an hour", Unit: "short",
			Description: "Retraining and replays that alerts asked for, by how they ended or why they were held back.",
		}).Span(16).Min(0).
			WithTarget(kit.Range("actions", most("action, result", hourly, "ml_response_actions_total"), "{{action}}: {{result}}")),
		kit.Timeseries(kit.Text{
			ID: 32, Title: "Pending actions", Unit: "short",
			Description: "Actions that no target has accepted yet.",
		}).Span(8).Min(0).Decimals(0).
			Links(kit.Runbook("SightglassActionFailing")).
			WithTarget(kit.Range("pending", most("action", kit.Read.Value, "ml_response_pending"), "{{action}}")),
	}
}
