package store

// reviewTables are the tables of queued answers and of verdicts on alerts.
var reviewTables = migration{"review queue and verdicts", []string{
	// One row for each answer. search is the text for the filter; excerpt is a column of its own because it can be long.
	// revision counts decisions, so that the second of two concurrent decisions is rejected.
	`CREATE TABLE review_items (
		id TEXT PRIMARY KEY,
		digest TEXT NOT NULL,
		model TEXT NOT NULL,
		version TEXT NOT NULL,
		evaluation TEXT NOT NULL,
		item TEXT NOT NULL,
		excerpt TEXT NOT NULL,
		search TEXT NOT NULL,
		state TEXT NOT NULL,
		revision BIGINT NOT NULL,
		received_at BIGINT NOT NULL,
		changed_at BIGINT NOT NULL,
		forward_at BIGINT NOT NULL,
		forward_attempts BIGINT NOT NULL,
		forward_error TEXT NOT NULL
	)`,
	`CREATE INDEX review_items_state ON review_items (state, received_at, id)`,
	`CREATE INDEX review_items_forward ON review_items (forward_at)`,
	`CREATE TABLE review_decisions (
		seq BIGINT PRIMARY KEY,
		item_id TEXT NOT NULL REFERENCES review_items (id),
		decision TEXT NOT NULL,
		reason TEXT NOT NULL,
		decided_by TEXT NOT NULL,
		decided_at BIGINT NOT NULL
	)`,
	`CREATE INDEX review_decisions_item ON review_decisions (item_id, seq)`,
	// Totals remain when retention deletes the counted rows. The row "seq" numbers the decisions.
	`CREATE TABLE review_totals (name TEXT PRIMARY KEY, total BIGINT NOT NULL)`,

	// One row for each judged alert.
	`CREATE TABLE verdicts (
		alert_id TEXT PRIMARY KEY,
		verdict TEXT NOT NULL,
		onset_at BIGINT NOT NULL,
		note TEXT NOT NULL,
		revision BIGINT NOT NULL,
		judged_by TEXT NOT NULL,
		judged_at BIGINT NOT NULL
	)`,
}}
