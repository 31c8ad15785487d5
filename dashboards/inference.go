package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/common"

	"github.com/sightglass-ml/sightglass/dashboards/internal/kit"
)

const inferenceUID = "sightglass-inference-latency"

// bySource are the labels that identify a version of a model and the source of its series.
const bySource = byVersion + ", source"

const inferenceLegend = "{{model}} {{version}}"

// inference shows from top to bottom: which models are slow or failing, whether the queue or the computation is slow, the difference from
// the seasonal median, failures by kind, and tokens. It reads canonical series, so it works for spans and for every inference server.
func inference() kit.Dashboard {
	return kit.Dashboard{
		UID:         inferenceUID,
		Title:       "Inference latency",
		Description: "Latency split into queue and forward pass, failures, tokens, and what is usual for this weekday and time, from spans or from any inference server.",
		Tags:        []string{"model"},
		From:        "now-6h",
		Variables: append(append(kit.Header("ml_inference_requests_total"), modelVariables("model:ml_inference_requests:rate5m")...),
			kit.One("detail", "Model in detail", "model", "model",
				"sort_desc("+severityOf(models.Recorded("model:ml_inference_requests:rate5m"), "model", modelAlerts)+")")),
		Annotations: modelAnnotation(),
		Rows: []kit.Row{
			{ID: 10, Title: "Models", Panels: inferenceGlanceRow()},
			{ID: 20, Title: "Queue and forward pass", Panels: inferenceLatencyRow()},
			{ID: 30, Title: "Traffic and latency against the season", Collapsed: true, Panels: inferenceSeasonRow()},
			{ID: 40, Title: "Failures", Collapsed: true, Panels: inferenceFailureRow()},
			{ID: 50, Title: "Tokens and memory", Collapsed: true, Panels: inferenceTokenRow()},
		},
	}
}

func inferenceGlanceRow() kit.Panels {
	ms := func(series string) string { return "1000 * " + kit.MaxBy(bySource, models.Recorded(series)) }
	panel := kit.Table(kit.Text{
		ID: 11, Title: "State of every model", Unit: "short",
		Description: "One row per version and source of its numbers. An empty cell means not measured: of a server that counts sums alone, no percentile can be made.",
	}).Height(10).SortBy(kit.LargestFirst("Requests/s")).
		WithTarget(kit.Instant("rate", kit.MaxBy(bySource, models.Recorded("model:ml_inference_requests:rate5m")))).
		WithTarget(kit.Instant("failing", "sum by ("+bySource+") ("+models.Recorded("model:ml_inference_failures:ratio_rate5m")+")")).
		WithTarget(kit.Instant("mean", ms("model:ml_inference_duration_seconds:mean_5m"))).
		WithTarget(kit.Instant("high", ms("model:ml_inference_duration_seconds:p95_5m"))).
		WithTarget(kit.Instant("highest", ms("model:ml_inference_duration_seconds:p99_5m"))).
		WithTarget(kit.Instant("queue", kit.MaxBy(bySource, models.Recorded("model:ml_inference_queue_wait:ratio_rate5m")))).
		WithTarget(kit.Instant("limit", kit.MaxBy(bySource, models.Recorded("model:ml_inference_queue_wait:ratio_rate5m"))+
			"\n/ on (cluster, namespace, model) group_left ()\n"+models.Recorded("model:ml_inference_queue_wait:limit")))
	return kit.Panels{
		kit.Columns(panel, []kit.Column{
			kit.Col("model", "Model", modelLink(modelQualityUID)),
			kit.Col("version", "Version"),
			kit.Col("source", "Source"),
			kit.Col("Value #rate", "Requests/s", kit.Decimals(2)),
			kit.Col("Value #failing", "Failing", kit.Unit("percentunit")),
			kit.Col("Value #mean", "Mean", kit.Unit("ms")),
			kit.Col("Value #high", "p95", kit.Unit("ms")),
			kit.Col("Value #highest", "p99", kit.Unit("ms")),
			kit.Col("Value #queue", "Queue share", append(kit.Gauge(0, 1), kit.Unit("percentunit"))...),
			kit.Col("Value #limit", "Queue of limit", kit.OfLimit()...),
		}),
		modelAlertTable(12),
	}
}

func inferenceLatencyRow() kit.Panels {
	ms := func(series string) string {
		return "1000 * (" + kit.Signal{Scope: models, Series: series, By: bySource}.Worst() + ")"
	}
	// The slowest of several versions and sources, because means cannot be added. A model of one name can be in several namespaces.
	mean := func(series string) string {
		return "1000 * (" + kit.Top(5, func(r kit.Read) string {
			return kit.MaxBy("cluster, namespace, model", r.Value(oneModel.Recorded(series)))
		}) + ")"
	}
	line := func(id uint32, title, series, description string) kit.Panel {
		return kit.Timeseries(kit.Text{ID: id, Title: title, Unit: "ms", Description: description}).Min(0).
			WithTarget(kit.Range("latency", ms(series), inferenceLegend+" {{source}}"))
	}
	quantile := func(metric string) string {
		return kit.Top(3, func(r kit.Read) string {
			return "histogram_quantile(0.95, sum by (le, " + byVersion + ") (" + r.Rate(oneModel.Raw(metric+"_bucket")) + "))"
		})
	}
	return kit.Panels{
		kit.Timeseries(kit.Text{
			ID: 21, Title: "Queue and forward pass of $detail, mean", Unit: "ms",
			Description: "Mean milliseconds that a request of one model waits, and that it is computed for: of spans as of servers. Where the lower band grows, more replicas help; where the upper one does, a faster model.",
		}).Span(12).Height(10).Min(0).FillOpacity(30).
			Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A")).
			Links(kit.Runbook("MLInferenceQueueDominates")).
			WithTarget(kit.Range("queue", mean("model:ml_inference_queue_wait_seconds:mean_5m"), "queue")).
			WithTarget(kit.Range("forward", mean("model:ml_inference_forward_pass_seconds:mean_5m"), "forward pass")),
		kit.WorstOf(kit.Text{
			ID: 22, Title: "Queue share of the latency", Unit: "percentunit",
			Description: "Share of the latency that is waiting: the ten worst within the time range. Dashed: each model's limit. Utilisation of GPUs shows nothing of it.",
		}, kit.Signal{
			Scope: models, Series: "model:ml_inference_queue_wait:ratio_rate5m", By: bySource,
			Limit: "model:ml_inference_queue_wait:limit", LimitBy: "cluster, namespace, model",
		}, inferenceLegend).Span(12).Height(10).
			Links(kit.Runbook("MLInferenceQueueDominates")),
		kit.Timeseries(kit.Text{
			ID: 23, Title: "Latency with traces of $detail, p95", Unit: "s",
			Description: "The 95th percentile by spans. Every dot is a request: click it for its trace and the run that trained the model. Needs exemplar storage in Prometheus, and a Tempo data source in the settings of this one.",
		}).Span(24).Height(10).Min(0).
			WithTarget(kit.Range("latency", quantile("ml_inference_duration_seconds"), inferenceLegend).Exemplar(true)).
			WithTarget(kit.Range("queue", quantile("ml_inference_queue_wait_seconds"), "queue of "+inferenceLegend).Exemplar(true)).
			WithTarget(kit.Range("forward", quantile("ml_inference_forward_pass_seconds"), "forward pass of "+inferenceLegend).Exemplar(true)),
		line(24, "Latency, median", "model:ml_inference_duration_seconds:p50_5m", "What half of the requests take at most."),
		line(25, "Latency, p99", "model:ml_inference_duration_seconds:p99_5m", "What all but one in a hundred take at most."),
		line(26, "Queue, p95", "model:ml_inference_queue_wait_seconds:p95_5m", "What all but one in twenty wait at most."),
		line(27, "Forward pass, p95", "model:ml_inference_forward_pass_seconds:p95_5m", "What the computation of all but one in twenty takes at most."),
	}
}

func inferenceSeasonRow() kit.Panels {
	band := func(text kit.Text, signal, factor string, links string) kit.Panel {
		bound := func(name string) string {
			return factor + oneModel.Recorded("model:ml_season:"+name, `signal="`+signal+`"`)
		}
		drawn := func(name string) string {
			return kit.Of(bound(name), "cluster, namespace, model", kit.TopOf(5, func(r kit.Read) string {
				return r.Value(oneModel.Recorded("model:ml_season:current", `signal="`+signal+`"`))
			}))
		}
		panel := kit.Limit(kit.Timeseries(text)).Min(0).
			OverrideByQuery("expected", kit.Properties{kit.Baseline()}).
			Links(kit.Runbook(links)).
			WithTarget(kit.Range("now", drawn("current"), "{{model}}")).
			WithTarget(kit.Range("expected", drawn("expected"), "seasonal median")).
			WithTarget(kit.Range("limit", bound("upper"), "upper limit"))
		if signal == "traffic" {
			panel = panel.WithTarget(kit.Range("limits", bound("lower"), "lower limit"))
		}
		return panel
	}
	return kit.Panels{
		band(kit.Text{
			ID: 31, Title: "Traffic of $detail", Unit: "reqps",
			Description: "Requests a second of all versions, and the median of this weekday and time in the last four weeks. Dashed: the band. Before the third week it is that of the last days.",
		}, "traffic", "", "MLInferenceTrafficAnomaly"),
		band(kit.Text{
			ID: 32, Title: "Latency of $detail", Unit: "ms",
			Description: "The 95th percentile of all versions, the mean where there is none, and the median of this weekday and time in the last four weeks. Dashed: the limit.",
		}, "latency", "1000 * ", "MLInferenceLatencyAnomaly"),
		kit.Columns(kit.Table(kit.Text{
			ID: 33, Title: "State of the seasons", Unit: "short",
			Description: "The same time of the last four weeks (weekly), of the last seven days (daily), or nothing yet (learning): then neither can alert.",
		}).Span(24).Height(5).
			WithTarget(kit.Instant("state", kit.MaxBy("cluster, namespace, model, signal, state", models.Recorded("model:ml_seasonality:info")))), []kit.Column{
			kit.Col("model", "Model", modelLink(modelQualityUID)),
			kit.Col("signal", "Signal"),
			kit.Col("state", "Compared with"),
		}, "Value"),
	}
}

func inferenceFailureRow() kit.Panels {
	return kit.Panels{
		kit.WorstOf(kit.Text{
			ID: 41, Title: "Failure paths", Unit: "percentunit",
			Description: "Share of the requests that end in each way but well. A fallback is an answer that did not come from the model. Dashed: each model's limit.",
		}, kit.Signal{
			Scope: models, Series: "model:ml_inference_failures:ratio_rate5m", By: bySource + ", outcome",
			Limit: "model:ml_inference_failures:limit", LimitBy: "cluster, namespace, model",
		}, "{{outcome}} of "+inferenceLegend).
			Links(kit.Runbook("MLInferenceFailurePathHigh")),
		kit.Timeseries(kit.Text{
			ID: 42, Title: "Exceptions, by type", Unit: "cps",
			Description: "Exceptions and errors of inferences by type, by spans: the ten most frequent within the time range.",
		}).Min(0).
			WithTarget(kit.Range("exceptions", kit.Top(10, func(r kit.Read) string {
				return "sum by (cluster, namespace, model, type) (" + r.Rate(models.Raw("ml_inference_exceptions_total")) + ")"
			}), "{{type}} of {{model}}")),
		traceTable(43, "slow|error"),
		kit.Timeseries(kit.Text{
			ID: 44, Title: "Requests, by source", Unit: "reqps",
			Description: "Requests a second of every version. A model that is seen by spans is not counted again from its server.",
		}).Min(0).
			WithTarget(kit.Range("requests", models.Highest("model:ml_inference_requests:rate5m"), inferenceLegend+" {{source}}")),
	}
}

func inferenceTokenRow() kit.Panels {
	return kit.Panels{
		kit.Timeseries(kit.Text{
			ID: 51, Title: "Tokens", Unit: "cps",
			Description: "Tokens a second, read and written. Cached and reasoning tokens are among them.",
		}).Span(8).Min(0).
			WithTarget(kit.Range("tokens", models.Highest("model:ml_inference_tokens:rate5m"), "{{direction}} of "+inferenceLegend)),
		kit.Timeseries(kit.Text{
			ID: 52, Title: "Time to first token, p95", Unit: "ms",
			Description: "Milliseconds until the first token of all but one request in twenty.",
		}).Span(8).Min(0).
			WithTarget(kit.Range("first", "1000 * ("+models.Highest("model:ml_inference_time_to_first_token_seconds:p95_5m")+")", inferenceLegend)),
		kit.Timeseries(kit.Text{
			ID: 53, Title: "Memory pressure", Unit: "percentunit",
			Description: "Share of the memory for requests (the KV cache of a language model) that is taken, as its server says. Full, requests wait while the GPU looks healthy.",
		}).Span(8).Min(0).Max(1).
			WithTarget(kit.Range("memory", models.Highest("model:ml_inference_memory_pressure:ratio"), inferenceLegend)),
	}
}
