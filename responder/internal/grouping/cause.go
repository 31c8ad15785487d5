package grouping

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// ChangeKind is the kind of a change.
type ChangeKind string

// The kinds of changes.
const (
	Deployed   ChangeKind = "deployment"
	Schema     ChangeKind = "schema"
	Retrained  ChangeKind = "retraining"
	Configured ChangeKind = "configuration"
	Priced     ChangeKind = "price"
)

// Change is a change of a monitored system. At is its time, or the latest possible one.
type Change struct {
	Kind ChangeKind `json:"kind"`
	Node Node       `json:"node"`
	At   time.Time  `json:"at"`
	Text string     `json:"text"`
	// Kinds are the kinds of objects that a changed price or exporter configuration can affect.
	Kinds []Kind `json:"kinds,omitempty"`
}

// Segment is a value that explains a change of a dataset, from ml_dataset_cause_info.
type Segment struct {
	Node      Node
	Column    string
	Signal    string
	Cause     string // such as "payment_provider = newpay"; "" if no single segment explains the change
	Explained float64
	Rows      float64 // share of the rows, 0 if unknown
	FirstSeen time.Time
	SQL       string // query that lists the rows, "" if unknown
}

// Cause is a possible cause of an incident, with a confidence from 0 to 1.
type Cause struct {
	Node       Node       `json:"node"`
	Title      string     `json:"title"`
	Confidence float64    `json:"confidence"`
	At         time.Time  `json:"at,omitzero"`
	Evidence   []Evidence `json:"evidence"`
}

// Evidence is one reason for a cause. Its weight is the probability from this reason alone.
type Evidence struct {
	Kind   string    `json:"kind"`
	Text   string    `json:"text"`
	At     time.Time `json:"at,omitzero"`
	Weight float64   `json:"weight"`
	SQL    string    `json:"sql,omitempty"` // query that lists the rows of a dataset
}

// Claimed is the minimum confidence at which a cause is named as the probable one.
const Claimed = 0.5

// Kinds of evidence other than changes.
const (
	evidenceFirst    = "first"
	evidenceUpstream = "upstream"
	evidenceSegment  = "segment"
)

// The weights are estimates and not fitted to real incidents. `make bench-incidents` measures them on planted ones.
var changeWeight = map[ChangeKind]float64{Deployed: 0.85, Schema: 0.85, Retrained: 0.6, Configured: 0.4, Priced: 0.8}

const (
	firstWeight    = 0.35
	upstreamWeight = 0.45
	segmentWeight  = 0.9
	inferredWeight = 0.6

	// changeTolerance is how much later than its consequence a change may seem to be, since it is noticed at the next
	// reading.
	changeTolerance = 5 * time.Minute
	// changeReach is the maximum time from a change to the first alert. changeDecay is the time after which the weight of a
	// change falls to about a third.
	changeReach = 24 * time.Hour
	changeDecay = 4 * time.Hour
	// mostConfidence is below 1, since no cause is certain.
	mostConfidence = 0.97
	// mostCauses and mostEvidence bound the reported causes and reasons.
	mostCauses, mostEvidence = 5, 8
)

// Causes returns the possible causes of the group, the most likely first.
func Causes(g *Group, lineage *Graph, changes []Change, segments []Segment) []Cause {
	if g.Unrelated {
		return nil
	}
	q := newInquiry(g, lineage)
	q.root()
	for _, s := range segments {
		q.segment(s)
	}
	for _, ch := range changes {
		q.change(ch)
	}
	causes := make([]Cause, 0, len(q.found))
	for _, c := range q.found {
		c.Confidence = confidence(c.Evidence)
		slices.SortStableFunc(c.Evidence, func(a, b Evidence) int { return cmp.Compare(b.Weight, a.Weight) })
		c.Evidence = c.Evidence[:min(len(c.Evidence), mostEvidence)]
		causes = append(causes, *c)
	}
	slices.SortFunc(causes, func(a, b Cause) int {
		return cmp.Or(cmp.Compare(b.Confidence, a.Confidence), a.At.Compare(b.At), a.Node.compare(b.Node))
	})
	return causes[:min(len(causes), mostCauses)]
}

// confidence combines the kinds of evidence as independent, with the strongest of each kind: three releases in one morning
// count once.
func confidence(evidence []Evidence) float64 {
	strongest := map[string]float64{}
	for _, e := range evidence {
		strongest[e.Kind] = max(strongest[e.Kind], e.Weight)
	}
	doubt := 1.0
	for _, w := range strongest {
		doubt *= 1 - w
	}
	return min(1-doubt, mostConfidence)
}

// inquiry collects the evidence for one group.
type inquiry struct {
	*Group
	lineage *Graph
	nodes   []Node
	down    map[Node]int // downstream of the root
	up      map[Node]map[Node]int
	found   map[Node]*Cause
}

func newInquiry(g *Group, lineage *Graph) *inquiry {
	q := &inquiry{Group: g, lineage: lineage, nodes: g.Nodes(), down: lineage.Downstream(g.Root), up: map[Node]map[Node]int{}, found: map[Node]*Cause{}}
	for _, n := range append(q.nodes, g.Root) {
		q.up[n] = lineage.Upstream(n)
	}
	return q
}

// add adds evidence for n. The strongest one determines the title and time of the cause.
func (q *inquiry) add(n Node, e Evidence, title string) {
	c := q.found[n]
	if c == nil {
		c = &Cause{Node: n}
		q.found[n] = c
	}
	strongest := 0.0
	for _, o := range c.Evidence {
		strongest = max(strongest, o.Weight)
	}
	if c.Title == "" || e.Weight > strongest {
		c.Title, c.At = title, e.At
	}
	c.Evidence = append(c.Evidence, e)
}

// root adds evidence from the lineage and the order of the alerts.
func (q *inquiry) root() {
	others, reached := 0, 0
	for _, n := range q.nodes {
		if n == q.Root {
			continue
		}
		others++
		if _, ok := q.down[n]; ok {
			reached++
		}
	}
	title := "Trouble with " + q.Root.String()
	if q.Inferred {
		q.add(q.Root, Evidence{
			Kind: evidenceUpstream, Weight: inferredWeight * float64(reached) / float64(max(others, 1)),
			Text: fmt.Sprintf("It is upstream of %d of %d objects that alert, which began together. It has no alert itself.", reached, others),
		}, title)
		return
	}
	onset := q.Onset(q.Root)
	if !onset.After(q.Start()) {
		q.add(q.Root, Evidence{Kind: evidenceFirst, At: onset, Weight: firstWeight, Text: "Its alert was the first."}, title)
	}
	if reached > 0 {
		q.add(q.Root, Evidence{
			Kind: evidenceUpstream, At: onset, Weight: upstreamWeight * float64(reached) / float64(others),
			Text: fmt.Sprintf("It is upstream of %d of the %d other objects that alert.", reached, others),
		}, title)
	}
}

func (q *inquiry) segment(s Segment) {
	s.Node = q.lineage.Resolve(s.Node)
	if q.Onset(s.Node).IsZero() {
		return // It explains a change without an alert.
	}
	about := s.Column
	if about == "" {
		about = "the number of rows"
	}
	if s.Cause == "" {
		q.add(s.Node, Evidence{Kind: evidenceSegment, Text: fmt.Sprintf("No single segment explains the change of %s (%s).", about, s.Signal), SQL: s.SQL}, "Trouble with "+s.Node.String())
		return
	}
	text := fmt.Sprintf("%s explains %.0f %% of the change of %s (%s)", s.Cause, 100*s.Explained, about, s.Signal)
	if s.Rows > 0 {
		text += fmt.Sprintf(", and is %.1f %% of the rows", 100*s.Rows)
	}
	relation := 0.7 // Consequences have segments, too.
	if s.Node == q.Root {
		relation = 1
	}
	q.add(s.Node, Evidence{Kind: evidenceSegment, At: s.FirstSeen, Weight: segmentWeight * relation * min(max(s.Explained, 0), 1), Text: text + ".", SQL: s.SQL}, s.Cause+" in "+s.Node.String())
}

func (q *inquiry) change(ch Change) {
	ch.Node = q.lineage.Resolve(ch.Node)
	relation, onset, how := q.relate(&ch)
	if relation == 0 {
		return
	}
	gap := onset.Sub(ch.At)
	if gap < -changeTolerance || gap > changeReach {
		return
	}
	weight := changeWeight[ch.Kind] * relation * math.Exp(-max(gap, 0).Hours()/changeDecay.Hours())
	q.add(ch.Node, Evidence{
		Kind: string(ch.Kind), At: ch.At, Weight: weight,
		Text: fmt.Sprintf("%s at %s, %s the first alert%s.", ch.Text, ch.At.UTC().Format("2006-01-02 15:04 UTC"), before(gap), how),
	}, ch.Text)
}

// relate returns how closely a change is related to the group, when its possible consequences began, and a description.
func (q *inquiry) relate(ch *Change) (relation float64, onset time.Time, how string) {
	if len(ch.Kinds) > 0 {
		for _, m := range q.Members {
			if slices.Contains(ch.Kinds, m.Node.Kind) && (onset.IsZero() || m.Alert.StartsAt.Before(onset)) &&
				(ch.Kind != Priced || m.Alert.Labels["layer"] == "business") {
				onset = m.Alert.StartsAt
			}
		}
		if onset.IsZero() || !onset.Equal(q.Start()) {
			return 0, onset, "" // An earlier alert exists.
		}
		return 1, onset, " of what it concerns"
	}
	_, usesRoot := q.down[ch.Node]
	switch {
	case ch.Node == q.Root:
		return 1, q.Start(), ""
	case q.reaches(ch.Node, q.Root) && q.rootFollows(ch.Node.Kind):
		return 0.75, q.Start(), " of something downstream"
	case usesRoot && (q.Root.Kind == GPU || q.Root.Kind == Server || q.Root.Kind == Host) && ch.Kind == Deployed:
		// A release can saturate the hardware that it runs on.
		return 0.95, q.Start(), " of the hardware that serves it"
	}
	for _, m := range q.Members {
		if m.Node == ch.Node || m.Alert.class().follows(ch.Node.Kind) && q.reaches(ch.Node, m.Node) {
			if onset.IsZero() || m.Alert.StartsAt.Before(onset) {
				onset = m.Alert.StartsAt
			}
		}
	}
	if onset.IsZero() {
		return 0, onset, ""
	}
	return 0.5, onset, " of an object that began later than others"
}

// rootFollows reports whether the root's trouble can be a consequence of trouble with a kind of object.
func (q *inquiry) rootFollows(k Kind) bool {
	return q.Inferred || slices.ContainsFunc(q.Members, func(m Member) bool { return m.Node == q.Root && m.Alert.class().follows(k) })
}

func (q *inquiry) reaches(from, to Node) bool {
	_, ok := q.up[to][from]
	return ok
}

func before(gap time.Duration) string {
	switch gap = gap.Round(time.Minute); {
	case gap <= 0:
		return "at the time of"
	case gap < time.Hour:
		return fmt.Sprintf("%d min before", int(gap.Minutes()))
	default:
		return fmt.Sprintf("%.1f h before", gap.Hours())
	}
}
