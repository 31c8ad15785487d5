package exporter

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Snapshot keeps the last result of a collector until it expires. A missing series is noticed; a stale series looks correct. The zero
// value is empty and ready for use. It is safe for concurrent use.
type Snapshot struct {
	set Snapshots
}

// Set replaces the metrics. They are served for validFor from now on. With two or three intervals they remain available after a failed
// run. The caller must not change them afterwards.
func (s *Snapshot) Set(metrics []prometheus.Metric, validFor time.Duration) {
	s.set.Set("", metrics, validFor)
}

// Clear drops the metrics.
func (s *Snapshot) Clear() { s.set.Delete("") }

// Describe implements prometheus.Collector. It declares nothing, because the metrics depend on the source.
func (s *Snapshot) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s *Snapshot) Collect(ch chan<- prometheus.Metric) { s.set.Collect(ch) }

// Snapshots are snapshots of many sources of one kind (GPUs, datasets). Each is replaced and expires separately. The zero value is
// ready for use.
type Snapshots struct {
	mu    sync.Mutex
	byKey map[string]snapshot
}

type snapshot struct {
	metrics []prometheus.Metric
	expires time.Time
}

var _, _ prometheus.Collector = (*Snapshot)(nil), (*Snapshots)(nil)

// Set replaces the metrics of one source; see Snapshot.Set.
func (s *Snapshots) Set(key string, metrics []prometheus.Metric, validFor time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey == nil {
		s.byKey = map[string]snapshot{}
	}
	s.byKey[key] = snapshot{metrics, time.Now().Add(validFor)}
}

// Delete drops the metrics of one source.
func (s *Snapshots) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byKey, key)
}

// Describe implements prometheus.Collector; see Snapshot.Describe.
func (s *Snapshots) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s *Snapshots) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()
	var live [][]prometheus.Metric
	s.mu.Lock()
	for key, one := range s.byKey {
		if now.Before(one.expires) {
			live = append(live, one.metrics)
		} else {
			delete(s.byKey, key) // frees the memory
		}
	}
	s.mu.Unlock()
	// Sent without the lock, so that a slow reader does not block the sources.
	for _, metrics := range live {
		for _, m := range metrics {
			ch <- m
		}
	}
}
