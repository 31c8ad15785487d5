package engine

import (
	"context"
	"maps"
	"slices"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// Querier implements storage.Queryable. It returns all samples as stored, staleness markers included.
func (st *store) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{store: st, mint: mint, maxt: maxt}, nil
}

var (
	_ storage.Queryable = (*store)(nil)
	_ storage.Querier   = (*querier)(nil)
)

// milliseconds since 1970, as in Prometheus's samples. With a named type, go vet does not mistake Seek for io.Seeker's.
type milliseconds = int64

type querier struct {
	store      *store
	mint, maxt int64
	// steps, if set, maps time to the index of a step; see view.
	steps *view
	// late maps metric names to the number of milliseconds by which they lag.
	late map[string]int64
}

// lateStore is the store in which some metrics lag.
type lateStore struct {
	store *store
	late  map[string]int64
}

// Querier implements storage.Queryable.
func (l lateStore) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{store: l.store, mint: mint, maxt: maxt, late: l.late}, nil
}

// Select implements storage.Querier.
func (q *querier) Select(_ context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	mint, maxt := q.mint, q.maxt
	if hints != nil {
		mint, maxt = hints.Start, hints.End
	}
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			maxt -= q.late[m.Value]
		}
	}
	set := &seriesSet{i: -1}
	for _, s := range q.store.matching(matchers) {
		switch {
		case q.steps != nil:
			set.series = append(set.series, viewSeries{s, q.steps})
		case len(s.runs) > 0 && s.runs[0].start <= maxt && s.runs[len(s.runs)-1].end() >= mint:
			set.series = append(set.series, storedSeries{s, mint, maxt})
		}
	}
	return set
}

// matching returns the series that match all matchers, sorted by name and labels.
func (st *store) matching(matchers []*labels.Matcher) []*Series {
	var families []*family
	rest := make([]*labels.Matcher, 0, len(matchers))
	named := false
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual && !named {
			named = true
			if f := st.family(m.Value); f != nil {
				families = []*family{f}
			}
			continue
		}
		rest = append(rest, m)
	}
	if !named {
		families = st.sorted()
	}
	var out []*Series
	for _, f := range families {
		series := f.list()
		if len(rest) == 0 && len(families) == 1 {
			return series
		}
		for _, s := range series {
			if matches(s.labels, rest) {
				out = append(out, s)
			}
		}
	}
	return out
}

func matches(ls labels.Labels, matchers []*labels.Matcher) bool {
	for _, m := range matchers {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// LabelValues implements storage.Querier.
func (q *querier) LabelValues(_ context.Context, name string, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	values := map[string]bool{}
	for _, s := range q.store.matching(matchers) {
		if v := s.labels.Get(name); v != "" {
			values[v] = true
		}
	}
	return slices.Sorted(maps.Keys(values)), nil, nil
}

// LabelNames implements storage.Querier.
func (q *querier) LabelNames(_ context.Context, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	names := map[string]bool{}
	for _, s := range q.store.matching(matchers) {
		s.labels.Range(func(l labels.Label) { names[l.Name] = true })
	}
	return slices.Sorted(maps.Keys(names)), nil, nil
}

// Close implements storage.Querier.
func (*querier) Close() error { return nil }

type seriesSet struct {
	series []storage.Series
	i      int
}

// Next implements storage.SeriesSet.
func (s *seriesSet) Next() bool {
	s.i++
	return s.i < len(s.series)
}

// At implements storage.SeriesSet.
func (s *seriesSet) At() storage.Series { return s.series[s.i] }

// Err implements storage.SeriesSet.
func (*seriesSet) Err() error { return nil }

// Warnings implements storage.SeriesSet.
func (*seriesSet) Warnings() annotations.Annotations { return nil }

// storedSeries is a series between two times, both inclusive.
type storedSeries struct {
	series     *Series
	mint, maxt int64
}

// Labels implements storage.Series.
func (s storedSeries) Labels() labels.Labels { return s.series.labels }

// Iterator implements storage.Series.
func (s storedSeries) Iterator(reuse chunkenc.Iterator) chunkenc.Iterator {
	it, ok := reuse.(*iterator)
	if !ok {
		it = &iterator{}
	}
	first, _ := slices.BinarySearchFunc(s.series.runs, s.mint, func(r run, t int64) int {
		if r.end() < t {
			return -1
		}
		return 1
	})
	*it = iterator{runs: s.series.runs[first:], k: -1, maxt: s.maxt}
	if len(it.runs) > 0 {
		it.k = it.runs[0].indexFrom(s.mint) - 1
	}
	return it
}

// iterator iterates over the samples of runs.
type iterator struct {
	runs []run // from the current run on
	k    int32 // index of the current sample in runs[0]; before the first Next it is one less than the first
	maxt int64
	on   bool // whether there is a current sample
}

// Next implements chunkenc.Iterator.
func (it *iterator) Next() chunkenc.ValueType {
	if len(it.runs) == 0 {
		return it.done()
	}
	it.k++
	if it.k >= it.runs[0].n {
		it.runs, it.k = it.runs[1:], 0
	}
	return it.here()
}

// Seek implements chunkenc.Iterator.
func (it *iterator) Seek(t milliseconds) chunkenc.ValueType {
	if it.on && it.runs[0].at(it.k) >= t {
		return typeOf(&it.runs[0])
	}
	for len(it.runs) > 0 && it.runs[0].end() < t {
		it.runs, it.k, it.on = it.runs[1:], -1, false
	}
	if len(it.runs) == 0 {
		return it.done()
	}
	it.k = max(it.k, it.runs[0].indexFrom(t))
	if !it.on {
		it.k = max(it.k, 0)
	}
	return it.here()
}

func (it *iterator) here() chunkenc.ValueType {
	if len(it.runs) == 0 || it.runs[0].at(it.k) > it.maxt {
		return it.done()
	}
	it.on = true
	return typeOf(&it.runs[0])
}

func (it *iterator) done() chunkenc.ValueType {
	it.runs, it.on = nil, false
	return chunkenc.ValNone
}

func typeOf(r *run) chunkenc.ValueType {
	if r.h != nil {
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

// At implements chunkenc.Iterator.
func (it *iterator) At() (int64, float64) { return it.runs[0].at(it.k), it.runs[0].v }

// AtT implements chunkenc.Iterator.
func (it *iterator) AtT() int64 { return it.runs[0].at(it.k) }

// AtFloatHistogram implements chunkenc.Iterator.
func (it *iterator) AtFloatHistogram(into *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return it.runs[0].at(it.k), copied(it.runs[0].h, into)
}

// AtHistogram is never called: all histograms here have float counts, as Next reports.
func (it *iterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return it.AtT(), nil
}

// AtST implements chunkenc.Iterator.
func (*iterator) AtST() int64 { return 0 }

// Err implements chunkenc.Iterator.
func (*iterator) Err() error { return nil }

// copied returns a copy of a stored histogram, since functions modify the histogram that they get.
func copied(h, into *histogram.FloatHistogram) *histogram.FloatHistogram {
	if into == nil {
		return h.Copy()
	}
	h.CopyTo(into)
	return into
}
