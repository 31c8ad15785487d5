package action

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// If the cause of an alert turns out to be broken data, the rules remove the label `response`: the same alert then fires
// without it. A table is profiled minutes after the model receives its values. So a retraining waits, and is held back if
// that alert arrives meanwhile.

// maxDeliveryAge is the maximum time since the last delivery of a firing alert. Alertmanager repeats it far more often.
const maxDeliveryAge = 24 * time.Hour

// twins calls found for each row of the query whose labels (the second column) equal those of the alert, apart from
// `response`.
func (a Alert) twins(tx *store.Tx, query string, args []any, found func(id string)) error {
	return tx.Each(query, args, func(scan func(...any) error) error {
		var id, text string
		if err := scan(&id, &text); err != nil {
			return err
		}
		var labels map[string]string
		if err := json.Unmarshal([]byte(text), &labels); err != nil {
			return fmt.Errorf("read the labels of %s: %w", id, err)
		}
		wanted := maps.Clone(a.Labels)
		delete(wanted, "response")
		delete(labels, "response")
		if maps.Equal(wanted, labels) {
			found(id)
		}
		return nil
	})
}

// firesWithoutResponse reports whether the alert also fires without its response.
func firesWithoutResponse(tx *store.Tx, a Alert, now time.Time) (yes bool, err error) {
	err = a.twins(tx, `SELECT id, labels FROM alerts
		WHERE alertname = ? AND model = ? AND dataset = ? AND response = '' AND ends_at = 0 AND last_received_at >= ? AND id <> ?`,
		[]any{a.Labels["alertname"], a.Labels["model"], a.Labels["dataset"], store.Micros(now.Add(-maxDeliveryAge)), a.ID},
		func(string) { yes = true })
	return yes, err
}

// suppressPending suppresses the pending actions of the alert, which now fires without a response, and refunds their cooldown and
// budget.
func suppressPending(tx *store.Tx, a Alert, now time.Time) error {
	var ids []string
	if err := a.twins(tx, `SELECT actions.id, alerts.labels FROM actions JOIN alerts ON alerts.id = actions.alert_id
		WHERE alerts.alertname = ? AND alerts.model = ? AND alerts.dataset = ? AND alerts.response <> '' AND actions.state = ?`,
		[]any{a.Labels["alertname"], a.Labels["model"], a.Labels["dataset"], statePending},
		func(id string) { ids = append(ids, id) }); err != nil {
		return fmt.Errorf("look for actions to hold back: %w", err)
	}
	for _, id := range ids {
		var name, response, object, alert string
		var created int64
		if err := tx.QueryRow(`UPDATE actions SET state = ?, result = ? WHERE id = ? AND state = ? RETURNING name, action, object, alert_id, created_at`,
			stateSuppressed, Held, id, statePending).Scan(&name, &response, &object, &alert, &created); err != nil {
			return fmt.Errorf("hold action %s back: %w", id, err)
		}
		if _, err := tx.Exec(`DELETE FROM cooldowns WHERE object = ?`, object); err != nil {
			return fmt.Errorf("hold action %s back: %w", id, err)
		}
		if _, err := tx.Exec(`UPDATE budgets SET used = used - 1 WHERE name = ? AND day = ? AND used > 0`,
			name, store.Time(created).UTC().Format(time.DateOnly)); err != nil {
			return fmt.Errorf("hold action %s back: %w", id, err)
		}
		if err := count(tx, response, Held); err != nil {
			return err
		}
		if err := audit.Append(tx, audit.Record{Time: now, Kind: "action_decided", Actor: "responder", Subject: id, Facts: map[string]string{
			"action": response, "name": name, "object": object, "alert": alert, "decision": Held, "because": a.ID,
		}}); err != nil {
			return err
		}
	}
	return nil
}
