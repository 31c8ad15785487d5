package engine

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	promrules "github.com/prometheus/prometheus/rules"
)

// vectors returns the outcome as an alerting rule reads it: one vector for each time. Plain rules get their own labels added
// here.
func (o *outcome) vectors(r *rule) []promql.Vector {
	out := make([]promql.Vector, len(o.times))
	for _, s := range o.series {
		metric := s.metric
		if r.plain {
			b := labels.NewBuilder(metric)
			r.labels.Range(func(l labels.Label) { b.Set(l.Name, l.Value) })
			metric = b.Labels()
		}
		for p := range s.all() {
			out[p.k] = append(out[p.k], promql.Sample{T: o.times[p.k], F: p.v, H: p.h, Metric: metric})
		}
	}
	return out
}

// idle reports whether an alerting rule has no active alerts.
func (r *rule) idle() bool { return r.alert.ActiveAlertsCount() == 0 }

// judge evaluates an alerting rule on its results at every step of a block.
//
// A step with the same labels as the one before changes only the values of alerts, unless a pending alert is due or an alert
// is kept firing without a result. Of consecutive steps of this kind, only the last is evaluated, since alerts keep its
// values.
func (e *Engine) judge(ctx context.Context, b *block, r *rule, out *outcome, steps []int64) error {
	vectors := out.vectors(r)
	k, judged, waiting := 0, -1, int64(-1)
	var until int64
	eval := func(k int, t int64) error {
		waiting = -1
		answer := func(context.Context, string, time.Time) (promql.Vector, error) { return vectors[k], nil }
		at := time.UnixMilli(t).UTC()
		written, err := r.alert.Eval(ctx, 0, at, answer, &url.URL{}, 0)
		if err != nil {
			judged = -1
			e.fail(r, t, err)
			return ctx.Err()
		}
		r.follow(at, func(tr Transition) { b.transition(r.index, tr) })
		judged = -1
		if e.readsAlerts {
			e.storeAlerts(r, written, t)
		} else if len(r.states) == len(vectors[k]) {
			judged, until = k, r.due()
		}
		return nil
	}
	last := 0 // Index of the result at the waiting step.
	for _, t := range steps {
		for k+1 < len(out.times) && out.times[k+1] <= t {
			k++
		}
		if out.fails(k) || len(vectors[k]) == 0 && r.idle() {
			continue
		}
		if judged >= 0 && t < until && sameSeries(vectors[judged], vectors[k]) {
			last, waiting = k, t
			continue
		}
		if waiting >= 0 {
			if err := eval(last, waiting); err != nil {
				return err
			}
		}
		if err := eval(k, t); err != nil {
			return err
		}
	}
	if waiting >= 0 {
		return eval(last, waiting)
	}
	return nil
}

// sameSeries reports whether two results have the same series.
func sameSeries(a, b promql.Vector) bool {
	return slices.EqualFunc(a, b, func(a, b promql.Sample) bool { return labels.Equal(a.Metric, b.Metric) })
}

// storeAlerts stores ALERTS and ALERTS_FOR_STATE.
func (e *Engine) storeAlerts(r *rule, written promql.Vector, t int64) {
	now := make(map[*Series]bool, len(written))
	for _, sample := range written {
		s := e.store.get(sample.Metric)
		s.append(t, sample.F, nil, 0, 1)
		now[s], r.touched[s] = true, true
	}
	for s := range r.live {
		if !now[s] {
			s.append(t, staleNaN, nil, 0, 1)
		}
	}
	r.live = now
}

// follow reports the state changes of a rule's alerts since the last call.
func (r *rule) follow(at time.Time, tell func(Transition)) {
	active := map[uint64]bool{}
	for _, a := range r.alert.ActiveAlerts() {
		hash := a.Labels.Hash()
		active[hash] = true
		state := Pending
		if a.State == promrules.StateFiring {
			state = Firing
		}
		before, known := r.states[hash]
		now := Transition{At: at, State: state, Labels: a.Labels, Value: a.Value, ActiveAt: a.ActiveAt.UTC()}
		// An alert without `for` skips pending. An alert that starts again has another ActiveAt.
		if !known || before.State != state || !before.ActiveAt.Equal(now.ActiveAt) {
			tell(now)
		}
		r.states[hash] = now
	}
	for hash, was := range r.states {
		if active[hash] {
			continue
		}
		delete(r.states, hash)
		end := Resolved
		if was.State == Pending {
			end = Inactive
		}
		was.At, was.State = at, end
		tell(was)
	}
}
