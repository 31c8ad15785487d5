package engine

import (
	"sync"
	"time"
)

// A block is a period of virtual time that is evaluated in one pass.
type block struct {
	start, end int64 // milliseconds; end is exclusive
	step       int64 // milliseconds between two evaluations
	single     bool  // a single step of stepwise rules

	mu          sync.Mutex
	changes     map[string][]int64
	transitions []numbered
}

// numbered is a transition with the index of its rule in file order.
type numbered struct {
	rule int
	Transition
}

func newBlock(start, end time.Time, step time.Duration) *block {
	return &block{start: start.UnixMilli(), end: end.UnixMilli(), step: step.Milliseconds(), changes: map[string][]int64{}}
}

// steps returns the evaluation times of a rule in the block.
func (b *block) steps(r *rule) (times []int64) {
	for t := (b.start + r.interval - 1) / r.interval * r.interval; t < b.end; t += r.interval {
		times = append(times, t)
	}
	return times
}

func (b *block) transition(rule int, t Transition) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.transitions = append(b.transitions, numbered{rule, t})
}

// changesOf returns the times in the block at which the result of an instant selector of a metric may change, sorted. All
// rules that write the metric must have been evaluated before.
func (b *block) changesOf(f *family, lookback int64) []int64 {
	b.mu.Lock()
	times, ok := b.changes[f.name]
	b.mu.Unlock()
	if ok {
		return times
	}
	marks := newMarks(b)
	for _, s := range f.list() {
		marks.series(s.runs, lookback)
		if marks.full() {
			break
		}
	}
	times = marks.times()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes[f.name] = times
	return times
}

// changed clears the cached change times of a unit's metrics. In a cycle, a rule may have read them before all samples were
// written.
func (b *block) changed(u unit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range u.rules {
		delete(b.changes, r.record)
	}
}

// forget clears the cached change times of a rule's metric after the rule has recorded more.
func (b *block) forget(r *rule) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.changes, r.record)
}

// marks is a set of steps of a block.
type marks struct {
	block *block
	set   []bool
	n     int
}

func newMarks(b *block) *marks {
	return &marks{block: b, set: make([]bool, (b.end-b.start+b.step-1)/b.step)}
}

func (m *marks) full() bool { return m.n == len(m.set) }

// mark marks the first step at or after t.
func (m *marks) mark(t int64) {
	i := max(0, t-m.block.start+m.block.step-1) / m.block.step
	if i < int64(len(m.set)) && !m.set[i] {
		m.set[i] = true
		m.n++
	}
}

// series marks the steps where runs begin, and where a sample exceeds the lookback before the next one.
func (m *marks) series(runs []run, lookback int64) {
	for i := len(runs) - 1; i >= 0; i-- {
		r := &runs[i]
		if end := r.end() + lookback; end < m.block.start {
			return
		}
		m.mark(r.start) // A run from before the block marks its first step.
		if int64(r.step) >= lookback {
			for k := range r.n {
				m.mark(r.at(k))
				m.mark(r.at(k) + lookback)
			}
		}
		if i == len(runs)-1 || runs[i+1].start > r.end()+lookback {
			m.mark(r.end() + lookback)
		}
	}
}

func (m *marks) times() []int64 {
	out := make([]int64, 0, m.n)
	for i, marked := range m.set {
		if marked {
			out = append(out, m.block.start+int64(i)*m.block.step)
		}
	}
	return out
}
