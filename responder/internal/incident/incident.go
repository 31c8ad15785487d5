// Package incident groups alerts into incidents: which alerts belong together, the probable cause, who works on it, and when
// it was resolved.
//
// Input: the alerts, actions and audit trail in the store, and readings of the lineage. Output: incidents for the page, the
// API, Slack and the terminal, and audit records of each. State: the tables incidents, incident_alerts, incident_changes and
// incident_state; it reads tables of other packages. It never starts an action or changes an alert.
package incident

import (
	"errors"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
	"github.com/sightglass-ml/sightglass/responder/internal/lineage"
)

// ErrNotFound means that the incident does not exist.
var ErrNotFound = errors.New("there is no such incident")

// Config configures how alerts become incidents.
type Config struct {
	// Window is how long after the end of a cause its consequences may begin, and how long a resolved incident accepts
	// alerts.
	Window config.Duration `yaml:"window"`
	// Lead is how much earlier than its cause a consequence may be detected.
	Lead config.Duration `yaml:"lead"`
	// Siblings is the maximum time between the starts of alerts with a common cause that has no alert.
	Siblings config.Duration `yaml:"siblings"`
	// Storm is the number of firing alerts from which unrelated ones are collected in one incident.
	Storm int `yaml:"storm"`
	// LineageInterval is the interval of reading the lineage. A change needs a restart.
	LineageInterval config.Duration `yaml:"lineage_interval"`
	// Links are relations of the lineage that no series has.
	Links []lineage.Link `yaml:"links,omitempty"`
	// Slack posts one message for each incident. Without it the responder sends no messages.
	Slack *SlackConfig `yaml:"slack,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (c *Config) SetDefaults() {
	o := grouping.DefaultOptions()
	c.Window, c.Lead, c.Siblings, c.Storm = config.Duration(o.Window), config.Duration(o.Lead), config.Duration(o.Siblings), o.Storm
	c.LineageInterval = config.Duration(time.Minute)
}

// longest is the maximum of the durations, far above useful values.
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
	if c.LineageInterval < config.Duration(time.Second) || c.LineageInterval > config.Duration(time.Hour) {
		at.Errorf("lineage_interval", "%s; want 1s to 1h", c.LineageInterval)
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

// Links are configured addresses for links.
type Links struct {
	Trace, MLflow, Grafana string
	// Page is the address of the responder.
	Page string
}

// States of an incident.
const (
	Open         = "open"
	Acknowledged = "acknowledged"
	Resolved     = "resolved"
	Merged       = "merged"
)

// States are the states by which a list can be filtered.
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
	// Cause is the title of the probable cause, or "".
	Cause      string  `json:"cause,omitempty"`
	Confidence float64 `json:"confidence,omitempty"`
}

// View is an incident with all its details.
type View struct {
	Summary
	// Onset is the start of the incident: as noted by a person, otherwise the time of the probable cause.
	Onset     time.Time        `json:"onset,omitzero"`
	OnsetFrom string           `json:"onset_from,omitempty"`
	Causes    []grouping.Cause `json:"causes"`
	// Notes describe limits of the analysis, such as a missing or old lineage.
	Notes    []string        `json:"notes,omitempty"`
	Objects  []Object        `json:"objects"`
	Edges    []grouping.Edge `json:"edges"`
	Members  []Alert         `json:"members"`
	LeftOut  int             `json:"left_out,omitempty"` // number of alerts that are left out
	Actions  []Action        `json:"actions"`
	Timeline []Event         `json:"timeline"`
}

// Object is an object with alerts, or one upstream of such an object.
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
	Part        string        `json:"part,omitempty"` // column, field or similar
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

// Link is a link to another system.
type Link struct {
	Text string `json:"text"`
	URL  string `json:"url"`
}

// Action is an action that an alert of the incident caused.
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

// Event is a line of the timeline.
type Event struct {
	At    time.Time `json:"at"`
	Kind  string    `json:"kind"`
	Text  string    `json:"text"`
	Actor string    `json:"actor,omitempty"`
}

// Kinds of events. All others are kinds of audit records.
const (
	EventChange   = "change"
	EventAlert    = "alert"
	EventResolved = "resolved"
)

// Times are the durations of detection, acknowledgement and repair. A negative one is unknown.
type Times struct {
	Detect, Acknowledge, Resolve time.Duration
}

// Times of the incident. Detection is from the onset to the first alert, the others are from the first alert.
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

// APIPath is the path at which programs read incidents. It needs the login of the page.
const APIPath = "/api/v1/incidents"
