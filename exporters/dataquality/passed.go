package dataquality

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// passed is a snapshot that passed every check.
type passed struct {
	Snapshot snapshot  `json:"snapshot"`
	Time     time.Time `json:"time"` // when it first passed
}

// maxPassed bounds the stored snapshots that passed, and their series. A hundred daily versions cover three months.
const maxPassed = 100

// lasting reports whether a snapshot can be read again later, so that a model may have been trained on it: a version that the
// lake gives, or a table without a window. The contents of a moving window cannot, and its digest differs in every profile.
func (d *dataset) lasting() bool {
	return d.cfg.SnapshotQuery != "" || d.cfg.Window == 0
}

// watch notes the time of the first profile of a snapshot that can be read again, and reports whether it did. A store from before
// that time was noted has the time at which the first of the kept snapshots passed. Version 0.1 kept the last good snapshot only, with a
// digest of another form: a model that was trained on it before the upgrade and is made after it is valid.
func (g *lastGood) watch(now time.Time) bool {
	if !g.Watched.IsZero() {
		return false
	}
	g.Watched = now
	if len(g.Passed) > 0 {
		g.Watched = g.Passed[0].Time
	} else if g.Snapshot.Name != "" {
		g.pass(g.Snapshot, g.Time)
	}
	return true
}

// pass adds a snapshot that passed, once. A version keeps its first digest: that of a moving window differs in every profile.
func (g *lastGood) pass(s snapshot, now time.Time) {
	same := func(a, b passed) bool { return a.Snapshot.Name == b.Snapshot.Name }
	g.Passed = slices.CompactFunc(g.Passed, same) // Older stores have a version once for each digest.
	if slices.ContainsFunc(g.Passed, func(p passed) bool { return same(p, passed{Snapshot: s}) }) {
		return
	}
	g.Passed = append(g.Passed, passed{s, now})
	g.Passed = g.Passed[max(0, len(g.Passed)-maxPassed):]
}

// passedMetrics publishes since when snapshots are watched, and a sample for each that passed.
func (d *dataset) passedMetrics(m descs, c *cycle, gauge func(desc *prometheus.Desc, v float64, labels ...string)) {
	if d.lasting() && !c.good.Watched.IsZero() {
		gauge(m.snapshotsWatched, seconds(c.good.Watched))
	}
	for _, p := range c.good.Passed {
		gauge(m.passedSnapshotInfo, 1, p.Snapshot.Name, p.Snapshot.Digest)
	}
}
