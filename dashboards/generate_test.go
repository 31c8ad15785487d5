package dashboards

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheCommittedFilesAreWhatTheCodeGenerates(t *testing.T) {
	files, err := Files()
	require.NoError(t, err)
	for name, want := range files {
		got, err := os.ReadFile(filepath.FromSlash(name))
		require.NoError(t, err, "run go generate ./dashboards")
		require.Equal(t, string(want), string(got), "%s is out of date: run go generate ./dashboards", name)
	}
	committed, err := filepath.Glob("json/*")
	require.NoError(t, err)
	for _, path := range committed {
		require.Contains(t, files, filepath.ToSlash(path), "nothing generates this file")
	}
}

func TestGeneratingTwiceGivesTheSameBytes(t *testing.T) {
	first, err := Files()
	require.NoError(t, err)
	second, err := Files()
	require.NoError(t, err)
	require.Equal(t, first, second)
}
