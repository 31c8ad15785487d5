package store

// incidentTables are the tables of incidents, their alerts, and changes of the monitored systems.
var incidentTables = migration{"incidents", []string{
	// Firing alerts are selected every few seconds.
	`CREATE INDEX alerts_ends ON alerts (ends_at)`,

	// One row for each incident. analysis is the engine's last result; digest detects its changes. merged_into is the
	// incident that this one was merged into. slack_* identify the Slack message and the state that it has.
	`CREATE TABLE incidents (
		id TEXT PRIMARY KEY,
		title TEXT NOT NULL,
		severity TEXT NOT NULL,
		analysis TEXT NOT NULL,
		digest TEXT NOT NULL,
		started_at BIGINT NOT NULL,
		opened_at BIGINT NOT NULL,
		resolved_at BIGINT NOT NULL,
		acknowledged_at BIGINT NOT NULL,
		acknowledged_by TEXT NOT NULL,
		merged_into TEXT NOT NULL,
		slack_channel TEXT NOT NULL,
		slack_ts TEXT NOT NULL,
		slack_digest TEXT NOT NULL,
		slack_attempts BIGINT NOT NULL,
		slack_not_before BIGINT NOT NULL
	)`,
	`CREATE INDEX incidents_started ON incidents (started_at)`,
	`CREATE INDEX incidents_resolved ON incidents (resolved_at)`,
	`CREATE TABLE incident_alerts (
		alert_id TEXT PRIMARY KEY,
		incident_id TEXT NOT NULL,
		node TEXT NOT NULL,
		depth BIGINT NOT NULL
	)`,
	`CREATE INDEX incident_alerts_incident ON incident_alerts (incident_id)`,
	`CREATE TABLE incident_changes (
		id TEXT PRIMARY KEY,
		at BIGINT NOT NULL,
		change TEXT NOT NULL
	)`,
	`CREATE INDEX incident_changes_at ON incident_changes (at)`,
	`CREATE TABLE incident_state (name TEXT PRIMARY KEY, value TEXT NOT NULL)`,
}}
