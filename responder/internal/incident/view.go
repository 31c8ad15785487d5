package incident

import (
	"cmp"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
	"github.com/sightglass-ml/sightglass/responder/internal/links"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// Bounds of the view of one incident.
const (
	mostMembers = 200
	mostActions = 100
	mostEvents  = 500
)

// Get returns an incident. If it was merged, MergedInto has the other incident's ID.
func Get(tx *store.Tx, id string, linkConfig Links) (*View, error) {
	s, a, err := scan(tx.QueryRow(`SELECT `+columns+` FROM incidents i WHERE i.id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	v := &View{Summary: s, Causes: a.Causes, Notes: a.Notes, Edges: a.Edges}
	g := gatherer{tx: tx, View: v, analysis: a, linkConfig: linkConfig}
	if err := g.members(); err != nil {
		return nil, err
	}
	g.objects()
	if err := g.actions(); err != nil {
		return nil, err
	}
	if err := g.timeline(); err != nil {
		return nil, err
	}
	return v, nil
}

// gatherer builds one view.
type gatherer struct {
	*View
	tx         *store.Tx
	analysis   analysis
	linkConfig Links
	subjects   []string // of the audit trail
	counts     map[grouping.Node]*Object
	order      []grouping.Node
}

func (g *gatherer) members() error {
	var noted int64
	err := g.tx.Each(`SELECT a.id, a.labels, a.annotations, a.starts_at, a.ends_at, m.node, COALESCE(v.verdict, ''), COALESCE(v.onset_at, 0)
		FROM incident_alerts m JOIN alerts a ON a.id = m.alert_id LEFT JOIN verdicts v ON v.alert_id = a.id
		WHERE m.incident_id = ? ORDER BY m.depth, a.starts_at, a.id LIMIT ?`, []any{g.ID, maxAlerts}, func(scan func(...any) error) error {
		var m Alert
		var labelText, annotationText, node string
		var starts, ends, onset int64
		if err := scan(&m.ID, &labelText, &annotationText, &starts, &ends, &node, &m.Verdict, &onset); err != nil {
			return err
		}
		var l, an map[string]string
		if err := errors.Join(json.Unmarshal([]byte(labelText), &l), json.Unmarshal([]byte(annotationText), &an), json.Unmarshal([]byte(node), &m.Object)); err != nil {
			return fmt.Errorf("read alert %s: %w", m.ID, err)
		}
		m.StartsAt, m.EndsAt = store.Time(starts), store.Time(ends)
		if onset > 0 && (noted == 0 || onset < noted) {
			noted = onset
		}
		g.subjects = append(g.subjects, m.ID)
		g.member(&m, l, an)
		return nil
	})
	g.began(store.Time(noted))
	return err
}

// member adds an alert; the remaining fields are in its labels and annotations.
func (g *gatherer) member(m *Alert, l, an map[string]string) {
	if g.counts == nil {
		g.counts = map[grouping.Node]*Object{}
	}
	g.count(m)
	if len(g.Members) == mostMembers {
		g.LeftOut++
		return
	}
	m.Name, m.Severity, m.Layer, m.Part = l["alertname"], l["severity"], l["layer"], subject(l)
	m.Summary, m.Description, m.Action, m.Value, m.Threshold = an["summary"], an["description"], an["action"], an["value"], an["threshold"]
	m.Links = g.links(an, m.StartsAt)
	g.Members = append(g.Members, *m)
}

// began returns the start of the incident: as noted by a person, otherwise the time of the probable cause.
func (g *gatherer) began(noted time.Time) {
	switch {
	case !noted.IsZero():
		g.Onset, g.OnsetFrom = noted, "noted by a person"
	case g.Cause != "" && !g.Causes[0].At.IsZero():
		g.Onset, g.OnsetFrom = g.Causes[0].At, "the time of the probable cause"
	}
	if g.Onset.After(g.StartedAt) {
		g.Onset = g.StartedAt
	}
}

// subject returns the column, field or similar that an alert is about.
func subject(l map[string]string) string {
	for _, name := range []string{"column", "field", "feature", "evaluation", "check", "metric", "outcome", "segment", "resource", "upstream", "xid"} {
		if l[name] != "" {
			return name + " " + l[name]
		}
	}
	return ""
}

func (g *gatherer) links(an map[string]string, at time.Time) (all []Link) {
	for _, l := range []Link{
		{"Trace", links.Fill(g.linkConfig.Trace, links.TraceID, an["trace_id"])},
		{"MLflow run", links.Fill(g.linkConfig.MLflow, links.RunID, an["mlflow_run_id"])},
		{"Dashboard", links.Dashboard(g.linkConfig.Grafana, an["dashboard"], at)},
		{"Runbook", links.Runbook(an["runbook_url"])},
	} {
		if l.URL != "" {
			all = append(all, l)
		}
	}
	return all
}

func (g *gatherer) count(m *Alert) {
	o := g.counts[m.Object]
	if o == nil {
		o = &Object{Node: m.Object, Onset: m.StartsAt}
		g.counts[m.Object] = o
		g.order = append(g.order, m.Object)
	}
	o.Alerts++
	if m.EndsAt.IsZero() {
		o.Firing++
	}
	if m.StartsAt.Before(o.Onset) {
		o.Onset = m.StartsAt
	}
}

// objects returns the alerting objects and those between them, in the order of the lineage and of their first alerts.
func (g *gatherer) objects() {
	for _, e := range g.Edges {
		for _, n := range []grouping.Node{e.From, e.To} {
			if g.counts[n] == nil {
				g.counts[n] = &Object{Node: n, Role: RoleRelated}
				g.order = append(g.order, n)
			}
		}
	}
	cause := grouping.Node{}
	if g.Cause != "" {
		cause = g.Causes[0].Node
	}
	for _, n := range g.order {
		o := g.counts[n]
		switch {
		case n == cause:
			o.Role = RoleCause
		case o.Alerts > 0 && n == g.analysis.Root:
			o.Role = RoleFirst
		case o.Alerts > 0 && !g.analysis.Unrelated:
			o.Role = RoleConsequence
		case o.Alerts == 0 && n == g.analysis.Root:
			o.Role = RoleUpstream
		}
		g.Objects = append(g.Objects, *o)
	}
	slices.SortStableFunc(g.Objects, func(a, b Object) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), a.Onset.Compare(b.Onset), strings.Compare(a.Name, b.Name))
	})
	g.Objects = g.Objects[:min(len(g.Objects), mostKept)]
}

// reasons describe results of actions.
var reasons = map[string]string{
	"succeeded": "done", "failed": "the target says that it failed", "rejected": "the target refused it", "undelivered": "the target did not take it in time",
	"timed_out": "the target did not end it in time", "dry_run": "not done: the action is a dry run", "cooldown": "held back: too soon after the last one on the object",
	"budget": "held back: the day's budget is used up", "held": "held back: the data are broken",
}

var progress = map[string]string{"pending": "waits", "sending": "is being sent", "running": "is running"}

func (g *gatherer) actions() error {
	return g.tx.Each(`SELECT x.id, x.name, x.action, x.object, x.state, x.result, x.target_id, x.created_at, x.started_at, x.finished_at
		FROM actions x JOIN incident_alerts m ON m.alert_id = x.alert_id WHERE m.incident_id = ? ORDER BY x.created_at, x.id LIMIT ?`, []any{g.ID, mostActions}, func(scan func(...any) error) error {
		var a Action
		var id string
		var created, started, finished int64
		if err := scan(&id, &a.Name, &a.Response, &a.Object, &a.State, &a.Result, &a.Target, &created, &started, &finished); err != nil {
			return err
		}
		a.At, a.EndedAt = store.Time(max(created, started)), store.Time(finished)
		if a.Why = reasons[a.Result]; a.Why == "" {
			a.Why = progress[a.State]
		}
		g.subjects = append(g.subjects, id)
		g.Actions = append(g.Actions, a)
		return nil
	})
}

// timeline merges changes, alerts, and actions of people and of the responder.
func (g *gatherer) timeline() error {
	g.happened()
	records, err := audit.Of(g.tx, append(g.subjects, g.ID), mostEvents)
	if err != nil {
		return err
	}
	for _, r := range records {
		if text := describe(&r); text != "" {
			g.event(r.Time, r.Kind, text, r.Actor)
		}
	}
	g.sortTimeline()
	return nil
}

func (g *gatherer) sortTimeline() {
	slices.SortStableFunc(g.Timeline, func(a, b Event) int { return a.At.Compare(b.At) })
	g.Timeline = g.Timeline[:min(len(g.Timeline), mostEvents)]
}

// happened adds the evidence with a time, and the alerts.
func (g *gatherer) happened() {
	for _, c := range g.Causes {
		for _, e := range c.Evidence {
			if !e.At.IsZero() && e.Kind != "first" && e.Kind != "upstream" {
				g.event(e.At, EventChange, e.Text, "")
			}
		}
	}
	for _, m := range g.Members {
		what := m.Name + " of " + m.Object.String()
		if m.Part != "" {
			what += ", " + m.Part
		}
		g.event(m.StartsAt, EventAlert, what+" began to fire", "")
		if !m.EndsAt.IsZero() {
			g.event(m.EndsAt, EventResolved, what+" was resolved", "")
		}
	}
}

func (g *gatherer) event(at time.Time, kind, text, actor string) {
	g.Timeline = append(g.Timeline, Event{at, kind, text, actor})
}

// describe formats an audit record as text; "" if the timeline has it already.
func describe(r *audit.Entry) string {
	f := map[string]string{}
	if err := json.Unmarshal(r.Facts, &f); err != nil {
		return r.Kind
	}
	action := strings.TrimSpace(f["name"] + " on " + f["object"])
	switch r.Kind {
	case "alert_received", "alert_resolved":
		return ""
	case "action_decided":
		if f["decision"] == "send" {
			return "Action " + action + " was decided"
		}
		return "Action " + action + ": " + cmp.Or(reasons[f["decision"]], f["decision"])
	case "action_attempt_failed":
		return "The target of an action did not take it, attempt " + f["attempt"]
	case "action_started", "action_found":
		return "The target took the action" + named(f["target_id"])
	case "action_finished":
		return "The action ended: " + cmp.Or(reasons[f["result"]], f["result"]) + named(f["target_id"])
	case "alert_judged":
		return "An alert was judged " + f["verdict"]
	case "incident_opened":
		return "The incident was opened: " + f["title"] + probably(f)
	case "incident_acknowledged":
		return "The incident was acknowledged"
	case "incident_merged":
		return "The incident turned out to be a part of " + f["into"]
	case "incident_resolved":
		return "The last alert was resolved" + probably(f)
	case "incident_reopened":
		return "The incident was opened again: " + f["title"]
	}
	return strings.ReplaceAll(r.Kind, "_", " ")
}

func named(id string) string {
	if id == "" {
		return ""
	}
	return " as " + id
}

func probably(f map[string]string) string {
	if f["probable_cause"] == "" {
		return ""
	}
	return ". Probable cause: " + f["probable_cause"] + " (confidence " + f["confidence"] + ")"
}
