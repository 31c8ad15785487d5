package engine

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// A run is a sequence of samples with equal values and equal distances. Most series consist mostly of long runs.
type run struct {
	start int64 // time of the first sample, in milliseconds
	v     float64
	h     *histogram.FloatHistogram // instead of v
	step  int32                     // milliseconds between two samples; 0 for a single one
	n     int32                     // number of samples, 1 or more
}

func (r *run) end() int64       { return r.start + int64(r.step)*int64(r.n-1) }
func (r *run) stale() bool      { return r.h == nil && value.IsStaleNaN(r.v) }
func (r *run) at(i int32) int64 { return r.start + int64(r.step)*int64(i) }

// indexFrom returns the index of the first sample at or after t, or n if there is none.
func (r *run) indexFrom(t int64) int32 {
	switch {
	case t <= r.start:
		return 0
	case t > r.end():
		return r.n
	}
	return int32((t - r.start + int64(r.step) - 1) / int64(r.step))
}

// upTo returns the index of the last sample at or before t, or -1 if there is none.
func (r *run) upTo(t int64) int32 {
	switch {
	case t < r.start:
		return -1
	case t >= r.end():
		return r.n - 1
	}
	return int32((t - r.start) / int64(r.step))
}

// Series is a stored series. Only one goroutine at a time appends to it, and none reads it at the same time: samples of
// scrapes are staged while rules are evaluated, and a rule is evaluated after the rules that it reads.
type Series struct {
	labels labels.Labels
	runs   []run
	// next are staged samples that rules do not see yet; see Scrape.publish. Only the scrape uses them. It may read runs at
	// any time, since scraped samples are added to runs only by publish.
	next []run

	// pinned series are not deleted when they are empty: a source holds them.
	pinned bool
	// owner is the target whose last scrape contained the series, and seen the time of that scrape.
	owner *Scrape
	seen  int64
	// held is the Held that contained the series in the last scrape, if any.
	held *Held
}

// append adds n samples of one value from t on, step milliseconds apart. Like Prometheus, it drops samples that are not newer
// than the last.
func (s *Series) append(t int64, v float64, h *histogram.FloatHistogram, step int64, n int) {
	if len(s.runs) == 0 {
		add(&s.runs, nil, t, v, h, step, n)
		return
	}
	add(&s.runs, &s.runs[len(s.runs)-1], t, v, h, step, n)
}

// stage stages n samples for publish.
func (s *Series) stage(t int64, v float64, h *histogram.FloatHistogram, step int64, n int) bool {
	if len(s.next) > 0 {
		return add(&s.next, &s.next[len(s.next)-1], t, v, h, step, n)
	}
	if last, ok := s.last(); ok {
		for ; n > 0 && t <= last.end(); n-- {
			t += step
		}
	}
	return add(&s.next, nil, t, v, h, step, n)
}

// publish appends the staged samples.
func (s *Series) publish() {
	for i := range s.next {
		r := &s.next[i]
		s.append(r.start, r.v, r.h, int64(r.step), int(r.n))
	}
	s.next = s.next[:0]
}

// add appends n samples to runs. last is the newest run.
func add(runs *[]run, last *run, t int64, v float64, h *histogram.FloatHistogram, step int64, n int) bool {
	if last != nil {
		end := last.end()
		for ; n > 0 && t <= end; n-- {
			t += step
		}
	}
	if n <= 0 {
		return false
	}
	if last != nil && h == nil && last.h == nil && math.Float64bits(last.v) == math.Float64bits(v) {
		gap := t - last.end()
		fits := last.n == 1 || int64(last.step) == gap
		if fits && (n == 1 || step == gap) && gap <= math.MaxInt32 && int(last.n) <= math.MaxInt32-n {
			last.step = int32(gap)
			last.n += int32(n)
			return true
		}
	}
	if n == 1 {
		step = 0
	}
	*runs = append(*runs, run{start: t, v: v, h: h, step: int32(step), n: int32(n)})
	return true
}

// unstage removes the newest staged sample if its time is t.
func (s *Series) unstage(t int64) {
	if len(s.next) == 0 {
		return
	}
	last := &s.next[len(s.next)-1]
	switch {
	case last.end() < t:
	case last.n == 1:
		s.next = s.next[:len(s.next)-1]
	default:
		if last.n--; last.n == 1 {
			last.step = 0
		}
	}
}

// trim deletes runs that end before t.
func (s *Series) trim(t int64) {
	keep := 0
	for keep < len(s.runs) && s.runs[keep].end() < t {
		keep++
	}
	// Moving the remaining runs costs more than the memory of a few old ones.
	if keep == len(s.runs) || keep > 64 && 2*keep > len(s.runs) {
		s.runs = slices.Delete(s.runs, 0, keep)
	}
}

// newest returns the newest run, staged ones included.
func (s *Series) newest() (run, bool) {
	if len(s.next) > 0 {
		return s.next[len(s.next)-1], true
	}
	return s.last()
}

// last returns the newest run that rules see.
func (s *Series) last() (run, bool) {
	if len(s.runs) == 0 {
		return run{}, false
	}
	return s.runs[len(s.runs)-1], true
}

// A family is the series of one metric name, sorted by labels. The order makes floating-point sums independent of the order
// in which goroutines created the series.
type family struct {
	name   string
	mu     sync.RWMutex
	series []*Series
}

// store holds all series in memory. Its mutexes guard the maps and lists of series. Series documents who may append to one.
type store struct {
	mu       sync.RWMutex
	families map[string]*family
	byHash   map[uint64][]*Series
}

func newStore() *store {
	return &store{families: map[string]*family{}, byHash: map[uint64][]*Series{}}
}

// lookUp returns the series with these labels, or nil.
func (st *store) lookUp(ls labels.Labels) *Series {
	hash := ls.Hash()
	st.mu.RLock()
	defer st.mu.RUnlock()
	return find(st.byHash[hash], ls)
}

// get returns the series with these labels, which include the metric name. It creates the series if it does not exist.
func (st *store) get(ls labels.Labels) *Series {
	if s := st.lookUp(ls); s != nil {
		return s
	}
	hash := ls.Hash()
	st.mu.Lock()
	defer st.mu.Unlock()
	if s := find(st.byHash[hash], ls); s != nil {
		return s
	}
	s := &Series{labels: ls}
	st.insert(hash, s)
	return s
}

// publish inserts a series that a scrape created while rules were evaluated.
func (st *store) publish(s *Series) error {
	hash := s.labels.Hash()
	st.mu.Lock()
	defer st.mu.Unlock()
	if find(st.byHash[hash], s.labels) != nil {
		return fmt.Errorf("%s is scraped and recorded by a rule too: give the rule another name", s.labels)
	}
	st.insert(hash, s)
	return nil
}

func (st *store) insert(hash uint64, s *Series) {
	st.byHash[hash] = append(st.byHash[hash], s)
	name := s.labels.Get(model.MetricNameLabel)
	f := st.families[name]
	if f == nil {
		f = &family{name: name}
		st.families[name] = f
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	at, _ := slices.BinarySearchFunc(f.series, s, func(a, b *Series) int { return labels.Compare(a.labels, b.labels) })
	f.series = slices.Insert(f.series, at, s)
}

func find(series []*Series, ls labels.Labels) *Series {
	for _, s := range series {
		if labels.Equal(s.labels, ls) {
			return s
		}
	}
	return nil
}

// family returns the series of a metric name, or nil.
func (st *store) family(name string) *family {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return st.families[name]
}

// sorted returns all families by name.
func (st *store) sorted() []*family {
	st.mu.RLock()
	defer st.mu.RUnlock()
	all := make([]*family, 0, len(st.families))
	for _, f := range st.families {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *family) int { return cmp.Compare(a.name, b.name) })
	return all
}

func (f *family) list() []*Series {
	if f == nil {
		return nil
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.series
}

// trim deletes samples that no rule can read any more, and series that are then empty. keep returns how many milliseconds the
// samples of a metric are needed.
func (st *store) trim(now int64, keep func(name string) int64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for name, f := range st.families {
		oldest := now - keep(name)
		anyEmpty := false
		for _, s := range f.series {
			s.trim(oldest)
			anyEmpty = anyEmpty || len(s.runs) == 0 && !s.pinned
		}
		if !anyEmpty {
			continue
		}
		f.series = slices.DeleteFunc(slices.Clone(f.series), func(s *Series) bool {
			dead := len(s.runs) == 0 && !s.pinned
			if dead {
				hash := s.labels.Hash()
				st.byHash[hash] = slices.DeleteFunc(st.byHash[hash], func(other *Series) bool { return other == s })
				if len(st.byHash[hash]) == 0 {
					delete(st.byHash, hash)
				}
			}
			return dead
		})
		if len(f.series) == 0 {
			delete(st.families, name)
		}
	}
}

// size returns the number of stored series and runs.
func (st *store) size() (series, runs int) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	for _, f := range st.families {
		series += len(f.series)
		for _, s := range f.series {
			runs += len(s.runs)
		}
	}
	return series, runs
}
