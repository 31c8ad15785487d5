package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
)

type stateful struct{ dir string }

func (s *stateful) Validate(at config.At) { s.dir = at.State("baselines") }

func TestStateIsKeptWhereSystemdSaysOrBesideTheConfiguration(t *testing.T) {
	for name, tc := range map[string]struct{ env, want string }{
		"systemd makes a folder":      {"/var/lib/sightglass/x", "/var/lib/sightglass/x/baselines"},
		"the first of several counts": {"/var/lib/a:/var/lib/b", "/var/lib/a/baselines"},
		"no folder":                   {"", "baselines"},
		"a folder that is no path":    {"state", "baselines"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("STATE_DIRECTORY", tc.env)
			dir := t.TempDir()
			file := filepath.Join(dir, "c.yaml")
			require.NoError(t, os.WriteFile(file, []byte("{}\n"), 0o600))
			loaded, err := config.Load[stateful](file)
			require.NoError(t, err)
			want := tc.want
			if !filepath.IsAbs(want) {
				want = filepath.Join(dir, want)
			}
			require.Equal(t, want, loaded.dir)
		})
	}
}
