package engine

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"golang.org/x/sync/errgroup"
)

// evaluateBlock evaluates all rules over a block: each after the rules that it reads, independent rules concurrently.
func (e *Engine) evaluateBlock(ctx context.Context, b *block) error {
	if len(e.units) == 0 {
		return nil // Without units, nothing would close the channel ready.
	}
	waiting := make([]atomic.Int32, len(e.units))
	readers := make([][]int, len(e.units))
	ready := make(chan int, len(e.units))
	for i, u := range e.units {
		waiting[i].Store(int32(len(u.after)))
		for _, j := range u.after {
			readers[j] = append(readers[j], i)
		}
	}
	for i, u := range e.units {
		if len(u.after) == 0 {
			ready <- i
		}
	}
	var done atomic.Int32
	group, ctx := errgroup.WithContext(ctx)
	for range e.opts.Concurrency {
		group.Go(func() error {
			for {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case i, ok := <-ready:
					if !ok {
						return nil
					}
					if err := e.evaluateUnit(ctx, b, e.units[i]); err != nil {
						return err
					}
					b.changed(e.units[i])
					for _, reader := range readers[i] {
						if waiting[reader].Add(-1) == 0 {
							ready <- reader
						}
					}
					if int(done.Add(1)) == len(e.units) {
						close(ready)
					}
				}
			}
		})
	}
	return group.Wait()
}

func (e *Engine) evaluateUnit(ctx context.Context, b *block, u unit) error {
	for _, r := range u.rules {
		clear(r.touched)
	}
	if !u.rules[0].stepwise {
		r := u.rules[0]
		times := b.steps(r)
		if len(times) == 0 {
			return nil
		}
		return e.evaluateSteps(ctx, b, r, times)
	}
	if !e.stepByStep {
		if done, err := e.evaluateCircle(ctx, b, u); done || err != nil {
			return err
		}
	}
	for t := b.start; t < b.end; t += b.step {
		for _, r := range u.rules {
			if t%r.interval != 0 {
				continue
			}
			one := newBlock(time.UnixMilli(t), time.UnixMilli(t+1), e.opts.Interval)
			one.single = true
			if err := e.evaluateSteps(ctx, one, r, []int64{t}); err != nil {
				return err
			}
			for _, tr := range one.transitions {
				b.transition(tr.rule, tr.Transition)
			}
		}
	}
	return nil
}

// evaluateSteps evaluates a rule at equally spaced times and records or judges the result.
func (e *Engine) evaluateSteps(ctx context.Context, b *block, r *rule, times []int64) error {
	result := outcome{times: times}
	switch {
	case isEmpty(r.expr, e.present):
		if len(r.live) == 0 && (r.alert == nil || r.idle()) {
			return nil
		}
		result.times = times[:1]
	case len(times) > 1 && (r.pure || r.columnar):
		if r.pure {
			result.times = e.changing(b, r, times)
		}
		v := &view{store: e.store, times: result.times, lookback: e.opts.Lookback.Milliseconds(), memory: e.memory.get()}
		defer e.memory.put(v.memory)
		done, err := e.calculate(ctx, r, &result, v)
		switch {
		case err != nil:
			return err
		case done:
		case r.pure:
			opts := promql.NewPrometheusQueryOpts(false, viewLookback, nil)
			err = e.query(ctx, r, &result, v, opts, v.at(0), viewStep)
		default:
			err = e.query(ctx, r, &result, e.store, nil, time.UnixMilli(times[0]).UTC(), time.Duration(times[1]-times[0])*time.Millisecond)
		}
		if err != nil {
			return err
		}
	default:
		step := e.opts.Interval
		if len(times) > 1 {
			step = time.Duration(times[1]-times[0]) * time.Millisecond
		}
		if err := e.query(ctx, r, &result, e.store, nil, time.UnixMilli(times[0]).UTC(), step); err != nil {
			return err
		}
	}
	if r.alert == nil {
		return e.record(b, r, &result)
	}
	return e.judge(ctx, b, r, &result, times)
}

// calculate evaluates a rule in columns and reports whether that is possible.
func (e *Engine) calculate(ctx context.Context, r *rule, out *outcome, v *view) (bool, error) {
	if !r.columnar {
		return false, nil
	}
	cols, err := columns{view: v}.vector(r.expr)
	if err != nil {
		return false, nil //nolint:nilerr // Prometheus's engine evaluates what columns cannot.
	}
	out.take(cols)
	return true, e.check(ctx, r, e.store, out)
}

// take adds columns to the outcome.
func (o *outcome) take(cols []column) {
	for _, col := range cols {
		if col.some() {
			o.series = append(o.series, result{metric: col.metric, column: col.v})
		}
	}
}

// check compares the columns with the result of Prometheus's engine at the middle one of the times, because two
// implementations of a language may differ.
func (e *Engine) check(ctx context.Context, r *rule, q storage.Queryable, out *outcome) error {
	k := len(out.times) / 2
	want := outcome{times: out.times}
	at := time.UnixMilli(out.times[k]).UTC()
	if err := e.rangeQuery(ctx, r, q, nil, at, at, e.opts.Interval, k, &want); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("rule %s at %s: Prometheus's engine fails (%w) where the columns of package engine do not; please report it", r.name, at, err)
	}
	have := map[string]float64{}
	for _, s := range out.series {
		if v := s.column[k]; !isAbsent(v) {
			have[s.metric.String()] = v
		}
	}
	for _, s := range want.series {
		name, v := s.metric.String(), s.points[0].v
		got, ok := have[name]
		delete(have, name)
		if !ok || !almostEqual(got, v) {
			return fmt.Errorf("rule %s at %s: %s is %v, Prometheus's engine has %v; please report it", r.name, at, name, got, v)
		}
	}
	for name, v := range have {
		return fmt.Errorf("rule %s at %s: %s is %v, Prometheus's engine has none; please report it", r.name, at, name, v)
	}
	return nil
}

// almostEqual allows for sums in another order. Prometheus does not guarantee one either.
func almostEqual(a, b float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-9*(math.Abs(a)+math.Abs(b)+1)
}

// changing returns the first time, and each time at which an input of a pure rule may have changed.
func (e *Engine) changing(b *block, r *rule, times []int64) []int64 {
	picked := make([]bool, len(times))
	picked[0] = true
	every := times[1] - times[0]
	for _, sel := range r.reads {
		families := []*family{e.store.family(sel.name)}
		if sel.name == "" {
			families = slices.DeleteFunc(e.store.sorted(), func(f *family) bool { return !sel.mayRead(f.name) })
		}
		for _, f := range families {
			if f == nil {
				continue
			}
			for _, t := range b.changesOf(f, e.opts.Lookback.Milliseconds()) {
				if i := (max(t, times[0]) - times[0] + every - 1) / every; i < int64(len(picked)) {
					picked[i] = true
				}
			}
		}
	}
	var out []int64
	for i, t := range times {
		if picked[i] {
			out = append(out, t)
		}
	}
	return out
}

// present reports whether a metric has samples.
func (e *Engine) present(name string) bool {
	return slices.ContainsFunc(e.store.family(name).list(), func(s *Series) bool { return len(s.runs) > 0 })
}

// An outcome is the result of a rule's expression at several times.
type outcome struct {
	times  []int64
	series []result
	failed []bool // by index of the time; nil if no evaluation failed
}

// A result is one series of an outcome.
type result struct {
	metric labels.Labels
	points []point
	column []float64 // by index of the time; instead of points
}

// all iterates over the points in order of time.
func (r *result) all() iter.Seq[point] {
	if r.column == nil {
		return slices.Values(r.points)
	}
	return func(yield func(point) bool) {
		for k, v := range r.column {
			if !isAbsent(v) && !yield(point{k: k, v: v}) {
				return
			}
		}
	}
}

// runs iterates over the points, with the number of consecutive times at which the value is the same.
func (r *result) runs() iter.Seq2[point, int] {
	return func(yield func(point, int) bool) {
		for _, p := range r.points {
			if !yield(p, 1) {
				return
			}
		}
		for k := 0; k < len(r.column); {
			v, first := r.column[k], k
			for k++; k < len(r.column) && math.Float64bits(r.column[k]) == math.Float64bits(v); {
				k++
			}
			if !isAbsent(v) && !yield(point{k: first, v: v}, k-first) {
				return
			}
		}
	}
}

// A point is the value at the k-th time.
type point struct {
	k int
	v float64
	h *histogram.FloatHistogram
}

func (o *outcome) fails(k int) bool { return o.failed != nil && o.failed[k] }

// query evaluates a rule by one range query. If that fails, it queries step by step, as Prometheus does, and a failing step
// leaves a gap.
func (e *Engine) query(ctx context.Context, r *rule, out *outcome, q storage.Queryable, opts promql.QueryOpts, start time.Time, step time.Duration) error {
	end := start.Add(time.Duration(len(out.times)-1) * step)
	err := e.rangeQuery(ctx, r, q, opts, start, end, step, 0, out)
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	out.series, out.failed = nil, make([]bool, len(out.times))
	for k := range out.times {
		at := start.Add(time.Duration(k) * step)
		if err := e.rangeQuery(ctx, r, q, opts, at, at, step, k, out); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			out.failed[k] = true
			e.fail(r, out.times[k], err)
		}
	}
	out.merge()
	return nil
}

func (e *Engine) rangeQuery(ctx context.Context, r *rule, q storage.Queryable, opts promql.QueryOpts, start, end time.Time, step time.Duration, first int, out *outcome) error {
	e.queries.Add(1)
	query, err := e.promql.NewRangeQuery(ctx, q, opts, r.text, start, end, step)
	if err != nil {
		return err
	}
	defer query.Close() // Close releases the memory of the result.
	res := query.Exec(ctx)
	if res.Err != nil {
		return res.Err
	}
	matrix, err := res.Matrix()
	if err != nil {
		return err
	}
	index := func(t int64) int { return first + int((t-start.UnixMilli())/step.Milliseconds()) }
	for _, s := range matrix {
		points := make([]point, 0, len(s.Floats)+len(s.Histograms))
		for _, p := range s.Floats {
			points = append(points, point{k: index(p.T), v: p.F})
		}
		for _, p := range s.Histograms {
			points = append(points, point{k: index(p.T), h: p.H.Copy()})
		}
		if len(s.Floats) > 0 && len(s.Histograms) > 0 {
			slices.SortFunc(points, func(a, b point) int { return a.k - b.k })
		}
		out.series = append(out.series, result{metric: s.Metric, points: points})
	}
	return nil
}

// merge joins series with the same labels, after a result was collected step by step.
func (o *outcome) merge() {
	at := map[uint64]int{}
	var merged []result
	for _, s := range o.series {
		hash := s.metric.Hash()
		if i, ok := at[hash]; ok {
			merged[i].points = append(merged[i].points, s.points...)
			continue
		}
		at[hash] = len(merged)
		merged = append(merged, s)
	}
	o.series = merged
}

// record stores the results of a recording rule. A value is repeated until the next time. A series that disappears from the
// result ends with a staleness marker.
func (e *Engine) record(b *block, r *rule, out *outcome) error {
	until := func(k int) int64 {
		if k+1 < len(out.times) {
			return out.times[k+1]
		}
		return b.end
	}
	endAt := func(s *Series, k int) {
		for ; k < len(out.times); k++ {
			if !out.fails(k) {
				s.append(out.times[k], staleNaN, nil, 0, 1)
				return
			}
		}
	}
	now := make(map[*Series]bool, len(out.series))
	for _, res := range e.recordings(r, out) {
		s := res.series
		r.touched[s] = true
		next := 0
		live := r.live[s]
		for p, same := range res.runs() {
			if live && p.k > next {
				endAt(s, next)
			}
			t := out.times[p.k]
			next = p.k + same
			s.append(t, p.v, p.h, r.interval, int((until(next-1)-t+r.interval-1)/r.interval))
			live = true
		}
		if next < len(out.times) {
			endAt(s, next)
			live = slices.Contains(out.failed, true) && !stale(s)
		}
		if live {
			now[s] = true
		}
	}
	for s := range r.live {
		if !now[s] && !r.touched[s] || b.single && !now[s] {
			endAt(s, 0)
			r.touched[s] = true
			if !stale(s) {
				now[s] = true
			}
		}
	}
	r.live = now
	return nil
}

// A recording is the recorded series of one or more results.
type recording struct {
	series *Series
	result
}

// recordings groups the results by recorded series. Several results may have the same recorded labels, for instance if a rule
// reads one metric or else another. Two of them at the same time are an error, as in Prometheus.
func (e *Engine) recordings(r *rule, out *outcome) []recording {
	at := make(map[*Series]int, len(out.series))
	all := make([]recording, 0, len(out.series))
	for _, res := range out.series {
		s := e.store.get(r.recorded(res.metric))
		i, ok := at[s]
		if !ok {
			at[s] = len(all)
			all = append(all, recording{s, res})
			continue
		}
		points := slices.AppendSeq(slices.Collect(all[i].all()), res.all())
		slices.SortStableFunc(points, func(a, b point) int { return a.k - b.k })
		once := slices.CompactFunc(points, func(a, b point) bool {
			if a.k == b.k {
				e.fail(r, out.times[b.k], fmt.Errorf("two results have the same labels after the rule's were added: %s", s.labels))
			}
			return a.k == b.k
		})
		all[i].result = result{metric: res.metric, points: once}
	}
	return all
}

func stale(s *Series) bool {
	last, ok := s.last()
	return !ok || last.stale()
}

// recorded returns the labels of the series that the rule records for a result.
func (r *rule) recorded(metric labels.Labels) labels.Labels {
	b := labels.NewBuilder(metric)
	b.Set(model.MetricNameLabel, r.record)
	r.labels.Range(func(l labels.Label) { b.Set(l.Name, l.Value) })
	return b.Labels()
}

// RuleError is a rule whose evaluation failed.
type RuleError struct {
	Rule string
	// At is the time of the first failed evaluation and Err its error. Times counts failed evaluations; an evaluation with
	// unchanged inputs is not repeated.
	At    time.Time
	Err   error
	Times int
}

type failures struct {
	mu   sync.Mutex
	byID map[int]*RuleError
}

func (e *Engine) fail(r *rule, t int64, err error) {
	e.failures.mu.Lock()
	defer e.failures.mu.Unlock()
	f := e.failures.byID[r.index]
	if f == nil {
		f = &RuleError{Rule: r.name, At: time.UnixMilli(t).UTC(), Err: err}
		e.failures.byID[r.index] = f
	}
	f.Times++
}
