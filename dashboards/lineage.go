package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/sightglass-ml/sightglass/dashboards/internal/kit"
)

// byVersion are the labels that identify a version of a model.
const byVersion = "cluster, namespace, model, version"

// models is the scope of panels of all selected models.
const models kit.Scope = `model=~"$model"`

// modelVariables returns the selection of models, and the addresses of linked systems.
func modelVariables(present string) []cog.Builder[dashboard.VariableModel] {
	return []cog.Builder[dashboard.VariableModel]{
		kit.Many("model", "Model", kit.Recorded(present)),
		kit.Hidden("tempo", "Tempo", "The uid of the Tempo data source that has the traces.", "tempo"),
		kit.Hidden("mlflow", "MLflow", "Where the MLflow server is.", "https://mlflow.example.com"),
	}
}

// modelAlerts selects the firing alerts of the selected models.
func modelAlerts(matchers ...string) string {
	return firing(models, "model", matchers...)
}

func modelAnnotation() []kit.Annotation {
	return alertMarks("Model alerts", "{{model}} {{version}} {{field}}", "model", models, "model")
}

func modelAlertTable(id uint32) kit.Panel {
	return alertTable(id, models, "model",
		kit.Col("model", "Model", modelLink(modelQualityUID)),
		kit.Col("version", "Version"),
		kit.Col("field", "Field"),
		kit.Col("baseline", "Baseline"),
		kit.Col("outcome", "Outcome"),
		kit.Col("evaluation", "Evaluation"),
		kit.Col("segment", "Segment"),
		kit.Col("metric", "Metric"),
		kit.Col("response", "Response"),
	)
}

// runLink links to the run with the ID in the column Run, in the experiment in the column Experiment.
func runLink() kit.Property {
	return kit.LinkProperty("Open in MLflow", "${mlflow:raw}/#/experiments/${__data.fields.Experiment:percentencode}/runs/${__data.fields.Run:percentencode}", true)
}

// traceLink links to the trace with the ID in the column Trace.
func traceLink() kit.Property {
	return kit.LinkProperty("Open the trace", `/explore?schemaVersion=1&orgId=1&panes=%7B%22trace%22%3A%7B%22datasource%22%3A%22${tempo:percentencode}`+
		`%22%2C%22queries%22%3A%5B%7B%22refId%22%3A%22A%22%2C%22queryType%22%3A%22traceql%22%2C%22query%22%3A%22${__data.fields.Trace:percentencode}`+
		`%22%7D%5D%2C%22range%22%3A%7B%22from%22%3A%22now-6h%22%2C%22to%22%3A%22now%22%7D%7D%7D`, true)
}

// traceTable lists the worst recent trace of every model and reason.
func traceTable(id uint32, reasons string) kit.Panel {
	matchers := []string{}
	if reasons != "" {
		matchers = append(matchers, `reason=~"`+reasons+`"`)
	}
	return kit.Columns(kit.Table(kit.Text{
		ID: id, Title: "Worst recent traces", Unit: "short",
		Description: "The worst recent trace of each version and reason; the exporter replaces it at most once a minute. Click a trace to open it.",
	}).Span(12).
		WithTarget(kit.Instant("trace", kit.MaxBy(byVersion+", reason, trace_id, mlflow_run_id", models.Raw("ml_model_exemplar_trace_info", matchers...)))),
		[]kit.Column{
			kit.Col("model", "Model", modelLink(modelQualityUID)),
			kit.Col("version", "Version"),
			kit.Col("reason", "Reason"),
			kit.Col("trace_id", "Trace", traceLink()),
			kit.Col("mlflow_run_id", "Run"),
		}, "Value")
}
