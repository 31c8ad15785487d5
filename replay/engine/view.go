package engine

import (
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// A view is the store at selected times, mapped to a grid of one second: the k-th time is at k seconds. A pure expression
// depends only on samples of the instant, so one range query over the view evaluates it at exactly the times when an input
// changes.
//
// The view itself selects the sample of an instant by Prometheus's rules: the newest within the lookback, unless it is a
// staleness marker. The lookback of the query, viewLookback, is shorter than the grid's step, so that a query never sees a
// neighbouring instant.
type view struct {
	store    *store
	times    []int64
	lookback int64
	memory   *arena // memory for columns; without it they are garbage-collected
	// late maps selectors to the number of milliseconds by which they lag; see circle.
	late map[*parser.VectorSelector]int64
}

const (
	viewStep     = time.Second
	viewLookback = 500 * time.Millisecond
)

// Querier implements storage.Queryable.
func (v *view) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{store: v.store, mint: mint, maxt: maxt, steps: v}, nil
}

// at returns the time in the view of the k-th instant.
func (*view) at(k int) time.Time { return time.UnixMilli(int64(k) * viewStep.Milliseconds()).UTC() }

type viewSeries struct {
	series *Series
	view   *view
}

// Labels implements storage.Series.
func (s viewSeries) Labels() labels.Labels { return s.series.labels }

// Iterator implements storage.Series.
func (s viewSeries) Iterator(reuse chunkenc.Iterator) chunkenc.Iterator {
	it, ok := reuse.(*viewIterator)
	if !ok {
		it = &viewIterator{}
	}
	*it = viewIterator{runs: s.view.visibleRuns(s.series), view: s.view, k: -1}
	return it
}

// visibleRuns returns the runs of a series from the first that the first instant can see.
func (v *view) visibleRuns(s *Series) []run {
	after, _ := slices.BinarySearchFunc(s.runs, v.times[0], func(r run, t int64) int {
		if r.start <= t {
			return -1
		}
		return 1
	})
	return s.runs[max(0, after-1):]
}

// instants writes the values of a series at all instants, absent where it has none. It reports whether there is any value,
// and whether one of them is a histogram, which columns cannot hold.
func (v *view) instants(s *Series, into []float64) (some, histogram bool) {
	runs, k := v.visibleRuns(s), 0
	for i := range runs {
		r := &runs[i]
		until := r.end() + v.lookback // A sample is visible until the lookback ends
		if i+1 < len(runs) {
			until = min(until, runs[i+1].start) // or the next run begins.
		}
		for ; k < len(v.times) && v.times[k] < r.start; k++ {
			into[k] = absent
		}
		value := r.v
		if r.stale() {
			value = absent
		}
		from := k
		for ; k < len(v.times) && v.times[k] < until; k++ {
			into[k] = value
			if t := v.times[k]; int64(r.step) > v.lookback && r.at(r.upTo(t)) <= t-v.lookback {
				into[k] = absent // Too old: the gap within the run is longer than the lookback.
			}
		}
		if k > from && !r.stale() {
			some, histogram = true, histogram || r.h != nil
		}
		if k == len(v.times) {
			return some, histogram
		}
	}
	for ; k < len(v.times); k++ {
		into[k] = absent
	}
	return some, histogram
}

// viewIterator iterates over the instants at which a series has a value.
type viewIterator struct {
	view *view
	runs []run // runs[0] is the newest run that began at or before the current instant
	k    int   // index of the current instant
}

// Next implements chunkenc.Iterator.
func (it *viewIterator) Next() chunkenc.ValueType { return it.advanceTo(it.k + 1) }

// Seek implements chunkenc.Iterator.
func (it *viewIterator) Seek(t milliseconds) chunkenc.ValueType {
	step := viewStep.Milliseconds()
	k := int((t + step - 1) / step)
	if it.k >= k && it.k < len(it.view.times) {
		return typeOf(&it.runs[0])
	}
	return it.advanceTo(max(k, it.k+1))
}

// advanceTo moves to the first instant with a value, beginning at the k-th.
func (it *viewIterator) advanceTo(k int) chunkenc.ValueType {
	for ; k < len(it.view.times); k++ {
		t := it.view.times[k]
		for len(it.runs) > 1 && it.runs[1].start <= t {
			it.runs = it.runs[1:]
		}
		if len(it.runs) == 0 {
			break
		}
		r := &it.runs[0]
		if r.start > t || r.stale() || r.at(r.upTo(t)) <= t-it.view.lookback {
			continue
		}
		it.k = k
		return typeOf(r)
	}
	it.k = len(it.view.times)
	return chunkenc.ValNone
}

// AtT implements chunkenc.Iterator.
func (it *viewIterator) AtT() int64 { return int64(it.k) * viewStep.Milliseconds() }

// At implements chunkenc.Iterator.
func (it *viewIterator) At() (int64, float64) { return it.AtT(), it.runs[0].v }

// AtFloatHistogram implements chunkenc.Iterator.
func (it *viewIterator) AtFloatHistogram(into *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return it.AtT(), copied(it.runs[0].h, into)
}

// AtHistogram is never called, as in iterator.
func (it *viewIterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return it.AtT(), nil
}

// AtST implements chunkenc.Iterator.
func (*viewIterator) AtST() int64 { return 0 }

// Err implements chunkenc.Iterator.
func (*viewIterator) Err() error { return nil }
