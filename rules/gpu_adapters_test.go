package rules

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

// scrape is what a target served, as Prometheus stores it.
func scrape(t *testing.T, file string, target ...string) []sample {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "scrapes", file))
	require.NoError(t, err)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	require.NoError(t, err)
	var out []sample
	for name, family := range families {
		for _, m := range family.GetMetric() {
			b := labels.NewBuilder(labels.FromStrings(target...)).Set(model.MetricNameLabel, name)
			for _, l := range m.GetLabel() {
				b.Set(l.GetName(), l.GetValue())
			}
			out = append(out, sample{b.Labels(), m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()})
		}
	}
	return out
}

// adapted returns what the adapters make of scrapes every 30 seconds for as long
// as their longest window, in which every series of perSecond grows.
func adapted(t *testing.T, samples []sample, perSecond map[string]float64) []string {
	t.Helper()
	w := newWorld(t)
	const step, steps = 30 * time.Second, 21
	start := time.Unix(1_700_000_000, 0)
	now := start
	for i := range steps {
		now = start.Add(time.Duration(i) * step)
		batch := slices.Clone(samples)
		for n := range batch {
			name := batch[n].labels.Get(model.MetricNameLabel)
			if mode := batch[n].labels.Get("mode"); mode != "" {
				name += "/" + mode
			}
			batch[n].value += perSecond[name] * now.Sub(start).Seconds()
		}
		w.store(now, batch)
	}
	var got []string
	for _, f := range load(t, Options{}).Files {
		if !strings.HasPrefix(f.Name, "adapters/") {
			continue
		}
		for _, group := range f.Groups {
			for _, rule := range group.Rules {
				w.evaluate(now, rule)
				for _, s := range w.query(now, rule.Record) {
					line := s.Metric.String() + " " + model.SampleValue(float64(int64(s.F*1000+0.5))/1000).String()
					if !slices.Contains(got, line) {
						got = append(got, line)
					}
				}
			}
		}
	}
	slices.Sort(got)
	return got
}

func TestDCGMExporterFillsTheCanonicalSeries(t *testing.T) {
	samples := scrape(t, "dcgm-exporter.prom", "job", "dcgm", "instance", "node1:9400", "cluster", "east")
	got := adapted(t, samples, map[string]float64{"DCGM_FI_DEV_THERMAL_VIOLATION": 0.25e9})
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
	got := adapted(t, samples, map[string]float64{"DCGM_FI_DEV_XID_ERRORS": 1. / 600})
	require.Contains(t, strings.Join(got, "\n"), `gpu="0", instance="node1:9400", source="dcgm-exporter", source_kind="gauge", uuid="GPU-aaaa", xid="32"} 1`)
}

func TestNvidiaGPUExporterFillsTheCanonicalSeries(t *testing.T) {
	samples := scrape(t, "nvidia_gpu_exporter.prom", "job", "gpu", "instance", "ws1:9835")
	got := adapted(t, samples, map[string]float64{"nvidia_smi_xid_errors_total": 1. / 600})
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
	got := adapted(t, samples, map[string]float64{
		"node_cpu_seconds_total/idle": 0.25, "node_cpu_seconds_total/iowait": 0.125, "node_cpu_seconds_total/user": 0.625,
	})
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
	for _, line := range adapted(t, samples, nil) {
		if strings.Contains(line, "gpu:gpu_utilization:ratio") && strings.Contains(line, "GPU-aaaa") {
			require.Contains(t, line, `source="sightglass"`)
			utilization++
		}
	}
	require.Equal(t, 1, utilization)
}
