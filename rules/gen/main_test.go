package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/rules"
	"github.com/sightglass-ml/sightglass/rules/ruleset"
)

func TestTheCommittedPageIsCurrent(t *testing.T) {
	want, err := page("..")
	require.NoError(t, err)
	got, err := os.ReadFile("../../docs/alerts.md")
	require.NoError(t, err)
	require.Equal(t, want, string(got), "run go generate ./rules")
}

func TestAdapterTestsMatchTheirScrapeFiles(t *testing.T) {
	want, err := adapterTests("..")
	require.NoError(t, err)
	require.NotEmpty(t, want)
	for path, text := range want {
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, string(got), "%s: run go generate ./rules", path)
	}
}

func TestTheTablesOfCoverageAreCurrent(t *testing.T) {
	want, err := coverage("..")
	require.NoError(t, err)
	got, err := os.ReadFile("../../docs/adapters.md")
	require.NoError(t, err)
	require.Equal(t, want, string(got), "run go generate ./rules")
}

func TestCoverageCells(t *testing.T) {
	filled := map[string][]string{
		"model:ml_inference_duration_seconds:mean_5m":   {"histogram"},
		"model:ml_inference_duration_seconds:p95_5m":    {"histogram"},
		"model:ml_inference_queue_wait_seconds:mean_5m": {"mean_only"},
		"model:ml_inference_failures:ratio_rate5m":      {"timeout", "error"},
		"model:ml_inference_cancelled:ratio_rate5m":     {"estimate"},
		"model:ml_inference_requests:rate5m":            {"counter"},
	}
	for series, want := range map[string]string{
		"model:ml_inference_duration_seconds":       "p95",
		"model:ml_inference_queue_wait_seconds":     "mean only",
		"model:ml_inference_failures:ratio_rate5m":  "error, timeout",
		"model:ml_inference_cancelled:ratio_rate5m": "estimate",
		"model:ml_inference_requests:rate5m":        "yes",
		"model:ml_inference_tokens:rate5m":          "–",
	} {
		require.Equal(t, want, cell(filled, series), series)
	}
}

func TestScrapeBecomesInputSeries(t *testing.T) {
	var got strings.Builder
	require.NoError(t, writeSeries(&got, "  ", []byte(`# TYPE served_total counter
served_total{path="it's"} 6
# TYPE load gauge
load 0.5
# TYPE took_seconds summary
took_seconds{quantile="0.5"} 1
took_seconds_sum 3
# TYPE size_bytes histogram
size_bytes_bucket{le="1"} 0
`), labels.FromStrings("job", "j")))
	require.Equal(t, `  - {series: 'served_total{job="j",path="it''s"}', values: '6+1.5x20'}
  - {series: 'load{job="j"}', values: '0.5x20'}
  - {series: 'took_seconds{job="j",quantile="0.5"}', values: '1x20'}
  - {series: 'took_seconds_sum{job="j"}', values: '3+0.75x20'}
  - {series: 'size_bytes_bucket{job="j",le="1.0"}', values: '0x20'}
`, got.String())
}

func TestEveryThresholdHasAReason(t *testing.T) {
	reasons, err := comments()
	require.NoError(t, err)
	thresholds, err := rules.Thresholds()
	require.NoError(t, err)
	for _, threshold := range thresholds {
		require.NotEmpty(t, reasons[rules.ThresholdPrefix+threshold.Signal], "thresholds.yaml does not say why %s has its default", threshold.Signal)
	}
}

func TestAlertNeedsAReasonAndTheSeverityOfItsRunbook(t *testing.T) {
	bundle := ruleset.Set{Files: []ruleset.File{{Groups: []rulefmt.RuleGroup{{Rules: []rulefmt.Rule{{
		Alert: "MLX", Labels: map[string]string{"severity": "critical"}, Annotations: map[string]string{"description": "{{ $labels.model }}"},
	}}}}}}}
	for name, tc := range map[string]struct{ runbook, want string }{
		"whole":                {"# MLX\n\n**Severity** critical\n\n## Impact\n\nBad.\nVery.\n\nMore.\n\n## False alarms\n\n- One: [x](MLY.md).\n- Two.\n\n## Silence\n\n    amtool silence add --comment='<why>' --duration=2h alertname=MLX model=<model>\n", ""},
		"no way to silence it": {"# MLX\n\n**Severity** critical\n\n## Impact\n\nBad.\n\n## False alarms\n\nNone.\n", "MLX.md has no section Silence with the command amtool silence add --comment='<why>' --duration=2h alertname=MLX model=<model>"},
		"no reason":            {"# MLX\n\n**Severity** critical\n\n## False alarms\n\nNone.\n", "MLX.md needs the sections Impact and False alarms"},
		"no false alarms":      {"# MLX\n\n**Severity** critical\n\n## Impact\n\nBad.\n", "MLX.md needs the sections Impact and False alarms"},
		"another severity":     {"# MLX\n\n**Severity** warning\n\n## Impact\n\nBad.\n\n## False alarms\n\nNone.\n", "MLX.md does not say that its severity can be critical"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "MLX.md"), []byte(tc.runbook), 0o600))
			got, err := judgement(bundle, dir)
			if tc.want != "" {
				require.ErrorContains(t, err, tc.want)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "**[MLX](runbooks/MLX.md)** goes to the person on call (critical).\n\n- Why: Bad. Very.\n- False alarms: One: [x](runbooks/MLY.md). Two.\n"+
				"- Silence: `amtool silence add --comment='<why>' --duration=2h alertname=MLX model=<model>`\n\n", got)
		})
	}
}

func TestEveryAlertHasAReasonForItsSeverity(t *testing.T) {
	bundle, err := ruleset.Load()
	require.NoError(t, err)
	_, err = severities(bundle, []byte("MLGPULost: {before: critical, reason: 'Work on it hangs.'}\nMLGone: {before: info, reason: 'Was.'}"))
	require.ErrorContains(t, err, "severities.yaml has MLGone, which is not an alert")
	require.ErrorContains(t, err, "severities.yaml has no reason for the severity of MLDatasetDrift")
	require.NotContains(t, err.Error(), "MLGPULost")

	table, err := severities(bundle, severitiesFile)
	require.NoError(t, err)
	require.Contains(t, table, "| [MLGPUSaturated](runbooks/MLGPUSaturated.md) | critical | critical, info | ")
	require.Contains(t, table, "| [SightglassRulesMissing](runbooks/SightglassRulesMissing.md) | - | critical | ")
}
