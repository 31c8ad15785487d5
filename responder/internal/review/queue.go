// Package review stores the queue of answers that a person has to review.
//
// Input: items from the programs that gate answers, by API, and decisions of people, by the page. Output: the queue for the
// page, decisions as JSON lines for evaluators, counts for metrics and, if configured, each item for an external tool. State:
// the tables review_items, review_decisions and review_totals. Each change is in the audit trail, in the same transaction. It
// never changes the text of an item.
package review

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	contract "github.com/sightglass-ml/sightglass/internal/review"
	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// States of an item. The last two are decisions of a person: the answer is good, or it is not.
const (
	Open     = "open"
	Accepted = "accepted"
	Rejected = "rejected"
)

// Reopened is the decision that returns an item to the queue; its state is Open again.
const Reopened = "reopened"

// States and Decisions list all of them.
var (
	States    = []string{Open, Accepted, Rejected}
	Decisions = []string{Accepted, Rejected, Reopened}
)

// Errors of a request.
var (
	// ErrNotFound means that the item does not exist.
	ErrNotFound = errors.New("there is no such item")
	// ErrConflict means that another decision was made since the item was read.
	ErrConflict = errors.New("somebody else decided on this item meanwhile")
	// errFull means that the queue is full.
	errFull = errors.New("the queue is full")
	// errIDTaken means that an item with this ID and another content exists.
	errIDTaken = errors.New("the id is taken by an item of other content, which stays")
)

// Entry is a queued item.
type Entry struct {
	contract.Item
	State    string
	Revision int64
	Received time.Time
	Changed  time.Time
	// ExcerptLength is in characters. In a list the Excerpt itself is truncated.
	ExcerptLength int
}

// Decision is one decision on an item.
type Decision struct {
	Decision string
	Reason   string
	By       string
	At       time.Time
}

// excerptInLists is the number of characters of an excerpt in a list.
const excerptInLists = 280

const columns = `item, state, revision, received_at, changed_at, LENGTH(excerpt), SUBSTR(excerpt, 1, ?)`

func scan(row interface{ Scan(dest ...any) error }) (Entry, error) {
	var e Entry
	var item string
	var received, changed int64
	if err := row.Scan(&item, &e.State, &e.Revision, &received, &changed, &e.ExcerptLength, &e.Excerpt); err != nil {
		return e, err
	}
	e.Received, e.Changed = store.Time(received), store.Time(changed)
	excerpt := e.Excerpt
	if err := json.Unmarshal([]byte(item), &e.Item); err != nil {
		return e, fmt.Errorf("read a stored item: %w", err)
	}
	e.Excerpt = excerpt
	return e, nil
}

// admit has the limits for accepting an item.
type admit struct {
	maxOpen int
	excerpt bool
	forward bool
}

// add queues the item, and reports whether it is new.
func add(tx *store.Tx, item contract.Item, a admit, now time.Time) (bool, error) {
	text, err := json.Marshal(item)
	if err != nil {
		return false, err
	}
	sum := sha256.Sum256(text)
	digest := hex.EncodeToString(sum[:])
	// Lock, so that two replicas do not both take the last free place between the count and the insert.
	if err := tx.Lock("reviews"); err != nil {
		return false, err
	}
	var known string
	switch err := tx.QueryRow(`SELECT digest FROM review_items WHERE id = ?`, item.ID).Scan(&known); {
	case err == nil && known != digest:
		return false, errIDTaken
	case err == nil:
		return false, nil
	case !errors.Is(err, sql.ErrNoRows):
		return false, err
	}
	var open int
	if err := tx.QueryRow(`SELECT COUNT(*) FROM review_items WHERE state = ?`, Open).Scan(&open); err != nil {
		return false, err
	}
	if open >= a.maxOpen {
		return false, errFull
	}
	excerpt := item.Excerpt
	if !a.excerpt {
		excerpt = ""
	}
	item.Excerpt = ""
	if text, err = json.Marshal(item); err != nil {
		return false, err
	}
	var forward int64
	if a.forward {
		forward = store.Micros(now)
	}
	search := strings.ToLower(strings.Join([]string{
		item.ID, item.Model, item.Version, item.MLflowRunID, item.TraceID, item.ResponseID, item.Evaluation, item.Label, item.Explanation, excerpt,
	}, "\n"))
	if _, err := tx.Exec(`INSERT INTO review_items (id, digest, model, version, evaluation, item, excerpt, search, state, revision,
			received_at, changed_at, forward_at, forward_attempts, forward_error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, 0, '')`,
		item.ID, digest, item.Model, item.Version, item.Evaluation, string(text), excerpt, search, Open, store.Micros(now), store.Micros(now), forward); err != nil {
		return false, err
	}
	return true, audit.Append(tx, audit.Record{
		Time: now, Kind: "review_queued", Actor: "modelquality", Subject: item.ID,
		Facts: map[string]string{
			"model": item.Model, "version": item.Version, "mlflow_run_id": item.MLflowRunID, "trace_id": item.TraceID, "evaluation": item.Evaluation,
			"score": strconv.FormatFloat(item.Score, 'g', -1, 64), "gate": strconv.FormatFloat(item.Gate, 'g', -1, 64),
		},
	})
}

// Filter selects items; empty fields match all.
type Filter struct{ State, Model, Evaluation, Text string }

var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func (f Filter) where() (string, []any) {
	conditions, args := []string{"1 = 1"}, []any{}
	for _, c := range []struct{ sql, value string }{{"state = ?", f.State}, {"model = ?", f.Model}, {"evaluation = ?", f.Evaluation}} {
		if c.value != "" {
			conditions, args = append(conditions, c.sql), append(args, c.value)
		}
	}
	if f.Text != "" {
		conditions, args = append(conditions, `search LIKE ? ESCAPE '\'`), append(args, "%"+escapeLike.Replace(strings.ToLower(f.Text))+"%")
	}
	return " WHERE " + strings.Join(conditions, " AND "), args
}

// List returns a page of items and the total number. Open items are sorted oldest first, decided ones newest first.
func List(tx *store.Tx, f Filter, limit, offset int) (entries []Entry, total int, err error) {
	where, args := f.where()
	if err := tx.QueryRow(`SELECT COUNT(*) FROM review_items`+where, args...).Scan(&total); err != nil {
		return nil, 0, err
	}
	order := ` ORDER BY changed_at DESC, id DESC`
	if f.State == Open {
		order = ` ORDER BY received_at, id`
	}
	rows, err := tx.Query(`SELECT `+columns+` FROM review_items`+where+order+` LIMIT ? OFFSET ?`,
		append(append([]any{excerptInLists}, args...), limit, offset)...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		e, err := scan(rows)
		if err != nil {
			return nil, 0, err
		}
		entries = append(entries, e)
	}
	return entries, total, rows.Err()
}

// Choices returns the values to filter by, at most limit of each.
func Choices(tx *store.Tx, limit int) (models, evaluations []string, err error) {
	for column, to := range map[string]*[]string{"model": &models, "evaluation": &evaluations} {
		if *to, err = distinct(tx, column, limit); err != nil {
			return nil, nil, err
		}
	}
	return models, evaluations, nil
}

func distinct(tx *store.Tx, column string, limit int) (values []string, err error) {
	rows, err := tx.Query(`SELECT DISTINCT `+column+` FROM review_items ORDER BY 1 LIMIT ?`, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, rows.Err()
}

// Get returns an item, its excerpt truncated to the given number of characters, and its decisions, newest first.
func Get(tx *store.Tx, id string, excerpt int) (Entry, []Decision, error) {
	e, err := scan(tx.QueryRow(`SELECT `+columns+` FROM review_items WHERE id = ?`, excerpt, id))
	if errors.Is(err, sql.ErrNoRows) {
		return e, nil, ErrNotFound
	}
	if err != nil {
		return e, nil, err
	}
	rows, err := tx.Query(`SELECT decision, reason, decided_by, decided_at FROM review_decisions WHERE item_id = ? ORDER BY seq DESC`, id)
	if err != nil {
		return e, nil, err
	}
	defer rows.Close()
	var decisions []Decision
	for rows.Next() {
		var d Decision
		var at int64
		if err := rows.Scan(&d.Decision, &d.Reason, &d.By, &at); err != nil {
			return e, nil, err
		}
		d.At = store.Time(at)
		decisions = append(decisions, d)
	}
	return e, decisions, rows.Err()
}

// Next returns the ID of the oldest open item, or "".
func Next(tx *store.Tx) (id string, err error) {
	err = tx.QueryRow(`SELECT id FROM review_items WHERE state = ? ORDER BY received_at, id LIMIT 1`, Open).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id, err
}

// Decide stores the decision of a person who read the item at the given revision.
func Decide(tx *store.Tx, id string, revision int64, d Decision) error {
	state, from := d.Decision, Open
	if d.Decision == Reopened {
		state, from = Open, ""
	}
	// Decisions get their numbers in the order of their commits, so that an export continued after a number misses none.
	if err := tx.Lock("reviews"); err != nil {
		return err
	}
	changed, err := tx.Exec(`UPDATE review_items SET state = ?, revision = revision + 1, changed_at = ? WHERE id = ? AND revision = ? AND (state = ? OR ? = '' AND state <> ?)`,
		state, store.Micros(d.At), id, revision, from, from, Open)
	if err != nil {
		return err
	}
	if changed == 0 {
		var n int
		if err := tx.QueryRow(`SELECT COUNT(*) FROM review_items WHERE id = ?`, id).Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			return ErrNotFound
		}
		return ErrConflict
	}
	seq, err := count(tx, "seq")
	if err != nil {
		return err
	}
	if _, err := count(tx, d.Decision); err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO review_decisions (seq, item_id, decision, reason, decided_by, decided_at) VALUES (?, ?, ?, ?, ?, ?)`,
		seq, id, d.Decision, d.Reason, d.By, store.Micros(d.At)); err != nil {
		return err
	}
	return audit.Append(tx, audit.Record{
		Time: d.At, Kind: "review_decided", Actor: d.By, Subject: id,
		Facts: map[string]string{"decision": d.Decision}, Detail: map[string]string{"reason": d.Reason},
	})
}

func count(tx *store.Tx, name string) (total int64, err error) {
	err = tx.QueryRow(`INSERT INTO review_totals (name, total) VALUES (?, 1)
		ON CONFLICT (name) DO UPDATE SET total = review_totals.total + 1 RETURNING total`, name).Scan(&total)
	return total, err
}

// Status has the values for metrics.
type Status struct {
	Items     map[string]int64 // by state
	Decisions map[string]int64 // by decision, ever made
	// Forwarded by result, ok or refused; Waiting to be forwarded.
	Forwarded map[string]int64
	Waiting   int64
}

// ReadStatus reads the status.
func ReadStatus(tx *store.Tx) (Status, error) {
	s := Status{map[string]int64{}, map[string]int64{}, map[string]int64{}, 0}
	for _, q := range []struct {
		sql string
		add func(name string, n int64)
	}{
		{`SELECT state, COUNT(*) FROM review_items GROUP BY state`, func(name string, n int64) { s.Items[name] = n }},
		{`SELECT name, total FROM review_totals`, func(name string, n int64) {
			if result, ok := strings.CutPrefix(name, "forward_"); ok {
				s.Forwarded[result] = n
			} else {
				s.Decisions[name] = n
			}
		}},
	} {
		if err := tx.Each(q.sql, nil, func(scan func(...any) error) error {
			var name string
			var n int64
			err := scan(&name, &n)
			if err == nil {
				q.add(name, n)
			}
			return err
		}); err != nil {
			return s, err
		}
	}
	return s, tx.QueryRow(`SELECT COUNT(*) FROM review_items WHERE forward_at > 0`).Scan(&s.Waiting)
}

// Forget deletes items decided before the time. Open items are never deleted.
func Forget(tx *store.Tx, before time.Time) error {
	const old = ` (SELECT id FROM review_items WHERE state <> ? AND changed_at < ? AND forward_at = 0)`
	for _, statement := range []string{`DELETE FROM review_decisions WHERE item_id IN` + old, `DELETE FROM review_items WHERE id IN` + old} {
		if _, err := tx.Exec(statement, Open, store.Micros(before)); err != nil {
			return fmt.Errorf("forget old reviews: %w", err)
		}
	}
	return nil
}
