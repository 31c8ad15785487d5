package world

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	exporters "github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/replay/engine"
)

// sample is a value of a series.
type sample struct {
	series *engine.Series
	value  float64
}

// sink maps the metrics of one target to series. The scrapes of months have the same series, so each is looked up by its labels only once.
type sink struct {
	scrape *engine.Scrape
	names  map[*prometheus.Desc]string
	series map[string][]*engine.Series
	// constants has the series of constant metrics, by their label values.
	constants map[*prometheus.Desc]map[string]*engine.Series
	key       []byte
}

func newSink(scrape *engine.Scrape) *sink {
	return &sink{
		scrape: scrape, names: make(map[*prometheus.Desc]string), series: make(map[string][]*engine.Series),
		constants: make(map[*prometheus.Desc]map[string]*engine.Series),
	}
}

// metricPosition is a metric at a position of the previous call.
type metricPosition struct {
	identity *exporters.Identity
	series   *engine.Series
}

// held returns the samples of metrics that stay unchanged for a while. Metrics mostly come in the same order, so that the position gives
// the series without a look-up.
func (k *sink) held(metrics []prometheus.Metric, positions *[]metricPosition) (*engine.Held, error) {
	all := make([]sample, 0, len(metrics))
	for i, m := range metrics {
		if i == len(*positions) {
			*positions = append(*positions, metricPosition{})
		}
		at := &(*positions)[i]
		c, constant := m.(*exporters.Constant)
		if constant && at.identity == c.Identity() {
			all = append(all, sample{at.series, c.Value()})
			continue
		}
		var err error
		if all, err = k.samples(all, metrics[i:i+1]); err != nil {
			return nil, err
		}
		if constant {
			*at = metricPosition{c.Identity(), all[len(all)-1].series}
		}
	}
	series, values := make([]*engine.Series, len(all)), make([]float64, len(all))
	for i, s := range all {
		series[i], values[i] = s.series, s.value
	}
	return engine.NewHeld(series, values)
}

// samples appends the samples of the metrics; for a histogram, those of its classic buckets.
func (k *sink) samples(to []sample, metrics []prometheus.Metric) ([]sample, error) {
	for _, m := range metrics {
		if c, ok := m.(*exporters.Constant); ok {
			series, err := k.constant(c)
			if err != nil {
				return to, err
			}
			to = append(to, sample{series, c.Value()})
			continue
		}
		if c, ok := m.(classic); ok {
			to = k.classic(to, c)
			continue
		}
		var d dto.Metric
		if err := m.Write(&d); err != nil {
			return to, err
		}
		name := k.name(m.Desc())
		k.key = append(k.key[:0], name...)
		for _, l := range d.Label {
			k.key = append(append(append(append(k.key, 0xff), l.GetName()...), 0xff), l.GetValue()...)
		}
		known := k.series[string(k.key)]
		if known == nil {
			pairs := make([]string, 0, 2*len(d.Label))
			for _, l := range d.Label {
				pairs = append(pairs, l.GetName(), l.GetValue())
			}
			known = []*engine.Series{k.scrape.Series(name, pairs...)}
			k.series[string(k.key)] = known
		}
		switch {
		case d.Counter != nil:
			to = append(to, sample{known[0], d.Counter.GetValue()})
		case d.Gauge != nil:
			to = append(to, sample{known[0], d.Gauge.GetValue()})
		default:
			return to, fmt.Errorf("metric %s is neither a counter, a gauge nor a histogram with classic buckets", name)
		}
	}
	return to, nil
}

// classic is a histogram with classic buckets.
type classic interface {
	prometheus.Metric
	Labels() []string
	Classic() (bounds []float64, counts []uint64, sum float64)
}

// classic appends what a scrape in the text format would show of a histogram.
func (k *sink) classic(to []sample, m classic) []sample {
	name := k.name(m.Desc())
	k.key = append(k.key[:0], name...)
	for _, v := range m.Labels() {
		k.key = append(append(k.key, 0xff), v...)
	}
	bounds, counts, sum := m.Classic()
	known := k.series[string(k.key)]
	if known == nil {
		pairs := make([]string, 0, 8)
		for _, l := range prometheus.MakeLabelPairs(m.Desc(), m.Labels()) {
			pairs = append(pairs, l.GetName(), l.GetValue())
		}
		for _, le := range bounds {
			known = append(known, k.scrape.Series(name+"_bucket", append(slices.Clip(pairs), "le", formatLE(le))...))
		}
		known = append(known, k.scrape.Series(name+"_bucket", append(slices.Clip(pairs), "le", "+Inf")...))
		known = append(known, k.scrape.Series(name+"_sum", pairs...), k.scrape.Series(name+"_count", pairs...))
		k.series[string(k.key)] = known
	}
	var all uint64
	for i, n := range counts {
		all += n
		to = append(to, sample{known[i], float64(all)})
	}
	return append(to, sample{known[len(counts)], sum}, sample{known[len(counts)+1], float64(all)})
}

// constant is the series of a constant metric.
func (k *sink) constant(c *exporters.Constant) (*engine.Series, error) {
	known := k.constants[c.Desc()]
	if known == nil {
		known = make(map[string]*engine.Series)
		k.constants[c.Desc()] = known
	}
	k.key = k.key[:0]
	for _, v := range c.Identity().Labels() {
		k.key = append(append(k.key, v...), 0xff)
	}
	s, ok := known[string(k.key)]
	if !ok {
		var d dto.Metric
		if err := c.Write(&d); err != nil {
			return nil, err
		}
		pairs := make([]string, 0, 2*len(d.Label))
		for _, l := range d.Label {
			pairs = append(pairs, l.GetName(), l.GetValue())
		}
		s = k.scrape.Series(k.name(c.Desc()), pairs...)
		known[string(k.key)] = s
	}
	return s, nil
}

// formatLE writes a bound as OpenMetrics does: 1.0, not 1.
func formatLE(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, "e.") {
		s += ".0"
	}
	return s
}

// name returns the metric's name, which a Desc has only in its text.
func (k *sink) name(d *prometheus.Desc) string {
	name, ok := k.names[d]
	if !ok {
		_, rest, _ := strings.Cut(d.String(), `fqName: "`)
		name, _, _ = strings.Cut(rest, `"`)
		k.names[d] = name
	}
	return name
}

// one returns the series with this name and these labels.
func (k *sink) one(name string, pairs ...string) *engine.Series {
	key := name + "\xff" + strings.Join(pairs, "\xff")
	s, ok := k.series[key]
	if !ok {
		s = []*engine.Series{k.scrape.Series(name, pairs...)}
		k.series[key] = s
	}
	return s[0]
}
