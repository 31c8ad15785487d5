package fields

import (
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
	sample *sample // nil once there are counters
	begun  time.Time
	asked  bool // for bins, by a full sample

	// What follows belongs to the keeper's cycle.
	looked   time.Time // at the store
	failed   bool
	outputs  *book           // of this version; nil until it has bins
	books    []*book         // of its features
	recorded baseline.Counts // what the books have
	trained  *baseline.Subject
	// predecessor is nil where there is none; it is looked for again after a while.
	predecessor *predecessor
	searched    time.Time
	learned     []learned // what the short windows are compared with
	incidents   map[incidentKey]*incident
	shown       time.Time // when that was
	// mismatchTold says that the log has said that embeddings have other dimensions than the baseline.
	mismatchTold bool
}

// Count counts what one inference says, and reports whether a value was one that the baseline never had.
func (t *Tracker) Count(o *convention.Observation) (unseen bool) {
	if c := t.counters.Load(); c != nil {
		return c.count(o.Features, o.Prediction, o.Confidence, o.Dropped)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.counters.Load(); c != nil {
		return c.count(o.Features, o.Prediction, o.Confidence, o.Dropped)
	}
	// What comes while the bins are being cut is kept too, but not for ever.
	if !o.Dropped && len(t.sample.rows) < 4*t.keeper.Sample {
		t.keeper.cells.Add(int64(t.sample.add(o.Features, o.Prediction, o.Confidence, int(maxCells-t.keeper.cells.Load()))))
	}
	if !t.asked && len(t.sample.rows) >= t.keeper.Sample {
		t.asked = true
		t.keeper.wake()
	}
	return false
}

// Counting is a series of calls of Count, for which the counters are locked once.
type Counting struct {
	tracker  *Tracker
	counters *counters // nil while there are none
}

// Begin begins a series of calls.
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

// End ends what Begin began.
func (c *Counting) End() {
	if c.counters != nil {
		c.counters.mu.Unlock()
	}
}

// adopt begins to count by a definition, with what was kept until now.
func (t *Tracker) adopt(d baseline.Definition, id string, books []*book) *counters {
	c := newCounters(d)
	for name, f := range c.all {
		label, _ := labels(name)
		f.hidden = t.keeper.Reveal.Hidden(label, d.Fields[name])
	}
	c.id = id
	t.stopSampling()
	if k := t.keeper; k.room != nil {
		c.sampleRecent(k.room, k.Causes.Window, k.Now)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sample != nil {
		t.sample.replay(c)
		t.keeper.cells.Add(-int64(t.sample.cells))
		t.sample = nil
	}
	t.counters.Store(c)
	t.books, t.recorded = append([]*book(nil), books...), baseline.Counts{}
	return c
}

// restart begins to keep a sample, at first and after a reset.
func (t *Tracker) restart(now time.Time) {
	t.stopSampling()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sample, t.begun, t.asked = newSample(), now, false
	t.counters.Store(nil)
	t.learned, t.shown = nil, time.Time{}
}

// ready reports whether the sample is large enough, or old enough, to cut bins from.
func (t *Tracker) ready(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := len(t.sample.rows)
	return rows >= t.keeper.Sample || rows > 0 && now.Sub(t.begun) >= t.keeper.SampleWait
}

// Of a version whose fields all have bins already, so many inferences, or those of so long, show that they do. It is
// compared with what its predecessor left behind soon after it was deployed.
const (
	fewInferences = 100
	shortWait     = 30 * time.Second
)

// known reports whether the sample, of a few inferences or more, has only fields that have bins.
func (t *Tracker) known(m *model, now time.Time) bool {
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

// close gives back what the tracker keeps.
func (t *Tracker) close() {
	t.stopSampling()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sample != nil {
		t.keeper.cells.Add(-int64(t.sample.cells))
		t.sample = newSample()
	}
}

// stopSampling gives back what the sample of recent inferences takes.
func (t *Tracker) stopSampling() {
	if c := t.counters.Load(); c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.recent.Close()
	}
}
