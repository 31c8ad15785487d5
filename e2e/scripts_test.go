package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// runScript runs a script of tools/ with a PATH of its own in front of the few programs that scripts need, and without the
// machine's compilers.
func runScript(t *testing.T, path string, args ...string) (output string, err error) {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"bash", "sed", "sort", "head", "mkdir", "ln", "realpath", "apt-get"} {
		found, err := exec.LookPath(name)
		if err != nil {
			found = "/bin/true"
		}
		require.NoError(t, os.Symlink(found, filepath.Join(bin, name)))
	}
	script := exec.CommandContext(t.Context(), filepath.Join(testtools.Root(t), "tools", args[0]), args[1:]...)
	script.Dir = t.TempDir() // Nothing is built there.
	script.Env = []string{"PATH=" + path + ":" + bin}
	out, err := script.CombinedOutput()
	return string(out), err
}

// program writes a program with the same output for all arguments.
func program(t *testing.T, dir, name, answer string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/bash\necho '"+answer+"'\n"), 0o755))
}

func TestMissingProgramsAreNamedBeforeAnythingIsBuilt(t *testing.T) {
	bin := t.TempDir()
	program(t, bin, "go", "g++")
	program(t, bin, "git", "")
	out, err := runScript(t, bin, "preflight.sh", "go", "git", "c++", "python3")
	require.Error(t, err)
	require.Equal(t, "missing: g++ python3. Install with: apt-get install g++ python3\n", out)

	program(t, bin, "g++", "")
	program(t, bin, "python3", "")
	out, err = runScript(t, bin, "preflight.sh", "go", "git", "c++", "python3")
	require.NoError(t, err, out)
	require.Empty(t, out)
}

func TestDemoUsesARecentPrometheusFromThePathOrBuildsOne(t *testing.T) {
	for name, tc := range map[string]struct {
		version, says string
		used          bool
	}{
		"the oldest version that will do": {"prometheus, version 3.0.1 (branch: HEAD)", "using %s 3.0.1", true},
		"a later version":                 {"prometheus, version 3.16.0 (branch: HEAD)", "using %s 3.16.0", true},
		"an older one":                    {"prometheus, version 2.42.0+ds (branch: debian)", "not using %s 2.42.0: the demo wants 3.0.1 or later", false},
		"a build that tells no version":   {"prometheus, version  (branch: )", "not using %s of unknown version", false},
		"something else of the same name": {"usage: prometheus", "not using %s of unknown version", false},
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			program(t, bin, "prometheus", tc.version)
			program(t, bin, "make", "built")
			folder := filepath.Join(t.TempDir(), "demo-tools")
			out, err := runScript(t, bin, "find.sh", "prometheus", "3.0.1", folder)
			require.NoError(t, err, out)
			onPath := filepath.Join(bin, "prometheus")
			require.Contains(t, out, strings.Replace(tc.says, "%s", onPath, 1))
			require.Equal(t, !tc.used, strings.Contains(out, "built"))
			link, err := os.Readlink(filepath.Join(folder, "prometheus"))
			require.NoError(t, err)
			require.Equal(t, tc.used, link == onPath, link)
		})
	}
}
