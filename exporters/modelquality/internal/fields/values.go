package fields

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/reveal"
)

// snapshots are Snapshots that count their changes.
type snapshots struct {
	exporter.Snapshots
	changes atomic.Int64
}

// Set replaces the metrics of one source.
func (s *snapshots) Set(key string, metrics []prometheus.Metric, validFor time.Duration) {
	s.Snapshots.Set(key, metrics, validFor)
	s.changes.Add(1)
}

// Delete drops the metrics of one source.
func (s *snapshots) Delete(key string) {
	s.Snapshots.Delete(key)
	s.changes.Add(1)
}

// Group is the series of one field that differ by their bin alone. The bins are the same slice while they are the same bins.
type Group struct {
	// Baseline is empty of the values themselves.
	Model, Version, Field, Role, Baseline string
	Bins                                  []string
}

// Values calls each with the counters of every field, as Collect exposes them. The order does not change while the versions are the same.
// It is for callers that read them every few milliseconds. The counts must not be kept.
func (k *Keeper) Values(each func(g Group, counts []int64)) {
	k.mu.Lock()
	trackers := slices.SortedFunc(maps.Keys(k.trackers), func(a, b *Tracker) int { return cmp.Compare(a.key(), b.key()) })
	k.mu.Unlock()
	for _, t := range trackers {
		c := t.counters.Load()
		if c == nil {
			continue
		}
		c.mu.Lock()
		for _, name := range c.sortedNames() {
			if c.omits(name) {
				continue
			}
			field, role := labels(name)
			f := c.all[name]
			each(Group{Model: t.model, Version: t.version, Field: field, Role: role, Bins: f.publishedBins()}, f.counts)
		}
		c.mu.Unlock()
	}
}

// publishedBins are the names of the bins in series. The counters are locked.
func (f *field) publishedBins() []string {
	if f.published == nil {
		f.published = revealed(f.hidden, f.bins)
	}
	return f.published
}

// revealed are bins as they are published.
func revealed(hidden map[string]string, bins []string) []string {
	if hidden == nil {
		return bins
	}
	published := make([]string, len(bins))
	for i, bin := range bins {
		published[i] = reveal.Name(hidden, bin)
	}
	return published
}

func (c *counters) sortedNames() []string {
	if c.sorted == nil {
		c.sorted = slices.Sorted(maps.Keys(c.all))
	}
	return c.sorted
}

// Changes returns the number of changes of the published baselines.
func (k *Keeper) Changes() int64 { return k.snapshots.changes.Load() }

// BaselineMetrics returns the series of the baselines as Collect exposes them.
func (k *Keeper) BaselineMetrics() []prometheus.Metric {
	ch := make(chan prometheus.Metric, 64)
	go func() {
		defer close(ch)
		k.snapshots.Collect(ch)
	}()
	var all []prometheus.Metric
	for m := range ch {
		all = append(all, m)
	}
	return all
}
