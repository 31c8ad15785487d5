package rules_test

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	promrules "github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/rules/ruleset"
)

// BenchmarkAlerts evaluates all groups with 200 alerts firing and with none, as Prometheus does, templates included, and prints what the
// alerts add: to the groups that hold alerts alone, to all groups of the data layer, whose alerts they are, and to the round. The same
// alerts without annotations are what Prometheus itself takes for an alert: its state, its query and two ALERTS series. With empty
// annotations, they are what it takes whatever a message says: it parses each text anew for each alert.
func BenchmarkAlerts(b *testing.B) {
	// A second core would mark garbage while it is idle, and cpuTime would count that.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	quiet, drifted := newAlertWorld(b, 0), newAlertWorld(b, 100)
	var none, many, bare, empty cost
	for b.Loop() {
		none.least(quiet.evaluateSignals(), quiet.evaluate30s(quiet.alerts))
		signals := drifted.evaluateSignals()
		many.least(maps.Clone(signals), drifted.evaluate30s(drifted.alerts))
		bare.least(maps.Clone(signals), drifted.evaluate30s(drifted.bare))
		empty.least(signals, drifted.evaluate30s(drifted.empty))
	}
	require.Less(b, firing(quiet.alerts), 3)
	require.InDelta(b, 200, firing(drifted.alerts), 10)
	require.Equal(b, firing(drifted.alerts), firing(drifted.bare))
	require.Equal(b, firing(drifted.alerts), firing(drifted.empty))
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	for _, c := range []struct {
		name string
		cost
	}{{"none", none}, {"200", many}, {"200-bare", bare}, {"200-empty", empty}} {
		b.ReportMetric(ms(c.alerts.total()), "alerts-ms/"+c.name)
		b.ReportMetric(ms(c.alerts.data()+c.signals.data()), "data-layer-ms/"+c.name)
		b.ReportMetric(ms(c.alerts.total()+c.signals.total()), "round-ms/"+c.name)
	}
	alerts := float64(firing(drifted.alerts) - firing(quiet.alerts))
	b.ReportMetric(1000*ms(many.alerts.total()-none.alerts.total())/alerts, "µs/alert")
	b.ReportMetric(1000*ms(bare.alerts.total()-none.alerts.total())/alerts, "µs/alert-bare")
	b.ReportMetric(1000*ms(empty.alerts.total()-none.alerts.total())/alerts, "µs/alert-empty")
	b.ReportMetric(float64(many.alerts.total())/float64(none.alerts.total()), "ratio/alerts")
	b.ReportMetric(float64(bare.alerts.total())/float64(none.alerts.total()), "ratio/alerts-bare")
	b.ReportMetric(float64(empty.alerts.total())/float64(none.alerts.total()), "ratio/alerts-empty")
	b.ReportMetric(float64(many.alerts.data()+many.signals.data())/float64(none.alerts.data()+none.signals.data()), "ratio/data-layer")
	b.ReportMetric(float64(many.alerts.total()+many.signals.total())/float64(none.alerts.total()+none.signals.total()), "ratio/round")
	b.ReportMetric(0, "ns/op")
	b.Log("CPU of an interval of 30 s: none firing, 200 firing, 200 firing without annotations")
	for _, groups := range []struct{ none, many, bare groupTimes }{{none.signals, many.signals, bare.signals}, {none.alerts, many.alerts, bare.alerts}} {
		for _, name := range slices.Sorted(maps.Keys(groups.none)) {
			b.Logf("%9.2f ms %9.2f ms %9.2f ms  %s", ms(groups.none[name]), ms(groups.many[name]), ms(groups.bare[name]), name)
		}
	}
}

// groupTimes is what an evaluation of each group has used.
type groupTimes map[string]time.Duration

func (t groupTimes) total() (sum time.Duration) {
	for _, used := range t {
		sum += used
	}
	return sum
}

// data has the processor time of the groups of the data layer.
func (t groupTimes) data() (sum time.Duration) {
	for name, used := range t {
		if strings.HasPrefix(name, "sightglass.data.") {
			sum += used
		}
	}
	return sum
}

// cost has the processor time of the groups of signals and of alerts.
type cost struct{ signals, alerts groupTimes }

// least keeps the evaluation of each group that used least: the others met more of what else the machine does.
func (c *cost) least(signals, alerts groupTimes) {
	if c.signals == nil {
		c.signals, c.alerts = signals, alerts
	}
	for kept, seen := range map[*groupTimes]groupTimes{&c.signals: signals, &c.alerts: alerts} {
		for name, used := range seen {
			(*kept)[name] = min((*kept)[name], used)
		}
	}
}

// alertWorld is a world whose signals are recorded, with the groups of alerts over it: as they are, without annotations, and with empty ones.
type alertWorld struct {
	*world
	now                 time.Time
	signals             []rulefmt.RuleGroup
	alerts, bare, empty []*promrules.Group
}

// newAlertWorld records the signals of 200 000 series with this number of drifted columns.
func newAlertWorld(b *testing.B, drifted int) *alertWorld {
	b.Helper()
	w := &alertWorld{world: newWorld(b), now: time.Unix(1_700_000_000, 0)}
	w.storage.DisableCompactions()
	growing, steady := counters(withDrift(fleet200k.samples(b), drifted, w.now))
	const before = 12
	for i := range before {
		at := w.now.Add(time.Duration(i-before+1) * interval)
		w.store(at, steady)
		w.store(at, grown(growing, i))
	}
	bundle := load(b)
	for _, file := range bundle.Files {
		if !strings.HasPrefix(file.Name, "alerts/") {
			w.signals = append(w.signals, file.Groups...)
		}
	}
	// Twice, because some rules read series that a later rule records.
	w.evaluateSignals()
	w.now = w.now.Add(time.Second)
	w.evaluateSignals()

	w.alerts = w.alertGroups(b, bundle)
	w.bare = w.alertGroups(b, withAnnotations(bundle, func(map[string]string) map[string]string { return nil }))
	w.empty = w.alertGroups(b, withAnnotations(bundle, func(all map[string]string) map[string]string {
		none := map[string]string{}
		for name := range all {
			none[name] = ""
		}
		return none
	}))
	// All that waits fires after this.
	for _, wait := range []time.Duration{0, 2 * time.Minute} {
		w.now = w.now.Add(wait)
		w.evaluate30s(w.alerts)
		w.evaluate30s(w.bare)
		w.evaluate30s(w.empty)
	}
	return w
}

// alertGroups are the groups of the bundle that hold alerts, as Prometheus loads them.
func (w *alertWorld) alertGroups(b *testing.B, bundle ruleset.Set) (out []*promrules.Group) {
	b.Helper()
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
		out = append(out, groups[name])
	}
	return out
}

// withAnnotations is the bundle whose alerts have other annotations.
func withAnnotations(bundle ruleset.Set, change func(map[string]string) map[string]string) ruleset.Set {
	out := ruleset.Set{}
	for _, file := range bundle.Files {
		file.Groups = slices.Clone(file.Groups)
		for i := range file.Groups {
			file.Groups[i].Rules = slices.Clone(file.Groups[i].Rules)
			for j := range file.Groups[i].Rules {
				file.Groups[i].Rules[j].Annotations = change(file.Groups[i].Rules[j].Annotations)
			}
		}
		out.Files = append(out.Files, file)
	}
	return out
}

// evaluateSignals records all signals and returns what an interval has of their cost.
func (w *alertWorld) evaluateSignals() groupTimes {
	took := groupTimes{}
	for _, group := range w.signals {
		start := cpuTime()
		for _, rule := range group.Rules {
			w.evaluate(w.now, rule)
		}
		took[group.Name] = time.Duration(share(group) * float64(cpuTime()-start))
	}
	return took
}

// evaluate30s evaluates groups as Prometheus does every 30 seconds.
func (w *alertWorld) evaluate30s(groups []*promrules.Group) groupTimes {
	w.now = w.now.Add(100 * time.Millisecond)
	took := groupTimes{}
	for _, group := range groups {
		start := cpuTime()
		group.Eval(w.Context(), w.now)
		took[group.Name()] = cpuTime() - start
	}
	return took
}

func firing(groups []*promrules.Group) (n int) {
	for _, group := range groups {
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

// withDrift makes the first columns differ from both of their baselines. All other series are normal.
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
