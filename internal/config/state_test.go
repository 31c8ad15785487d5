package config_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
)

type stateful struct {
	config.Doc `yaml:"-"`

	dir string
}

func (s *stateful) Validate(at config.At) { s.dir = at.State("baseline_store", "baselines") }

func TestStateFolderIsThatOfSystemdOrBesideTheConfiguration(t *testing.T) {
	for name, tc := range map[string]struct{ env, want string }{
		"systemd makes a folder":      {"/var/lib/sightglass/x", "/var/lib/sightglass/x/baselines"},
		"the first of several counts": {"/var/lib/a:/var/lib/b", "/var/lib/a/baselines"},
		"no folder":                   {"", "baselines"},
		"a relative folder":           {"state", "baselines"},
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

// Setting STATE_DIRECTORY, or upgrading to a version that reads it, must not lose existing state silently.
func TestStateOfAnEarlierStartIsUsedOrReported(t *testing.T) {
	for sentence, tc := range map[string]struct {
		before, there, readOnly bool
		want, note              string
	}{
		"nothing is there":                        {want: "STATE/baselines"},
		"the old folder can be written":           {before: true, want: "BESIDE/baselines", note: `BESIDE/c.yaml:1: baseline_store: "BESIDE/baselines" from an earlier start is used; to keep all state in one folder, stop the program, move it to "STATE/baselines" and start again`},
		"it was moved, or both are there":         {before: true, there: true, want: "STATE/baselines"},
		"the old folder can no longer be written": {before: true, readOnly: true, want: "STATE/baselines", note: `BESIDE/c.yaml:1: baseline_store: "BESIDE/baselines" from an earlier start cannot be written by this process and is ignored; to use it, stop the program, move it to "STATE/baselines", owned by user UID, and start again`},
	} {
		t.Run(sentence, func(t *testing.T) {
			beside, state := t.TempDir(), t.TempDir()
			t.Setenv("STATE_DIRECTORY", state)
			file := filepath.Join(beside, "c.yaml")
			require.NoError(t, os.WriteFile(file, []byte("{}\n"), 0o600))
			if tc.before {
				require.NoError(t, os.Mkdir(filepath.Join(beside, "baselines"), 0o700))
			}
			if tc.there {
				require.NoError(t, os.Mkdir(filepath.Join(state, "baselines"), 0o700))
			}
			if tc.readOnly {
				if os.Geteuid() == 0 {
					t.Skip("root can write everywhere; e2e/startup has this case as another user")
				}
				require.NoError(t, os.Chmod(beside, 0o500))
				t.Cleanup(func() { _ = os.Chmod(beside, 0o700) })
			}
			loaded, err := config.Load[stateful](file)
			require.NoError(t, err)
			fill := strings.NewReplacer("STATE/", state+"/", "BESIDE/", beside+"/", "UID", strconv.Itoa(os.Getuid()))
			require.Equal(t, fill.Replace(tc.want), loaded.dir)
			var notes []string
			for _, n := range loaded.Notes() {
				require.True(t, n.Later, "it stops nothing")
				notes = append(notes, n.Error.Error())
			}
			require.Equal(t, fill.Replace(tc.note), strings.Join(notes, "\n"))
		})
	}
}
