// Package incident keeps incidents: which alerts are one, what probably caused it, who looks after it, and when it was over.
//
// Input: the alerts, actions and audit trail of the store, and readings of the lineage. Output: incidents for the page, the API, Slack
// and the terminal, and records of each in the audit trail. The package owns the tables incidents, incident_alerts, incident_changes
// and incident_state, and reads those of others. It starts no action, and never changes an alert.
package incident

import (
	"errors"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
	"github.com/sightglass-ml/sightglass/responder/internal/lineage"
)

// ErrNotFound says that there is no such incident.
var ErrNotFound = errors.New("there is no such incident")

// Config is how alerts become incidents.
type Config struct {
	// Window is how long after the end of a cause its consequences still begin, and how long an incident that is over takes alerts.
	Window config.Duration `yaml:"window"`
	// Lead is by how much a consequence may be seen before its cause.
	Lead config.Duration `yaml:"lead"`
	// Siblings is how close together alerts begin that have a common cause without an alert.
	Siblings config.Duration `yaml:"siblings"`
	// Storm is how many alerts fire for those without any relation to become one incident.
	Storm int `yaml:"storm"`
	// Links are the lineage that no series tells.
	Links []lineage.Link `yaml:"links,omitempty"`
	// Slack is where each incident is one message; without it nobody is told by the responder.
	Slack *SlackConfig `yaml:"slack,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (c *Config) SetDefaults() {
	o := grouping.DefaultOptions()
	c.Window, c.Lead, c.Siblings, c.Storm = config.Duration(o.Window), config.Duration(o.Lead), config.Duration(o.Siblings), o.Storm
}

// longest is far above what joins anything sensible.
const longest = config.Duration(7 * 24 * time.Hour)

// Validate implements config.Validator.
func (c *Config) Validate(at config.At) {
	for _, d := range []struct {
		key   string
		value config.Duration
	}{{"window", c.Window}, {"lead", c.Lead}, {"siblings", c.Siblings}} {
		if d.value < 0 || d.value > longest {
			at.Errorf(d.key, "%s; want a time up to %s", d.value, longest)
		}
	}
	if c.Storm < 2 {
		at.Errorf("storm", "%d; want at least 2", c.Storm)
	}
}

func (c *Config) options(byLabels bool) grouping.Options {
	return grouping.Options{
		Window: time.Duration(c.Window), Lead: time.Duration(c.Lead), Siblings: time.Duration(c.Siblings), Storm: c.Storm, ByLabels: byLabels,
	}
}

// Places are addresses of the operator, for links.
type Places struct {
	Trace, MLflow, Grafana string
	// Page is the address of the responder itself.
	Page string
}

// States of an incident.
const (
	Open         = "open"
	Acknowledged = "acknowledged"
	Resolved     = "resolved"
	Merged       = "merged"
)

// States are those that a list can be filtered by.
var States = []string{Open, Acknowledged, Resolved}

// Summary is an incident in a list.
type Summary struct {
	ID             string    `json:"id"`
	Title          string    `json:"title"`
	Severity       string    `json:"severity,omitempty"`
	State          string    `json:"state"`
	MergedInto     string    `json:"merged_into,omitempty"`
	StartedAt      time.Time `json:"started_at"`
	OpenedAt       time.Time `json:"opened_at"`
	AcknowledgedAt time.Time `json:"acknowledged_at,omitzero"`
	AcknowledgedBy string    `json:"acknowledged_by,omitempty"`
	ResolvedAt     time.Time `json:"resolved_at,omitzero"`
	Alerts         int       `json:"alerts"`
	Firing         int       `json:"firing"`
	// Cause is the title of the probable cause, "" where none is claimed.
	Cause      string  `json:"cause,omitempty"`
	Confidence float64 `json:"confidence,omitempty"`
}

// View is an incident as a whole.
type View struct {
	Summary
	// Onset is when it began as far as is known: what somebody noted, or else when what probably caused it happened.
	Onset     time.Time        `json:"onset,omitzero"`
	OnsetFrom string           `json:"onset_from,omitempty"`
	Causes    []grouping.Cause `json:"causes"`
	// Notes are what limits the analysis: no lineage, or an old one.
	Notes    []string        `json:"notes,omitempty"`
	Objects  []Object        `json:"objects"`
	Edges    []grouping.Edge `json:"edges"`
	Members  []Alert         `json:"members"`
	LeftOut  int             `json:"left_out,omitempty"` // alerts beyond those that are shown
	Actions  []Action        `json:"actions"`
	Timeline []Event         `json:"timeline"`
}

// Object is something that alerts, or that is upstream of what does.
type Object struct {
	grouping.Node
	Role   string    `json:"role"`
	Onset  time.Time `json:"onset,omitzero"`
	Alerts int       `json:"alerts"`
	Firing int       `json:"firing"`
}

// Roles of objects.
const (
	RoleCause       = "probable cause"
	RoleFirst       = "first to alert"
	RoleConsequence = "consequence"
	RoleUpstream    = "upstream, without an alert"
	RoleRelated     = "related"
)

// Alert is an alert of an incident.
type Alert struct {
	ID          string        `json:"id"`
	Name        string        `json:"name"`
	Severity    string        `json:"severity,omitempty"`
	Layer       string        `json:"layer,omitempty"`
	Object      grouping.Node `json:"object"`
	Part        string        `json:"part,omitempty"` // column, field or the like
	StartsAt    time.Time     `json:"starts_at"`
	EndsAt      time.Time     `json:"ends_at,omitzero"`
	Summary     string        `json:"summary,omitempty"`
	Description string        `json:"description,omitempty"`
	Action      string        `json:"action,omitempty"`
	Value       string        `json:"value,omitempty"`
	Threshold   string        `json:"threshold,omitempty"`
	Verdict     string        `json:"verdict,omitempty"`
	Links       []Link        `json:"links,omitempty"`
}

// Link leads out of the page.
type Link struct {
	Text string `json:"text"`
	URL  string `json:"url"`
}

// Action is what an alert of the incident asked for.
type Action struct {
	Name     string    `json:"name"`
	Response string    `json:"response"`
	Object   string    `json:"object"`
	State    string    `json:"state"`
	Result   string    `json:"result,omitempty"`
	Target   string    `json:"target,omitempty"`
	Why      string    `json:"why"`
	At       time.Time `json:"at"`
	EndedAt  time.Time `json:"ended_at,omitzero"`
}

// Event is one line of the timeline.
type Event struct {
	At    time.Time `json:"at"`
	Kind  string    `json:"kind"`
	Text  string    `json:"text"`
	Actor string    `json:"actor,omitempty"`
}

// Kinds of events; the others are kinds of records of the audit trail.
const (
	EventChange   = "change"
	EventAlert    = "alert"
	EventResolved = "resolved"
)

// Times are how long detection, acknowledgement and repair took; a negative one is not known.
type Times struct {
	Detect, Acknowledge, Resolve time.Duration
}

// Times of the incident: detection from the onset to the first alert, the others from the first alert.
func (v *View) Times() Times {
	t := Times{-1, -1, -1}
	if !v.Onset.IsZero() {
		t.Detect = max(v.StartedAt.Sub(v.Onset), 0)
	}
	if !v.AcknowledgedAt.IsZero() {
		t.Acknowledge = v.AcknowledgedAt.Sub(v.StartedAt)
	}
	if !v.ResolvedAt.IsZero() {
		t.Resolve = v.ResolvedAt.Sub(v.StartedAt)
	}
	return t
}

// APIPath is where programs read incidents, with the login of the page.
const APIPath = "/api/v1/incidents"
