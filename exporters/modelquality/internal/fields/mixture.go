package fields

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/reveal"
)

// mixture is the baseline of one field for a short window that ends now. It changes every minute, so it is stored as numbers, and Collect
// converts it to metrics.
type mixture struct {
	model, version, field, role, baseline string
	values                                float64
	swing                                 float64
	swings                                bool // whether swing is known
	bins                                  []string
	shares                                []float64
}

// mix returns the baselines of the counted fields for a window that ends now, sorted by field.
func (l *learned) mix(t *Tracker, c *counters, name string, window time.Duration, now time.Time) []mixture {
	var all []mixture
	for _, field := range sortedKeys(l.whole.Fields) {
		if c.all[field] == nil {
			continue
		}
		m := mixture{model: t.model, version: t.version, baseline: name}
		m.field, m.role = labels(field)
		seasonal := false
		if l.season != nil {
			m.bins, m.shares, m.values, seasonal = l.season.Mix(field, now.Add(-window), now)
			m.swing, m.swings = l.season.Swing(field, now.Add(-window), now)
		}
		if !seasonal {
			m.bins, m.shares, m.values = shares(l.whole.Fields[field])
		}
		if hidden := c.all[field].hidden; hidden != nil {
			m.bins = slices.Clone(m.bins)
			for i, bin := range m.bins {
				m.bins[i] = reveal.Name(hidden, bin)
			}
		}
		all = append(all, m)
	}
	return all
}

// shares returns the shares of counts, sorted by bin.
func shares(counts map[string]int64) (bins []string, shares []float64, values float64) {
	var total int64
	for _, n := range counts {
		total += n
	}
	bins = sortedKeys(counts)
	for _, bin := range bins {
		shares = append(shares, float64(counts[bin])/float64(max(total, 1)))
	}
	return bins, shares, float64(total)
}

// mixtures are the mixtures of all versions.
type mixtures struct {
	mu    sync.Mutex
	byKey map[string][]mixture
}

// set replaces the mixtures of a version; none removes them.
func (m *mixtures) set(key string, of []mixture) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byKey == nil {
		m.byKey = make(map[string][]mixture)
	}
	if m.byKey[key] = of; len(of) == 0 {
		delete(m.byKey, key)
	}
}

// all returns the mixtures in an order that is stable while the versions are the same.
func (m *mixtures) all() [][]mixture {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.Collect(maps.Values(m.byKey))
	slices.SortFunc(all, func(a, b []mixture) int {
		return cmp.Or(cmp.Compare(a[0].model, b[0].model), cmp.Compare(a[0].version, b[0].version))
	})
	return all
}

// Mixtures iterates over the present baselines of the short windows. It calls ratio with the share of every bin, values with the number of
// values of every field, and swing with the difference between its hours. A replay reads it every few milliseconds; Collect exposes the
// same values.
func (k *Keeper) Mixtures(ratio func(model, version, field, role, bin, baseline string, share float64), values, swing func(model, version, field, role, baseline string, n float64)) {
	for _, of := range k.mixed.all() {
		for i := range of {
			m := &of[i]
			values(m.model, m.version, m.field, m.role, m.baseline, m.values)
			if m.swings {
				swing(m.model, m.version, m.field, m.role, m.baseline, m.swing)
			}
			for b, bin := range m.bins {
				ratio(m.model, m.version, m.field, m.role, bin, m.baseline, m.shares[b])
			}
		}
	}
}

// collectMixtures converts the mixtures to metrics.
func (k *Keeper) collectMixtures(out *exporter.Metrics) {
	k.Mixtures(func(model, version, field, role, bin, baseline string, share float64) {
		out.Gauge(k.descs.ratio, share, model, version, field, role, bin, baseline)
	}, func(model, version, field, role, baseline string, n float64) {
		out.Gauge(k.descs.baselineValues, n, model, version, field, role, baseline)
	}, func(model, version, field, role, baseline string, swing float64) {
		out.Gauge(k.descs.swing, swing, model, version, field, role, baseline)
	})
}
