// Package storetest opens stores for tests, one for each kind of database. They are deleted at the end of the test.
package storetest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/testtools"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// SQLite returns an empty store in a temporary folder of the test.
func SQLite(t testing.TB) *store.Store {
	t.Helper()
	return Open(t, store.Config{Path: config.Path(filepath.Join(t.TempDir(), "responder.db"))})
}

// PostgreSQL returns the configuration of an empty database on a server started for the test.
func PostgreSQL(t testing.TB) store.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "dsn")
	require.NoError(t, os.WriteFile(file, []byte(testtools.Postgres(t)), 0o600))
	return store.Config{PostgreSQL: config.SecretSource{File: config.Path(file)}}
}

// Open opens a store until the end of the test.
func Open(t testing.TB, cfg store.Config) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// Each runs the test with each kind of database.
func Each(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, Open(t, PostgreSQL(t))) })
}
