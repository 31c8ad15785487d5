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
	*m = append(*m, &Constant{newIdentity(desc, kind, slices.Clone(labels)), value})
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

// A Batch collects metrics like Metrics, for successive large snapshots. A value shares its identity with the value of the previous
// snapshot that has the same metric and labels at about the same position. The zero value is empty.
type Batch struct {
	metrics   Metrics
	constants []Constant
	// now has the identities of this snapshot, before those of the previous one. The first at of before were found or have disappeared.
	now, before []*Identity
	at          int
}

const (
	batchSize = 128
	// lookAhead is the maximum number of successive identities that may have disappeared.
	lookAhead = 64
)

// Gauge adds a value that can go up and down.
func (b *Batch) Gauge(desc *prometheus.Desc, value float64, label string, more ...string) {
	if len(b.constants) == cap(b.constants) {
		b.constants = make([]Constant, 0, max(batchSize, len(b.before)-len(b.now)))
	}
	identity := b.identity(desc, label, more)
	b.now = append(b.now, identity)
	b.constants = append(b.constants, Constant{identity, value})
	b.metrics = append(b.metrics, &b.constants[len(b.constants)-1])
}

// identity returns the identity of the previous snapshot, or a new one.
func (b *Batch) identity(desc *prometheus.Desc, label string, more []string) *Identity {
	for i := b.at; i < min(b.at+lookAhead, len(b.before)); i++ {
		if b.before[i].is(desc, label, more) {
			b.at = i + 1
			return b.before[i]
		}
	}
	return newIdentity(desc, prometheus.GaugeValue, append([]string{label}, more...))
}

// Add adds an existing metric.
func (b *Batch) Add(m prometheus.Metric) { b.metrics = append(b.metrics, m) }

// Take returns the added metrics and starts the next snapshot.
func (b *Batch) Take() Metrics {
	metrics := b.metrics
	clear(b.before)
	*b = Batch{now: b.before[:0], before: b.now, metrics: make(Metrics, 0, len(metrics))}
	return metrics
}

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
