package replay_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/replay"
	"github.com/sightglass-ml/sightglass/replay/engine"
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

func TestTheSubsetReachesItsBars(t *testing.T) {
	s, result := run(t, rules.FS)
	v := replay.Judge(s, result)
	if len(v.MissedBars) > 0 {
		require.NoError(t, v.WriteTable(os.Stderr))
	}
	require.Empty(t, v.MissedBars)
	require.NotEmpty(t, v.Incidents)

	_, again := run(t, rules.FS)
	require.Equal(t, result.Transitions, again.Transitions, "the same seed must make the same alerts at the same times")
}

func TestABrokenRuleFailsTheReplay(t *testing.T) {
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
			"alerts/data.yaml", "dataset:ml_freshness:age_seconds > dataset:ml_freshness:limit\n          unless", "dataset:ml_freshness:age_seconds < dataset:ml_freshness:limit\n          unless", "false alarms",
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

func TestAKnownMissFailsOnceItIsReached(t *testing.T) {
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

// The promise holds with nothing configured but a table and its timestamp column.
func TestThePromiseHoldsWithDefaults(t *testing.T) {
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
