package exporter

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics collects the metrics of one snapshot. The zero value is empty. Label values may contain any text, such as the name of any
// table column.
type Metrics []prometheus.Metric

// Gauge adds a value that can go up and down.
func (m *Metrics) Gauge(desc *prometheus.Desc, value float64, labels ...string) {
	m.add(desc, prometheus.GaugeValue, value, labels)
}

// Counter adds a total that the source itself counts.
func (m *Metrics) Counter(desc *prometheus.Desc, value float64, labels ...string) {
	m.add(desc, prometheus.CounterValue, value, labels)
}

func (m *Metrics) add(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels []string) {
	labels = slices.Clone(labels)
	valid(labels)
	*m = append(*m, newConstant(desc, kind, value, labels))
}

// valid replaces invalid UTF-8. client_golang rejects a metric with an invalid label, so a scrape would report an error because of one
// column name.
func valid(labels []string) {
	for i, l := range labels {
		if !utf8.ValidString(l) {
			labels[i] = strings.ToValidUTF8(l, "\uFFFD")
		}
	}
}

// A Batch collects metrics like Metrics, for large snapshots. It allocates memory for 128 metrics at a time. That memory is freed when
// the last of these metrics is freed. The zero value is empty.
type Batch struct {
	metrics   Metrics
	constants []Constant
	labels    []string
}

const batchSize = 128

// Gauge adds a value that can go up and down.
func (b *Batch) Gauge(desc *prometheus.Desc, value float64, label string, more ...string) {
	if len(b.constants) == cap(b.constants) {
		b.constants = make([]Constant, 0, batchSize)
	}
	n := 1 + len(more)
	if cap(b.labels)-len(b.labels) < n {
		b.labels = make([]string, 0, max(n, 3*batchSize))
	}
	begin := len(b.labels)
	b.labels = append(append(b.labels, label), more...)
	own := b.labels[begin : begin+n : begin+n]
	valid(own)
	b.constants = b.constants[:len(b.constants)+1]
	c := &b.constants[len(b.constants)-1]
	c.desc, c.kind, c.value, c.labels = desc, prometheus.GaugeValue, value, own
	b.metrics = append(b.metrics, c)
}

// Add adds an existing metric.
func (b *Batch) Add(m prometheus.Metric) { b.metrics = append(b.metrics, m) }

// Metrics returns the added metrics.
func (b *Batch) Metrics() Metrics { return b.metrics }

// HistogramOpts returns the options of a histogram of a latency or a score. It is a native histogram of limited size, with classic
// buckets for servers that do not store native histograms.
func HistogramOpts(name, help string, classicBuckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name:                            name,
		Help:                            help,
		Buckets:                         classicBuckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds returns t in seconds since 1970.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
