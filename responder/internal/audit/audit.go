// Package audit stores what the responder received, decided and did, and on whose behalf.
//
// Input: records, each appended in the transaction that makes the recorded change, so that neither exists without the other.
// Output: a check that no record was changed, removed or inserted, and the records as JSON lines. State: the tables audit and
// audit_head. It never changes the facts of a record.
//
// Records form a chain: each contains the hash of the one before. A record has facts, which are permanent, and a detail,
// which may name persons or quote content and can be redacted later. The hash covers only the salted digest of the detail. So
// the chain remains valid without the detail, and a deleted detail cannot be guessed from its digest.
package audit

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// Kinds of records that this package writes. Other packages define their own kinds.
const (
	KindRedacted = "details_redacted"
	KindRemoved  = "records_removed"
)

// Record is an event to append.
type Record struct {
	Time time.Time
	// Kind is the kind of event in snake case: alert_received, action_started, review_decided.
	Kind string
	// Actor is a person, alertmanager, or responder.
	Actor string
	// Subject is the ID of the affected object.
	Subject string
	// Facts are kept as long as the record.
	Facts map[string]string
	// Detail can be redacted. It is stored as JSON; nil means none.
	Detail any
}

// Entry is a record in the chain.
type Entry struct {
	Seq     int64           `json:"seq"`
	Time    time.Time       `json:"time"`
	Kind    string          `json:"kind"`
	Actor   string          `json:"actor"`
	Subject string          `json:"subject"`
	Facts   json.RawMessage `json:"facts"`
	// Detail has the exact bytes that were hashed. It is empty if there was none or it was redacted.
	Detail       string `json:"detail,omitempty"`
	Salt         string `json:"salt,omitempty"`
	DetailDigest string `json:"detail_digest,omitempty"`
	PrevHash     string `json:"prev_hash"`
	Hash         string `json:"hash"`
}

// digest hashes the parts in an encoding that is unique for each list of parts.
func digest(parts ...string) string {
	sum := sha256.New()
	for _, part := range parts {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(part), part) // Writing to a hash cannot fail.
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func (e *Entry) sum() string {
	return digest(e.PrevHash, strconv.FormatInt(e.Seq, 10), strconv.FormatInt(store.Micros(e.Time), 10), e.Kind, e.Actor, e.Subject,
		string(e.Facts), e.DetailDigest)
}

// Append adds a record to the chain. Transactions that call it wait for each other until they end, so call it last.
func Append(tx *store.Tx, r Record) error {
	if r.Kind == "" || r.Actor == "" || r.Time.IsZero() {
		return fmt.Errorf("append to the audit trail: %q by %q at %s: want a kind, an actor and a time", r.Kind, r.Actor, r.Time)
	}
	facts := r.Facts
	if facts == nil {
		facts = map[string]string{}
	}
	e := Entry{Time: r.Time, Kind: r.Kind, Actor: r.Actor, Subject: r.Subject}
	var err error
	if e.Facts, err = json.Marshal(facts); err != nil { // with sorted keys
		return fmt.Errorf("append to the audit trail: %w", err)
	}
	if r.Detail != nil {
		detail, err := json.Marshal(r.Detail)
		if err != nil {
			return fmt.Errorf("append to the audit trail: %w", err)
		}
		e.Detail, e.Salt = string(detail), rand.Text()
		e.DetailDigest = digest(e.Salt, e.Detail)
	}
	if err := tx.QueryRow(`UPDATE audit_head SET seq = seq + 1 WHERE one = 1 RETURNING seq, hash`).Scan(&e.Seq, &e.PrevHash); err != nil {
		return fmt.Errorf("append to the audit trail: %w", err)
	}
	e.Hash = e.sum()
	_, err = tx.Exec(`INSERT INTO audit (seq, time, kind, actor, subject, facts, detail, salt, detail_digest, prev_hash, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, e.Seq, store.Micros(e.Time), e.Kind, e.Actor, e.Subject, string(e.Facts), e.Detail, e.Salt,
		e.DetailDigest, e.PrevHash, e.Hash)
	if err == nil {
		_, err = tx.Exec(`UPDATE audit_head SET hash = ? WHERE one = 1`, e.Hash)
	}
	if err != nil {
		return fmt.Errorf("append to the audit trail: %w", err)
	}
	return nil
}

// Mark is a position in the chain. If it is stored where users of the database cannot write, it proves later that the chain up to it is
// unchanged.
type Mark struct {
	Seq  int64
	Hash string
}

func (m Mark) String() string { return fmt.Sprintf("%d:%s", m.Seq, m.Hash) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Mark) UnmarshalText(text []byte) error {
	if _, err := fmt.Sscanf(string(text), "%d:%64s", &m.Seq, &m.Hash); err != nil || m.Seq < 1 || len(m.Hash) != 64 || m.String() != string(text) {
		return fmt.Errorf("%q is not a mark; want NUMBER:HASH as audit verify prints it", text)
	}
	return nil
}

// Report describes a valid chain.
type Report struct {
	Records  int64
	Redacted int64 // redacted by retention
	Removed  int64 // by retention, before the first
	Head     Mark
}

// BrokenError is the first record at which a chain is invalid.
type BrokenError struct {
	Seq     int64
	Problem string
}

func (e *BrokenError) Error() string { return fmt.Sprintf("audit record %d %s", e.Seq, e.Problem) }

// head is the only row of audit_head.
type head struct{ last, removed Mark }

// Verify checks the chain in the store, and that each of the marks is on it.
func Verify(ctx context.Context, s *store.Store, marks ...Mark) (Report, error) {
	var r Report
	err := s.Read(ctx, func(tx *store.Tx) error {
		var h head
		if err := tx.QueryRow(`SELECT seq, hash, removed_seq, removed_hash FROM audit_head WHERE one = 1`).
			Scan(&h.last.Seq, &h.last.Hash, &h.removed.Seq, &h.removed.Hash); err != nil {
			return fmt.Errorf("read the head of the audit trail: %w", err)
		}
		var err error
		r, err = verify(entries(tx), &h, marks)
		return err
	})
	return r, err
}

// VerifyExport checks a chain that Export wrote. It cannot detect that records at the end are missing; compare the reported
// Head with that of the store.
func VerifyExport(from io.Reader, marks ...Mark) (Report, error) {
	return verify(lines(from), nil, marks)
}

func verify(chain iter.Seq2[Entry, error], h *head, marks []Mark) (Report, error) {
	var r Report
	var redactedThrough, lastRedacted int64
	removed := Mark{} // as in the latest record of a removal
	first := true
	wanted := map[int64]string{}
	for _, m := range marks {
		wanted[m.Seq] = m.Hash
	}
	for e, err := range chain {
		if err != nil {
			return r, err
		}
		if first {
			first = false
			r.Head = Mark{e.Seq - 1, e.PrevHash}
			if h != nil {
				r.Head = h.removed
			}
			r.Removed = r.Head.Seq
		}
		switch {
		case e.Seq != r.Head.Seq+1:
			return r, &BrokenError{r.Head.Seq + 1, fmt.Sprintf("is missing: record %d comes after record %d", e.Seq, r.Head.Seq)}
		case e.sum() != e.Hash:
			return r, &BrokenError{e.Seq, fmt.Sprintf("(%s, %s) was changed: its content does not have its hash", e.Kind, e.Time.Format(time.RFC3339))}
		case e.PrevHash != r.Head.Hash:
			return r, &BrokenError{e.Seq, fmt.Sprintf("(%s, %s) does not follow from record %d: one of the two was replaced", e.Kind, e.Time.Format(time.RFC3339), r.Head.Seq)}
		case e.Salt != "" && digest(e.Salt, e.Detail) != e.DetailDigest, e.Salt == "" && e.Detail != "":
			return r, &BrokenError{e.Seq, fmt.Sprintf("(%s, %s) was changed: its detail does not have its digest", e.Kind, e.Time.Format(time.RFC3339))}
		}
		if want, ok := wanted[e.Seq]; ok && want != e.Hash {
			return r, &BrokenError{e.Seq, fmt.Sprintf("is not the one that was marked: its hash is %s, the mark says %s", e.Hash, want)}
		}
		delete(wanted, e.Seq)
		if e.DetailDigest != "" && e.Salt == "" {
			r.Redacted++
			lastRedacted = e.Seq
		}
		switch e.Kind {
		case KindRedacted, KindRemoved:
			var facts struct {
				Through int64  `json:"through,string"`
				Hash    string `json:"hash"`
			}
			if err := json.Unmarshal(e.Facts, &facts); err != nil {
				return r, &BrokenError{e.Seq, fmt.Sprintf("(%s) has no number of the last record concerned: %v", e.Kind, err)}
			}
			if e.Kind == KindRemoved {
				removed = Mark{facts.Through, facts.Hash}
			} else {
				redactedThrough = max(redactedThrough, facts.Through)
			}
		}
		r.Records++
		r.Head = Mark{e.Seq, e.Hash}
	}
	switch {
	case h != nil && r.Head != h.last && first && h.last.Seq > 0:
		return r, &BrokenError{h.removed.Seq + 1, fmt.Sprintf("is missing, and all after it up to record %d", h.last.Seq)}
	case h != nil && h.last.Seq > r.Head.Seq:
		return r, &BrokenError{r.Head.Seq + 1, fmt.Sprintf("is missing, and all after it up to record %d", h.last.Seq)}
	case h != nil && h.last != r.Head:
		return r, &BrokenError{r.Head.Seq, fmt.Sprintf("is not the last that was appended: the head says %s", h.last)}
	case r.Removed > 0 && (removed.Seq != r.Removed || h != nil && removed != h.removed):
		return r, &BrokenError{r.Removed, "is missing, and no record tells that retention removed it and those before it"}
	case lastRedacted > redactedThrough:
		return r, &BrokenError{lastRedacted, "lost its detail, and no record tells of a redaction"}
	}
	for _, m := range marks {
		if _, left := wanted[m.Seq]; left && m.Seq > r.Removed {
			return r, &BrokenError{m.Seq, "was marked and is missing"}
		}
	}
	return r, nil
}

// Export writes the records as JSON lines and returns the mark of the last one.
func Export(ctx context.Context, s *store.Store, to io.Writer) (Mark, error) {
	var last Mark
	err := s.Read(ctx, func(tx *store.Tx) error {
		w := bufio.NewWriter(to)
		enc := json.NewEncoder(w)
		for e, err := range entries(tx) {
			if err != nil {
				return err
			}
			if err := enc.Encode(e); err != nil {
				return fmt.Errorf("export the audit trail: %w", err)
			}
			last = Mark{e.Seq, e.Hash}
		}
		return w.Flush()
	})
	return last, err
}

// mostSubjects bounds the subjects in one statement.
const mostSubjects = 500

// Of returns the last records about the subjects, up to a limit, in order.
func Of(tx *store.Tx, subjects []string, most int) (all []Entry, err error) {
	for part := range slices.Chunk(subjects, mostSubjects) {
		args := make([]any, len(part))
		for i, s := range part {
			args[i] = s
		}
		for e, err := range selected(tx, ` WHERE subject IN (?`+strings.Repeat(`, ?`, len(part)-1)+`)`, args...) {
			if err != nil {
				return nil, err
			}
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return all[max(len(all)-most, 0):], nil
}

// entries iterates over the records in order.
func entries(tx *store.Tx) iter.Seq2[Entry, error] { return selected(tx, "") }

func selected(tx *store.Tx, where string, args ...any) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		rows, err := tx.Query(`SELECT seq, time, kind, actor, subject, facts, detail, salt, detail_digest, prev_hash, hash FROM audit`+where+` ORDER BY seq`, args...)
		if err != nil {
			yield(Entry{}, fmt.Errorf("read the audit trail: %w", err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			var e Entry
			var micros int64
			var facts string
			if err := rows.Scan(&e.Seq, &micros, &e.Kind, &e.Actor, &e.Subject, &facts, &e.Detail, &e.Salt, &e.DetailDigest, &e.PrevHash, &e.Hash); err != nil {
				yield(Entry{}, fmt.Errorf("read the audit trail: %w", err))
				return
			}
			e.Time, e.Facts = store.Time(micros), json.RawMessage(facts)
			if !yield(e, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(Entry{}, fmt.Errorf("read the audit trail: %w", err))
		}
	}
}

// lines iterates over the records of an export.
func lines(from io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		dec := json.NewDecoder(from)
		for n := 1; ; n++ {
			var e Entry
			err := dec.Decode(&e)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(e, fmt.Errorf("read the export: record %d of the file: %w", n, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}
