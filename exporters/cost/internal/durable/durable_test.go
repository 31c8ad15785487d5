package durable_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/durable"
)

type value struct{ A, B int }

func TestWrittenFileIsReadBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.json")
	var got value
	require.ErrorIs(t, durable.Read(path, &got), fs.ErrNotExist)
	for _, want := range []value{{1, 2}, {3, 4}} {
		require.NoError(t, durable.Write(path, want))
		require.NoError(t, durable.Read(path, &got))
		require.Equal(t, want, got)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing is left beside it")
}

func TestEveryDamagedByteIsDetected(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.json")
	require.NoError(t, durable.Write(path, value{12345, 67890}))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for i := range whole {
		for _, damaged := range [][]byte{whole[:i], append(append(append([]byte{}, whole[:i]...), whole[i]^1), whole[i+1:]...)} {
			require.NoError(t, os.WriteFile(path, damaged, 0o600))
			var got value
			if err := durable.Read(path, &got); err == nil {
				require.Equal(t, value{12345, 67890}, got, "%s", damaged)
			} else {
				require.ErrorIs(t, err, durable.ErrDamaged, "%s", damaged)
			}
		}
	}
}

func TestFailedWriteKeepsTheOldFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.json")
	require.NoError(t, durable.Write(path, value{1, 2}))
	require.ErrorContains(t, durable.Write(path, func() {}), path)
	require.Error(t, durable.Write(filepath.Join(t.TempDir(), "missing", "state.json"), value{}))
	var got value
	require.NoError(t, durable.Read(path, &got))
	require.Equal(t, value{1, 2}, got)
}
