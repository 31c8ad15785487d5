package replay_test

import (
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/replay"
	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/replay/report"
	"github.com/sightglass-ml/sightglass/replay/scenario"
	"github.com/sightglass-ml/sightglass/rules"
)

// run replays the subset of CI under rules.
func run(t *testing.T, from fs.FS) (*scenario.Scenario, replay.Result) {
	t.Helper()
	s, err := scenario.LoadFile("scenarios/ci.yaml")
	require.NoError(t, err)
	loaded, err := engine.LoadRules(from)
	require.NoError(t, err)
	result, err := replay.Run(t.Context(), s, replay.Options{Rules: loaded})
	require.NoError(t, err)
	return s, result
}

func TestLong_TheSubsetReachesItsBars(t *testing.T) {
	s, result := run(t, rules.FS)
	v := replay.Judge(s, result)
	if len(v.MissedBars) > 0 {
		require.NoError(t, v.WriteTable(os.Stderr))
	}
	require.Empty(t, v.MissedBars)
	require.Empty(t, v.Warnings, "its baselines are complete at every incident")
	require.NotEmpty(t, v.Incidents)

	_, again := run(t, rules.FS)
	require.Len(t, again.Transitions, len(result.Transitions))
	for i, want := range result.Transitions {
		got := again.Transitions[i]
		require.InDelta(t, want.Value, got.Value, 1e-9*(1+math.Abs(want.Value)), "DuckDB sums in parallel, so the last digits may differ")
		got.Value = want.Value
		require.Equal(t, want, got, "the same seed must make the same alerts at the same times")
	}
}

func TestLong_ABrokenRuleFailsTheReplay(t *testing.T) {
	for name, broken := range map[string]struct{ file, old, new, misses string }{
		"a threshold that is ten times too high": {
			"thresholds.yaml", "ml:threshold:failure_ratio\n        expr: vector(0.05)", "ml:threshold:failure_ratio\n        expr: vector(0.5)", "error_storm",
		},
		"a threshold that is too low": {
			"thresholds.yaml", "ml:threshold:gpu_utilization_ratio\n        expr: vector(0.95)", "ml:threshold:gpu_utilization_ratio\n        expr: vector(0.2)", "false alarms",
		},
		"a label that is dropped": {
			"adapters/gpu.yaml", "max by (cluster, namespace, instance) (gpu_expected)\n          - sum by (cluster, namespace, instance)",
			"max by (cluster, namespace) (gpu_expected)\n          - sum by (cluster, namespace)", "gpu_lost",
		},
		"an alert that compares the wrong way": {
			"alerts/data.yaml", "dataset:ml_freshness:age_seconds > dataset:ml_freshness:limit\n            unless", "dataset:ml_freshness:age_seconds < dataset:ml_freshness:limit\n            unless", "false alarms",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(dir, rules.FS))
			file := filepath.Join(dir, broken.file)
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Contains(t, string(text), broken.old)
			require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(text), broken.old, broken.new, 1)), 0o600))
			v := replay.Judge(run(t, os.DirFS(dir)))
			require.Contains(t, strings.Join(v.MissedBars, "\n"), broken.misses)
		})
	}
}

func TestLong_AKnownMissFailsOnceItIsReached(t *testing.T) {
	s, result := run(t, rules.FS)
	for i := range s.Bars {
		if s.Bars[i].KnownMiss == "" {
			s.Bars[i].KnownMiss = "an excuse that is out of date"
			break
		}
	}
	v := replay.Judge(s, result)
	require.Len(t, v.MissedBars, 1)
	require.Contains(t, v.MissedBars[0], "remove its known_miss \"an excuse that is out of date\"")
}

func TestClassBarReplacesTheGeneralBar(t *testing.T) {
	s, err := scenario.Parse("two.yaml", []byte(`name: two
start: 2026-01-05
length: 4d
models: [{name: fraud}]
incidents:
- {kind: error_storm, model: fraud, at: 1d, for: 1h}
- {kind: traffic_cliff, model: fraud, at: 2d, for: 1h}
bars:
- {measure: worst_detection, limit: 11m}
- {measure: missed, limit: 0}
- {measure: worst_detection, class: traffic_cliff, limit: 1h}
`))
	require.NoError(t, err)
	start := s.From()
	incident := func(class string, day int) report.Incident {
		at := start.AddDate(0, 0, day)
		return report.Incident{Class: class, Onset: at, End: at.Add(time.Hour), Detectors: []string{class}}
	}
	firingAt := func(class string, day int, after time.Duration) engine.Transition {
		return engine.Transition{At: start.AddDate(0, 0, day).Add(after), State: engine.Firing, Labels: labels.FromStrings("alertname", class)}
	}
	run := replay.Result{
		Truth:       report.Truth{From: start, To: s.To(), Incidents: []report.Incident{incident("error_storm", 1), incident("traffic_cliff", 2)}},
		Transitions: []engine.Transition{firingAt("error_storm", 1, 5*time.Minute), firingAt("traffic_cliff", 2, 50*time.Minute)},
	}
	require.Empty(t, replay.Judge(s, run).MissedBars)
	run.Transitions[0].At = run.Transitions[0].At.Add(10 * time.Minute)
	require.Equal(t, []string{"error_storm: worst time to detect is 15m, limit 11m"}, replay.Judge(s, run).MissedBars)
	run.Transitions = run.Transitions[:1]
	require.Len(t, replay.Judge(s, run).MissedBars, 3, "nothing is missed by a bar of the time to detect alone")
}

// The promise holds with nothing configured but a table and its timestamp column.
func TestLong_ThePromiseHoldsWithDefaults(t *testing.T) {
	s, err := scenario.LoadFile("scenarios/promise.yaml")
	require.NoError(t, err)
	loaded, err := engine.LoadRules(rules.FS)
	require.NoError(t, err)
	result, err := replay.Run(t.Context(), s, replay.Options{Rules: loaded})
	require.NoError(t, err)
	v := replay.Judge(s, result)
	if len(v.MissedBars) > 0 {
		require.NoError(t, v.WriteTable(os.Stderr))
	}
	require.Empty(t, v.MissedBars)
	require.Equal(t, len(s.Incidents), v.Totals.Incidents)
}
