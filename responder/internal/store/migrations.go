package store

import (
	"context"
	"fmt"
	"time"
)

// migration is one step of the schema. Its number is its position in the list, counted from 1.
type migration struct {
	about string
	sql   []string
}

// migrations are applied in order, each once. Only append: existing databases were made by the released ones.
var migrations = []migration{
	{"alerts, actions and the audit trail", []string{
		// One row for each alert: fingerprint stands for its labels, starts_at distinguishes its firings.
		`CREATE TABLE alerts (
			id TEXT PRIMARY KEY,
			fingerprint TEXT NOT NULL,
			alertname TEXT NOT NULL,
			response TEXT NOT NULL,
			severity TEXT NOT NULL,
			model TEXT NOT NULL,
			dataset TEXT NOT NULL,
			labels TEXT NOT NULL,
			annotations TEXT NOT NULL,
			receiver TEXT NOT NULL,
			starts_at BIGINT NOT NULL,
			ends_at BIGINT NOT NULL,
			first_received_at BIGINT NOT NULL,
			last_received_at BIGINT NOT NULL,
			deliveries BIGINT NOT NULL
		)`,
		`CREATE INDEX alerts_first_received ON alerts (first_received_at)`,

		// One row for each alert that asked for an action, including held-back ones. id is the idempotency key.
		`CREATE TABLE actions (
			id TEXT PRIMARY KEY,
			alert_id TEXT NOT NULL REFERENCES alerts (id),
			name TEXT NOT NULL,
			action TEXT NOT NULL,
			object TEXT NOT NULL,
			params TEXT NOT NULL,
			state TEXT NOT NULL,
			result TEXT NOT NULL,
			target_id TEXT NOT NULL,
			attempts BIGINT NOT NULL,
			last_error TEXT NOT NULL,
			not_before BIGINT NOT NULL,
			lease_owner TEXT NOT NULL,
			lease_until BIGINT NOT NULL,
			created_at BIGINT NOT NULL,
			first_tried_at BIGINT NOT NULL,
			started_at BIGINT NOT NULL,
			finished_at BIGINT NOT NULL
		)`,
		`CREATE INDEX actions_due ON actions (name, state, not_before)`,
		`CREATE INDEX actions_object ON actions (object, state)`,
		`CREATE INDEX actions_alert ON actions (alert_id)`,

		// Totals are counted in the transaction that causes them, so that they survive crashes and retention.
		`CREATE TABLE action_totals (
			action TEXT NOT NULL,
			result TEXT NOT NULL,
			total BIGINT NOT NULL,
			PRIMARY KEY (action, result)
		)`,
		`CREATE TABLE cooldowns (
			object TEXT PRIMARY KEY,
			until BIGINT NOT NULL
		)`,
		`CREATE TABLE budgets (
			name TEXT NOT NULL,
			day TEXT NOT NULL,
			used BIGINT NOT NULL,
			PRIMARY KEY (name, day)
		)`,

		// The chain: hash covers every column except detail, of which it covers the digest.
		`CREATE TABLE audit (
			seq BIGINT PRIMARY KEY,
			time BIGINT NOT NULL,
			kind TEXT NOT NULL,
			actor TEXT NOT NULL,
			subject TEXT NOT NULL,
			facts TEXT NOT NULL,
			detail TEXT NOT NULL,
			salt TEXT NOT NULL,
			detail_digest TEXT NOT NULL,
			prev_hash TEXT NOT NULL,
			hash TEXT NOT NULL
		)`,
		`CREATE INDEX audit_subject ON audit (subject)`,
		// A single row: the last record, and the last of those that retention removed.
		`CREATE TABLE audit_head (
			one BIGINT PRIMARY KEY,
			seq BIGINT NOT NULL,
			hash TEXT NOT NULL,
			removed_seq BIGINT NOT NULL,
			removed_hash TEXT NOT NULL
		)`,
		`INSERT INTO audit_head (one, seq, hash, removed_seq, removed_hash) VALUES (1, 0, '', 0, '')`,
	}},
	reviewTables,
	incidentTables,
	objectsWithEnvironment,
}

// objectsWithEnvironment marks what was decided before cluster and namespace became a part of an object. It holds back the
// object of every cluster and namespace, as before, until it ends.
var objectsWithEnvironment = migration{"cluster and namespace in objects", []string{
	`UPDATE cooldowns SET object = CASE WHEN object LIKE 'dry-run/%' THEN 'dry-run/any/' || SUBSTR(object, 9) ELSE 'any/' || object END`,
	`UPDATE actions SET object = 'any/' || object WHERE state IN ('pending', 'sending', 'running')`,
}}

func (s *Store) migrate(ctx context.Context) error {
	return s.Write(ctx, func(tx *Tx) error {
		if err := tx.Lock("migrations"); err != nil {
			return err
		}
		if _, err := tx.Exec(`CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, about TEXT NOT NULL, applied_at BIGINT NOT NULL)`); err != nil {
			return err
		}
		version, err := schemaVersion(tx)
		if err != nil {
			return err
		}
		if version > len(migrations) {
			return fmt.Errorf("%w: its schema has version %d, this program knows %d", ErrNewer, version, len(migrations))
		}
		for i := version; i < len(migrations); i++ {
			m := migrations[i]
			for _, statement := range m.sql {
				if _, err := tx.Exec(statement); err != nil {
					return fmt.Errorf("migration %d (%s): %w", i+1, m.about, err)
				}
			}
			if _, err := tx.Exec(`INSERT INTO schema_migrations (version, about, applied_at) VALUES (?, ?, ?)`, i+1, m.about, Micros(time.Now())); err != nil {
				return err
			}
		}
		return nil
	})
}

func schemaVersion(tx *Tx) (version int, err error) {
	err = tx.QueryRow(`SELECT COALESCE(MAX(version), 0) FROM schema_migrations`).Scan(&version)
	return version, err
}
