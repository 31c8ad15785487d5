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

// pass adds a snapshot that passed, once.
func (g *lastGood) pass(s snapshot, now time.Time) {
	if slices.ContainsFunc(g.Passed, func(p passed) bool { return p.Snapshot == s }) {
		return
	}
	g.Passed = append(g.Passed, passed{s, now})
	g.Passed = g.Passed[max(0, len(g.Passed)-maxPassed):]
}

// passedMetrics publishes a sample for each snapshot that passed.
func (c *cycle) passedMetrics(m descs, gauge func(desc *prometheus.Desc, v float64, labels ...string)) {
	for _, p := range c.good.Passed {
		gauge(m.passedSnapshotInfo, 1, p.Snapshot.Name, p.Snapshot.Digest)
	}
}
