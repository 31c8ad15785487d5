package engine

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Some functions of a range are also calculated in columns: rate, increase, and those that depend only on the values, over
// samples or over a subquery. The arithmetic follows Prometheus's operation by operation.

// overRange evaluates a function of a range, if it supports it.
func (c columns) overRange(e *parser.Call) ([]column, error) {
	last := e.Args[len(e.Args)-1]
	if selector, ok := last.(*parser.MatrixSelector); ok && (e.Func.Name == "rate" || e.Func.Name == "increase") {
		return c.rate(selector, e.Func.Name == "rate")
	}
	f := overTime[e.Func.Name]
	if e.Func.Name == "quantile_over_time" {
		q, err := number(e.Args[0])
		if err != nil {
			return nil, err
		}
		var sorted []float64
		f = func(values []float64) float64 {
			sorted = append(sorted[:0], values...)
			return quantile(q, sorted)
		}
	}
	if f == nil {
		return nil, errNotColumns
	}
	ranges, err := c.ranges(last)
	if err != nil {
		return nil, err
	}
	out := newCollector(len(ranges.series))
	for _, s := range ranges.series {
		v := c.view.memory.column(len(c.view.times))
		first, end := 0, 0
		var lastFirst, lastEnd int
		some, overflow := false, false
		for k, at := range c.view.times {
			until := at - ranges.offset
			for end < len(s.times) && s.times[end] <= until {
				end++
			}
			for first < end && s.times[first] <= until-ranges.length {
				first++
			}
			switch {
			case first == end:
				v[k] = absent
			case k > 0 && first == lastFirst && end == lastEnd:
				v[k] = v[k-1]
			default:
				v[k], some = f(s.values[first:end]), true
				overflow = overflow || isAbsent(v[k])
			}
			lastFirst, lastEnd = first, end
		}
		if overflow {
			return nil, errNotColumns
		}
		if some {
			if e.Func.Name != "last_over_time" {
				s.metric = s.metric.DropReserved(isName)
			}
			out.add(s.metric, v)
		}
	}
	return out.done()
}

// overTime are the functions of one or more values of a range. Prometheus's engine calculates all others.
var overTime = map[string]func(values []float64) float64{
	"avg_over_time": func(values []float64) float64 {
		sum, lost := values[0], 0.0
		for _, x := range values[1:] {
			if sum, lost = kahan(x, sum, lost); math.IsInf(sum, 0) {
				return absent // Prometheus treats an overflowing sum differently.
			}
		}
		n := float64(len(values))
		return sum/n + lost/n
	},
	"sum_over_time": func(values []float64) float64 {
		sum, lost := 0.0, 0.0
		for _, x := range values {
			sum, lost = kahan(x, sum, lost)
		}
		return sum + lost
	},
	"max_over_time": func(values []float64) float64 {
		most := values[0]
		for _, x := range values {
			if x > most || math.IsNaN(most) {
				most = x
			}
		}
		return most
	},
	"min_over_time": func(values []float64) float64 {
		least := values[0]
		for _, x := range values {
			if x < least || math.IsNaN(least) {
				least = x
			}
		}
		return least
	},
	"count_over_time": func(values []float64) float64 { return float64(len(values)) },
	"last_over_time":  func(values []float64) float64 { return values[len(values)-1] },
}

// quantile computes a quantile as Prometheus does. It sorts the values.
func quantile(q float64, values []float64) float64 {
	switch {
	case math.IsNaN(q):
		return math.NaN()
	case q < 0:
		return math.Inf(-1)
	case q > 1:
		return math.Inf(+1)
	}
	slices.Sort(values)
	n := float64(len(values))
	rank := q * (n - 1)
	lower := math.Max(0, math.Floor(rank))
	upper := math.Min(n-1, lower+1)
	weight := rank - math.Floor(rank)
	if weight == 0 {
		return values[int(lower)]
	}
	return values[int(lower)]*(1-weight) + values[int(upper)]*weight
}

// ranged returns the values that a function of a range reads.
type ranged struct {
	series         []rangedSeries
	length, offset int64
}

type rangedSeries struct {
	metric labels.Labels
	times  []int64
	values []float64
}

func (c columns) ranges(expr parser.Expr) (ranged, error) {
	switch e := expr.(type) {
	case *parser.MatrixSelector:
		return c.samples(e)
	case *parser.SubqueryExpr:
		return c.subquery(e)
	}
	return ranged{}, errNotColumns
}

func (c columns) samples(e *parser.MatrixSelector) (out ranged, err error) {
	selector, ok := e.VectorSelector.(*parser.VectorSelector)
	if !ok || !isInstantSelector(selector) || e.RangeExpr != nil {
		return out, errNotColumns
	}
	late := c.view.late[selector]
	out.length, out.offset = e.Range.Milliseconds()-late, selector.OriginalOffset.Milliseconds()+late
	steps := c.view.times
	for _, s := range c.view.store.matching(selector.LabelMatchers) {
		times, values, histogram := s.samples(steps[0]-out.offset-out.length, steps[len(steps)-1]-out.offset, nil, nil)
		if histogram {
			return out, errNotColumns
		}
		if len(times) > 0 {
			out.series = append(out.series, rangedSeries{s.labels, times, values})
		}
	}
	return out, nil
}

// subquery evaluates an expression at the multiples of the subquery's step.
func (c columns) subquery(e *parser.SubqueryExpr) (out ranged, err error) {
	step := e.Step.Milliseconds()
	if step <= 0 || e.Timestamp != nil || e.StartOrEnd != 0 || e.RangeExpr != nil || e.StepExpr != nil || e.OriginalOffsetExpr != nil {
		return out, errNotColumns
	}
	steps := c.view.times
	out.length, out.offset = e.Range.Milliseconds(), e.OriginalOffset.Milliseconds()
	from, to := steps[0]-out.offset-out.length, steps[len(steps)-1]-out.offset
	inner := &view{store: c.view.store, lookback: c.view.lookback, memory: c.view.memory}
	for t := from/step*step + step; t <= to; t += step {
		inner.times = append(inner.times, t)
	}
	if from < 0 || len(inner.times) == 0 {
		return out, errNotColumns // Integer division rounds negative times up.
	}
	in, err := columns{view: inner, whole: c.whole}.vector(e.Expr)
	if err != nil {
		return out, err
	}
	for _, col := range in {
		s := rangedSeries{metric: col.metric}
		if !slices.ContainsFunc(col.v, isAbsent) {
			s.times, s.values = inner.times, col.v
			out.series = append(out.series, s)
			continue
		}
		for k, x := range col.v {
			if !isAbsent(x) {
				s.times, s.values = append(s.times, inner.times[k]), append(s.values, x)
			}
		}
		out.series = append(out.series, s)
	}
	return out, nil
}

// isInstantSelector reports whether a selector reads the instant, possibly with an offset.
func isInstantSelector(e *parser.VectorSelector) bool {
	return e.Timestamp == nil && e.StartOrEnd == 0 && e.OriginalOffsetExpr == nil && !e.Anchored && !e.Smoothed
}

// samples returns the floats of a series in (after, until], without staleness markers. It reports whether there is a
// histogram.
func (s *Series) samples(after, until int64, times []int64, values []float64) (t []int64, v []float64, histogram bool) {
	first, _ := slices.BinarySearchFunc(s.runs, after, func(r run, t int64) int {
		if r.end() <= t {
			return -1
		}
		return 1
	})
	for i := first; i < len(s.runs) && s.runs[i].start <= until; i++ {
		r := &s.runs[i]
		if r.stale() {
			continue
		}
		histogram = histogram || r.h != nil
		for k := r.indexFrom(after + 1); k < r.n && r.at(k) <= until; k++ {
			times, values = append(times, r.at(k)), append(values, r.v)
		}
	}
	return times, values, histogram
}

// rate computes rate or increase of counters; see extrapolatedRate in Prometheus's promql/functions.go.
func (c columns) rate(e *parser.MatrixSelector, perSecond bool) ([]column, error) {
	selector, ok := e.VectorSelector.(*parser.VectorSelector)
	if !ok || !isInstantSelector(selector) || e.RangeExpr != nil {
		return nil, errNotColumns
	}
	length, offset := e.Range.Milliseconds(), selector.OriginalOffset.Milliseconds()
	steps := c.view.times
	from, to := steps[0]-offset-length, steps[len(steps)-1]-offset
	out := newCollector(0)
	var times []int64
	var values []float64
	for _, s := range c.view.store.matching(selector.LabelMatchers) {
		var histogram bool
		if times, values, histogram = s.samples(from, to, times[:0], values[:0]); histogram {
			return nil, errNotColumns
		}
		if len(times) < 2 {
			continue
		}
		v := c.view.memory.column(len(steps))
		first, end, some := 0, 0, false
		for k, step := range steps {
			until := step - offset
			for end < len(times) && times[end] <= until {
				end++
			}
			for first < end && times[first] <= until-length {
				first++
			}
			v[k] = absent
			if end-first >= 2 {
				result, factor := extrapolated(times[first:end], values[first:end], until-length, until)
				if perSecond {
					factor /= e.Range.Seconds()
				}
				v[k], some = result*factor, true
			}
		}
		if some {
			out.add(s.labels.DropReserved(isName), v)
		}
	}
	return out.done()
}

// extrapolated returns the increase of a counter between its first and its last sample in a range, and the factor that
// extrapolates it to the whole range.
func extrapolated(times []int64, values []float64, start, end int64) (result, factor float64) {
	last := len(values) - 1
	result = values[last] - values[0]
	for i, v := range values[1:] {
		if v < values[i] {
			result += values[i]
		}
	}
	toStart, toEnd := float64(times[0]-start)/1000, float64(end-times[last])/1000
	sampled := float64(times[last]-times[0]) / 1000
	between := sampled / float64(last)
	threshold := between * 1.1
	if toStart >= threshold {
		toStart = between / 2
	}
	toZero := toStart
	if result > 0 && values[0] >= 0 {
		toZero = sampled * (values[0] / result)
	}
	if toZero < toStart {
		toStart = toZero
	}
	if toEnd >= threshold {
		toEnd = between / 2
	}
	factor = 1.0
	if sampled != 0 {
		factor = (sampled + toStart + toEnd) / sampled
	}
	return result, factor
}
