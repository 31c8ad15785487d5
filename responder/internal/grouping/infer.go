package grouping

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// minCoverage is the minimum share of alerting objects, of one kind downstream, for an object without an alert to be inferred
// as the cause: a customer table that feeds a hundred models does not explain drift of two of them.
const minCoverage = 0.5

// candidate is an object without an alert, and the troubles that it may have caused.
type candidate struct {
	node Node
	of   []*trouble
	hops int
}

// compare orders candidates by the number of explained troubles, then by distance.
func (c candidate) compare(o candidate) int {
	return cmp.Or(cmp.Compare(len(o.of), len(c.of)), cmp.Compare(c.hops, o.hops), c.node.compare(o.node))
}

// candidates is a heap of candidates, the best first.
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

// inferRoots joins troubles without a parent that began together and have a common upstream object.
func inferRoots(g *Graph, troubles []*trouble, o Options) {
	under := map[Node][]*trouble{}
	for _, t := range troubles { // in the order of their start
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
		case now.compare(best) != 0: // Another candidate has explained some of its troubles.
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

// inference is the state of one run of inferRoots.
type inference struct {
	graph      *Graph
	within     time.Duration
	downstream map[Node]map[Kind]int
}

// candidate returns a node with the unexplained troubles that it may have caused.
func (in *inference) candidate(n Node, of []*trouble) (c candidate, ok bool) {
	open := slices.DeleteFunc(slices.Clone(of), func(t *trouble) bool { return t.inferred != nil })
	c = candidate{node: n, of: longestCluster(open, in.within)}
	if len(c.of) < 2 || !in.covers(n, c.of) {
		return c, false
	}
	for _, t := range c.of {
		c.hops += t.upstream[n]
	}
	return c, true
}

// longestCluster returns the longest sequence of troubles on several objects that began within the time.
func longestCluster(of []*trouble, within time.Duration) (most []*trouble) {
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
