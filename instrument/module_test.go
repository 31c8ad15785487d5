package instrument_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A service that imports this package compiles only the modules in this list.
func TestServiceLinksOnlyTheListedDependencies(t *testing.T) {
	t.Parallel()
	list := func(args ...string) []string {
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
		out, err := cmd.Output()
		require.NoError(t, err)
		return strings.Fields(string(out))
	}
	packages := list("-deps", "./...")
	require.Greater(t, len(packages), 100)
	for _, path := range packages {
		for _, heavy := range []string{"github.com/duckdb/", "github.com/apache/arrow", "github.com/prometheus/prometheus/", "github.com/chromedp/", "cloud.google.com/", "k8s.io/"} {
			require.False(t, strings.HasPrefix(path, heavy), path)
		}
		if own, ok := strings.CutPrefix(path, "github.com/sightglass-ml/sightglass/"); ok {
			require.True(t, strings.HasPrefix(own, "instrument"), "%s is of another module", path)
		}
	}
	// What go.mod says counts for the service only where no replacement is behind it.
	body, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	require.NotContains(t, string(body), "replace ")
}
