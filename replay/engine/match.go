package engine

import (
	"math"
	"slices"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

func arithmetic(op parser.ItemType) func(a, b float64) float64 {
	switch op {
	case parser.ADD:
		return func(a, b float64) float64 { return a + b }
	case parser.SUB:
		return func(a, b float64) float64 { return a - b }
	case parser.MUL:
		return func(a, b float64) float64 { return a * b }
	case parser.DIV:
		return func(a, b float64) float64 { return a / b }
	case parser.POW:
		return math.Pow
	case parser.MOD:
		return math.Mod
	case parser.ATAN2:
		return math.Atan2
	}
	return nil
}

func comparison(op parser.ItemType) func(a, b float64) bool {
	switch op {
	case parser.EQLC:
		return func(a, b float64) bool { return a == b }
	case parser.NEQ:
		return func(a, b float64) bool { return a != b }
	case parser.GTR:
		return func(a, b float64) bool { return a > b }
	case parser.LSS:
		return func(a, b float64) bool { return a < b }
	case parser.GTE:
		return func(a, b float64) bool { return a >= b }
	case parser.LTE:
		return func(a, b float64) bool { return a <= b }
	}
	return nil
}

// operator returns the function of a binary operator on two values. A comparison that does not hold returns absent; one that
// holds returns kept, the value of the vector's side.
func operator(e *parser.BinaryExpr, kept func(a, b float64) float64) func(a, b float64) float64 {
	if f := arithmetic(e.Op); f != nil {
		return f
	}
	holds := comparison(e.Op)
	if holds == nil {
		return nil
	}
	if e.ReturnBool {
		return func(a, b float64) float64 {
			if holds(a, b) {
				return 1
			}
			return 0
		}
	}
	return func(a, b float64) float64 {
		if holds(a, b) {
			return kept(a, b)
		}
		return absent
	}
}

func left(a, _ float64) float64  { return a }
func right(_, b float64) float64 { return b }

func (c columns) binary(e *parser.BinaryExpr) ([]column, error) {
	if m := e.VectorMatching; m != nil && (m.FillValues.LHS != nil || m.FillValues.RHS != nil) {
		return nil, errNotColumns
	}
	switch scalarLeft, scalarRight := e.LHS.Type() == parser.ValueTypeScalar, e.RHS.Type() == parser.ValueTypeScalar; {
	case scalarLeft && scalarRight:
		return nil, errNotColumns
	case scalarRight:
		return c.withNumber(e, e.LHS, e.RHS, operator(e, left))
	case scalarLeft:
		f := operator(e, right)
		if f == nil {
			return nil, errNotColumns
		}
		return c.withNumber(e, e.RHS, e.LHS, func(a, b float64) float64 { return f(b, a) })
	}
	lhs, err := c.vector(e.LHS)
	if err != nil {
		return nil, err
	}
	if e.Op != parser.LOR && !c.whole && cannotFail(e.RHS) && !slices.ContainsFunc(lhs, column.some) {
		return nil, nil // As of most alerts: nothing is wrong.
	}
	rhs, err := c.vector(e.RHS)
	if err != nil {
		return nil, err
	}
	if e.Op.IsSetOperator() {
		return set(e, lhs, rhs)
	}
	return c.join(e, lhs, rhs)
}

// cannotFail reports whether an expression has a result for all series, because it matches none with each other.
func cannotFail(expr parser.Expr) bool {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return cannotFail(e.Expr)
	case *parser.VectorSelector:
		return e.Name != ""
	case *parser.AggregateExpr:
		return cannotFail(e.Expr)
	case *parser.BinaryExpr:
		return e.Op.IsSetOperator() && cannotFail(e.LHS) && cannotFail(e.RHS)
	}
	return false
}

// withNumber applies an operator to a vector and a number.
func (c columns) withNumber(e *parser.BinaryExpr, vector, scalar parser.Expr, f func(a, b float64) float64) ([]column, error) {
	b, err := number(scalar)
	if err != nil || f == nil {
		return nil, errNotColumns
	}
	in, err := c.vector(vector)
	if err != nil {
		return nil, err
	}
	out := newCollector(len(in))
	for _, col := range in {
		apply(col.v, func(x float64) float64 { return f(x, b) })
		if !e.Op.IsComparisonOperator() || e.ReturnBool {
			col.metric = col.metric.DropReserved(isName)
		}
		out.add(col.metric, col.v)
	}
	return out.done()
}

// keys returns the labels of each series by which an operator matches it.
func keys(m *parser.VectorMatching, cols []column) []string {
	names := slices.Sorted(slices.Values(m.MatchingLabels))
	if !m.On {
		names = slices.Sorted(slices.Values(append([]string{model.MetricNameLabel}, names...)))
	}
	out := make([]string, len(cols))
	var buf []byte
	for i, col := range cols {
		if m.On {
			buf = col.metric.BytesWithLabels(buf, names...)
		} else {
			buf = col.metric.BytesWithoutLabels(buf, names...)
		}
		out[i] = string(buf)
	}
	return out
}

// set evaluates `and`, `or` and `unless`.
func set(e *parser.BinaryExpr, lhs, rhs []column) ([]column, error) {
	lk, rk := keys(e.VectorMatching, lhs), keys(e.VectorMatching, rhs)
	if e.Op == parser.LOR {
		has := anyOf(lk, lhs)
		out := newCollector(len(lhs) + len(rhs))
		for _, col := range lhs {
			out.add(col.metric, col.v)
		}
		for i, col := range rhs {
			if present := has[rk[i]]; present != nil {
				for k := range col.v {
					if present[k] {
						col.v[k] = absent
					}
				}
			}
			out.add(col.metric, col.v)
		}
		return out.done()
	}
	has := anyOf(rk, rhs)
	for i, col := range lhs {
		present := has[lk[i]]
		for k := range col.v {
			if (present != nil && present[k]) != (e.Op == parser.LAND) {
				col.v[k] = absent
			}
		}
	}
	return lhs, nil
}

// anyOf returns, for each key, at which steps one of its columns has a value.
func anyOf(keys []string, cols []column) map[string][]bool {
	out := make(map[string][]bool, len(cols))
	for i, col := range cols {
		present := out[keys[i]]
		if present == nil {
			present = make([]bool, len(col.v))
			out[keys[i]] = present
		}
		for k, v := range col.v {
			if !isAbsent(v) {
				present[k] = true
			}
		}
	}
	return out
}

// join evaluates arithmetic and comparisons between two vectors.
func (c columns) join(e *parser.BinaryExpr, lhs, rhs []column) ([]column, error) {
	m := e.VectorMatching
	f := operator(e, left)
	if f == nil {
		return nil, errNotColumns
	}
	many, one := lhs, rhs
	if m.Card == parser.CardOneToMany {
		many, one = rhs, lhs
		swapped := f
		f = func(a, b float64) float64 { return swapped(b, a) }
	}
	if len(many) == 0 || len(one) == 0 {
		return nil, nil
	}
	manyKeys, oneKeys := keys(m, many), keys(m, one)
	partners := make(map[string][]int, len(one))
	for i, key := range oneKeys {
		partners[key] = append(partners[key], i)
	}
	if overlap(oneKeys, one) || m.Card == parser.CardOneToOne && overlap(manyKeys, many) {
		return nil, errNotColumns
	}
	out := newCollector(len(many))
	b := labels.NewBuilder(labels.EmptyLabels())
	for i, col := range many {
		found := partners[manyKeys[i]]
		for n, j := range found {
			v := col.v
			if n < len(found)-1 {
				v = c.view.memory.clone(v) // The last match may overwrite the column.
			}
			combine(v, one[j].v, f)
			out.add(joined(b, e, col.metric, one[j].metric), v)
		}
	}
	return out.done()
}

// combine applies an operator to two columns and writes into the first. Most values equal those of the step before.
func combine(v, other []float64, f func(a, b float64) float64) {
	lastX, lastY, last := absent, absent, absent
	for k, x := range v {
		y := other[k]
		if math.Float64bits(x) == math.Float64bits(lastX) && math.Float64bits(y) == math.Float64bits(lastY) {
			v[k] = last
			continue
		}
		lastX, lastY = x, y
		if last = absent; !isAbsent(x) && !isAbsent(y) {
			last = f(x, y)
		}
		v[k] = last
	}
}

// apply applies a function to a column.
func apply(v []float64, f func(x float64) float64) {
	lastX, last := absent, absent
	for k, x := range v {
		if math.Float64bits(x) != math.Float64bits(lastX) {
			lastX = x
			if last = absent; !isAbsent(x) {
				last = f(x)
			}
		}
		v[k] = last
	}
}

// overlap reports whether two columns with the same key both have a value at some step.
func overlap(keys []string, cols []column) bool {
	first := make(map[string]int, len(keys))
	seen := map[string][]float64{}
	for i, key := range keys {
		j, ok := first[key]
		if !ok {
			first[key] = i
			continue
		}
		if seen[key] == nil {
			seen[key] = slices.Clone(cols[j].v)
		}
		if !merge(seen[key], cols[i].v) {
			return true
		}
	}
	return false
}

// joined returns the labels of the result of an operator on two series.
func joined(b *labels.Builder, e *parser.BinaryExpr, many, one labels.Labels) labels.Labels {
	m := e.VectorMatching
	b.Reset(many)
	if !e.Op.IsComparisonOperator() || e.ReturnBool {
		b.Del(model.MetricNameLabel)
	}
	if m.Card == parser.CardOneToOne {
		if m.On {
			b.Keep(m.MatchingLabels...)
		} else {
			b.Del(m.MatchingLabels...)
		}
	}
	for _, name := range m.Include {
		b.Set(name, one.Get(name)) // Setting a label to an empty value removes it.
	}
	return b.Labels()
}

// isName reports whether the label is the metric name.
func isName(label string) bool { return label == model.MetricNameLabel }
