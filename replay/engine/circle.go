package engine

import (
	"context"
	"maps"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Rules that read each other in a circle need the step before: the one that comes first reads what the last one recorded then.
// One query a step costs a hundred times what a block in columns does. So a circle is evaluated over the whole block, round after
// round: what a rule reads of a later one, or of itself, is what that recorded in the round before, one step late. Once a round
// records what the one before did, every step has been calculated from the results of the steps before it, which is how it is
// defined: the first step is right since it reads what was there before the block, the second since the first is, and so on. A
// circle that does not settle, or has what columns cannot calculate, goes step by step.

// mostRounds is how many rounds a circle may take to settle.
const mostRounds = 10

// A circle is the rules of a unit that may have a result in a block.
type circle struct {
	*Engine
	block *block
	rules []*rule
	// late are the selectors that read one step late, and lateNames the metrics by rule that these read.
	late      map[*parser.VectorSelector]int64
	lateNames map[*rule]map[string]int64
	// feedback are the rules that are read late.
	feedback map[*rule]bool
	lives    map[*rule]map[*Series]bool
	before   map[*Series]written
}

// written is how far a series was written before the block.
type written struct {
	n    int
	last run
}

// evaluateCircle evaluates rules that read each other over a block, and reports whether it could.
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
			return false, nil //nolint:nilerr // What columns cannot calculate goes step by step.
		case settled:
			e.circles.Add(1)
			return true, c.checkAll(ctx)
		}
	}
	c.undoAll()
	return false, nil
}

// circle prepares a unit; it is nil for one that must go step by step.
func (e *Engine) circle(b *block, u unit) *circle {
	c := &circle{
		Engine: e, block: b, rules: e.active(u), late: make(map[*parser.VectorSelector]int64), lateNames: make(map[*rule]map[string]int64),
		feedback: make(map[*rule]bool), lives: make(map[*rule]map[*Series]bool), before: make(map[*Series]written),
	}
	for i, r := range c.rules {
		if r.alert != nil || !r.columnar || r.interval != b.step || e.opts.Lookback.Milliseconds() <= r.interval || !c.readLate(i) {
			return nil
		}
		c.lives[r] = maps.Clone(r.live)
		for _, s := range e.store.family(r.record).list() {
			w := written{n: len(s.runs)}
			w.last, _ = s.last()
			c.before[s] = w
		}
	}
	return c
}

// active are the rules of a unit that may have a result, or have recorded something that ends, in file order.
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

// readLate finds what the i-th rule reads of itself and of later ones. It reports false where that cannot be told from what
// others write at the same step, or is read in a way in which a step less is not the same.
func (c *circle) readLate(i int) bool {
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
			if !reads1(vs, w) {
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
		if isOther || scraped || vs.Name == "" || !plain(vs) || vs.OriginalOffset != 0 || !ofValues(path) {
			fits = false
		}
		c.late[vs], names[vs.Name] = r.interval, r.interval
		return nil
	})
	c.lateNames[r] = names
	return fits && !slices.ContainsFunc(slices.Collect(maps.Keys(names)), func(name string) bool { return other[name] || other[""] })
}

// reads1 tells whether a selector may match what a rule records, by the labels that this sets.
func reads1(vs *parser.VectorSelector, w *rule) bool {
	if w.record == "" {
		return false
	}
	sel := selector{name: vs.Name, matchers: vs.LabelMatchers}
	return sel.mayRead(w.record) && !slices.ContainsFunc(vs.LabelMatchers, func(m *labels.Matcher) bool {
		set := w.labels.Get(m.Name)
		return set != "" && !m.Matches(set)
	})
}

// ofValues tells whether what is above a selector is of the values that it reads, not of where its range begins and ends.
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

// round evaluates every rule once. It reports whether those that are read late recorded what they had in the round before.
func (c *circle) round(ctx context.Context) (settled bool, err error) {
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

// once evaluates a rule. It reports whether it recorded what it had in the round before, if that is read late.
func (c *circle) once(r *rule) (same bool, err error) {
	memory := c.memory.get()
	defer c.memory.put(memory)
	out := outcome{times: c.block.steps(r)}
	v := &view{store: c.store, times: out.times, lookback: c.opts.Lookback.Milliseconds(), memory: memory, late: c.late}
	cols, err := columns{view: v}.vector(r.expr)
	if err != nil {
		return false, err
	}
	// Step by step, results may take turns in a series.
	turns := newCollector(len(cols))
	for _, col := range cols {
		turns.add(r.recorded(col.metric), col.v)
	}
	if cols, err = turns.done(); err != nil {
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

// recorded is what a rule has recorded in the block, from the last run before it on, which may go on.
func (c *circle) recorded(r *rule) map[*Series][]run {
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

// undo drops what a rule has recorded in the block.
func (c *circle) undo(r *rule) {
	for s := range r.touched {
		was := c.before[s]
		s.runs = s.runs[:was.n]
		if was.n > 0 {
			s.runs[was.n-1] = was.last
		}
	}
	clear(r.touched)
	r.live = maps.Clone(c.lives[r])
}

func (c *circle) undoAll() {
	for _, r := range c.rules {
		c.undo(r)
		c.block.forget(r)
	}
}

// checkAll compares what was recorded with Prometheus's engine, as check does.
func (c *circle) checkAll(ctx context.Context) error {
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
