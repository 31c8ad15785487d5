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
	subject        *baseline.Subject
	counters       atomic.Pointer[counters]

	mu     sync.Mutex
	sample *sample // nil once there are counters
	begun  time.Time
	asked  bool // for bins, by a full sample

	// What follows belongs to the keeper's cycle.
	looked  time.Time // at the store
	failed  bool
	day     baseline.Day
	atDawn  baseline.Counts
	hour    time.Time // that is being counted
	atHour  baseline.Counts
	hours   baseline.Hours // of the day so far
	pending []pendingDay
	told    bool      // of days without hours
	season  *learned  // nil until the store was read
	shown   time.Time // when the season was
}

type pendingDay struct {
	day    baseline.Day
	counts baseline.Counts
	hours  baseline.Hours
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

// adopt begins to count by a definition, with what was kept until now.
func (t *Tracker) adopt(d baseline.Definition) *counters {
	c := newCounters(d)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sample != nil {
		t.sample.replay(c)
		t.keeper.cells.Add(-int64(t.sample.cells))
		t.sample = nil
	}
	t.counters.Store(c)
	t.day, t.atDawn, t.pending = "", baseline.Counts{}, nil
	t.hour, t.atHour, t.hours = time.Time{}, baseline.Counts{}, baseline.Hours{}
	return c
}

// restart begins to keep a sample, at first and after a reset.
func (t *Tracker) restart(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sample, t.begun, t.asked = newSample(), now, false
	t.counters.Store(nil)
	t.season, t.shown = nil, time.Time{}
}

// ready reports whether the sample is large enough, or old enough, to cut bins from.
func (t *Tracker) ready(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := len(t.sample.rows)
	return rows >= t.keeper.Sample || rows > 0 && now.Sub(t.begun) >= t.keeper.SampleWait
}

// close gives back what the tracker keeps.
func (t *Tracker) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sample != nil {
		t.keeper.cells.Add(-int64(t.sample.cells))
		t.sample = newSample()
	}
}
