package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/sightglass-ml/sightglass/dashboards/internal/kit"
)

const gpuUID = "sightglass-gpu"

// byGPU are the labels that identify a GPU, or an instance of a partitioned GPU.
const byGPU = "cluster, namespace, instance, gpu, uuid, gpu_instance"

// Panels of all selected hosts use gpuHosts; panels of one GPU use oneGPU.
const (
	gpuHosts kit.Scope = `instance=~"$instance"`
	oneGPU   kit.Scope = `uuid="$detail"`
)

const gpuLegend = "{{instance}} GPU {{gpu}} {{gpu_instance}}"

// gpuDashboard shows from top to bottom: health and use of the fleet, queues, holders, what limits performance, and one GPU in detail.
func gpuDashboard() kit.Dashboard {
	return kit.Dashboard{
		UID:         gpuUID,
		Title:       "GPUs",
		Description: "Utilisation, memory, heat, errors and holders of GPUs, whichever exporter reads them, and the queue in front of them.",
		Tags:        []string{"infrastructure"},
		From:        "now-6h",
		Variables: append(kit.Header("gpu_info"),
			kit.One("detail", "GPU in detail", "device", "uuid", `sort_desc(label_join(
				`+severityOf(kit.Raw("gpu_info"), "instance, gpu, uuid", gpuAlerts)+`,
				"device", " GPU ", "instance", "gpu"))`)),
		Annotations: alertMarks("Infrastructure alerts", "{{instance}} GPU {{gpu}}", "instance", gpuHosts, "infrastructure"),
		Rows: []kit.Row{
			{ID: 10, Title: "Fleet", Panels: gpuFleetRow()},
			{ID: 20, Title: "Queues and idle GPUs", Panels: gpuQueueRow()},
			{ID: 30, Title: "Holders", Collapsed: true, Panels: gpuHolderRow()},
			{ID: 40, Title: "Throttling and errors", Collapsed: true, Panels: gpuTroubleRow()},
			{ID: 50, Title: "One GPU: $detail", Collapsed: true, Panels: gpuDetailRow()},
			{ID: 60, Title: "Hosts", Collapsed: true, Panels: gpuHostRow()},
		},
	}
}

func gpuAlerts(matchers ...string) string {
	return firing(gpuHosts, "infrastructure", matchers...)
}

// beyond counts the GPUs whose signal is beyond its threshold.
func beyond(series, comparison, threshold string) string {
	return "count(" + gpuHosts.Recorded(series) + " " + comparison + " on () group_left () ml:threshold:" + threshold + ") or vector(0)"
}

func gpuFleetRow() kit.Panels {
	heat := kit.StateTimeline(kit.Text{
		ID: 17, Title: "Utilisation of every GPU", Unit: "percentunit",
		Description: "One band per GPU or MIG instance, the darker the less it is used: the fifty busiest within the time range. High utilisation alone is no fault. A gap is a GPU that was not measured.",
	}).Height(12).Min(0).Max(1).Decimals(0).
		ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdContinuousBlues)).
		WithTarget(kit.Range("busy", kit.Top(50, func(r kit.Read) string {
			return r.Value(gpuHosts.Recorded("gpu:gpu_utilization:ratio"))
		}), gpuLegend))
	return kit.Panels{
		kit.Stat(kit.Text{
			ID: 11, Title: "GPUs", Unit: "short", Description: "GPUs and MIG instances that are measured now, by any exporter.",
		}).Thresholds(kit.Steps("text")).
			WithTarget(kit.Now("count", "count("+gpuHosts.Recorded("gpu:gpu_utilization:ratio")+")", "")),
		countStat(12, "Lost", "GPUs that should answer and do not.", "sum("+gpuHosts.Recorded("instance:gpu_missing:count")+") or vector(0)", "red"),
		countStat(13, "Saturated", "GPUs that are busier than the limit now: good for training, a queue for serving.", beyond("gpu:gpu_utilization:ratio", ">", "gpu_utilization_ratio"), "text"),
		countStat(14, "Short of memory", "GPUs with hardly any memory left.", beyond("gpu:gpu_memory_used:ratio", ">", "gpu_memory_used_ratio"), "orange"),
		countStat(15, "Idle", "GPUs that nobody used within the last hour.", beyond("gpu:gpu_utilization:max1h", "<", "gpu_idle_ratio"), "orange"),
		kit.Stat(kit.Text{
			ID: 16, Title: "Power", Unit: "watt", Description: "What all GPUs draw now.",
		}).Thresholds(kit.Steps("text")).
			WithTarget(kit.Now("power", "sum("+gpuHosts.Recorded("gpu:gpu_power:watts")+")", "")),
		heat,
		gpuAlertTable(),
	}
}

func gpuAlertTable() kit.Panel {
	return alertTable(18, gpuHosts, "infrastructure",
		kit.Col("instance", "Host"),
		kit.Col("gpu", "GPU", gpuLink()),
		kit.Col("gpu_instance", "MIG instance"),
		kit.Col("xid", "XID"),
		kit.Col("uuid", "UUID", gpuLink()),
	)
}

func gpuQueueRow() kit.Panels {
	five := func(by, series string) string {
		return kit.Top(5, func(r kit.Read) string { return by + " (" + r.Value(series) + ")" })
	}
	return kit.Panels{
		kit.Limit(kit.Timeseries(kit.Text{
			ID: 21, Title: "Queue share beside utilisation", Unit: "percentunit",
			Description: "What utilisation alone does not show: the share of a model's latency that its requests wait in a queue, of the five models that wait most, beside the mean utilisation of the GPUs of the five busiest hosts. Waiting at 75 % utilisation is a batch or memory limit; waiting at 100 % is too few GPUs.",
		})).Span(16).Height(10).Min(0).Max(1).
			OverrideByQuery("queue", kit.Properties{{Id: "custom.lineWidth", Value: 2}}).
			Links(kit.Runbook("MLGPUSaturated")).
			WithTarget(kit.Range("queue", five("max by (cluster, namespace, model)", kit.Recorded("model:ml_inference_queue_wait:ratio_rate5m")), "queue of {{model}}")).
			WithTarget(kit.Range("busy", five("avg by (cluster, namespace, instance)", gpuHosts.Recorded("gpu:gpu_utilization:ratio")), "GPUs of {{instance}}")).
			WithTarget(kit.Range("limit", kit.LimitFor("gpu_utilization_ratio", gpuHosts.Recorded("gpu:gpu_utilization:ratio")), "limit")),
		kit.Timeseries(kit.Text{
			ID: 22, Title: "Idle GPUs, cost an hour", Unit: "currency:C$",
			Description: "Canadian dollars an hour that are paid for GPUs which nobody holds, and for GPUs that are held and not used.",
		}).Span(8).Height(10).Min(0).Decimals(2).
			Links(kit.Runbook("MLGPUIdle")).
			WithTarget(kit.Range("idle", kit.Scope("").Highest("cost:ml_cost_gpu_idle:cad_per_hour"), "{{kind}}")),
	}
}

func gpuHolderRow() kit.Panels {
	labels := "cluster, instance, gpu, uuid, gpu_instance, namespace, pod, container, slurm_job, unit"
	held := func(metric string) string {
		return kit.MaxBy(labels, kit.Raw(metric))
	}
	panel := kit.Table(kit.Text{
		ID: 31, Title: "Holders", Unit: "short",
		Description: "Who has which GPU, used or not. A pod, a Slurm job or a systemd unit; (none) is a process outside of these, (unknown) one that the exporter cannot see. The namespace is the holder's.",
	}).Height(10).SortBy(kit.LargestFirst("Memory")).
		WithTarget(kit.Instant("held", held("gpu_allocation_info"))).
		WithTarget(kit.Instant("memory", held("gpu_process_memory_bytes"))).
		WithTarget(kit.Instant("busy", held("gpu_process_utilization_ratio")))
	return kit.Panels{kit.Columns(panel, []kit.Column{
		kit.Col("instance", "Host"),
		kit.Col("gpu", "GPU", gpuLink()),
		kit.Col("gpu_instance", "MIG instance"),
		kit.Col("pod", "Pod"),
		kit.Col("container", "Container"),
		kit.Col("slurm_job", "Slurm job"),
		kit.Col("unit", "Unit"),
		kit.Col("Value #memory", "Memory", kit.Unit("bytes")),
		kit.Col("Value #busy", "Busy", append(kit.Gauge(0, 1), kit.Unit("percentunit"))...),
		kit.Col("uuid", "UUID", gpuLink()),
	}, "Value #held")}
}

func gpuTroubleRow() kit.Panels {
	worst := func(series, by string) string {
		return kit.Signal{Scope: gpuHosts, Series: series, By: by}.Worst()
	}
	return kit.Panels{
		kit.Timeseries(kit.Text{
			ID: 41, Title: "Throttling by reason", Unit: "percentunit",
			Description: "Share of five minutes in which the reason held the clocks down: the ten worst within the time range. The power cap is ordinary under load, heat is not.",
		}).Span(12).Min(0).
			Links(kit.Runbook("MLGPUThermalThrottling")).
			WithTarget(kit.Range("throttled", worst("gpu:gpu_throttled:ratio5m", byGPU+", reason"), "{{reason}}: "+gpuLegend)),
		kit.Timeseries(kit.Text{
			ID: 42, Title: "Temperature", Unit: "celsius",
			Description: "The ten hottest GPUs within the time range.",
		}).Span(12).
			Links(kit.Runbook("MLGPUThermalThrottling")).
			WithTarget(kit.Range("temperature", worst("gpu:gpu_temperature:celsius", byGPU), gpuLegend)),
		kit.Timeseries(kit.Text{
			ID: 43, Title: "XID errors, 10 min", Unit: "short",
			Description: "Errors that the driver reported, by number: the ten worst within the time range.",
		}).Span(12).Min(0).Decimals(0).
			Links(kit.Runbook("MLGPUXidError")).
			WithTarget(kit.Range("xid", worst("gpu:gpu_xid_errors:increase10m", byGPU+", xid"), "XID {{xid}}: "+gpuLegend)),
		kit.Timeseries(kit.Text{
			ID: 44, Title: "Uncorrectable ECC errors, 10 min", Unit: "short",
			Description: "Errors that error correction could not repair.",
		}).Span(12).Min(0).Decimals(0).
			Links(kit.Runbook("MLGPUUncorrectableECC")).
			WithTarget(kit.Range("errors", worst("gpu:gpu_ecc_uncorrected:increase10m", byGPU), gpuLegend)),
	}
}

func gpuDetailRow() kit.Panels {
	graph := func(id uint32, title, unit, description string) kit.Text {
		return kit.Text{ID: id, Title: title, Unit: unit, Description: description}
	}
	by := func(labels, metric string) string {
		return kit.MaxBy("cluster, namespace, instance, "+labels, oneGPU.Raw(metric))
	}
	most := func(labels, metric string) string {
		return kit.Top(10, func(r kit.Read) string {
			return kit.MaxBy("cluster, namespace, instance, "+labels, r.Value(oneGPU.Raw(metric)))
		})
	}
	rate := func(k int, labels, metric string) string {
		return kit.Top(k, func(r kit.Read) string {
			return kit.MaxBy("cluster, namespace, instance, "+labels, r.Rate(oneGPU.Raw(metric)))
		})
	}
	// Of the MIG instances of a GPU, those that are busiest, or that hold most memory.
	instances := func(k int, metric, chosen string) string {
		const by = "cluster, namespace, instance, gpu_instance"
		return kit.Of(kit.MaxBy(by, oneGPU.Raw(metric)), by, kit.TopOf(k, func(r kit.Read) string {
			return kit.MaxBy(by, r.Value(oneGPU.Raw(chosen)))
		}))
	}
	return kit.Panels{
		kit.Timeseries(graph(51, "Activity", "percentunit", "Utilisation is the share of time in which any kernel ran. What lies below it, on Hopper and later, says how much of the GPU that kernel used. Of a divided GPU, its two busiest MIG instances.")).
			Span(12).Min(0).Max(1).
			WithTarget(kit.Range("busy", instances(2, "gpu_utilization_ratio", "gpu_utilization_ratio"), "utilisation {{gpu_instance}}")).
			WithTarget(kit.Range("sm", instances(2, "gpu_sm_active_ratio", "gpu_utilization_ratio"), "multiprocessors {{gpu_instance}}")).
			WithTarget(kit.Range("occupancy", instances(2, "gpu_sm_occupancy_ratio", "gpu_utilization_ratio"), "occupancy {{gpu_instance}}")).
			WithTarget(kit.Range("tensor", instances(2, "gpu_tensor_active_ratio", "gpu_utilization_ratio"), "tensor cores {{gpu_instance}}")),
		kit.Timeseries(graph(52, "GPU memory", "bytes", "Used by processes, kept by the driver, and free: together the whole memory. Of a divided GPU, the three MIG instances that use most.")).
			Span(12).Min(0).FillOpacity(40).
			Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A")).
			WithTarget(kit.Range("used", instances(3, "gpu_memory_used_bytes", "gpu_memory_used_bytes"), "used {{gpu_instance}}")).
			WithTarget(kit.Range("reserved", instances(3, "gpu_memory_reserved_bytes", "gpu_memory_used_bytes"), "reserved {{gpu_instance}}")).
			WithTarget(kit.Range("free", instances(3, "gpu_memory_free_bytes", "gpu_memory_used_bytes"), "free {{gpu_instance}}")),
		kit.Limit(kit.Timeseries(graph(53, "Power and limit", "watt", "Power drawn. Dashed: the limit at which the GPU is slowed."))).
			Span(8).Min(0).
			WithTarget(kit.Range("power", most("uuid", "gpu_power_watts"), "power")).
			WithTarget(kit.Range("limit", by("uuid", "gpu_power_limit_watts"), "limit")),
		kit.Limit(kit.Timeseries(graph(54, "Temperatures", "celsius", "Temperature of the GPU and its memory. Dashed: where it is slowed or shut down."))).
			Span(8).
			WithTarget(kit.Range("temperature", most("sensor", "gpu_temperature_celsius"), "{{sensor}}")).
			WithTarget(kit.Range("limit", by("limit", "gpu_temperature_limit_celsius"), "{{limit}}")),
		kit.Timeseries(graph(55, "Clocks", "hertz", "Clock frequencies. Clocks below their highest under load say that something holds them down.")).
			Span(8).Min(0).
			WithTarget(kit.Range("clock", most("clock", "gpu_clock_hertz"), "{{clock}}")),
		kit.Timeseries(graph(56, "PCIe and NVLink", "Bps", "Data that the GPU sends and receives, over NVLink its four busiest links.")).
			Span(12).Min(0).
			WithTarget(kit.Range("pciesent", rate(1, "uuid", "gpu_pcie_transmit_bytes_total"), "PCIe sent")).
			WithTarget(kit.Range("pciereceived", rate(1, "uuid", "gpu_pcie_receive_bytes_total"), "PCIe received")).
			WithTarget(kit.Range("linksent", rate(4, "link", "gpu_nvlink_transmit_bytes_total"), "NVLink {{link}} sent")).
			WithTarget(kit.Range("linkreceived", rate(4, "link", "gpu_nvlink_receive_bytes_total"), "NVLink {{link}} received")),
		kit.Timeseries(graph(57, "Throttled now, by reason", "short", "Reasons that hold the clocks down at the moment of the look.")).
			Span(12).Min(0).Max(1).Decimals(0).
			WithTarget(kit.Range("reason", "(\n"+most("reason", "gpu_throttle_active")+"\n) > 0", "{{reason}}")),
	}
}

func gpuHostRow() kit.Panels {
	busy := kit.Signal{Scope: gpuHosts, Series: "instance:cpu_busy:ratio", By: "cluster, namespace, instance"}
	memory := kit.Signal{Scope: gpuHosts, Series: "instance:memory_used:ratio", By: "cluster, namespace, instance"}
	return kit.Panels{
		kit.Limit(kit.Timeseries(kit.Text{
			ID: 61, Title: "Host CPU", Unit: "percentunit",
			Description: "Share of all cores' time in which the host works, by node_exporter: the ten busiest within the time range. Dashed: the limit.",
		})).Span(12).Min(0).Max(1).
			Links(kit.Runbook("MLCPUSaturated")).
			WithTarget(kit.Range("busy", busy.Worst(), "{{instance}}")).
			WithTarget(kit.Range("limit", kit.LimitFor("cpu_busy_ratio", gpuHosts.Recorded("instance:cpu_busy:ratio")), "limit")),
		kit.Timeseries(kit.Text{
			ID: 62, Title: "Host memory", Unit: "percentunit",
			Description: "Share of the host's memory that is not available, by node_exporter: the ten fullest within the time range.",
		}).Span(12).Min(0).Max(1).
			WithTarget(kit.Range("used", memory.Worst(), "{{instance}}")),
	}
}
