package main

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
)

func TestTheCommittedPageIsWhatTheCodeGenerates(t *testing.T) {
	want, err := page()
	require.NoError(t, err)
	got, err := os.ReadFile("../metrics.md")
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "run make generate")
}

// What a scrape adds replaces a label of ours of the same name, or renames it to exported_<name>. The holder of a GPU is known by the names
// that Kubernetes has, and the rules read both forms (rules.TestHonorLabelsChangesNoCanonicalSeries).
func TestNoLabelIsOneThatAScrapeAdds(t *testing.T) {
	holder := map[string]bool{"gpu_allocation_info": true, "gpu_process_memory_bytes": true, "gpu_process_utilization_ratio": true}
	checked := 0
	for _, s := range sections() {
		for _, m := range s.metrics.Metrics {
			if strings.HasPrefix(m.Name, "DCGM_") {
				continue // The names of dcgm-exporter.
			}
			for _, taken := range []string{"cluster", "namespace", "pod", "container", "endpoint", "service", "instance", "job"} {
				if !holder[m.Name] || taken != "namespace" && taken != "pod" && taken != "container" {
					require.NotContains(t, m.Labels, taken, m.Name)
				}
			}
			checked++
		}
	}
	require.Greater(t, checked, 100)
}

func TestRuntimeMetricsMatchARunningExporter(t *testing.T) {
	server := exportertest.Start(t, exporter.Spec[struct{}]{
		Name: "reference_exporter", Description: "Publishes nothing of its own.", DefaultAddress: ":0", ConfigOptional: true,
		Load: func(string) (struct{}, error) { return struct{}{}, nil },
		Start: func(_ context.Context, env *exporter.Env, _ struct{}) (exporter.Instance, error) {
			env.Limit("reference", 1)
			return new(exporter.Snapshot), env.Loop(exporter.Loop{
				Name: "reference", Interval: time.Hour, Collect: func(context.Context) error { return nil },
			})
		},
	})
	server.AwaitReady()

	var want, got [][]string
	for _, m := range self().Metrics {
		want = append(want, []string{m.Name, m.Help, m.Type})
	}
	for _, m := range regexp.MustCompile(`# HELP (sightglass_\w+) (.*)\n# TYPE \w+ (\w+)`).FindAllStringSubmatch(server.Metrics(), -1) {
		got = append(got, m[1:])
	}
	require.ElementsMatch(t, want, got)
}
