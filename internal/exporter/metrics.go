package exporter

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics collects the metrics of one snapshot. Its zero value is empty. Label
// values may hold anything that a table's column can be called.
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
	// client_golang refuses a metric with one invalid label, and a whole scrape
	// would report an error for one odd column name.
	if slices.ContainsFunc(labels, func(l string) bool { return !utf8.ValidString(l) }) {
		labels = slices.Clone(labels)
		for i, l := range labels {
			labels[i] = strings.ToValidUTF8(l, "\uFFFD")
		}
	}
	*m = append(*m, newConstant(desc, kind, value, labels))
}

// HistogramOpts returns the options of a histogram of a latency or a score: a
// native histogram of bounded size, with classic buckets beside it for servers
// that do not store native ones.
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

// seconds is t as Prometheus has times: seconds since 1970.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
