package world

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// feed is a stream with incidents applied to it: they change which events there are, their values, and when they arrive. The same minute
// always gives the same events. Only one goroutine may use it.
type feed struct {
	stream
	seed     uint64
	name     string
	dicts    []*dict
	lateness int64 // minutes, as all following fields
	every    int64
	faults   []*fault
	// slowest is the longest time from an event to its arrival.
	slowest int64

	scratch *batch
}

// fault is one occurrence of an incident.
type fault struct {
	*scenario.Event
	from, to, ramp, delay int64
	col                   int // or -1
	typical               typical
	category              int32
}

// progress returns the share of its full size that an incident has in a minute.
func (w *fault) progress(m int64) float64 {
	if m < w.from || m >= w.to {
		return 0
	}
	if w.ramp == 0 {
		return 1
	}
	return min(1, float64(m-w.from+1)/float64(w.ramp))
}

// typical has typical values of a column.
type typical struct {
	median             float64
	nulls              float64
	frequent, ordinary int32 // categories
}

// occurrences returns the incidents that affect a feed.
func occurrences(s *scenario.Scenario, concerns func(*scenario.Event) bool) []*fault {
	var all []*fault
	for i := range s.Incidents {
		e := &s.Incidents[i]
		if !concerns(e) {
			continue
		}
		for _, span := range e.Occurrences(s) {
			all = append(all, &fault{
				Event: e, from: minuteOf(span.From), to: minuteOf(span.To), col: -1,
				ramp: int64(time.Duration(e.Ramp) / time.Minute), delay: int64(time.Duration(e.Delay) / time.Minute),
			})
		}
	}
	return all
}

// newFeed applies incidents to a stream.
func newFeed(of stream, dicts []*dict, seed uint64, name string, load scenario.Load, faults []*fault) *feed {
	f := &feed{
		stream: of, seed: seed, name: name, dicts: dicts, faults: faults,
		lateness: int64(time.Duration(load.Lateness) / time.Minute), every: int64(time.Duration(load.Every) / time.Minute),
		scratch: newBatch(of.columns(), dicts),
	}
	f.slowest = f.lateness + f.every
	for _, w := range faults {
		if w.Kind == scenario.LateData || w.Kind == scenario.WrongSnapshot {
			f.slowest = max(f.slowest, f.lateness+f.every+w.delay)
		}
		if w.Column == "" {
			continue
		}
		w.col = slices.IndexFunc(of.columns(), func(c column) bool { return c.name == w.Column })
		if w.col < 0 {
			continue
		}
		w.typical = f.typicalAt(w.col)
		if d := dicts[w.col]; d != nil && w.Category != "" {
			w.category = d.id(w.Category)
		}
	}
	return f
}

// check checks the incidents of a recording, whose columns and values the scenario does not have.
func (f *feed) check() error {
	first, _ := f.bounds()
	for _, w := range f.faults {
		if w.Kind == scenario.WrongSnapshot && w.from-w.delay < first {
			return below(w.Pos, "delay").Errorf("%v; the snapshot would have no rows, which begin at %s: want a shorter delay", w.Delay, timeOf(first).Format(time.DateTime))
		}
		if w.Column == "" {
			continue
		}
		column := below(w.Pos, "column")
		if w.col < 0 {
			var names []string
			for _, c := range f.columns() {
				names = append(names, c.name)
			}
			return column.Errorf("%q; the file has %q", w.Column, names)
		}
		if problem := w.Problem(valuesOf[f.columns()[w.col].class], w.typical.nulls); problem != "" {
			return column.Errorf("%q %s", w.Column, problem)
		}
	}
	return nil
}

var valuesOf = map[class]scenario.Values{
	classNumber: scenario.Numbers, classInteger: scenario.Numbers, classText: scenario.Texts, classBool: scenario.Booleans, classTime: scenario.Timestamps,
}

// typicalAt computes the typical values of a column from a few thousand values.
func (f *feed) typicalAt(col int) typical {
	from, to := f.bounds()
	b := newBatch(f.columns(), f.dicts)
	step := max(1, (to-from)/400)
	for m := from; m < to && b.n < 20_000; m += step {
		f.minute(m, b)
	}
	v := &b.cols[col]
	var t typical
	var numbers []float64
	counts := make(map[int32]int)
	for i := range b.n {
		switch {
		case v.null[i]:
			t.nulls += 1 / float64(b.n)
		case v.dict != nil:
			counts[v.text[i]]++
		default:
			numbers = append(numbers, v.num[i])
		}
	}
	if slices.Sort(numbers); len(numbers) > 0 {
		t.median = numbers[len(numbers)/2]
	}
	var ids []int32
	for id := range counts {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b int32) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return int(a - b)
	})
	if len(ids) > 0 {
		t.frequent, t.ordinary = ids[0], ids[len(ids)/2]
	}
	return t
}

// events appends the events of a minute as their producer sends them.
func (f *feed) events(m int64, to *batch) {
	active := false
	for _, w := range f.faults {
		active = active || m >= w.from && m < w.to
	}
	if !active {
		f.minute(m, to)
		return
	}
	b := f.scratch
	b.reset()
	f.minute(m, b)
	r := random(f.seed, f.name+"/incidents", m)
	for _, w := range f.faults {
		if p := w.progress(m); p > 0 {
			w.change(r, p, b)
		}
	}
	for i := range b.n {
		to.copyRow(b, i)
	}
}

// change applies the incident to the events of a minute.
func (w *fault) change(r *rand.Rand, progress float64, b *batch) {
	size := w.Size
	switch w.Kind {
	case scenario.SilentFeed:
		b.keep(func(int) bool { return false })
		return
	case scenario.VolumeDrop, scenario.TrafficCliff:
		b.keep(func(int) bool { return r.Float64() >= size*progress })
		return
	case scenario.DuplicatedLoad:
		for i := range b.n {
			if r.Float64() < size*progress {
				b.copyRow(b, i)
			}
		}
		return
	}
	if w.col < 0 {
		return
	}
	v := &b.cols[w.col]
	if w.Kind == scenario.SkewedSubset {
		b.keep(func(i int) bool {
			in := v.null[i] || v.dict != nil && v.text[i] == w.typical.frequent || v.dict == nil && v.num[i] <= w.typical.median
			return in || r.Float64() >= size*progress
		})
		return
	}
	for i := range b.n {
		w.value(r, progress, v, i)
	}
}

// value applies the incident to one value.
func (w *fault) value(r *rand.Rand, progress float64, v *vector, i int) {
	text := v.dict != nil
	switch w.Kind {
	case scenario.NullSurge:
		if r.Float64() < (w.Size-w.typical.nulls)/(1-w.typical.nulls)*progress {
			v.null[i] = true
		}
	case scenario.UnmappedCategory:
		if r.Float64() < w.Size*progress && text {
			v.null[i], v.text[i] = false, w.category
		}
	case scenario.RenamedCategory:
		if text && v.text[i] == w.typical.frequent && r.Float64() < w.Size*progress {
			v.text[i] = w.category
		}
	case scenario.SlowDrift, scenario.SuddenDrift, scenario.ServingSkew:
		switch {
		case !text:
			v.num[i] *= 1 + w.Size*progress
		case r.Float64() < w.Size*progress:
			v.text[i] = w.typical.ordinary
		}
	case scenario.UnitChange:
		if !text {
			v.num[i] *= w.Size
		}
	case scenario.FrozenColumn:
		if r.Float64() >= w.Size*progress {
			return
		}
		if v.null[i] = false; text {
			v.text[i] = w.typical.frequent
		} else {
			v.num[i] = w.typical.median
		}
	}
}

// arrivals appends the rows that arrive in the table in a minute.
func (f *feed) arrivals(m int64, to *batch) {
	f.due(m, func(e int64) { f.arrive(e, false, 0, to) })
	for i, w := range f.faults {
		if w.Kind == scenario.LateData {
			f.due(m-w.delay, func(e int64) {
				if e >= w.from && e < w.to {
					f.arrive(e, true, i, to)
				}
			})
		}
	}
}

// times appends the times of the rows that arrive in a minute. While an incident is active, it also appends their values.
func (f *feed) times(m int64, to *batch) {
	if slices.ContainsFunc(f.faults, func(w *fault) bool { return m >= w.from && m < w.to+w.delay+f.slowest }) {
		f.arrivals(m, to)
		return
	}
	f.due(m, func(e int64) { f.stream.times(e, to) })
}

// due calls each with the minutes whose events arrive in a minute, without incidents.
func (f *feed) due(m int64, each func(event int64)) {
	m -= f.lateness
	if f.every == 0 {
		each(m)
		return
	}
	if m%f.every != 0 {
		return
	}
	for e := m - f.every; e < m; e++ {
		each(e)
	}
}

// arrive appends events of a minute: either those that the incident with this index delays, or those without delay.
func (f *feed) arrive(e int64, late bool, incident int, to *batch) {
	from := e
	for _, w := range f.faults {
		if w.Kind == scenario.WrongSnapshot && e >= w.from && e < w.to {
			from = e - w.delay
		}
	}
	before := to.n
	f.events(from, to)
	for i, w := range f.faults {
		if w.Kind != scenario.LateData || e < w.from || e >= w.to {
			continue
		}
		r := random(f.seed, f.name+"/late", e)
		chosen := late && i == incident
		to.keep(func(row int) bool { return row < before || r.Float64() < w.Size == chosen })
	}
}
