package fields

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/internal/baseline"
)

// Tracker counts the fields of one version of a model.
type Tracker struct {
	model, version string
	keeper         *Keeper
	counters       atomic.Pointer[counters]

	mu     sync.Mutex
	sample *sample // nil once counters is set
	begun  time.Time
	asked  bool // whether a full sample has requested bins

	// Only the keeper's cycle uses the following fields.
	collectedAt time.Time // time of the last read of the store
	failed      bool
	outputs     *book           // the version's; nil until it has bins
	books       []*book         // the model's
	recorded    baseline.Counts // the counts that the books already have
	trained     *baseline.Subject
	// predecessor is nil if there is none. It is searched for again after a while.
	predecessor *predecessor
	searched    time.Time
	// sent are the features that this version has sent, also to other replicas and before a restart.
	sent            map[string]bool
	omissionsLogged bool
	learned         []learned // baselines of the short windows
	incidents       map[incidentKey]*incident
	seasonAt        time.Time // time of their computation
	// mismatchLogged means that mismatching dimensions of embeddings were logged.
	mismatchLogged bool
}

// Count counts the values of one inference. It reports whether a value was one that the baseline never had.
func (t *Tracker) Count(o *convention.Observation) (unseen bool) {
	if c := t.counters.Load(); c != nil {
		return c.count(o.Features, o.Prediction, o.Confidence, o.Dropped)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.counters.Load(); c != nil {
		return c.count(o.Features, o.Prediction, o.Confidence, o.Dropped)
	}
	// Inferences that arrive while bins are being cut are stored too, up to a limit.
	if !o.Dropped && len(t.sample.rows) < 4*t.keeper.Sample {
		t.keeper.cells.Add(int64(t.sample.add(o.Features, o.Prediction, o.Confidence, int(maxCells-t.keeper.cells.Load()))))
	}
	if !t.asked && len(t.sample.rows) >= t.keeper.Sample {
		t.asked = true
		t.keeper.wake()
	}
	return false
}

// Counting is a series of Count calls that locks the counters once.
type Counting struct {
	tracker  *Tracker
	counters *counters // nil if there are none
}

// Begin starts a series of calls.
func (t *Tracker) Begin() Counting {
	c := t.counters.Load()
	if c != nil {
		c.mu.Lock()
	}
	return Counting{t, c}
}

// Count is Tracker.Count.
func (c *Counting) Count(o *convention.Observation) (unseen bool) {
	if c.counters == nil {
		return c.tracker.Count(o)
	}
	unseen = c.counters.add(o.Features, o.Prediction, o.Confidence, o.Dropped)
	if c.counters.recent.Due() {
		c.counters.keep(o)
	}
	return unseen
}

// End ends the series.
func (c *Counting) End() {
	if c.counters != nil {
		c.counters.mu.Unlock()
	}
}

// adopt starts to count by a definition. It first counts the sample.
func (t *Tracker) adopt(d baseline.Definition, id string, books []*book) *counters {
	c := newCounters(d)
	for name, f := range c.all {
		label, _ := labels(name)
		f.hidden = t.keeper.Reveal.Hidden(label, d.Fields[name])
	}
	c.id = id
	if t.keeper.Days > 0 && (t.outputs.provisional() || slices.ContainsFunc(books, (*book).provisional)) {
		c.hourly = newHourly(t.keeper.hourCells())
	}
	t.stopSampling()
	if k := t.keeper; k.memory != nil {
		c.openSample(k.memory, k.Causes.Window, k.Now)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteSent()
	if t.sample != nil {
		for _, name := range t.sample.names {
			if isInput(name) {
				t.sent[name[len(input):]] = true
			}
		}
	}
	c.markSent(t.sent)
	if t.sample != nil {
		t.sample.replay(c)
		t.keeper.cells.Add(-int64(t.sample.cells))
		t.sample = nil
	}
	t.counters.Store(c)
	t.books, t.recorded = append([]*book(nil), books...), baseline.Counts{}
	return c
}

// restart starts a new sample, at the beginning and after a reset.
func (t *Tracker) restart(now time.Time) {
	t.stopSampling()
	t.noteSent()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sample, t.begun, t.asked = newSample(), now, false
	t.counters.Store(nil)
	t.learned, t.seasonAt = nil, time.Time{}
}

// ready reports whether the sample is large enough, or old enough, to cut bins.
func (t *Tracker) ready(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := len(t.sample.rows)
	return rows >= t.keeper.Sample || rows > 0 && now.Sub(t.begun) >= t.keeper.SampleWait
}

// fewInferences or shortWait are enough to find out that all fields of a version already have bins. A new version is thus compared with its
// predecessor soon after deployment.
const (
	fewInferences = 100
	shortWait     = 30 * time.Second
)

// hasBins reports whether all fields of the sample already have bins. It is false for a sample that is too small.
func (t *Tracker) hasBins(m *model, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := len(t.sample.rows)
	if rows == 0 || rows < fewInferences && now.Sub(t.begun) < shortWait {
		return false
	}
	for _, name := range t.sample.names {
		if isInput(name) && lastBook(m.books, name) < 0 {
			return false
		}
		if isOutput(name) && t.outputs == nil {
			if t.predecessor == nil {
				return false
			}
			if _, ok := t.predecessor.definition.Fields[name]; !ok {
				return false
			}
		}
	}
	return true
}

// close releases the sample's cells.
func (t *Tracker) close() {
	t.stopSampling()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sample != nil {
		t.keeper.cells.Add(-int64(t.sample.cells))
		t.sample = newSample()
	}
}

// stopSampling releases the sample of recent inferences.
func (t *Tracker) stopSampling() {
	if c := t.counters.Load(); c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.recent.Close()
	}
}
