package metering

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// loadedBy are the fully loaded costs by model.
func loadedBy(all map[Key]float64) map[string]float64 {
	found := map[string]float64{}
	for key, sum := range all {
		if key.Counter == Loaded {
			found[key.Model] += sum
		}
	}
	return found
}

// An hour on two GPUs for C$4 each: fraud works C$2 and rank C$1 of one that both hold, C$1 of it is idle, and the other, which
// nobody holds, is idle for C$4. chat buys tokens for C$3, and 12 cores that serve all cost C$0.60.
func TestUnattributedCostIsDividedByWeight(t *testing.T) {
	t.Parallel()
	usage := Usage{
		GPUs: []GPU{
			{Name: "H100", UUID: "a", Busy: 0.75, Holders: []Owner{{Department: "platform"}}},
			{Name: "H100", UUID: "b"},
		},
		Working:   map[ClusterModel]float64{{"", "fraud"}: 0.5, {"", "rank"}: 0.25},
		Tokens:    map[TokenUse]float64{{"api", "input", ""}: 3e6 / 3600.},
		Resources: []ResourceUse{{"core", Owner{}, 12}},
	}
	for weight, want := range map[Weight]map[string]float64{
		// Of the GPUs C$5 are shared, 2:1; the C$0.60 2:1:3 by what all have cost.
		ByUsage: {"fraud": 2 + 5*2./3 + 0.6*2/6, "rank": 1 + 5*1./3 + 0.6*1/6, "api": 3 + 0.6*3/6},
		// fraud and rank hold the first GPU's C$4, 2:1; the C$0.60 are shared 8/3 : 4/3 : 3.
		ByAllocation: {"fraud": 2 + 5*2./3 + 0.6*8/21, "rank": 1 + 5*1./3 + 0.6*4/21, "api": 3 + 0.6*9/21},
		NotAtAll:     {"fraud": 2, "rank": 1, "api": 3, "": 5.6},
	} {
		t.Run(string(weight), func(t *testing.T) {
			t.Parallel()
			c := &clock{noon}
			o := options(t, c, always(usage))
			o.Weight = weight
			m := open(t, o)
			require.NoError(t, m.Cycle(t.Context()))
			c.now = noon.Add(time.Hour)
			require.NoError(t, m.Cycle(t.Context()))
			requireReconciled(t, m, 1e-9)
			all := sums(m)
			require.InDeltaMapValues(t, want, loadedBy(all), 1e-9)
			require.InDelta(t, 11.6, all[Key{Counter: Total}], 1e-9)
		})
	}
	t.Run("a weight that there is not", func(t *testing.T) {
		t.Parallel()
		o := options(t, &clock{noon}, always(usage))
		o.Weight = "revenue"
		_, err := Open(o)
		require.ErrorContains(t, err, `weight "revenue": expected usage, allocation or none`)
	})
}

// Two models hold a GPU each; one works, the other does not. By usage the idle one is the worker's, by allocation its holder's.
func TestAllocationWeightChargesTheHolderOfAnIdleGPU(t *testing.T) {
	t.Parallel()
	usage := Usage{GPUs: []GPU{
		{Name: "H100", UUID: "a", Busy: 1, Holders: []Owner{{"a", "worker"}}},
		{Name: "H100", UUID: "b", Holders: []Owner{{"b", "sleeper"}}},
	}}
	for weight, want := range map[Weight]map[string]float64{
		ByUsage:      {"worker": 8},
		ByAllocation: {"worker": 4 + 2, "sleeper": 2},
	} {
		c := &clock{noon}
		o := options(t, c, always(usage))
		o.Weight = weight
		m := open(t, o)
		require.NoError(t, m.Cycle(t.Context()))
		c.now = noon.Add(time.Hour)
		require.NoError(t, m.Cycle(t.Context()))
		requireReconciled(t, m, 1e-9)
		require.InDeltaMapValues(t, want, loadedBy(sums(m)), 1e-9, weight)
	}
}

// A model works for an hour, and the GPU idles for a night after that; a restart in between changes nothing.
func TestNightIdleCostGoesToModelsOfTheDay(t *testing.T) {
	t.Parallel()
	c := &clock{noon}
	working := true
	o := options(t, c, sourceFunc(func(time.Time) (Usage, error) {
		g := GPU{Name: "H100", UUID: "a", Holders: []Owner{{"a", "own"}}}
		if working {
			g.Busy = 1
		}
		return Usage{GPUs: []GPU{g}}, nil
	}))
	m := open(t, o)
	require.NoError(t, m.Cycle(t.Context()))
	c.now = noon.Add(time.Hour)
	require.NoError(t, m.Cycle(t.Context()))
	require.NoError(t, m.Close())
	m = open(t, o)
	working, c.now = false, noon.Add(13*time.Hour)
	require.NoError(t, m.Cycle(t.Context()))
	requireReconciled(t, m, 1e-9)
	require.InDeltaMapValues(t, map[string]float64{"own": 13 * 4}, loadedBy(sums(m)), 1e-9)
}

func TestIdleCostIsUndividedBeforeAnyModelWorks(t *testing.T) {
	t.Parallel()
	all := hour(t, Usage{GPUs: []GPU{{Name: "H100", UUID: "a"}}})
	require.InDeltaMapValues(t, map[string]float64{"": 4}, loadedBy(all), 1e-9)
}

func TestInactiveModelsExpire(t *testing.T) {
	t.Parallel()
	shares := map[Owner]Share{}
	old, now := Owner{"a", "old"}, Owner{"a", "new"}
	remember(shares, map[Owner]Share{old: {GPU: 1}}, time.Hour)
	for range 24 * 30 {
		remember(shares, map[Owner]Share{now: {GPU: 1}}, time.Hour)
	}
	require.Len(t, shares, 1)
	require.Equal(t, now, shares[now].Owner)
}

func TestDepartmentMonthIsUsedAndIdleCost(t *testing.T) {
	t.Parallel()
	c := &clock{time.Date(2026, 10, 31, 23, 1, 0, 0, time.UTC)}
	m := open(t, options(t, c, always(Usage{GPUs: []GPU{
		{Name: "H100", UUID: "a", Busy: 0.25, Holders: []Owner{{"risk", "own"}}}, {Name: "H100", UUID: "b"},
	}})))
	require.NoError(t, m.Cycle(t.Context()))
	c.now = time.Date(2026, 11, 1, 1, 1, 0, 0, time.UTC)
	require.NoError(t, m.Cycle(t.Context()))
	months := func() map[Key]float64 {
		all := map[Key]float64{}
		for key, sum := range sums(m) {
			if key.Counter == Monthly || key.Counter == GPUHours {
				all[key] = sum
			}
		}
		return all
	}
	month := func(name string, hours float64) map[Key]float64 {
		return map[Key]float64{
			{Counter: Monthly, Department: "risk", Kind: name}: 4 * hours, {Counter: Monthly, Department: Unallocated, Kind: name}: 4 * hours,
			{Counter: GPUHours, Kind: name}: 2 * hours,
		}
	}
	want := month("2026-10", 1)
	for key, sum := range month("2026-11", 1) {
		want[key] = sum
	}
	require.InDeltaMapValues(t, want, months(), 1e-9)

	// The last three months stay, and older ones go.
	for next := 12; next <= 15; next++ {
		c.now = time.Date(2026, time.Month(next), 1, 0, 6, 0, 0, time.UTC)
		require.NoError(t, m.Cycle(t.Context()))
	}
	found := map[string]bool{}
	for key := range months() {
		found[key.Kind] = true
	}
	require.Equal(t, map[string]bool{"2026-12": true, "2027-01": true, "2027-02": true, "2027-03": true}, found)
}
