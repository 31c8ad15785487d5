package rules_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/stretchr/testify/require"
)

// fleet is the number of objects of each kind for which the exporters publish series. The GPUs are those of gpu-exporter's tests.
type fleet struct {
	replicas                        int // Of the exporters of data and model quality, all of which publish everything.
	datasets, columns               int
	models, versions, features, gpu int
}

// fleet200k is two replicas of 56 tables and 28 models: 200 000 series.
var fleet200k = fleet{replicas: 2, datasets: 56, columns: 20, models: 28, versions: 1, features: 20}

const bins = 10

var dataBaselines = []string{"training", "production", "season_recent"}

var modelBaselines = []string{"training", "production", "season", "season_5m"}

func (l fleet) samples(t testing.TB) []sample {
	return slices.Concat(l.dataSamples(), l.modelSamples(), l.gpuSamples(t))
}

// target has the labels that a scrape adds to a series.
func target(job, instance string) []string {
	return []string{"cluster", "east", "namespace", "ml", "job", job, "instance", instance}
}

func (l fleet) dataSamples() []sample {
	var out []sample
	for replica := range l.replicas {
		of := target("dataquality", fmt.Sprintf("dq-%d:10911", replica))
		add := func(value float64, name string, pairs ...string) {
			out = append(out, sample{labels.FromStrings(slices.Concat([]string{model.MetricNameLabel, name}, of, pairs)...), value})
		}
		add(1, "up")
		add(1, "sightglass_config_last_reload_successful")
		for d := range l.datasets {
			dataset := fmt.Sprintf("warehouse.table_%03d", d)
			add(10_000, "ml_dataset_rows", "dataset", dataset)
			add(1000, "ml_dataset_recent_rows", "dataset", dataset)
			add(60, "ml_dataset_usual_gap_seconds", "dataset", dataset)
			for days := 1; days < 7; days++ {
				add(10_100, "ml_dataset_past_rows", "dataset", dataset, "ago", fmt.Sprintf("%dd", days), "shift", "same")
				add(1010, "ml_dataset_recent_past_rows", "dataset", dataset, "ago", fmt.Sprintf("%dd", days))
			}
			for week := 1; week < 5; week++ {
				add(1020, "ml_dataset_recent_past_rows", "dataset", dataset, "ago", fmt.Sprintf("%dw", week))
				for _, shift := range []string{"same", "earlier", "later"} {
					add(10_200, "ml_dataset_past_rows", "dataset", dataset, "ago", fmt.Sprintf("%dw", week), "shift", shift)
				}
			}
			add(3600, "ml_dataset_window_seconds", "dataset", dataset)
			add(0, "ml_dataset_latest_record_timestamp_seconds", "dataset", dataset)
			add(1, "ml_dataset_profile_success", "dataset", dataset)
			add(1, "ml_dataset_baseline_frozen", "dataset", dataset)
			add(10_100, "ml_dataset_upstream_rows", "dataset", dataset, "upstream", "raw")
			add(3, "ml_dataset_mismatched_rows", "dataset", dataset, "against", "feast")
			add(1000, "ml_dataset_compared_rows", "dataset", dataset, "against", "feast")
			for _, change := range []string{"added", "removed", "type_changed"} {
				add(0, "ml_dataset_schema_changes", "dataset", dataset, "change", change)
			}
			for c := range l.columns {
				column := fmt.Sprintf("column_%02d", c)
				add(100, "ml_dataset_column_nulls", "dataset", dataset, "column", column)
				add(10, "ml_dataset_recent_column_nulls", "dataset", dataset, "column", column)
				add(0.01, "ml_dataset_column_baseline_null_ratio", "dataset", dataset, "column", column)
				add(0.07, "ml_dataset_threshold", "dataset", dataset, "signal", "null_ratio", "column", column)
				drifted := (d*l.columns+c)%50 == 0
				for b := range bins {
					bin, count := fmt.Sprintf("(%d,%d]", 100*b, 100*b+100), 1000.0
					switch {
					case b == 0:
						bin = "null"
					case b == 1:
						bin = "unseen"
					case drifted && b%2 == 0:
						count = 1900
					case drifted:
						count = 100
					}
					add(count, "ml_dataset_column_values", "dataset", dataset, "column", column, "bin", bin)
					add(count/10, "ml_dataset_recent_column_values", "dataset", dataset, "column", column, "bin", bin)
					for _, baseline := range dataBaselines {
						add(0.1, "ml_dataset_column_baseline_ratio", "dataset", dataset, "column", column, "bin", bin, "baseline", baseline)
					}
				}
				for _, baseline := range dataBaselines {
					add(100_000, "ml_dataset_column_baseline_rows", "dataset", dataset, "column", column, "baseline", baseline)
				}
			}
		}
	}
	return out
}

func (l fleet) modelSamples() []sample {
	var out []sample
	for replica := range l.replicas {
		of := target("modelquality", fmt.Sprintf("mq-%d:10912", replica))
		for m := range l.models * l.versions {
			name, version := fmt.Sprintf("model_%02d", m/l.versions), fmt.Sprint(3+m%l.versions)
			add := func(value float64, metric string, pairs ...string) {
				ls := slices.Concat([]string{model.MetricNameLabel, metric, "model", name, "version", version}, of, pairs)
				out = append(out, sample{labels.FromStrings(ls...), value})
			}
			histogram := func(name string, pairs ...string) {
				for le := range 15 {
					add(float64(10*le), name+"_bucket", append(pairs, "le", fmt.Sprintf("%d", le))...)
				}
				add(150, name+"_bucket", append(pairs, "le", "+Inf")...)
				add(150, name+"_count", pairs...)
				add(600, name+"_sum", pairs...)
			}
			for _, outcome := range []string{"ok", "error", "timeout", "fallback", "rejected"} {
				add(30, "ml_inference_requests_total", "outcome", outcome)
			}
			for _, what := range []string{"duration", "queue_wait", "forward_pass", "time_to_first_token"} {
				histogram("ml_inference_" + what + "_seconds")
			}
			histogram("ml_model_confidence")
			histogram("ml_model_evaluation_score", "evaluation", "groundedness")
			add(1, "ml_model_baseline_frozen")
			add(1, "ml_model_info", "mlflow_run_id", "r", "training_digest", "d", "training_dataset", "warehouse.table_000")
			add(1, "ml_model_exemplar_trace_info", "reason", "slow", "trace_id", "4bf92f3577b34da6a3ce929d0e0e4736", "mlflow_run_id", "r")
			for f := range l.features {
				field := []string{"field", fmt.Sprintf("feature_%02d", f), "role", "input"}
				for _, baseline := range modelBaselines {
					add(100_000, "ml_model_field_baseline_values", append(field, "baseline", baseline)...)
				}
				for b := range bins {
					bin := append(slices.Clip(field), "bin", fmt.Sprintf("(%d,%d]", 100*b, 100*b+100))
					count := 10.0
					if (m*l.features+f)%50 == 0 && b%2 == 0 {
						count = 90
					}
					add(count, "ml_model_field_values_total", bin...)
					for _, baseline := range modelBaselines {
						add(0.1, "ml_model_field_baseline_ratio", append(slices.Clip(bin), "baseline", baseline)...)
					}
				}
			}
		}
	}
	return out
}

// gpuSamples are the first GPU of gpu-exporter's own test, as often as there are GPUs, eight a host.
func (l fleet) gpuSamples(t testing.TB) []sample {
	if l.gpu == 0 {
		return nil
	}
	file, err := os.Open("../exporters/gpu/testdata/metrics.prom")
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(file)
	require.NoError(t, err)
	vectors, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{}, slices.Collect(maps.Values(families))...)
	require.NoError(t, err)
	var out []sample
	for gpu := range l.gpu {
		of := labels.FromStrings(target("gpu", fmt.Sprintf("gpu-%d:10910", gpu/8))...)
		for _, s := range vectors {
			if s.Metric["gpu"] != "0" {
				continue
			}
			b := labels.NewBuilder(of)
			for name, value := range s.Metric {
				b.Set(string(name), string(value))
			}
			b.Set("gpu", fmt.Sprint(gpu%8)).Set("uuid", fmt.Sprintf("GPU-%d", gpu))
			out = append(out, sample{b.Labels(), float64(s.Value)})
		}
	}
	return out
}

// counters separates the samples that grow by their value every interval from constant ones.
func counters(samples []sample) (counters, gauges []sample) {
	grows := regexp.MustCompile(`_(total|bucket|sum|count)$`)
	for _, s := range samples {
		if grows.MatchString(s.labels.Get(model.MetricNameLabel)) {
			counters = append(counters, s)
		} else {
			gauges = append(gauges, s)
		}
	}
	return counters, gauges
}

// grown are counters a number of intervals later.
func grown(counters []sample, intervals int) []sample {
	out := slices.Clone(counters)
	for i := range out {
		out[i].value *= float64(intervals)
	}
	return out
}

// interval is the usual one, in which the benchmark evaluates and stores.
const interval = 30 * time.Second

// share is how much of a group's work falls in an interval.
func share(group rulefmt.RuleGroup) float64 {
	return float64(interval) / float64(max(interval, time.Duration(group.Interval)))
}

// BenchmarkBundle evaluates the whole bundle, alerts included, as Prometheus
// does every interval; of a group that is evaluated every other time, half
// counts. Its bar is a tenth of a 30 s interval on one core for 200 000 input
// series.
func BenchmarkBundle(b *testing.B) {
	// A second core would mark garbage while it is idle, and cpuTime would count that.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	w := newWorld(b)
	now := time.Unix(1_700_000_000, 0)
	input := fleet200k.samples(b)
	w.storage.DisableCompactions() // They are not the rules' work.
	groups := load(b).Groups()
	// Weeks of history, without which there is no band.
	history := make([]sample, 0, len(input))
	for d := range fleet200k.datasets {
		history = append(history, sample{labels.FromStrings(model.MetricNameLabel, "dataset:ml_rows:current",
			"cluster", "east", "namespace", "ml", "dataset", fmt.Sprintf("warehouse.table_%03d", d)), 10_000})
	}
	for m := range fleet200k.models {
		for _, signal := range []string{"traffic", "latency"} {
			history = append(history, sample{labels.FromStrings(model.MetricNameLabel, "model:ml_season:current",
				"cluster", "east", "namespace", "ml", "model", fmt.Sprintf("model_%02d", m), "signal", signal), 1})
		}
	}
	for week := 4; week > 0; week-- {
		for hour := -1; hour <= 1; hour++ {
			w.store(now.Add(-time.Duration(week)*7*24*time.Hour+time.Duration(hour)*time.Hour), history)
		}
	}
	// An hour of counters, and of what the rules recorded of them.
	growing, steady := counters(input)
	const before = 120
	for i := range before {
		at := now.Add(time.Duration(i-before+1) * interval)
		w.store(at, grown(growing, i))
		for _, group := range groups {
			for _, rule := range group.Rules {
				if strings.HasSuffix(rule.Record, ":increase5m") {
					w.evaluate(at, rule)
				}
			}
		}
	}
	intervals := before
	slowest := map[string]time.Duration{}
	var recorded int
	var used time.Duration
	for b.Loop() {
		b.StopTimer()
		now = now.Add(interval)
		w.store(now, steady)
		w.store(now, grown(growing, intervals))
		intervals++
		b.StartTimer()
		recorded = 0
		for _, group := range groups {
			for _, rule := range group.Rules {
				start := cpuTime()
				n := w.evaluate(now, rule)
				took := time.Duration(share(group) * float64(cpuTime()-start))
				slowest[rule.Record+rule.Alert] += took
				used += took
				if rule.Record != "" {
					recorded += n
				}
			}
		}
	}
	require.Positive(b, recorded)
	b.ReportMetric(used.Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(len(input)), "series/in")
	b.ReportMetric(float64(recorded), "series/out")
	if testing.Verbose() {
		for _, name := range sortedByTime(slowest) {
			b.Logf("%8.1f ms  %s", float64(slowest[name].Microseconds())/1000/float64(b.N), name)
		}
	}
}

func sortedByTime(times map[string]time.Duration) []string {
	names := slices.Sorted(maps.Keys(times))
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(times[b], times[a]) })
	return names
}

// cpuTime returns the processor time of this process on all cores. On a busy machine it measures the work better than wall time.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
