package exporter

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Snapshot holds what a collector found last, until it is too old to be shown:
// a missing series is noticed, a stale one looks like the truth. The zero value
// is empty and ready for use, by any number of goroutines.
type Snapshot struct {
	set Snapshots
}

// Set replaces the metrics. They are served for validFor, counted from now; two
// or three intervals survive a failed run. The caller must not change them.
func (s *Snapshot) Set(metrics []prometheus.Metric, validFor time.Duration) {
	s.set.Set("", metrics, validFor)
}

// Clear drops the metrics.
func (s *Snapshot) Clear() { s.set.Delete("") }

// Describe implements prometheus.Collector. Nothing is declared: what is there
// depends on the source.
func (s *Snapshot) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s *Snapshot) Collect(ch chan<- prometheus.Metric) { s.set.Collect(ch) }

// Snapshots are snapshots of many sources of one kind (GPUs, datasets), each
// replaced and expiring on its own. The zero value is ready for use.
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
			delete(s.byKey, key) // and free the memory
		}
	}
	s.mu.Unlock()
	// Sent without the lock: a slow reader must not hold up the sources.
	for _, metrics := range live {
		for _, m := range metrics {
			ch <- m
		}
	}
}
