package rules

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// scrape is what a target served, as Prometheus stores it.
func scrape(t *testing.T, file string, target ...string) []sample {
	t.Helper()
	samples, _ := scrapeTypes(t, file, target...)
	return samples
}

// scrapeTypes also tells which names are counters: counters proper, and the parts of histograms and summaries.
func scrapeTypes(t *testing.T, file string, target ...string) ([]sample, map[string]bool) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "scrapes", file))
	require.NoError(t, err)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	require.NoError(t, err)
	var out []sample
	counters := map[string]bool{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			add := func(counter bool, name string, value float64, more ...string) {
				b := labels.NewBuilder(labels.FromStrings(target...)).Set(model.MetricNameLabel, name)
				for _, l := range m.GetLabel() {
					b.Set(l.GetName(), l.GetValue())
				}
				for i := 0; i < len(more); i += 2 {
					b.Set(more[i], more[i+1])
				}
				out = append(out, sample{b.Labels(), value})
				counters[name] = counter
			}
			switch family.GetType() {
			case dto.MetricType_HISTOGRAM:
				h := m.GetHistogram()
				for _, bucket := range h.GetBucket() {
					le := model.SampleValue(bucket.GetUpperBound()).String()
					if math.IsInf(bucket.GetUpperBound(), 1) {
						le = "+Inf"
					}
					add(true, name+"_bucket", float64(bucket.GetCumulativeCount()), "le", le)
				}
				add(true, name+"_sum", h.GetSampleSum())
				add(true, name+"_count", float64(h.GetSampleCount()))
			case dto.MetricType_SUMMARY:
				add(true, name+"_sum", m.GetSummary().GetSampleSum())
				add(true, name+"_count", float64(m.GetSummary().GetSampleCount()))
			default:
				add(family.GetType() == dto.MetricType_COUNTER, name,
					m.GetGauge().GetValue()+m.GetCounter().GetValue()+m.GetUntyped().GetValue())
			}
		}
	}
	return out, counters
}

// byName says how fast series of a name grow, or of a name and a mode.
type byName map[string]float64

func (b byName) perSecond(s sample) float64 {
	name := s.labels.Get(model.MetricNameLabel)
	if mode := s.labels.Get("mode"); mode != "" {
		name += "/" + mode
	}
	return b[name]
}

// adapted returns what the adapters make of scrapes every 30 seconds for as long
// as their longest window of counters, in which series grow.
func adapted(t *testing.T, samples []sample, perSecond func(sample) float64) []string {
	t.Helper()
	w := newWorld(t)
	const step, steps = 30 * time.Second, 21
	start := time.Unix(1_700_000_000, 0)
	now := start
	for i := range steps {
		now = start.Add(time.Duration(i) * step)
		batch := slices.Clone(samples)
		for n := range batch {
			batch[n].value += perSecond(samples[n]) * now.Sub(start).Seconds()
		}
		w.store(now, batch)
	}
	var got []string
	for _, f := range load(t, Options{}).Files {
		if !strings.HasPrefix(f.Name, "adapters/") {
			continue
		}
		for _, group := range f.Groups {
			for _, rule := range group.Rules {
				w.evaluate(now, rule)
				for _, s := range w.query(now, rule.Record) {
					line := s.Metric.String() + " " + model.SampleValue(float64(int64(s.F*1000+0.5))/1000).String()
					if !slices.Contains(got, line) {
						got = append(got, line)
					}
				}
			}
		}
	}
	slices.Sort(got)
	return got
}
