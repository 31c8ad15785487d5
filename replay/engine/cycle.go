package engine

import (
	"context"
	"maps"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Rules in a dependency cycle need results of the step before: the first rule reads what the last one recorded then. One
// query for each step costs a hundred times as much as a block in columns. So a cycle is evaluated over the whole block in
// rounds. In each round, a rule reads its own and later rules' results from the round before, delayed by one step. When a
// round records the same as the round before, the results are correct: the first step depends only on samples from before the
// block, the second on the first, and so on. A cycle that does not settle, or contains what columns cannot calculate, is
// evaluated step by step.

// mostRounds is the maximum number of rounds until a cycle settles.
const mostRounds = 10

// A circle is the rules of a cycle that may have a result in a block.
type cycle struct {
	*Engine
	block *block
	rules []*rule
	// late maps selectors that read delayed results to the delay. lateNames has their metrics for each rule.
	late      map[*parser.VectorSelector]int64
	lateNames map[*rule]map[string]int64
	// feedback are the rules whose results are read delayed.
	feedback   map[*rule]bool
	liveSeries map[*rule]map[*Series]bool
	before     map[*Series]written
}

// written is the state of a series before the block.
type written struct {
	n    int
	last run
}

// evaluateCircle evaluates the rules of a cycle over a block and reports whether that is possible.
func (e *Engine) evaluateCircle(ctx context.Context, b *block, u unit) (bool, error) {
	c := e.circle(b, u)
	if c == nil {
		return false, nil
	}
	if len(c.rules) == 0 {
		return true, nil
	}
	for range mostRounds {
		settled, err := c.round(ctx)
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err != nil:
			c.undoAll()
			return false, nil //nolint:nilerr // Rules that columns cannot calculate are evaluated step by step.
		case settled:
			e.circles.Add(1)
			return true, c.checkAll(ctx)
		}
	}
	c.undoAll()
	return false, nil
}

// circle prepares the evaluation of a unit. It returns nil if the unit must be evaluated step by step.
func (e *Engine) circle(b *block, u unit) *cycle {
	c := &cycle{
		Engine: e, block: b, rules: e.active(u), late: make(map[*parser.VectorSelector]int64), lateNames: make(map[*rule]map[string]int64),
		feedback: make(map[*rule]bool), liveSeries: make(map[*rule]map[*Series]bool), before: make(map[*Series]written),
	}
	for i, r := range c.rules {
		if r.alert != nil || !r.columnar || r.interval != b.step || e.opts.Lookback.Milliseconds() <= r.interval || !c.readLate(i) {
			return nil
		}
		c.liveSeries[r] = maps.Clone(r.live)
		for _, s := range e.store.family(r.record).list() {
			w := written{n: len(s.runs)}
			w.last, _ = s.last()
			c.before[s] = w
		}
	}
	return c
}

// active returns, in file order, the rules of a unit that may have a result, or whose recorded series have to end.
func (e *Engine) active(u unit) []*rule {
	records, chosen := make(map[string]bool), make(map[*rule]bool)
	present := func(name string) bool { return records[name] || e.present(name) }
	for grown := true; grown; {
		grown = false
		for _, r := range u.rules {
			if !chosen[r] && (len(r.live) > 0 || r.alert != nil && !r.idle() || !isEmpty(r.expr, present)) {
				chosen[r], records[r.record], grown = true, true, true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(u.rules), func(r *rule) bool { return !chosen[r] })
}

// readLate finds the selectors of the i-th rule that read its own results or those of later rules. It returns false if such a
// selector may also read results of the same step, or if a delay by one step would change its meaning.
func (c *cycle) readLate(i int) bool {
	r := c.rules[i]
	later := c.rules[i:]
	names := make(map[string]int64)
	other := make(map[string]bool)
	fits := true
	parser.Inspect(r.expr, func(node parser.Node, path []parser.Node) error {
		vs, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		isLate, isOther := false, false
		for _, w := range c.Engine.rules {
			if !selectorReads(vs, w) {
				continue
			}
			if slices.Contains(later, w) {
				isLate, c.feedback[w] = true, true
			} else {
				isOther = true
			}
		}
		if !isLate {
			other[vs.Name] = true
			return nil
		}
		scraped := slices.ContainsFunc(c.store.family(vs.Name).list(), func(s *Series) bool { return s.pinned })
		if isOther || scraped || vs.Name == "" || !isInstantSelector(vs) || vs.OriginalOffset != 0 || !ofValues(path) {
			fits = false
		}
		c.late[vs], names[vs.Name] = r.interval, r.interval
		return nil
	})
	c.lateNames[r] = names
	return fits && !slices.ContainsFunc(slices.Collect(maps.Keys(names)), func(name string) bool { return other[name] || other[""] })
}

// selectorReads reports whether a selector may match what a rule records, by the labels that the rule sets.
func selectorReads(vs *parser.VectorSelector, w *rule) bool {
	if w.record == "" {
		return false
	}
	sel := selector{name: vs.Name, matchers: vs.LabelMatchers}
	return sel.mayRead(w.record) && !slices.ContainsFunc(vs.LabelMatchers, func(m *labels.Matcher) bool {
		set := w.labels.Get(m.Name)
		return set != "" && !m.Matches(set)
	})
}

// ofValues reports whether the functions around a selector depend only on the values that it reads, not on the bounds of its
// range.
func ofValues(path []parser.Node) bool {
	for i, node := range path {
		switch node.(type) {
		case *parser.SubqueryExpr:
			return false
		case *parser.MatrixSelector:
			call, ok := path[i-1].(*parser.Call)
			if !ok || overTime[call.Func.Name] == nil && call.Func.Name != "quantile_over_time" {
				return false
			}
		}
	}
	return true
}

// round evaluates every rule once. It reports whether all rules that are read delayed recorded the same as in the round
// before.
func (c *cycle) round(ctx context.Context) (settled bool, err error) {
	settled = true
	for _, r := range c.rules {
		same, err := c.once(r)
		if err != nil {
			return false, err
		}
		settled = settled && same
	}
	return settled, ctx.Err()
}

// once evaluates a rule. It reports whether the rule recorded the same as in the round before, or is not read delayed.
func (c *cycle) once(r *rule) (same bool, err error) {
	memory := c.memory.get()
	defer c.memory.put(memory)
	out := outcome{times: c.block.steps(r)}
	v := &view{store: c.store, times: out.times, lookback: c.opts.Lookback.Milliseconds(), memory: memory, late: c.late}
	cols, err := columns{view: v}.vector(r.expr)
	if err != nil {
		return false, err
	}
	// At different steps, different results may be recorded as the same series.
	merged := newCollector(len(cols))
	for _, col := range cols {
		merged.add(r.recorded(col.metric), col.v)
	}
	if cols, err = merged.done(); err != nil {
		return false, err
	}
	out.take(cols)
	var had map[*Series][]run
	if c.feedback[r] {
		had = c.recorded(r)
	}
	c.undo(r)
	if err := c.record(c.block, r, &out); err != nil {
		return false, err
	}
	c.block.forget(r)
	return !c.feedback[r] || maps.EqualFunc(had, c.recorded(r), sameRuns), nil
}

// recorded returns what a rule recorded in the block. It includes the last run before the block, which may continue.
func (c *cycle) recorded(r *rule) map[*Series][]run {
	all := make(map[*Series][]run, len(r.touched))
	for s := range r.touched {
		all[s] = slices.Clone(s.runs[max(0, c.before[s].n-1):])
	}
	return all
}

func sameRuns(a, b []run) bool {
	return slices.EqualFunc(a, b, func(a, b run) bool {
		return a.start == b.start && a.step == b.step && a.n == b.n && a.h == b.h && math.Float64bits(a.v) == math.Float64bits(b.v)
	})
}

// undo deletes what a rule recorded in the block.
func (c *cycle) undo(r *rule) {
	for s := range r.touched {
		was := c.before[s]
		s.runs = s.runs[:was.n]
		if was.n > 0 {
			s.runs[was.n-1] = was.last
		}
	}
	clear(r.touched)
	r.live = maps.Clone(c.liveSeries[r])
}

func (c *cycle) undoAll() {
	for _, r := range c.rules {
		c.undo(r)
		c.block.forget(r)
	}
}

// checkAll compares the recorded results with Prometheus's engine, as check does.
func (c *cycle) checkAll(ctx context.Context) error {
	for _, r := range c.rules {
		out := outcome{times: c.block.steps(r)}
		v := &view{store: c.store, times: out.times[len(out.times)/2:][:1], lookback: c.opts.Lookback.Milliseconds(), late: c.late}
		out.times = v.times
		cols, err := columns{view: v}.vector(r.expr)
		if err != nil {
			return err
		}
		out.take(cols)
		if err := c.check(ctx, r, lateStore{c.store, c.lateNames[r]}, &out); err != nil {
			return err
		}
	}
	return nil
}
