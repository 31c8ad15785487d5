package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/rules"
)

var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func replayed(t *testing.T, opts engine.Options, length time.Duration, targets ...engine.Target) []string {
	t.Helper()
	eng, err := engine.New(opts)
	require.NoError(t, err)
	var out []string
	stats, err := eng.Run(t.Context(), engine.Replay{From: monday, To: monday.Add(length), Targets: targets, Alerts: func(tr engine.Transition) {
		out = append(out, fmt.Sprintf("%s %s %s", tr.At.Sub(monday), tr.Labels.Get("alertname"), tr.State))
	}})
	require.NoError(t, err)
	require.Empty(t, stats.Errors)
	return out
}

func TestTheResultDoesNotDependOnConcurrency(t *testing.T) {
	bundle, err := engine.LoadRules(rules.FS)
	require.NoError(t, err)
	var results [][]string
	for _, workers := range []int{1, 4} {
		world := healthy(size{datasets: 3, columns: 3, models: 2, features: 2}, 7)
		broken := world[0].Source.(*tables)
		broken.nulls, broken.from, broken.until = map[string]float64{"table_01": 0.08}, monday.Add(5*time.Hour), monday.Add(7*time.Hour)
		results = append(results, replayed(t, engine.Options{Rules: bundle, Concurrency: workers}, 26*time.Hour, world...))
	}
	require.Equal(t, results[0], results[1])
	require.Contains(t, results[0], "5h0m0s MLDatasetNullRatioHigh firing")
}

func parse(t *testing.T, text string) engine.Rules {
	t.Helper()
	parsed, err := engine.LoadRules(fstest.MapFS{"rules.yaml": {Data: []byte(text)}})
	require.NoError(t, err)
	return parsed
}

// source exposes one gauge by the minute.
func source(value func(minute int) (float64, error)) engine.Target {
	return engine.Target{Job: "j", Instance: "i:1", Source: engine.SourceFunc(func(_ context.Context, at time.Time, to *engine.Scrape) error {
		v, err := value(int(at.Sub(monday).Minutes()))
		if err == nil {
			to.Float(to.Series("m"), v)
		}
		return err
	})}
}

func TestAlerts(t *testing.T) {
	between := func(from, to int) func(int) (float64, error) {
		return func(minute int) (float64, error) {
			if minute >= from && minute < to {
				return 1, nil
			}
			return 0, nil
		}
	}
	failing := func(with error) func(int) (float64, error) {
		return func(minute int) (float64, error) {
			if minute >= 3 && minute < 6 {
				return 0, with
			}
			return 1, nil
		}
	}
	for name, c := range map[string]struct {
		rules string
		value func(int) (float64, error)
		want  []string
	}{
		"for, then keep_firing_for": {
			`[{alert: A, expr: m > 0, for: 2m, keep_firing_for: 3m}]`, between(3, 8),
			[]string{"3m0s A pending", "5m0s A firing", "11m0s A resolved"},
		},
		"one evaluation is enough without for": {`[{alert: A, expr: m > 0}]`, between(3, 4), []string{"3m0s A firing", "4m0s A resolved"}},
		"shorter than for":                     {`[{alert: A, expr: m > 0, for: 2m}]`, between(3, 4), []string{"3m0s A pending", "4m0s A inactive"}},
		"an alert reads series recorded at the same time, in any order": {
			`[{alert: A, expr: "b > 0"}, {record: b, expr: "a"}, {record: a, expr: "m"}]`, between(3, 4), []string{"3m0s A firing", "4m0s A resolved"},
		},
		"a rule that reads its own record sees the one before": {
			`[{record: n, expr: "n + 1 or m * 0"}, {alert: A, expr: n >= 5}]`, between(0, 0), []string{"5m0s A firing"},
		},
		"names in a circle, which labels open": {
			`[{record: a, expr: m}, {record: b, expr: 'a{of!="b"}'}, {record: a, labels: {of: b}, expr: 'b * 2 > 0'}, {alert: A, expr: 'a{of="b"} > 1'}]`, between(3, 6),
			[]string{"3m0s A firing", "6m0s A resolved"},
		},
		"a cycle: each rule reads the later rules' results of the previous evaluation": {
			`[{record: a, expr: "m + (b or m * 0)"}, {record: b, expr: a}, {alert: A, expr: b >= 3}]`, between(3, 6), []string{"5m0s A firing"},
		},
		"a rule that records one metric, or else another under the same name": {
			`[{record: a, expr: "m > 0"}, {record: b, expr: "m * 0 + 2"}, {record: r, expr: "a or b"}, {alert: One, expr: r == 1}, {alert: Two, expr: r == 2}]`, between(3, 6),
			[]string{"0s Two firing", "3m0s One firing", "3m0s Two resolved", "6m0s One resolved", "6m0s Two firing"},
		},
		"a failed scrape ends the series at once, and is down": {
			`[{alert: A, expr: absent(m)}, {alert: Down, expr: up == 0}]`, failing(errors.New("refused")),
			[]string{"3m0s A firing", "3m0s Down firing", "6m0s A resolved", "6m0s Down resolved"},
		},
		"a scrape that was not made leaves the last value": {`[{alert: A, expr: absent(m)}, {alert: Down, expr: up == 0}]`, failing(engine.ErrNoScrape), nil},
		"an alert that always fires is left out":           {`[{alert: A, expr: vector(1)}]`, between(0, 0), nil},
		"of two rules of one alert, the one that reads nothing is left out": {
			`[{alert: Dog, expr: vector(1)}, {alert: Both, expr: vector(1)}, {alert: Both, expr: m > 0}, {alert: Gone, expr: absent(m)}, {record: r, expr: vector(1)}]`, between(3, 6),
			[]string{"3m0s Both firing", "6m0s Both resolved"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, replayed(t, engine.Options{Rules: parse(t, "groups: [{name: g, rules: "+c.rules+"}]")}, 20*time.Minute, source(c.value)))
		})
	}
}

func TestThresholds(t *testing.T) {
	bundle, err := engine.LoadRules(rules.FS)
	require.NoError(t, err)
	_, err = bundle.Override(map[string]float64{"drift_spi": 0.2})
	require.ErrorContains(t, err, `threshold "drift_spi" does not exist, expected one of `)
	_, err = bundle.Override(map[string]float64{"drift_psi": 0.2})
	require.NoError(t, err)
	require.Contains(t, bundle.Raw(), "ml_dataset_rows")
	require.NotContains(t, bundle.Raw(), "dataset:ml_rows:current")
	_, err = engine.LoadRules(fstest.MapFS{"bad.yaml": {Data: []byte("groups: [{name: g, rules: [{record: a, expr: 'sum('}]}]")}})
	require.ErrorContains(t, err, "rule file bad.yaml: ")
}

// A sample as old as the look-back is not visible. A rule with an interval of that length does not see its last result.
func TestTheIntervalIsShorterThanTheLookback(t *testing.T) {
	rules := parse(t, `groups: [{name: g, rules: [{record: r, expr: m}]}]`)
	_, err := engine.New(engine.Options{Rules: rules, Interval: 5 * time.Minute})
	require.ErrorContains(t, err, "interval is 5m0s, expected less than 5m0s")
	_, err = engine.New(engine.Options{Rules: rules, Interval: 4 * time.Minute})
	require.NoError(t, err)
}

func TestFailedRuleIsReported(t *testing.T) {
	eng, err := engine.New(engine.Options{Rules: parse(t, `groups: [{name: g, rules: [{record: r, expr: 'm / on () label_replace(m, "x", "y", "", "") + on () {__name__=~"m|up"}'}]}]`)})
	require.NoError(t, err)
	stats, err := eng.Run(t.Context(), engine.Replay{From: monday, To: monday.Add(10 * time.Minute), Targets: []engine.Target{source(func(int) (float64, error) { return 1, nil })}})
	require.NoError(t, err)
	require.Len(t, stats.Errors, 1)
	require.Equal(t, 1, stats.Errors[0].Times, "its inputs never change, so it is evaluated once")
	require.ErrorContains(t, stats.Errors[0].Err, "many-to-many matching not allowed")
}

func TestTwoResultsOfTheSameLabelsAreReported(t *testing.T) {
	eng, err := engine.New(engine.Options{Rules: parse(t, `groups: [{name: g, rules: [{record: a, expr: m}, {record: b, expr: m}, {record: r, expr: '{__name__=~"a|b"}'}]}]`)})
	require.NoError(t, err)
	stats, err := eng.Run(t.Context(), engine.Replay{From: monday, To: monday.Add(10 * time.Minute), Targets: []engine.Target{source(func(int) (float64, error) { return 1, nil })}})
	require.NoError(t, err)
	require.Len(t, stats.Errors, 1)
	require.ErrorContains(t, stats.Errors[0].Err, "two results have the same labels after the rule's were added: {__name__=\"r\"")
}
