package e2e

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// The test builds the program with C code, because the C compiler writes paths into its output by default.
func TestBuildIsReproducibleInEveryFolder(t *testing.T) {
	t.Parallel()
	var programs [][sha256.Size]byte
	for _, folder := range []string{"a", "a folder of another name"} {
		clone := filepath.Join(t.TempDir(), folder)
		for _, args := range [][]string{
			{"git", "clone", "--quiet", testtools.Root(t), clone},
			{"make", "--directory", clone, "--no-print-directory", "bin/gpu-exporter"},
		} {
			output, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput()
			require.NoError(t, err, string(output))
		}
		program, err := os.ReadFile(filepath.Join(clone, "bin/gpu-exporter"))
		require.NoError(t, err)
		require.False(t, bytes.Contains(program, []byte(clone)), "its folder is in the program")
		programs = append(programs, sha256.Sum256(program))
	}
	require.Equal(t, programs[0], programs[1])
}
