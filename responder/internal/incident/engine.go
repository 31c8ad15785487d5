package incident

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
	"github.com/sightglass-ml/sightglass/responder/internal/lineage"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

const (
	// maxAlerts bounds the alerts of one run, the latest first.
	maxAlerts = 2000
	// maxDeliveryAge is the maximum time since the last delivery of a firing alert. Alertmanager repeats it every hour.
	maxDeliveryAge = 24 * time.Hour
	// staleAfter is the age of the lineage from which incidents mention it. From uselessAfter on, the lineage is not used.
	staleAfter, lineageMaxAge = 10 * time.Minute, 6 * time.Hour
	// mostKept bounds segments, edges and objects in the analysis of one incident.
	mostKept = 200
)

// Engine groups alerts into incidents.
type Engine struct {
	store *store.Store
	now   func() time.Time

	cfg     atomic.Pointer[Config]
	reading atomic.Pointer[lineage.Reading]
	asks    atomic.Bool // whether a Prometheus is configured
	settled atomic.Pointer[inputs]
	queries [2]atomic.Uint64
}

// New returns an engine over a store.
func New(s *store.Store, now func() time.Time) *Engine {
	e := &Engine{store: s, now: now}
	var c Config
	c.SetDefaults()
	e.cfg.Store(&c)
	return e
}

// Configure replaces the configuration.
func (e *Engine) Configure(cfg Config) { e.cfg.Store(&cfg) }

// Queries returns the numbers of answered and failed lineage queries.
func (e *Engine) Queries() (answered, failed uint64) { return e.queries[0].Load(), e.queries[1].Load() }

// Lineage reads the lineage and changes from Prometheus. Without a Prometheus it only discards the last reading.
func (e *Engine) Lineage(ctx context.Context, q lineage.Querier) error {
	e.asks.Store(q != nil)
	if q == nil {
		e.reading.Store(nil)
		return nil
	}
	r, err := lineage.Read(ctx, q, e.cfg.Load().Links, e.now())
	e.queries[0].Add(uint64(r.Queries - r.Failed))
	e.queries[1].Add(uint64(r.Failed))
	if r.Failed == r.Queries {
		return fmt.Errorf("read the lineage: %w", err) // The previous reading stays in use.
	}
	e.reading.Store(r)
	if kept := e.keepChanges(ctx, r); kept != nil {
		return kept
	}
	if err != nil {
		return fmt.Errorf("read the lineage: %w", err)
	}
	return nil
}

// analysis is the stored result for an incident.
type analysis struct {
	Root      grouping.Node
	Inferred  bool `json:",omitempty"`
	Unrelated bool `json:",omitempty"`
	Causes    []grouping.Cause
	Segments  []grouping.Segment
	Edges     []grouping.Edge
	Notes     []string
}

// stored is an incident in the store.
type stored struct {
	id, digest string
	resolved   int64
	analysis   analysis
}

// inputs are the inputs of a plan. The same inputs give the same plan.
type inputs struct {
	cfg     *Config
	reading *lineage.Reading
	digest  [sha256.Size]byte
}

// plan is the state that the engine computes for the store.
type plan struct {
	inputs
	groups []*planned
	merged map[string]string // maps an incident to the one that it is merged into
	before map[string]stored
}

type planned struct {
	*grouping.Group
	analysis
	title, severity   string
	started, resolved time.Time
	digest            string
}

// Update updates the incidents from the alerts.
func (e *Engine) Update(ctx context.Context) error {
	now := e.now()
	var p *plan
	if err := e.store.Read(ctx, func(tx *store.Tx) (err error) {
		p, err = e.plan(tx, now)
		return err
	}); err != nil {
		return fmt.Errorf("group alerts: %w", err)
	}
	if p == nil {
		return nil
	}
	if !p.differs() {
		e.settled.Store(&p.inputs)
		return nil
	}
	e.settled.Store(nil)
	if err := e.store.Write(ctx, func(tx *store.Tx) error {
		if err := tx.Lock("incidents"); err != nil {
			return err
		}
		p, err := e.plan(tx, now) // Another replica may have updated them.
		if err != nil {
			return err
		}
		return p.save(tx, now)
	}); err != nil {
		return fmt.Errorf("keep incidents: %w", err)
	}
	return nil
}

// plan returns nil if the same inputs have given nothing new before.
func (e *Engine) plan(tx *store.Tx, now time.Time) (*plan, error) {
	cfg := e.cfg.Load()
	alerts, err := activeAlerts(tx, now, time.Duration(cfg.Window))
	if err != nil {
		return nil, err
	}
	p := &plan{merged: map[string]string{}}
	if p.before, err = incidentsOf(tx, alerts); err != nil {
		return nil, err
	}
	changes, err := readChanges(tx, now)
	if err != nil {
		return nil, err
	}
	graph, segments, notes := e.lineage(now)
	p.inputs = inputs{cfg, e.reading.Load(), digestOf(alerts, changes, notes)}
	if last := e.settled.Load(); last != nil && *last == p.inputs {
		return nil, nil //nolint:nilnil // nil means that there is nothing to do.
	}
	groups, full := grouping.Find(alerts, graph, cfg.options(graph.Edges() == 0))
	for _, g := range groups {
		p.groups = append(p.groups, analyse(g, full, changes, segments, notes, p.before[g.ID]))
		for _, id := range g.Merged {
			if _, other := p.merged[id]; !other {
				p.merged[id] = g.ID
			}
		}
	}
	for _, g := range groups { // A collection that continues without one of its alerts is not merged.
		delete(p.merged, g.ID)
	}
	return p, nil
}

func digestOf(alerts []*grouping.Alert, changes []grouping.Change, notes []string) [sha256.Size]byte {
	var all []byte
	for _, a := range alerts {
		all = fmt.Appendf(all, "%s %d %s %t\n", a.ID, store.Micros(a.EndsAt), a.Incident, a.Pinned)
	}
	for _, c := range changes {
		all = fmt.Appendf(all, "%s %v %d %s\n", c.Kind, c.Node, store.Micros(c.At), c.Text)
	}
	return sha256.Sum256(fmt.Appendf(all, "%q", notes))
}

// Graph returns the known lineage.
func (e *Engine) Graph() *grouping.Graph {
	g, _, _ := e.lineage(e.now())
	return g
}

// lineage returns the known lineage, and notes about its limits.
func (e *Engine) lineage(now time.Time) (*grouping.Graph, []grouping.Segment, []string) {
	r := e.reading.Load()
	switch {
	case !e.asks.Load():
		return lineage.Of(e.cfg.Load().Links), nil, []string{"Grouped by labels and configured links: no Prometheus is configured, whose series say what feeds what."}
	case r == nil || now.Sub(r.At) > lineageMaxAge:
		return lineage.Of(e.cfg.Load().Links), nil, []string{"Grouped by labels and configured links: Prometheus could not be asked what feeds what."}
	}
	var notes []string
	if now.Sub(r.At) > staleAfter {
		notes = append(notes, "Prometheus could not be asked what feeds what since "+r.At.UTC().Format("2006-01-02 15:04 UTC")+"; what it said then is used.")
	}
	if r.Truncated {
		notes = append(notes, "The lineage is larger than what is read of it, so relations may be missing.")
	}
	return r.Graph, r.Segments, notes
}

func analyse(g *grouping.Group, graph *grouping.Graph, changes []grouping.Change, segments []grouping.Segment, notes []string, before stored) *planned {
	p := &planned{Group: g, started: g.Start()}
	a := &p.analysis
	a.Root, a.Inferred, a.Unrelated, a.Notes = g.Root, g.Inferred, g.Unrelated, notes
	a.Segments = keepSegments(g, before.analysis.Segments, segments)
	a.Causes = grouping.Causes(g, graph, changes, a.Segments)
	for i := range a.Causes {
		a.Causes[i].Confidence = round(a.Causes[i].Confidence)
		for k := range a.Causes[i].Evidence {
			a.Causes[i].Evidence[k].Weight = round(a.Causes[i].Evidence[k].Weight)
		}
	}
	nodes := g.Nodes()
	if g.Inferred {
		nodes = append(nodes, g.Root)
	}
	for _, c := range a.Causes {
		if c.Confidence >= grouping.Claimed && c.Node.Kind != grouping.Exporter && !slices.Contains(nodes, c.Node) {
			nodes = append(nodes, c.Node)
		}
	}
	if !g.Unrelated {
		a.Edges = graph.Around(nodes)
		a.Edges = a.Edges[:min(len(a.Edges), mostKept)]
	}
	p.title, p.severity = title(g), severity(g)
	for _, m := range g.Members {
		if m.Alert.EndsAt.IsZero() {
			p.resolved = time.Time{}
			break
		}
		if m.Alert.EndsAt.After(p.resolved) {
			p.resolved = m.Alert.EndsAt
		}
	}
	return p
}

func round(f float64) float64 { return float64(int(f*100+0.5)) / 100 }

// keepSegments returns the known segments of the group's objects: the present ones, and earlier ones that the exporter no
// longer publishes because the drift is over.
func keepSegments(g *grouping.Group, before, now []grouping.Segment) []grouping.Segment {
	type key struct {
		node           grouping.Node
		column, signal string
	}
	of := func(s grouping.Segment) key { return key{s.Node, s.Column, s.Signal} }
	current := map[key]bool{}
	var all []grouping.Segment
	for _, s := range now {
		s.Explained, s.Rows = round(s.Explained), float64(int(s.Rows*1000+0.5))/1000
		if slices.ContainsFunc(g.Members, func(m grouping.Member) bool { return m.Node.Kind == s.Node.Kind && m.Node.Name == s.Node.Name }) {
			current[of(s)] = true
			all = append(all, s)
		}
	}
	for _, s := range before {
		if !current[of(s)] {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b grouping.Segment) int {
		return cmp.Or(cmp.Compare(b.Explained, a.Explained), cmp.Compare(a.Node.Name, b.Node.Name), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Signal, b.Signal), cmp.Compare(a.Cause, b.Cause))
	})
	return all[:min(len(all), 20)]
}

func title(g *grouping.Group) string {
	n := len(g.Members)
	if g.Unrelated {
		return strconv.Itoa(n) + " alerts without a known relation"
	}
	first := g.Members[0]
	if g.Inferred {
		return fmt.Sprintf("%s of %d objects downstream of %s", first.Alert.Labels["alertname"], len(g.Nodes()), g.Root)
	}
	t := first.Alert.Labels["alertname"]
	if first.Node.Kind != grouping.Other {
		t += " of " + first.Node.String()
	}
	if n > 1 {
		t += fmt.Sprintf(" and %d more", n-1)
	}
	return t
}

var severities = []string{"critical", "warning", "info"}

func severity(g *grouping.Group) string {
	best := len(severities)
	for _, m := range g.Members {
		if i := slices.Index(severities, m.Alert.Labels["severity"]); i >= 0 && i < best {
			best = i
		}
	}
	if best == len(severities) {
		return ""
	}
	return severities[best]
}

// seal computes the digest of the stored values.
func (p *planned) seal() error {
	text, err := json.Marshal(p.analysis)
	if err != nil {
		return err
	}
	all := fmt.Appendf(nil, "%s\n%s\n%d\n%d\n%s\n", p.title, p.severity, store.Micros(p.started), store.Micros(p.resolved), text)
	for _, m := range p.Members {
		all = fmt.Appendf(all, "%s %v %d %d\n", m.Alert.ID, m.Node, m.Depth, store.Micros(m.Alert.EndsAt))
	}
	sum := sha256.Sum256(all)
	p.digest = hex.EncodeToString(sum[:16])
	return nil
}

func (p *plan) differs() bool {
	for _, g := range p.groups {
		if err := g.seal(); err != nil || p.before[g.ID].digest != g.digest || slices.ContainsFunc(g.Members, func(m grouping.Member) bool { return m.Alert.Incident != g.ID }) {
			return true
		}
	}
	return len(p.merged) > 0
}

func (p *plan) save(tx *store.Tx, now time.Time) error {
	for _, g := range p.groups {
		if err := g.seal(); err != nil {
			return err
		}
		if err := g.save(tx, now, p.before[g.ID]); err != nil {
			return fmt.Errorf("incident %s: %w", g.ID, err)
		}
	}
	for from, into := range p.merged {
		n, err := tx.Exec(`UPDATE incidents SET merged_into = ?, resolved_at = CASE WHEN resolved_at = 0 THEN ? ELSE resolved_at END, digest = 'merged' WHERE id = ? AND merged_into = ''`,
			into, store.Micros(now), from)
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		if err := audit.Append(tx, audit.Record{Time: now, Kind: "incident_merged", Actor: "responder", Subject: from, Facts: map[string]string{"into": into}}); err != nil {
			return err
		}
	}
	// A collection without alerts is resolved.
	_, err := tx.Exec(`UPDATE incidents SET resolved_at = ?, digest = 'empty' WHERE resolved_at = 0
		AND NOT EXISTS (SELECT 1 FROM incident_alerts WHERE incident_alerts.incident_id = incidents.id)`, store.Micros(now))
	return err
}

func (p *planned) save(tx *store.Tx, now time.Time, before stored) error {
	for _, m := range p.Members {
		node, err := json.Marshal(m.Node)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO incident_alerts (alert_id, incident_id, node, depth) VALUES (?, ?, ?, ?)
			ON CONFLICT (alert_id) DO UPDATE SET incident_id = excluded.incident_id, node = excluded.node, depth = excluded.depth`,
			m.Alert.ID, p.ID, string(node), m.Depth); err != nil {
			return err
		}
	}
	text, err := json.Marshal(p.analysis)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO incidents (id, title, severity, analysis, digest, started_at, opened_at, resolved_at, acknowledged_at, acknowledged_by,
			merged_into, slack_channel, slack_ts, slack_digest, slack_attempts, slack_not_before)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, '', '', '', '', '', 0, 0)
		ON CONFLICT (id) DO UPDATE SET title = excluded.title, severity = excluded.severity, analysis = excluded.analysis, digest = excluded.digest,
			started_at = excluded.started_at, resolved_at = excluded.resolved_at, merged_into = ''`,
		p.ID, p.title, p.severity, string(text), p.digest, store.Micros(p.started), store.Micros(now), store.Micros(p.resolved)); err != nil {
		return err
	}
	record := audit.Record{Time: now, Actor: "responder", Subject: p.ID, Facts: map[string]string{"title": p.title, "alerts": strconv.Itoa(len(p.Members))}}
	if len(p.Causes) > 0 && p.Causes[0].Confidence >= grouping.Claimed {
		record.Facts["probable_cause"] = p.Causes[0].Title
		record.Facts["confidence"] = strconv.FormatFloat(p.Causes[0].Confidence, 'f', 2, 64)
	}
	switch {
	case before.id == "":
		record.Kind = "incident_opened"
	case before.resolved == 0 && !p.resolved.IsZero():
		record.Kind = "incident_resolved"
		record.Facts["resolved_at"] = p.resolved.UTC().Format(time.RFC3339)
	case before.resolved > 0 && p.resolved.IsZero():
		record.Kind = "incident_reopened"
	default:
		return nil
	}
	return audit.Append(tx, record)
}
