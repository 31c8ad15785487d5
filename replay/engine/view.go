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

// A view exposes the store at selected times only, as if they were a second apart: the k-th is at k seconds. An expression that depends
// only on the instant (see pure) gives the same result for the same inputs at any time. One range query over a view therefore evaluates it
// exactly at the times when an input changes.
//
// The view finds the sample of an instant by Prometheus's rules: the newest one within the lookback, unless it is a staleness marker. The
// query's own lookback is viewLookback, which contains no other instant.
type view struct {
	store    *store
	times    []int64
	lookback int64
	memory   *arena // Memory of columns; without it, columns are allocated and collected.
	// late has selectors that do not see the newest samples, with the length of that period in milliseconds; see circle.
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
	*it = viewIterator{runs: s.view.seen(s.series), view: s.view, k: -1}
	return it
}

// seen returns the runs of a series, starting with the one that the first instant may see.
func (v *view) seen(s *Series) []run {
	after, _ := slices.BinarySearchFunc(s.runs, v.times[0], func(r run, t int64) int {
		if r.start <= t {
			return -1
		}
		return 1
	})
	return s.runs[max(0, after-1):]
}

// instants writes the values of a series at all instants into a slice, or absent. some means that there is a value. histogram means that
// one is a histogram, which has no value.
func (v *view) instants(s *Series, into []float64) (some, histogram bool) {
	runs, k := v.seen(s), 0
	for i := range runs {
		r := &runs[i]
		until := r.end() + v.lookback // It is visible up to this time,
		if i+1 < len(runs) {
			until = min(until, runs[i+1].start) // or until the next run starts.
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
				into[k] = absent // Too old; the run continues.
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
	runs []run // runs[0] is the newest run that started at or before the current instant, if there is one.
	k    int   // The current instant.
}

// Next implements chunkenc.Iterator.
func (it *viewIterator) Next() chunkenc.ValueType { return it.from(it.k + 1) }

// Seek implements chunkenc.Iterator.
func (it *viewIterator) Seek(t milliseconds) chunkenc.ValueType {
	step := viewStep.Milliseconds()
	k := int((t + step - 1) / step)
	if it.k >= k && it.k < len(it.view.times) {
		return typeOf(&it.runs[0])
	}
	return it.from(max(k, it.k+1))
}

// from finds the first instant with a value, starting with the k-th.
func (it *viewIterator) from(k int) chunkenc.ValueType {
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
