package rules_test

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/internal/testtools"
	"github.com/sightglass-ml/sightglass/rules"
	"github.com/sightglass-ml/sightglass/rules/ruleset"
)

func load(t testing.TB) ruleset.Set {
	t.Helper()
	set, err := ruleset.Load()
	require.NoError(t, err)
	return set
}

// newParser returns a parser without feature flags.
func newParser() parser.Parser { return parser.NewParser(parser.Options{}) }

// eachAlert runs a check on every alerting rule of the bundle.
func eachAlert(t *testing.T, check func(t *testing.T, alert rulefmt.Rule)) {
	t.Helper()
	for _, group := range load(t).Groups() {
		for _, rule := range group.Rules {
			if rule.Alert != "" {
				t.Run(rule.Alert+"/"+rule.Labels["severity"], func(t *testing.T) { check(t, rule) })
			}
		}
	}
}

func TestToolsAcceptTheRules(t *testing.T) {
	t.Parallel()
	var files []string
	for _, f := range load(t).Files {
		files = append(files, filepath.FromSlash(f.Name))
	}
	tests, err := filepath.Glob("tests/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, tests)
	adapters, err := filepath.Glob("tests/adapters/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, adapters)

	run := func(t *testing.T, tool string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), testtools.Path(t, tool), args...)
		cmd.Env = append(os.Environ(), "GOGC=800") // A fifth faster: the heap is small.
		output, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", output)
		return string(output)
	}
	t.Run("promtool finds no fault", func(t *testing.T) {
		t.Parallel()
		run(t, "promtool", append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, files...)...)
	})
	for _, file := range slices.Concat(tests, adapters) {
		t.Run("promtool tests "+filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			run(t, "promtool", "test", "rules", file)
		})
	}
	t.Run("pint finds no fault", func(t *testing.T) {
		t.Parallel()
		output := run(t, "pint", append([]string{"--no-color", "--offline", "--log-level=error", "--config=.pint.hcl", "lint", "--min-severity=info"}, files...)...)
		require.Empty(t, output, "pint exits 0 whatever it finds")
	})
}

func TestThresholds(t *testing.T) {
	thresholds, err := rules.Thresholds()
	require.NoError(t, err)
	require.NotEmpty(t, thresholds)

	records := map[string]int{}
	for _, group := range load(t).Groups() {
		for _, rule := range group.Rules {
			if strings.HasPrefix(rule.Record, rules.ThresholdPrefix) {
				require.Regexp(t, `^sightglass\.thresholds\b`, group.Name, "%s belongs in thresholds.yaml", rule.Record)
				records[rule.Record]++
			}
		}
	}
	for _, threshold := range thresholds {
		require.Equal(t, 1, records[rules.ThresholdPrefix+threshold.Signal], "records of %s", threshold.Signal)
		value, ok := rules.Default(threshold.Signal)
		require.True(t, ok)
		require.Equal(t, threshold.Value, value)
	}
	require.Len(t, records, len(thresholds))

	value, ok := rules.Default("null_ratio")
	require.True(t, ok)
	require.Equal(t, 0.05, value)
	_, ok = rules.Default("no_such_signal")
	require.False(t, ok)
}

// The rules of a mixin linter for groups and alerts, and additional conventions of this repository.
func TestConventions(t *testing.T) {
	names := map[string]bool{}
	for _, group := range load(t).Groups() {
		require.LessOrEqual(t, len(group.Rules), 20, "rules of group %s", group.Name)
		require.LessOrEqual(t, len(group.Name), 40, "length of the name of group %s", group.Name)
		require.Regexp(t, `^sightglass\.[a-z.]+$`, group.Name)
		require.False(t, names[group.Name], "group %s is there twice", group.Name)
		// 30 s is when an alert is evaluated that pages; what moves in minutes or days is looked at every one to five minutes. A multiple
		// of 30 s, so that groups meet. The mixin's groupIntervals changes them.
		interval := time.Duration(group.Interval)
		require.Contains(t, []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute}, interval, "interval of group %s", group.Name)
		names[group.Name] = true
	}
	eachAlert(t, func(t *testing.T, alert rulefmt.Rule) {
		require.Regexp(t, `^([A-Z][a-z0-9]*|ML)+$`, alert.Alert)
		require.LessOrEqual(t, len(alert.Alert), 40)
		require.Contains(t, []string{"critical", "warning", "info"}, alert.Labels["severity"])
		require.Contains(t, []string{"data", "model", "infrastructure", "business"}, alert.Labels["layer"])
		if response, ok := alert.Labels["response"]; ok {
			require.Contains(t, []string{"retrain", "review", "replay"}, response)
		}
		for name, value := range alert.Labels {
			require.NotContains(t, value, "{{", "label %s: a value that changes makes a new alert", name)
		}
		// The watchdog fires always. What the others alert on is one statement's result, beyond chance, which the next five scrapes see again: waiting tells nothing.
		if !slices.Contains([]string{"MLDatasetNullRatioHigh", "MLDatasetUnseenCategories", "MLDatasetDrift", "MLDatasetVolumeAnomaly", "SightglassWatchdog"}, alert.Alert) {
			require.NotZero(t, alert.For, "one odd scrape must not alert")
		}

		require.NotContains(t, alert.Annotations["summary"], "{{")
		require.Regexp(t, `^[A-Z].*\.$`, alert.Annotations["summary"])
		for _, name := range []string{"description", "action", "value", "threshold"} {
			require.NotEmpty(t, alert.Annotations[name], name)
		}
		if alert.Alert != "SightglassWatchdog" {
			require.Contains(t, alert.Annotations["description"], "{{")
		}
		require.Regexp(t, `^/d/sightglass-[a-z-]+(\?|$)`, alert.Annotations["dashboard"])
		require.Equal(t, "https://github.com/sightglass-ml/sightglass/blob/main/docs/runbooks/"+alert.Alert+".md", alert.Annotations["runbook_url"])
		require.FileExists(t, filepath.Join("..", "docs", "runbooks", alert.Alert+".md"))
	})
}

func TestAlertsHoldNoNumbers(t *testing.T) {
	eachAlert(t, func(t *testing.T, alert rulefmt.Rule) {
		expr, err := newParser().ParseExpr(alert.Expr)
		require.NoError(t, err)
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			if number, ok := node.(*parser.NumberLiteral); ok {
				require.Contains(t, []float64{0, 1}, number.Val, "a number that could be chosen otherwise belongs in thresholds.yaml")
			}
			return nil
		})
	})
}

// Prometheus runs a query in a template at each evaluation of each alert. A range or an offset belongs in a signal, which is recorded once.
func TestTemplatesHoldNoTimes(t *testing.T) {
	times := regexp.MustCompile(`\[\d|\boffset\b|\b\d+(ms|[smhdwy])\b`)
	eachAlert(t, func(t *testing.T, alert rulefmt.Rule) {
		for name, text := range alert.Annotations {
			for _, action := range regexp.MustCompile(`(?s)\{\{.*?\}\}`).FindAllString(text, -1) {
				require.NotRegexp(t, times, action, name)
			}
		}
	})
}

// Prometheus expands every annotation of every alert at every evaluation: a query in one costs as much as an alert. A description has
// one, which selects all of its numbers, and a threshold has one.
func TestTemplatesAskAtMostTwice(t *testing.T) {
	asks := regexp.MustCompile(`\|\s*query\b|\bquery\s+["(]|\bquery\s+\$`)
	eachAlert(t, func(t *testing.T, alert rulefmt.Rule) {
		var in []string
		for name, text := range alert.Annotations {
			for _, action := range regexp.MustCompile(`(?s)\{\{.*?\}\}`).FindAllString(text, -1) {
				for range asks.FindAllString(action, -1) {
					in = append(in, name)
				}
			}
		}
		slices.Sort(in)
		require.LessOrEqual(t, len(in), 2, "queries in annotations: %v", in)
	})
}

// A series by bin is as many series as there are bins: a message selects those that are recorded for it, or names the bin.
func TestMessagesComputeNothingOverBins(t *testing.T) {
	binned := regexp.MustCompile(`ml_dataset_(recent_)?column_values|ml_dataset_column_baseline_ratio|ml_model_field_(values_total|baseline_ratio)|:ml_(recent_)?values:|:ml_baseline:|_bin\b`)
	require.Regexp(t, binned, `max by (bin) (model_field:ml_values:ratio1h and on (bin) model_field:ml_baseline:broken_bin)`)
	eachAlert(t, func(t *testing.T, alert rulefmt.Rule) {
		for name, text := range alert.Annotations {
			for _, action := range regexp.MustCompile(`(?s)\{\{.*?\}\}`).FindAllString(text, -1) {
				if !regexp.MustCompile(`\bbin=`).MatchString(action) {
					require.NotRegexp(t, binned, action, name)
				}
			}
		}
	})
}

// Labels that a join brings for a message leave the alert: with them it would be another one as soon as they change.
func TestLabelsOfMessagesLeaveTheAlert(t *testing.T) {
	eachAlert(t, func(t *testing.T, alert rulefmt.Rule) {
		expr, err := newParser().ParseExpr(alert.Expr)
		require.NoError(t, err)
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			if binary, ok := node.(*parser.BinaryExpr); ok && binary.VectorMatching != nil {
				for _, name := range binary.VectorMatching.Include {
					if name == "owner" {
						continue // Alertmanager routes by it.
					}
					value, dropped := alert.Labels[name]
					require.True(t, dropped && value == "", "%s has to be a label with an empty value", name)
				}
			}
			return nil
		})
	})
}

// alertTests has, for an alert, whether a test asserts its annotations, and the cases in which tests expect that it does not fire.
type alertTests struct {
	fires bool
	quiet map[string]bool
}

// seen adds a moment of a test file at which the alert is expected for some objects, or for none. Objects are recognised by values of
// labels: those of the input that no expected alert has are quiet.
func (a *alertTests) seen(at string, values map[string]map[string]bool, expected []map[string]string) {
	if len(expected) == 0 {
		a.quiet[at] = true
		return
	}
	for name := range expected[0] {
		for value := range values[name] {
			if !slices.ContainsFunc(expected, func(alert map[string]string) bool { return alert[name] == value }) {
				a.quiet[name+"="+value] = true
			}
		}
	}
}

func testedAlerts(t *testing.T) map[string]*alertTests {
	t.Helper()
	tested := map[string]*alertTests{}
	of := func(alert string) *alertTests {
		if tested[alert] == nil {
			tested[alert] = &alertTests{quiet: map[string]bool{}}
		}
		return tested[alert]
	}
	metric := func(text string) map[string]string {
		ls, err := newParser().ParseMetric(text)
		require.NoError(t, err, text)
		return ls.Map()
	}
	named := regexp.MustCompile(`alertname="(\w+)"`)
	files, err := filepath.Glob("tests/*.yaml")
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var content struct {
			Tests []struct {
				Name        string
				InputSeries []struct{ Series string } `yaml:"input_series"`
				Alerts      []struct {
					EvalTime string `yaml:"eval_time"`
					Alert    string `yaml:"alertname"`
					Expected []struct {
						Labels      map[string]string `yaml:"exp_labels"`
						Annotations map[string]string `yaml:"exp_annotations"`
					} `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
				Queries []struct {
					Expr     string
					EvalTime string                    `yaml:"eval_time"`
					Expected []struct{ Labels string } `yaml:"exp_samples"`
				} `yaml:"promql_expr_test"`
			}
		}
		require.NoError(t, yaml.Unmarshal(text, &content), file)
		for _, test := range content.Tests {
			values := map[string]map[string]bool{}
			for _, input := range test.InputSeries {
				for name, value := range metric(input.Series) {
					if values[name] == nil {
						values[name] = map[string]bool{}
					}
					values[name][value] = true
				}
			}
			delete(values, "__name__")
			for _, check := range test.Alerts {
				var expected []map[string]string
				for _, alert := range check.Expected {
					expected = append(expected, alert.Labels)
					of(check.Alert).fires = of(check.Alert).fires || len(alert.Annotations) > 0
				}
				of(check.Alert).seen(file+test.Name+check.EvalTime, values, expected)
			}
			for _, query := range test.Queries {
				var expected []map[string]string
				for _, sample := range query.Expected {
					expected = append(expected, metric(sample.Labels))
				}
				for _, name := range named.FindAllStringSubmatch(query.Expr, -1) {
					of(name[1]).seen(file+test.Name+query.EvalTime, values, expected)
				}
			}
		}
	}
	return tested
}

// An alert has a test in which it fires, and three in which it does not: healthy, at the limit, and without data. Which of these a quiet
// case is, the files do not say, so the test counts them.
func TestEveryAlertIsTestedInFours(t *testing.T) {
	tested := testedAlerts(t)
	eachAlert(t, func(t *testing.T, alert rulefmt.Rule) {
		tests := tested[alert.Alert]
		require.NotNil(t, tests)
		require.True(t, tests.fires, "a test must assert the annotations")
		if alert.Alert != "SightglassWatchdog" { // It always fires.
			require.GreaterOrEqual(t, len(tests.quiet), 3, "cases in which the alert does not fire: %v", slices.Sorted(maps.Keys(tests.quiet)))
		}
	})
}

func TestEveryRuleFileIsLoaded(t *testing.T) {
	loaded := map[string]bool{}
	for _, f := range load(t).Files {
		loaded[f.Name] = true
	}
	require.NoError(t, fs.WalkDir(os.DirFS("."), ".", func(name string, _ fs.DirEntry, err error) error {
		if err == nil && path.Ext(name) == ".yaml" && !strings.HasPrefix(name, "tests/") && !strings.HasPrefix(name, "gen/") {
			require.True(t, loaded[name], "%s is not part of the bundle", name)
		}
		return err
	}))
}

// unparen is what an aggregation aggregates.
func unparen(aggregation *parser.AggregateExpr) parser.Expr {
	if aggregation == nil {
		return nil
	}
	expr := aggregation.Expr
	for {
		paren, ok := expr.(*parser.ParenExpr)
		if !ok {
			return expr
		}
		expr = paren.Expr
	}
}

// An aggregation without them would mix the datasets of two clusters. An override is for the objects whose labels it names, and the
// owner of a model for all that are called so: their namespace is that of whoever publishes it, and may be missing.
func TestSignalsKeepClusterAndNamespace(t *testing.T) {
	for _, group := range load(t).Groups() {
		for _, rule := range group.Rules {
			expr, err := newParser().ParseExpr(rule.Expr)
			require.NoError(t, err)
			parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
				aggregation, ok := node.(*parser.AggregateExpr)
				if selector, is := unparen(aggregation).(*parser.VectorSelector); is && slices.Contains([]string{rules.Override, "ml_model_threshold"}, selector.Name) {
					require.Contains(t, aggregation.Grouping, "cluster", "%s%s: %s", rule.Record, rule.Alert, strconv.Quote(node.String()))
					return nil
				}
				if ok && rule.Record == "model:ml_owner:info" && slices.Contains(aggregation.Grouping, "model") {
					require.Contains(t, aggregation.Grouping, "cluster")
					return nil
				}
				if ok && !aggregation.Without {
					require.Subset(t, aggregation.Grouping, []string{"cluster", "namespace"}, "%s%s: %s", rule.Record, rule.Alert, strconv.Quote(node.String()))
				}
				return nil
			})
		}
	}
}

// A message that reads a series that no rule records lacks a number, and nothing else tells.
func TestMessagesReadSeriesThatExist(t *testing.T) {
	recorded := recordedNames(t)
	name := regexp.MustCompile(`\b[a-z_]+:(ml|gpu)_[a-z0-9_]+:[a-z0-9_]+`)
	eachAlert(t, func(t *testing.T, alert rulefmt.Rule) {
		for annotation, text := range alert.Annotations {
			for _, series := range name.FindAllString(text, -1) {
				require.True(t, recorded[series], "%s: no rule records %s", annotation, series)
			}
		}
	})
}

func recordedNames(t *testing.T) map[string]bool {
	t.Helper()
	recorded := map[string]bool{}
	for _, group := range load(t).Groups() {
		for _, rule := range group.Rules {
			recorded[rule.Record] = true
		}
	}
	return recorded
}

// A query in a runbook that was never run can mislead during an incident.
func TestRunbooksAskForSeriesThatExist(t *testing.T) {
	recorded := recordedNames(t)
	runbooks, err := filepath.Glob("../docs/runbooks/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, runbooks)
	for _, runbook := range runbooks {
		text, err := os.ReadFile(runbook)
		require.NoError(t, err)
		blocks := regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllStringSubmatch(string(text), -1)
		for _, block := range blocks {
			for _, query := range queries(t, block[1]) {
				parser.Inspect(query, func(node parser.Node, _ []parser.Node) error {
					if selector, ok := node.(*parser.VectorSelector); ok && strings.Contains(selector.Name, ":") {
						require.True(t, recorded[selector.Name], "%s: no rule records %s", runbook, selector.Name)
					}
					return nil
				})
			}
		}
	}
}

// queries parses a block that holds one query, or one on every line.
func queries(t *testing.T, block string) []parser.Expr {
	t.Helper()
	if expr, err := newParser().ParseExpr(block); err == nil {
		return []parser.Expr{expr}
	}
	var exprs []parser.Expr
	for _, line := range strings.Split(strings.TrimSpace(block), "\n") {
		expr, err := newParser().ParseExpr(line)
		require.NoError(t, err, line)
		exprs = append(exprs, expr)
	}
	return exprs
}
