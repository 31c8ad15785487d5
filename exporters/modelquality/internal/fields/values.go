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

// Values calls each with every counter, in an order that is stable while the versions are the same. A replay reads it every few
// milliseconds; Collect exposes the same values.
func (k *Keeper) Values(each func(model, version, field, role, bin string, n int64)) {
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
			field, role := labels(name)
			f := c.all[name]
			for i, bin := range f.bins {
				each(t.model, t.version, field, role, reveal.Name(f.hidden, bin), f.counts[i])
			}
		}
		c.mu.Unlock()
	}
}

func (c *counters) sortedNames() []string {
	if c.sorted == nil {
		c.sorted = sortedKeys(c.all)
	}
	return c.sorted
}

// Changes returns the number of changes of the published baselines.
func (k *Keeper) Changes() int64 { return k.shown.changes.Load() }

// Shown returns the series of the baselines as Collect exposes them.
func (k *Keeper) Shown() []prometheus.Metric {
	ch := make(chan prometheus.Metric, 64)
	go func() {
		defer close(ch)
		k.shown.Collect(ch)
	}()
	var all []prometheus.Metric
	for m := range ch {
		all = append(all, m)
	}
	return all
}
