package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
	"github.com/sightglass-ml/sightglass/responder/internal/store/storetest"
)

func TestTheStore(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		count := func() (n int) {
			require.NoError(t, s.Read(ctx, func(tx *store.Tx) error {
				return tx.QueryRow(`SELECT COALESCE(SUM(used), 0) FROM budgets WHERE name = ?`, "a").Scan(&n)
			}))
			return n
		}
		add := func(tx *store.Tx) error {
			_, err := tx.Exec(`INSERT INTO budgets (name, day, used) VALUES (?, ?, 1)
				ON CONFLICT (name, day) DO UPDATE SET used = budgets.used + 1`, "a", "today")
			return err
		}

		boom := errors.New("boom")
		require.ErrorIs(t, s.Write(ctx, func(tx *store.Tx) error { return errors.Join(add(tx), boom) }), boom)
		require.Zero(t, count(), "a transaction that fails leaves no trace")

		require.Error(t, s.Read(ctx, add), "a reader cannot write")

		var wg sync.WaitGroup
		errs := make(chan error, 8)
		for range cap(errs) {
			wg.Go(func() {
				for range 10 {
					if err := s.Write(ctx, add); err != nil {
						errs <- err
						return
					}
				}
			})
		}
		wg.Wait()
		require.Empty(t, errs)
		require.Equal(t, 80, count(), "writers wait for one another")

		ended, cancel := context.WithCancel(ctx)
		cancel()
		require.ErrorIs(t, s.Write(ended, add), context.Canceled)
	})
}

func TestASecondProcessAndALaterStartFindTheSameState(t *testing.T) {
	for name, cfg := range map[string]store.Config{
		"SQLite":     {Path: config.Path(filepath.Join(t.TempDir(), "new folder", "respond%er?.db"))},
		"PostgreSQL": storetest.PostgreSQL(t),
	} {
		t.Run(name, func(t *testing.T) {
			first := storetest.Open(t, cfg)
			require.NoError(t, first.Write(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(`INSERT INTO cooldowns (object, until) VALUES ('a', 1)`)
				return err
			}))
			second := storetest.Open(t, cfg)
			var n int
			require.NoError(t, second.Read(t.Context(), func(tx *store.Tx) error {
				return tx.QueryRow(`SELECT COUNT(*) FROM cooldowns`).Scan(&n)
			}))
			require.Equal(t, 1, n)

			require.NoError(t, first.Write(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(`INSERT INTO schema_migrations (version, about, applied_at) VALUES (9999, 'later', 0)`)
				return err
			}))
			_, err := store.Open(t.Context(), cfg)
			require.ErrorIs(t, err, store.ErrNewer)
		})
	}
}

func TestOnlyTheOwnerReadsTheDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "responder.db")
	storetest.Open(t, store.Config{Path: config.Path(path)})
	for _, suffix := range []string{"", "-wal"} {
		info, err := os.Stat(path + suffix)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), suffix)
	}
}

func TestAWrongConnectionStringIsNotShown(t *testing.T) {
	t.Setenv("DSN", "postgres://someone:hunter2@host:port/")
	_, err := store.Open(t.Context(), store.Config{PostgreSQL: config.SecretSource{Env: "DSN"}})
	require.ErrorContains(t, err, "want postgres://")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestTimes(t *testing.T) {
	require.True(t, store.Time(store.Micros(time.Time{})).IsZero())
	now := time.Now()
	require.Equal(t, now.UTC().Truncate(time.Microsecond), store.Time(store.Micros(now)))
}
