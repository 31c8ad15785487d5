package engine

import (
	"math"
	"slices"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

func (c columns) aggregate(e *parser.AggregateExpr) ([]column, error) {
	param := 0.0
	switch e.Op {
	case parser.SUM, parser.MAX, parser.MIN, parser.COUNT, parser.GROUP, parser.AVG:
	case parser.QUANTILE, parser.TOPK, parser.BOTTOMK:
		var err error
		if param, err = number(e.Param); err != nil {
			return nil, err
		}
	default:
		return nil, errNotColumns
	}
	in, err := c.vector(e.Expr)
	if err != nil {
		return nil, err
	}
	groups := grouped(e, in)
	switch e.Op {
	case parser.TOPK, parser.BOTTOMK:
		if param != 1 {
			return nil, errNotColumns
		}
		return in, best(e.Op == parser.TOPK, groups)
	case parser.QUANTILE:
		var out []column
		for _, g := range groups {
			out = append(out, column{g.metric, c.quantiles(param, g.members)})
		}
		return out, nil
	}
	var out []column
	for _, g := range groups {
		a := newAggregate(c.view.memory, e.Op, len(c.view.times))
		for _, col := range g.members {
			a.fold(col.v)
		}
		if !a.finish() {
			return nil, errNotColumns
		}
		out = append(out, column{g.metric, a.v})
	}
	return out, nil
}

// A group is the series that an aggregation combines, and the labels of the result.
type group struct {
	metric  labels.Labels
	members []column
}

func grouped(e *parser.AggregateExpr, in []column) []group {
	names := slices.Sorted(slices.Values(e.Grouping))
	if e.Without {
		names = slices.Sorted(slices.Values(append([]string{model.MetricNameLabel}, names...)))
	}
	at := map[string]int{}
	var out []group
	var buf []byte
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, col := range in {
		if e.Without {
			buf = col.metric.BytesWithoutLabels(buf, names...)
		} else {
			buf = col.metric.BytesWithLabels(buf, names...)
		}
		i, ok := at[string(buf)]
		if !ok {
			b.Reset(col.metric)
			if e.Without {
				b.Del(names...)
			} else {
				b.Keep(names...)
			}
			i = len(out)
			at[string(buf)] = i
			out = append(out, group{metric: b.Labels()})
		}
		out[i].members = append(out[i].members, col)
	}
	return out
}

// best keeps the maximum, or the minimum, of each group at each step. Equal ones are left to Prometheus's engine, since their
// order is not defined.
func best(greatest bool, groups []group) error {
	for _, g := range groups {
		if len(g.members) == 1 {
			continue
		}
		for k := range g.members[0].v {
			chosen := -1
			for i, col := range g.members {
				x := col.v[k]
				if isAbsent(x) {
					continue
				}
				if chosen < 0 {
					chosen = i
					continue
				}
				have := g.members[chosen].v[k]
				switch {
				case have == x || math.IsNaN(have) && math.IsNaN(x):
					return errNotColumns
				case math.IsNaN(have) || greatest && have < x || !greatest && have > x:
					g.members[chosen].v[k], chosen = absent, i
				default:
					col.v[k] = absent
				}
			}
		}
	}
	return nil
}

// quantiles returns the quantile of each group at each step.
func (c columns) quantiles(q float64, members []column) []float64 {
	out := c.view.memory.column(len(members[0].v))
	values := make([]float64, 0, len(members))
	for k := range out {
		values = values[:0]
		for _, col := range members {
			if !isAbsent(col.v[k]) {
				values = append(values, col.v[k])
			}
		}
		if out[k] = absent; len(values) > 0 {
			out[k] = quantile(q, values)
		}
	}
	return out
}

// An aggregate accumulates the series of a group one by one.
type aggregate struct {
	op parser.ItemType
	v  []float64
	// lost is the compensation of Kahan summation, and n the number of values.
	lost, n  []float64
	overflow bool
}

func newAggregate(memory *arena, op parser.ItemType, steps int) *aggregate {
	a := &aggregate{op: op, v: memory.fill(absent, steps)}
	if op == parser.SUM || op == parser.AVG {
		a.lost = memory.fill(0, steps)
	}
	if op == parser.AVG {
		a.n = memory.fill(0, steps)
	}
	return a
}

// finish computes the final values. It fails if a mean overflowed, which Prometheus computes differently.
func (a *aggregate) finish() bool {
	for k, lost := range a.lost {
		switch {
		case isAbsent(a.v[k]):
		case a.op == parser.AVG:
			a.v[k] = a.v[k]/a.n[k] + lost/a.n[k]
		default:
			a.v[k] += lost
		}
	}
	return !a.overflow
}

// fold adds a series to an aggregate.
func (a *aggregate) fold(v []float64) {
	into := a.v
	for k, x := range v {
		if isAbsent(x) {
			continue
		}
		have := into[k]
		first := isAbsent(have)
		switch a.op {
		case parser.COUNT:
			if first {
				have = 0
			}
			into[k] = have + 1
		case parser.GROUP:
			into[k] = 1
		case parser.SUM, parser.AVG:
			if first {
				into[k] = x
			} else {
				into[k], a.lost[k] = kahan(x, have, a.lost[k])
				a.overflow = a.overflow || a.op == parser.AVG && math.IsInf(into[k], 0)
			}
			if a.op == parser.AVG {
				a.n[k]++
			}
		case parser.MAX:
			if first || have < x || math.IsNaN(have) {
				into[k] = x
			}
		case parser.MIN:
			if first || have > x || math.IsNaN(have) {
				into[k] = x
			}
		}
	}
}

// kahan adds with Neumaier's compensation, as Prometheus does.
func kahan(x, sum, lost float64) (newSum, newLost float64) {
	t := sum + x
	switch {
	case math.IsInf(t, 0):
		lost = 0
	case math.Abs(sum) >= math.Abs(x):
		lost += (sum - t) + x
	default:
		lost += (x - t) + sum
	}
	return t, lost
}
