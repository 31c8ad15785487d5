package dashboards

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"

	"github.com/sightglass-ml/sightglass/dashboards/internal/kit"
)

const dataQualityUID = "sightglass-data-quality"

// The labels that tell one observed object from another, at each level of detail.
const (
	byDataset  = "cluster, namespace, dataset"
	byColumn   = byDataset + ", column"
	byBaseline = byColumn + ", baseline"
)

// dataQuality answers, from top to bottom: is any dataset in trouble, which column, what changed, how much
// data came and when, and what did one column look like before. Panels of all selected datasets show the
// worst few, so that hundreds of datasets stay readable; panels of one dataset follow $detail and $column.
func dataQuality() kit.Dashboard {
	profiled := kit.Raw("ml_dataset_profile_success")
	ofDetail := kit.Raw("ml_dataset_column_values", `dataset="$detail"`)
	return kit.Dashboard{
		UID:         dataQualityUID,
		Title:       "Sightglass / Data quality",
		Description: "Nulls, drift, schema, volume and freshness of the tables that models are trained on and served from.",
		Tags:        []string{"data"},
		From:        "now-24h",
		Variables: append(kit.Header("ml_dataset_profile_success"),
			kit.Many("dataset", "Dataset", profiled),
			kit.One("detail", "Dataset in detail", "dataset", kit.Raw("ml_dataset_profile_success", `dataset=~"$dataset"`)),
			kit.One("column", "Column in detail", "column", ofDetail),
		),
		Annotations: []kit.Annotation{{
			Name:  "Data alerts",
			Expr:  firing(),
			Title: "{{alertname}}",
			Text:  "{{dataset}} {{column}}",
			Tags:  "severity,dataset",
			Color: "red",
		}},
		Rows: []kit.Row{
			{ID: 10, Title: "Every dataset at a glance", Panels: glanceRow()},
			{ID: 20, Title: "Columns: nulls, drift, new categories", Panels: columnRow()},
			{ID: 30, Title: "Schema", Panels: schemaRow()},
			{ID: 40, Title: "Volume, freshness and the way between stages", Panels: flowRow()},
			{ID: 50, Title: "Baselines, and $column of $detail now and then", Panels: baselineRow()},
			{ID: 60, Title: "Snapshots", Panels: snapshotRow()},
			{ID: 70, Title: "The exporter itself", Panels: exporterRow()},
		},
	}
}

type panels = []cog.Builder[dashboard.Panel]

func glanceRow() panels {
	count := func(id uint32, title, description, expr, color string) cog.Builder[dashboard.Panel] {
		return kit.Stat(kit.Text{ID: id, Title: title, Description: description, Unit: "short"}).
			Thresholds(kit.Steps("green", kit.Step(1, color))).
			WithTarget(kit.Now("count", expr, ""))
	}
	severity := func(name string) string {
		return "count(" + maxBy(byDataset, firing(`severity="`+name+`"`)) + ") or vector(0)"
	}
	return panels{
		kit.Stat(kit.Text{
			ID: 11, Title: "Datasets watched", Unit: "short",
			Description: "Datasets that an exporter profiles now, counted once however many replicas profile them.",
		}).Thresholds(kit.Steps("text")).
			WithTarget(kit.Now("count", "count("+maxBy(byDataset, raw("ml_dataset_profile_success"))+")", "")),
		count(12, "Critical", "Datasets with a firing critical alert.", severity("critical"), "red"),
		count(13, "Warning", "Datasets with a firing warning.", severity("warning"), "orange"),
		count(14, "Profiles failing", "Datasets whose last profile failed on every replica: what the other panels show about them is old or missing.",
			"count("+maxBy(byDataset, raw("ml_dataset_profile_success"))+" == 0) or vector(0)", "orange"),
		count(15, "Baselines learning", "Datasets whose production baseline is not frozen yet. Until it is, drift against it raises no alert.",
			"count("+maxBy(byDataset, raw("ml_dataset_baseline_frozen"))+" == 0) or vector(0)", "blue"),
		count(16, "Schemas changed", "Datasets whose columns differ from the schema that is expected of them.",
			"count("+maxBy(byDataset, recorded("dataset:ml_schema_changes:count"))+" > 0) or vector(0)", "orange"),
		stateTable(),
		kit.StateTimeline(kit.Text{
			ID: 18, Title: "Worst alert over time", Unit: "none",
			Description: "Worst severity firing for each dataset. The twenty datasets that fired longest within the time range; healthy ones fill up the list.",
		}).Mappings(severities()).
			WithTarget(kit.Range("state", worstSeverity()+`
				and on (`+byDataset+`)
				topk(20,
				  sum by (`+byDataset+`) (count_over_time(`+firing()+`[$__range] @ end()))
				  or on (`+byDataset+`)
				  0 * `+maxBy(byDataset, raw("ml_dataset_profile_success")+" @ end()")+`
				)`, "{{dataset}} {{namespace}} {{cluster}}")),
		alertTable(),
	}
}

func stateTable() cog.Builder[dashboard.Panel] {
	panel := kit.Table(kit.Text{
		ID: 17, Title: "State of every dataset", Unit: "short",
		Description: "One row per dataset: the worst alert that fires and the numbers behind it. An empty cell means not measured. Click a dataset to see it in detail below.",
	}).Height(10).SortBy(kit.SortedBy("State")).
		WithTarget(kit.Instant("state", worstSeverity())).
		WithTarget(kit.Instant("alerts", "count by ("+byDataset+") ("+firing()+")")).
		WithTarget(kit.Instant("profile", maxBy(byDataset, raw("ml_dataset_profile_success")))).
		WithTarget(kit.Instant("rows", maxBy(byDataset, recorded("dataset:ml_rows:current")))).
		WithTarget(kit.Instant("deviation", deviation())).
		WithTarget(kit.Instant("age", maxBy(byDataset, recorded("dataset:ml_freshness:age_seconds")))).
		WithTarget(kit.Instant("nulls", maxBy(byDataset, recorded("dataset_column:ml_nulls:ratio")))).
		WithTarget(kit.Instant("drift", "max by ("+byDataset+") (\n"+excessDrift()+"\n)")).
		WithTarget(kit.Instant("schema", maxBy(byDataset, recorded("dataset:ml_schema_changes:count")))).
		WithTarget(kit.Instant("day", maxBy(byDataset, raw("ml_dataset_baseline_days"))))
	return kit.Columns(panel, []kit.Column{
		{From: "dataset", Title: "Dataset", With: []dashboard.DynamicConfigValue{detailLink("Dataset")}},
		{From: "Value #state", Title: "State", With: []dashboard.DynamicConfigValue{{Id: "mappings", Value: severities()}, kit.Colored()}},
		{From: "Value #alerts", Title: "Alerts"},
		{From: "Value #profile", Title: "Profile", With: []dashboard.DynamicConfigValue{{Id: "mappings", Value: kit.Mappings(
			kit.State{Value: 1, Text: "OK", Color: "green"}, kit.State{Value: 0, Text: "Failing", Color: "orange"})}, kit.Colored()}},
		{From: "Value #rows", Title: "Rows"},
		{From: "Value #deviation", Title: "Against expected", Unit: "percentunit"},
		{From: "Value #age", Title: "Newest record is old", Unit: "s"},
		{From: "Value #nulls", Title: "Highest null ratio", Unit: "percentunit"},
		{From: "Value #drift", Title: "Highest drift", Unit: "none", With: []dashboard.DynamicConfigValue{{Id: "decimals", Value: 3}}},
		{From: "Value #schema", Title: "Schema changes"},
		{From: "Value #day", Title: "Baseline day"},
	})
}

func alertTable() cog.Builder[dashboard.Panel] {
	labels := "alertname, severity, " + byBaseline + ", upstream, against"
	panel := kit.Table(kit.Text{
		ID: 19, Title: "Firing alerts", Unit: "short",
		Description: "Every firing data alert of the selected datasets and when it began. Click an alert for its runbook, a dataset or a column to see it in detail.",
	}).NoValue("No alert fires").SortBy(kit.SortedBy("Since")).
		WithTarget(kit.Instant("since", `1000 * max by (`+labels+`) (
			`+kit.Recorded("ALERTS_FOR_STATE", `layer="data"`, `dataset=~"$dataset"`)+`
			and ignoring (alertstate) `+firing()+`
			)`))
	return kit.Columns(panel, []kit.Column{
		{From: "severity", Title: "Severity", With: []dashboard.DynamicConfigValue{kit.Colored(), {Id: "mappings", Value: severityNames()}}},
		{From: "alertname", Title: "Alert", With: []dashboard.DynamicConfigValue{kit.LinkProperty("Runbook", "${runbooks:raw}/${__data.fields.Alert}.md", true)}},
		{From: "dataset", Title: "Dataset", With: []dashboard.DynamicConfigValue{detailLink("Dataset")}},
		{From: "column", Title: "Column", With: []dashboard.DynamicConfigValue{detailLink("Dataset", "Column")}},
		{From: "baseline", Title: "Baseline"},
		{From: "upstream", Title: "Upstream"},
		{From: "against", Title: "Against"},
		{From: "Value", Title: "Since", Unit: "dateTimeFromNow"},
	})
}

func columnRow() panels {
	return panels{
		worstOf(kit.Text{
			ID: 21, Title: "Null ratio, worst columns", Unit: "percentunit",
			Description: "Share of nulls in the profiled window: the ten columns that were worst within the time range. Dashed: each column's limit, which is its own, its dataset's or the default.",
		}, signal{"dataset_column:ml_nulls:ratio", byColumn, "dataset_column:ml_nulls:limit"}, "{{dataset}} · {{column}}").
			Links(kit.Runbook("MLDatasetNullRatioHigh")),
		kit.Limit(kit.Timeseries(kit.Text{
			ID: 22, Title: "Drift beyond chance, worst columns", Unit: "none",
			Description: "Population stability index against a baseline, less what samples of this size show by chance without any drift. The ten worst within the time range. Dashed: each column's limit. The alert also asks that the index be statistically significant.",
		}), "limit").Decimals(3).
			DataLinks(seriesLinks()).
			Links(kit.Runbook("MLDatasetDrift")).
			WithTarget(kit.Range("drift", "(\n"+excessDrift()+"\n)\nand on ("+byBaseline+")\n"+worstDrift(), "{{dataset}} · {{column}} · {{baseline}}")).
			WithTarget(kit.Range("limit", recorded("dataset_column:ml_drift:limit")+"\nand on ("+byColumn+")\n"+worstDrift(), "limit of {{dataset}} · {{column}}")),
		worstOf(kit.Text{
			ID: 23, Title: "Never seen before, worst columns", Unit: "percentunit",
			Description: "Share of values that the frozen bins have no place for: categories that were in no baseline, such as a payment provider nobody mapped. Dashed: each column's limit.",
		}, signal{"dataset_column:ml_unseen:ratio", byColumn, "dataset_column:ml_unseen:limit"}, "{{dataset}} · {{column}}").
			Links(kit.Runbook("MLDatasetUnseenCategories")),
		columnTable(),
	}
}

func columnTable() cog.Builder[dashboard.Panel] {
	detail := strings.NewReplacer(`dataset=~"$dataset"`, `dataset="$detail"`)
	labels := "cluster, namespace, column"
	drift := func(baseline string) string {
		return detail.Replace("max by (" + labels + ") (\n" + excessDrift(`baseline="`+baseline+`"`) + "\n)")
	}
	significant := detail.Replace("max by (" + labels + ") (\n" + recorded("dataset_column:ml_drift:psi") +
		"\n/ " + recorded("dataset_column:ml_drift:psi_critical") + "\n)")
	panel := kit.Table(kit.Text{
		ID: 24, Title: "Columns of $detail", Unit: "none",
		Description: "Every profiled column of the dataset in detail. Drift is the stability index less what chance explains, against each baseline; significance is the index over its critical value, so that above 1 it is not chance. Click a column to see its distribution below.",
	}).Span(12).SortBy(kit.SortedBy("Drift from production")).
		WithTarget(kit.Instant("nulls", detail.Replace(maxBy(labels, recorded("dataset_column:ml_nulls:ratio"))))).
		WithTarget(kit.Instant("unseen", detail.Replace(maxBy(labels, recorded("dataset_column:ml_unseen:ratio"))))).
		WithTarget(kit.Instant("training", drift("training"))).
		WithTarget(kit.Instant("production", drift("production"))).
		WithTarget(kit.Instant("significance", significant))
	three := dashboard.DynamicConfigValue{Id: "decimals", Value: 3}
	return kit.Columns(panel, []kit.Column{
		{From: "column", Title: "Column", With: []dashboard.DynamicConfigValue{
			kit.LinkProperty("Show this column", self("detail", "${detail:percentencode}", "column", "${__data.fields.Column:percentencode}"), false)}},
		{From: "Value #nulls", Title: "Null ratio", Unit: "percentunit"},
		{From: "Value #unseen", Title: "Never seen", Unit: "percentunit"},
		{From: "Value #training", Title: "Drift from training", With: []dashboard.DynamicConfigValue{three}},
		{From: "Value #production", Title: "Drift from production", With: []dashboard.DynamicConfigValue{three}},
		{From: "Value #significance", Title: "Significance", With: []dashboard.DynamicConfigValue{three}},
	})
}

func schemaRow() panels {
	labels := byColumn + ", change, expected, actual"
	return panels{
		kit.Columns(kit.Table(kit.Text{
			ID: 31, Title: "Columns that differ from the expected schema", Unit: "string",
			Description: "What the exporter found against the schema that is given in its configuration or was learned from the first profile. A renamed column shows as one removed and one added.",
		}).Span(16).NoValue("Every schema is as expected").
			WithTarget(kit.Instant("change", maxBy(labels, raw("ml_dataset_schema_change_info")))),
			[]kit.Column{
				{From: "dataset", Title: "Dataset", With: []dashboard.DynamicConfigValue{detailLink("Dataset")}},
				{From: "column", Title: "Column"},
				{From: "change", Title: "Change"},
				{From: "expected", Title: "Expected"},
				{From: "actual", Title: "Actual"},
			}, "Value"),
		kit.Timeseries(kit.Text{
			ID: 32, Title: "Schema changes", Unit: "short",
			Description: "Number of columns that differ from the expected schema: the ten datasets with most of them within the time range. Any change alerts.",
		}).Span(8).Decimals(0).
			Links(kit.Runbook("MLDatasetSchemaChanged")).
			WithTarget(kit.Range("changes", signal{series: "dataset:ml_schema_changes:count", by: byDataset}.worst(), "{{dataset}}")),
	}
}

func flowRow() panels {
	detailed := func(metric string) string { return kit.Recorded(metric, `dataset="$detail"`) }
	return panels{
		kit.Timeseries(kit.Text{
			ID: 41, Title: "Rows of $detail against the expected band", Unit: "short",
			Description: "Rows in the profiled window, and the band expected from the same weekday and time of the previous weeks. The band is missing while there are too few weeks to learn from.",
		}).Links(kit.Runbook("MLDatasetVolumeAnomaly")).
			OverrideByName("upper", []dashboard.DynamicConfigValue{{Id: "custom.fillBelowTo", Value: "lower"}, {Id: "custom.fillOpacity", Value: 12}, color("green")}).
			OverrideByName("lower", []dashboard.DynamicConfigValue{color("green")}).
			OverrideByName("expected", []dashboard.DynamicConfigValue{color("yellow")}).
			OverrideByName("rows", []dashboard.DynamicConfigValue{color("blue")}).
			WithTarget(kit.Range("rows", detailed("dataset:ml_rows:current"), "rows")).
			WithTarget(kit.Range("expected", detailed("dataset:ml_rows:expected"), "expected")).
			WithTarget(kit.Range("lower", detailed("dataset:ml_rows:lower"), "lower")).
			WithTarget(kit.Range("upper", detailed("dataset:ml_rows:upper"), "upper")),
		volumeTable(),
		worstOf(kit.Text{
			ID: 43, Title: "Age of the newest record", Unit: "s",
			Description: "Time since the newest record of each dataset: the ten oldest within the time range. Dashed: each dataset's limit.",
		}, signal{"dataset:ml_freshness:age_seconds", byDataset, "dataset:ml_freshness:limit"}, "{{dataset}}").
			Links(kit.Runbook("MLDatasetStale")),
		worstOf(kit.Text{
			ID: 44, Title: "Rows lost between stages", Unit: "percentunit",
			Description: "Share of the upstream's rows in the same window that did not arrive. Dashed: each dataset's limit.",
		}, signal{"dataset:ml_row_drop:ratio", byDataset + ", upstream", "dataset:ml_row_drop:limit"}, "{{upstream}} to {{dataset}}").
			Links(kit.Runbook("MLDatasetRowDropHigh")),
		worstOf(kit.Text{
			ID: 45, Title: "Feature values that differ at the same point in time", Unit: "percentunit",
			Description: "Share of compared rows whose feature differs from the value its source had at that moment. Dashed: each dataset's limit.",
		}, signal{"dataset:ml_mismatch:ratio", byDataset + ", against", "dataset:ml_mismatch:limit"}, "{{dataset}} against {{against}}").
			Links(kit.Runbook("MLDatasetFeatureMismatch")),
	}
}

func volumeTable() cog.Builder[dashboard.Panel] {
	panel := kit.Table(kit.Text{
		ID: 42, Title: "Volume now", Unit: "short",
		Description: "Rows of every dataset against its band, and how many earlier weeks the band is learned from.",
	}).Span(12).SortBy([]cog.Builder[common.TableSortByFieldState]{
		common.NewTableSortByFieldStateBuilder().DisplayName("Deviation").Desc(false),
	}).
		WithTarget(kit.Instant("rows", maxBy(byDataset, recorded("dataset:ml_rows:current")))).
		WithTarget(kit.Instant("expected", maxBy(byDataset, recorded("dataset:ml_rows:expected")))).
		WithTarget(kit.Instant("lower", maxBy(byDataset, recorded("dataset:ml_rows:lower")))).
		WithTarget(kit.Instant("upper", maxBy(byDataset, recorded("dataset:ml_rows:upper")))).
		WithTarget(kit.Instant("deviation", deviation())).
		WithTarget(kit.Instant("weeks", maxBy(byDataset, recorded("dataset:ml_rows:history_weeks"))))
	return kit.Columns(panel, []kit.Column{
		{From: "dataset", Title: "Dataset", With: []dashboard.DynamicConfigValue{detailLink("Dataset")}},
		{From: "Value #rows", Title: "Rows"},
		{From: "Value #expected", Title: "Expected"},
		{From: "Value #lower", Title: "Lower"},
		{From: "Value #upper", Title: "Upper"},
		{From: "Value #deviation", Title: "Deviation", Unit: "percentunit"},
		{From: "Value #weeks", Title: "Weeks of history"},
	})
}

func baselineRow() panels {
	values := kit.Raw("ml_dataset_column_values", `dataset="$detail"`, `column="$column"`)
	baseline := func(name string) string {
		return maxBy("cluster, namespace, bin",
			kit.Raw("ml_dataset_column_baseline_ratio", `dataset="$detail"`, `column="$column"`, `baseline="`+name+`"`))
	}
	// A share of the rows within each exporter and then folded, as the drift signal takes it.
	share := maxBy("cluster, namespace, bin", values+`
		/ ignoring (column, bin) group_left ()
		(`+kit.Raw("ml_dataset_rows", `dataset="$detail"`)+` > 0)`)
	return panels{
		kit.BarChart(kit.Text{
			ID: 51, Title: "Distribution of $column in $detail", Unit: "percentunit",
			Description: "Share of values in each frozen bin: now, in the training snapshot and in the first days of production. Numeric bins are in the order of their edges; missing, never seen and other values have bins of their own.",
		}).Span(14).XField("Bin").
			// The chart's order: numeric bins by their lower edge, other bins by their share, reserved bins last.
			WithTarget(kit.Instant("now", `sort_desc(
				label_replace(label_replace(label_replace(
				`+share+`,
				"edge", "$1", "bin", "[(]([^,]+),.+"), "edge", "-1e308", "edge", "-Inf"),
				"edge", "1e308", "bin", "null|unseen|other|nan|inf|future")
				)`)).
			WithTarget(kit.Instant("training", baseline("training"))).
			WithTarget(kit.Instant("production", baseline("production"))).
			WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: map[string]any{}}).
			WithTransformation(dashboard.DataTransformerConfig{Id: "convertFieldType", Options: map[string]any{
				"conversions": []map[string]any{{"targetField": "edge", "destinationType": "number"}},
			}}).
			WithTransformation(dashboard.DataTransformerConfig{Id: "sortBy", Options: map[string]any{
				"sort": []map[string]any{{"field": "edge", "desc": false}},
			}}).
			WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
				"excludeByName": map[string]any{"Time": true, "edge": true, "cluster": true, "namespace": true},
				"renameByName": map[string]any{
					"bin": "Bin", "Value #now": "Now", "Value #training": "Training", "Value #production": "Production",
				},
			}}),
		kit.Timeseries(kit.Text{
			ID: 52, Title: "Share of each bin of $column over time", Unit: "percentunit",
			Description: "When the distribution moved: the twelve largest bins of the column within the time range.",
		}).Span(10).Height(10).Max(1).Min(0).FillOpacity(60).
			Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A")).
			WithTarget(kit.Range("share", "(\n"+share+"\n)\nand on (cluster, namespace, bin)\ntopk(12, "+
				"max by (cluster, namespace, bin) (max_over_time("+values+"[$__range] @ end())))", "{{bin}}")),
		learningTable(),
		kit.Columns(kit.Table(kit.Text{
			ID: 54, Title: "Values behind the baselines of $detail", Unit: "short",
			Description: "How many values each baseline was learned from. With few, even a large index can be chance.",
		}).Span(10).SortBy(kit.SortedBy("Values")).
			WithTarget(kit.Instant("values", maxBy("cluster, namespace, column, baseline",
				kit.Raw("ml_dataset_column_baseline_rows", `dataset="$detail"`)))),
			[]kit.Column{
				{From: "column", Title: "Column"},
				{From: "baseline", Title: "Baseline"},
				{From: "Value", Title: "Values"},
			}),
	}
}

func learningTable() cog.Builder[dashboard.Panel] {
	days, wanted := maxBy(byDataset, raw("ml_dataset_baseline_days")), maxBy(byDataset, raw("ml_dataset_baseline_wanted_days"))
	panel := kit.Table(kit.Text{
		ID: 53, Title: "Learning the production baseline", Unit: "short",
		Description: "Day k of n of the first days of production, after which the baseline is frozen. Until then drift against it raises no alert.",
	}).Span(14).
		WithTarget(kit.Instant("day", days)).
		WithTarget(kit.Instant("of", wanted)).
		WithTarget(kit.Instant("progress", days+"\n/ on ("+byDataset+")\n"+wanted)).
		WithTarget(kit.Instant("frozen", maxBy(byDataset, raw("ml_dataset_baseline_frozen")))).
		WithTarget(kit.Instant("first", "1000 * min by ("+byDataset+") ("+raw("ml_dataset_baseline_first_day_timestamp_seconds")+")"))
	return kit.Columns(panel, []kit.Column{
		{From: "dataset", Title: "Dataset", With: []dashboard.DynamicConfigValue{detailLink("Dataset")}},
		{From: "Value #day", Title: "Day"},
		{From: "Value #of", Title: "Of"},
		{From: "Value #progress", Title: "Progress", Unit: "percentunit", With: []dashboard.DynamicConfigValue{
			{Id: "min", Value: 0}, {Id: "max", Value: 1}, kit.Gauge()}},
		{From: "Value #frozen", Title: "Frozen", With: []dashboard.DynamicConfigValue{{Id: "mappings", Value: kit.Mappings(
			kit.State{Value: 1, Text: "Yes", Color: "green"}, kit.State{Value: 0, Text: "Learning", Color: "blue"})}, kit.Colored()}},
		{From: "Value #first", Title: "First day", Unit: "dateTimeAsIso"},
	})
}

func snapshotRow() panels {
	current := "max by (" + byDataset + ", snapshot, digest) (" + raw("ml_dataset_snapshot_info") + ")"
	good := "max by (" + byDataset + ", snapshot, digest) (" + raw("ml_dataset_last_good_snapshot_info") + ")"
	panel := kit.Table(kit.Text{
		ID: 61, Title: "What was profiled, and what was last good", Unit: "string",
		Description: "Identity of the profiled data and of the last profile that passed every check: the one to replay from. Where the two differ, something is wrong with what is there now.",
	}).
		WithTarget(kit.Instant("current", current)).
		WithTarget(kit.Instant("good", `max by (`+byDataset+`, good_snapshot, good_digest) (
			label_replace(label_replace(
			`+good+`,
			"good_snapshot", "$1", "snapshot", "(.+)"), "good_digest", "$1", "digest", "(.+)")
			)`)).
		WithTarget(kit.Instant("same", "count by ("+byDataset+") ("+current+" and on ("+byDataset+", digest) "+good+
			")\nor on ("+byDataset+")\n0 * count by ("+byDataset+") ("+current+")"))
	return panels{kit.Columns(panel, []kit.Column{
		{From: "dataset", Title: "Dataset", With: []dashboard.DynamicConfigValue{detailLink("Dataset")}},
		{From: "Value #same", Title: "Now is good", With: []dashboard.DynamicConfigValue{{Id: "mappings", Value: kit.Mappings(
			kit.State{Value: 0, Text: "No", Color: "orange"}, kit.State{Value: 1, Text: "Yes", Color: "green"})}, kit.Colored()}},
		{From: "snapshot", Title: "Snapshot now"},
		{From: "digest", Title: "Digest now"},
		{From: "good_snapshot", Title: "Last good snapshot"},
		{From: "good_digest", Title: "Last good digest"},
	}, "Value #current", "Value #good")}
}

func exporterRow() panels {
	perInstance := func(metric string) string { return maxBy("cluster, namespace, job, instance", kit.Raw(metric)) }
	health := func(id uint32, title, description, metric, good, bad string) cog.Builder[dashboard.Panel] {
		return kit.Stat(kit.Text{ID: id, Title: title, Description: description, Unit: "none"}).
			Span(6).Height(5).
			ColorMode(common.BigValueColorModeBackground).
			Mappings(kit.Mappings(
				kit.State{Value: 1, Text: good, Color: "green"}, kit.State{Value: 0, Text: bad, Color: "red"})).
			WithTarget(kit.Now("state", perInstance(metric), "{{instance}}"))
	}
	worst := func(id uint32, title, description, by, expr, legend string) cog.Builder[dashboard.Panel] {
		return kit.Timeseries(kit.Text{ID: id, Title: title, Description: description, Unit: "s"}).Span(8).
			WithTarget(kit.Range("seconds", "topk(10, max by ("+by+") ("+expr+"))", legend))
	}
	return panels{
		health(71, "Exporters", "Whether Prometheus reached each exporter at its last scrape.", "up", "Up", "Down"),
		health(72, "Configuration", "Whether each exporter accepted its configuration at the last reload. If not, it goes on with the one before.",
			"sightglass_config_last_reload_successful", "OK", "Refused"),
		kit.Timeseries(kit.Text{
			ID: 73, Title: "Collectors failing", Unit: "short",
			Description: "Collectors of each exporter whose last run failed. One failing collector does not stop the others.",
		}).Span(6).Decimals(0).
			WithTarget(kit.Range("failing", "sum by (cluster, namespace, job, instance) (1 - "+kit.Raw("sightglass_collector_success")+")", "{{instance}}")),
		kit.Timeseries(kit.Text{
			ID: 74, Title: "Label values folded into other", Unit: "cps",
			Description: "Label values beyond a configured limit, which the exporter counts together as other. Above zero, raise the limit or watch fewer columns.",
		}).Span(6).
			WithTarget(kit.Range("dropped", "sum by (cluster, namespace, instance, limit) (rate("+kit.Raw("sightglass_label_values_dropped_total")+"[$__rate_interval]))", "{{instance}} {{limit}}")),
		worst(75, "Time to profile, slowest datasets", "How long the last profile of a dataset took, as its query ran in the source.",
			byDataset, raw("ml_dataset_profile_duration_seconds"), "{{dataset}}"),
		worst(76, "Time since the last success, oldest collectors", "Time since each collector last succeeded, on the replica that did so last.",
			"cluster, namespace, collector", "time() - max by (cluster, namespace, collector) ("+kit.Raw("sightglass_collector_last_success_timestamp_seconds")+")", "{{collector}}"),
		worst(77, "Time to collect, slowest collectors", "How long the last run of a collector took.",
			"cluster, namespace, instance, collector", kit.Raw("sightglass_collector_duration_seconds"), "{{instance}} {{collector}}"),
	}
}

// raw selects a series of the exporter for the selected datasets.
func raw(metric string, matchers ...string) string {
	return kit.Raw(metric, append(matchers, `dataset=~"$dataset"`)...)
}

// recorded selects a recorded series for the selected datasets.
func recorded(metric string, matchers ...string) string {
	return kit.Recorded(metric, append(matchers, `dataset=~"$dataset"`)...)
}

// firing selects the firing data alerts of the selected datasets.
func firing(matchers ...string) string {
	return recorded("ALERTS", append([]string{`alertstate="firing"`, `layer="data"`}, matchers...)...)
}

// maxBy folds replicas together: they publish the same dataset, so a sum would count it twice.
func maxBy(labels, series string) string {
	return "max by (" + labels + ") (" + series + ")"
}

// worstSeverity is 0 for a quiet dataset and 1, 2, 3 for the worst alert that fires.
func worstSeverity() string {
	return fmt.Sprintf(`(
		max by (%[1]s) (
		  3 * %[2]s
		  or 2 * %[3]s
		  or %[4]s
		)
		or on (%[1]s)
		0 * %[5]s
		)`, byDataset,
		firing(`severity="critical"`), firing(`severity="warning"`), firing(`severity="info"`),
		maxBy(byDataset, raw("ml_dataset_profile_success")))
}

func severities() []dashboard.ValueMapping {
	return kit.Mappings(
		kit.State{Value: 3, Text: "Critical", Color: "red"},
		kit.State{Value: 2, Text: "Warning", Color: "orange"},
		kit.State{Value: 1, Text: "Info", Color: "blue"},
		kit.State{Value: 0, Text: "OK", Color: "green"},
	)
}

// severityNames colours the severity label, which is a word and not a number.
func severityNames() []dashboard.ValueMapping {
	mapping := dashboard.NewValueMap()
	mapping.Options = map[string]dashboard.ValueMappingResult{}
	for i, s := range []struct{ name, color string }{{"critical", "red"}, {"warning", "orange"}, {"info", "blue"}} {
		mapping.Options[s.name] = dashboard.ValueMappingResult{Color: cog.ToPtr(s.color), Index: cog.ToPtr(int32(i))}
	}
	return []dashboard.ValueMapping{{ValueMap: mapping}}
}

// deviation is how far the rows are from what is expected, as a share of it.
func deviation() string {
	return maxBy(byDataset, recorded("dataset:ml_rows:current")) + "\n/ on (" + byDataset + ")\n" +
		maxBy(byDataset, recorded("dataset:ml_rows:expected")) + "\n- 1"
}

// excessDrift is the number that the drift alert compares with its threshold.
func excessDrift(matchers ...string) string {
	return recorded("dataset_column:ml_drift:psi", matchers...) + "\n- " + recorded("dataset_column:ml_drift:psi_noise", matchers...)
}

// worstDrift ranks by the worst index less the mean noise, so that small samples, whose index is large by
// chance, do not crowd out real drift.
func worstDrift() string {
	return "topk(10,\nmax_over_time(" + recorded("dataset_column:ml_drift:psi") + "[$__range] @ end())\n" +
		"- avg_over_time(" + recorded("dataset_column:ml_drift:psi_noise") + "[$__range] @ end())\n)"
}

// signal is a recorded series, the labels that tell its objects apart, and the series of their limits,
// which is what the alert compares it with: a column's own limit, else its dataset's, else the default.
type signal struct{ series, by, limit string }

// top are the ten objects that were worst at any moment of the time range. One set for the whole range
// keeps the legend short: topk at every step would let any number of series through.
func (s signal) top() string {
	return "topk(10, max_over_time(" + recorded(s.series) + "[$__range] @ end()))"
}

func (s signal) worst() string {
	return recorded(s.series) + "\nand on (" + s.by + ")\n" + s.top()
}

// limits are the limits of the objects that worst shows; a limit may be for all of a dataset's objects.
func (s signal) limits() string {
	by := byDataset
	if strings.HasPrefix(s.limit, "dataset_column:") {
		by = byColumn
	}
	return recorded(s.limit) + "\nand on (" + by + ")\n" + s.top()
}

// worstOf draws a signal's worst objects with their limits.
func worstOf(text kit.Text, s signal, legend string) *timeseries.PanelBuilder {
	return kit.Limit(kit.Timeseries(text), "limit").
		Min(0).
		DataLinks(seriesLinks()).
		WithTarget(kit.Range("worst", s.worst(), legend)).
		WithTarget(kit.Range("limit", s.limits(), "limit of "+legend))
}

// self is a link to this dashboard that keeps its selections and the time, and sets the given variables.
func self(set ...string) string {
	query := []string{"${__url_time_range}"}
	for _, name := range []string{"datasource", "job", "instance", "cluster", "namespace", "dataset"} {
		query = append(query, "${"+name+":queryparam}")
	}
	for i := 0; i+1 < len(set); i += 2 {
		query = append(query, "var-"+set[i]+"="+set[i+1])
	}
	return "/d/" + dataQualityUID + "?" + strings.Join(query, "&")
}

// detailLink shows the dataset, and perhaps the column, of a table's row in the panels of one dataset.
func detailLink(fields ...string) dashboard.DynamicConfigValue {
	set := []string{"detail", "${__data.fields." + fields[0] + ":percentencode}"}
	title := "Show this dataset"
	if len(fields) > 1 {
		set = append(set, "column", "${__data.fields."+fields[1]+":percentencode}")
		title = "Show this column"
	}
	return kit.LinkProperty(title, self(set...), false)
}

func seriesLinks() []cog.Builder[dashboard.DashboardLink] {
	return []cog.Builder[dashboard.DashboardLink]{kit.Link("Show this in detail",
		self("detail", "${__field.labels.dataset:percentencode}", "column", "${__field.labels.column:percentencode}"))}
}

func color(color string) dashboard.DynamicConfigValue {
	return dashboard.DynamicConfigValue{Id: "color", Value: map[string]any{"mode": "fixed", "fixedColor": color}}
}


