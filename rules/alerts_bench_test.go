package rules

import (
	"context"
	"fmt"
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
)

// BenchmarkAlerts evaluates all groups with 200 alerts firing and with none, as Prometheus does, templates included, and prints
// what the alerts add: to the groups of alerts alone, and to the round. A firing alert costs its templates, its two ALERTS series
// and its queries; a group in which none fires costs next to nothing.
func BenchmarkAlerts(b *testing.B) {
	quiet, drifted := newAlertWorld(b, 0), newAlertWorld(b, 100)
	// The signals of the round. They record the same whether alerts fire or not.
	round := quiet.evaluateSignals()
	var none, many time.Duration
	for b.Loop() {
		none += quiet.evaluateAlerts()
		many += drifted.evaluateAlerts()
	}
	n := time.Duration(b.N)
	require.Less(b, quiet.firing(), 3)
	require.InDelta(b, 200, drifted.firing(), 10)
	b.ReportMetric(float64(quiet.firing()), "firing/none")
	b.ReportMetric(float64(drifted.firing()), "firing/many")
	b.ReportMetric(float64((none/n).Microseconds())/1000, "cpu-ms/none")
	b.ReportMetric(float64((many/n).Microseconds())/1000, "cpu-ms/many")
	b.ReportMetric(float64((many-none).Microseconds())/float64(n)/float64(drifted.firing()-quiet.firing()), "cpu-µs/alert")
	b.ReportMetric(float64(many)/float64(none), "ratio/alerts")
	b.ReportMetric(float64(round+many/n)/float64(round+none/n), "ratio/round")
	if testing.Verbose() {
		for _, name := range slices.Sorted(maps.Keys(quiet.took)) {
			b.Logf("%8.2f ms with none, %8.2f ms with many  %s", float64((quiet.took[name]/n).Microseconds())/1000, float64((drifted.took[name]/n).Microseconds())/1000, name)
		}
	}
}

// alertWorld is a world whose signals are recorded, with the groups of alerts over it.
type alertWorld struct {
	*world
	now     time.Time
	signals []rulefmt.RuleGroup
	alerts  []*promrules.Group
	took    map[string]time.Duration
}

// newAlertWorld records the signals of 200 000 series, of which so many columns and as many features have drifted.
func newAlertWorld(b *testing.B, drifted int) *alertWorld {
	b.Helper()
	w := &alertWorld{world: newWorld(b), now: time.Unix(1_700_000_000, 0), took: map[string]time.Duration{}}
	w.storage.DisableCompactions()
	growing, steady := counters(withDrift(fleet200k.samples(b), drifted, w.now))
	const before = 12
	for i := range before {
		at := w.now.Add(time.Duration(i-before+1) * interval)
		w.store(at, steady)
		w.store(at, grown(growing, i))
	}
	bundle := load(b, Options{})
	for _, file := range bundle.Files {
		if !strings.HasPrefix(file.Name, "alerts/") {
			w.signals = append(w.signals, file.Groups...)
		}
	}
	// Twice: some rules read what a later one recorded.
	w.evaluateSignals()
	w.now = w.now.Add(time.Second)
	w.evaluateSignals()

	paths, err := bundle.WriteDir(b.TempDir())
	require.NoError(b, err)
	manager := promrules.NewManager(&promrules.ManagerOptions{
		Context: b.Context(), AppendableV2: w.storage, Queryable: w.storage,
		QueryFunc:  promrules.EngineQueryFunc(w.engine, w.storage),
		NotifyFunc: func(context.Context, string, ...*promrules.Alert) {},
	})
	groups, errs := manager.LoadGroups(interval, labels.EmptyLabels(), "", nil, false,
		slices.DeleteFunc(paths, func(path string) bool { return !strings.Contains(path, "/alerts/") })...)
	require.Empty(b, errs)
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		w.alerts = append(w.alerts, groups[name])
	}
	// All that waits fires after this.
	w.evaluateAlerts()
	w.now = w.now.Add(2 * time.Minute)
	w.evaluateAlerts()
	clear(w.took)
	return w
}

// evaluateSignals records all signals and returns what an interval has of their cost.
func (w *alertWorld) evaluateSignals() time.Duration {
	var total time.Duration
	for _, group := range w.signals {
		start := cpuTime()
		for _, rule := range group.Rules {
			w.evaluate(w.now, rule)
		}
		total += time.Duration(share(group) * float64(cpuTime()-start))
	}
	return total
}

func (w *alertWorld) evaluateAlerts() time.Duration {
	w.now = w.now.Add(100 * time.Millisecond)
	var total time.Duration
	for _, group := range w.alerts {
		start := cpuTime()
		group.Eval(w.Context(), w.now)
		took := cpuTime() - start
		w.took[group.Name()] += took
		total += took
	}
	return total
}

func (w *alertWorld) firing() (n int) {
	for _, group := range w.alerts {
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

// withDrift makes the first columns and features unlike their baselines, and everything else as it should be.
func withDrift(samples []sample, drifted int, now time.Time) []sample {
	number := func(s, format string) int {
		var n int
		if _, err := fmt.Sscanf(s, format, &n); err != nil {
			return 0
		}
		return n
	}
	out := slices.Clone(samples)
	for i, s := range out {
		ls := s.labels
		odd := number(ls.Get("bin"), "(%d,")/100%2 == 1
		switch ls.Get(model.MetricNameLabel) {
		case "ml_dataset_latest_record_timestamp_seconds":
			out[i].value = float64(now.Unix())
		case "ml_dataset_column_values", "ml_dataset_recent_column_values", "ml_dataset_column_baseline_ratio":
			share := map[bool]float64{true: 0.01, false: 0.19}[odd]
			if strings.HasSuffix(ls.Get(model.MetricNameLabel), "_ratio") ||
				fleet200k.columns*number(ls.Get("dataset"), "warehouse.table_%d")+number(ls.Get("column"), "column_%d") >= drifted {
				share = 1.0 / (bins - 2)
			}
			if bin := ls.Get("bin"); bin == "null" || bin == "unseen" {
				share = 0
			}
			out[i].value = share * map[string]float64{"ml_dataset_column_values": 10_000, "ml_dataset_recent_column_values": 1000, "ml_dataset_column_baseline_ratio": 1}[ls.Get(model.MetricNameLabel)]
		case "ml_dataset_recent_column_nulls", "ml_dataset_column_nulls", "ml_dataset_column_baseline_null_ratio":
			out[i].value = 0
		case "ml_model_field_values_total":
			out[i].value = 10
			if odd && fleet200k.features*number(ls.Get("model"), "model_%d")+number(ls.Get("field"), "feature_%d") < drifted {
				out[i].value = 90
			}
		case "ml_inference_requests_total":
			if ls.Get("outcome") != "ok" {
				out[i].value = 0
			}
		case "ml_inference_queue_wait_seconds_sum":
			out[i].value = 1
		}
	}
	return out
}
