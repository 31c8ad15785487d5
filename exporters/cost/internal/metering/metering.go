// Package metering prices what Prometheus measured: GPUs, requests, tokens, and what else has a query and a price.
//
// In flow usage, by queries to the user's own Prometheus, and prices. Out flow counters in Canadian dollars that survive a
// restart, a crash and an outage of Prometheus without losing or repeating an interval.
//
// Time is cut into steps of a grid. A step is priced once it is over, from the average use within it, and the end of the
// last step that was priced is kept in the same file as the counters, replaced at once. So a crash repeats a step or
// it does not, but the counters never have half of it; and after an outage the steps that were missed are priced from
// what Prometheus still has. A Meter owns that file, and a lock on it.
package metering

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/durable"
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/prices"
)

// Kinds of idle time of a GPU.
const (
	Unallocated = "unallocated" // nobody holds it
	Allocated   = "allocated"   // somebody holds it, and does not use it
)

// Kinds of time that is not priced.
const (
	TooOld = "too_old" // Prometheus did not answer for longer than CatchUp
	NoData = "no_data" // Prometheus was down
)

// Other is what labels past the limit fold into.
const Other = "other"

// Method is how the cost of a GPU is divided: a holder pays for the time in which the GPU was busy, and the rest is idle.
// Where a rule does not say which model a holder is, the models that were at work in the GPU's cluster pay by the time for
// which they were, and what they do not explain stays without a model.
const Method = "busy_time"

// Usage is what was used in one step, on average.
type Usage struct {
	// Blind says that Prometheus itself has nothing of the step: it was down.
	Blind bool
	GPUs  []GPU
	// Working is for how much of a second each model was at work in each second; more than one where requests overlap.
	Working map[Place]float64
	// Requests, Successes and tokens are by model, for one second.
	Requests, Successes map[string]float64
	// Values are Canadian dollars a second, by model, where a query knows them.
	Values       map[string]float64
	InputTokens  map[string]float64
	OutputTokens map[string]float64
	Resources    []ResourceUse
}

// Place is a model in a cluster; teams with one cluster have no name for it.
type Place struct{ Cluster, Model string }

// GPU is one card. Busy is the share of time in which it computed.
type GPU struct {
	Cluster, Name, Node, UUID string
	Busy                      float64
	Holders                   []Owner
}

// Owner is whom a cost belongs to; either may be empty.
type Owner struct{ Department, Model string }

// ResourceUse is the use of a resource of the configuration by one owner: how many units, on average.
type ResourceUse struct {
	Name  string
	Owner Owner
	Units float64
}

// Source says what was used in a step that ended at an instant.
type Source interface {
	Usage(ctx context.Context, end time.Time, step time.Duration) (Usage, error)
}

// Resource is something with a price of its own.
type Resource struct {
	// PerHour is the price of a unit for an hour, in Currency.
	PerHour       float64
	Currency      string
	Observability bool
}

// Options of a Meter.
type Options struct {
	Source Source
	Prices prices.Book
	// Rate converts the prices of resources.
	Rate      prices.Rate
	Resources map[string]Resource
	// Department is whose a model's requests and tokens are, and SelfHosted says that a model runs on GPUs of one's own: it
	// needs no price of requests or tokens.
	Department func(model string) string
	SelfHosted func(model string) bool
	// Value is what a successful inference of a model is worth, in Canadian dollars.
	Value func(model string) (float64, bool)

	File               string
	Step, Lag, CatchUp time.Duration
	// MaxSeries bounds the counters; Folded is called for what becomes a part of Other past it.
	MaxSeries int
	Folded    func()
	Now       func() time.Time
	Logger    *slog.Logger
}

// Key is a counter with the values of its labels.
type Key struct {
	Counter    string `json:"counter"`
	Department string `json:"department,omitempty"`
	Resource   string `json:"resource,omitempty"`
	Model      string `json:"model,omitempty"`
	Kind       string `json:"kind,omitempty"`
}

// Counters.
const (
	Spend          = "spend"
	GPUTotal       = "gpu"
	Idle           = "idle"
	Observability  = "observability"
	Infrastructure = "infrastructure"
	Value          = "value"
	Units          = "units"
	Unpriced       = "unpriced"
	GapSeconds     = "gap_seconds"
)

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Counter, b.Counter), cmp.Compare(a.Department, b.Department), cmp.Compare(a.Resource, b.Resource),
		cmp.Compare(a.Model, b.Model), cmp.Compare(a.Kind, b.Kind))
}

// Sample is a counter with its value.
type Sample struct {
	Key
	Sum float64 `json:"value"`
}

// state is what the file has.
type state struct {
	// Through is the end of the last step that was priced.
	Through time.Time     `json:"through"`
	Step    time.Duration `json:"step"`
	Samples []Sample      `json:"samples"`
}

// Meter is safe for concurrent use.
type Meter struct {
	Options
	lock *os.File

	cycle sync.Mutex // held while steps are priced
	mu    sync.Mutex // guards what follows
	owned bool       // whether nobody else writes the file
	shown map[Key]float64
	end   time.Time
}

// Open returns a meter that shows what its file has. The file is locked by the first Cycle, so that the meter before a
// reload and the one after it can show the same until they change places.
func Open(o Options) (*Meter, error) {
	if o.Source == nil || o.Rate == nil || o.Step <= 0 || o.CatchUp < o.Step || o.File == "" || o.MaxSeries < 1 || o.Folded == nil || o.Now == nil || o.Logger == nil {
		return nil, errors.New("a meter needs a source, rates, a step, a file, a limit, a clock and a logger")
	}
	return &Meter{Options: o, shown: map[Key]float64{}}, nil
}

func (m *Meter) show(s state) {
	sums := make(map[Key]float64, len(s.Samples))
	for _, sample := range s.Samples {
		sums[sample.Key] = sample.Sum
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shown, m.end = sums, s.Through
}

// own takes the lock, for which it waits, and reads the file as the one before left it. A damaged one is set aside and the
// counters begin anew: a counter that falls to zero is a reset, which Prometheus understands.
func (m *Meter) own(ctx context.Context) error {
	if m.lock != nil {
		return nil
	}
	lock, err := lockFile(ctx, m.File+".lock")
	if err != nil {
		return err
	}
	var s state
	err = durable.Read(m.File, &s)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, durable.ErrDamaged):
		aside := fmt.Sprintf("%s.damaged-%d", m.File, m.Now().Unix())
		if renameErr := os.Rename(m.File, aside); renameErr != nil { //nolint:gosec // The operator names the folder.
			return errors.Join(err, renameErr, lock.Close())
		}
		m.Logger.Error("The counters of spend are damaged and begin anew", "err", err, "kept_as", aside)
	case err != nil:
		return errors.Join(err, lock.Close())
	}
	// What a process left that was killed while it wrote.
	litter, err := filepath.Glob(m.File + ".*.tmp")
	for _, path := range litter {
		err = errors.Join(err, os.Remove(path)) //nolint:gosec // The operator names the folder.
	}
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	m.show(s)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lock, m.owned = lock, true
	return nil
}

// Close gives the lock back.
func (m *Meter) Close() error {
	m.cycle.Lock()
	defer m.cycle.Unlock()
	if m.lock == nil {
		return nil
	}
	return m.lock.Close()
}

// batch is how many steps are priced between two writes of the file.
const batch = 12

// Cycle prices the steps that are over. An error leaves those that are not priced for the next cycle.
func (m *Meter) Cycle(ctx context.Context) error {
	m.cycle.Lock()
	defer m.cycle.Unlock()
	if err := m.own(ctx); err != nil {
		return fmt.Errorf("counters of spend: %w", err)
	}
	last := m.Now().Add(-m.Lag).Truncate(m.Step)
	sums, end := m.snapshot()
	if end.IsZero() {
		return m.commit(sums, last) // What was before the first start is nobody's business.
	}
	if oldest := last.Add(-m.CatchUp); end.Before(oldest) {
		sums[Key{Counter: GapSeconds, Kind: TooOld}] += oldest.Sub(end).Seconds()
		m.Logger.Error("Usage of a time too long ago is not priced", "from", end, "to", oldest)
		end = oldest
	}
	pending := 0
	for next := end.Truncate(m.Step).Add(m.Step); !next.After(last); next = next.Add(m.Step) {
		usage, err := m.Source.Usage(ctx, next, m.Step)
		if err != nil {
			err = fmt.Errorf("usage up to %s: %w", next.UTC().Format(time.RFC3339), err)
			if pending > 0 {
				err = errors.Join(err, m.commit(sums, end))
			}
			return err
		}
		if usage.Blind {
			sums[Key{Counter: GapSeconds, Kind: NoData}] += m.Step.Seconds()
		} else {
			m.charge(sums, usage, next)
		}
		end = next
		if pending++; pending == batch {
			if err := m.commit(sums, end); err != nil {
				return err
			}
			pending = 0
		}
	}
	if pending > 0 {
		return m.commit(sums, end)
	}
	return nil
}

// snapshot is what the file has. Before it is this Meter's, another one may still write it.
func (m *Meter) snapshot() (map[Key]float64, time.Time) {
	m.mu.Lock()
	owned := m.owned
	m.mu.Unlock()
	var s state
	// What is wrong with the file is the first Cycle's matter.
	if !owned && durable.Read(m.File, &s) == nil {
		m.show(s)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.shown), m.end
}

// commit writes the counters, and shows them only then: what was once seen must not be taken back by a crash.
func (m *Meter) commit(sums map[Key]float64, end time.Time) error {
	s := state{Through: end, Step: m.Step}
	for _, key := range slices.SortedFunc(maps.Keys(sums), compareKeys) {
		s.Samples = append(s.Samples, Sample{key, sums[key]})
	}
	if err := durable.Write(m.File, s); err != nil {
		return fmt.Errorf("keep the counters of spend: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shown, m.end = maps.Clone(sums), end
	return nil
}

// Samples returns the counters in order, and the end of the last step in them.
func (m *Meter) Samples() ([]Sample, time.Time) {
	sums, end := m.snapshot()
	var all []Sample
	for _, key := range slices.SortedFunc(maps.Keys(sums), compareKeys) {
		all = append(all, Sample{key, sums[key]})
	}
	return all, end
}

// Unreconciled is what models, idle time and everybody else do not explain of what the GPUs cost. It is zero but for what
// adding up floating-point numbers in another order costs.
func (m *Meter) Unreconciled() float64 {
	sums, _ := m.snapshot()
	rest := 0.0
	for key, v := range sums {
		switch {
		case key.Counter == GPUTotal:
			rest += v
		case key.Counter == Idle, key.Counter == Spend && key.Resource == resourceGPU:
			rest -= v
		}
	}
	return rest
}

// Resources of the built-in queries, beside the units that have prices.
const (
	resourceGPU = "gpu"
	// resourceSuccesses is counted, to divide by, and has no price.
	resourceSuccesses = "successful_request"
)

// pool is what the busy time of a cluster's GPUs costs for which no rule names a model.
type pool struct {
	busy        float64            // GPUs
	departments map[string]float64 // of the holders
}

// uses are the rates of what can have a price for each use.
func (u Usage) uses() map[prices.Unit]map[string]float64 {
	return map[prices.Unit]map[string]float64{prices.Request: u.Requests, prices.InputToken: u.InputTokens, prices.OutputToken: u.OutputTokens}
}

// bought are the models that have a price for any use, and are none's own: they run elsewhere.
func (m *Meter) bought(u Usage, at time.Time, own func(string) bool) map[string]bool {
	all := map[string]bool{}
	for unit, rates := range u.uses() {
		for model := range rates {
			if _, ok := m.Prices.Price(unit, model, "", at); ok && !own(model) {
				all[model] = true
			}
		}
	}
	return all
}

// charge adds one step to the counters.
func (m *Meter) charge(sums map[Key]float64, u Usage, at time.Time) {
	add := func(key Key, v float64) {
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
	hours, seconds := m.Step.Hours(), m.Step.Seconds()
	pools := map[string]*pool{}
	named, hosted := map[string]bool{}, map[string]bool{} // models that run on GPUs of one's own: by a rule, and by what is left
	for _, g := range u.GPUs {
		price, ok := m.Prices.Price(prices.GPUHour, g.Name, g.Node, at)
		if !ok {
			add(Key{Counter: Unpriced, Resource: string(prices.GPUHour), Model: g.Name}, hours)
			continue
		}
		cost := price * hours
		ratio := min(max(g.Busy, 0), 1)
		busy := cost * ratio
		add(Key{Counter: GPUTotal}, cost)
		add(Key{Counter: Infrastructure}, cost)
		if len(g.Holders) == 0 {
			add(Key{Counter: Idle, Kind: Unallocated, Department: Unallocated}, cost-busy)
			add(Key{Counter: Spend, Resource: resourceGPU, Department: Unallocated}, busy)
			continue
		}
		share := 1 / float64(len(g.Holders))
		for _, h := range g.Holders {
			department := cmp.Or(h.Department, Unallocated)
			add(Key{Counter: Idle, Kind: Allocated, Department: department}, (cost-busy)*share)
			if h.Model != "" {
				named[h.Model] = true
				add(Key{Counter: Spend, Resource: resourceGPU, Department: department, Model: h.Model}, busy*share)
				continue
			}
			p := pools[g.Cluster]
			if p == nil {
				p = &pool{departments: map[string]float64{}}
				pools[g.Cluster] = p
			}
			p.busy += ratio * share
			p.departments[department] += busy * share
		}
	}
	// A model that a rule says runs on GPUs of one's own costs what they cost, also if a list has a price for its name.
	own := func(model string) bool { return named[model] || m.SelfHosted(model) }
	bought := m.bought(u, at, own)
	for cluster, p := range pools {
		weights, total := map[string]float64{}, p.busy
		sum := 0.0
		for place, working := range u.Working {
			if place.Cluster == cluster && !own(place.Model) && !bought[place.Model] {
				weights[place.Model] = working
				sum += working
			}
		}
		// Requests in a batch overlap: together they can be at work for longer than the GPUs.
		total = max(total, sum)
		for department, cost := range p.departments {
			rest := cost
			for model, working := range weights {
				if working == 0 {
					continue // and total may be 0 as well
				}
				part := cost * working / total
				rest -= part
				add(Key{Counter: Spend, Resource: resourceGPU, Department: cmp.Or(m.Department(model), department), Model: model}, part)
			}
			add(Key{Counter: Spend, Resource: resourceGPU, Department: department}, max(rest, 0))
		}
		for model := range weights {
			hosted[model] = true
		}
	}
	for _, r := range u.Resources {
		resource := m.Resources[r.Name]
		rate, ok := m.Rate(resource.Currency, at)
		if !ok {
			add(Key{Counter: Unpriced, Resource: r.Name}, r.Units*hours)
			continue
		}
		cost := r.Units * hours * resource.PerHour * rate
		add(Key{Counter: Spend, Resource: r.Name, Department: cmp.Or(r.Owner.Department, Unallocated), Model: r.Owner.Model}, cost)
		if resource.Observability {
			add(Key{Counter: Observability}, cost)
		} else {
			add(Key{Counter: Infrastructure}, cost)
		}
	}
	for unit, rates := range u.uses() {
		for model, perSecond := range rates {
			add(Key{Counter: Units, Resource: string(unit), Model: model}, perSecond*seconds)
			price, ok := m.Prices.Price(unit, model, "", at)
			switch {
			case own(model):
				// GPUs are what it costs.
			case ok:
				m.sell(add, unit, model, perSecond*seconds*price)
			case unit == prices.Request && (bought[model] || u.InputTokens[model]+u.OutputTokens[model] > 0):
				// It is bought by the token, and tokens are what is missed.
			case !bought[model] && hosted[model]:
				// GPUs are what it costs.
			default:
				add(Key{Counter: Unpriced, Resource: string(unit), Model: model}, perSecond*seconds)
			}
		}
	}
	for model, perSecond := range u.Successes {
		add(Key{Counter: Units, Resource: resourceSuccesses, Model: model}, perSecond*seconds)
		if _, known := u.Values[model]; known {
			continue
		}
		if value, ok := m.Value(model); ok {
			add(Key{Counter: Value, Model: model}, perSecond*seconds*value)
		}
	}
	for model, perSecond := range u.Values {
		add(Key{Counter: Value, Model: model}, perSecond*seconds)
	}
}

// sell adds what is bought by use.
func (m *Meter) sell(add func(Key, float64), unit prices.Unit, model string, cost float64) {
	add(Key{Counter: Spend, Resource: string(unit), Department: cmp.Or(m.Department(model), Unallocated), Model: model}, cost)
	add(Key{Counter: Infrastructure}, cost)
}

// lockPoll is the time between two tries to take the lock.
const lockPoll = 100 * time.Millisecond

// lockFile takes a lock that ends with the process, however it ends. It waits for it until ctx ends.
func lockFile(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // The operator names the folder.
	if err != nil {
		return nil, err
	}
	for err = flock(f); err != nil; err = flock(f) {
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%s is held by another process, and two would count everything twice: %w", path, err), f.Close())
		case <-time.After(lockPoll):
		}
	}
	return f, nil
}
