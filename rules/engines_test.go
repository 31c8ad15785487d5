package rules_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// The tests of the adapters hold every canonical series that a scrape becomes, to nine digits. Other engines run the same
// tests, so all agree. bin/tools/oldest has Prometheus 2.42, which knows keep_firing_for; bin/tools/victoriametrics has vmalert
// with VictoriaMetrics behind it.

func TestTheOldestPrometheusLoadsEveryRule(t *testing.T) {
	t.Parallel()
	args := []string{"check", "rules"}
	for _, f := range load(t).Files {
		args = append(args, filepath.FromSlash(f.Name))
	}
	out, err := exec.CommandContext(t.Context(), testtools.Path(t, "oldest/promtool"), args...).CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestTheOldestPrometheusRecordsTheSameCanonicalSeries(t *testing.T) {
	t.Parallel()
	tests := engineTests(t, "promql_expr_test", "adapters/*_test.yaml")
	out, err := exec.CommandContext(t.Context(), testtools.Path(t, "oldest/promtool"), append([]string{"test", "rules"}, tests...)...).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, len(tests), strings.Count(string(out), "SUCCESS"))
}

// Alerts, with all of their text, and the native histograms' series.
func TestTheOldestPrometheusRaisesTheSameAlerts(t *testing.T) {
	t.Parallel()
	tests := engineTests(t, "promql_expr_test", "broken_test.yaml", "self_test.yaml", "self_rules_test.yaml", "saturation_test.yaml", "response_test.yaml")
	out, err := exec.CommandContext(t.Context(), testtools.Path(t, "oldest/promtool"), append([]string{"test", "rules"}, tests...)...).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, len(tests), strings.Count(string(out), "SUCCESS"))
}

func TestVictoriaMetricsRecordsTheSameCanonicalSeries(t *testing.T) {
	if os.Getenv("SIGHTGLASS_VMALERT") == "" {
		t.Skip("make test-vmalert runs it: vmalert-tool gives another value of increase() from run to run, where a series is new")
	}
	// What is counted of a series that is new differs: MetricsQL's changes() and increase() count its first value, as docs/operating.md
	// says. The tests of shapes are about just that.
	tests := slices.DeleteFunc(engineTests(t, "metricsql_expr_test", "adapters/*_test.yaml"), func(path string) bool {
		return filepath.Base(path) == "gpu_shapes_test.yaml"
	})
	args := make([]string, 0, len(tests)+1)
	args = append(args, "unittest")
	for _, test := range tests {
		args = append(args, "--files="+test)
	}
	cmd := exec.CommandContext(t.Context(), testtools.Path(t, "victoriametrics/vmalert-tool"), args...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.NotContains(t, string(out), "FAILED")
}

var rounded = regexp.MustCompile(`\bround\((.+), 1e-9\)`)

// engineTests copies tests for another engine and returns their paths. Those that round do it in a way that older engines do alike:
// Prometheus 2.42 multiplies by 1e-9 and is off in the last digit. Numbers that nothing rounds are compared to the last digit.
func engineTests(t *testing.T, exprTest string, patterns ...string) []string {
	t.Helper()
	here, err := filepath.Abs(".")
	require.NoError(t, err)
	var tests []string
	for _, pattern := range patterns {
		files, err := filepath.Glob(filepath.Join("tests", pattern))
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			copied := strings.NewReplacer(
				"fuzzy_compare: true\n", "", "promql_expr_test:", exprTest+":",
				" ../../", " "+here+"/", "[../../", "["+here+"/", " ../", " "+here+"/", "[../", "["+here+"/", " testdata/", " "+here+"/tests/testdata/",
			).Replace(string(text))
			copied = rounded.ReplaceAllString(copied, "floor(($1) * 1e9 + 0.5) / 1e9")
			path := filepath.Join(t.TempDir(), filepath.Base(file))
			require.NoError(t, os.WriteFile(path, []byte(copied), 0o600))
			tests = append(tests, path)
		}
	}
	return tests
}
