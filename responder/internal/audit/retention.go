package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// Redact deletes the details of all records before the time, and appends a record of that. Facts and chain remain.
func Redact(ctx context.Context, s *store.Store, before, now time.Time) (redacted int64, err error) {
	err = s.Write(ctx, func(tx *store.Tx) error {
		var through int64
		err := tx.QueryRow(`SELECT COALESCE(MAX(seq), 0) FROM audit WHERE time < ? AND salt <> ''`, store.Micros(before)).Scan(&through)
		if err != nil || through == 0 {
			return err
		}
		if redacted, err = tx.Exec(`UPDATE audit SET detail = '', salt = '' WHERE seq <= ? AND salt <> ''`, through); err != nil {
			return err
		}
		return Append(tx, Record{Time: now, Kind: KindRedacted, Actor: "responder", Facts: map[string]string{
			"through": strconv.FormatInt(through, 10), "records": strconv.FormatInt(redacted, 10),
		}})
	})
	if err != nil {
		return 0, fmt.Errorf("redact the audit trail: %w", err)
	}
	return redacted, nil
}

// Remove deletes all records before the time except the newest, and appends a record of that with the hash from which the
// chain continues.
func Remove(ctx context.Context, s *store.Store, before, now time.Time) (removed int64, err error) {
	err = s.Write(ctx, func(tx *store.Tx) error {
		var last Mark
		// After a clock was set back, times decrease along the chain. Only records at its beginning are deleted.
		err := tx.QueryRow(`SELECT seq, hash FROM audit WHERE seq < (SELECT COALESCE(MIN(seq), (SELECT seq FROM audit_head WHERE one = 1))
			FROM audit WHERE time >= ?) ORDER BY seq DESC LIMIT 1`, store.Micros(before)).Scan(&last.Seq, &last.Hash)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if removed, err = tx.Exec(`DELETE FROM audit WHERE seq <= ?`, last.Seq); err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE audit_head SET removed_seq = ?, removed_hash = ? WHERE one = 1`, last.Seq, last.Hash); err != nil {
			return err
		}
		return Append(tx, Record{Time: now, Kind: KindRemoved, Actor: "responder", Facts: map[string]string{
			"through": strconv.FormatInt(last.Seq, 10), "hash": last.Hash, "records": strconv.FormatInt(removed, 10),
		}})
	})
	if err != nil {
		return 0, fmt.Errorf("apply the retention of the audit trail: %w", err)
	}
	return removed, nil
}
