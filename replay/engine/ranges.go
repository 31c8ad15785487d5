package engine

import (
	"slices"

	"github.com/prometheus/prometheus/promql/parser"
)

// Functions of a range are calculated in columns too where they are most of what rules of counters cost: rate and increase, and
// sums over a subquery of a plain selector. The arithmetic is Prometheus's, operation by operation.

// overRange evaluates a function of a range, if it is one of those.
func (c columns) overRange(e *parser.Call) ([]column, error) {
	switch arg := e.Args[0].(type) {
	case *parser.MatrixSelector:
		if e.Func.Name == "rate" || e.Func.Name == "increase" {
			return c.rate(arg, e.Func.Name == "rate")
		}
	case *parser.SubqueryExpr:
		if e.Func.Name == "sum_over_time" {
			return c.sumOverSubquery(arg)
		}
	}
	return nil, errNotColumns
}

// plain tells whether a selector is of the instant, perhaps with an offset.
func plain(e *parser.VectorSelector) bool {
	return e.Timestamp == nil && e.StartOrEnd == 0 && e.OriginalOffsetExpr == nil && !e.Anchored && !e.Smoothed
}

// samples are the floats of a series in (after, until], without staleness markers. It reports whether there is a histogram.
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
		for k := r.from(after + 1); k < r.n && r.at(k) <= until; k++ {
			times, values = append(times, r.at(k)), append(values, r.v)
		}
	}
	return times, values, histogram
}

// rate is rate, or increase, of counters: see extrapolatedRate in Prometheus's promql/functions.go.
func (c columns) rate(e *parser.MatrixSelector, perSecond bool) ([]column, error) {
	selector, ok := e.VectorSelector.(*parser.VectorSelector)
	if !ok || !plain(selector) || e.RangeExpr != nil {
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
		v := make([]float64, len(steps))
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

// extrapolated is by how much a counter grew between its first and its last sample in a range, and the factor for what lies
// beyond these two.
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

// sumOverSubquery is sum_over_time of a subquery of a selector, such as sum_over_time(x[1h:2m]): the selector is evaluated at
// the multiples of the subquery's step.
func (c columns) sumOverSubquery(e *parser.SubqueryExpr) ([]column, error) {
	selector, ok := e.Expr.(*parser.VectorSelector)
	step := e.Step.Milliseconds()
	if !ok || step <= 0 || e.Timestamp != nil || e.StartOrEnd != 0 || e.RangeExpr != nil || e.StepExpr != nil || e.OriginalOffset != 0 || e.OriginalOffsetExpr != nil {
		return nil, errNotColumns
	}
	steps, length := c.view.times, e.Range.Milliseconds()
	inner := &view{store: c.view.store, lookback: c.view.lookback}
	for t := (steps[0]-length)/step*step + step; t <= steps[len(steps)-1]; t += step {
		inner.times = append(inner.times, t)
	}
	if steps[0] < length || len(inner.times) == 0 {
		return nil, errNotColumns // Before 1970, division rounds the other way.
	}
	in, err := columns{inner}.selector(selector)
	if err != nil {
		return nil, err
	}
	out := newCollector(len(in))
	for _, col := range in {
		v := make([]float64, len(steps))
		first, end, some := 0, 0, false
		for k, at := range steps {
			for end < len(inner.times) && inner.times[end] <= at {
				end++
			}
			for first < end && inner.times[first] <= at-length {
				first++
			}
			sum, lost, found := 0.0, 0.0, false
			for _, x := range col.v[first:end] {
				if !isAbsent(x) {
					sum, lost = kahan(x, sum, lost)
					found = true
				}
			}
			if v[k] = absent; found {
				v[k], some = sum+lost, true
			}
		}
		if some {
			out.add(col.metric.DropReserved(isName), v)
		}
	}
	return out.done()
}
