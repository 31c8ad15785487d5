package store

// reviewTables hold what people judge: queued answers and alerts.
var reviewTables = migration{"review queue and verdicts", []string{
	// One row an answer. search is what the text filter looks through; excerpt stands alone because it can be long.
	// revision counts decisions, so that of two people who decide at once the second is told.
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
	// Totals survive the retention of what they counted; the row "seq" numbers the decisions.
	`CREATE TABLE review_totals (name TEXT PRIMARY KEY, total BIGINT NOT NULL)`,

	// One row an alert that somebody judged.
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
