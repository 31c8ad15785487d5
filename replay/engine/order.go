package engine

import (
	"maps"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
)

// A unit is evaluated together: one rule, or several rules in a dependency cycle.
type unit struct {
	rules []*rule
	// after are the indexes of the units that this one reads.
	after []int
}

// order returns the rules as units, each after the units that it reads. Rules that record the same name are ordered as in the
// file, so that only one goroutine at a time creates series of a name.
func order(all []*rule) []unit {
	edges := reads(all)
	// In a cycle by names, labels may show that two rules do not read each other's series; such edges are removed. Outside of
	// cycles, a rule follows all rules that record a name that it reads, so that no series grows while it is read.
	for _, members := range components(edges) {
		for _, i := range members {
			edges[i] = slices.DeleteFunc(edges[i], func(w int) bool {
				before := all[w].record == all[i].record && w < i
				return slices.Contains(members, w) && !before && !all[i].readsSeriesOf(all[w])
			})
		}
	}
	var units []unit
	unitOf := make([]int, len(all))
	for _, members := range components(edges) {
		slices.Sort(members)
		u := unit{}
		for _, i := range members {
			u.rules = append(u.rules, all[i])
			unitOf[i] = len(units)
			all[i].stepwise = len(members) > 1 || slices.Contains(edges[i], i)
		}
		after := map[int]bool{}
		for _, i := range members {
			for _, j := range edges[i] {
				if !slices.Contains(members, j) {
					after[unitOf[j]] = true
				}
			}
		}
		u.after = slices.Sorted(maps.Keys(after))
		units = append(units, u)
	}
	return units
}

// reads returns, for each rule, the rules that must be evaluated before it: those that record what it reads, possibly itself,
// and earlier ones that record the same name.
func reads(all []*rule) [][]int {
	writers := map[string][]int{}
	for i, r := range all {
		for _, name := range r.outputs() {
			writers[name] = append(writers[name], i)
		}
	}
	edges := make([][]int, len(all))
	for i, r := range all {
		after := map[int]bool{}
		for _, sel := range r.reads {
			for name, by := range writers {
				if sel.mayRead(name) {
					for _, w := range by {
						after[w] = true
					}
				}
			}
		}
		if r.record != "" {
			for _, w := range writers[r.record] {
				if w < i {
					after[w] = true
				}
			}
		}
		edges[i] = slices.Sorted(maps.Keys(after))
	}
	return edges
}

// readsSeriesOf reports whether a selector of the rule may match what another rule records, by the labels that the other rule
// sets.
func (r *rule) readsSeriesOf(w *rule) bool {
	if w.record == "" {
		return true
	}
	return slices.ContainsFunc(r.reads, func(sel selector) bool {
		return sel.mayRead(w.record) && !slices.ContainsFunc(sel.matchers, func(m *labels.Matcher) bool {
			set := w.labels.Get(m.Name)
			return set != "" && !m.Matches(set)
		})
	})
}

// components returns the strongly connected components of a graph by Tarjan's algorithm, each after those to which it has
// edges.
func components(edges [][]int) [][]int {
	const unseen = 0
	index, low := make([]int, len(edges)), make([]int, len(edges))
	onStack := make([]bool, len(edges))
	var stack []int
	var out [][]int
	next := 1
	var visit func(v int)
	visit = func(v int) {
		index[v], low[v] = next, next
		next++
		stack, onStack[v] = append(stack, v), true
		for _, w := range edges[v] {
			if index[w] == unseen {
				visit(w)
				low[v] = min(low[v], low[w])
			} else if onStack[w] {
				low[v] = min(low[v], index[w])
			}
		}
		if low[v] != index[v] {
			return
		}
		at := slices.Index(stack, v)
		members := slices.Clone(stack[at:])
		for _, w := range members {
			onStack[w] = false
		}
		stack = stack[:at]
		out = append(out, members)
	}
	for v := range edges {
		if index[v] == unseen {
			visit(v)
		}
	}
	return out
}
