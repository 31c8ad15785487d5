package metering

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/prices"
)

// Resources of the built-in queries, beside the units that have prices.
const (
	resourceGPU = "gpu"
	// resourceGateway is what a gateway says that requests cost.
	resourceGateway = "gateway"
	// resourceSuccesses is counted, to divide by, and has no price.
	resourceSuccesses = "successful_request"
)

// keptMonths is how many months have sums of their own: this one and the last three.
const keptMonths = 4

// Unreconciled is what the parts do not explain of the whole: of what the GPUs cost, models, idle time and everybody else; and
// of all that was spent, the fully loaded cost. Both are zero but for what adding up floating-point numbers in another order
// costs.
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

// pool is what the GPUs of a cluster cost whose holders no rule names a model of.
type pool struct {
	busy        float64            // GPUs
	departments map[string]float64 // what the busy time of each holder costs
	held        map[string]float64 // and the whole time
}

// step is what one step costs.
type step struct {
	add    func(Key, float64)
	month  string
	shares map[Owner]Share // of the models
	// sharedGPU and shared are what GPUs and other things cost that no model explains.
	sharedGPU, shared float64
}

// spend adds what belongs to somebody.
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

// hold adds what the GPUs cost that a model has, used or not.
func (s *step) hold(o Owner, cost float64) {
	share := s.shares[o]
	share.Held += cost
	s.shares[o] = share
}

// idle adds what GPUs cost that compute nothing.
func (s *step) idle(kind, department string, cost float64) {
	s.add(Key{Counter: Idle, Kind: kind, Department: department}, cost)
	s.add(Key{Counter: Monthly, Department: department, Kind: s.month}, cost)
	s.sharedGPU += cost
}

// buy adds something whose price is all that it costs.
func (s *step) buy(resource string, o Owner, cost float64, counter string) {
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
			// Nothing is lost: the sum has it under another name.
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
	// A model that a rule says runs on GPUs of one's own costs what they cost, also if a list has a price for its name.
	named := map[string]bool{}
	pools := m.chargeGPUs(s, u, at, named)
	own := func(model string) bool { return named[model] || m.SelfHosted(model) }
	// An engine computes on GPUs that are paid for: a list's price of the same name would be the second for it.
	computed := map[string]bool{}
	for place := range u.Engines {
		computed[place.Model] = computed[place.Model] || pools[place.Cluster] != nil && !m.Prices.Configured(place.Model, at)
	}
	here := func(model string) bool { return own(model) || computed[model] }
	uses := u.uses(func(unit prices.Unit, tier, model string) bool {
		_, ok := m.Prices.InTier(unit, cmp.Or(tier, m.Tier(model)), model, at)
		return ok
	})
	bought := map[string]bool{}
	for _, use := range uses {
		if _, ok := m.priceOf(use, at); ok && !here(use.model) {
			bought[use.model] = true
		}
	}
	billed := m.gatewayModels(u, at, func(model string) bool { return here(model) || bought[model] && !m.PreferGateway })
	elsewhere := func(model string) bool { return own(model) || bought[model] || billed[model] }
	hosted := m.chargePools(s, u, pools, elsewhere)
	m.chargeResources(s, u, at)
	m.chargeGateway(s, u, at, billed)

	seconds, talks := m.Step.Seconds(), u.talks()
	for _, use := range uses {
		units := use.perSecond * seconds
		s.add(Key{Counter: Units, Resource: string(use.unit), Model: use.model}, units)
		price, ok := m.priceOf(use, at)
		switch {
		case here(use.model), billed[use.model]:
			// GPUs are what it costs, or the gateway has said it.
		case ok:
			s.buy(string(use.unit), m.owner(use.model, ""), units*price, Infrastructure)
		case use.unit == prices.Request && (bought[use.model] || talks[use.model]):
			// It is bought by the token, and tokens are what is missed.
		case !bought[use.model] && hosted[use.model]:
			// GPUs are what it costs.
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

// forgetMonths removes the sums of months that are over for long.
func forgetMonths(sums map[Key]float64, now string) {
	if _, ok := sums[Key{Counter: GPUHours, Kind: now}]; ok {
		return // It is not a new month.
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

// owner is whom a model's cost belongs to.
func (m *Meter) owner(model, department string) Owner {
	return Owner{cmp.Or(m.Department(model), department, Unallocated), model}
}

// chargeGPUs adds what GPUs cost, and returns by cluster what is left of them for models that no rule names.
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

// chargePools divides pools among the models that were at work there, and returns those models.
func (m *Meter) chargePools(s *step, u Usage, pools map[string]*pool, elsewhere func(string) bool) map[string]bool {
	hosted := map[string]bool{}
	for cluster, p := range pools {
		weights, sum := map[string]float64{}, 0.0
		for place, working := range u.Working {
			if place.Cluster == cluster && !elsewhere(place.Model) {
				weights[place.Model] = working
				sum += working
			}
		}
		// Requests in a batch overlap: together they can be at work for longer than the GPUs.
		total := max(p.busy, sum)
		for department, cost := range p.departments {
			rest := cost
			for model, working := range weights {
				if working == 0 {
					continue // and total may be 0 as well
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
		s.buy(r.Name, Owner{cmp.Or(r.Owner.Department, Unallocated), r.Owner.Model}, units*resource.PerHour*rate, counter)
	}
}

// gatewayModels are the models for which a gateway's word is taken.
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
	rate, _ := m.Rate(m.GatewayCurrency, at) // Without one, gatewayModels has none.
	for owner, perSecond := range u.Gateway {
		if billed[owner.Model] {
			s.buy(resourceGateway, m.owner(owner.Model, owner.Department), perSecond*m.Step.Seconds()*rate, Infrastructure)
		}
	}
}
