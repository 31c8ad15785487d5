// Package metering prices what Prometheus measured: GPUs, requests, tokens, and what else has a query and a price.
//
// Input: usage, by queries to the user's own Prometheus, and prices. Output: counters in Canadian dollars that survive a
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
	// Engines are the models that engines of one's own compute.
	Engines map[Place]bool
	// Requests, Successes and Images are by model, for one second; Tokens by their direction and tier as well.
	Requests, Successes, Images map[string]float64
	Tokens                      map[TokenUse]float64
	// Values are Canadian dollars a second, by model, where a query knows them.
	Values    map[string]float64
	Resources []ResourceUse
	// Gateway is what a gateway says that requests cost, in its currency, for one second.
	Gateway map[Owner]float64
}

// TokenUse is what tokens have in common. Input and output are the whole of a direction, the others parts of it.
type TokenUse struct{ Model, Direction, Tier string }

// Place is a model in a cluster; teams with one cluster have no name for it.
type Place struct{ Cluster, Model string }

// GPU is one card, or a part of one that MIG cut up. Busy is the share of time in which it computed.
type GPU struct {
	Cluster, Name, Node, UUID string
	// Instance is the MIG instance, and Share its share of the card; 0 stands for all of it.
	Instance string
	Share    float64
	Busy     float64
	Holders  []Owner
}

// Owner is whom a cost belongs to; either may be empty.
type Owner struct {
	Department string `json:"department,omitempty"`
	Model      string `json:"model,omitempty"`
}

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
	// Tier is the tier of a model's requests where the query says none, and Month the name of the month of an instant.
	Tier  func(model string) string
	Month func(at time.Time) string
	// Weight says how money that no model explains is divided among models.
	Weight Weight
	// GatewayCurrency is that of a gateway's spend. It counts for models without a price, or with PreferGateway for all.
	GatewayCurrency string
	PreferGateway   bool
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
	// Total is everything that is spent, and Loaded the same with each model's part of what no model explains.
	Total  = "total"
	Loaded = "loaded"
	// Monthly is what a department has spent in a month, and GPUHours for how many hours GPUs were there in it.
	Monthly  = "monthly"
	GPUHours = "gpu_hours"
)

func compareOwners(a, b Owner) int {
	return cmp.Or(cmp.Compare(a.Department, b.Department), cmp.Compare(a.Model, b.Model))
}

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
	Weights []Share       `json:"weights,omitempty"`
}

// Meter is safe for concurrent use.
type Meter struct {
	Options
	lock *os.File

	cycle sync.Mutex // held while steps are priced
	mu    sync.Mutex // guards what follows
	owned bool       // whether nobody else writes the file
	shown counts
	end   time.Time
}

// counts is what has been counted so far.
type counts struct {
	sums   map[Key]float64
	shares map[Owner]Share
}

func newCounts() counts { return counts{map[Key]float64{}, map[Owner]Share{}} }

func (c counts) clone() counts { return counts{maps.Clone(c.sums), maps.Clone(c.shares)} }

// Open returns a meter that shows what its file has. The file is locked by the first Cycle, so that the meter before a
// reload and the one after it can show the same until they change places.
func Open(o Options) (*Meter, error) {
	if o.Source == nil || o.Rate == nil || o.Tier == nil || o.Month == nil || o.Step <= 0 || o.CatchUp < o.Step || o.File == "" || o.MaxSeries < 1 || o.Folded == nil || o.Now == nil || o.Logger == nil {
		return nil, errors.New("a meter needs a source, rates, tiers, months, a step, a file, a limit, a clock and a logger")
	}
	if !o.Weight.valid() {
		return nil, fmt.Errorf("weight %q: expected %s, %s or %s", o.Weight, ByUsage, ByAllocation, NotAtAll)
	}
	return &Meter{Options: o, shown: newCounts()}, nil
}

func (m *Meter) show(s state) {
	c := newCounts()
	for _, sample := range s.Samples {
		c.sums[sample.Key] = sample.Sum
	}
	for _, share := range s.Weights {
		c.shares[share.Owner] = share
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shown, m.end = c, s.Through
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
		if renameErr := os.Rename(m.File, aside); renameErr != nil {
			return errors.Join(err, renameErr, lock.Close())
		}
		m.Logger.Error("The counters of spend are damaged and begin anew", "err", err, "kept_as", aside)
	case err != nil:
		return errors.Join(err, lock.Close())
	}
	// What a process left that was killed while it wrote.
	litter, err := filepath.Glob(m.File + ".*.tmp")
	for _, path := range litter {
		err = errors.Join(err, os.Remove(path))
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
	c, end := m.snapshot()
	if end.IsZero() {
		return m.commit(c, last) // What was before the first start is nobody's business.
	}
	if oldest := last.Add(-m.CatchUp); end.Before(oldest) {
		c.sums[Key{Counter: GapSeconds, Kind: TooOld}] += oldest.Sub(end).Seconds()
		m.Logger.Error("Usage of a time too long ago is not priced", "from", end, "to", oldest)
		end = oldest
	}
	pending := 0
	for next := end.Truncate(m.Step).Add(m.Step); !next.After(last); next = next.Add(m.Step) {
		usage, err := m.Source.Usage(ctx, next, m.Step)
		if err != nil {
			err = fmt.Errorf("usage up to %s: %w", next.UTC().Format(time.RFC3339), err)
			if pending > 0 {
				err = errors.Join(err, m.commit(c, end))
			}
			return err
		}
		if usage.Blind {
			c.sums[Key{Counter: GapSeconds, Kind: NoData}] += m.Step.Seconds()
		} else {
			m.charge(c, usage, next)
		}
		end = next
		if pending++; pending == batch {
			if err := m.commit(c, end); err != nil {
				return err
			}
			pending = 0
		}
	}
	if pending > 0 {
		return m.commit(c, end)
	}
	return nil
}

// snapshot is what the file has. Before it is this Meter's, another one may still write it.
func (m *Meter) snapshot() (counts, time.Time) {
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
	return m.shown.clone(), m.end
}

// commit writes the counters, and shows them only then: what was once seen must not be taken back by a crash.
func (m *Meter) commit(c counts, end time.Time) error {
	s := state{Through: end, Step: m.Step}
	for _, key := range slices.SortedFunc(maps.Keys(c.sums), compareKeys) {
		s.Samples = append(s.Samples, Sample{key, c.sums[key]})
	}
	for _, owner := range slices.SortedFunc(maps.Keys(c.shares), compareOwners) {
		s.Weights = append(s.Weights, c.shares[owner])
	}
	if err := durable.Write(m.File, s); err != nil {
		return fmt.Errorf("keep the counters of spend: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shown, m.end = c.clone(), end
	return nil
}

// Samples returns the counters in order, and the end of the last step in them.
func (m *Meter) Samples() ([]Sample, time.Time) {
	c, end := m.snapshot()
	var all []Sample
	for _, key := range slices.SortedFunc(maps.Keys(c.sums), compareKeys) {
		all = append(all, Sample{key, c.sums[key]})
	}
	return all, end
}

// lockPoll is the time between two tries to take the lock.
const lockPoll = 100 * time.Millisecond

// lockFile takes a lock that ends with the process, however it ends. It waits for it until ctx ends.
func lockFile(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
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
