package incident

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// activeAlerts returns alerts that fire, ended within the window, or belong to an unresolved incident.
func activeAlerts(tx *store.Tx, now time.Time, window time.Duration) ([]*grouping.Alert, error) {
	rows, err := tx.Query(`SELECT a.id, a.labels, a.starts_at, a.ends_at, a.last_received_at, COALESCE(i.id, ''), COALESCE(i.acknowledged_at, 0)
		FROM alerts a LEFT JOIN incident_alerts m ON m.alert_id = a.id LEFT JOIN incidents i ON i.id = m.incident_id
		WHERE a.ends_at = 0 OR a.ends_at >= ?
			OR a.id IN (SELECT alert_id FROM incident_alerts WHERE incident_id IN (SELECT id FROM incidents WHERE resolved_at = 0))
		ORDER BY a.starts_at DESC, a.id LIMIT ?`, store.Micros(now.Add(-window)), maxAlerts)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []*grouping.Alert
	for rows.Next() {
		var a grouping.Alert
		var labels string
		var starts, ends, received, acknowledged int64
		if err := rows.Scan(&a.ID, &labels, &starts, &ends, &received, &a.Incident, &acknowledged); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(labels), &a.Labels); err != nil {
			return nil, fmt.Errorf("read the labels of alert %s: %w", a.ID, err)
		}
		a.StartsAt, a.EndsAt, a.Pinned = store.Time(starts), store.Time(ends), acknowledged > 0
		if last := store.Time(received); ends == 0 && now.Sub(last) > maxDeliveryAge {
			if a.Incident == "" && now.Sub(last) > maxDeliveryAge+window {
				continue // It ended before this version, which introduced incidents.
			}
			a.EndsAt = last // Alertmanager no longer repeats it.
		}
		all = append(all, &a)
	}
	return all, rows.Err()
}

// incidentsOf returns the incidents that the alerts are in.
func incidentsOf(tx *store.Tx, alerts []*grouping.Alert) (map[string]stored, error) {
	found := map[string]stored{}
	for _, a := range alerts {
		if _, done := found[a.Incident]; done || a.Incident == "" {
			continue
		}
		s := stored{id: a.Incident}
		var text string
		err := tx.QueryRow(`SELECT digest, resolved_at, analysis FROM incidents WHERE id = ?`, a.Incident).Scan(&s.digest, &s.resolved, &text)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(text), &s.analysis); err != nil {
			return nil, fmt.Errorf("read the analysis of incident %s: %w", a.Incident, err)
		}
		found[a.Incident] = s
	}
	return found, nil
}

const columns = `i.id, i.title, i.severity, i.analysis, i.started_at, i.opened_at, i.resolved_at, i.acknowledged_at, i.acknowledged_by, i.merged_into,
	(SELECT COUNT(*) FROM incident_alerts m WHERE m.incident_id = i.id),
	(SELECT COUNT(*) FROM incident_alerts m JOIN alerts a ON a.id = m.alert_id WHERE m.incident_id = i.id AND a.ends_at = 0)`

func scan(row interface{ Scan(dest ...any) error }) (Summary, analysis, error) {
	var s Summary
	var a analysis
	var text string
	var started, opened, resolved, acknowledged int64
	if err := row.Scan(&s.ID, &s.Title, &s.Severity, &text, &started, &opened, &resolved, &acknowledged, &s.AcknowledgedBy, &s.MergedInto, &s.Alerts, &s.Firing); err != nil {
		return s, a, err
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return s, a, fmt.Errorf("read the analysis of incident %s: %w", s.ID, err)
	}
	s.StartedAt, s.OpenedAt, s.ResolvedAt, s.AcknowledgedAt = store.Time(started), store.Time(opened), store.Time(resolved), store.Time(acknowledged)
	switch {
	case s.MergedInto != "":
		s.State = Merged
	case resolved > 0:
		s.State = Resolved
	case acknowledged > 0:
		s.State = Acknowledged
	default:
		s.State = Open
	}
	s.setCause(a)
	return s, a, nil
}

// Filter selects incidents; empty fields match all that are not merged into another.
type Filter struct{ State, Text string }

// Unresolved is the filter value for all unresolved incidents.
const Unresolved = "unresolved"

var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// List returns a page of incidents, the latest first, and the total number.
func List(tx *store.Tx, f Filter, limit, offset int) (all []Summary, total int, err error) {
	where, args := ` WHERE i.merged_into = ''`, []any{}
	switch f.State {
	case Open:
		where += ` AND i.resolved_at = 0 AND i.acknowledged_at = 0`
	case Acknowledged:
		where += ` AND i.resolved_at = 0 AND i.acknowledged_at > 0`
	case Resolved:
		where += ` AND i.resolved_at > 0`
	case Unresolved:
		where += ` AND i.resolved_at = 0`
	}
	if f.Text != "" {
		like := "%" + escapeLike.Replace(strings.ToLower(f.Text)) + "%"
		where += ` AND (LOWER(i.title) LIKE ? ESCAPE '\' OR LOWER(i.analysis) LIKE ? ESCAPE '\' OR i.id IN
			(SELECT m.incident_id FROM incident_alerts m JOIN alerts a ON a.id = m.alert_id WHERE LOWER(a.labels) LIKE ? ESCAPE '\'))`
		args = append(args, like, like, like)
	}
	if err := tx.QueryRow(`SELECT COUNT(*) FROM incidents i`+where, args...).Scan(&total); err != nil {
		return nil, 0, err
	}
	rows, err := tx.Query(`SELECT `+columns+` FROM incidents i`+where+` ORDER BY i.started_at DESC, i.id LIMIT ? OFFSET ?`, append(args, limit, offset)...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		s, _, err := scan(rows)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, s)
	}
	return all, total, rows.Err()
}

// Of returns the ID of the incident of an alert, identified by its ID or by its name. Of a name, it is the latest firing
// alert. "" means none.
func Of(tx *store.Tx, alert string) (id string, err error) {
	err = tx.QueryRow(`SELECT i.id FROM incidents i JOIN incident_alerts m ON m.incident_id = i.id JOIN alerts a ON a.id = m.alert_id
		WHERE a.id = ? OR a.fingerprint = ? OR a.alertname = ?
		ORDER BY CASE WHEN a.ends_at = 0 THEN 0 ELSE 1 END, a.starts_at DESC LIMIT 1`, alert, alert, alert).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id, err
}

// Status has the values for metrics.
type Status struct {
	Open, Acknowledged int64
	Opened             int64 // in all that are kept
	Alerts             int64 // of those that are not over
}

// ReadStatus reads the status.
func ReadStatus(tx *store.Tx) (s Status, err error) {
	err = tx.QueryRow(`SELECT COUNT(CASE WHEN resolved_at = 0 AND acknowledged_at = 0 THEN 1 END), COUNT(CASE WHEN resolved_at = 0 AND acknowledged_at > 0 THEN 1 END), COUNT(*)
		FROM incidents WHERE merged_into = ''`).Scan(&s.Open, &s.Acknowledged, &s.Opened)
	if err != nil {
		return s, err
	}
	err = tx.QueryRow(`SELECT COUNT(*) FROM incident_alerts m JOIN incidents i ON i.id = m.incident_id JOIN alerts a ON a.id = m.alert_id
		WHERE i.resolved_at = 0 AND a.ends_at = 0`).Scan(&s.Alerts)
	return s, err
}
