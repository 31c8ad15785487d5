package rules

import (
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

func TestDCGMExporterFillsTheCanonicalSeries(t *testing.T) {
	samples := scrape(t, "dcgm-exporter.prom", "job", "dcgm", "instance", "node1:9400", "cluster", "east")
	got := adapted(t, samples, byName{"DCGM_FI_DEV_THERMAL_VIOLATION": 0.25e9}.perSecond)
	a := `cluster="east", gpu="0", instance="node1:9400", source="dcgm-exporter", source_kind="gauge", uuid="GPU-aaaa"`
	require.Equal(t, []string{
		`{__name__="gpu:gpu_ecc_uncorrected:increase10m", ` + a + `} 0`,
		`{__name__="gpu:gpu_holders:count", ` + a + `} 1`,
		`{__name__="gpu:gpu_memory_used:ratio", ` + a + `} 0.9`,
		`{__name__="gpu:gpu_memory_used:ratio", cluster="east", gpu="1", gpu_instance="7", instance="node1:9400", source="dcgm-exporter", source_kind="gauge", uuid="GPU-bbbb"} 0.5`,
		`{__name__="gpu:gpu_power:watts", ` + a + `} 412.5`,
		`{__name__="gpu:gpu_row_remap:failure", ` + a + `} 0`,
		`{__name__="gpu:gpu_temperature:celsius", ` + a + `} 61`,
		`{__name__="gpu:gpu_temperature:celsius", cluster="east", gpu="1", instance="node1:9400", source="dcgm-exporter", source_kind="gauge", uuid="GPU-bbbb"} 34`,
		`{__name__="gpu:gpu_throttled:ratio5m", cluster="east", gpu="0", instance="node1:9400", reason="thermal", source="dcgm-exporter", source_kind="gauge", uuid="GPU-aaaa"} 0.25`,
		`{__name__="gpu:gpu_utilization:ratio", ` + a + `} 0.97`,
		`{__name__="gpu:gpu_utilization:ratio", cluster="east", gpu="1", gpu_instance="7", instance="node1:9400", source="dcgm-exporter", source_kind="gauge", uuid="GPU-bbbb"} 0.25`,
		`{__name__="gpu:gpu_xid_errors:increase10m", cluster="east", gpu="1", instance="node1:9400", source="dcgm-exporter", source_kind="gauge", uuid="GPU-bbbb", xid="79"} 2`,
	}, got)
}

// A gauge of the last code is an error when it changes, and never again.
func TestDCGMLastXIDCountsWhenItChanges(t *testing.T) {
	samples := scrape(t, "dcgm-exporter.prom", "instance", "node1:9400")
	got := adapted(t, samples, byName{"DCGM_FI_DEV_XID_ERRORS": 1. / 600}.perSecond)
	require.Contains(t, strings.Join(got, "\n"), `gpu="0", instance="node1:9400", source="dcgm-exporter", source_kind="gauge", uuid="GPU-aaaa", xid="32"} 1`)
}

func TestNvidiaGPUExporterFillsTheCanonicalSeries(t *testing.T) {
	samples := scrape(t, "nvidia_gpu_exporter.prom", "job", "gpu", "instance", "ws1:9835")
	got := adapted(t, samples, byName{"nvidia_smi_xid_errors_total": 1. / 600}.perSecond)
	id := `instance="ws1:9835", source="nvidia_gpu_exporter", source_kind="gauge", uuid="GPU-cccc"`
	reason := func(r string) string {
		return `instance="ws1:9835", reason="` + r + `", source="nvidia_gpu_exporter", source_kind="gauge", uuid="GPU-cccc"`
	}
	require.Equal(t, []string{
		`{__name__="gpu:gpu_ecc_uncorrected:increase10m", ` + id + `} 0`,
		`{__name__="gpu:gpu_memory_used:ratio", ` + id + `} 0.75`,
		`{__name__="gpu:gpu_power:watts", ` + id + `} 301.2`,
		`{__name__="gpu:gpu_row_remap:failure", ` + id + `} 0`,
		`{__name__="gpu:gpu_temperature:celsius", ` + id + `} 66`,
		`{__name__="gpu:gpu_throttled:ratio5m", ` + reason("hw_thermal") + `} 0`,
		`{__name__="gpu:gpu_throttled:ratio5m", ` + reason("power_cap") + `} 0`,
		`{__name__="gpu:gpu_throttled:ratio5m", ` + reason("sw_thermal") + `} 1`,
		`{__name__="gpu:gpu_utilization:ratio", ` + id + `} 0.42`,
		`{__name__="gpu:gpu_xid_errors:increase10m", ` + id + `, xid="13"} 1`,
	}, got)
}

func TestNodeExporterFillsTheCanonicalSeries(t *testing.T) {
	samples := scrape(t, "node_exporter.prom", "job", "node", "instance", "node1:9100", "cluster", "east", "namespace", "monitoring")
	got := adapted(t, samples, byName{
		"node_cpu_seconds_total/idle": 0.25, "node_cpu_seconds_total/iowait": 0.125, "node_cpu_seconds_total/user": 0.625,
	}.perSecond)
	id := `cluster="east", instance="node1:9100", namespace="monitoring", source="node_exporter", source_kind="gauge"`
	require.Equal(t, []string{
		`{__name__="instance:cpu_busy:ratio", ` + id + `} 0.625`,
		`{__name__="instance:memory_used:ratio", ` + id + `} 0.75`,
	}, got)
}

// With both exporters on a node, a GPU is one GPU.
func TestOwnExporterGoesFirst(t *testing.T) {
	samples := scrape(t, "dcgm-exporter.prom", "instance", "node1:9400")
	for _, m := range []string{"gpu_info", "gpu_utilization_ratio"} {
		samples = append(samples, sample{labels.FromStrings(model.MetricNameLabel, m, "instance", "node1:10910", "gpu", "0", "uuid", "GPU-aaaa"), 1})
	}
	utilization := 0
	for _, line := range adapted(t, samples, byName{}.perSecond) {
		if strings.Contains(line, "gpu:gpu_utilization:ratio") && strings.Contains(line, "GPU-aaaa") {
			require.Contains(t, line, `source="sightglass"`)
			utilization++
		}
	}
	require.Equal(t, 1, utilization)
}
