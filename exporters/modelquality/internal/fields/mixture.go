package fields

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sightglass-ml/sightglass/internal/exporter"
)

// Mixture is what a short window of one field is compared with now. It changes every minute, so it is kept as numbers, and only
// who collects makes metrics of it.
type Mixture struct {
	Group
	Shares []float64 // of the bins
	Values float64
	Swing  float64
	// Swings says that the swing is known.
	Swings bool
}

// mix returns what the fields that are counted are compared with in a window that ends now, in the order of their names.
func (l *learned) mix(t *Tracker, c *counters, name string, window time.Duration, now time.Time) []Mixture {
	var all []Mixture
	for _, field := range l.names {
		if c.all[field] == nil || !l.settled(field, window+overlap) {
			continue
		}
		m := Mixture{Group: Group{Model: t.model, Version: t.version, Baseline: name}}
		m.Field, m.Role = labels(field)
		seasonal := false
		if l.season != nil {
			m.Bins, m.Shares, m.Values, seasonal = l.season.Mix(field, now.Add(-window), now)
			m.Swing, m.Swings = l.season.Swing(field, now.Add(-window), now)
		}
		if !seasonal {
			m.Bins, m.Shares, m.Values = shares(l.counts.Fields[field])
		}
		m.Bins = revealed(c.all[field].hidden, m.Bins)
		all = append(all, m)
	}
	return all
}

// shares returns the shares of counts, sorted by bin.
func shares(counts map[string]int64) (bins []string, shares []float64, values float64) {
	all := total(counts)
	bins = slices.Sorted(maps.Keys(counts))
	for _, bin := range bins {
		shares = append(shares, float64(counts[bin])/float64(max(all, 1)))
	}
	return bins, shares, float64(all)
}

// mixtures are the mixtures of all versions.
type mixtures struct {
	mu    sync.Mutex
	byKey map[string][]Mixture
}

// set replaces the mixtures of a version; none takes them away.
func (m *mixtures) set(key string, of []Mixture) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byKey == nil {
		m.byKey = make(map[string][]Mixture)
	}
	if m.byKey[key] = of; len(of) == 0 {
		delete(m.byKey, key)
	}
}

// all returns the mixtures, in an order that does not change while there are the same versions.
func (m *mixtures) all() [][]Mixture {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.Collect(maps.Values(m.byKey))
	slices.SortFunc(all, func(a, b []Mixture) int {
		return cmp.Or(cmp.Compare(a[0].Model, b[0].Model), cmp.Compare(a[0].Version, b[0].Version))
	})
	return all
}

// Mixtures calls each with the distributions that the short windows are compared with now, as Collect exposes them. It is for callers that
// read them every few milliseconds. Slices must not be changed.
func (k *Keeper) Mixtures(each func(*Mixture)) {
	for _, of := range k.mixed.all() {
		for i := range of {
			each(&of[i])
		}
	}
}

// collectMixtures converts the mixtures to metrics.
func (k *Keeper) collectMixtures(out *exporter.Metrics) {
	k.Mixtures(func(m *Mixture) {
		out.Gauge(k.descs.baselineValues, m.Values, m.Model, m.Version, m.Field, m.Role, m.Baseline)
		if m.Swings {
			out.Gauge(k.descs.swing, m.Swing, m.Model, m.Version, m.Field, m.Role, m.Baseline)
		}
		for i, bin := range m.Bins {
			out.Gauge(k.descs.ratio, m.Shares[i], m.Model, m.Version, m.Field, m.Role, bin, m.Baseline)
		}
	})
}
