package store

// incidentTables hold which alerts are one incident, and what changed around it.
var incidentTables = migration{"incidents", []string{
	// Which alerts fire is asked every few seconds.
	`CREATE INDEX alerts_ends ON alerts (ends_at)`,

	// One row an incident. analysis is what the engine found when it was last open; digest tells whether it has changed. merged_into
	// is the incident of which this one turned out to be a part. slack_* is the message about it, and which state it shows.
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
