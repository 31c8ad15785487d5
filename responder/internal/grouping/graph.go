// Package grouping finds which alerts are one incident, and its probable causes.
//
// Input: alerts, the lineage of their objects, and changes with their times. Output: groups of alerts, each with its root
// object, the consequences, and probable causes with evidence and a confidence. State: none; the same input gives the same
// output. It never queries another system, reads no clock and starts nothing.
package grouping

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Kind is the kind of a node. Its order is that of the lineage, from data to money.
type Kind int

// The kinds of nodes.
const (
	Dataset Kind = iota + 1
	Snapshot
	Run
	Version
	Model
	Server
	GPU
	Host
	Department
	Exporter
	Other
)

var kindNames = map[Kind]string{
	Dataset: "dataset", Snapshot: "snapshot", Run: "run", Version: "version", Model: "model", Server: "server", GPU: "gpu", Host: "host",
	Department: "department", Exporter: "exporter", Other: "other",
}

func (k Kind) String() string { return kindNames[k] }

// MarshalText implements encoding.TextMarshaler.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Kind) UnmarshalText(text []byte) error {
	for kind, name := range kindNames {
		if name == string(text) {
			*k = kind
			return nil
		}
	}
	return fmt.Errorf("%q is no kind of node", text)
}

// Node is an object. Its name is unique in its cluster and namespace, which may be unknown.
type Node struct {
	Kind      Kind   `json:"kind"`
	Cluster   string `json:"cluster,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

func (n Node) String() string {
	if n.Kind == Other {
		return n.Name
	}
	return n.Kind.String() + " " + n.Name
}

func (n Node) compare(o Node) int {
	return cmp.Or(cmp.Compare(n.Kind, o.Kind), strings.Compare(n.Cluster, o.Cluster), strings.Compare(n.Namespace, o.Namespace), strings.Compare(n.Name, o.Name))
}

// matches reports whether the two may be one object: an unknown cluster or namespace matches any.
func (n Node) matches(o Node) bool {
	same := func(a, b string) bool { return a == b || a == "" || b == "" }
	return n.Kind == o.Kind && n.Name == o.Name && same(n.Cluster, o.Cluster) && same(n.Namespace, o.Namespace)
}

// Edge means that a problem of From can have consequences for To.
type Edge struct {
	From Node   `json:"from"`
	To   Node   `json:"to"`
	Why  string `json:"why"`
}

// MaxEdges bounds a graph. 200 datasets, 200 models and 500 GPUs have about 3000 edges.
const MaxEdges = 20_000

type objectName struct {
	kind Kind
	name string
}

// Graph is the lineage. The zero value is an empty graph.
type Graph struct {
	out, in   map[Node][]Edge
	byName    map[objectName][]Node
	edges     int
	Truncated bool // whether edges beyond MaxEdges were dropped
}

// Edges returns the number of edges.
func (g *Graph) Edges() int { return g.edges }

// Add adds an edge, once. An end without a cluster or namespace is resolved to the only matching object.
func (g *Graph) Add(e Edge) {
	if e.From.Name == "" || e.To.Name == "" {
		return
	}
	e.From, e.To = g.Resolve(e.From), g.Resolve(e.To)
	if e.From == e.To || slices.ContainsFunc(g.out[e.From], func(o Edge) bool { return o.To == e.To }) {
		return
	}
	if g.edges >= MaxEdges {
		g.Truncated = true
		return
	}
	if g.out == nil {
		g.out, g.in, g.byName = map[Node][]Edge{}, map[Node][]Edge{}, map[objectName][]Node{}
	}
	g.know(e.From)
	g.know(e.To)
	g.out[e.From] = append(g.out[e.From], e)
	g.in[e.To] = append(g.in[e.To], e)
	g.edges++
}

func (g *Graph) know(n Node) {
	key := objectName{n.Kind, n.Name}
	if !slices.Contains(g.byName[key], n) {
		g.byName[key] = append(g.byName[key], n)
	}
}

// Resolve returns the node of the graph that matches n: an alert has external labels of Prometheus that series lack. If none
// or several match, it returns n.
func (g *Graph) Resolve(n Node) Node {
	found, several := Node{}, false
	for _, o := range g.byName[objectName{n.Kind, n.Name}] {
		switch {
		case o == n:
			return n
		case o.matches(n) && found.Kind != 0:
			several = true
		case o.matches(n):
			found = o
		}
	}
	if found.Kind == 0 || several {
		return n
	}
	return found
}

// clone returns a copy to which edges can be added without changing g.
func (g *Graph) clone() *Graph {
	c := &Graph{edges: g.edges, Truncated: g.Truncated, out: map[Node][]Edge{}, in: map[Node][]Edge{}, byName: map[objectName][]Node{}}
	for n, es := range g.out {
		c.out[n] = slices.Clip(es)
	}
	for n, es := range g.in {
		c.in[n] = slices.Clip(es)
	}
	for k, ns := range g.byName {
		c.byName[k] = slices.Clip(ns)
	}
	return c
}

// Bounds of a walk: the longest path of the lineage has seven edges, and the largest object a few hundred neighbours.
const (
	maxHops    = 8
	maxVisited = 500
)

// Upstream returns the objects whose problems can have consequences for n, with their distance in edges.
func (g *Graph) Upstream(n Node) map[Node]int {
	return g.walk(n, g.in, func(e Edge) Node { return e.From })
}

// Downstream returns the objects for which problems of n can have consequences, with their distance in edges.
func (g *Graph) Downstream(n Node) map[Node]int {
	return g.walk(n, g.out, func(e Edge) Node { return e.To })
}

// Teaches reports whether the model is trained on the dataset or fed by it. Where the lineage has no cluster or namespace, those of
// the two must not differ.
func (g *Graph) Teaches(dataset, model Node) bool {
	d, m := g.Resolve(dataset), g.Resolve(model)
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	if (d.Cluster == "" || m.Cluster == "") && differ(dataset.Cluster, model.Cluster) ||
		(d.Namespace == "" || m.Namespace == "") && differ(dataset.Namespace, model.Namespace) {
		return false
	}
	_, found := g.walk(m, g.in, func(e Edge) Node {
		if e.To.Kind == Dataset {
			return e.To // The model does not learn from what its datasets are made from.
		}
		return e.From
	})[d]
	return found
}

func (g *Graph) walk(from Node, edges map[Node][]Edge, end func(Edge) Node) map[Node]int {
	seen := map[Node]int{from: 0}
	for queue := []Node{from}; len(queue) > 0 && len(seen) < maxVisited; queue = queue[1:] {
		hops := seen[queue[0]]
		if hops == maxHops {
			break
		}
		for _, e := range edges[queue[0]] {
			n := end(e)
			if _, known := seen[n]; !known {
				seen[n] = hops + 1
				queue = append(queue, n)
			}
		}
	}
	delete(seen, from)
	return seen
}

// mostNeighbours is the maximum number of neighbours of one kind that are shown as context.
const mostNeighbours = 4

// Around returns the edges on paths between the nodes, and those to their neighbours of kinds with few neighbours, in order.
func (g *Graph) Around(nodes []Node) []Edge {
	down, up := map[Node]bool{}, map[Node]bool{}
	for _, n := range nodes {
		down[n], up[n] = true, true
		for d := range g.Downstream(n) {
			down[d] = true
		}
		for u := range g.Upstream(n) {
			up[u] = true
		}
	}
	var on []Edge
	add := func(e Edge) {
		if !slices.Contains(on, e) && len(on) < maxVisited {
			on = append(on, e)
		}
	}
	for n := range down {
		for _, e := range g.out[n] {
			if up[n] && up[e.To] && down[e.To] {
				add(e)
			}
		}
	}
	slices.SortFunc(on, compareEdges)
	for _, n := range nodes {
		addFew(g.in[n], func(e Edge) Kind { return e.From.Kind }, add)
		addFew(g.out[n], func(e Edge) Kind { return e.To.Kind }, add)
	}
	slices.SortFunc(on, compareEdges)
	return on
}

func compareEdges(a, b Edge) int { return cmp.Or(a.From.compare(b.From), a.To.compare(b.To)) }

// addFew adds the edges to neighbours of kinds that have few of them.
func addFew(edges []Edge, end func(Edge) Kind, add func(Edge)) {
	of := map[Kind]int{}
	for _, e := range edges {
		of[end(e)]++
	}
	for _, e := range edges {
		if of[end(e)] <= mostNeighbours {
			add(e)
		}
	}
}
