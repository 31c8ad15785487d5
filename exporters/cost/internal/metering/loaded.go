package metering

import (
	"maps"
	"math"
	"slices"
	"time"
)

// Weight says how money is divided among models that none of them explains: idle time of GPUs, GPU work without a model, and
// other resources without one.
type Weight string

// Weights.
const (
	// ByUsage divides what GPUs cost by what models used of them, and other money by what models cost.
	ByUsage Weight = "usage"
	// ByAllocation divides it by what the GPUs cost that models hold, used or not.
	ByAllocation Weight = "allocation"
	// NotAtAll leaves it without a model.
	NotAtAll Weight = "none"
)

func (w Weight) valid() bool { return w == ByUsage || w == ByAllocation || w == NotAtAll }

// memory is how long use counts as a weight: what is idle at night is paid for by those who worked in the day.
const memory = 24 * time.Hour

// negligible is the share of all weights below which a model that does not work any more is forgotten.
const negligible = 1e-9

// Share is what a model has cost lately: each step counts by the less the longer it is over.
type Share struct {
	Owner
	// GPU is what it used of GPUs, Held what the GPUs cost that it held, and Other what else it cost.
	GPU   float64 `json:"gpu"`
	Held  float64 `json:"held"`
	Other float64 `json:"other"`
}

func (s Share) sum() float64 { return s.GPU + s.Held + s.Other }

// remember lets what was there fade, and adds a step.
func remember(shares map[Owner]Share, step map[Owner]Share, length time.Duration) {
	fade := math.Exp(-length.Hours() / memory.Hours())
	total := 0.0
	for owner, s := range shares {
		s.GPU, s.Held, s.Other = s.GPU*fade, s.Held*fade, s.Other*fade
		shares[owner] = s
	}
	for owner, now := range step {
		s := shares[owner]
		s.Owner, s.GPU, s.Held, s.Other = owner, s.GPU+now.GPU, s.Held+now.Held, s.Other+now.Other
		shares[owner] = s
	}
	for _, s := range shares {
		total += s.sum()
	}
	maps.DeleteFunc(shares, func(_ Owner, s Share) bool { return s.sum() <= negligible*total })
}

// load divides what a step cost that no model explains. Without a model that has ever worked it has none.
func (m *Meter) load(s *step, shares map[Owner]Share) {
	for owner, own := range s.shares {
		s.add(Key{Counter: Loaded, Department: owner.Department, Model: owner.Model}, own.GPU+own.Other)
	}
	gpus := func(s Share) float64 { return s.GPU }
	all := func(s Share) float64 { return s.GPU + s.Other }
	switch m.Weight {
	case ByUsage:
	case ByAllocation:
		gpus = func(s Share) float64 { return s.Held }
		all = func(s Share) float64 { return s.Held + s.Other }
	case NotAtAll:
		s.add(Key{Counter: Loaded, Department: Unallocated}, s.sharedGPU+s.shared)
		return
	}
	sum := func(weigh func(Share) float64) (total float64) {
		for _, s := range shares {
			total += weigh(s)
		}
		return total
	}
	if sum(gpus) == 0 {
		gpus = all
	}
	for _, part := range []struct {
		cost  float64
		weigh func(Share) float64
	}{{s.sharedGPU, gpus}, {s.shared, all}} {
		total := sum(part.weigh)
		if total == 0 {
			s.add(Key{Counter: Loaded, Department: Unallocated}, part.cost)
			continue
		}
		for _, owner := range slices.SortedFunc(maps.Keys(shares), compareOwners) {
			s.add(Key{Counter: Loaded, Department: owner.Department, Model: owner.Model}, part.cost*part.weigh(shares[owner])/total)
		}
	}
}
