package action

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// A model that is retrained on broken data gets worse. A table is profiled minutes after the model receives its values. So a
// retraining waits, and is held back if one of these alerts fires already or arrives meanwhile:
//
//   - the same alert without `response`, which the rules remove because the data are broken;
//   - MLModelInputBroken of the model, or MLDatasetBroken of a dataset that drifted or that the model learns from. Alertmanager
//     silences the same alert without `response` if both are about one feature or column;
//   - a critical alert about the dataset that drifted, which silences MLDatasetBroken.

const retrain, modelBroken, datasetBroken = "retrain", "MLModelInputBroken", "MLDatasetBroken"

// maxDeliveryAge is the maximum time since the last delivery of a firing alert. Alertmanager repeats it far more often.
const maxDeliveryAge = 24 * time.Hour

// holdsBack reports whether an action for the alert is held back while the other alert fires.
func (c *Config) holdsBack(lineage *grouping.Graph, other, alert map[string]string) bool {
	if other["response"] == "" && other["alertname"] == alert["alertname"] && maps.Equal(withoutResponse(other), withoutResponse(alert)) {
		return true
	}
	if c.Response != retrain || !saysBroken(other) {
		return false
	}
	model, dataset := node(grouping.Model, alert["model"], alert), node(grouping.Dataset, alert["dataset"], alert)
	broken := node(grouping.Dataset, other["dataset"], other)
	switch {
	case other["alertname"] == modelBroken:
		return model.Name != "" && model == node(grouping.Model, other["model"], other)
	case broken.Name == "":
		return false
	case broken == dataset:
		return true
	default:
		return other["alertname"] == datasetBroken && model.Name != "" && lineage.Teaches(broken, model)
	}
}

// saysBroken reports whether the alert says that data are broken.
func saysBroken(labels map[string]string) bool {
	name := labels["alertname"]
	return name == modelBroken || name == datasetBroken || labels["severity"] == "critical" && labels["layer"] == "data" && labels["response"] != retrain
}

func withoutResponse(labels map[string]string) map[string]string {
	labels = maps.Clone(labels)
	delete(labels, "response")
	return labels
}

func node(kind grouping.Kind, name string, labels map[string]string) grouping.Node {
	return grouping.Node{Kind: kind, Cluster: labels["cluster"], Namespace: labels["namespace"], Name: name}
}

// eachLabels calls f for each row of the query: an ID and labels.
func eachLabels(tx *store.Tx, query string, args []any, f func(id string, labels map[string]string)) error {
	return tx.Each(query, args, func(scan func(...any) error) error {
		var id, text string
		if err := scan(&id, &text); err != nil {
			return err
		}
		var labels map[string]string
		if err := json.Unmarshal([]byte(text), &labels); err != nil {
			return fmt.Errorf("read the labels of %s: %w", id, err)
		}
		f(id, labels)
		return nil
	})
}

// isHeldBack reports whether an alert fires that holds back the action for the alert.
func isHeldBack(tx *store.Tx, c *Config, lineage *grouping.Graph, a Alert, now time.Time) (yes bool, err error) {
	err = eachLabels(tx, `SELECT id, labels FROM alerts WHERE ends_at = 0 AND last_received_at >= ? AND id <> ? AND
		(alertname = ? AND model = ? AND dataset = ? AND response = '' OR
		? = 'retrain' AND (alertname = ? AND model = ? OR alertname = ? OR severity = 'critical' AND dataset = ? AND dataset <> ''))`,
		[]any{
			store.Micros(now.Add(-maxDeliveryAge)), a.ID, a.Labels["alertname"], a.Labels["model"], a.Labels["dataset"],
			c.Response, modelBroken, a.Labels["model"], datasetBroken, a.Labels["dataset"],
		},
		func(_ string, other map[string]string) { yes = yes || c.holdsBack(lineage, other, a.Labels) })
	return yes, err
}

// suppressPending suppresses the pending actions that the firing alert holds back, and refunds their cooldown and budget.
func suppressPending(tx *store.Tx, actions []Config, lineage *grouping.Graph, a Alert, now time.Time) error {
	broken := saysBroken(a.Labels)
	if a.Labels["response"] != "" && !broken {
		return nil
	}
	for i := range actions {
		c := &actions[i]
		response := "" // of actions for other alerts
		if broken {
			response = c.Response
		}
		budgets := map[string]string{} // by the ID of the action
		if err := eachLabels(tx, `SELECT actions.id, alerts.labels FROM actions JOIN alerts ON alerts.id = actions.alert_id
			WHERE actions.name = ? AND actions.state = ? AND (alerts.alertname = ? AND alerts.model = ? AND alerts.dataset = ? OR ? = 'retrain')`,
			[]any{c.Name, statePending, a.Labels["alertname"], a.Labels["model"], a.Labels["dataset"], response}, func(id string, labels map[string]string) {
				if c.holdsBack(lineage, a.Labels, labels) {
					budgets[id] = c.budget(labels)
				}
			}); err != nil {
			return fmt.Errorf("look for actions to hold back: %w", err)
		}
		for _, id := range slices.Sorted(maps.Keys(budgets)) {
			if err := suppress(tx, id, budgets[id], a, now); err != nil {
				return fmt.Errorf("hold action %s back: %w", id, err)
			}
		}
	}
	return nil
}

func suppress(tx *store.Tx, id, budget string, because Alert, now time.Time) error {
	var name, response, object, alert string
	var created int64
	if err := tx.QueryRow(`UPDATE actions SET state = ?, result = ? WHERE id = ? AND state = ? RETURNING name, action, object, alert_id, created_at`,
		stateSuppressed, Held, id, statePending).Scan(&name, &response, &object, &alert, &created); err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM cooldowns WHERE object = ?`, object); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE budgets SET used = used - 1 WHERE name = ? AND day = ? AND used > 0`,
		budget, store.Time(created).UTC().Format(time.DateOnly)); err != nil {
		return err
	}
	if err := count(tx, response, Held); err != nil {
		return err
	}
	return audit.Append(tx, audit.Record{Time: now, Kind: "action_decided", Actor: "responder", Subject: id, Facts: map[string]string{
		"action": response, "name": name, "object": object, "alert": alert, "decision": Held, "because": because.ID,
	}})
}
