package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/sightglass-ml/sightglass/dashboards/internal/kit"
)

const dataQualityUID = "sightglass-data-quality"

// Labels that identify an object, at each level of detail.
const (
	byDataset  = "cluster, namespace, dataset"
	byColumn   = byDataset + ", column"
	byBaseline = byColumn + ", baseline"
)

// Panels of all selected datasets use datasets; panels of one dataset use detail.
const (
	datasets kit.Scope = `dataset=~"$dataset"`
	detail   kit.Scope = `dataset="$detail"`
)

// dataQuality shows from top to bottom: which datasets have a problem, in which column, what changed, how much data arrived and when, and
// the history of one column. Panels of all selected datasets show only the worst ones, so that hundreds of datasets stay readable. Panels of
// one dataset follow $detail and $column.
func dataQuality() kit.Dashboard {
	profiled := kit.Raw("ml_dataset_profile_success")
	return kit.Dashboard{
		UID:         dataQualityUID,
		Title:       "Data quality",
		Description: "Nulls, drift, schema, volume and freshness of the tables that models are trained on and served from.",
		Tags:        []string{"data"},
		From:        "now-24h",
		Variables: append(kit.Header("ml_dataset_profile_success"),
			kit.Many("dataset", "Dataset", profiled),
			kit.One("detail", "Dataset in detail", "dataset", "dataset",
				"sort_desc("+severityOf(datasets.Raw("ml_dataset_profile_success"), "dataset", dataAlerts)+")"),
			kit.One("column", "Column in detail", "column", "column",
				"sort_desc(max by (column) ("+detail.Recorded("dataset_column:ml_drift:psi")+")\nor max by (column) (0 * "+detail.Raw("ml_dataset_column_values")+"))"),
		),
		Annotations: alertMarks("Data alerts", "{{dataset}} {{column}}", "dataset", datasets, "data"),
		Rows: []kit.Row{
			{ID: 10, Title: "Datasets", Panels: dataGlanceRow()},
			{ID: 20, Title: "Nulls, drift, new categories", Panels: dataColumnRow()},
			{ID: 25, Title: "Probable causes", Panels: dataCauseRow()},
			{ID: 30, Title: "Schema", Collapsed: true, Panels: dataSchemaRow()},
			{ID: 40, Title: "Volume, freshness, loss between stages", Collapsed: true, Panels: dataFlowRow()},
			{ID: 50, Title: "Baselines; $column of $detail", Collapsed: true, Panels: dataBaselineRow()},
			{ID: 60, Title: "Snapshots", Collapsed: true, Panels: dataSnapshotRow()},
			{ID: 70, Title: "Exporter", Collapsed: true, Panels: dataExporterRow()},
		},
	}
}

func dataGlanceRow() kit.Panels {
	severity := func(name string) string {
		return "count(" + kit.MaxBy(byDataset, dataAlerts(`severity="`+name+`"`)) + ") or vector(0)"
	}
	return kit.Panels{
		kit.Stat(kit.Text{
			ID: 11, Title: "Datasets watched", Unit: "short",
			Description: "Datasets that an exporter profiles now, counted once however many replicas profile them.",
		}).Thresholds(kit.Steps("text")).
			WithTarget(kit.Now("count", "count("+kit.MaxBy(byDataset, datasets.Raw("ml_dataset_profile_success"))+")", "")),
		countStat(12, "Critical", "Datasets with a firing critical alert.", severity("critical"), "red"),
		countStat(13, "Warning", "Datasets with a firing warning.", severity("warning"), "orange"),
		countStat(14, "Profiles failing", "Datasets whose last profile failed on every replica: what the other panels show about them is old or missing.",
			"count("+kit.MaxBy(byDataset, datasets.Raw("ml_dataset_profile_success"))+" == 0) or vector(0)", "orange"),
		countStat(15, "Baselines learning", "Datasets whose production baseline is not frozen yet. Until it is, drift against it raises no alert.",
			"count("+kit.MaxBy(byDataset, datasets.Raw("ml_dataset_baseline_frozen"))+" == 0) or vector(0)", "blue"),
		countStat(16, "Schemas changed", "Datasets whose columns differ from the schema that is expected of them.",
			"count("+kit.MaxBy(byDataset, datasets.Recorded("dataset:ml_schema_changes:count"))+" > 0) or vector(0)", "orange"),
		dataStateTable(),
		kit.StateTimeline(kit.Text{
			ID: 18, Title: "Worst alert over time", Unit: "none",
			Description: "Worst severity firing for each dataset. The twenty datasets that fired longest within the time range; healthy ones fill up the list.",
		}).Mappings(kit.Severities()).
			WithTarget(kit.Range("state", worstDataAlert()+`
				and on (`+byDataset+`)
				topk(20,
				  sum by (`+byDataset+`) (count_over_time(`+dataAlerts()+`[$__range] @ end()))
				  or on (`+byDataset+`)
				  0 * `+kit.MaxBy(byDataset, datasets.Raw("ml_dataset_profile_success")+" @ end()")+`
				)`, "{{dataset}} {{namespace}} {{cluster}}")),
		dataAlertTable(),
	}
}

func dataStateTable() kit.Panel {
	panel := kit.Table(kit.Text{
		ID: 17, Title: "State of every dataset", Unit: "short",
		Description: "One row per dataset: the worst alert that fires and the numbers behind it. An empty cell means not measured. Click a dataset to see it in detail below.",
	}).Height(10).SortBy(kit.LargestFirst("State")).
		WithTarget(kit.Instant("state", worstDataAlert())).
		WithTarget(kit.Instant("alerts", "count by ("+byDataset+") ("+dataAlerts()+")")).
		WithTarget(kit.Instant("profile", kit.MaxBy(byDataset, datasets.Raw("ml_dataset_profile_success")))).
		WithTarget(kit.Instant("rows", kit.MaxBy(byDataset, datasets.Recorded("dataset:ml_rows:current")))).
		WithTarget(kit.Instant("deviation", volumeDeviation())).
		WithTarget(kit.Instant("age", kit.MaxBy(byDataset, datasets.Recorded("dataset:ml_freshness:age_seconds")))).
		WithTarget(kit.Instant("nulls", kit.MaxBy(byDataset, datasets.Recorded("dataset_column:ml_nulls:ratio")))).
		WithTarget(kit.Instant("drift", "max by ("+byDataset+") (\n"+excessDrift(datasets)+"\n)")).
		WithTarget(kit.Instant("schema", kit.MaxBy(byDataset, datasets.Recorded("dataset:ml_schema_changes:count")))).
		WithTarget(kit.Instant("day", kit.MaxBy(byDataset, datasets.Raw("ml_dataset_baseline_days"))))
	return kit.Columns(panel, []kit.Column{
		kit.Col("dataset", "Dataset", detailLink("Dataset")),
		kit.Col("Value #state", "State", kit.Mapped(kit.Severities()), kit.Colored()),
		kit.Col("Value #alerts", "Alerts"),
		kit.Col("Value #profile", "Profile", kit.Mapped(kit.Mappings(
			kit.State{Value: 1, Text: "OK", Color: "green"}, kit.State{Value: 0, Text: "Failing", Color: "orange"})), kit.Colored()),
		kit.Col("Value #rows", "Rows"),
		kit.Col("Value #deviation", "Against expected", kit.Unit("percentunit")),
		kit.Col("Value #age", "Age of newest record", kit.Unit("s")),
		kit.Col("Value #nulls", "Highest null ratio", kit.Unit("percentunit")),
		kit.Col("Value #drift", "Highest drift", kit.Unit("none"), kit.Decimals(3)),
		kit.Col("Value #schema", "Schema changes"),
		kit.Col("Value #day", "Baseline day"),
	})
}

func dataAlertTable() kit.Panel {
	return alertTable(19, datasets, "data",
		kit.Col("dataset", "Dataset", detailLink("Dataset")),
		kit.Col("column", "Column", detailLink("Dataset", "Column")),
		kit.Col("baseline", "Baseline"),
		kit.Col("upstream", "Upstream"),
		kit.Col("against", "Against"),
	)
}

func dataColumnRow() kit.Panels {
	return kit.Panels{
		kit.WorstOf(kit.Text{
			ID: 21, Title: "Null ratio, worst columns", Unit: "percentunit",
			Description: "Share of nulls in the profiled window: the ten columns that were worst within the time range. Dashed: each column's limit, which is its own, its dataset's or the default.",
		}, kit.Signal{Scope: datasets, Series: "dataset_column:ml_nulls:ratio", By: byColumn, Limit: "dataset_column:ml_nulls:limit"}, "{{dataset}} · {{column}}").
			DataLinks(seriesLinks()).
			Links(kit.Runbook("MLDatasetNullRatioHigh")),
		kit.Limit(kit.Timeseries(kit.Text{
			ID: 22, Title: "Drift beyond chance, worst columns", Unit: "none",
			Description: "Population stability index against a baseline, less what samples of this size show by chance without any drift. The ten worst within the time range. Dashed: each column's limit. The alert also asks that the index be statistically significant.",
		})).Decimals(3).
			DataLinks(seriesLinks()).
			Links(kit.Runbook("MLDatasetDrift")).
			WithTarget(kit.Range("drift", "(\n"+excessDrift(datasets)+"\n)\nand on ("+byBaseline+")\n"+worstDrift(), "{{dataset}} · {{column}} · {{baseline}}")).
			WithTarget(kit.Range("limit", "min("+driftLimits()+")", "limit")).
			WithTarget(kit.Range("limits", driftLimits(), "limit of {{dataset}} · {{column}}")),
		kit.WorstOf(kit.Text{
			ID: 23, Title: "Unseen categories, worst columns", Unit: "percentunit",
			Description: "Share of values that the frozen bins have no place for: categories that were in no baseline, such as a payment provider nobody mapped. Dashed: each column's limit.",
		}, kit.Signal{Scope: datasets, Series: "dataset_column:ml_unseen:ratio", By: byColumn, Limit: "dataset_column:ml_unseen:limit"}, "{{dataset}} · {{column}}").
			DataLinks(seriesLinks()).
			Links(kit.Runbook("MLDatasetUnseenCategories")),
		dataColumnTable(),
	}
}

func dataColumnTable() kit.Panel {
	labels := "cluster, namespace, column"
	drift := func(baseline string) string {
		return kit.MaxBy(labels, excessDrift(detail, `baseline="`+baseline+`"`))
	}
	significance := kit.MaxBy(labels, detail.Recorded("dataset_column:ml_drift:psi")+"\n/ "+detail.Recorded("dataset_column:ml_drift:psi_critical"))
	panel := kit.Table(kit.Text{
		ID: 24, Title: "Columns of $detail", Unit: "none",
		Description: "Every profiled column of the dataset in detail. Drift is the stability index less what chance explains, against each baseline; significance is the index over its critical value, so that above 1 it is not chance. Click a column to see its distribution below.",
	}).Span(12).SortBy(kit.LargestFirst("Drift from production")).
		WithTarget(kit.Instant("nulls", kit.MaxBy(labels, detail.Recorded("dataset_column:ml_nulls:ratio")))).
		WithTarget(kit.Instant("unseen", kit.MaxBy(labels, detail.Recorded("dataset_column:ml_unseen:ratio")))).
		WithTarget(kit.Instant("training", drift("training"))).
		WithTarget(kit.Instant("production", drift("production"))).
		WithTarget(kit.Instant("significance", significance))
	three := kit.Decimals(3)
	return kit.Columns(panel, []kit.Column{
		kit.Col("column", "Column", kit.LinkProperty("Show this column", inDetail("detail", "${detail:percentencode}", "column", "${__data.fields.Column:percentencode}"), false)),
		kit.Col("Value #nulls", "Null ratio", kit.Unit("percentunit")),
		kit.Col("Value #unseen", "Unseen", kit.Unit("percentunit")),
		kit.Col("Value #training", "Drift from training", three),
		kit.Col("Value #production", "Drift from production", three),
		kit.Col("Value #significance", "Significance", three),
	})
}

// dataCauseRow is one table: the probable causes of each change that is above its limit.
func dataCauseRow() kit.Panels {
	labels := byColumn + ", signal, cause_column, cause_value"
	panel := kit.Table(kit.Text{
		ID: 26, Title: "Probable causes", Unit: "percentunit",
		Description: "The value of another column, or of two, without whose rows most of a change disappears: the share of the change that it explains, its share of the rows, the time of its first affected row, whether they came gradually, and the share of the partitions that have them. An empty cause says that no single segment explains the change. The exporter's log and its report page have the SQL that lists the rows.",
	}).SortBy(kit.LargestFirst("Explained")).
		WithTarget(kit.Instant("explained", kit.MaxBy(labels, datasets.Recorded("dataset_column:ml_cause:explained")))).
		WithTarget(kit.Instant("rows", kit.MaxBy(labels, datasets.Raw("ml_dataset_cause_rows_ratio")))).
		WithTarget(kit.Instant("since", "1000 * min by ("+labels+") ("+datasets.Raw("ml_dataset_cause_first_seen_timestamp_seconds")+")")).
		WithTarget(kit.Instant("gradual", kit.MaxBy(labels, datasets.Raw("ml_dataset_cause_gradual")))).
		WithTarget(kit.Instant("partitions", kit.MaxBy(labels, datasets.Raw("ml_dataset_cause_partitions_ratio"))))
	return kit.Panels{kit.Columns(panel, []kit.Column{
		kit.Col("dataset", "Dataset", detailLink("Dataset")),
		kit.Col("column", "Column", detailLink("Dataset", "Column")),
		kit.Col("signal", "Signal"),
		kit.Col("cause_column", "Cause"),
		kit.Col("cause_value", "Value"),
		kit.Col("Value #explained", "Explained", append(kit.Gauge(0, 1), kit.Unit("percentunit"))...),
		kit.Col("Value #rows", "Rows", kit.Unit("percentunit")),
		kit.Col("Value #since", "First seen", kit.Unit("dateTimeAsIso")),
		kit.Col("Value #gradual", "Gradual", kit.Unit("bool_yes_no")),
		kit.Col("Value #partitions", "Partitions", kit.Unit("percentunit")),
	})}
}

func dataSchemaRow() kit.Panels {
	labels := byColumn + ", change, expected, actual"
	return kit.Panels{
		kit.Columns(kit.Table(kit.Text{
			ID: 31, Title: "Schema changes by column", Unit: "string",
			Description: "What the exporter found against the schema that is given in its configuration or was learned from the first profile. A renamed column shows as one removed and one added.",
		}).Span(16).
			WithTarget(kit.Instant("change", kit.MaxBy(labels, datasets.Raw("ml_dataset_schema_change_info")))),
			[]kit.Column{
				kit.Col("dataset", "Dataset", detailLink("Dataset")),
				kit.Col("column", "Column"),
				kit.Col("change", "Change"),
				kit.Col("expected", "Expected"),
				kit.Col("actual", "Actual"),
			}, "Value"),
		kit.Timeseries(kit.Text{
			ID: 32, Title: "Schema changes by dataset", Unit: "short",
			Description: "Number of columns that differ from the expected schema: the ten datasets with most of them within the time range. Any change alerts.",
		}).Span(8).Decimals(0).
			Links(kit.Runbook("MLDatasetSchemaChanged")).
			WithTarget(kit.Range("changes", kit.Signal{Scope: datasets, Series: "dataset:ml_schema_changes:count", By: byDataset}.Worst(), "{{dataset}}")),
	}
}

func dataFlowRow() kit.Panels {
	// A dataset of one name can be in several namespaces.
	band := func(of string) string {
		return kit.Of(detail.Recorded("dataset:ml_rows:"+of), byDataset, kit.TopOf(2, func(r kit.Read) string {
			return r.Value(detail.Recorded("dataset:ml_rows:current"))
		}))
	}
	return kit.Panels{
		kit.Timeseries(kit.Text{
			ID: 41, Title: "Rows of $detail against the expected band", Unit: "short",
			Description: "Rows in the profiled window, and the band expected from the same weekday and time of the previous weeks. The band is missing while there are too few weeks to learn from.",
		}).Links(kit.Runbook("MLDatasetVolumeAnomaly")).
			OverrideByName("upper", kit.Properties{kit.Baseline(), {Id: "custom.fillBelowTo", Value: "lower"}, {Id: "custom.fillOpacity", Value: 12}}).
			OverrideByName("lower", kit.Properties{kit.Baseline()}).
			OverrideByName("expected", kit.Properties{kit.Baseline()}).
			WithTarget(kit.Range("rows", band("current"), "rows")).
			WithTarget(kit.Range("expected", band("expected"), "expected")).
			WithTarget(kit.Range("lower", band("lower"), "lower")).
			WithTarget(kit.Range("upper", band("upper"), "upper")),
		dataVolumeTable(),
		kit.WorstOf(kit.Text{
			ID: 43, Title: "Age of the newest record", Unit: "s",
			Description: "Time since the newest record of each dataset: the ten oldest within the time range. Dashed: each dataset's limit.",
		}, kit.Signal{Scope: datasets, Series: "dataset:ml_freshness:age_seconds", By: byDataset, Limit: "dataset:ml_freshness:limit"}, "{{dataset}}").
			Links(kit.Runbook("MLDatasetStale")),
		kit.WorstOf(kit.Text{
			ID: 44, Title: "Rows lost between stages", Unit: "percentunit",
			Description: "Share of the upstream's rows in the same window that did not arrive. Dashed: each dataset's limit.",
		}, kit.Signal{Scope: datasets, Series: "dataset:ml_row_drop:ratio", By: byDataset + ", upstream", Limit: "dataset:ml_row_drop:limit", LimitBy: byDataset}, "{{upstream}} to {{dataset}}").
			Links(kit.Runbook("MLDatasetRowDropHigh")),
		kit.WorstOf(kit.Text{
			ID: 45, Title: "Feature mismatch", Unit: "percentunit",
			Description: "Share of compared rows whose feature differs from the value its source had at that moment. Dashed: each dataset's limit.",
		}, kit.Signal{Scope: datasets, Series: "dataset:ml_mismatch:ratio", By: byDataset + ", against", Limit: "dataset:ml_mismatch:limit", LimitBy: byDataset}, "{{dataset}} against {{against}}").Span(24).
			Links(kit.Runbook("MLDatasetFeatureMismatch")),
	}
}

func dataVolumeTable() kit.Panel {
	panel := kit.Table(kit.Text{
		ID: 42, Title: "Volume now", Unit: "short",
		Description: "Rows of every dataset against its band, and what the band is learned from: the same time of earlier weeks (weekly), of the last days (daily), or nothing yet (learning). Weeks of history that are there.",
	}).Span(12).SortBy(kit.SmallestFirst("Deviation")).
		WithTarget(kit.Instant("rows", kit.MaxBy(byDataset, datasets.Recorded("dataset:ml_rows:current")))).
		WithTarget(kit.Instant("expected", kit.MaxBy(byDataset, datasets.Recorded("dataset:ml_rows:expected")))).
		WithTarget(kit.Instant("lower", kit.MaxBy(byDataset, datasets.Recorded("dataset:ml_rows:lower")))).
		WithTarget(kit.Instant("upper", kit.MaxBy(byDataset, datasets.Recorded("dataset:ml_rows:upper")))).
		WithTarget(kit.Instant("deviation", volumeDeviation())).
		WithTarget(kit.Instant("weeks", kit.MaxBy(byDataset, datasets.Recorded("dataset:ml_rows:history_weeks")))).
		WithTarget(kit.Instant("state", kit.MaxBy(byDataset+", state", datasets.Recorded("dataset:ml_seasonality:info"))))
	return kit.Columns(panel, []kit.Column{
		kit.Col("dataset", "Dataset", detailLink("Dataset")),
		kit.Col("Value #rows", "Rows"),
		kit.Col("Value #expected", "Expected"),
		kit.Col("Value #lower", "Lower"),
		kit.Col("Value #upper", "Upper"),
		kit.Col("Value #deviation", "Deviation", kit.Unit("percentunit")),
		kit.Col("Value #weeks", "Weeks of history"),
		kit.Col("state", "Compared with"),
	}, "Value #state")
}

func dataBaselineRow() kit.Panels {
	values := detail.Raw("ml_dataset_column_values", `column="$column"`)
	baseline := func(name string) string {
		return kit.MaxBy("cluster, namespace, bin",
			detail.Raw("ml_dataset_column_baseline_ratio", `column="$column"`, `baseline="`+name+`"`))
	}
	// The share of the rows is computed for each exporter and then combined, as in the drift signal.
	share := kit.MaxBy("cluster, namespace, bin", values+`
		/ ignoring (column, bin) group_left ()
		(`+detail.Raw("ml_dataset_rows")+` > 0)`)
	return kit.Panels{
		distribution(kit.Text{
			ID: 51, Title: "Distribution of $column in $detail", Unit: "percentunit",
			Description: "Share of values in each frozen bin: now, in the training snapshot and in the first days of production. Numeric bins are in the order of their edges; missing, never seen and other values have bins of their own.",
		}, share, baseline("training"), baseline("production")),
		kit.Timeseries(kit.Text{
			ID: 52, Title: "Share of each bin of $column over time", Unit: "percentunit",
			Description: "When the distribution moved: the ten largest bins of the column within the time range.",
		}).Span(10).Height(10).Max(1).Min(0).FillOpacity(60).
			Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A")).
			WithTarget(kit.Range("share", kit.Of("(\n"+share+"\n)", "cluster, namespace, bin", kit.TopOf(10, func(r kit.Read) string {
				return kit.MaxBy("cluster, namespace, bin", r.Value(values))
			})), "{{bin}}")),
		dataLearningTable(),
		kit.Columns(kit.Table(kit.Text{
			ID: 54, Title: "Values behind the baselines of $detail", Unit: "short",
			Description: "How many values each baseline was learned from. With few, even a large index can be chance.",
		}).Span(10).SortBy(kit.LargestFirst("Values")).
			WithTarget(kit.Instant("values", kit.MaxBy("cluster, namespace, column, baseline", detail.Raw("ml_dataset_column_baseline_rows")))),
			[]kit.Column{
				kit.Col("column", "Column"),
				kit.Col("baseline", "Baseline"),
				kit.Col("Value", "Values"),
			}),
		kit.Columns(kit.Table(kit.Text{
			ID: 55, Title: "Columns without bins", Unit: "string",
			Description: "Columns of which only missing values are counted, and why: without bins, nothing tells when their values change. columns.include of the dataset forces bins.",
		}).
			WithTarget(kit.Instant("reason", kit.MaxBy(byColumn+", reason", datasets.Raw("ml_dataset_column_without_bins_info")))),
			[]kit.Column{
				kit.Col("dataset", "Dataset", detailLink("Dataset")),
				kit.Col("column", "Column"),
				kit.Col("reason", "Reason"),
			}, "Value"),
	}
}

func dataLearningTable() kit.Panel {
	days, wanted := kit.MaxBy(byDataset, datasets.Raw("ml_dataset_baseline_days")), kit.MaxBy(byDataset, datasets.Raw("ml_dataset_baseline_wanted_days"))
	panel := kit.Table(kit.Text{
		ID: 53, Title: "Learning the production baseline", Unit: "short",
		Description: "Day k of n of the first days of production, after which the baseline is frozen. Until then drift against it raises no alert.",
	}).Span(14).
		WithTarget(kit.Instant("day", days)).
		WithTarget(kit.Instant("of", wanted)).
		WithTarget(kit.Instant("progress", days+"\n/ on ("+byDataset+")\n"+wanted)).
		WithTarget(kit.Instant("frozen", kit.MaxBy(byDataset, datasets.Raw("ml_dataset_baseline_frozen")))).
		WithTarget(kit.Instant("first", "1000 * min by ("+byDataset+") ("+datasets.Raw("ml_dataset_baseline_first_day_timestamp_seconds")+")"))
	return kit.Columns(panel, []kit.Column{
		kit.Col("dataset", "Dataset", detailLink("Dataset")),
		kit.Col("Value #day", "Day"),
		kit.Col("Value #of", "Of"),
		kit.Col("Value #progress", "Progress", append(kit.Gauge(0, 1), kit.Unit("percentunit"))...),
		kit.Col("Value #frozen", "Frozen", kit.Mapped(kit.Mappings(
			kit.State{Value: 1, Text: "Yes", Color: "green"}, kit.State{Value: 0, Text: "Learning", Color: "blue"})), kit.Colored()),
		kit.Col("Value #first", "First day", kit.Unit("dateTimeAsIso")),
	})
}

func dataSnapshotRow() kit.Panels {
	current := "max by (" + byDataset + ", snapshot, digest) (" + datasets.Raw("ml_dataset_snapshot_info") + ")"
	good := "max by (" + byDataset + ", snapshot, digest) (" + datasets.Raw("ml_dataset_last_good_snapshot_info") + ")"
	panel := kit.Table(kit.Text{
		ID: 61, Title: "Profiled and last good snapshot", Unit: "string",
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
	return kit.Panels{kit.Columns(panel, []kit.Column{
		kit.Col("dataset", "Dataset", detailLink("Dataset")),
		kit.Col("Value #same", "Now is good", kit.Mapped(kit.Mappings(
			kit.State{Value: 0, Text: "No", Color: "orange"}, kit.State{Value: 1, Text: "Yes", Color: "green"})), kit.Colored()),
		kit.Col("snapshot", "Snapshot now"),
		kit.Col("digest", "Digest now"),
		kit.Col("good_snapshot", "Last good snapshot"),
		kit.Col("good_digest", "Last good digest"),
	}, "Value #current", "Value #good")}
}

func dataExporterRow() kit.Panels {
	perInstance := func(metric string) string { return kit.MaxBy("cluster, namespace, job, instance", kit.Raw(metric)) }
	health := func(id uint32, title, description, metric, good, bad string) kit.Panel {
		return kit.Stat(kit.Text{ID: id, Title: title, Description: description, Unit: "none"}).
			Span(6).Height(9).
			ColorMode(common.BigValueColorModeBackground).
			Mappings(kit.Mappings(
				kit.State{Value: 1, Text: good, Color: "green"}, kit.State{Value: 0, Text: bad, Color: "red"})).
			WithTarget(kit.Now("state", "bottomk(10, "+perInstance(metric)+")", "{{instance}}"))
	}
	slowest := func(id uint32, title, description, by, series, legend string) kit.Panel {
		return kit.Timeseries(kit.Text{ID: id, Title: title, Description: description, Unit: "s"}).Span(8).
			WithTarget(kit.Range("seconds", kit.Top(10, func(r kit.Read) string { return kit.MaxBy(by, r.Value(series)) }), legend))
	}
	collectors := func(r kit.Read) string {
		return kit.MaxBy("cluster, namespace, collector", r.Value(kit.Raw("sightglass_collector_last_success_timestamp_seconds")))
	}
	const byTarget = "cluster, namespace, job, instance"
	failing := kit.Of("sum by ("+byTarget+") (1 - "+kit.Raw("sightglass_collector_success")+")", byTarget,
		"topk(10, sum by ("+byTarget+") (1 - min_over_time("+kit.Raw("sightglass_collector_success")+"[$__range] @ end())))")
	dropped := func(r kit.Read) string {
		return "sum by (cluster, namespace, instance, limit) (" + r.Rate(kit.Raw("sightglass_label_values_dropped_total")) + ")"
	}
	return kit.Panels{
		health(71, "Exporters", "Whether Prometheus reached each exporter at its last scrape: ten of them, those that it did not reach first.", "up", "Up", "Down"),
		health(72, "Configuration", "Whether each exporter accepted its configuration at the last reload. If not, it goes on with the one before. Ten of them, those that refused first.",
			"sightglass_config_last_reload_successful", "OK", "Refused"),
		kit.Timeseries(kit.Text{
			ID: 73, Title: "Collectors failing", Unit: "short",
			Description: "Collectors of each exporter whose last run failed. One failing collector does not stop the others.",
		}).Span(6).Height(9).Decimals(0).
			WithTarget(kit.Range("failing", failing, "{{instance}}")),
		kit.Timeseries(kit.Text{
			ID: 74, Title: "Label values folded into other", Unit: "cps",
			Description: "Label values beyond a configured limit, which the exporter counts together as other. Above zero, raise the limit or watch fewer columns.",
		}).Span(6).Height(9).
			WithTarget(kit.Range("dropped", kit.Top(10, dropped), "{{instance}} {{limit}}")),
		slowest(75, "Time to profile, slowest datasets", "How long the last profile of a dataset took, as its query ran in the source.",
			byDataset, datasets.Raw("ml_dataset_profile_duration_seconds"), "{{dataset}}"),
		kit.Timeseries(kit.Text{
			ID: 76, Title: "Age of the last success, oldest collectors", Unit: "s",
			Description: "Time since each collector last succeeded, on the replica that did so last.",
		}).Span(8).
			WithTarget(kit.Range("seconds", "time() - (\n"+kit.Oldest(10, collectors)+"\n)", "{{collector}}")),
		slowest(77, "Time to collect, slowest collectors", "How long the last run of a collector took.",
			"cluster, namespace, instance, collector", kit.Raw("sightglass_collector_duration_seconds"), "{{instance}} {{collector}}"),
	}
}

// excessDrift is the number that the drift alert compares with its limit: PSI less its error margin, at least 0.
func excessDrift(of kit.Scope, matchers ...string) string {
	return "clamp_min(\n" + of.Recorded("dataset_column:ml_drift:psi", matchers...) + "\n- " + of.Recorded("dataset_column:ml_drift:psi_noise", matchers...) + ", 0)"
}

// dataAlerts selects the firing data alerts of the selected datasets.
func dataAlerts(matchers ...string) string {
	return firing(datasets, "data", matchers...)
}

// worstDataAlert is 0 for a dataset without a firing alert, and 1, 2 or 3 for the worst alert.
func worstDataAlert() string {
	return severityOf(datasets.Raw("ml_dataset_profile_success"), byDataset, dataAlerts)
}

// volumeDeviation is the deviation of the rows from the expected number, as a share of it.
func volumeDeviation() string {
	return kit.MaxBy(byDataset, datasets.Recorded("dataset:ml_rows:current")) + "\n/ on (" + byDataset + ")\n" +
		kit.MaxBy(byDataset, datasets.Recorded("dataset:ml_rows:expected")) + "\n- 1"
}

// worstDrift ranks columns by the worst PSI less its mean error margin, so that small samples, whose PSI is large by chance, do not
// displace real drift.
func worstDrift() string {
	return "topk(10,\nmax_over_time(" + datasets.Recorded("dataset_column:ml_drift:psi") + "[$__range] @ end())\n" +
		"- avg_over_time(" + datasets.Recorded("dataset_column:ml_drift:psi_noise") + "[$__range] @ end())\n)"
}

// driftLimits selects the limits of the columns that worstDrift ranks.
func driftLimits() string {
	return datasets.Recorded("dataset_column:ml_drift:limit") + "\nand on (" + byColumn + ")\n" + worstDrift()
}

// inDetail is a link to this dashboard that keeps its selections and sets variables.
func inDetail(set ...string) string {
	return kit.LinkTo(dataQualityUID, []string{"dataset"}, set...)
}

// detailLink links a table's row to the panels of its dataset, and of its column if there is one.
func detailLink(fields ...string) kit.Property {
	set := []string{"detail", "${__data.fields." + fields[0] + ":percentencode}"}
	title := "Show this dataset"
	if len(fields) > 1 {
		set = append(set, "column", "${__data.fields."+fields[1]+":percentencode}")
		title = "Show this column"
	}
	return kit.LinkProperty(title, inDetail(set...), false)
}

// seriesLinks links a line to the panels of its dataset and column.
func seriesLinks() []cog.Builder[dashboard.DashboardLink] {
	return []cog.Builder[dashboard.DashboardLink]{kit.Link("Show this in detail",
		inDetail("detail", "${__field.labels.dataset:percentencode}", "column", "${__field.labels.column:percentencode}"))}
}
