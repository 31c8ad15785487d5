package grouping

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// Options are the times and counts for grouping alerts.
type Options struct {
	// Lead is how much earlier than its cause a consequence may be detected: a table is profiled after models receive its
	// rows.
	Lead time.Duration
	// Window is how long after the end of a cause its consequences may begin, and how long a resolved incident accepts
	// alerts.
	Window time.Duration
	// Siblings is the maximum time between the starts of alerts with a common cause that has no alert itself.
	Siblings time.Duration
	// Storm is the number of firing alerts from which unrelated ones are collected in one group.
	Storm int
	// ByLabels joins alerts of one namespace that begin at about the same time, for use without a lineage.
	ByLabels bool
}

// DefaultOptions returns the defaults of incidents.* in the configuration.
func DefaultOptions() Options {
	return Options{Lead: 30 * time.Minute, Window: time.Hour, Siblings: 15 * time.Minute, Storm: 50}
}

// Group is the set of alerts of one incident.
type Group struct {
	ID     string
	Merged []string // incidents that are merged into this one
	// Root is the object at which the incident began. Inferred means that it has no alert, but is upstream of all objects
	// that have.
	Root     Node
	Inferred bool
	// Unrelated marks the collection of alerts without a known relation.
	Unrelated bool
	Members   []Member
}

// Member is an alert of a group. Members are sorted by depth and start.
type Member struct {
	Alert *Alert
	Node  Node
	// Depth is the number of alerting objects between it and the root.
	Depth int
}

// Nodes returns the objects of the members without duplicates, in order.
func (g *Group) Nodes() []Node {
	var nodes []Node
	for _, m := range g.Members {
		if !slices.Contains(nodes, m.Node) {
			nodes = append(nodes, m.Node)
		}
	}
	return nodes
}

// Onset returns when the first alert of the node began to fire.
func (g *Group) Onset(n Node) (first time.Time) {
	for _, m := range g.Members {
		if m.Node == n && (first.IsZero() || m.Alert.StartsAt.Before(first)) {
			first = m.Alert.StartsAt
		}
	}
	return first
}

// Start returns when the first alert began to fire.
func (g *Group) Start() (first time.Time) {
	for _, m := range g.Members {
		if first.IsZero() || m.Alert.StartsAt.Before(first) {
			first = m.Alert.StartsAt
		}
	}
	return first
}

// unrelatedPrefix is the prefix of the IDs of collections. An alert with a relation moves from a collection to its incident;
// it never moves out of an incident.
const unrelatedPrefix = "others-"

// trouble is the set of alerts of one object and class without long interruptions.
type trouble struct {
	node       Node
	class      class
	start, end time.Time // end is zero while one of the alerts fires
	alerts     []*Alert
	upstream   map[Node]int
	parent     *trouble
	inferred   *Node
	set        *trouble // parent in the union-find structure
}

func (t *trouble) find() *trouble {
	for t.set != t {
		t.set = t.set.set
		t = t.set
	}
	return t
}

// join joins two sets; the earlier element represents the result.
func (t *trouble) join(o *trouble) {
	a, b := t.find(), o.find()
	if b.before(a) {
		a, b = b, a
	}
	b.set = a
}

func (t *trouble) before(o *trouble) bool { return t.compare(o) < 0 }

func (t *trouble) compare(o *trouble) int {
	return cmp.Or(t.start.Compare(o.start), t.node.compare(o.node), cmp.Compare(t.class, o.class), strings.Compare(t.alerts[0].ID, o.alerts[0].ID))
}

// Find groups the alerts by lineage and time. An alert that is in an incident stays in it, and incidents with related alerts
// are merged.
func Find(alerts []*Alert, lineage *Graph, o Options) ([]*Group, *Graph) {
	g := lineage.clone()
	objects := make(map[*Alert]Node, len(alerts))
	for _, a := range alerts {
		_, edges := a.object()
		for _, e := range edges {
			g.Add(e)
		}
	}
	for _, a := range alerts {
		n, _ := a.object()
		objects[a] = g.Resolve(n)
	}
	troubles := gather(alerts, objects, o)
	byNode := map[Node][]*trouble{}
	for _, t := range troubles {
		t.upstream = g.Upstream(t.node)
		byNode[t.node] = append(byNode[t.node], t)
	}
	for _, t := range troubles {
		t.parent = findParent(t, byNode, o)
	}
	breakLoops(troubles)
	for _, t := range troubles {
		if t.parent != nil {
			t.join(t.parent)
		}
	}
	inferRoots(g, troubles, o)
	joinKnown(troubles)
	if o.ByLabels {
		joinNamespaces(troubles, o)
	}
	return collect(troubles, objects, foldable(troubles, alerts, o)), g
}

// gather joins the alerts of each object and class that overlap, or follow within the window.
func gather(alerts []*Alert, objects map[*Alert]Node, o Options) []*trouble {
	sorted := slices.Clone(alerts)
	slices.SortFunc(sorted, func(a, b *Alert) int {
		return cmp.Or(a.StartsAt.Compare(b.StartsAt), strings.Compare(a.ID, b.ID))
	})
	type key struct {
		node  Node
		class class
	}
	last := map[key]*trouble{}
	var all []*trouble
	for _, a := range sorted {
		k := key{objects[a], a.class()}
		t := last[k]
		if t == nil || !t.end.IsZero() && a.StartsAt.After(t.end.Add(o.Window)) {
			t = &trouble{node: k.node, class: k.class, start: a.StartsAt, end: a.EndsAt}
			t.set = t
			last[k] = t
			all = append(all, t)
		}
		t.alerts = append(t.alerts, a)
		if a.EndsAt.IsZero() || !t.end.IsZero() && a.EndsAt.After(t.end) {
			t.end = a.EndsAt
		}
	}
	return all
}

// hopPenalty is the cost of an edge in the choice of a cause, so that of two objects with similar times the nearer one is
// chosen.
const hopPenalty = 5 * time.Minute

// findParent returns the most likely cause of t.
func findParent(t *trouble, byNode map[Node][]*trouble, o Options) *trouble {
	var best *trouble
	var bestCost time.Duration
	consider := func(p *trouble, cost time.Duration) {
		if best == nil || cost < bestCost || cost == bestCost && p.before(best) {
			best, bestCost = p, cost
		}
	}
	for n, hops := range t.upstream {
		if !t.class.follows(n.Kind) {
			continue
		}
		for _, p := range byNode[n] {
			if t.start.Before(p.start.Add(-o.Lead)) || !p.end.IsZero() && t.start.After(p.end.Add(o.Window)) {
				continue
			}
			consider(p, t.start.Sub(p.start).Abs()+time.Duration(hops)*hopPenalty)
		}
	}
	if best != nil {
		return best
	}
	// Another trouble of the same object at the same time, such as drift and a queue after a release.
	for _, p := range byNode[t.node] {
		if p != t && p.before(t) && t.start.Sub(p.start) <= o.Siblings {
			consider(p, t.start.Sub(p.start))
		}
	}
	return best
}

// breakLoops removes the parent of the earliest trouble in each cycle of parents.
func breakLoops(troubles []*trouble) {
	for _, t := range troubles {
		seen := map[*trouble]bool{}
		for p := t; p != nil; p = p.parent {
			if !seen[p] {
				seen[p] = true
				continue
			}
			first := p
			for q := p.parent; q != p; q = q.parent {
				if q.before(first) {
					first = q
				}
			}
			first.parent = nil
			break
		}
	}
}

// joinKnown joins the troubles of alerts that are in one incident already.
func joinKnown(troubles []*trouble) {
	first := map[string]*trouble{}
	for _, t := range troubles {
		for _, a := range t.alerts {
			if a.Incident == "" || strings.HasPrefix(a.Incident, unrelatedPrefix) {
				continue
			}
			if f := first[a.Incident]; f != nil {
				t.join(f)
			} else {
				first[a.Incident] = t
			}
		}
	}
}

// joinNamespaces joins troubles of one cluster and namespace that begin together.
func joinNamespaces(troubles []*trouble, o Options) {
	type location struct{ cluster, namespace string }
	last := map[location]*trouble{}
	for _, t := range troubles { // in the order of their start
		labels := t.alerts[0].Labels
		p := location{labels["cluster"], labels["namespace"]}
		if p.namespace == "" {
			continue
		}
		if l := last[p]; l != nil && t.start.Sub(l.start) <= o.Siblings {
			t.join(l)
			continue
		}
		last[p] = t
	}
}

// mostLone is the maximum number of alerts of one object, for instance of its columns, for it to be folded into the
// collection during a storm.
const mostLone = 3

// foldable returns the sets for the collection of unrelated alerts: single troubles in a storm, and those that are in the
// collection already.
func foldable(troubles []*trouble, alerts []*Alert, o Options) map[*trouble]bool {
	firing := 0
	for _, a := range alerts {
		if a.EndsAt.IsZero() {
			firing++
		}
	}
	size := map[*trouble]int{}
	for _, t := range troubles {
		size[t.find()]++
	}
	single := map[*trouble]bool{}
	for t, n := range size {
		pinned := slices.ContainsFunc(t.alerts, func(a *Alert) bool { return a.Pinned })
		kept := slices.ContainsFunc(t.alerts, func(a *Alert) bool { return strings.HasPrefix(a.Incident, unrelatedPrefix) })
		if n == 1 && t.inferred == nil && len(t.alerts) <= mostLone && (kept || firing >= o.Storm && !pinned) {
			single[t] = true
		}
	}
	return single
}

func collect(troubles []*trouble, objects map[*Alert]Node, fold map[*trouble]bool) []*Group {
	groups := map[*trouble]*Group{}
	var others *Group
	var all []*Group
	for _, t := range troubles {
		set := t.find()
		group := groups[set]
		if fold[set] {
			if others == nil {
				others = &Group{Unrelated: true, Root: t.node}
				all = append(all, others)
			}
			group = others
		} else if group == nil {
			group = &Group{}
			groups[set] = group
			all = append(all, group)
		}
		if group.Root.Kind == 0 && t.parent == nil { // Troubles are in the order of their start.
			group.Root = t.node
			if t.inferred != nil {
				group.Root, group.Inferred = *t.inferred, true
			}
		}
		depth := 0
		for p := t.parent; p != nil; p = p.parent {
			depth++
		}
		for _, a := range t.alerts {
			group.Members = append(group.Members, Member{a, objects[a], depth})
		}
	}
	for _, g := range all {
		slices.SortStableFunc(g.Members, func(a, b Member) int {
			return cmp.Or(cmp.Compare(a.Depth, b.Depth), a.Alert.StartsAt.Compare(b.Alert.StartsAt), cmp.Compare(a.Node.Kind, b.Node.Kind), strings.Compare(a.Alert.ID, b.Alert.ID))
		})
		g.name()
	}
	return all
}

// name sets the ID of the group: that of the earliest incident of its alerts, or a new one.
func (g *Group) name() {
	byStart := slices.SortedFunc(slices.Values(g.Members), func(a, b Member) int {
		return cmp.Or(a.Alert.StartsAt.Compare(b.Alert.StartsAt), strings.Compare(a.Alert.ID, b.Alert.ID))
	})
	for _, m := range byStart {
		id := m.Alert.Incident
		switch {
		case id == "", strings.HasPrefix(id, unrelatedPrefix) && !g.Unrelated:
		case g.ID == "" && strings.HasPrefix(id, unrelatedPrefix) == g.Unrelated:
			g.ID = id
		case id != g.ID && !slices.Contains(g.Merged, id):
			g.Merged = append(g.Merged, id)
		}
	}
	if g.ID != "" {
		return
	}
	sum := sha256.Sum256([]byte(byStart[0].Alert.ID))
	g.ID = hex.EncodeToString(sum[:6])
	if g.Unrelated {
		g.ID = unrelatedPrefix + g.ID
	}
}
