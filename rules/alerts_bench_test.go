package rules

import (
	"context"
	"fmt"
	"os"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	promrules "github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

// BenchmarkAlerts evaluates the groups of alerts as Prometheus does, annotations included, with 200 alerts firing and with
// none, and prints how much longer the first takes. Its bar is a fifth.
func BenchmarkAlerts(b *testing.B) {
	quiet := newAlertWorld(b, 0)
	broken := newAlertWorld(b, 100)
	var without, with time.Duration
	for b.Loop() {
		without += quiet.evaluateAlerts()
		with += broken.evaluateAlerts()
	}
	n := float64(b.N)
	b.ReportMetric(float64(quiet.firing()), "firing/none")
	b.ReportMetric(float64(broken.firing()), "firing/many")
	b.ReportMetric(float64(without.Microseconds())/1000/n, "ms/none")
	b.ReportMetric(float64(with.Microseconds())/1000/n, "ms/many")
	b.ReportMetric(float64(with)/float64(without), "ratio")
	if testing.Verbose() {
		for _, name := range slices.Sorted(maps.Keys(quiet.took)) {
			b.Logf("%8.2f ms of %8.2f ms  %s", float64(quiet.took[name].Microseconds())/1000/n, float64(broken.took[name].Microseconds())/1000/n, name)
		}
	}
}

// alertWorld is a world whose signals are recorded, with the groups of alerts over it.
type alertWorld struct {
	*world
	now    time.Time
	groups []*promrules.Group
	took   map[string]time.Duration
}

// newAlertWorld records all signals of the 200 000 series of the benchmark of the bundle, of which so many columns and as many
// features have drifted.
func newAlertWorld(b *testing.B, drifted int) *alertWorld {
	w := newWorld(b)
	w.storage.DisableCompactions()
	now := time.Unix(1_700_000_000, 0)
	input := withDrift(load200k(), drifted)
	growing, steady := counters(input)
	groups := load(b, Options{}).Groups()
	const before = 12
	for i := range before {
		at := now.Add(time.Duration(i-before+1) * interval)
		w.store(at, steady)
		w.store(at, grown(growing, i))
	}
	for _, at := range []time.Time{now, now.Add(time.Second)} {
		for _, group := range groups {
			for _, rule := range group.Rules {
				if rule.Record != "" {
					w.evaluate(at, rule)
				}
			}
		}
	}
	paths, err := load(b, Options{}).WriteDir(b.TempDir())
	require.NoError(b, err)
	paths = slices.DeleteFunc(paths, func(path string) bool { return !strings.Contains(path, "/alerts/") })
	if os.Getenv("STRIP") != "" {
		for _, path := range paths {
			text, err := os.ReadFile(path)
			require.NoError(b, err)
			var g rulefmt.RuleGroups
			require.NoError(b, yaml.Unmarshal(text, &g))
			for i := range g.Groups {
				for j := range g.Groups[i].Rules {
					for k, v := range g.Groups[i].Rules[j].Annotations {
						if os.Getenv("STRIP") == "all" {
							delete(g.Groups[i].Rules[j].Annotations, k)
						} else if strings.Contains(v, "query") {
							g.Groups[i].Rules[j].Annotations[k] = "{{ $labels.dataset }} is {{ $value | humanizePercentage }}"
						}
					}
				}
			}
			text, err = yaml.Marshal(g)
			require.NoError(b, err)
			require.NoError(b, os.WriteFile(path, text, 0o644))
		}
	}
	manager := promrules.NewManager(&promrules.ManagerOptions{
		Context: b.Context(), AppendableV2: w.storage, Queryable: w.storage,
		QueryFunc: promrules.EngineQueryFunc(w.engine, w.storage), NotifyFunc: func(context.Context, string, ...*promrules.Alert) {},
	})
	loaded, errs := manager.LoadGroups(interval, labels.EmptyLabels(), "", nil, false, paths...)
	require.Empty(b, errs)
	out := &alertWorld{world: w, now: now.Add(time.Second), took: map[string]time.Duration{}}
	for _, name := range slices.Sorted(maps.Keys(loaded)) {
		out.groups = append(out.groups, loaded[name])
	}
	out.evaluateAlerts()
	out.now = out.now.Add(3 * time.Minute)
	out.evaluateAlerts()
	for _, g := range out.groups {
		for _, r := range g.AlertingRules() {
			if n := len(r.ActiveAlerts()); n > 0 {
				b.Logf("%d %s %s", drifted, r.Name(), fmt.Sprint(n))
			}
		}
	}
	out.took = map[string]time.Duration{}
	return out
}

func (w *alertWorld) evaluateAlerts() time.Duration {
	w.now = w.now.Add(100 * time.Millisecond)
	var total time.Duration
	for _, group := range w.groups {
		start := cpuTime()
		group.Eval(w.Context(), w.now)
		took := cpuTime() - start
		w.took[group.Name()] += took
		total += took
	}
	return total
}

func (w *alertWorld) firing() (n int) {
	for _, group := range w.groups {
		for _, rule := range group.AlertingRules() {
			for _, alert := range rule.ActiveAlerts() {
				if alert.State == promrules.StateFiring {
					n++
				}
			}
		}
	}
	return n
}

var _ = fmt.Sprint
var _ = model.MetricNameLabel
var _ rulefmt.Rule

// withDrift makes the first n columns and features unlike their baselines, and all others like them.
func withDrift(samples []sample, n int) []sample {
	number := func(ls labels.Labels, object, of string, each int) int {
		var o, f int
		if _, err := fmt.Sscanf(ls.Get(object), map[string]string{"dataset": "warehouse.table_%d", "model": "model_%d"}[object], &o); err != nil {
			return 1 << 30
		}
		if _, err := fmt.Sscanf(ls.Get(of), map[string]string{"column": "column_%d", "field": "feature_%d"}[of], &f); err != nil {
			return 1 << 30
		}
		return o*each + f
	}
	out := slices.Clone(samples)
	for i, s := range out {
		var low int
		_, _ = fmt.Sscanf(s.labels.Get("bin"), "(%d,", &low)
		switch s.labels.Get(model.MetricNameLabel) {
		case "ml_dataset_column_values", "ml_dataset_recent_column_values":
			if s.labels.Get("bin") == "unseen" {
				out[i].value = 0
				continue
			}
			out[i].value = 1000
			if number(s.labels, "dataset", "column", 20) < n {
				out[i].value = map[int]float64{0: 1900, 1: 100}[low/100%2]
			}
		case "ml_inference_requests_total":
			if s.labels.Get("outcome") != "ok" {
				out[i].value = 0
			}
		case "ml_model_field_values_total":
			out[i].value = 10
			if number(s.labels, "model", "field", 20) < n && low/100%2 == 0 {
				out[i].value = 90
			}
		}
	}
	return out
}
