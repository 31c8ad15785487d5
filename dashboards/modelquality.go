package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/common"

	"github.com/sightglass-ml/sightglass/dashboards/internal/kit"
)

const modelQualityUID = "sightglass-model-quality"

// byField are the labels that identify a field of a version.
const byField = byVersion + ", field, role"

// oneModel is the scope of panels of one model, oneField of one of its fields.
const (
	oneModel kit.Scope = `model="$detail"`
	oneField kit.Scope = `model="$detail", field="$field"`
)

// modelQuality shows from top to bottom: which models have a problem, which feature drifted, the distribution of one field, confidence,
// evaluations, and lineage.
func modelQuality() kit.Dashboard {
	return kit.Dashboard{
		UID:         modelQualityUID,
		Title:       "Model quality",
		Description: "Drift, skew, confidence, predictions, evaluations and performance of serving models, and the runs that trained them.",
		Tags:        []string{"model"},
		From:        "now-24h",
		Variables: append(append(kit.Header("ml_inference_requests_total"), modelVariables("model:ml_inference_requests:rate5m")...),
			kit.One("detail", "Model in detail", "model", "model",
				"sort_desc("+severityOf(models.Raw("ml_model_field_values_total"), "model", modelAlerts)+")"),
			kit.One("field", "Field in detail", "field", "field",
				"sort_desc(max by (field) ("+oneModel.Recorded("model_field:ml_drift:psi")+")\nor max by (field) (0 * "+oneModel.Raw("ml_model_field_values_total")+"))")),
		Annotations: modelAnnotation(),
		Rows: []kit.Row{
			{ID: 10, Title: "Models", Panels: modelGlanceRow()},
			{ID: 20, Title: "Drift from production, skew from training", Panels: modelDriftRow()},
			{ID: 25, Title: "Probable causes", Panels: modelCauseRow()},
			{ID: 30, Title: "$field of $detail", Collapsed: true, Panels: modelFieldRow()},
			{ID: 40, Title: "Confidence and predictions of $detail", Collapsed: true, Panels: modelConfidenceRow()},
			{ID: 50, Title: "Evaluations", Collapsed: true, Panels: modelEvaluationRow()},
			{ID: 60, Title: "Outcomes and performance on labels", Collapsed: true, Panels: modelPerformanceRow()},
			{ID: 70, Title: "Versions, runs and traces", Collapsed: true, Panels: modelLineageRow()},
		},
	}
}

func modelGlanceRow() kit.Panels {
	firing := func(matchers ...string) string {
		return "count(" + kit.MaxBy("cluster, namespace, model", modelAlerts(matchers...)) + ") or vector(0)"
	}
	return kit.Panels{
		kit.Stat(kit.Text{
			ID: 11, Title: "Models", Unit: "short", Description: "Models that answered within the last five minutes.",
		}).Thresholds(kit.Steps("text")).
			WithTarget(kit.Now("count", "count(sum by (cluster, namespace, model) ("+models.Recorded("model:ml_inference_requests:rate5m")+") > 0)", "")),
		countStat(12, "Critical", "Models with a firing critical alert.", firing(`severity="critical"`), "red"),
		countStat(13, "Warning", "Models with a firing warning.", firing(`severity="warning"`), "orange"),
		countStat(14, "To be retrained", "Models with a firing alert that retraining answers.", firing(`response="retrain"`), "orange"),
		countStat(15, "Baselines learning", "Versions whose production baseline is not frozen yet. Until it is, drift from it raises no alert.",
			"count("+kit.MaxBy(byVersion, models.Raw("ml_model_baseline_frozen"))+" == 0) or vector(0)", "blue"),
		countStat(16, "Without a run", "Versions that answer and whose training run nobody knows.",
			"count("+models.Recorded("model:ml_run:linked")+" == 0) or vector(0)", "orange"),
		modelAlertTable(17),
	}
}

// excessFieldDrift is the number that the drift alerts compare with their limit. The window is an hour, five minutes with "5m", or a day
// with "1d".
func excessFieldDrift(of kit.Scope, window string, matchers ...string) string {
	return "clamp_min(\n" + of.Recorded("model_field:ml_drift:psi"+window, matchers...) + "\n- " + of.Recorded("model_field:ml_drift:psi_noise"+window, matchers...) + ", 0)"
}

// fieldDrift shows the fields with the largest drift in a window, and their limits.
func fieldDrift(text kit.Text, window string) kit.Panel {
	worst := "topk(10,\nmax_over_time(" + models.Recorded("model_field:ml_drift:psi"+window) + "[$__range] @ end())\n" +
		"- avg_over_time(" + models.Recorded("model_field:ml_drift:psi_noise"+window) + "[$__range] @ end())\n)"
	limits := models.Recorded("model_field:ml_drift:limit"+window) + "\nand on (cluster, namespace, model, field)\n" + worst
	return kit.Limit(kit.Timeseries(text)).Span(12).Height(10).Decimals(3).
		Links(kit.Runbook("MLModelDrift")).
		WithTarget(kit.Range("drift", "(\n"+excessFieldDrift(models, window)+"\n)\nand on ("+byField+", baseline)\n"+worst, "{{model}} {{version}} · {{field}} · {{baseline}}")).
		WithTarget(kit.Range("limit", "min("+limits+")", "limit")).
		WithTarget(kit.Range("limits", limits, "limit of {{model}} · {{field}}"))
}

func modelDriftRow() kit.Panels {
	labels := "cluster, namespace, version, field, role"
	drift := func(window, baseline string) string {
		return kit.MaxBy(labels, excessFieldDrift(oneModel, window, `baseline="`+baseline+`"`))
	}
	three := kit.Decimals(3)
	return kit.Panels{
		fieldDrift(kit.Text{
			ID: 21, Title: "Drift beyond chance in an hour, worst fields", Unit: "none",
			Description: "Population stability index of the last hour against a baseline, less what that many values show by chance: the ten worst within the time range. Dashed: each field's limit. The alert also asks that the index be significant.",
		}, ""),
		fieldDrift(kit.Text{
			ID: 23, Title: "Drift beyond chance in five minutes, worst fields", Unit: "none",
			Description: "The same of the last five minutes, where a sudden shift shows first. Its limit is higher, since minutes differ more than hours do. Where there are too few values in five minutes, there is none.",
		}, "5m"),
		kit.Columns(kit.Table(kit.Text{
			ID: 22, Title: "Fields of $detail", Unit: "none",
			Description: "Every field of the model in detail. Drift is the index less what chance explains: of the last hour from production, of the last day from training data, which has no hours; significance is the index over its critical value, so that above 1 it is no chance. Click a field to see it below.",
		}).SortBy(kit.LargestFirst("From production")).
			WithTarget(kit.Instant("production", drift("", "production"))).
			WithTarget(kit.Instant("training", drift("1d", "training"))).
			WithTarget(kit.Instant("significance", kit.MaxBy(labels, oneModel.Recorded("model_field:ml_drift:psi")+"\n/ "+oneModel.Recorded("model_field:ml_drift:psi_critical")))).
			WithTarget(kit.Instant("values", kit.MaxBy(labels, oneModel.Recorded("model_field:ml_values:count1h")))).
			WithTarget(kit.Instant("missing", kit.MaxBy(labels, oneModel.Recorded("model_field:ml_values:ratio1h", `bin="null"`)))).
			WithTarget(kit.Instant("unseen", kit.MaxBy(labels, oneModel.Recorded("model_field:ml_values:ratio1h", `bin="unseen"`)))),
			[]kit.Column{
				kit.Col("field", "Field", kit.LinkProperty("Show this field", kit.LinkTo(modelQualityUID, []string{"model"},
					"detail", "${detail:percentencode}", "field", "${__data.fields.Field:percentencode}"), false)),
				kit.Col("role", "Role"),
				kit.Col("version", "Version"),
				kit.Col("Value #production", "From production", three),
				kit.Col("Value #training", "From training", three),
				kit.Col("Value #significance", "Significance", kit.Decimals(1)),
				kit.Col("Value #values", "Values in an hour", kit.Decimals(0)),
				kit.Col("Value #missing", "Missing", kit.Unit("percentunit")),
				kit.Col("Value #unseen", "Unseen", kit.Unit("percentunit")),
			}),
	}
}

// modelCauseRow is one table: the probable causes of each change of a field that is above its limit.
func modelCauseRow() kit.Panels {
	labels := byField + ", signal, cause_field, cause_value"
	panel := kit.Table(kit.Text{
		ID: 26, Title: "Probable causes", Unit: "percentunit",
		Description: "The value of another feature, of two, or the region, client, replica or version, without whose inferences most of a change disappears: the share of the change that it explains, its share of the inferences, the time of the first one, whether they came gradually, and the share of the replicas that have them. An empty cause says that no single segment explains the change.",
	}).SortBy(kit.LargestFirst("Explained")).
		WithTarget(kit.Instant("explained", kit.MaxBy(labels, models.Recorded("model_field:ml_cause:explained")))).
		WithTarget(kit.Instant("rows", kit.MaxBy(labels, models.Raw("ml_model_cause_rows_ratio")))).
		WithTarget(kit.Instant("since", "1000 * min by ("+labels+") ("+models.Raw("ml_model_cause_first_seen_timestamp_seconds")+")")).
		WithTarget(kit.Instant("gradual", kit.MaxBy(labels, models.Raw("ml_model_cause_gradual")))).
		WithTarget(kit.Instant("instances", kit.MaxBy(labels, models.Raw("ml_model_cause_instances_ratio"))))
	return kit.Panels{kit.Columns(panel, []kit.Column{
		kit.Col("model", "Model", modelLink(modelQualityUID)),
		kit.Col("version", "Version"),
		kit.Col("field", "Field"),
		kit.Col("role", "Role"),
		kit.Col("signal", "Signal"),
		kit.Col("cause_field", "Cause"),
		kit.Col("cause_value", "Value"),
		kit.Col("Value #explained", "Explained", append(kit.Gauge(0, 1), kit.Unit("percentunit"))...),
		kit.Col("Value #rows", "Inferences", kit.Unit("percentunit")),
		kit.Col("Value #since", "First seen", kit.Unit("dateTimeAsIso")),
		kit.Col("Value #gradual", "Gradual", kit.Unit("bool_yes_no")),
		kit.Col("Value #instances", "Replicas", kit.Unit("percentunit")),
	})}
}

func modelFieldRow() kit.Panels {
	share := oneField.Recorded("model_field:ml_values:ratio1h")
	baseline := func(name string) string {
		return kit.MaxBy("cluster, namespace, bin", oneField.Raw("ml_model_field_baseline_ratio", `baseline="`+name+`"`))
	}
	byRole := byVersion + ", role"
	days, wanted := kit.MaxBy(byRole, models.Raw("ml_model_baseline_days")), kit.MaxBy(byRole, models.Raw("ml_model_baseline_wanted_days"))
	return kit.Panels{
		distribution(kit.Text{
			ID: 31, Title: "Distribution of $field in $detail", Unit: "percentunit",
			Description: "Share of values in each frozen bin: in the last hour, in the training data and in the first days of production. Of several versions, the largest share. Missing values and categories never seen have bins of their own.",
		}, kit.MaxBy("cluster, namespace, bin", share), baseline("training"), baseline("production")),
		kit.Timeseries(kit.Text{
			ID: 32, Title: "Share of each bin of $field over time", Unit: "percentunit",
			Description: "When the distribution moved: the ten largest bins within the time range.",
		}).Span(10).Height(10).Max(1).Min(0).FillOpacity(60).
			Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A")).
			WithTarget(kit.Range("share", kit.Top(10, func(r kit.Read) string { return r.Value(share) }), "{{bin}} {{version}}")),
		kit.Columns(kit.Table(kit.Text{
			ID: 33, Title: "Learning the production baselines", Unit: "short",
			Description: "Day k of 30, or as many as are configured, of the first days in production: of a model for its inputs, of each version for its outputs. Then the baseline is frozen. Until then drift of inputs raises no alert, and outputs are compared with those of the version before.",
		}).Span(14).
			WithTarget(kit.Instant("day", days)).
			WithTarget(kit.Instant("of", wanted)).
			WithTarget(kit.Instant("progress", days+"\n/ on ("+byRole+")\n"+wanted)).
			WithTarget(kit.Instant("frozen", kit.MaxBy(byRole, models.Raw("ml_model_baseline_frozen")))),
			[]kit.Column{
				kit.Col("model", "Model", modelLink(modelQualityUID)),
				kit.Col("version", "Version"),
				kit.Col("role", "Fields"),
				kit.Col("Value #day", "Day"),
				kit.Col("Value #of", "Of"),
				kit.Col("Value #progress", "Progress", append(kit.Gauge(0, 1), kit.Unit("percentunit"))...),
				kit.Col("Value #frozen", "Frozen", kit.Mapped(kit.Mappings(
					kit.State{Value: 1, Text: "Yes", Color: "green"}, kit.State{Value: 0, Text: "Learning", Color: "blue"})), kit.Colored()),
			}),
		kit.Columns(kit.Table(kit.Text{
			ID: 34, Title: "Values behind the baselines of $detail", Unit: "short",
			Description: "How many values each baseline was learned from. With few, even a large index can be chance.",
		}).Span(10).SortBy(kit.LargestFirst("Values")).
			WithTarget(kit.Instant("values", kit.MaxBy("cluster, namespace, version, field, baseline", oneModel.Raw("ml_model_field_baseline_values")))),
			[]kit.Column{
				kit.Col("field", "Field"),
				kit.Col("version", "Version"),
				kit.Col("baseline", "Baseline"),
				kit.Col("Value", "Values"),
			}),
		kit.Columns(kit.Table(kit.Text{
			ID: 35, Title: "Fields without bins", Unit: "string",
			Description: "Fields that are not counted, and why: nothing tells when their values change. baselines.fields.include forces bins.",
		}).
			WithTarget(kit.Instant("reason", kit.MaxBy(byVersion+", field, role, reason", models.Raw("ml_model_field_without_bins_info")))),
			[]kit.Column{
				kit.Col("model", "Model", modelLink(modelQualityUID)),
				kit.Col("version", "Version"),
				kit.Col("field", "Field"),
				kit.Col("role", "Role"),
				kit.Col("reason", "Reason"),
			}, "Value"),
	}
}

func modelConfidenceRow() kit.Panels {
	mean := func(scope kit.Scope, by, histogram string) func(kit.Read) string {
		return func(r kit.Read) string {
			return "sum by (" + by + ") (" + r.Rate(scope.Raw(histogram+"_sum")) + ")\n/ sum by (" + by + ") (" + r.Rate(scope.Raw(histogram+"_count")) + ")"
		}
	}
	return kit.Panels{
		kit.Heatmap(kit.Text{
			ID: 41, Title: "Confidence", Unit: "percentunit",
			Description: "How many predictions were how sure, over time. A band that moves or splits is a model that meets what it does not know, often before labels tell.",
		}).Links(kit.Runbook("MLModelConfidenceShift")).
			WithTarget(kit.Buckets("confidence", "sum by (le) (increase("+oneModel.Raw("ml_model_confidence_bucket")+"[$__rate_interval]))")),
		kit.Timeseries(kit.Text{
			ID: 42, Title: "Predictions", Unit: "percentunit",
			Description: "Share of each class, or interval of numbers, among the predictions of the last hour: the ten largest within the time range.",
		}).Max(1).Min(0).FillOpacity(60).
			Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A")).
			Links(kit.Runbook("MLModelPredictionDrift")).
			WithTarget(kit.Range("share", oneModel.Highest("model_field:ml_values:ratio1h", `field="prediction"`), "{{bin}} {{version}}")),
		kit.Timeseries(kit.Text{
			ID: 43, Title: "Mean confidence", Unit: "percentunit",
			Description: "Mean confidence of the predictions by version: the ten lowest within the time range.",
		}).Min(0).Max(1).
			WithTarget(kit.Range("confidence", kit.Bottom(10, mean(models, byVersion, "ml_model_confidence")), inferenceLegend)),
		kit.Timeseries(kit.Text{
			ID: 44, Title: "Age of features, mean", Unit: "s",
			Description: "How old features are when the model uses them. Training that used fresher ones is a skew of its own.",
		}).Min(0).
			WithTarget(kit.Range("age", kit.Top(10, mean(oneModel, byVersion+", feature", "ml_model_feature_age_seconds")), "{{feature}} {{version}}")),
	}
}

func modelEvaluationRow() kit.Panels {
	score := kit.Signal{Scope: models, Series: "model:ml_evaluation_score:mean1h", By: byVersion + ", evaluation"}
	const grounded = `evaluation="groundedness"`
	groundedness := func(window string) string {
		return kit.Of(models.Recorded("model:ml_evaluation_score:mean"+window, grounded), byVersion,
			"bottomk(5, min_over_time("+models.Recorded("model:ml_evaluation_score:mean1h", grounded)+"[$__range] @ end()))")
	}
	rates := func(by, counter string) string {
		return kit.Top(10, func(r kit.Read) string {
			return "sum by (cluster, namespace, model, " + by + ") (" + r.Rate(models.Raw(counter)) + ")"
		})
	}
	return kit.Panels{
		kit.Limit(kit.Timeseries(kit.Text{
			ID: 51, Title: "Groundedness", Unit: "percentunit",
			Description: "Mean groundedness of the answers of the last hour, and of the last five minutes where there are enough: the five worst versions. Dashed: each model's limit. The alert fires when the hour is below it, or five minutes by more than chance explains.",
		})).Span(8).Min(0).Max(1).
			Links(kit.Runbook("MLModelGroundednessLow")).
			WithTarget(kit.Range("score", groundedness("1h"), inferenceLegend)).
			WithTarget(kit.Range("minutes", groundedness("5m"), "five minutes of "+inferenceLegend)).
			WithTarget(kit.Range("limit", "max("+models.Recorded("model:ml_groundedness:limit")+")", "limit")).
			WithTarget(kit.Range("limits", models.Highest("model:ml_groundedness:limit"), "limit of {{model}}")),
		kit.WorstOf(kit.Text{
			ID: 52, Title: "Hallucinations", Unit: "percentunit",
			Description: "Share of the last hour's answers that are invented, by an evaluation of that name or by what is not grounded. Dashed: each model's limit.",
		}, kit.Signal{
			Scope: models, Series: "model:ml_hallucination:ratio1h", By: byVersion,
			Limit: "model:ml_hallucination:limit", LimitBy: "cluster, namespace, model",
		}, inferenceLegend).Span(8).
			Links(kit.Runbook("MLModelHallucinationRateHigh")),
		kit.Timeseries(kit.Text{
			ID: 53, Title: "All evaluations", Unit: "none",
			Description: "Mean score of the last hour by evaluation.",
		}).Span(8).Decimals(3).
			WithTarget(kit.Range("score", score.Worst(), "{{evaluation}} of "+inferenceLegend)),
		kit.Timeseries(kit.Text{
			ID: 54, Title: "Evaluated answers by result", Unit: "cps",
			Description: "Evaluated answers a second by what the gate of the evaluation made of them. What is below the gate goes to human review.",
		}).Min(0).
			WithTarget(kit.Range("results", rates("evaluation, result", "ml_model_evaluations_total"), "{{evaluation}} of {{model}}: {{result}}")),
		kit.Timeseries(kit.Text{
			ID: 55, Title: "Sent to review", Unit: "cps",
			Description: "Answers a second that were handed to human review, by result.",
		}).Min(0).
			WithTarget(kit.Range("sent", rates("result", "ml_model_reviews_sent_total"), "{{model}}: {{result}}")),
	}
}

func modelPerformanceRow() kit.Panels {
	class := func(of string) string {
		return kit.Bottom(5, func(r kit.Read) string { return r.Value(oneModel.Recorded("model_class:ml_performance:" + of)) })
	}
	now := func(id uint32, title, unit, metrics, description string, worst func(string, ...string) string) kit.Panel {
		return kit.Timeseries(kit.Text{ID: id, Title: title, Unit: unit, Description: description}).Span(8).
			Links(kit.Runbook("MLModelPerformanceDrop")).
			WithTarget(kit.Range("now", worst("model:ml_performance:current", `metric=~"`+metrics+`"`), "{{metric}} of "+inferenceLegend+" {{segment}}"))
	}
	return kit.Panels{
		kit.Timeseries(kit.Text{
			ID: 61, Title: "Outcomes", Unit: "reqps",
			Description: "Requests a second by how they ended, by spans.",
		}).Span(8).Min(0).
			WithTarget(kit.Range("outcome", kit.Top(10, func(r kit.Read) string {
				return "sum by (cluster, namespace, outcome) (" + r.Rate(models.Raw("ml_inference_requests_total")) + ")"
			}), "{{outcome}}")),
		now(62, "Accuracy and F1", "percentunit", "accuracy|f1", "On the rows whose labels have arrived: the share that was right, and the mean F1 of the classes: the ten worst.", models.Lowest),
		now(63, "Errors", "none", "mae|rmse", "On the rows whose labels have arrived: the mean absolute error and the root of the mean square: the ten worst.", models.Highest),
		kit.Timeseries(kit.Text{
			ID: 64, Title: "Precision and recall, by class", Unit: "percentunit",
			Description: "Of what was predicted a class, the share that is; of what is a class, the share that was predicted to be: the five worst classes of each.",
		}).Span(12).Min(0).Max(1).
			WithTarget(kit.Range("precision", class("precision"), "precision of {{class}} {{version}} {{segment}}")).
			WithTarget(kit.Range("recall", class("recall"), "recall of {{class}} {{version}} {{segment}}")),
		kit.Timeseries(kit.Text{
			ID: 65, Title: "Delay of labels", Unit: "s",
			Description: "How long after the prediction its label arrives: performance is that late.",
		}).Span(12).Min(0).
			WithTarget(kit.Range("delay", kit.Top(10, func(r kit.Read) string {
				return kit.MaxBy(byVersion, r.Value(models.Raw("ml_model_label_delay_seconds")))
			}), inferenceLegend)),
	}
}

func modelLineageRow() kit.Panels {
	info := models.Raw("ml_model_info")
	return kit.Panels{
		kit.Columns(kit.Table(kit.Text{
			ID: 71, Title: "Versions and training runs", Unit: "short",
			Description: "What the registry says about every version that is seen: click a run to open it. Validated says whether the training data is a snapshot that passed; empty, that nobody can tell.",
		}).
			WithTarget(kit.Instant("info", kit.MaxBy(byVersion+", mlflow_run_id, mlflow_experiment_id, training_dataset, training_digest, stage", info))).
			WithTarget(kit.Instant("validated", kit.MaxBy(byVersion, models.Recorded("model:ml_training_snapshot:validated")))).
			WithTarget(kit.Instant("created", "1000 * "+kit.MaxBy(byVersion, models.Raw("ml_model_version_created_timestamp_seconds")))).
			WithTarget(kit.Instant("served", "1000 * "+kit.MaxBy(byVersion, models.Raw("ml_model_version_first_served_timestamp_seconds")))),
			[]kit.Column{
				kit.Col("model", "Model", modelLink(modelQualityUID)),
				kit.Col("version", "Version"),
				kit.Col("stage", "Stage"),
				kit.Col("mlflow_run_id", "Run", runLink()),
				kit.Col("mlflow_experiment_id", "Experiment"),
				kit.Col("training_dataset", "Trained on"),
				kit.Col("training_digest", "Digest"),
				kit.Col("Value #validated", "Validated", kit.Mapped(kit.Mappings(
					kit.State{Value: 1, Text: "Yes", Color: "green"}, kit.State{Value: 0, Text: "No", Color: "orange"})), kit.Colored()),
				kit.Col("Value #created", "Created", kit.Unit("dateTimeFromNow")),
				kit.Col("Value #served", "First served", kit.Unit("dateTimeFromNow")),
			}, "Value #info"),
		traceTable(72, ""),
		kit.Timeseries(kit.Text{
			ID: 73, Title: "Requests by version", Unit: "reqps",
			Description: "Which version answers: a release is where one line takes over from another.",
		}).Min(0).
			WithTarget(kit.Range("requests", models.Highest("model:ml_inference_requests:rate5m"), inferenceLegend)),
	}
}
