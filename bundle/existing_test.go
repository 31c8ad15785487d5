package bundle_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/bundle"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// ruleTest is the part of promtool's test files that is used here.
type ruleTest struct {
	RuleFiles []string    `yaml:"rule_files"`
	Interval  string      `yaml:"evaluation_interval"`
	Fuzzy     bool        `yaml:"fuzzy_compare"`
	Tests     []ruleCases `yaml:"tests"`
}

type ruleCases struct {
	Interval string      `yaml:"interval"`
	Series   []ruleInput `yaml:"input_series"`
	Exprs    []ruleExpr  `yaml:"promql_expr_test"`
}

type ruleInput struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

type ruleExpr struct {
	Expr     string       `yaml:"expr"`
	EvalTime string       `yaml:"eval_time"`
	Samples  []ruleSample `yaml:"exp_samples"`
}

type ruleSample struct {
	Labels string  `yaml:"labels"`
	Value  float64 `yaml:"value"`
}

// scrapesOfOthers returns what scrapes of dcgm-exporter, vLLM and node_exporter become, and the canonical series of minute 10: those of
// the adapters' own tests.
func scrapesOfOthers(t *testing.T) ruleCases {
	t.Helper()
	all := ruleCases{Interval: "75s"}
	for _, adapter := range []string{"dcgm", "vllm", "node"} {
		body, err := os.ReadFile(filepath.Join("../rules/tests/adapters", adapter+"_test.yaml"))
		require.NoError(t, err)
		var file ruleTest
		require.NoError(t, yaml.Unmarshal(body, &file))
		first := file.Tests[0]
		for _, s := range first.Series {
			if !strings.HasPrefix(s.Series, "gpu_") && !strings.HasPrefix(s.Series, "ml_") { // our own exporters'
				all.Series = append(all.Series, s)
			}
		}
		byName := map[string][]ruleSample{}
		for _, s := range first.Exprs[0].Samples {
			name, rest, found := strings.Cut(strings.TrimPrefix(s.Labels, `{series="`), `",`)
			require.True(t, found, s.Labels)
			byName[name] = append(byName[name], ruleSample{"{" + rest, s.Value})
		}
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			all.Exprs = append(all.Exprs, ruleExpr{"round(" + name + ", 1e-9)", first.Exprs[0].EvalTime, byName[name]})
		}
	}
	return all
}

func TestEveryFormWorksBesideTheExportersOfOthersAlone(t *testing.T) {
	promtool := testtools.Path(t, "promtool")
	cases := scrapesOfOthers(t)
	cases.Exprs = append(cases.Exprs, ruleExpr{
		`count by (alertname, severity) (ALERTS{alertstate="firing"})`, "20m", []ruleSample{
			{`{alertname="MLGPUSaturated",severity="info"}`, 1},                 // 97 % of GPU-aaaa
			{`{alertname="MLGPUThermalThrottling",severity="warning"}`, 1},      // 25 % of the time
			{`{alertname="MLGPUXidError",severity="critical"}`, 1},              // 79: GPU-bbbb fell off the bus
			{`{alertname="MLGPUXidError",severity="warning"}`, 1},               // 32
			{`{alertname="MLGPUXidError",severity="info"}`, 1},                  // 31: a program's fault
			{`{alertname="MLInferenceFailurePathHigh",severity="critical"}`, 1}, // half of the requests are rejected
			{`{alertname="SightglassWatchdog",severity="info"}`, 1},
		},
	})
	for _, form := range bundle.RuleForms() {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write := func(name string, value any) {
				body, err := yaml.Marshal(value)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), body, 0o600))
			}
			files := render(t, bundle.Options{Rules: form, Adapters: []string{"dcgm", "vllm", "node"}})
			write("rules.yaml", map[string]any{"groups": groups(t, files)})
			write("test.yaml", ruleTest{[]string{"rules.yaml"}, "75s", true, []ruleCases{cases}})
			output, err := exec.CommandContext(t.Context(), promtool, "test", "rules", filepath.Join(dir, "test.yaml")).CombinedOutput()
			require.NoError(t, err, string(output))
		})
	}
}
