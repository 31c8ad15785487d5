package grouping

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// minCoverage is the share of the objects of a kind downstream of one without an alert that must alert for it to be taken for the
// cause: a table of customers that feeds a hundred models is not why two of them drift.
const minCoverage = 0.5

// candidate is an object that has no alert, and what it may be the cause of.
type candidate struct {
	node Node
	of   []*trouble
	hops int
}

// compare puts the one that explains most first, of two the nearer.
func (c candidate) compare(o candidate) int {
	return cmp.Or(cmp.Compare(len(o.of), len(c.of)), cmp.Compare(c.hops, o.hops), c.node.compare(o.node))
}

// candidates is a heap.
type candidates []candidate

func (c candidates) Len() int           { return len(c) }
func (c candidates) Less(i, j int) bool { return c[i].compare(c[j]) < 0 }
func (c candidates) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }

// Push implements heap.Interface.
func (c *candidates) Push(x any) { *c = append(*c, x.(candidate)) }

// Pop implements heap.Interface.
func (c *candidates) Pop() any {
	last := len(*c) - 1
	x := (*c)[last]
	*c = (*c)[:last]
	return x
}

// inferRoots joins troubles that nothing explains, began together and have the same object upstream.
func inferRoots(g *Graph, troubles []*trouble, o Options) {
	under := map[Node][]*trouble{}
	for _, t := range troubles { // In the order of their start.
		if t.parent != nil {
			continue
		}
		for n := range t.upstream {
			if t.class.follows(n.Kind) {
				under[n] = append(under[n], t)
			}
		}
	}
	in := inference{graph: g, within: o.Siblings, downstream: map[Node]map[Kind]int{}}
	var queue candidates
	for n, of := range under {
		if c, ok := in.candidate(n, of); ok {
			queue = append(queue, c)
		}
	}
	heap.Init(&queue)
	for queue.Len() > 0 {
		best := heap.Pop(&queue).(candidate)
		now, ok := in.candidate(best.node, under[best.node])
		switch {
		case !ok:
		case now.compare(best) != 0: // Others explained a part of it meanwhile.
			heap.Push(&queue, now)
		default:
			for _, t := range best.of {
				t.inferred = &now.node
				t.join(best.of[0])
			}
			heap.Push(&queue, now) // It may explain later troubles, too.
		}
	}
}

// inference is one run of inferRoots.
type inference struct {
	graph      *Graph
	within     time.Duration
	downstream map[Node]map[Kind]int
}

// candidate returns what of the troubles a node may be the cause of, as far as nothing else is.
func (in *inference) candidate(n Node, of []*trouble) (c candidate, ok bool) {
	open := slices.DeleteFunc(slices.Clone(of), func(t *trouble) bool { return t.inferred != nil })
	c = candidate{node: n, of: together(open, in.within)}
	if len(c.of) < 2 || !in.covers(n, c.of) {
		return c, false
	}
	for _, t := range c.of {
		c.hops += t.upstream[n]
	}
	return c, true
}

// together returns the longest run of troubles that began within the time and are of several objects.
func together(of []*trouble, within time.Duration) (most []*trouble) {
	j := 0
	for i := range of {
		for j < len(of) && of[j].start.Sub(of[i].start) <= within {
			j++
		}
		several := slices.ContainsFunc(of[i:j], func(t *trouble) bool { return t.node != of[i].node })
		if several && j-i > len(most) {
			most = of[i:j]
		}
	}
	return most
}

func (in *inference) covers(n Node, of []*trouble) bool {
	all := in.downstream[n]
	if all == nil {
		all = map[Kind]int{}
		for d := range in.graph.Downstream(n) {
			all[d.Kind]++
		}
		in.downstream[n] = all
	}
	alerting := map[Node]bool{}
	count := map[Kind]int{}
	for _, t := range of {
		if !alerting[t.node] {
			alerting[t.node] = true
			count[t.node.Kind]++
		}
	}
	for kind, n := range count {
		if float64(n) >= minCoverage*float64(all[kind]) {
			return true
		}
	}
	return false
}
