package dataquality

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// passed is a snapshot that passed every check.
type passed struct {
	Snapshot snapshot  `json:"snapshot"`
	Time     time.Time `json:"time"` // the first time
}

// maxPassed bounds the snapshots that passed and are remembered, and their series: a hundred daily versions are three months,
// after which a model that was trained on one is known to be.
const maxPassed = 100

// lasting reports whether a snapshot can be had again, so that a model can have been trained on it: a version that the lake
// gives, or a table without a window. What a window held at the moment of a profile is nobody's training data, and its digest
// is another one at the next profile.
func (d *dataset) lasting() bool {
	return d.cfg.SnapshotQuery != "" || d.cfg.Window == 0
}

// pass remembers a snapshot that passed, once.
func (g *lastGood) pass(s snapshot, now time.Time) {
	if slices.ContainsFunc(g.Passed, func(p passed) bool { return p.Snapshot == s }) {
		return
	}
	g.Passed = append(g.Passed, passed{s, now})
	g.Passed = g.Passed[max(0, len(g.Passed)-maxPassed):]
}

// passedMetrics are a sample of each snapshot that passed.
func (c *cycle) passedMetrics(m descs, gauge func(desc *prometheus.Desc, v float64, labels ...string)) {
	for _, p := range c.good.Passed {
		gauge(m.passedSnapshotInfo, 1, p.Snapshot.Name, p.Snapshot.Digest)
	}
}
