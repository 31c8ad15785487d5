// Package verdict keeps what people say of alerts: whether they were right, and when the incident began.
//
// Input: verdicts of the on-call, by the page. Output: alerts with their verdicts, and how soon incidents were found
// and over. The package owns the table verdicts and reads the table alerts. Every verdict is in the audit trail by the
// transaction that makes it.
//
// Alerts that were given the same onset, to the minute, are one incident. It is detected when the first of them fired,
// by Prometheus's clock (startsAt), whether or not the responder was there to see; it is resolved when the last of them
// was.
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

// All are the verdicts in the order of a list.
var All = []string{Unjudged, True, False}

// What can be wrong with a verdict.
var (
	// ErrNotFound says that there is no such alert.
	ErrNotFound = errors.New("there is no such alert")
	// ErrConflict says that somebody judged since the alert was read.
	ErrConflict = errors.New("somebody else judged this alert meanwhile")
)

// Alert is an alert and what was said of it.
type Alert struct {
	ID                                       string
	Alertname, Severity, Response            string
	Labels, Annotations                      map[string]string
	StartsAt, EndsAt, FirstReceived, OnsetAt time.Time
	Verdict, Note, By                        string
	JudgedAt                                 time.Time
	Revision                                 int64
}

// Filter selects alerts; what is empty selects all.
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

// List returns a page of alerts, newest first, and how many there are.
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

// Names are the names of alerts that there are to filter by.
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

// Verdict is what somebody says of an alert.
type Verdict struct {
	Verdict string
	// Onset of the incident; zero where nobody knows it. Only a true alert has an incident.
	Onset time.Time
	Note  string
	By    string
	At    time.Time
}

// InvalidError says what is wrong with a verdict, for the person who gave it.
type InvalidError struct{ Text string }

func (e *InvalidError) Error() string { return e.Text }

// Judge records the verdict of somebody who saw the alert at a revision.
func Judge(tx *store.Tx, id string, revision int64, v Verdict) error {
	a, err := Get(tx, id)
	if err != nil {
		return err
	}
	v.Onset = v.Onset.Truncate(time.Minute) // Incidents are told apart by it.
	switch {
	case v.Verdict != True && !v.Onset.IsZero():
		return &InvalidError{"Only a true alert has an incident: leave the onset empty, or mark the alert as true."}
	case v.Onset.After(a.StartsAt):
		return &InvalidError{"The onset is after the alert fired at " + a.StartsAt.Format("2006-01-02 15:04") + " UTC. An incident begins before it is detected."}
	}
	// An insert that meets a row fails for whoever saw none, an update that meets another revision changes nothing.
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

// Key of a count: an alert's name and the verdict on it.
type Key struct{ Alertname, Verdict string }

// Status is what metrics show: of all alerts that are kept, as they stand now.
type Status struct {
	Alerts map[Key]int64
	// ToDetect and ToResolve are of each incident, in seconds; the second only of those that are over.
	ToDetect, ToResolve []float64
}

// ReadStatus counts.
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
		if firstEnd > 0 { // One that fires has 0.
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

// Forget drops verdicts on alerts that are kept no longer.
func Forget(tx *store.Tx) error {
	_, err := tx.Exec(`DELETE FROM verdicts WHERE NOT EXISTS (SELECT 1 FROM alerts WHERE alerts.id = verdicts.alert_id)`)
	return err
}
