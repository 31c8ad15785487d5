// Package verdict stores people's verdicts on alerts: whether an alert was right, and when the incident began.
//
// Input: verdicts of the on-call person, from the page. Output: alerts with their verdicts, and the times to detect and to
// resolve incidents. State: the table verdicts; it reads the table alerts. Each verdict is in the audit trail, in the same
// transaction. It never changes an alert.
//
// Alerts with the same noted onset, to the minute, count as one incident. Its detection is the first alert's start by
// Prometheus's clock (startsAt), whether or not the responder was running. It is resolved when the last alert is.
package verdict

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// Verdicts on an alert.
const (
	Unjudged = "unjudged"
	True     = "true"
	False    = "false"
)

// All has the verdicts in the order of a list.
var All = []string{Unjudged, True, False}

// Errors of a verdict.
var (
	// ErrNotFound means that the alert does not exist.
	ErrNotFound = errors.New("there is no such alert")
	// ErrConflict means that another verdict was given since the alert was read.
	ErrConflict = errors.New("somebody else judged this alert meanwhile")
)

// Alert is an alert with its verdict.
type Alert struct {
	ID                                       string
	Alertname, Severity, Response            string
	Labels, Annotations                      map[string]string
	StartsAt, EndsAt, FirstReceived, OnsetAt time.Time
	Verdict, Note, By                        string
	JudgedAt                                 time.Time
	Revision                                 int64
}

// Filter selects alerts; empty fields match all.
type Filter struct{ Verdict, Alertname, Text string }

const from = ` FROM alerts a LEFT JOIN verdicts v ON v.alert_id = a.id`

const columns = `a.id, a.alertname, a.severity, a.response, a.labels, a.annotations, a.starts_at, a.ends_at, a.first_received_at,
	COALESCE(v.verdict, 'unjudged'), COALESCE(v.onset_at, 0), COALESCE(v.note, ''), COALESCE(v.judged_by, ''), COALESCE(v.judged_at, 0), COALESCE(v.revision, 0)`

func scan(row interface{ Scan(dest ...any) error }) (Alert, error) {
	var a Alert
	var labels, annotations string
	var starts, ends, received, onset, judged int64
	if err := row.Scan(&a.ID, &a.Alertname, &a.Severity, &a.Response, &labels, &annotations, &starts, &ends, &received,
		&a.Verdict, &onset, &a.Note, &a.By, &judged, &a.Revision); err != nil {
		return a, err
	}
	a.StartsAt, a.EndsAt, a.FirstReceived, a.OnsetAt, a.JudgedAt = store.Time(starts), store.Time(ends), store.Time(received), store.Time(onset), store.Time(judged)
	if err := errors.Join(json.Unmarshal([]byte(labels), &a.Labels), json.Unmarshal([]byte(annotations), &a.Annotations)); err != nil {
		return a, fmt.Errorf("read a stored alert: %w", err)
	}
	return a, nil
}

var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// List returns a page of alerts, newest first, and the total number.
func List(tx *store.Tx, f Filter, limit, offset int) (alerts []Alert, total int, err error) {
	conditions, args := []string{"1 = 1"}, []any{}
	if f.Verdict != "" {
		conditions, args = append(conditions, "COALESCE(v.verdict, 'unjudged') = ?"), append(args, f.Verdict)
	}
	if f.Alertname != "" {
		conditions, args = append(conditions, "a.alertname = ?"), append(args, f.Alertname)
	}
	if f.Text != "" {
		like := "%" + escapeLike.Replace(strings.ToLower(f.Text)) + "%"
		conditions, args = append(conditions, `(LOWER(a.labels) LIKE ? ESCAPE '\' OR LOWER(a.annotations) LIKE ? ESCAPE '\')`), append(args, like, like)
	}
	where := " WHERE " + strings.Join(conditions, " AND ")
	if err := tx.QueryRow(`SELECT COUNT(*)`+from+where, args...).Scan(&total); err != nil {
		return nil, 0, err
	}
	rows, err := tx.Query(`SELECT `+columns+from+where+` ORDER BY a.starts_at DESC, a.id LIMIT ? OFFSET ?`, append(args, limit, offset)...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		a, err := scan(rows)
		if err != nil {
			return nil, 0, err
		}
		alerts = append(alerts, a)
	}
	return alerts, total, rows.Err()
}

// Names returns the alert names to filter by.
func Names(tx *store.Tx, limit int) (names []string, err error) {
	rows, err := tx.Query(`SELECT DISTINCT alertname FROM alerts ORDER BY 1 LIMIT ?`, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// Get returns an alert.
func Get(tx *store.Tx, id string) (Alert, error) {
	a, err := scan(tx.QueryRow(`SELECT `+columns+from+` WHERE a.id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return a, ErrNotFound
	}
	return a, err
}

// Verdict is a person's verdict on an alert.
type Verdict struct {
	Verdict string
	// Onset is the start of the incident; zero if unknown. Only a true alert has an incident.
	Onset time.Time
	Note  string
	By    string
	At    time.Time
}

// InvalidError describes an invalid verdict to its author.
type InvalidError struct{ Text string }

func (e *InvalidError) Error() string { return e.Text }

// Judge stores the verdict of a person who read the alert at the given revision.
func Judge(tx *store.Tx, id string, revision int64, v Verdict) error {
	a, err := Get(tx, id)
	if err != nil {
		return err
	}
	v.Onset = v.Onset.Truncate(time.Minute) // The onset identifies the incident.
	switch {
	case v.Verdict != True && !v.Onset.IsZero():
		return &InvalidError{"Only a true alert has an incident: leave the onset empty, or mark the alert as true."}
	case v.Onset.After(a.StartsAt):
		return &InvalidError{"The onset is after the alert fired at " + a.StartsAt.Format("2006-01-02 15:04") + " UTC. An incident begins before it is detected."}
	}
	// Without a seen revision, an existing row makes the insert fail; with an outdated one, the update changes no row.
	changed, err := tx.Exec(`INSERT INTO verdicts (alert_id, verdict, onset_at, note, revision, judged_by, judged_at) VALUES (?, ?, ?, ?, 1, ?, ?)
		ON CONFLICT (alert_id) DO UPDATE SET verdict = excluded.verdict, onset_at = excluded.onset_at, note = excluded.note,
			revision = verdicts.revision + 1, judged_by = excluded.judged_by, judged_at = excluded.judged_at WHERE verdicts.revision = ?`,
		id, v.Verdict, store.Micros(v.Onset), v.Note, v.By, store.Micros(v.At), revision)
	if err != nil {
		return err
	}
	if changed == 0 {
		return ErrConflict
	}
	facts := map[string]string{"alertname": a.Alertname, "verdict": v.Verdict}
	if !v.Onset.IsZero() {
		facts["onset"] = v.Onset.UTC().Format(time.RFC3339)
	}
	return audit.Append(tx, audit.Record{Time: v.At, Kind: "alert_judged", Actor: v.By, Subject: id, Facts: facts, Detail: map[string]string{"note": v.Note}})
}

// Key identifies a count: the name of an alert and a verdict.
type Key struct{ Alertname, Verdict string }

// Status has the values for metrics, over all stored alerts.
type Status struct {
	Alerts map[Key]int64
	// ToDetect and ToResolve have the seconds for each incident; ToResolve only for resolved ones.
	ToDetect, ToResolve []float64
}

// ReadStatus reads the status.
func ReadStatus(tx *store.Tx) (Status, error) {
	s := Status{Alerts: map[Key]int64{}}
	if err := readCounts(tx, s.Alerts); err != nil {
		return s, err
	}
	rows, err := tx.Query(`SELECT v.onset_at, MIN(a.starts_at), MIN(a.ends_at), MAX(a.ends_at)
		FROM verdicts v JOIN alerts a ON a.id = v.alert_id WHERE v.verdict = ? AND v.onset_at > 0 GROUP BY v.onset_at ORDER BY v.onset_at`, True)
	if err != nil {
		return s, err
	}
	defer rows.Close()
	for rows.Next() {
		var onset, starts, firstEnd, lastEnd int64
		if err := rows.Scan(&onset, &starts, &firstEnd, &lastEnd); err != nil {
			return s, err
		}
		s.ToDetect = append(s.ToDetect, float64(starts-onset)/1e6)
		if firstEnd > 0 { // ends_at is 0 while an alert fires.
			s.ToResolve = append(s.ToResolve, float64(lastEnd-onset)/1e6)
		}
	}
	return s, rows.Err()
}

func readCounts(tx *store.Tx, to map[Key]int64) error {
	rows, err := tx.Query(`SELECT a.alertname, COALESCE(v.verdict, 'unjudged'), COUNT(*)` + from + ` GROUP BY 1, 2`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var k Key
		var n int64
		if err := rows.Scan(&k.Alertname, &k.Verdict, &n); err != nil {
			return err
		}
		to[k] = n
	}
	return rows.Err()
}

// Forget deletes verdicts on deleted alerts.
func Forget(tx *store.Tx) error {
	_, err := tx.Exec(`DELETE FROM verdicts WHERE NOT EXISTS (SELECT 1 FROM alerts WHERE alerts.id = verdicts.alert_id)`)
	return err
}
