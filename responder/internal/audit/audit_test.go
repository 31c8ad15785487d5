package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
	"github.com/sightglass-ml/sightglass/responder/internal/store/storetest"
)

var start = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

// fill appends n records, an hour apart.
func fill(t *testing.T, s *store.Store, n int) {
	t.Helper()
	for i := range n {
		require.NoError(t, s.Write(t.Context(), func(tx *store.Tx) error {
			return audit.Append(tx, audit.Record{
				Time: start.Add(time.Duration(i) * time.Hour), Kind: "alert_received", Actor: "alertmanager", Subject: fmt.Sprintf("alert-%d", i),
				Facts: map[string]string{"model": "fraud", "alertname": "MLModelDrift"}, Detail: map[string]string{"note": "<hostile> & \u202e"},
			})
		}))
	}
}

func TestAuditRecordsAreChained(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		r, err := audit.Verify(t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, audit.Report{}, r, "an empty trail holds")

		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range 5 {
					_ = s.Write(t.Context(), func(tx *store.Tx) error {
						err := audit.Append(tx, audit.Record{Time: start, Kind: "k", Actor: "a", Subject: "s"})
						if i%2 == 1 {
							err = errors.Join(err, errors.New("the change failed"))
						}
						return err
					})
				}
			})
		}
		wg.Wait()
		r, err = audit.Verify(t.Context(), s)
		require.NoError(t, err)
		require.EqualValues(t, 20, r.Records, "a change that was rolled back leaves no record and no gap")

		var out bytes.Buffer
		last, err := audit.Export(t.Context(), s, &out)
		require.NoError(t, err)
		require.Equal(t, r.Head, last)
		exported, err := audit.VerifyExport(&out, last)
		require.NoError(t, err)
		require.Equal(t, r, exported)
	})
}

func TestTamperingIsDetected(t *testing.T) {
	for name, tc := range map[string]struct {
		sql  []string
		want string
	}{
		"a fact is changed":             {[]string{`UPDATE audit SET facts = '{}' WHERE seq = 4`}, "audit record 4 (alert_received, 2026-11-24T12:00:00Z) was changed: its content does not have its hash"},
		"who did it is changed":         {[]string{`UPDATE audit SET actor = 'someone' WHERE seq = 4`}, "audit record 4 (alert_received, 2026-11-24T12:00:00Z) was changed: its content does not have its hash"},
		"the time is changed":           {[]string{`UPDATE audit SET time = time + 1 WHERE seq = 4`}, "audit record 4 (alert_received, 2026-11-24T12:00:00Z) was changed: its content does not have its hash"},
		"a detail is changed":           {[]string{`UPDATE audit SET detail = '{"note":"nothing"}' WHERE seq = 4`}, "audit record 4 (alert_received, 2026-11-24T12:00:00Z) was changed: its detail does not have its digest"},
		"a detail is dropped":           {[]string{`UPDATE audit SET detail = '', salt = '' WHERE seq = 4`}, "audit record 4 lost its detail, and no record tells of a redaction"},
		"a detail is put in its place":  {[]string{`UPDATE audit SET salt = '' WHERE seq = 4`}, "audit record 4 (alert_received, 2026-11-24T12:00:00Z) was changed: its detail does not have its digest"},
		"a record is removed":           {[]string{`DELETE FROM audit WHERE seq = 4`}, "audit record 4 is missing: record 5 comes after record 3"},
		"the first records are removed": {[]string{`DELETE FROM audit WHERE seq <= 4`}, "audit record 1 is missing: record 5 comes after record 0"},
		"with their number in the head": {[]string{`DELETE FROM audit WHERE seq <= 4`, `UPDATE audit_head SET removed_seq = 4, removed_hash = (SELECT prev_hash FROM audit WHERE seq = 5)`}, "audit record 4 is missing, and no record tells that retention removed it and those before it"},
		"the last records are removed":  {[]string{`DELETE FROM audit WHERE seq > 8`}, "audit record 9 is missing, and all after it up to record 10"},
		"all records are removed":       {[]string{`DELETE FROM audit`}, "audit record 1 is missing, and all after it up to record 10"},
		"with the head put back":        {[]string{`DELETE FROM audit WHERE seq > 8`, `UPDATE audit_head SET seq = 8`}, "audit record 8 is not the last that was appended"},
		"a record is put at the end":    {[]string{`INSERT INTO audit SELECT 11, time, kind, actor, subject, facts, detail, salt, detail_digest, hash, 'x' FROM audit WHERE seq = 10`}, "audit record 11 (alert_received, 2026-11-24T18:00:00Z) was changed"},
		"a record is copied to a place": {[]string{`UPDATE audit SET hash = 'x' WHERE seq = 4`}, "audit record 4 (alert_received, 2026-11-24T12:00:00Z) was changed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.SQLite(t)
			fill(t, s, 10)
			_, err := audit.Verify(t.Context(), s)
			require.NoError(t, err)
			require.NoError(t, s.Write(t.Context(), func(tx *store.Tx) error {
				for _, statement := range tc.sql {
					if _, err := tx.Exec(statement); err != nil {
						return err
					}
				}
				return nil
			}))
			_, err = audit.Verify(t.Context(), s)
			require.ErrorContains(t, err, tc.want)
			var broken *audit.BrokenError
			require.ErrorAs(t, err, &broken)
		})
	}
}

// A user with write access to the database can compute a complete new chain. A mark stored elsewhere reveals it.
func TestKnownHeadDetectsARewrittenChain(t *testing.T) {
	s, forged := storetest.SQLite(t), storetest.SQLite(t)
	fill(t, s, 10)
	fill(t, forged, 12) // The salts alone make its hashes differ.
	r, err := audit.Verify(t.Context(), s)
	require.NoError(t, err)
	fill(t, s, 2)
	_, err = audit.Verify(t.Context(), s, r.Head)
	require.NoError(t, err, "the chain has grown since")

	_, err = audit.Verify(t.Context(), forged, r.Head)
	require.ErrorContains(t, err, "audit record 10 is not the one that was marked")
	_, err = audit.Verify(t.Context(), s, audit.Mark{Seq: 13, Hash: r.Head.Hash})
	require.ErrorContains(t, err, "audit record 13 was marked and is missing")

	var again audit.Mark
	require.NoError(t, again.UnmarshalText([]byte(r.Head.String())))
	require.Equal(t, r.Head, again)
	for _, wrong := range []string{"", "7", "7:abc", "0:" + r.Head.Hash, r.Head.String() + "x"} {
		require.ErrorContains(t, again.UnmarshalText([]byte(wrong)), "is not a mark")
	}
}

func TestRedactionAndRetentionKeepTheChain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		fill(t, s, 10)
		now := start.Add(10 * time.Hour)

		n, err := audit.Redact(ctx, s, start.Add(4*time.Hour), now)
		require.NoError(t, err)
		require.EqualValues(t, 4, n)
		n, err = audit.Redact(ctx, s, start.Add(4*time.Hour), now)
		require.NoError(t, err)
		require.Zero(t, n, "what is redacted is redacted once")
		r, err := audit.Verify(ctx, s)
		require.NoError(t, err)
		require.EqualValues(t, 11, r.Records)
		require.EqualValues(t, 4, r.Redacted)

		n, err = audit.Remove(ctx, s, start.Add(6*time.Hour), now)
		require.NoError(t, err)
		require.EqualValues(t, 6, n)
		n, err = audit.Remove(ctx, s, start.Add(6*time.Hour), now)
		require.NoError(t, err)
		require.Zero(t, n)
		r, err = audit.Verify(ctx, s)
		require.NoError(t, err)
		require.EqualValues(t, 6, r.Records)
		require.EqualValues(t, 6, r.Removed)

		var out bytes.Buffer
		_, err = audit.Export(ctx, s, &out)
		require.NoError(t, err)
		exported := out.String()
		require.Equal(t, 4, strings.Count(exported, "hostile"), "what is left has its detail")
		_, err = audit.VerifyExport(&out)
		require.NoError(t, err)
		_, err = audit.VerifyExport(strings.NewReader(strings.Replace(exported, "fraud", "other", 1)))
		require.ErrorContains(t, err, "audit record 7")

		n, err = audit.Remove(ctx, s, now.Add(time.Hour), now)
		require.NoError(t, err)
		require.EqualValues(t, 5, n, "the last one stays: the chain goes on from it")
		_, err = audit.Verify(ctx, s)
		require.NoError(t, err)
		fill(t, s, 1)
		_, err = audit.Verify(ctx, s)
		require.NoError(t, err)
	})
}
