package responder

import (
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/responder/internal/action"
	"github.com/sightglass-ml/sightglass/responder/internal/incident"
	"github.com/sightglass-ml/sightglass/responder/internal/page"
	"github.com/sightglass-ml/sightglass/responder/internal/review"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
	"github.com/sightglass-ml/sightglass/responder/internal/webhook"
)

// Config is the configuration file of the responder.
type Config struct {
	config.Doc `yaml:"-"`

	// Store is where the state is kept. It is read at the start only.
	Store store.Config `yaml:"store"`
	// Webhook is what is taken from Alertmanager.
	Webhook webhook.Config `yaml:"webhook"`
	// Prometheus is asked for the last good snapshot of a dataset where an alert does not name it, and for what feeds, serves and pays
	// for what, by which alerts become incidents; optional.
	Prometheus *action.PrometheusConfig `yaml:"prometheus,omitempty"`
	// Actions are what alerts may cause; the first that an alert matches counts.
	Actions []action.Config `yaml:"actions"`
	// Reviews are answers that a person has to look at; without it there is no queue.
	Reviews *review.Config `yaml:"reviews,omitempty"`
	// Incidents are how alerts are put together.
	Incidents incident.Config `yaml:"incidents"`
	// Page is where people judge answers and alerts; without it there is none.
	Page *page.Config `yaml:"page,omitempty"`
	// Before is how a team fared before; dashboards compare with it.
	Before BeforeConfig `yaml:"before"`
	// Workers is how many actions are worked on at a time. It is read at the start only.
	Workers int `yaml:"workers"`
	// History is how long alerts and actions that are over are kept.
	History config.Duration `yaml:"history"`
	// Audit is how long the audit trail is kept.
	Audit AuditConfig `yaml:"audit"`
}

// BeforeConfig is how long incidents took, and how many alerts were false, before. What is not given is not compared.
type BeforeConfig struct {
	TimeToDetect    config.Duration `yaml:"time_to_detect"`
	TimeToResolve   config.Duration `yaml:"time_to_resolve"`
	FalseAlarmRatio *float64        `yaml:"false_alarm_ratio,omitempty"`
}

// Validate implements config.Validator.
func (c *BeforeConfig) Validate(at config.At) {
	if r := c.FalseAlarmRatio; r != nil && !(*r >= 0 && *r <= 1) {
		at.Errorf("false_alarm_ratio", "%v; want a ratio from 0 to 1", *r)
	}
}

// AuditConfig is how long the audit trail is kept. Zero is for ever.
type AuditConfig struct {
	// RedactAfter drops the details of records: labels, annotations, notes, what a target answered.
	RedactAfter config.Duration `yaml:"redact_after"`
	// Retention drops whole records.
	Retention config.Duration `yaml:"retention"`
}

// minHistory keeps an alert known for longer than Alertmanager repeats it: one that was forgotten would be acted on
// again.
const minHistory = config.Duration(30 * 24 * time.Hour)

// SetDefaults implements config.Defaulter.
func (c *Config) SetDefaults() {
	c.Workers, c.History = 4, config.Duration(400*24*time.Hour)
}

// Validate implements config.Validator.
func (c *Config) Validate(at config.At) {
	action.CheckNames(c.Actions, at)
	if c.Workers < 1 || c.Workers > 64 {
		at.Errorf("workers", "%d; want 1 to 64", c.Workers)
	}
	if c.History < minHistory {
		at.Errorf("history", "%s; want at least %s, since an alert that was forgotten is acted on again", c.History, minHistory)
	}
}
