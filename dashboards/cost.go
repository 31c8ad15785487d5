package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/common"

	"github.com/sightglass-ml/sightglass/dashboards/internal/kit"
)

const costUID = "sightglass-cost"

const (
	byDepartment = "cluster, namespace, department"
	byModelCost  = "cluster, namespace, model, method"
)

// What is billed belongs to departments, what is metered to models as well. The cost exporter counts the models of all
// namespaces, so the latency beside them is chosen by the model alone.
const (
	payers     kit.Scope = `department=~"$department"`
	costModels kit.Scope = `model=~"$model"`
)

// costDashboard is for those who pay and those who run: will the month end within its budgets, what does an inference cost
// and why, what is paid for nothing, and what these numbers do not know.
func costDashboard() kit.Dashboard {
	return kit.Dashboard{
		UID:         costUID,
		Title:       "Sightglass / Cost",
		Description: "Budgets and projected month ends, what an inference costs beside how long it takes, idle GPUs, the share of observability, and what is unpriced or old. All amounts are Canadian dollars.",
		Tags:        []string{"business"},
		From:        "now-7d",
		Variables: append(kit.Header("ml_cost_fiscal_period_start_timestamp_seconds"),
			kit.Optional("department", "Department", kit.Raw("ml_cost_month_to_date_cad")),
			kit.Optional("model", "Model", kit.Raw("ml_cost_metered_units_total"))),
		Annotations: []kit.Annotation{{
			Name:  "Business alerts",
			Expr:  costAlerts(),
			Title: "{{alertname}}",
			Text:  "{{department}} {{model}} {{kind}}",
			Tags:  "severity,department,model",
			Color: "red",
		}},
		Rows: []kit.Row{
			{ID: 10, Title: "The month at a glance", Panels: costGlanceRow()},
			{ID: 20, Title: "Budgets and where the month will end", Panels: costBudgetRow()},
			{ID: 30, Title: "What an inference costs, and what it is worth", Panels: costInferenceRow()},
			{ID: 40, Title: "What GPUs cost, and for what", Panels: costGPURow()},
			{ID: 50, Title: "What watching costs", Panels: costObservabilityRow()},
			{ID: 60, Title: "What these numbers do not know", Panels: costUnknownRow()},
		},
	}
}

func costAlerts(matchers ...string) string {
	return kit.Recorded("ALERTS", append([]string{`alertstate="firing"`, `layer="business"`}, matchers...)...)
}

// cad is a panel of Canadian dollars, which Grafana has no unit for: the title says so.
func cad(id uint32, title, description string) kit.Text {
	return kit.Text{ID: id, Title: title, Description: description, Unit: "none"}
}

func costGlanceRow() kit.Panels {
	sum := func(metric string) string {
		return "sum(" + kit.MaxBy(byDepartment, payers.Raw(metric)) + ")"
	}
	amount := func(id uint32, title, description, expr string) kit.Panel {
		return kit.Stat(cad(id, title, description)).Decimals(0).Thresholds(kit.Steps("text")).WithTarget(kit.Now("amount", expr, ""))
	}
	labels := "alertname, severity, cluster, namespace, department, model, method, kind, source, basis, check"
	firing := kit.Table(kit.Text{
		ID: 17, Title: "Firing alerts", Unit: "short",
		Description: "Every firing alert of the business layer. Click an alert for its runbook.",
	}).NoValue("No alert fires").
		WithTarget(kit.Instant("firing", "max by ("+labels+") ("+costAlerts()+")"))
	return kit.Panels{
		amount(11, "Month to date, C$", "What the bills of the selected departments have for the fiscal month so far.", sum("ml_cost_month_to_date_cad")),
		amount(12, "Projected month end, C$", "Month to date, and the pace of the last seven days for the rest.", sum("ml_cost_month_end_projected_cad")),
		amount(13, "Budget, C$", "What the selected departments may spend in the fiscal month.", sum("ml_cost_budget_cad")),
		kit.Stat(kit.Text{
			ID: 14, Title: "Over budget", Unit: "short", Description: "Departments whose month will end over budget, whatever part of it has passed.",
		}).Thresholds(kit.Steps("green", kit.Step(1, "red"))).
			WithTarget(kit.Now("count", "count("+payers.Recorded("department:ml_cost_month_end:ratio")+" > on () group_left () ml:threshold:budget_ratio) or vector(0)", "")),
		amount(15, "Idle GPUs, C$ a month", "What GPUs cost in a month while they do nothing, at the rate of the last day.",
			"sum("+payers.Recorded("department:ml_cost_gpu_idle:cad_per_month")+")"),
		kit.Stat(kit.Text{
			ID: 16, Title: "Share of the month that has passed", Unit: "percentunit", Description: "By the fiscal calendar, in the time zone of the books.",
		}).Decimals(0).Thresholds(kit.Steps("text")).
			WithTarget(kit.Now("progress", "max("+kit.Recorded("cost:ml_fiscal_period:progress")+")", "")),
		kit.Columns(firing, []kit.Column{
			kit.Col("severity", "Severity", kit.Colored(), kit.Mapped(kit.SeverityNames())),
			kit.Col("alertname", "Alert", kit.LinkProperty("Runbook", "${runbooks:raw}/${__data.fields.Alert}.md", true)),
			kit.Col("department", "Department"),
			kit.Col("model", "Model"),
			kit.Col("kind", "Kind"),
			kit.Col("source", "Source"),
			kit.Col("basis", "Basis"),
			kit.Col("check", "Check"),
			kit.Col("method", "Method"),
		}, "Value"),
	}
}

func costBudgetRow() kit.Panels {
	by := func(metric string) string { return kit.MaxBy(byDepartment, payers.Raw(metric)) }
	table := kit.Table(cad(21, "Departments, C$", "The fiscal month of every department. An empty budget was not configured.")).
		Height(9).Span(12).SortBy(kit.LargestFirst("Of budget")).
		WithTarget(kit.Instant("month", by("ml_cost_month_to_date_cad"))).
		WithTarget(kit.Instant("projected", by("ml_cost_month_end_projected_cad"))).
		WithTarget(kit.Instant("budget", by("ml_cost_budget_cad"))).
		WithTarget(kit.Instant("ratio", payers.Recorded("department:ml_cost_month_end:ratio")))
	return kit.Panels{
		kit.Columns(table, []kit.Column{
			kit.Col("department", "Department"),
			kit.Col("Value #month", "Month to date", kit.Decimals(0)),
			kit.Col("Value #projected", "Projected", kit.Decimals(0)),
			kit.Col("Value #budget", "Budget", kit.Decimals(0)),
			kit.Col("Value #ratio", "Of budget", append(kit.Gauge(0, 1.5), kit.Unit("percentunit"))...),
		}),
		kit.Limit(kit.Timeseries(kit.Text{
			ID: 22, Title: "Projected month end, share of budget", Unit: "percentunit",
			Description: "How the projection of each department moved. Dashed: where it is over. The first days of a month know little.",
		}), "limit").Min(0).Decimals(0).
			Links(kit.Runbook("MLCostMonthEndOverBudget")).
			WithTarget(kit.Range("projected", payers.Recorded("department:ml_cost_month_end:ratio"), "{{department}}")).
			WithTarget(kit.Range("limit", "ml:threshold:budget_ratio", "limit")),
		kit.Timeseries(cad(23, "Month to date by service, C$", "The ten largest services of the selected departments. Credits and corrections make one fall.")).
			Span(24).Decimals(0).
			WithTarget(kit.Range("service", "topk(10, sum by (cluster, namespace, cloud_service) ("+
				kit.MaxBy(byDepartment+", cloud_service, category", payers.Raw("ml_cost_billed_cad"))+"))", "{{cloud_service}}")),
	}
}

func costInferenceRow() kit.Panels {
	worst := func(series string) string {
		return kit.Signal{Scope: costModels, Series: series, By: byModelCost}.Worst()
	}
	return kit.Panels{
		kit.Timeseries(cad(31, "An inference, marginal, C$", "What a request costs by itself, without idle and shared money: its share of busy GPUs, or its price. The ten dearest models within the time range, by the method that divides shared GPUs.")).
			Min(0).
			Links(kit.Runbook("MLCostPerInferenceTrend")).
			WithTarget(kit.Range("cost", worst("model:ml_cost_per_inference:cad1h"), "{{model}}, marginal ({{method}})")).
			WithTarget(kit.Range("successful", worst("model:ml_cost_per_successful_inference:cad1h"), "{{model}}, marginal, successful")),
		kit.Timeseries(cad(37, "An inference, fully loaded, C$", "The marginal cost with its part of idle and shared money, by the weight in the label: all models together cost what was spent. Never add it to the marginal cost.")).
			Min(0).
			WithTarget(kit.Range("loaded", kit.Signal{Scope: costModels, Series: "model:ml_cost_per_inference_loaded:cad1h", By: "cluster, namespace, model, weight"}.Worst(), "{{model}}, fully loaded by {{weight}}")),
		kit.Timeseries(kit.Text{
			ID: 32, Title: "How long it takes, 95th percentile", Unit: "s",
			Description: "Latency of the same models in all clusters and namespaces. A cheaper inference that is slower was paid for by somebody else.",
		}).Min(0).
			WithTarget(kit.Range("latency", "max by (model) ("+costModels.Recorded("model:ml_inference_duration_seconds:p95_5m")+")", "{{model}}")),
		kit.Timeseries(cad(33, "A million tokens, C$", "By direction where tokens have prices; blended where GPUs are shared by both.")).
			Min(0).
			Links(kit.Runbook("MLCostTokenRatioTrend")).
			WithTarget(kit.Range("tokens", costModels.Recorded("model:ml_cost_per_million_tokens:cad1h"), "{{model}} {{direction}}")),
		kit.Timeseries(kit.Text{
			ID: 34, Title: "Tokens for a dollar", Unit: "short", Description: "The token/cost ratio: how many tokens of both directions a Canadian dollar buys.",
		}).Min(0).
			WithTarget(kit.Range("tokens", costModels.Recorded("model:ml_tokens_per_cad:1h"), "{{model}}")),
		kit.Limit(kit.Timeseries(kit.Text{
			ID: 35, Title: "More than a week ago", Unit: "percentunit",
			Description: "How much more an inference and a token cost than on the same day a week before. Dashed: the limit.",
		}), "limit").Decimals(0).
			Links(kit.Runbook("MLCostPerInferenceTrend")).
			WithTarget(kit.Range("inference", costModels.Recorded("model:ml_cost_per_inference:growth1w"), "inference of {{model}}")).
			WithTarget(kit.Range("token", costModels.Recorded("model:ml_cost_per_token:growth1w"), "token of {{model}}")).
			WithTarget(kit.Range("limit", "ml:threshold:cost_growth_ratio", "limit")),
		kit.Limit(kit.Timeseries(kit.Text{
			ID: 36, Title: "Return on what it cost, thirty days", Unit: "percentunit",
			Description: "What inferences were worth, less what they cost fully loaded, over that cost. Only models with a configured value. Dashed: the limit.",
		}), "limit").Decimals(0).
			Links(kit.Runbook("MLCostROINegative")).
			WithTarget(kit.Range("roi", costModels.Recorded("model:ml_roi:ratio30d"), "{{model}}")).
			WithTarget(kit.Range("limit", "ml:threshold:roi_ratio", "limit")),
	}
}

func costGPURow() kit.Panels {
	spend := "3600 * " + `sum by (model) (` + kit.Recorded("department_model:ml_cost_spend:rate15m", `resource="gpu"`) + ")"
	return kit.Panels{
		kit.Timeseries(cad(41, "What GPUs do for their money, C$ an hour", "What all GPUs cost, by what they do: work of a model, work that no model explains (no name), and nothing. Together it is the whole price.")).
			Min(0).FillOpacity(40).Decimals(2).
			Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A")).
			Links(kit.Runbook("MLCostUnreconciled")).
			WithTarget(kit.Range("work", spend, "work {{model}}")).
			WithTarget(kit.Range("idle", kit.Recorded("cost:ml_cost_gpu_idle:cad_per_hour"), "idle, {{kind}}")),
		kit.Limit(kit.Timeseries(cad(42, "Idle GPUs, C$ a month", "What GPUs that do nothing cost in a month at the rate of the last day, by who holds them. Dashed: the limit.")), "limit").
			Min(0).Decimals(0).
			Links(kit.Runbook("MLCostIdleGPUWaste")).
			WithTarget(kit.Range("idle", payers.Recorded("department:ml_cost_gpu_idle:cad_per_month"), "{{department}} {{kind}}")).
			WithTarget(kit.Range("limit", "ml:threshold:idle_gpu_cad_per_month", "limit")),
	}
}

func costObservabilityRow() kit.Panels {
	return kit.Panels{
		kit.Limit(kit.Timeseries(kit.Text{
			ID: 51, Title: "Observability, share of what it watches", Unit: "percentunit",
			Description: "By the bill of the month and by what is metered within a day. Dashed: the target and twice of it.",
		}), "limit").Min(0).Decimals(1).Span(24).
			Links(kit.Runbook("MLObservabilityCostShareHigh")).
			WithTarget(kit.Range("share", kit.Recorded("cost:ml_observability:ratio"), "{{basis}}")).
			WithTarget(kit.Range("limit", `{__name__=~"ml:threshold:observability_share_ratio|ml:threshold:observability_share_high_ratio"}`, "limit")),
	}
}

func costUnknownRow() kit.Panels {
	age := kit.Table(kit.Text{
		ID: 61, Title: "How old it is", Unit: "s", Description: "Since the end of what a bill covers, since a rate was observed, since usage was priced; and the limit of each.",
	}).Span(12).SortBy(kit.LargestFirst("Age")).
		WithTarget(kit.Instant("age", kit.Recorded("cost:ml_data:age_seconds"))).
		WithTarget(kit.Instant("limit", kit.Recorded("cost:ml_data:limit")))
	unpriced := kit.Table(kit.Text{
		ID: 62, Title: "Used and without a price, last day", Unit: "short",
		Description: "Units that are in no amount of this dashboard. Give them a price in the exporter's configuration.",
	}).Span(12).NoValue("Everything has a price").SortBy(kit.LargestFirst("Units")).
		WithTarget(kit.Instant("units", kit.Recorded("cost:ml_unpriced:increase1d")+" > 0"))
	months := kit.Table(cad(66, "Metered and billed by month, C$", "What was metered of a month, idle GPUs included, and what bills have for the same things. Both are complete once the month is over and its bills have come.")).
		Height(8).Span(16).SortBy(kit.LargestFirst("Month")).NoValue("No month is both metered and billed").
		WithTarget(kit.Instant("metered", kit.MaxBy(byDepartment+", month", payers.Raw("ml_cost_metered_month_cad")))).
		WithTarget(kit.Instant("billed", kit.MaxBy(byDepartment+", month", payers.Raw("ml_cost_billed_month_cad")))).
		WithTarget(kit.Instant("ratio", payers.Recorded("department:ml_cost_metered_to_billed:ratio")))
	unseen := kit.Table(kit.Text{
		ID: 67, Title: "Hours of GPUs billed and not seen", Unit: "short",
		Description: "Hours of GPUs that bills have and metrics do not: machines without an exporter, or forgotten ones. Needs bills.gpu_machines.",
	}).Height(8).Span(8).NoValue("No rule under bills.gpu_machines").SortBy(kit.LargestFirst("Month")).
		WithTarget(kit.Instant("hours", kit.Recorded("cost:ml_cost_gpu_unseen:hours")))
	return kit.Panels{
		kit.Columns(months, []kit.Column{
			kit.Col("month", "Month"),
			kit.Col("department", "Department"),
			kit.Col("Value #metered", "Metered", kit.Decimals(2)),
			kit.Col("Value #billed", "Billed", kit.Decimals(2)),
			kit.Col("Value #ratio", "Metered of billed", kit.Unit("percentunit")),
		}),
		kit.Columns(unseen, []kit.Column{
			kit.Col("month", "Month"),
			kit.Col("Value", "Hours", kit.Decimals(0)),
		}),
		kit.Columns(age, []kit.Column{
			kit.Col("kind", "What"),
			kit.Col("source", "Source"),
			kit.Col("Value #age", "Age"),
			kit.Col("Value #limit", "Limit"),
		}),
		kit.Columns(unpriced, []kit.Column{
			kit.Col("resource", "Resource"),
			kit.Col("model", "Model"),
			kit.Col("Value", "Units", kit.Decimals(0)),
		}),
		kit.Timeseries(kit.Text{
			ID: 63, Title: "Rows of bills that do not count, or are nobody's", Unit: "short",
			Description: "Rows that cannot be read and rows whose tags cannot be read, by source, and rows without an exchange rate, by currency.",
		}).Span(8).Min(0).Decimals(0).
			Links(kit.Runbook("MLCostTagsUnread")).
			WithTarget(kit.Range("tags", kit.MaxBy("cluster, namespace, source", kit.Raw("ml_cost_bill_unread_tags_rows")), "{{source}}, unreadable tags")).
			WithTarget(kit.Range("rejected", kit.MaxBy("cluster, namespace, source", kit.Raw("ml_cost_bill_rejected_rows")), "{{source}}, unreadable")).
			WithTarget(kit.Range("unconverted", kit.MaxBy("cluster, namespace, currency", "increase("+kit.Raw("ml_cost_unconverted_rows_total")+"[$__rate_interval])"), "{{currency}}, no rate")),
		kit.Timeseries(kit.Text{
			ID: 64, Title: "Time that is not metered", Unit: "s", Description: "Time whose usage nobody can know any more, by reason.",
		}).Span(8).Min(0).
			WithTarget(kit.Range("gap", kit.MaxBy("cluster, namespace, reason", "increase("+kit.Raw("ml_cost_metering_gap_seconds_total")+"[$__rate_interval])"), "{{reason}}")),
		kit.Limit(kit.Timeseries(cad(65, "What does not add up, C$", "The difference between a whole and its parts. Anything but zero is a fault. Dashed: the limit.")), "limit").
			Span(8).Min(0).Decimals(2).
			Links(kit.Runbook("MLCostUnreconciled")).
			WithTarget(kit.Range("difference", kit.Recorded("cost:ml_unreconciled:cad"), "{{check}}")).
			WithTarget(kit.Range("limit", "ml:threshold:unreconciled_cad", "limit")),
	}
}
