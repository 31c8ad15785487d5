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

// Bills belong to departments; metered costs also belong to models. The cost exporter has the models of all namespaces, so latency beside
// these costs is selected by model only.
const (
	payers     kit.Scope = `department=~"$department"`
	costModels kit.Scope = `model=~"$model"`
)

// costDashboard shows whether the month will end within its budgets, what an inference costs and why, cost of unused resources, and what
// these numbers do not include.
func costDashboard() kit.Dashboard {
	return kit.Dashboard{
		UID:         costUID,
		Title:       "Cost",
		Description: "Budgets and projected month ends, what an inference costs beside how long it takes, idle GPUs, the share of observability, and what is unpriced or old. All amounts are Canadian dollars.",
		Tags:        []string{"business"},
		From:        "now-7d",
		Variables: append(kit.Header("ml_cost_fiscal_period_start_timestamp_seconds"),
			kit.Optional("department", "Department", kit.Raw("ml_cost_month_to_date_cad")),
			kit.Optional("model", "Model", kit.Raw("ml_cost_metered_units_total"))),
		Annotations: alertMarks("Business alerts", "{{department}} {{model}} {{kind}}", "department,model", "", "business"),
		Rows: []kit.Row{
			{ID: 10, Title: "The month", Panels: costGlanceRow()},
			{ID: 20, Title: "Budgets", Panels: costBudgetRow()},
			{ID: 30, Title: "Cost and value of an inference", Collapsed: true, Panels: costInferenceRow()},
			{ID: 40, Title: "GPUs", Collapsed: true, Panels: costGPURow()},
			{ID: 50, Title: "Observability", Collapsed: true, Panels: costObservabilityRow()},
			{ID: 60, Title: "Gaps in the data", Collapsed: true, Panels: costUnknownRow()},
		},
	}
}

// dollars is Grafana's custom currency unit for Canadian dollars, with thousands separators.
const dollars = "currency:C$"

// cad describes a panel in Canadian dollars.
func cad(id uint32, title, description string) kit.Text {
	return kit.Text{ID: id, Title: title, Description: description, Unit: dollars}
}

func costGlanceRow() kit.Panels {
	sum := func(metric string) string {
		return "sum(" + kit.MaxBy(byDepartment, payers.Raw(metric)) + ")"
	}
	amount := func(id uint32, title, description, expr string) kit.Panel {
		return kit.Stat(cad(id, title, description)).Decimals(0).Thresholds(kit.Steps("text")).WithTarget(kit.Now("amount", expr, ""))
	}
	return kit.Panels{
		amount(11, "Month to date", "What the bills of the selected departments have for the fiscal month so far.", sum("ml_cost_month_to_date_cad")),
		amount(12, "Projected month end", "Month to date, and the pace of the last seven days for the rest.", sum("ml_cost_month_end_projected_cad")),
		amount(13, "Budget", "What the selected departments may spend in the fiscal month.", sum("ml_cost_budget_cad")),
		kit.Stat(kit.Text{
			ID: 14, Title: "Over budget", Unit: "short", Description: "Departments whose month will end over budget, whatever part of it has passed.",
		}).Thresholds(kit.Steps("text", kit.Step(1, "red"))).
			WithTarget(kit.Now("count", "count("+payers.Recorded("department:ml_cost_month_end:ratio")+" > on () group_left () ml:threshold:budget_ratio) or vector(0)", "")),
		amount(15, "Idle GPUs, cost a month", "What GPUs cost in a month while they do nothing, at the rate of the last day.",
			"sum("+payers.Recorded("department:ml_cost_gpu_idle:cad_per_month")+")"),
		kit.Stat(kit.Text{
			ID: 16, Title: "Month passed", Unit: "percentunit", Description: "By the fiscal calendar, in the time zone of the books.",
		}).Decimals(0).Thresholds(kit.Steps("text")).
			WithTarget(kit.Now("progress", "max("+kit.Recorded("cost:ml_fiscal_period:progress")+")", "")),
		alertTable(17, "", "business",
			kit.Col("department", "Department", departmentLink()),
			kit.Col("model", "Model", modelLink(inferenceUID)),
			kit.Col("kind", "Kind"),
			kit.Col("source", "Source"),
			kit.Col("basis", "Basis"),
			kit.Col("check", "Check"),
			kit.Col("method", "Method"),
		),
	}
}

func costBudgetRow() kit.Panels {
	by := func(metric string) string { return kit.MaxBy(byDepartment, payers.Raw(metric)) }
	table := kit.Table(cad(21, "Departments", "The fiscal month of every department. An empty budget was not configured.")).
		Height(9).Span(12).SortBy(kit.LargestFirst("Of budget")).
		WithTarget(kit.Instant("month", by("ml_cost_month_to_date_cad"))).
		WithTarget(kit.Instant("projected", by("ml_cost_month_end_projected_cad"))).
		WithTarget(kit.Instant("budget", by("ml_cost_budget_cad"))).
		WithTarget(kit.Instant("ratio", payers.Recorded("department:ml_cost_month_end:ratio")))
	return kit.Panels{
		kit.Columns(table, []kit.Column{
			kit.Col("department", "Department", departmentLink()),
			kit.Col("Value #month", "Month to date", kit.Decimals(0)),
			kit.Col("Value #projected", "Projected", kit.Decimals(0)),
			kit.Col("Value #budget", "Budget", kit.Decimals(0)),
			kit.Col("Value #ratio", "Of budget", kit.OfLimit()...),
		}),
		kit.Limit(kit.Timeseries(kit.Text{
			ID: 22, Title: "Projected month end, share of budget", Unit: "percentunit",
			Description: "How the projection of each department moved. Dashed: where it is over. The first days of a month know little.",
		})).Min(0).Decimals(0).
			Links(kit.Runbook("MLCostMonthEndOverBudget")).
			WithTarget(kit.Range("projected", payers.Highest("department:ml_cost_month_end:ratio"), "{{department}}")).
			WithTarget(kit.Range("limit", kit.LimitFor("budget_ratio", payers.Recorded("department:ml_cost_month_end:ratio")), "limit")),
		kit.Timeseries(cad(23, "Month to date by service", "The ten largest services of the selected departments. Credits and corrections make one fall.")).
			Span(24).Decimals(0).
			WithTarget(kit.Range("service", kit.Top(10, func(r kit.Read) string {
				return "sum by (cluster, namespace, cloud_service) (" +
					kit.MaxBy(byDepartment+", cloud_service, category", r.Value(payers.Raw("ml_cost_billed_cad"))) + ")"
			}), "{{cloud_service}}")),
	}
}

func costInferenceRow() kit.Panels {
	latency := func(r kit.Read) string {
		return "max by (model) (" + r.Value(costModels.Recorded("model:ml_inference_duration_seconds:p95_5m")) + ")"
	}
	growth := func(of string) string {
		return kit.Signal{Scope: costModels, Series: "model:ml_cost_per_" + of + ":growth1w", By: byModelCost, Most: 5}.Worst()
	}
	worst := func(series string) string {
		return "1000 * (" + kit.Signal{Scope: costModels, Series: series, By: byModelCost, Most: 5}.Worst() + ")"
	}
	return kit.Panels{
		kit.Timeseries(cad(31, "A thousand inferences, marginal", "What a thousand requests cost by themselves, without idle and shared money: their share of busy GPUs, or their price. The five dearest models within the time range, by the method that divides shared GPUs, and the same for successful requests alone.")).
			Min(0).
			Links(kit.Runbook("MLCostPerInferenceTrend")).
			WithTarget(kit.Range("cost", worst("model:ml_cost_per_inference:cad1h"), "{{model}}, marginal ({{method}})")).
			WithTarget(kit.Range("successful", worst("model:ml_cost_per_successful_inference:cad1h"), "{{model}}, marginal, successful")),
		kit.Timeseries(cad(37, "A thousand inferences, fully loaded", "The marginal cost with its part of idle and shared money, by the weight in the label: all models together cost what was spent. Never add it to the marginal cost.")).
			Min(0).
			WithTarget(kit.Range("loaded", "1000 * ("+kit.Signal{Scope: costModels, Series: "model:ml_cost_per_inference_loaded:cad1h", By: "cluster, namespace, model, weight"}.Worst()+")", "{{model}}, fully loaded by {{weight}}")),
		kit.Timeseries(kit.Text{
			ID: 32, Title: "Latency, p95", Unit: "s",
			Description: "95th percentile of the latency of the ten slowest of these models within the time range, in all clusters and namespaces. A cheaper inference that is slower was paid for by somebody else.",
		}).Min(0).
			WithTarget(kit.Range("latency", kit.Top(10, latency), "{{model}}")),
		kit.Timeseries(cad(33, "A million tokens", "By direction where tokens have prices; blended where GPUs are shared by both.")).
			Min(0).
			Links(kit.Runbook("MLCostTokenRatioTrend")).
			WithTarget(kit.Range("tokens", costModels.Highest("model:ml_cost_per_million_tokens:cad1h"), "{{model}} {{direction}}")),
		kit.Timeseries(kit.Text{
			ID: 34, Title: "Tokens for a dollar", Unit: "short", Description: "The token/cost ratio: how many tokens of both directions a Canadian dollar buys.",
		}).Min(0).
			WithTarget(kit.Range("tokens", costModels.Lowest("model:ml_tokens_per_cad:1h"), "{{model}}")),
		kit.Limit(kit.Timeseries(kit.Text{
			ID: 35, Title: "Growth in a week", Unit: "percentunit",
			Description: "How much more an inference and a token cost than on the same day a week before: the five models that grew most. Dashed: the limit.",
		})).Decimals(0).
			Links(kit.Runbook("MLCostPerInferenceTrend")).
			WithTarget(kit.Range("inference", growth("inference"), "inference of {{model}}")).
			WithTarget(kit.Range("token", growth("token"), "token of {{model}}")).
			WithTarget(kit.Range("limit", kit.LimitFor("cost_growth_ratio", costModels.Recorded("model:ml_cost_per_inference:growth1w")), "limit")),
		kit.Limit(kit.Timeseries(kit.Text{
			ID: 36, Title: "Return on investment, 30 days", Unit: "percentunit",
			Description: "What inferences were worth, less what they cost fully loaded, over that cost. Only models with a configured value. Dashed: the limit.",
		})).Span(24).Decimals(0).
			Links(kit.Runbook("MLCostROINegative")).
			WithTarget(kit.Range("roi", costModels.Lowest("model:ml_roi:ratio30d"), "{{model}}")).
			WithTarget(kit.Range("limit", kit.LimitFor("roi_ratio", costModels.Recorded("model:ml_roi:ratio30d")), "limit")),
	}
}

func costGPURow() kit.Panels {
	spend := func(r kit.Read) string {
		return "3600 * sum by (model) (" + r.Value(kit.Recorded("department_model:ml_cost_spend:rate15m", `resource="gpu"`)) + ")"
	}
	idle := func(r kit.Read) string {
		return "sum by (kind) (" + r.Value(kit.Recorded("cost:ml_cost_gpu_idle:cad_per_hour")) + ")"
	}
	// All models but the seven that are drawn.
	others := "clamp_min(\n3600 * sum(" + kit.Recorded("department_model:ml_cost_spend:rate15m", `resource="gpu"`) + ")\n- sum(\n" + kit.Top(7, spend) + "\n), 0)"
	return kit.Panels{
		kit.Timeseries(cad(41, "Use of GPUs, cost an hour", "What all GPUs cost, by what they do: work of the seven dearest models and of all others, work that no model explains (no name), and nothing. Together it is the whole price.")).
			Min(0).FillOpacity(40).Decimals(2).
			Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A")).
			Links(kit.Runbook("MLCostUnreconciled")).
			WithTarget(kit.Range("work", kit.Top(7, spend), "work {{model}}")).
			WithTarget(kit.Range("others", others, "work of the others")).
			WithTarget(kit.Range("idle", kit.Top(2, idle), "idle, {{kind}}")),
		kit.Limit(kit.Timeseries(cad(42, "Idle GPUs by department, cost a month", "What GPUs that do nothing cost in a month at the rate of the last day, by who holds them. Dashed: the limit."))).
			Min(0).Decimals(0).
			Links(kit.Runbook("MLCostIdleGPUWaste")).
			WithTarget(kit.Range("idle", payers.Highest("department:ml_cost_gpu_idle:cad_per_month"), "{{department}} {{kind}}")).
			WithTarget(kit.Range("limit", kit.LimitFor("idle_gpu_cad_per_month", payers.Recorded("department:ml_cost_gpu_idle:cad_per_month")), "limit")),
	}
}

func costObservabilityRow() kit.Panels {
	return kit.Panels{
		kit.Limit(kit.Timeseries(kit.Text{
			ID: 51, Title: "Observability, share of the cost of what it watches", Unit: "percentunit",
			Description: "By the bill of the month and by what is metered within a day. Dashed: the target and twice of it.",
		})).Min(0).Decimals(1).Span(24).
			Links(kit.Runbook("MLObservabilityCostShareHigh")).
			WithTarget(kit.Range("share", kit.Scope("").Highest("cost:ml_observability:ratio"), "{{basis}}")).
			WithTarget(kit.Range("limit", kit.LimitFor("observability_share_ratio", kit.Recorded("cost:ml_observability:ratio")), "limit")).
			WithTarget(kit.Range("limits", kit.LimitFor("observability_share_high_ratio", kit.Recorded("cost:ml_observability:ratio")), "limit of critical")),
	}
}

func costUnknownRow() kit.Panels {
	bySource := func(metric string) func(kit.Read) string {
		return func(r kit.Read) string { return kit.MaxBy("cluster, namespace, source", r.Value(kit.Raw(metric))) }
	}
	unconverted := func(r kit.Read) string {
		return kit.MaxBy("cluster, namespace, currency", r.Increase("$__rate_interval", kit.Raw("ml_cost_unconverted_rows_total")))
	}
	gaps := func(r kit.Read) string {
		return kit.MaxBy("cluster, namespace, reason", r.Increase("$__rate_interval", kit.Raw("ml_cost_metering_gap_seconds_total")))
	}
	const difference = "cost:ml_unreconciled:cad"
	age := kit.Table(kit.Text{
		ID: 61, Title: "Age of bills, rates and prices", Unit: "s", Description: "Since the end of what a bill covers, since a rate was observed, since usage was priced; and the limit of each.",
	}).Span(12).SortBy(kit.LargestFirst("Age")).
		WithTarget(kit.Instant("age", kit.Recorded("cost:ml_data:age_seconds"))).
		WithTarget(kit.Instant("limit", kit.Recorded("cost:ml_data:limit")))
	unpriced := kit.Table(kit.Text{
		ID: 62, Title: "Used without a price, 24 h", Unit: "short",
		Description: "Units that are in no amount of this dashboard. Give them a price in the exporter's configuration.",
	}).Span(12).SortBy(kit.LargestFirst("Units")).
		WithTarget(kit.Instant("units", kit.Recorded("cost:ml_unpriced:increase1d")+" > 0"))
	months := kit.Table(cad(66, "Metered and billed by month", "What was metered of a month, idle GPUs included, and what bills have for the same things. Both are complete once the month is over and its bills have come.")).
		Height(8).Span(16).SortBy(kit.LargestFirst("Month")).
		WithTarget(kit.Instant("metered", kit.MaxBy(byDepartment+", month", payers.Raw("ml_cost_metered_month_cad")))).
		WithTarget(kit.Instant("billed", kit.MaxBy(byDepartment+", month", payers.Raw("ml_cost_billed_month_cad")))).
		WithTarget(kit.Instant("ratio", payers.Recorded("department:ml_cost_metered_to_billed:ratio")))
	unseen := kit.Table(kit.Text{
		ID: 67, Title: "GPU hours billed and not seen", Unit: "short",
		Description: "Hours of GPUs that bills have and metrics do not: machines without an exporter, or forgotten ones. Needs bills.gpu_machines.",
	}).Height(8).Span(8).SortBy(kit.LargestFirst("Month")).
		WithTarget(kit.Instant("hours", kit.Recorded("cost:ml_cost_gpu_unseen:hours")))
	return kit.Panels{
		kit.Columns(months, []kit.Column{
			kit.Col("month", "Month"),
			kit.Col("department", "Department", departmentLink()),
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
			kit.Col("model", "Model", modelLink(modelQualityUID)),
			kit.Col("Value", "Units", kit.Decimals(0)),
		}),
		kit.Timeseries(kit.Text{
			ID: 63, Title: "Rows of bills left out", Unit: "short",
			Description: "Rows that cannot be read and rows whose tags cannot be read, by source, and rows without an exchange rate, by currency: the most of each.",
		}).Span(8).Min(0).Decimals(0).
			Links(kit.Runbook("MLCostTagsUnread")).
			WithTarget(kit.Range("tags", kit.Top(4, bySource("ml_cost_bill_unread_tags_rows")), "{{source}}, unreadable tags")).
			WithTarget(kit.Range("rejected", kit.Top(4, bySource("ml_cost_bill_rejected_rows")), "{{source}}, unreadable")).
			WithTarget(kit.Range("unconverted", kit.Top(2, unconverted), "{{currency}}, no rate")),
		kit.Timeseries(kit.Text{
			ID: 64, Title: "Time not metered", Unit: "s", Description: "Time whose usage nobody can know any more, by reason.",
		}).Span(8).Min(0).
			WithTarget(kit.Range("gap", kit.Top(10, gaps), "{{reason}}")),
		kit.Limit(kit.Timeseries(cad(65, "Unreconciled", "The difference between a whole and its parts: the ten largest within the time range. Anything but zero is a fault. Dashed: the limit."))).
			Span(8).Min(0).Decimals(2).
			Links(kit.Runbook("MLCostUnreconciled")).
			WithTarget(kit.Range("difference", kit.Recorded(difference)+"\nand\ntopk(10, abs(max_over_time("+kit.Recorded(difference)+"[$__range] @ end())) + abs(min_over_time("+kit.Recorded(difference)+"[$__range] @ end())))", "{{check}}")).
			WithTarget(kit.Range("limit", kit.LimitFor("unreconciled_cad", kit.Recorded("cost:ml_unreconciled:cad")), "limit")),
	}
}
