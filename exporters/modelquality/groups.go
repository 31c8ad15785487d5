package modelquality

import "github.com/sightglass-ml/sightglass/exporters/modelquality/internal/metering"

// group has the observations of one version in a request.
type group struct {
	series       *metering.Series
	size         int
	observations []int // indexes in the batch; set by sort
}

// groups are the observations of a request by version. They are counted group by group: each group needs one lock, and its counters stay in
// the processor's cache.
type groups struct {
	all []group
	of  []int // by observation: the index of its group plus one; 0 for none
	// recent has the last used groups, by the end of the names. It saves the look-up in the meter. There are enough places for names that
	// end with different digits.
	recent [64]recentGroup
	sorted []int // the observations of all groups, one group after the other
}

type recentGroup struct {
	model, version string
	group          int // index plus one
}

// reset prepares the groups for a request with this number of observations.
func (g *groups) reset(observations int) {
	clear(g.all) // A version may be forgotten before the next request.
	clear(g.recent[:])
	g.all, g.of = g.all[:0], zeros(g.of, observations)
}

// add adds an observation to the group of its version and returns the series of the version.
func (g *groups) add(observation int, model, version string, meter *metering.Meter) *metering.Series {
	slot := 0
	if n, m := len(model), len(version); n > 0 && m > 0 {
		slot = int(model[n-1]+8*version[m-1]) % len(g.recent)
	}
	r := &g.recent[slot]
	if r.group == 0 || r.model != model || r.version != version {
		g.all = append(g.all, group{series: meter.Series(model, version)})
		*r = recentGroup{model, version, len(g.all)}
	}
	g.of[observation] = r.group
	to := &g.all[r.group-1]
	to.size++
	return to.series
}

// sort returns the groups with their observations.
func (g *groups) sort() []group {
	g.sorted = zeros(g.sorted, len(g.of))
	end := 0
	for i := range g.all {
		start := end
		end += g.all[i].size
		g.all[i].observations = g.sorted[start:start:end]
	}
	for observation, n := range g.of {
		if n > 0 {
			of := &g.all[n-1]
			of.observations = append(of.observations, observation)
		}
	}
	return g.all
}
