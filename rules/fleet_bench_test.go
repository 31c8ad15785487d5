package rules_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/demo/stack"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// BenchmarkFleet scrapes a fleet with a real Prometheus that has the bundle loaded, and prints what docs/operating.md's formula is made
// of: series that are recorded for each that is scraped, Prometheus's memory and CPU, and the last evaluation of each group that took
// a hundredth of a second or more. One round is one scrape and one evaluation.
func BenchmarkFleet(b *testing.B) {
	const rounds = 8
	size := fleet{replicas: 1, datasets: 20, columns: 30, models: 20, versions: 2, features: 30, gpu: 64}
	tools, err := stack.FindTools(filepath.Dir(testtools.Path(b, "prometheus")))
	require.NoError(b, err)
	servers, err := stack.New(stack.Config{Tools: tools})
	require.NoError(b, err)
	defer func() { require.NoError(b, servers.Close()) }()
	paths, err := load(b).WriteDir(b.TempDir())
	require.NoError(b, err)

	config := stack.PrometheusConfig{RuleFiles: paths, ScrapeInterval: interval, EvaluationInterval: interval}
	var scrapes atomic.Int64
	byInstance := map[string][]sample{}
	for _, s := range size.samples(b) {
		if name := s.labels.Get("instance"); s.labels.Get(model.MetricNameLabel) != "up" {
			byInstance[name] = append(byInstance[name], s)
		}
	}
	for _, instance := range slices.Sorted(maps.Keys(byInstance)) {
		server := httptest.NewServer(exposition(byInstance[instance], &scrapes))
		defer server.Close()
		config.Targets = append(config.Targets, stack.ScrapeTarget{
			Job: instance, Addresses: []string{strings.TrimPrefix(server.URL, "http://")}, Labels: map[string]string{"cluster": "east", "namespace": "ml"},
		})
	}
	prometheus, err := servers.StartPrometheus(b.Context(), config)
	require.NoError(b, err)

	ctx, cancel := context.WithTimeout(b.Context(), time.Duration(rounds+10)*interval)
	defer cancel()
	wait := func(n int64) float64 {
		for scrapes.Load() < n*int64(len(byInstance)) {
			select {
			case <-ctx.Done():
				b.Fatal("Prometheus does not scrape")
			case <-time.After(time.Second):
			}
		}
		return own(b, prometheus.URL())["process_cpu_seconds_total"]
	}
	// The first three rounds have no increases yet.
	before := wait(3)
	after := wait(3 + rounds)
	count := func(expr string) float64 {
		found, err := prometheus.Query(ctx, expr)
		require.NoError(b, err)
		require.Len(b, found, 1, expr)
		return float64(found[0].Value)
	}
	raw, recorded := count(`sum(scrape_samples_scraped)`), count(`count({__name__=~".+:.+"})`)
	require.Positive(b, recorded)
	b.ReportMetric(raw, "series/raw")
	b.ReportMetric(recorded, "series/recorded")
	b.ReportMetric(recorded/raw, "recorded/raw")
	b.ReportMetric((after-before)/rounds, "cpu-s/round")
	b.ReportMetric(own(b, prometheus.URL())["process_resident_memory_bytes"]/(1<<20), "MiB")
	b.ReportMetric(0, "ns/op")
	groups := map[string]time.Duration{}
	for _, m := range ownFamilies(b, prometheus.URL())["prometheus_rule_group_last_duration_seconds"].GetMetric() {
		_, group, _ := strings.Cut(m.GetLabel()[0].GetValue(), ";")
		groups[group] = time.Duration(value(m) * float64(time.Second))
	}
	require.NotEmpty(b, groups)
	for _, group := range sortedByTime(groups) {
		if groups[group] >= 10*time.Millisecond {
			b.Logf("%8.0f ms  %s", float64(groups[group].Microseconds())/1000, group)
		}
	}
}

// exposition serves series as a target does, whose counters grow with each scrape.
func exposition(samples []sample, scrapes *atomic.Int64) http.HandlerFunc {
	growing, steady := counters(samples)
	var served atomic.Int64
	return func(w http.ResponseWriter, _ *http.Request) {
		out := bufio.NewWriter(w)
		defer func() { _ = out.Flush() }()
		for _, s := range slices.Concat(steady, grown(growing, int(served.Add(1)))) {
			b := labels.NewBuilder(s.labels).Del("cluster", "namespace", "job", "instance")
			_, _ = fmt.Fprintf(out, "%s %v\n", exposed(b.Labels()), s.value)
		}
		scrapes.Add(1)
	}
}

func exposed(ls labels.Labels) string {
	name := ls.Get(model.MetricNameLabel)
	return name + labels.NewBuilder(ls).Del(model.MetricNameLabel).Labels().String()
}

// own are the metrics of a program about itself that have no labels.
func own(t testing.TB, url string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for name, family := range ownFamilies(t, url) {
		for _, m := range family.GetMetric() {
			if len(m.GetLabel()) == 0 {
				out[name] = value(m)
			}
		}
	}
	return out
}

func ownFamilies(t testing.TB, url string) map[string]*dto.MetricFamily {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/metrics", nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	require.NoError(t, err)
	return families
}

func value(m *dto.Metric) float64 {
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
}
