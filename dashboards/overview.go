package dashboards

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/sightglass-ml/sightglass/dashboards/internal/kit"
)

const overviewUID = "sightglass-overview"

// everything is the scope of the overview, which has no selection of objects.
const everything kit.Scope = ""

// layers are the layers of alerts, with the dashboard of each.
var layers = []struct{ name, title, uid string }{
	{"data", "Data", dataQualityUID},
	{"model", "Models", modelQualityUID},
	{"infrastructure", "Infrastructure", gpuUID},
	{"business", "Business", costUID},
}

// allLayers matches the alerts of this bundle only.
const allLayers = "data|model|infrastructure|business"

// overview is the first dashboard for the engineer on call: what is wrong, since when, how severe, and which dashboard has the details.
func overview() kit.Dashboard {
	return kit.Dashboard{
		UID:         overviewUID,
		Title:       "Overview",
		Description: "Everything that is wrong now, over data, models, infrastructure and business, the worst first, and what Sightglass does not see.",
		Tags:        []string{"overview"},
		From:        "now-24h",
		Variables: append(kit.Header("sightglass_config_last_reload_successful"),
			kit.Hidden("tempo", "Tempo", "The uid of the Tempo data source that has the traces.", "tempo"),
			kit.Hidden("mlflow", "MLflow", "Where the MLflow server is.", "https://mlflow.example.com")),
		Annotations: []kit.Annotation{{
			Name:  "Deployments",
			Expr:  "1000 * " + kit.MaxBy(byVersion, kit.Raw("ml_model_version_first_served_timestamp_seconds")),
			Title: "First request to {{model}} {{version}}",
			Text:  "{{model}} {{version}}",
			Tags:  "model",
			Color: "blue",
		}},
		Rows: []kit.Row{
			{ID: 10, Title: "Now", Panels: overviewNowRow()},
			{ID: 20, Title: "Alerts over time, actions and blind spots", Panels: overviewContextRow()},
		},
	}
}

func anyAlert(matchers ...string) string { return firing(everything, allLayers, matchers...) }

func overviewNowRow() kit.Panels {
	count := func(id uint32, name, color string) kit.Panel {
		return kit.Stat(kit.Text{
			ID: id, Title: strings.ToUpper(name[:1]) + name[1:], Unit: "short", Description: "Firing alerts of severity " + name + ".",
		}).Height(3).Thresholds(kit.Steps("text", kit.Step(1, color))).
			WithTarget(kit.Now("count", "count("+anyAlert(`severity="`+name+`"`)+") or vector(0)", ""))
	}
	panels := kit.Panels{
		count(11, "critical", "red"),
		count(12, "warning", "orange"),
		count(13, "info", "text"),
		kit.Stat(kit.Text{
			ID: 14, Title: "Oldest open", Unit: "dateTimeFromNow", Description: "When the oldest firing alert of severity critical or warning began.",
		}).Height(3).Thresholds(kit.Steps("text")).
			WithTarget(kit.Now("since", "min("+since(everything, allLayers)+`and on (alertname, severity) `+anyAlert(`severity=~"critical|warning"`)+")", "")),
		kit.Stat(kit.Text{
			ID: 15, Title: "At risk this month", Unit: dollars,
			Description: "By how much departments will exceed their budgets at the projected month end, and what GPUs that do nothing cost in a month.",
		}).Height(3).Decimals(0).Thresholds(kit.Steps("text")).
			WithTarget(kit.Now("risk", "(sum("+kit.MaxBy(byDepartment, kit.Raw("ml_cost_month_end_projected_cad"))+" - on ("+byDepartment+") "+
				kit.MaxBy(byDepartment, kit.Raw("ml_cost_budget_cad"))+" > 0) or vector(0))\n+ (sum("+
				kit.Recorded("department:ml_cost_gpu_idle:cad_per_month")+") or vector(0))", "")),
		kit.Stat(kit.Text{
			ID: 16, Title: "Waiting for people", Unit: "short", Description: "Answers in the review queue that nobody has decided on.",
		}).Height(3).Thresholds(kit.Steps("text")).
			WithTarget(kit.Now("open", "sum("+kit.MaxBy("cluster, namespace, state", kit.Raw("ml_review_queue_items", `state="open"`))+") or vector(0)", "")),
	}
	for i, layer := range layers {
		worst := "max(" + severity("layer", func(matchers ...string) string { return firing(everything, layer.name, matchers...) }) + ") or vector(0)"
		panels = append(panels, kit.Stat(kit.Text{
			ID: 21 + uint32(i), Title: layer.title, Unit: "none", Description: "The worst severity that fires in this layer. Click for its dashboard.",
		}).Span(6).Height(3).
			ColorMode(common.BigValueColorModeBackground).
			Mappings(kit.Severities()).
			DataLinks([]cog.Builder[dashboard.DashboardLink]{kit.Link("Show "+layer.title, kit.LinkAcross(layer.uid))}).
			WithTarget(kit.Now("worst", worst, "")))
	}
	return append(panels, wrongTable())
}

// objectLabels are the labels that name the object of an alert, in display order.
var objectLabels = []string{"dataset", "column", "model", "version", "field", "evaluation", "outcome", "instance", "gpu", "department", "kind"}

// object adds a label with the name of the object to the series of an expression.
func object(expr string) string {
	return `label_replace(label_join(` + "\n" + expr + "\n" + `, "object", " ", "` + strings.Join(objectLabels, `", "`) + `"), "object", "$1", "object", " *(.*?) *")`
}

// overLimit is the ratio of an alert's value to its limit; the alert fires from 1 on. If low values are bad, it is the ratio of the limit
// to the value.
type overLimit struct{ alert, expr string }

// overLimits are the alerts whose limit is a number.
func overLimits() []overLimit {
	over := func(series, limit string) string { return kit.Recorded(series) + " / " + kit.Recorded(limit) }
	each := func(series, by, limit string) string {
		return kit.Recorded(series) + " / on (" + by + ") group_left () " + kit.Recorded(limit)
	}
	forAll := func(series, threshold string) string {
		return kit.Recorded(series) + " / on () group_left () ml:threshold:" + threshold
	}
	const byModel = "cluster, namespace, model"
	return []overLimit{
		{"MLDatasetNullRatioHigh", over("dataset_column:ml_nulls:ratio", "dataset_column:ml_nulls:limit")},
		{"MLDatasetUnseenCategories", over("dataset_column:ml_unseen:ratio", "dataset_column:ml_unseen:limit")},
		{"MLDatasetValuesOutOfRange", over("dataset_column:ml_out_of_range:ratio", "dataset_column:ml_out_of_range:limit")},
		{"MLDatasetDrift", excessDrift(everything) + " / on (" + byColumn + ") group_left () " + kit.Recorded("dataset_column:ml_drift:limit")},
		{"MLDatasetStale", over("dataset:ml_freshness:age_seconds", "dataset:ml_freshness:limit")},
		{"MLDatasetRowDropHigh", each("dataset:ml_row_drop:ratio", byDataset, "dataset:ml_row_drop:limit")},
		{"MLDatasetFeatureMismatch", each("dataset:ml_mismatch:ratio", byDataset, "dataset:ml_mismatch:limit")},
		{"MLModelDrift", excessFieldDrift(everything, "") + " / on (" + byModel + ", field) group_left () " + kit.Recorded("model_field:ml_drift:limit")},
		{"MLModelGroundednessLow", kit.Recorded("model:ml_groundedness:limit") + " / on (" + byModel + ") group_right () " +
			kit.Recorded("model:ml_evaluation_score:mean1h", `evaluation="groundedness"`)},
		{"MLModelHallucinationRateHigh", each("model:ml_hallucination:ratio1h", byModel, "model:ml_hallucination:limit")},
		{"MLInferenceQueueDominates", each("model:ml_inference_queue_wait:ratio_rate5m", byModel, "model:ml_inference_queue_wait:limit")},
		{"MLInferenceFailurePathHigh", each("model:ml_inference_failures:ratio_rate5m", byModel, "model:ml_inference_failures:limit")},
		{"MLInferenceLatencyAnomaly", kit.Recorded("model:ml_season:current", `signal="latency"`) + " / " + kit.Recorded("model:ml_season:upper", `signal="latency"`)},
		{"MLGPUSaturated", forAll("gpu:gpu_utilization:ratio", "gpu_utilization_ratio")},
		{"MLCostMonthEndOverBudget", forAll("department:ml_cost_month_end:ratio", "budget_ratio")},
		{"MLCostIdleGPUWaste", forAll("department:ml_cost_gpu_idle:cad_per_month", "idle_gpu_cad_per_month")},
	}
}

// wrongTable lists the firing alerts of all layers, the worst and oldest first.
func wrongTable() kit.Panel {
	const row = "cluster, namespace, alertname, layer, object, link"
	var ratios []string
	for _, o := range overLimits() {
		ratios = append(ratios, `label_replace(`+o.expr+`, "alertname", "`+o.alert+`", "", "")`)
	}
	const byAlert = "alertname, cluster, namespace, dataset, column, model, version, field, instance, gpu, department"
	run := anyAlert(`model!=""`, `version!=""`) + "\n* on (" + byVersion + ") group_left (mlflow_run_id, mlflow_experiment_id)\n" +
		kit.MaxBy(byVersion+", mlflow_run_id, mlflow_experiment_id", kit.Raw("ml_model_info", `mlflow_run_id!=""`))
	trace := anyAlert(`model!=""`, `version!=""`) + "\n* on (" + byVersion + ") group_left (trace_id)\n" +
		"topk by (" + byVersion + ") (1, " + kit.MaxBy(byVersion+", trace_id", kit.Raw("ml_model_exemplar_trace_info")) + ")"
	panel := kit.Table(kit.Text{
		ID: 17, Title: "Firing alerts", Unit: "short",
		Description: "What is wrong now in all layers, the worst and oldest first. Empty: no alert fires. The limit is that of the object; from 100 % on the alert fires. Click the alert for its runbook, the object for its dashboard, the run and the trace for themselves.",
	}).Height(10).SortBy(kit.WorstFirst("Severity", "Since")).
		WithTarget(kit.Instant("severity", severity(row, func(matchers ...string) string { return dashboardOf(object(anyAlert(matchers...))) }))).
		WithTarget(kit.Instant("since", "min by ("+row+") ("+dashboardOf(object(since(everything, allLayers)))+")")).
		WithTarget(kit.Instant("over", "max by (cluster, namespace, alertname, object) ("+object(
			"(\n"+strings.Join(ratios, "\nor\n")+"\n)\nand on ("+byAlert+") "+anyAlert())+")")).
		WithTarget(kit.Instant("run", "max by ("+row+", mlflow_run_id, mlflow_experiment_id) ("+dashboardOf(object(run))+")")).
		WithTarget(kit.Instant("trace", "max by ("+row+", trace_id) ("+dashboardOf(object(trace))+")"))
	return kit.Columns(panel, []kit.Column{
		kit.Col("Value #severity", "Severity", kit.Colored(), kit.Mapped(kit.Severities()), kit.Width(90)),
		kit.Col("Value #since", "Since", kit.Unit("dateTimeFromNow"), kit.Width(130)),
		kit.Col("layer", "Layer", kit.Width(120)),
		kit.Col("alertname", "Alert", kit.Width(280), kit.LinkProperty("Runbook", "${runbooks:raw}/${__data.fields.Alert}.md", true)),
		kit.Col("object", "Object", linkOfRow()),
		kit.Col("Value #over", "Of limit", append(kit.OfLimit(), kit.Width(90))...),
		kit.Col("mlflow_run_id", "Run", runLink(), kit.Width(110)),
		kit.Col("trace_id", "Trace", traceLink(), kit.Width(110)),
		kit.Col("mlflow_experiment_id", "Experiment", kit.HiddenColumn()...),
		kit.Col("link", "Dashboard", kit.HiddenColumn()...),
	}, "Value #run", "Value #trace")
}

// dashboardOf adds the label link to the series of an expression: the dashboard of their object with its variables set.
func dashboardOf(expr string) string {
	out := expr
	replace := func(label, value, to string) {
		out = fmt.Sprintf(`label_replace(%s, "link", "%s", "%s", "%s")`, out, to, label, value)
	}
	for _, layer := range layers {
		replace("layer", layer.name, layer.uid+"?")
	}
	replace("instance", "(.+)", gpuUID+"?var-instance=$1")
	replace("uuid", "(.+)", gpuUID+"?var-detail=$1")
	replace("department", "(.+)", costUID+"?var-department=$1")
	replace("model", "(.+)", modelQualityUID+"?var-model=$1&var-detail=$1")
	replace("dataset", "(.+)", dataQualityUID+"?var-dataset=$1&var-detail=$1")
	replace("alertname", "Sightglass.+", overviewUID+"?")
	return out
}

func overviewContextRow() kit.Panels {
	var quiet []string
	for _, layer := range layers {
		quiet = append(quiet, `label_replace(vector(0), "layer", "`+layer.name+`", "", "")`)
	}
	return kit.Panels{
		kit.StateTimeline(kit.Text{
			ID: 31, Title: "Worst severity by layer", Unit: "none", Description: "The worst severity that fired in each layer.",
		}).Height(6).Mappings(kit.Severities()).
			WithTarget(kit.Range("worst", severity("layer", anyAlert)+"\nor on (layer) ("+strings.Join(quiet, " or ")+")", "{{layer}}")),
		actionsTable(),
		blindSpotTable(),
	}
}

// actionsTable shows the responder's actions in the time range, and its pending actions.
func actionsTable() kit.Panel {
	const by = "cluster, namespace, action, result"
	return kit.Columns(kit.Table(kit.Text{
		ID: 32, Title: "Automated actions", Unit: "short",
		Description: "What the responder did within the time range, by result, and what still waits for its target. Held back: a retraining that a data break forbids.",
	}).Span(12).Height(8).
		WithTarget(kit.Instant("done", "sum by ("+by+") (round(increase("+kit.Raw("ml_response_actions_total")+"[$__range]))) > 0")).
		WithTarget(kit.Instant("pending", `label_replace(`+kit.MaxBy("cluster, namespace, action", kit.Raw("ml_response_pending"))+`, "result", "pending", "", "")`)),
		[]kit.Column{
			kit.Col("action", "Action"),
			kit.Col("result", "Result"),
			kit.Col("Value #done", "In the time range", kit.Decimals(0)),
			kit.Col("Value #pending", "Now", kit.Decimals(0)),
		})
}

// blindSpotTable counts what no alert can detect at present, and why. Each leads to the dashboard of its objects.
func blindSpotTable() kit.Panel {
	spot := func(name, uid, expr string) string {
		return `label_replace(label_replace(count(` + expr + `) or vector(0), "gap", "` + name + `", "", ""), "link", "` + uid + `?", "", "")`
	}
	spots := []string{
		spot("Exporters down", dataQualityUID, kit.Raw("up")+" == 0"),
		spot("Alerts of models whose server lacks the metrics", inferenceUID, kit.Recorded("model:ml_alert_data:missing")),
		spot("Alerts of GPUs whose exporter lacks the metrics", gpuUID, kit.Recorded("instance:ml_alert_data:missing")),
		spot("Datasets whose profile fails", dataQualityUID, kit.MaxBy(byDataset, kit.Raw("ml_dataset_profile_success"))+" == 0"),
		spot("Datasets with a learning baseline", dataQualityUID, kit.MaxBy(byDataset, kit.Raw("ml_dataset_baseline_frozen"))+" == 0"),
		spot("Models with a learning baseline", modelQualityUID, kit.MaxBy(byVersion+", role", kit.Raw("ml_model_baseline_frozen"))+" == 0"),
		spot("Datasets whose volume cannot alert yet", dataQualityUID, kit.Recorded("dataset:ml_seasonality:info", `state="learning"`)),
		spot("Datasets with too few rows for drift", dataQualityUID, kit.Recorded("dataset:ml_blind:info", `blinded="MLDatasetDrift",reason="few_rows"`)),
		spot("Datasets with columns of too many bins for their rows", dataQualityUID, kit.Recorded("dataset:ml_blind:info", `reason="noise"`)),
		spot("Datasets whose window is too short for the training data", dataQualityUID, kit.Recorded("dataset:ml_blind:info", `reason="short_window"`)),
		spot("Datasets without a baseline for broken values", dataQualityUID, kit.Recorded("dataset:ml_blind:info", `reason="no_baseline"`)),
		spot("Datasets without a time of their records", dataQualityUID, kit.Recorded("dataset:ml_blind:info", `reason="no_time"`)),
		spot("Models whose traffic cannot alert yet", inferenceUID, kit.Recorded("model:ml_seasonality:info", `signal="traffic",state="learning"`)),
		spot("Models whose latency cannot alert yet", inferenceUID, kit.Recorded("model:ml_seasonality:info", `signal="latency",state="learning"`)),
		spot("Models without a baseline for broken values", modelQualityUID, kit.Recorded("model:ml_blind:info", `reason="no_baseline"`)),
		spot("Models with too few values for broken ones", modelQualityUID, kit.Recorded("model:ml_blind:info", `reason="few_rows"`)),
		spot("Datasets of models that are not profiled", modelQualityUID, kit.Recorded("model:ml_blind:info", `reason="unprofiled"`)),
		spot("Features that a version does not send", modelQualityUID, kit.Recorded("model:ml_blind:info", `reason="not_sent"`)),
		spot("Models without a training run", modelQualityUID, kit.Recorded("model:ml_run:linked")+" == 0"),
		spot("Bills, rates and prices older than their limit", costUID, kit.Recorded("cost:ml_data:age_seconds")+" > "+kit.Recorded("cost:ml_data:limit")),
	}
	return kit.Columns(kit.Table(kit.Text{
		ID: 33, Title: "Blind spots", Unit: "short",
		Description: "What is watched in part or not at all: as long as a number is not zero, some alerts cannot fire or judge by old data. Click one for the dashboard of its objects.",
	}).Span(12).Height(8).SortBy(kit.LargestFirst("Count")).
		WithTarget(kit.Instant("count", strings.Join(spots, "\nor\n"))),
		[]kit.Column{
			kit.Col("gap", "What", linkOfRow()),
			kit.Col("Value", "Count", kit.Decimals(0)),
			kit.Col("link", "Dashboard", kit.HiddenColumn()...),
		})
}

// linkOfRow leads to the dashboard in the row's label link.
func linkOfRow() kit.Property {
	return kit.LinkProperty("Show it", "/d/${__data.fields.Dashboard:raw}&"+strings.TrimPrefix(kit.LinkAcross(""), "/d/?"), false)
}
