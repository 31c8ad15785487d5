package incident

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
	"github.com/sightglass-ml/sightglass/responder/internal/lineage"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

const (
	// changesKept is the retention of changes. The analysis of a longer incident keeps the changes that matter for it.
	changesKept = 7 * 24 * time.Hour
	// maxChanges bounds the changes of one run, the latest first.
	maxChanges = 500
	// reported is the maximum time between a change and the reading that noticed it, for both to count as the same change.
	reported = 2 * time.Hour
	// observedState is the row with the last observed state.
	observedState = "observed"
)

// keepChanges stores the changes since the last reading, also across a restart.
func (e *Engine) keepChanges(ctx context.Context, r *lineage.Reading) error {
	err := e.store.Write(ctx, func(tx *store.Tx) error {
		if err := tx.Lock("incidents"); err != nil {
			return err
		}
		var before *lineage.Observed
		var text string
		switch err := tx.QueryRow(`SELECT value FROM incident_state WHERE name = ?`, observedState).Scan(&text); {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return err
		default:
			before = &lineage.Observed{}
			if err := json.Unmarshal([]byte(text), before); err != nil {
				return fmt.Errorf("read what was in use: %w", err)
			}
		}
		if before != nil && before.At.After(r.At) {
			return nil // Another replica has stored a later reading.
		}
		changes, next := r.Observed.Since(before)
		if before != nil {
			next.At = before.At // The time alone is not a reason to write.
		}
		value, err := json.Marshal(next)
		if err != nil {
			return err
		}
		changes = slices.DeleteFunc(changes, func(c grouping.Change) bool {
			// The time from a series is more exact than that of the reading that noticed the change.
			return slices.ContainsFunc(r.Changes, func(o grouping.Change) bool { return o.Node == c.Node && o.Text == c.Text && c.At.Sub(o.At) < reported })
		})
		for _, c := range append(changes, r.Changes...) {
			if err := keepChange(tx, c); err != nil {
				return err
			}
		}
		if string(value) == text {
			return nil
		}
		next.At = r.At
		if value, err = json.Marshal(next); err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO incident_state (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, observedState, string(value))
		return err
	})
	if err != nil {
		return fmt.Errorf("keep what changed: %w", err)
	}
	return nil
}

// keepChange stores a change once, however often it is read.
func keepChange(tx *store.Tx, c grouping.Change) error {
	value, err := json.Marshal(c)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(value)
	_, err = tx.Exec(`INSERT INTO incident_changes (id, at, change) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING`, hex.EncodeToString(sum[:12]), store.Micros(c.At), string(value))
	return err
}

// readChanges returns recent changes: those from the lineage, and runs that the responder has started.
func readChanges(tx *store.Tx, now time.Time) ([]grouping.Change, error) {
	var all []grouping.Change
	since := store.Micros(now.Add(-changesKept))
	err := tx.Each(`SELECT change FROM incident_changes WHERE at >= ? ORDER BY at DESC, id LIMIT ?`, []any{since, maxChanges}, func(scan func(...any) error) error {
		var text string
		if err := scan(&text); err != nil {
			return err
		}
		var c grouping.Change
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			return fmt.Errorf("read a change: %w", err)
		}
		all = append(all, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = tx.Each(`SELECT a.labels, x.name, x.started_at, x.finished_at, x.result FROM actions x JOIN alerts a ON a.id = x.alert_id
		WHERE x.action = 'retrain' AND x.started_at >= ? ORDER BY x.started_at DESC, x.id LIMIT ?`, []any{since, maxChanges}, func(scan func(...any) error) error {
		var text, name, result string
		var started, finished int64
		if err := scan(&text, &name, &started, &finished, &result); err != nil {
			return err
		}
		var labels map[string]string
		if err := json.Unmarshal([]byte(text), &labels); err != nil {
			return fmt.Errorf("read the labels of an alert: %w", err)
		}
		if labels["model"] == "" {
			return nil
		}
		n := grouping.Node{Kind: grouping.Model, Cluster: labels["cluster"], Namespace: labels["namespace"], Name: labels["model"]}
		all = append(all, grouping.Change{Kind: grouping.Retrained, Node: n, At: store.Time(started), Text: "The retraining " + name + " of " + n.Name + " was started"})
		if finished > 0 && result == "succeeded" {
			all = append(all, grouping.Change{Kind: grouping.Retrained, Node: n, At: store.Time(finished), Text: "The retraining " + name + " of " + n.Name + " ended"})
		}
		return nil
	})
	return all, err
}

// Acknowledge records who works on the incident. Only the first acknowledgement counts.
func Acknowledge(tx *store.Tx, id, by string, at time.Time) error {
	n, err := tx.Exec(`UPDATE incidents SET acknowledged_at = ?, acknowledged_by = ? WHERE id = ? AND acknowledged_at = 0`, store.Micros(at), by, id)
	if err != nil {
		return err
	}
	if n == 1 {
		return audit.Append(tx, audit.Record{Time: at, Kind: "incident_acknowledged", Actor: by, Subject: id})
	}
	var found int
	if err := tx.QueryRow(`SELECT COUNT(*) FROM incidents WHERE id = ?`, id).Scan(&found); err != nil {
		return err
	}
	if found == 0 {
		return ErrNotFound
	}
	return nil
}

// Forget deletes incidents resolved before the time, and old changes.
func Forget(tx *store.Tx, before, now time.Time) error {
	for _, s := range []struct {
		statement string
		arg       time.Time
	}{
		{`DELETE FROM incidents WHERE resolved_at > 0 AND resolved_at < ?`, before},
		{`DELETE FROM incident_changes WHERE at < ?`, now.Add(-changesKept)},
	} {
		if _, err := tx.Exec(s.statement, store.Micros(s.arg)); err != nil {
			return err
		}
	}
	_, err := tx.Exec(`DELETE FROM incident_alerts WHERE NOT EXISTS (SELECT 1 FROM incidents WHERE incidents.id = incident_alerts.incident_id)`)
	return err
}
