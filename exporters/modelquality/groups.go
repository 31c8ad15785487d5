package modelquality

import "github.com/sightglass-ml/sightglass/exporters/modelquality/internal/metering"

// group has the observations of one version in a request, by index in the batch.
type group struct {
	series       *metering.Series
	observations []int
}

// groups are the observations of a request by version. They are counted group by group: each group needs one lock, and its counters stay in
// the processor's cache.
type groups struct {
	all []*group
	// recent has the last used groups, by the end of the names. It saves the look-up in the meter.
	recent [16]struct {
		model, version string
		*group
	}
	// free are groups of earlier requests. Their memory is used again.
	free []*group
}

// Groups beyond these sizes are left to the garbage collector, so that one large request does not keep its memory.
const (
	maxFreeGroups       = 100
	maxFreeObservations = 10_000
)

// add adds an observation to the group of its version and returns the series of the version.
func (g *groups) add(observation int, model, version string, meter *metering.Meter) *metering.Series {
	slot := 0
	if n, m := len(model), len(version); n > 0 && m > 0 {
		slot = int(model[n-1]+4*version[m-1]) % len(g.recent)
	}
	r := &g.recent[slot]
	if r.group == nil || r.model != model || r.version != version {
		r.model, r.version, r.group = model, version, g.open(meter.Series(model, version))
	}
	r.observations = append(r.observations, observation)
	return r.series
}

func (g *groups) open(series *metering.Series) *group {
	next := new(group)
	if last := len(g.free) - 1; last >= 0 {
		next, g.free = g.free[last], g.free[:last]
	}
	next.series, next.observations = series, next.observations[:0]
	g.all = append(g.all, next)
	return next
}

// reset removes the groups of a request. It keeps no series, because a version may be forgotten before the next request.
func (g *groups) reset() {
	for _, old := range g.all {
		old.series = nil
		if len(g.free) < maxFreeGroups && cap(old.observations) <= maxFreeObservations {
			g.free = append(g.free, old)
		}
	}
	clear(g.all)
	clear(g.recent[:])
	g.all = g.all[:0]
}
