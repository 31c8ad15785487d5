package metering

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/prices"
)

// Resources of the built-in queries, besides the units that have prices.
const (
	resourceGPU = "gpu"
	// resourceGateway is the cost of requests as reported by a gateway.
	resourceGateway = "gateway"
	// resourceSuccesses is counted as the divisor of cost and has no price.
	resourceSuccesses = "successful_request"
)

// keptMonths is the number of months with their own sums: this one and the last three.
const keptMonths = 4

// Unreconciled is the difference between a total and the sum of its parts. gpu: the cost of GPUs minus that of models,
// idle time and all other users. loaded: the total cost minus the fully loaded cost. Both are zero except for the
// rounding of floating-point sums in another order.
func (m *Meter) Unreconciled() (gpu, loaded float64) {
	c, _ := m.snapshot()
	for key, v := range c.sums {
		switch {
		case key.Counter == GPUTotal:
			gpu += v
		case key.Counter == Idle, key.Counter == Spend && key.Resource == resourceGPU:
			gpu -= v
		case key.Counter == Total:
			loaded += v
		case key.Counter == Loaded:
			loaded -= v
		}
	}
	return gpu, loaded
}

// pool is the cost of a cluster's GPUs for whose holders no rule names a model.
type pool struct {
	busy        float64            // number of busy GPUs
	departments map[string]float64 // cost of the busy time of each holder
	held        map[string]float64 // cost of all time of each holder
}

// step is the cost of one step.
type step struct {
	add    func(Key, float64)
	month  string
	shares map[Owner]Share // cost of the models
	// sharedGPU and shared are the cost of GPUs and of other resources that belongs to no model.
	sharedGPU, shared float64
}

// spend adds cost of an owner.
func (s *step) spend(resource string, o Owner, cost float64) {
	s.add(Key{Counter: Spend, Resource: resource, Department: o.Department, Model: o.Model}, cost)
	s.add(Key{Counter: Monthly, Department: o.Department, Kind: s.month}, cost)
	switch share := s.shares[o]; {
	case o.Model == "" && resource == resourceGPU:
		s.sharedGPU += cost
	case o.Model == "":
		s.shared += cost
	case resource == resourceGPU:
		share.GPU += cost
		s.shares[o] = share
	default:
		share.Other += cost
		s.shares[o] = share
	}
}

// hold adds the cost of GPUs that a model holds, used or not.
func (s *step) hold(o Owner, cost float64) {
	share := s.shares[o]
	share.Held += cost
	s.shares[o] = share
}

// idle adds cost of idle GPUs.
func (s *step) idle(kind, department string, cost float64) {
	s.add(Key{Counter: Idle, Kind: kind, Department: department}, cost)
	s.add(Key{Counter: Monthly, Department: department, Kind: s.month}, cost)
	s.sharedGPU += cost
}

// addPriced adds the cost of usage that is priced by unit.
func (s *step) addPriced(resource string, o Owner, cost float64, counter string) {
	s.spend(resource, o, cost)
	s.add(Key{Counter: Total}, cost)
	s.add(Key{Counter: counter}, cost)
}

// adder returns a function that adds to counters, within the limit.
func (m *Meter) adder(sums map[Key]float64) func(Key, float64) {
	return func(key Key, v float64) {
		if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
			return
		}
		if _, ok := sums[key]; !ok && len(sums) >= m.MaxSeries {
			// The amount is not lost: it counts under Other.
			m.Folded()
			if key.Department != "" {
				key.Department = Other
			}
			if key.Model != "" {
				key.Model = Other
			}
		}
		sums[key] += v
	}
}

// charge adds one step to the counters.
func (m *Meter) charge(c counts, u Usage, at time.Time) {
	s := &step{add: m.adder(c.sums), month: m.Month(at.Add(-m.Step / 2)), shares: map[Owner]Share{}}
	forgetMonths(c.sums, s.month)
	// A model for which a rule names GPUs costs its share of them, even if a list has a price for its name.
	named := map[string]bool{}
	pools := m.chargeGPUs(s, u, at, named)
	selfHosted := func(model string) bool { return named[model] || m.SelfHosted(model) }
	// An engine runs on GPUs whose cost is already counted. A list price for the same name would count its cost a
	// second time.
	computed := map[string]bool{}
	for engine := range u.Engines {
		computed[engine.Model] = computed[engine.Model] || pools[engine.Cluster] != nil && !m.Prices.Configured(engine.Model, at)
	}
	onOwnGPUs := func(model string) bool { return selfHosted(model) || computed[model] }
	uses := u.uses(func(unit prices.Unit, tier, model string) bool {
		_, ok := m.Prices.InTier(unit, cmp.Or(tier, m.Tier(model)), model, at)
		return ok
	})
	bought := map[string]bool{}
	for _, use := range uses {
		if _, ok := m.priceOf(use, at); ok && !onOwnGPUs(use.model) {
			bought[use.model] = true
		}
	}
	billed := m.gatewayModels(u, at, func(model string) bool { return onOwnGPUs(model) || bought[model] && !m.PreferGateway })
	chargedElsewhere := func(model string) bool { return selfHosted(model) || bought[model] || billed[model] }
	hosted := m.chargePools(s, u, pools, chargedElsewhere)
	m.chargeResources(s, u, at)
	m.chargeGateway(s, u, at, billed)

	seconds, withTokens := m.Step.Seconds(), u.modelsWithTokens()
	for _, use := range uses {
		units := use.perSecond * seconds
		s.add(Key{Counter: Units, Resource: string(use.unit), Model: use.model}, units)
		price, ok := m.priceOf(use, at)
		switch {
		case onOwnGPUs(use.model), billed[use.model]:
			// Its cost is the cost of GPUs, or the spend reported by the gateway.
		case ok:
			s.addPriced(string(use.unit), m.owner(use.model, ""), units*price, Infrastructure)
		case use.unit == prices.Request && (bought[use.model] || withTokens[use.model]):
			// It is priced by the token, and only its tokens are missing.
		case !bought[use.model] && hosted[use.model]:
			// Its cost is the cost of GPUs.
		default:
			s.add(Key{Counter: Unpriced, Resource: string(use.unit), Model: use.model}, units)
		}
	}
	for model, perSecond := range u.Successes {
		s.add(Key{Counter: Units, Resource: resourceSuccesses, Model: model}, perSecond*seconds)
		if _, known := u.Values[model]; known {
			continue
		}
		if value, ok := m.Value(model); ok {
			s.add(Key{Counter: Value, Model: model}, perSecond*seconds*value)
		}
	}
	for model, perSecond := range u.Values {
		s.add(Key{Counter: Value, Model: model}, perSecond*seconds)
	}
	remember(c.shares, s.shares, m.Step)
	m.load(s, c.shares)
}

// forgetMonths removes the sums of months that are no longer kept.
func forgetMonths(sums map[Key]float64, now string) {
	if _, ok := sums[Key{Counter: GPUHours, Kind: now}]; ok {
		return // The month has not changed.
	}
	months := map[string]bool{now: true}
	for key := range sums {
		if key.Counter == Monthly || key.Counter == GPUHours {
			months[key.Kind] = true
		}
	}
	sorted := slices.Sorted(maps.Keys(months))
	old := sorted[:max(len(sorted)-keptMonths, 0)]
	maps.DeleteFunc(sums, func(key Key, _ float64) bool {
		return (key.Counter == Monthly || key.Counter == GPUHours) && slices.Contains(old, key.Kind)
	})
}

func (m *Meter) priceOf(u use, at time.Time) (float64, bool) {
	return m.Prices.InTier(u.unit, cmp.Or(u.tier, m.Tier(u.model)), u.model, at)
}

// owner is the department and model that a model's cost belongs to.
func (m *Meter) owner(model, department string) Owner {
	return Owner{cmp.Or(m.Department(model), department, Unallocated), model}
}

// chargeGPUs adds the cost of GPUs. It returns the remaining cost by cluster, for models that no rule names.
func (m *Meter) chargeGPUs(s *step, u Usage, at time.Time, named map[string]bool) map[string]*pool {
	pools := map[string]*pool{}
	for _, g := range u.GPUs {
		hours := m.Step.Hours() * cmp.Or(g.Share, 1)
		s.add(Key{Counter: GPUHours, Kind: s.month}, hours)
		price, ok := m.Prices.Price(prices.GPUHour, g.Name, g.Node, at)
		if !ok {
			s.add(Key{Counter: Unpriced, Resource: string(prices.GPUHour), Model: g.Name}, hours)
			continue
		}
		cost := price * hours
		ratio := min(max(g.Busy, 0), 1)
		busy := cost * ratio
		s.add(Key{Counter: GPUTotal}, cost)
		s.add(Key{Counter: Infrastructure}, cost)
		s.add(Key{Counter: Total}, cost)
		if len(g.Holders) == 0 {
			s.idle(Unallocated, Unallocated, cost-busy)
			s.spend(resourceGPU, Owner{Department: Unallocated}, busy)
			continue
		}
		share := 1 / float64(len(g.Holders))
		for _, h := range g.Holders {
			department := cmp.Or(h.Department, Unallocated)
			s.idle(Allocated, department, (cost-busy)*share)
			if h.Model != "" {
				named[h.Model] = true
				s.spend(resourceGPU, Owner{department, h.Model}, busy*share)
				s.hold(Owner{department, h.Model}, cost*share)
				continue
			}
			p := pools[g.Cluster]
			if p == nil {
				p = &pool{departments: map[string]float64{}, held: map[string]float64{}}
				pools[g.Cluster] = p
			}
			p.busy += ratio * share * cmp.Or(g.Share, 1)
			p.departments[department] += busy * share
			p.held[department] += cost * share
		}
	}
	return pools
}

// chargePools divides pools among the models that were busy in their cluster, and returns those models.
func (m *Meter) chargePools(s *step, u Usage, pools map[string]*pool, elsewhere func(string) bool) map[string]bool {
	hosted := map[string]bool{}
	for cluster, p := range pools {
		weights, sum := map[string]float64{}, 0.0
		for engine, working := range u.Working {
			if engine.Cluster == cluster && !elsewhere(engine.Model) {
				weights[engine.Model] = working
				sum += working
			}
		}
		// Requests in a batch overlap, so that the models together can be busy for longer than the GPUs.
		total := max(p.busy, sum)
		for department, cost := range p.departments {
			rest := cost
			for model, working := range weights {
				if working == 0 {
					continue // total may be 0 as well
				}
				part := cost * working / total
				rest -= part
				s.spend(resourceGPU, m.owner(model, department), part)
				s.hold(m.owner(model, department), p.held[department]*working/sum)
			}
			s.spend(resourceGPU, Owner{Department: department}, max(rest, 0))
		}
		for model := range weights {
			hosted[model] = true
		}
	}
	return hosted
}

func (m *Meter) chargeResources(s *step, u Usage, at time.Time) {
	for _, r := range u.Resources {
		resource := m.Resources[r.Name]
		units := r.Units * m.Step.Hours()
		rate, ok := m.Rate(resource.Currency, at)
		if !ok {
			s.add(Key{Counter: Unpriced, Resource: r.Name}, units)
			continue
		}
		counter := Infrastructure
		if resource.Observability {
			counter = Observability
		}
		s.addPriced(r.Name, Owner{cmp.Or(r.Owner.Department, Unallocated), r.Owner.Model}, units*resource.PerHour*rate, counter)
	}
}

// gatewayModels are the models for which a gateway's own spend counts.
func (m *Meter) gatewayModels(u Usage, at time.Time, priced func(model string) bool) map[string]bool {
	models := map[string]bool{}
	if len(u.Gateway) == 0 {
		return models // The rate of its currency is not needed.
	}
	if _, ok := m.Rate(m.GatewayCurrency, at); !ok {
		return models
	}
	for owner, perSecond := range u.Gateway {
		if perSecond > 0 && !priced(owner.Model) {
			models[owner.Model] = true
		}
	}
	return models
}

func (m *Meter) chargeGateway(s *step, u Usage, at time.Time, billed map[string]bool) {
	if len(billed) == 0 {
		return
	}
	rate, _ := m.Rate(m.GatewayCurrency, at) // Without a rate, gatewayModels is empty.
	for owner, perSecond := range u.Gateway {
		if billed[owner.Model] {
			s.addPriced(resourceGateway, m.owner(owner.Model, owner.Department), perSecond*m.Step.Seconds()*rate, Infrastructure)
		}
	}
}
