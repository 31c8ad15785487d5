package metering

import (
	"maps"
	"math"
	"slices"
	"time"
)

// Weight is how cost that belongs to no model is divided among models: idle time of GPUs, GPU work without a model, and
// other resources without a model.
type Weight string

// The weights.
const (
	// ByUsage divides GPU cost by the GPU cost that models used, and other cost by the cost of models.
	ByUsage Weight = "usage"
	// ByAllocation divides it by the cost of the GPUs that models hold, used or not.
	ByAllocation Weight = "allocation"
	// NotAtAll leaves it without a model.
	NotAtAll Weight = "none"
)

func (w Weight) valid() bool { return w == ByUsage || w == ByAllocation || w == NotAtAll }

// memory is the time after which the weight of a cost has fallen to 1/e. So models that work in the day pay for GPUs
// that are idle at night.
const memory = 24 * time.Hour

// negligible is the share of all weights below which a model without work is forgotten.
const negligible = 1e-9

// Share is the recent cost of a model. The weight of a step falls with its age.
type Share struct {
	Owner
	// GPU is the GPU cost that the model used, Held the cost of the GPUs that it held, and Other its other cost.
	GPU   float64 `json:"gpu"`
	Held  float64 `json:"held"`
	Other float64 `json:"other"`
}

func (s Share) sum() float64 { return s.GPU + s.Held + s.Other }

// remember reduces the existing weights by the length of a step, and adds the step.
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

// load divides the cost of a step that belongs to no model. If no model has ever worked, it stays without a model.
func (m *Meter) load(s *step, shares map[Owner]Share) {
	for owner, share := range s.shares {
		s.add(Key{Counter: Loaded, Department: owner.Department, Model: owner.Model}, share.GPU+share.Other)
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
