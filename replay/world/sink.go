package world

import (
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

// place is a metric at a position of the previous call.
type place struct {
	desc   *prometheus.Desc
	labels []string
	series *engine.Series
}

// held returns the samples of metrics that stay unchanged for a while. Metrics mostly come in the same order, so that the position gives
// the series without a look-up.
func (k *sink) held(metrics []prometheus.Metric, places *[]place) (*engine.Held, error) {
	all := make([]sample, 0, len(metrics))
	for i, m := range metrics {
		if i == len(*places) {
			*places = append(*places, place{})
		}
		at := &(*places)[i]
		c, constant := m.(*exporters.Constant)
		if constant && at.desc == c.Desc() && slices.Equal(at.labels, c.LabelValues()) {
			all = append(all, sample{at.series, c.Value()})
			continue
		}
		var err error
		if all, err = k.samples(all, metrics[i:i+1]); err != nil {
			return nil, err
		}
		if constant {
			*at = place{c.Desc(), c.LabelValues(), all[len(all)-1].series}
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
		next := 0
		add := func(suffix string, v float64, le string) {
			if next == len(known) {
				pairs := make([]string, 0, 2*len(d.Label)+2)
				for _, l := range d.Label {
					pairs = append(pairs, l.GetName(), l.GetValue())
				}
				if le != "" {
					pairs = append(pairs, "le", le)
				}
				known = append(known, k.scrape.Series(name+suffix, pairs...))
				k.series[string(k.key)] = known
			}
			to = append(to, sample{known[next], v})
			next++
		}
		switch {
		case d.Counter != nil:
			add("", d.Counter.GetValue(), "")
		case d.Gauge != nil:
			add("", d.Gauge.GetValue(), "")
		case d.Histogram != nil:
			h := d.Histogram
			for _, b := range h.Bucket {
				if le := b.GetUpperBound(); le <= maxFinite {
					add("_bucket", float64(b.GetCumulativeCount()), formatLE(le))
				}
			}
			add("_bucket", float64(h.GetSampleCount()), "+Inf")
			add("_sum", h.GetSampleSum(), "")
			add("_count", float64(h.GetSampleCount()), "")
		}
	}
	return to, nil
}

// constant returns the series of a constant metric.
func (k *sink) constant(c *exporters.Constant) (*engine.Series, error) {
	known := k.constants[c.Desc()]
	if known == nil {
		known = make(map[string]*engine.Series)
		k.constants[c.Desc()] = known
	}
	k.key = k.key[:0]
	for _, v := range c.LabelValues() {
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

const maxFinite = 1e300

// formatLE formats a bound as OpenMetrics does: 1.0, not 1.
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
