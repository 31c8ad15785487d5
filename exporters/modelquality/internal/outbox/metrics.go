package outbox

import (
	"encoding/json"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	bolt "go.etcd.io/bbolt"

	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

// series has the labels of a counter of sent items.
type series struct {
	model, version string
	outcome        outcome
}

// lost has the labels of a counter of dropped items.
type lost struct{ model, version, reason string }

type descs struct{ dropped, sent, items, bytes, maxBytes, oldest *prometheus.Desc }

// Declare declares the metrics of an Outbox in the reference.
func Declare(c *catalogue.Catalogue) { newDescs(c) }

func newDescs(c *catalogue.Catalogue) descs {
	if c == nil {
		c = new(catalogue.Catalogue)
	}
	return descs{
		sent:     c.Counter("ml_model_reviews_sent_total", "Requests that send a response to review, by result: delivered, failed and retried, or rejected.", "model", "version", "result"),
		dropped:  c.Counter("ml_model_reviews_dropped_total", "Responses below their gate that could not be stored for review, by reason: the outbox is full, or its disk cannot be written.", "model", "version", "reason"),
		items:    c.Gauge("ml_model_reviews_outbox_items", "Responses on disk by state: pending ones will be sent, rejected ones were refused by the reviewers' endpoint.", "state"),
		bytes:    c.Gauge("ml_model_reviews_outbox_bytes", "Size of the responses on disk."),
		maxBytes: c.Gauge("ml_model_reviews_outbox_max_bytes", "Maximum size of the responses on disk. Further responses are dropped."),
		oldest:   c.Gauge("ml_model_reviews_outbox_oldest_timestamp_seconds", "Time at which the oldest pending response was added."),
	}
}

var _ prometheus.Collector = (*Outbox)(nil)

// Describe implements prometheus.Collector.
func (b *Outbox) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (b *Outbox) Collect(ch chan<- prometheus.Metric) {
	var m exporter.Metrics
	b.locked(func() {
		for s, n := range b.counts {
			m.Counter(b.descs.sent, n, s.model, s.version, s.outcome.String())
		}
		for l, n := range b.drops {
			m.Counter(b.descs.dropped, n, l.model, l.version, l.reason)
		}
		m.Gauge(b.descs.items, float64(b.usage.pending), "pending")
		m.Gauge(b.descs.items, float64(b.usage.rejected), "rejected")
		m.Gauge(b.descs.bytes, float64(b.usage.bytes))
	})
	m.Gauge(b.descs.maxBytes, float64(b.MaxBytes))
	if t, ok := b.oldest(); ok {
		m.Gauge(b.descs.oldest, float64(t.UnixMilli())/1e3)
	}
	for _, metric := range m {
		ch <- metric
	}
}

func (b *Outbox) oldest() (at time.Time, ok bool) {
	err := b.db.View(func(tx *bolt.Tx) error {
		if _, v := tx.Bucket(pendingBucket).Cursor().First(); v != nil {
			var r record
			ok = json.Unmarshal(v, &r) == nil
			at = r.Added
		}
		return nil
	})
	return at, ok && err == nil
}
