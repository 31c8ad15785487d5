package dashboards

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/dashboards/internal/lint"
)

// committed reads the dashboards as users get them.
func committed(t *testing.T) []lint.Dashboard {
	t.Helper()
	paths, err := filepath.Glob("json/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	var out []lint.Dashboard
	for _, path := range paths {
		body, err := os.ReadFile(path)
		require.NoError(t, err)
		d, err := lint.Parse(body)
		require.NoError(t, err, path)
		require.Equal(t, d.UID+".json", filepath.Base(path))
		out = append(out, d)
	}
	return out
}

func TestEveryDashboardPassesTheLinter(t *testing.T) {
	body, err := os.ReadFile(".lint")
	require.NoError(t, err)
	config, err := lint.ParseConfig(body)
	require.NoError(t, err)
	var all []lint.Finding
	for _, d := range committed(t) {
		findings := lint.Check(d)
		all = append(all, findings...)
		for _, f := range findings {
			if !config.Excludes(f) {
				t.Error(f)
			}
		}
	}
	require.Empty(t, config.Unused(all), "these exclusions excuse nothing")
}

func TestUidsAndTitlesAreUnique(t *testing.T) {
	uids, titles := map[string]bool{}, map[string]bool{}
	for _, d := range committed(t) {
		require.False(t, uids[d.UID], d.UID)
		require.False(t, titles[d.Title], d.Title)
		uids[d.UID], titles[d.Title] = true, true
	}
}
