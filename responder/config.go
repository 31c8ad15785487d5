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

	// Store is the database of the state. A change needs a restart.
	Store store.Config `yaml:"store"`
	// Webhook limits what is accepted from Alertmanager.
	Webhook webhook.Config `yaml:"webhook"`
	// Prometheus provides the last good snapshot of a dataset if an alert lacks it, and the lineage by which alerts become
	// incidents. Optional.
	Prometheus *action.PrometheusConfig `yaml:"prometheus,omitempty"`
	// Actions are what alerts may cause; the first action that an alert matches is used.
	Actions []action.Config `yaml:"actions"`
	// Reviews configures the queue of answers for review. Without it there is no queue.
	Reviews *review.Config `yaml:"reviews,omitempty"`
	// Incidents configures how alerts are grouped.
	Incidents incident.Config `yaml:"incidents"`
	// Page configures the web page on which people judge answers and alerts. Without it there is no page.
	Page *page.Config `yaml:"page,omitempty"`
	// Before has the team's figures from before Sightglass, for comparison on dashboards.
	Before BeforeConfig `yaml:"before"`
	// Workers is the number of actions worked on concurrently. A change needs a restart.
	Workers int `yaml:"workers"`
	// History is the retention of alerts and actions that are over.
	History config.Duration `yaml:"history"`
	// Audit is the retention of the audit trail.
	Audit AuditConfig `yaml:"audit"`
}

// BeforeConfig has the duration of incidents and the number of false alerts from before. Values that are not set are not
// compared.
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

// AuditConfig is the retention of the audit trail. Zero keeps everything.
type AuditConfig struct {
	// RedactAfter deletes the details of records: labels, annotations, notes, and answers of targets.
	RedactAfter config.Duration `yaml:"redact_after"`
	// Retention deletes complete records.
	Retention config.Duration `yaml:"retention"`
}

// minHistory is longer than Alertmanager's repeat interval. An alert deleted earlier would cause its action again.
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
