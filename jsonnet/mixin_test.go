package jsonnet

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gojsonnet "github.com/google/go-jsonnet"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
	"github.com/sightglass-ml/sightglass/rules"
	"github.com/sightglass-ml/sightglass/rules/ruleset"
)

func TestTheCommittedCopiesAreCurrent(t *testing.T) {
	files, err := Files()
	require.NoError(t, err)
	for name, want := range files {
		got, err := os.ReadFile(filepath.FromSlash(name))
		require.NoError(t, err, "run go generate ./jsonnet")
		require.Equal(t, string(want), string(got), "%s is out of date: run go generate ./jsonnet", name)
	}
	require.NoError(t, fs.WalkDir(os.DirFS("."), "generated", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			require.Contains(t, files, name, "nothing generates this file")
		}
		return err
	}))
}

// render evaluates an expression about the mixin with a configuration.
func render(config, expr string) (string, error) {
	vm := gojsonnet.MakeVM()
	return vm.EvaluateAnonymousSnippet("test.jsonnet", `local mixin = (import 'mixin.libsonnet') + { _config+:: `+config+` }; `+expr)
}

func renderGroups(t *testing.T, config, field string) []rulefmt.RuleGroup {
	t.Helper()
	text, err := render(config, "mixin."+field)
	require.NoError(t, err)
	var out struct{ Groups []group }
	require.NoError(t, json.Unmarshal([]byte(text), &out))
	var groups []rulefmt.RuleGroup
	for _, g := range out.Groups {
		parsed := rulefmt.RuleGroup{Name: g.Name, Interval: duration(t, g.Interval)}
		for _, r := range g.Rules {
			parsed.Rules = append(parsed.Rules, rulefmt.Rule{
				Record: r.Record, Alert: r.Alert, Expr: r.Expr, For: duration(t, r.For), KeepFiringFor: duration(t, r.KeepFiringFor),
				Labels: r.Labels, Annotations: r.Annotations,
			})
		}
		groups = append(groups, parsed)
	}
	return groups
}

func duration(t *testing.T, text string) model.Duration {
	t.Helper()
	if text == "" {
		return 0
	}
	d, err := model.ParseDuration(text)
	require.NoError(t, err)
	return d
}

func TestTheDefaultsRenderTheRulesExactly(t *testing.T) {
	bundle, err := ruleset.Load()
	require.NoError(t, err)
	var recorded, alerting []rulefmt.RuleGroup
	for _, f := range bundle.Files {
		if strings.HasPrefix(f.Name, "alerts/") {
			alerting = append(alerting, f.Groups...)
		} else {
			recorded = append(recorded, f.Groups...)
		}
	}
	require.Equal(t, recorded, renderGroups(t, "{}", "prometheusRules"))
	require.Equal(t, alerting, renderGroups(t, "{}", "prometheusAlerts"))
}

// Debian's and many pipelines' jsonnet is years old.
func TestJsonnet018RendersTheSameWithEverySettingUsed(t *testing.T) {
	const snippet = `local mixin = (import 'mixin.libsonnet') + { _config+:: {
		thresholds: { null_ratio: 0.02 }, disabledAlerts: ['MLGPUIdle'], alerts: { MLDatasetDrift: { severity: 'info', 'for': '15m' } },
		extraLabels: { team: 'ml' }, objectLabels: ['tier'], windows: { '5m': '10m', '10m': '20m' }, selector: 'environment="production"', grafanaURL: 'https://grafana.example.com',
		dashboards+: { titlePrefix: 'ML / ', extraTags: ['mine'], mlflowURL: 'https://m', links: [{ title: 'Wiki', url: 'https://w' }] },
	} }; [mixin.prometheusRules, mixin.prometheusAlerts, mixin.grafanaDashboards]`
	run := func(tool string) string {
		cmd := exec.CommandContext(t.Context(), testtools.Path(t, tool), "-e", snippet)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err, "%s: %s", tool, stderr.String())
		return string(out)
	}
	require.JSONEq(t, run("jsonnet"), run("oldest/jsonnet"))
}

func TestTheDefaultsRenderTheDashboardsExactly(t *testing.T) {
	text, err := render("{}", "mixin.grafanaDashboards")
	require.NoError(t, err)
	var rendered map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(text), &rendered))
	committed, err := filepath.Glob("../dashboards/json/*.json")
	require.NoError(t, err)
	require.Len(t, rendered, len(committed))
	for _, path := range committed {
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.JSONEq(t, string(want), string(rendered[filepath.Base(path)]))
	}
}

func TestConfig(t *testing.T) {
	const alert = `local alert(name, severity) = [r for g in mixin.prometheusAlerts.groups for r in g.rules if r.alert == name && r.labels.severity == severity]; `
	for name, test := range map[string]struct{ config, expr, want string }{
		"a threshold changes one number": {
			`{ thresholds: { null_ratio: 0.02 } }`,
			`[r.expr for r in mixin.prometheusRules.groups[0].rules if std.member(['ml:threshold:null_ratio', 'ml:threshold:drift_psi'], r.record)]`,
			`["vector(0.02)", "vector(0.3)"]`,
		},
		"a disabled alert is gone in every severity": {
			`{ disabledAlerts: ['MLDatasetNullRatioHigh'] }`,
			alert + `alert('MLDatasetNullRatioHigh', 'warning') + alert('MLDatasetNullRatioHigh', 'critical')`, `[]`,
		},
		"one severity of an alert can be disabled": {
			`{ disabledAlerts: ['MLDatasetNullRatioHigh/critical'] }`,
			alert + `[std.length(alert('MLDatasetNullRatioHigh', s)) for s in ['warning', 'critical']]`, `[1, 0]`,
		},
		"a group without alerts is left out": {
			`{ disabledAlerts: ['SightglassExporterDown', 'SightglassCollectorFailing', 'SightglassConfigReloadFailed', 'SightglassLabelLimitReached', 'SightglassReviewsOutboxFull', 'SightglassBaselinesUnwritable', 'SightglassMetricsAbsent', 'SightglassOverrideUnmatched'] }`,
			`std.member([g.name for g in mixin.prometheusAlerts.groups], 'sightglass.self.alerts')`, `false`,
		},
		"a group has the interval that is asked for": {
			`{ groupIntervals: { 'sightglass.data.drift': '5m', 'sightglass.gpu.alerts': '15s' } }`,
			`[g.interval for g in mixin.prometheusRules.groups + mixin.prometheusAlerts.groups if std.member(['sightglass.data.drift', 'sightglass.gpu.alerts', 'sightglass.gpu'], g.name)]`,
			`["5m", "30s", "15s"]`,
		},
		"adapters that nobody needs are left out": {
			`{ disabledGroups: ['sightglass.adapters.vllm'] }`,
			`[std.member([g.name for g in mixin.prometheusRules.groups], name) for name in ['sightglass.adapters.vllm', 'sightglass.adapters.tgi']]`, `[false, true]`,
		},
		"recorded series get labels, thresholds none": {
			`{ recordLabels: { environment: 'production' } }`,
			`[[std.setUnion([], std.set([if std.objectHas(r, 'labels') && std.objectHas(r.labels, 'environment') then r.labels.environment else '' for r in g.rules])) for g in mixin.prometheusRules.groups if g.name == name][0] for name in ['sightglass.thresholds', 'sightglass.gpu']]`,
			`[[""], ["production"]]`,
		},
		"extra labels are on every alert": {
			`{ extraLabels: { team: 'ml' } }`,
			`std.set([r.labels.team for g in mixin.prometheusAlerts.groups for r in g.rules])`, `["ml"]`,
		},
		"alerts carry free labels of their object": {
			`{ objectLabels: ['tier', 'product'] }`,
			`local has(e, part) = std.strReplace(e, part, '') != e; [e for g in mixin.prometheusAlerts.groups + mixin.prometheusRules.groups for e in [r.expr for r in g.rules] if has(e, 'owner') && !has(e, 'owner, tier, product)')]`,
			`[]`,
		},
		"an alert is patched by name": {
			`{ alerts: { MLDatasetDrift: { severity: 'info', 'for': '15m', keep_firing_for: '1h', labels: { notify: 'working-hours' }, annotations: { action: 'Ask Ann.' } } } }`,
			alert + `[[r['for'], r.keep_firing_for, r.labels.notify, r.labels.layer, r.annotations.action] for r in alert('MLDatasetDrift', 'info')]`,
			`[["15m", "1h", "working-hours", "data", "Ask Ann."]]`,
		},
		"one severity of an alert is patched": {
			`{ alerts: { 'MLDatasetNullRatioHigh/critical': { 'for': '20m' } } }`,
			alert + `[if std.objectHas(r, 'for') then r['for'] else '0s' for s in ['warning', 'critical'] for r in alert('MLDatasetNullRatioHigh', s)]`, `["0s", "20m"]`,
		},
		"links lead to the user's pages": {
			`{ runbookURL: 'https://wiki.example.com/ml', grafanaURL: 'https://grafana.example.com' }`,
			alert + `[[r.annotations.runbook_url, r.annotations.dashboard] for r in alert('SightglassExporterDown', 'critical')]`,
			`[["https://wiki.example.com/ml/SightglassExporterDown.md", "https://grafana.example.com/d/sightglass-data-quality"]]`,
		},
		"links of dashboards lead to the user's pages": {
			`{ runbookURL: 'https://wiki.example.com/ml', dashboards+: { mlflowURL: 'https://mlflow.corp', tempoUID: 'traces', timezone: 'America/Toronto', links: [{ title: 'Wiki', url: 'https://wiki.example.com' }] } }`,
			`local d = mixin.grafanaDashboards['sightglass-model-quality.json']; [{ [v.name]: v.query for v in d.templating.list if std.member(['mlflow', 'runbooks', 'tempo'], v.name) }, d.timezone, [l.url for l in d.links if std.objectHas(l, 'url')], d.links[0].type]`,
			`[{"mlflow": "https://mlflow.corp", "runbooks": "https://wiki.example.com/ml", "tempo": "traces"}, "America/Toronto", ["https://wiki.example.com"], "dashboards"]`,
		},
		"runbooks of dashboards may be elsewhere than those of alerts": {
			`{ dashboards+: { runbookURL: 'https://wiki.example.com/ml' } }`,
			`[v.query for v in mixin.grafanaDashboards['sightglass-gpu.json'].templating.list if v.name == 'runbooks']`,
			`["https://wiki.example.com/ml"]`,
		},
		"dashboards are named, tagged and patched": {
			`{ dashboards+: { titlePrefix: 'ML / ', extraTags: ['mine'], patch: { timezone: 'utc' } } }`,
			`local d = mixin.grafanaDashboards['sightglass-data-quality.json']; [std.startsWith(d.title, 'ML / '), std.member(d.tags, 'mine'), std.member(d.tags, 'sightglass'), d.timezone]`,
			`[true, true, true, "utc"]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := render(test.config, test.expr)
			require.NoError(t, err)
			require.JSONEq(t, test.want, got)
		})
	}
}

func TestOnlyWindowsOfScrapedSeriesChange(t *testing.T) {
	recorded := map[string]bool{}
	for _, group := range renderGroups(t, `{}`, "prometheusRules") {
		for _, rule := range group.Rules {
			recorded[rule.Record] = true
		}
	}
	// windows are the ranges of an expression by the series that they read, in order, and what each is divided by where that is a number.
	type window struct {
		series        string
		length, share float64
	}
	windows := func(text string) (all []window) {
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
		require.NoError(t, err)
		parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
			m, ok := node.(*parser.MatrixSelector)
			if !ok {
				return nil
			}
			w := window{series: m.VectorSelector.(*parser.VectorSelector).Name, length: m.Range.Seconds()}
			if n := len(path); n > 1 {
				if division, is := path[n-2].(*parser.BinaryExpr); is && division.Op == parser.DIV {
					if number, is := division.RHS.(*parser.NumberLiteral); is {
						w.share = number.Val
					}
				}
			}
			all = append(all, w)
			return nil
		})
		return all
	}
	changed, divided := 0, 0
	for _, field := range []string{"prometheusRules", "prometheusAlerts"} {
		before, after := renderGroups(t, `{}`, field), renderGroups(t, `{ windows: { '5m': '10m', '10m': '20m' } }`, field)
		require.Len(t, after, len(before))
		for g, group := range before {
			for r, rule := range group.Rules {
				was, is := windows(rule.Expr), windows(after[g].Rules[r].Expr)
				require.Len(t, is, len(was))
				for n, w := range was {
					if !recorded[w.series] && (w.length == 300 || w.length == 600) {
						changed++
						if w.share == w.length { // And not by a unit, such as nanoseconds.
							divided++
							w.share *= 2
						}
						w.length *= 2
					}
					require.Equal(t, w, is[n], "%s%s", rule.Record, rule.Alert)
				}
			}
		}
	}
	require.Greater(t, changed, 400)
	require.Positive(t, divided, "a change of a gauge, by the second")
	_, err := render(`{ windows: { '5m': 'ten' } }`, "mixin.prometheusRules")
	require.ErrorContains(t, err, "_config.windows has ten; want a duration such as 90s, 10m or 2h")
}

func TestConfigRefusesNamesThatDoNotExist(t *testing.T) {
	for name, test := range map[string]struct{ config, err string }{
		"a threshold":              {`{ thresholds: { null_ration: 0.1 } }`, "_config.thresholds has the unknown null_ration; known are"},
		"a threshold that is text": {`{ thresholds: { null_ratio: '0.1' } }`, "_config.thresholds.null_ratio must be a number"},
		"a disabled alert":         {`{ disabledAlerts: ['MLDatasetDirft'] }`, "_config.disabledAlerts has the unknown MLDatasetDirft; known are"},
		"a severity of an alert":   {`{ disabledAlerts: ['MLDatasetDrift/critical'] }`, "_config.disabledAlerts has the unknown MLDatasetDrift/critical; known are"},
		"an alert to patch":        {`{ alerts: { Drift: { severity: 'info' } } }`, "_config.alerts has the unknown Drift; known are"},
		"a field of an alert":      {`{ alerts: { MLDatasetDrift: { fro: '1m' } } }`, "_config.alerts[MLDatasetDrift] has the unknown fro; known are"},
		"a key of the config":      {`{ treshold: {} }`, "_config has the unknown treshold; known are"},
		"a window":                 {`{ windows: { '7m': '10m' } }`, "_config.windows has the unknown 7m; known are"},
		"a key of dashboards":      {`{ dashboards+: { prefix: 'x' } }`, "_config.dashboards has the unknown prefix; known are"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, field := range []string{"prometheusRules", "prometheusAlerts"} {
				_, err := render(test.config, "mixin."+field)
				if err == nil && strings.Contains(test.err, "number") && field == "prometheusAlerts" {
					continue // Alerts hold no thresholds.
				}
				require.ErrorContains(t, err, test.err)
			}
		})
	}
}

func TestSelectorRestrictsScrapedSeries(t *testing.T) {
	const matcher = `environment=~"prod|staging"`
	raw := 0
	recorded := map[string]bool{rules.Override: true} // By rules of the user's own, whose labels are the object's.
	for _, group := range renderGroups(t, `{}`, "prometheusRules") {
		for _, rule := range group.Rules {
			recorded[rule.Record] = true
		}
	}
	for _, field := range []string{"prometheusRules", "prometheusAlerts"} {
		for _, group := range renderGroups(t, `{ selector: '`+matcher+`' }`, field) {
			for _, rule := range group.Rules {
				expr, err := parser.NewParser(parser.Options{}).ParseExpr(rule.Expr)
				require.NoError(t, err, rule.Expr)
				parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
					if selector, ok := node.(*parser.VectorSelector); ok {
						restricted := strings.Contains(selector.String(), matcher)
						isRecorded := recorded[selector.Name]
						for _, m := range selector.LabelMatchers {
							if m.Name == "__name__" && selector.Name == "" { // Several recorded names.
								isRecorded = !slices.ContainsFunc(strings.Split(m.Value, "|"), func(name string) bool { return !recorded[name] })
							}
						}
						require.Equal(t, !isRecorded, restricted, "%s", selector)
						if restricted {
							raw++
						}
					}
					return nil
				})
			}
		}
	}
	require.Positive(t, raw)
}

func TestInsertToken(t *testing.T) {
	for name, test := range map[string]struct{ have, want, err string }{
		"a bare name gets braces":             {have: `sum(x)`, want: `sum(x{` + token + `})`},
		"matchers get one more":               {have: `x{a="}"} > 0`, want: `x{a="}", ` + token + `} > 0`},
		"a range stays outside":               {have: `rate(x[5m])`, want: `rate(x{` + token + `}[5m])`},
		"a recorded series stays":             {have: `a:b:c / x`, want: `a:b:c / x{` + token + `}`},
		"a recorded series may look back":     {have: `a:b:c offset 1w`, want: `a:b:c offset 1w`},
		"an exporter may use colons":          {have: `vllm:x`, want: `vllm:x{` + token + `}`},
		"a series that looks back is refused": {have: `x offset 1w`, err: "record it first"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := insertToken(test.have, map[string]bool{"a:b:c": true})
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

// A user's folder holds this subdirectory and nothing above it, as
// jsonnet-bundler leaves it after cloning the repository.
func TestVendoredByJsonnetBundler(t *testing.T) {
	jb, jsonnet := testtools.Path(t, "jb"), testtools.Path(t, "jsonnet")
	source, project := filepath.Join(t.TempDir(), "sightglass"), t.TempDir()
	require.NoError(t, os.CopyFS(source, os.DirFS(".")))

	run := func(name string, args ...string) string {
		t.Helper()
		command := exec.CommandContext(t.Context(), name, args...)
		command.Dir = project
		var stderr strings.Builder
		command.Stderr = &stderr
		output, err := command.Output()
		require.NoError(t, err, "%s%s", output, stderr.String())
		return string(output)
	}
	run(jb, "init")
	relative, err := filepath.Rel(project, source)
	require.NoError(t, err)
	run(jb, "install", relative)
	output := run(jsonnet, "-J", "vendor", "-e", `local m = (import 'sightglass/mixin.libsonnet') + { _config+:: { thresholds: { drift_psi: 0.2 } } };
		[std.length(m.prometheusRules.groups) > 0, std.length(m.prometheusAlerts.groups) > 0, std.length(m.grafanaDashboards) > 0]`)
	require.JSONEq(t, `[true, true, true]`, output)
}
