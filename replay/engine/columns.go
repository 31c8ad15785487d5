package engine

import (
	"errors"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// errNotColumns is returned for expressions and series that only Prometheus's engine evaluates.
var errNotColumns = errors.New("not calculated in columns")

// Arithmetic on bins takes 90 % of the time of a replay: Prometheus's engine matches every sample at every step. This code
// matches the labels of series once and then calculates complete columns, a hundred times as fast.
//
// It supports only selectors, arithmetic, comparisons, set operators, plain functions, aggregations and some functions of
// ranges, and only series that match one to one at every step. Prometheus's engine evaluates everything else, including
// errors. The results are compared with Prometheus's own during a replay; see check.

// A column has the values of one series by step, absent where the series has none.
type column struct {
	metric labels.Labels
	v      []float64
}

// some reports whether the series has a value.
func (c column) some() bool {
	return slices.ContainsFunc(c.v, func(v float64) bool { return !isAbsent(v) })
}

// No sample of a result is a staleness marker, so its bits are free to say that there is none.
var absent, absentBits = staleNaN, math.Float64bits(staleNaN)

func isAbsent(v float64) bool { return math.Float64bits(v) == absentBits }

// columns evaluates an expression at the instants of a view.
type columns struct {
	view *view
	// whole says that every part is evaluated, whether or not anything depends on it.
	whole bool
}

// columnar reports whether columns support the expression for some series. It does not evaluate it.
func columnar(expr parser.Expr) bool {
	_, err := columns{view: &view{store: newStore(), times: []int64{math.MaxInt64 / 2}}, whole: true}.vector(expr)
	return err == nil
}

// vector evaluates an expression of type vector.
func (c columns) vector(expr parser.Expr) ([]column, error) {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return c.vector(e.Expr)
	case *parser.VectorSelector:
		return c.selector(e)
	case *parser.Call:
		return c.call(e)
	case *parser.AggregateExpr:
		return c.aggregate(e)
	case *parser.BinaryExpr:
		return c.binary(e)
	case *parser.UnaryExpr:
		return c.unary(e)
	}
	return nil, errNotColumns
}

func (c columns) unary(e *parser.UnaryExpr) ([]column, error) {
	in, err := c.vector(e.Expr)
	if err != nil || e.Op != parser.SUB {
		return in, err
	}
	out := newCollector(len(in))
	for _, col := range in {
		for k, v := range col.v {
			if !isAbsent(v) {
				col.v[k] = -v
			}
		}
		out.add(col.metric.DropReserved(isName), col.v)
	}
	return out.done()
}

// number evaluates a constant scalar expression.
func number(expr parser.Expr) (float64, error) {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return number(e.Expr)
	case *parser.NumberLiteral:
		return e.Val, nil
	case *parser.UnaryExpr:
		v, err := number(e.Expr)
		if e.Op == parser.SUB {
			v = -v
		}
		return v, err
	case *parser.BinaryExpr:
		if e.Op.IsComparisonOperator() {
			return 0, errNotColumns
		}
		a, errA := number(e.LHS)
		b, errB := number(e.RHS)
		f := arithmetic(e.Op)
		if errA != nil || errB != nil || f == nil {
			return 0, errNotColumns
		}
		return f(a, b), nil
	}
	return 0, errNotColumns
}

func (c columns) selector(e *parser.VectorSelector) ([]column, error) {
	if !isInstantSelector(e) {
		return nil, errNotColumns
	}
	var out []column
	at := c.view
	if ago := e.OriginalOffset.Milliseconds() + at.late[e]; ago != 0 {
		at = &view{store: at.store, lookback: at.lookback - at.late[e], times: slices.Clone(at.times)}
		for k := range at.times {
			at.times[k] -= ago
		}
	}
	times := at.times
	for _, s := range at.store.matching(e.LabelMatchers) {
		v := c.view.memory.column(len(times))
		some, histogram := at.instants(s, v)
		if histogram {
			return nil, errNotColumns
		}
		if some {
			out = append(out, column{s.labels, v})
		}
	}
	return out, nil
}

// functions of one vector and constants, as Prometheus defines them.
var functions = map[string]func(v float64, args []float64) float64{
	"abs":       func(v float64, _ []float64) float64 { return math.Abs(v) },
	"ceil":      func(v float64, _ []float64) float64 { return math.Ceil(v) },
	"floor":     func(v float64, _ []float64) float64 { return math.Floor(v) },
	"exp":       func(v float64, _ []float64) float64 { return math.Exp(v) },
	"ln":        func(v float64, _ []float64) float64 { return math.Log(v) },
	"sqrt":      func(v float64, _ []float64) float64 { return math.Sqrt(v) },
	"clamp_min": func(v float64, args []float64) float64 { return math.Max(args[0], v) },
	"clamp_max": func(v float64, args []float64) float64 { return math.Min(args[0], v) },
	"sgn": func(v float64, _ []float64) float64 {
		switch {
		case v < 0:
			return -1
		case v > 0:
			return 1
		}
		return v
	},
}

func (c columns) call(e *parser.Call) ([]column, error) {
	switch {
	case len(e.Args) == 0:
		return nil, errNotColumns
	case e.Func.Name == "label_replace":
		return c.labelReplace(e)
	case e.Func.Name == "histogram_quantile":
		return c.histogramQuantile(e)
	case e.Args[len(e.Args)-1].Type() == parser.ValueTypeMatrix:
		return c.overRange(e)
	case e.Func.Name == "vector":
		x, err := number(e.Args[0])
		return []column{{labels.EmptyLabels(), c.view.memory.fill(x, len(c.view.times))}}, err
	}
	f := functions[e.Func.Name]
	if f == nil {
		return nil, errNotColumns
	}
	args := make([]float64, 0, 1)
	for _, arg := range e.Args[1:] {
		v, err := number(arg)
		if err != nil {
			return nil, err
		}
		args = append(args, v)
	}
	in, err := c.vector(e.Args[0])
	if err != nil {
		return nil, err
	}
	out := newCollector(len(in))
	for _, col := range in {
		apply(col.v, func(x float64) float64 { return f(x, args) })
		out.add(col.metric.DropReserved(isName), col.v)
	}
	return out.done()
}

// A collector collects the columns of a result. It merges columns with the same labels unless both have a value at one step.
type collector struct {
	at   map[string]int
	cols []column
	err  error
	buf  []byte
}

func newCollector(n int) *collector {
	return &collector{at: make(map[string]int, n), cols: make([]column, 0, n)}
}

func (o *collector) add(metric labels.Labels, v []float64) {
	o.buf = metric.Bytes(o.buf[:0])
	if i, ok := o.at[string(o.buf)]; ok {
		if !merge(o.cols[i].v, v) {
			o.err = errNotColumns
		}
		return
	}
	o.at[string(o.buf)] = len(o.cols)
	o.cols = append(o.cols, column{metric, v})
}

func (o *collector) done() ([]column, error) { return o.cols, o.err }

// merge fills absent values of a from b. It returns false if both have a value at one step.
func merge(a, b []float64) bool {
	for k, v := range b {
		if isAbsent(v) {
			continue
		}
		if !isAbsent(a[k]) {
			return false
		}
		a[k] = v
	}
	return true
}
