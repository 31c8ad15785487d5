// Package action decides on the action for an alert, sends it to its target, and follows it to its end.
//
// Input: alerts, inside the transaction that stores them, and the responses of targets. Output: HTTP calls, each with an
// idempotency key, and records for the audit trail. State: the tables actions, action_totals, cooldowns and budgets. It never
// uses a value of an alert as an address.
//
// An action is decided once for one firing of an alert, and its key is derived from both. It is pending until a worker claims
// it by a lease, sending until the target accepts it, running until the target reports its end, and then done. The lease of a
// crashed worker expires, and another worker continues from the stored state with the same key. So a target that honours keys
// performs each action exactly once, and others at least once.
package action

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// States of an action.
const (
	statePending    = "pending"    // decided; not sent yet
	stateSending    = "sending"    // the target may have received it
	stateRunning    = "running"    // the target accepted it
	stateDone       = "done"       // with a result
	stateSuppressed = "suppressed" // not sent; the result is the reason; may be decided again
)

// Results of an action.
const (
	Succeed     = "succeeded"   // reported by the target
	Fail        = "failed"      // reported by the target
	Rejected    = "rejected"    // the target refuses it permanently
	Undelivered = "undelivered" // the target did not accept it in time
	TimedOut    = "timed_out"   // the target accepted it and it did not end in time

	DryRun   = "dry_run"  // would have been sent
	Cooldown = "cooldown" // too soon after the last action on the object, or while that is running
	Budget   = "budget"   // above the daily budget
	Held     = "held"     // the data are broken
)

// Results lists all results, in the order of the reference.
var Results = []string{Succeed, Fail, Rejected, Undelivered, TimedOut, DryRun, Cooldown, Budget, Held}

// Alert is an alert to decide on.
type Alert struct {
	ID          string
	Labels      map[string]string
	Annotations map[string]string
	StartsAt    time.Time
}

// params returns the values of the alert for a target.
func (a Alert) params() Params {
	return Params{
		Action: a.Labels["response"], Alertname: a.Labels["alertname"], Severity: a.Labels["severity"], Cluster: a.Labels["cluster"],
		Namespace: a.Labels["namespace"], Model: a.Labels["model"], Version: a.Labels["version"], Dataset: a.Labels["dataset"],
		MLflowRunID: a.Annotations["mlflow_run_id"], TraceID: a.Annotations["trace_id"], LastGoodSnapshot: a.Annotations["last_good_snapshot"],
		StartsAt: a.StartsAt.UTC(),
	}
}

// LockDecisions blocks other decisions, also of other replicas, until the transaction ends. Call it first in a transaction.
func LockDecisions(tx *store.Tx) error { return tx.Lock("decisions") }

// Decide stores the action of the firing alert: the first configured action that it matches, or none. It is called at every
// delivery. An alert that has caused an action never causes another one. A held-back action is decided again at each
// delivery, since a drift that continues after the cooldown still needs retraining. The lineage has the datasets that models
// learn from.
func Decide(tx *store.Tx, actions []Config, lineage *grouping.Graph, a Alert, now time.Time) error {
	if err := suppressPending(tx, actions, lineage, a, now); err != nil {
		return err
	}
	c := choose(actions, a.Labels)
	if c == nil {
		return nil
	}
	var before string
	var state, id string
	err := tx.QueryRow(`SELECT id, state, result FROM actions WHERE alert_id = ?`, a.ID).Scan(&id, &state, &before)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		id = newKey(a.ID, c.Name)
	case err != nil:
		return fmt.Errorf("look for the action of the alert: %w", err)
	case state != stateSuppressed, c.DryRun && before == DryRun:
		return nil
	}
	object := c.object(a.Labels)
	result, until, err := weigh(tx, c, lineage, a, object, now)
	if err != nil {
		return fmt.Errorf("decide on action %q: %w", c.Name, err)
	}
	if result != "" && result == before {
		return nil // The decision has not changed.
	}
	state = statePending
	if result != "" {
		state = stateSuppressed
	}
	p := a.params()
	p.Key = id
	params, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("decide on action %q: %w", c.Name, err)
	}
	if _, err := tx.Exec(`INSERT INTO actions (id, alert_id, name, action, object, params, state, result, target_id, attempts, last_error,
			not_before, lease_owner, lease_until, created_at, first_tried_at, started_at, finished_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', 0, '', ?, '', 0, ?, 0, 0, 0)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, result = excluded.result, params = excluded.params,
			object = excluded.object, not_before = excluded.not_before, created_at = excluded.created_at`,
		id, a.ID, c.Name, c.Response, object, string(params), state, result, store.Micros(now.Add(c.grace())), store.Micros(now)); err != nil {
		return fmt.Errorf("store action %q: %w", c.Name, err)
	}
	facts := map[string]string{
		"action": c.Response, "name": c.Name, "object": object, "alert": a.ID, "decision": "send",
		"model": p.Model, "version": p.Version, "dataset": p.Dataset, "mlflow_run_id": p.MLflowRunID,
	}
	if result != "" {
		facts["decision"] = result
		if err := count(tx, c.Response, result); err != nil {
			return err
		}
	}
	if result == Cooldown && !until.IsZero() {
		facts["until"] = until.Format(time.RFC3339)
	}
	return audit.Append(tx, audit.Record{Time: now, Kind: "action_decided", Actor: "responder", Subject: id, Facts: facts})
}

func choose(actions []Config, labels map[string]string) *Config {
	for i := range actions {
		if actions[i].matches(labels) {
			return &actions[i]
		}
	}
	return nil
}

// weigh returns why the action is held back, or "". It charges cooldown and budget. Dry runs have separate ones, so that they
// show what would happen without affecting real actions.
func weigh(tx *store.Tx, c *Config, lineage *grouping.Graph, a Alert, object string, now time.Time) (result string, until time.Time, err error) {
	switch broken, err := isHeldBack(tx, c, lineage, a, now); {
	case err != nil:
		return "", until, err
	case broken:
		return Held, until, nil
	}
	account := ""
	if c.DryRun {
		account = "dry-run/"
	}
	var micros int64
	if err := tx.QueryRow(`SELECT COALESCE(MAX(until), 0) FROM cooldowns WHERE object IN (?, ?)`,
		account+object, account+c.anyObject(a.Labels)).Scan(&micros); err != nil {
		return "", until, err
	}
	if until = store.Time(micros); until.After(now) {
		return Cooldown, until, nil
	}
	if !c.DryRun {
		var active int
		if err := tx.QueryRow(`SELECT COUNT(*) FROM actions WHERE object IN (?, ?) AND state IN (?, ?, ?)`,
			object, c.anyObject(a.Labels), statePending, stateSending, stateRunning).Scan(&active); err != nil {
			return "", until, err
		}
		if active > 0 {
			return Cooldown, time.Time{}, nil
		}
	}
	used, err := tx.Exec(`INSERT INTO budgets (name, day, used) VALUES (?, ?, 1)
		ON CONFLICT (name, day) DO UPDATE SET used = budgets.used + 1 WHERE budgets.used < ?`,
		account+c.budget(a.Labels), now.UTC().Format(time.DateOnly), c.DailyBudget)
	if err != nil {
		return "", until, err
	}
	if used == 0 {
		return Budget, until, nil
	}
	if _, err := tx.Exec(`INSERT INTO cooldowns (object, until) VALUES (?, ?) ON CONFLICT (object) DO UPDATE SET until = excluded.until`,
		account+object, store.Micros(now.Add(time.Duration(c.Cooldown)))); err != nil {
		return "", until, err
	}
	if c.DryRun {
		return DryRun, until, nil
	}
	return "", until, nil
}

func count(tx *store.Tx, action, result string) error {
	_, err := tx.Exec(`INSERT INTO action_totals (action, result, total) VALUES (?, ?, 1)
		ON CONFLICT (action, result) DO UPDATE SET total = action_totals.total + 1`, action, result)
	if err != nil {
		return fmt.Errorf("count the action: %w", err)
	}
	return nil
}

// Waiting returns the number of actions that no target has accepted yet.
func Waiting(tx *store.Tx) (n int, err error) {
	err = tx.QueryRow(`SELECT COUNT(*) FROM actions WHERE state IN (?, ?)`, statePending, stateSending).Scan(&n)
	return n, err
}

// Status has the values for metrics.
type Status struct {
	Totals   map[[2]string]int64 // by action and result
	Pending  map[string]int64    // by action; not accepted by a target yet
	Retrying map[string]int64    // by action; pending ones whose last attempt failed
	Running  map[string]int64    // by action; accepted and not ended
}

// ReadStatus reads the status.
func ReadStatus(tx *store.Tx) (Status, error) {
	s := Status{map[[2]string]int64{}, map[string]int64{}, map[string]int64{}, map[string]int64{}}
	err := tx.Each(`SELECT action, result, total FROM action_totals`, nil, func(scan func(...any) error) error {
		var action, result string
		var n int64
		err := scan(&action, &result, &n)
		s.Totals[[2]string{action, result}] = n
		return err
	})
	if err != nil {
		return s, fmt.Errorf("read the totals: %w", err)
	}
	err = tx.Each(`SELECT action, state, CASE WHEN last_error = '' THEN 0 ELSE 1 END AS failing, COUNT(*) FROM actions
		WHERE state IN (?, ?, ?) GROUP BY action, state, failing`, []any{statePending, stateSending, stateRunning}, func(scan func(...any) error) error {
		var action, state string
		var failing, n int64
		err := scan(&action, &state, &failing, &n)
		if state == stateRunning {
			s.Running[action] += n
			return err
		}
		s.Pending[action] += n
		s.Retrying[action] += failing * n
		return err
	})
	if err != nil {
		return s, fmt.Errorf("read what is pending: %w", err)
	}
	return s, nil
}

// Forget deletes finished actions whose alert was last delivered before the time, and old cooldowns and budgets.
func Forget(tx *store.Tx, before time.Time) error {
	for _, statement := range []string{
		`DELETE FROM actions WHERE state IN ('` + stateDone + `', '` + stateSuppressed + `')
			AND EXISTS (SELECT 1 FROM alerts WHERE alerts.id = actions.alert_id AND alerts.last_received_at < ?)`,
		`DELETE FROM cooldowns WHERE until < ?`,
	} {
		if _, err := tx.Exec(statement, store.Micros(before)); err != nil {
			return err
		}
	}
	_, err := tx.Exec(`DELETE FROM budgets WHERE day < ?`, before.UTC().Format(time.DateOnly))
	return err
}
