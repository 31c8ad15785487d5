// Package metering prices the usage that Prometheus measured: GPUs, requests, tokens, and other resources with a query
// and a price.
//
// Input: usage, by queries to the user's own Prometheus, and prices.
//
// Output: counters in Canadian dollars. A restart, a crash or an outage of Prometheus loses and repeats no interval.
//
// State: a Meter owns one file and a lock on it. Time is divided into steps of a grid. A step is priced after its end,
// by its mean usage. The end of the last priced step is in the same file as the counters, which is replaced atomically.
// So after a crash a step is either in the counters or it is priced again. After an outage the missed steps are priced
// from the samples that Prometheus still has.
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

// Other is the label value of everything above a limit.
const Other = "other"

// Method is how the cost of a GPU is divided. A holder pays for the time in which the GPU was busy. The other time is
// idle. If no rule names the model of a holder, the models that were busy in the GPU's cluster pay by their busy time.
// The cost that they do not explain stays without a model.
const Method = "busy_time"

// Usage is the mean usage in one step.
type Usage struct {
	// Blind means that Prometheus has no samples of the step, because it was down.
	Blind bool
	GPUs  []GPU
	// Working is the busy seconds a second of each model. It is above one if requests overlap.
	Working map[ClusterModel]float64
	// Engines are the models that run in your own engines.
	Engines map[ClusterModel]bool
	// Requests, Successes and Images are per second, by model. Tokens are per second, also by direction and tier.
	Requests, Successes, Images map[string]float64
	Tokens                      map[TokenUse]float64
	// Values are Canadian dollars a second by model, if a query returns them.
	Values    map[string]float64
	Resources []ResourceUse
	// Gateway is the cost of requests as reported by a gateway, in its currency, per second.
	Gateway map[Owner]float64
}

// TokenUse identifies a counter of tokens. The directions input and output are totals. The others are included in them.
type TokenUse struct{ Model, Direction, Tier string }

// ClusterModel is a model in a cluster. The cluster is empty if there is only one.
type ClusterModel struct{ Cluster, Model string }

// GPU is a physical GPU or a MIG instance of one. Busy is the share of time in which it was busy.
type GPU struct {
	Cluster, Name, Node, UUID string
	// Instance is the MIG instance. Share is its share of the GPU, or 0 for all of it.
	Instance string
	Share    float64
	Busy     float64
	Holders  []Owner
}

// Owner is the department and the model that a cost belongs to. Either may be empty.
type Owner struct {
	Department string `json:"department,omitempty"`
	Model      string `json:"model,omitempty"`
}

// ResourceUse is the mean number of units of a configured resource that one owner uses.
type ResourceUse struct {
	Name  string
	Owner Owner
	Units float64
}

// Source returns the usage of a step that ended at an instant.
type Source interface {
	Usage(ctx context.Context, end time.Time, step time.Duration) (Usage, error)
}

// Resource is a resource with its own price.
type Resource struct {
	// PerHour is the price of a unit for an hour, in Currency.
	PerHour       float64
	Currency      string
	Observability bool
}

// Options configure a Meter.
type Options struct {
	Source Source
	Prices prices.Book
	// Rate converts the prices of resources.
	Rate      prices.Rate
	Resources map[string]Resource
	// Department is the department that pays for a model's requests and tokens. SelfHosted reports whether a model runs
	// on your own GPUs, so that it needs no price of requests or tokens.
	Department func(model string) string
	SelfHosted func(model string) bool
	// Tier is the tier of a model's requests if the query returns none. Month is the name of the month of an instant.
	Tier  func(model string) string
	Month func(at time.Time) string
	// Weight is how cost that belongs to no model is divided among models.
	Weight Weight
	// GatewayCurrency is the currency of a gateway's own spend. The spend counts for models without a price, or with
	// PreferGateway for all.
	GatewayCurrency string
	PreferGateway   bool
	// Value is the value of a successful inference of a model, in Canadian dollars.
	Value func(model string) (float64, bool)

	File               string
	Step, Lag, CatchUp time.Duration
	// MaxSeries bounds the counters. Folded is called for each amount above it that counts under Other.
	MaxSeries int
	Folded    func()
	Now       func() time.Time
	Logger    *slog.Logger
}

// Key is a counter with its label values.
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
	// Total is all cost. Loaded is the same cost, with each model's share of the cost that belongs to no model.
	Total  = "total"
	Loaded = "loaded"
	// Monthly is the cost of a department in a month. GPUHours are the hours of all GPUs in it.
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

// state is the content of the file.
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

	cycle     sync.Mutex // held while steps are priced
	mu        sync.Mutex // guards the fields below
	owned     bool       // whether this Meter holds the lock of the file
	published counts
	end       time.Time
}

// counts are all counters.
type counts struct {
	sums   map[Key]float64
	shares map[Owner]Share
}

func newCounts() counts { return counts{map[Key]float64{}, map[Owner]Share{}} }

func (c counts) clone() counts { return counts{maps.Clone(c.sums), maps.Clone(c.shares)} }

// Open returns a meter that publishes the content of its file. The first Cycle locks the file. So the meter before a
// reload and the one after it can publish the same values until the first one is closed.
func Open(o Options) (*Meter, error) {
	if o.Source == nil || o.Rate == nil || o.Tier == nil || o.Month == nil || o.Step <= 0 || o.CatchUp < o.Step || o.File == "" || o.MaxSeries < 1 || o.Folded == nil || o.Now == nil || o.Logger == nil {
		return nil, errors.New("a meter needs a source, rates, tiers, months, a step, a file, a limit, a clock and a logger")
	}
	if !o.Weight.valid() {
		return nil, fmt.Errorf("weight %q: expected %s, %s or %s", o.Weight, ByUsage, ByAllocation, NotAtAll)
	}
	return &Meter{Options: o, published: newCounts()}, nil
}

func (m *Meter) publish(s state) {
	c := newCounts()
	for _, sample := range s.Samples {
		c.sums[sample.Key] = sample.Sum
	}
	for _, share := range s.Weights {
		c.shares[share.Owner] = share
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.published, m.end = c, s.Through
}

// takeOver waits for the lock, takes it, and reads the file that the previous owner left. A damaged file is renamed and the
// counters start at zero, which Prometheus treats as a counter reset.
func (m *Meter) takeOver(ctx context.Context) error {
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
	// Remove temporary files of a process that was killed while it wrote.
	litter, err := filepath.Glob(m.File + ".*.tmp")
	for _, path := range litter {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	m.publish(s)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lock, m.owned = lock, true
	return nil
}

// Close releases the lock.
func (m *Meter) Close() error {
	m.cycle.Lock()
	defer m.cycle.Unlock()
	if m.lock == nil {
		return nil
	}
	return m.lock.Close()
}

// batch is the number of steps that are priced between two writes of the file.
const batch = 12

// Cycle prices the steps that have ended. After an error the next cycle prices the others.
func (m *Meter) Cycle(ctx context.Context) error {
	m.cycle.Lock()
	defer m.cycle.Unlock()
	if err := m.takeOver(ctx); err != nil {
		return fmt.Errorf("counters of spend: %w", err)
	}
	last := m.Now().Add(-m.Lag).Truncate(m.Step)
	c, end := m.snapshot()
	if end.IsZero() {
		return m.commit(c, last) // Usage before the first start is not priced.
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

// snapshot is the content of the file. Another Meter may still write it until this one owns it.
func (m *Meter) snapshot() (counts, time.Time) {
	m.mu.Lock()
	owned := m.owned
	m.mu.Unlock()
	var s state
	// The first Cycle reports errors of the file.
	if !owned && durable.Read(m.File, &s) == nil {
		m.publish(s)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.published.clone(), m.end
}

// commit writes the counters and publishes them only after that, so that a crash never lowers a published value.
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
	m.published, m.end = c.clone(), end
	return nil
}

// Samples returns the counters in order, and the end of their last step.
func (m *Meter) Samples() ([]Sample, time.Time) {
	c, end := m.snapshot()
	var all []Sample
	for _, key := range slices.SortedFunc(maps.Keys(c.sums), compareKeys) {
		all = append(all, Sample{key, c.sums[key]})
	}
	return all, end
}

// lockPoll is the interval of the attempts to take the lock.
const lockPoll = 100 * time.Millisecond

// lockFile takes a lock that ends with the process, even if the process is killed. It waits until ctx ends.
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
