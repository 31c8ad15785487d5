package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
)

const small = `name: small
start: 2026-01-05
length: 4d
datasets:
- name: orders
  columns:
  - {name: amount, lognormal: {median: 40, sigma: 1}}
incidents:
- {kind: null_surge, dataset: orders, column: amount, at: 1d}
bars:
- {measure: missed, limit: 0}
`

func TestTheCommittedScenariosAreValid(t *testing.T) {
	files, err := filepath.Glob("../scenarios/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		_, err := LoadFile(f)
		require.NoError(t, err)
	}
}

func TestAMistakeIsToldWithItsFileAndLine(t *testing.T) {
	_, err := Parse("small.yaml", []byte(small))
	require.NoError(t, err)
	for name, m := range map[string]struct{ old, new, want string }{
		"an unknown key":                     {"length: 4d", "length: 4d\nlengh: 4d", "small.yaml:4: lengh"},
		"an unknown key of an incident":      {"at: 1d}", "at: 1d, sise: 2}", "small.yaml:9: incidents[0].sise"},
		"an unknown kind":                    {"null_surge", "nul_surge", "small.yaml:9: incidents[0].kind: \"nul_surge\"; want one of"},
		"a dataset that is not there":        {"dataset: orders, column", "dataset: order, column", "the scenario has no dataset \"order\""},
		"a column that is not there":         {"column: amount", "column: amounts", "small.yaml:9: incidents[0].column: \"amounts\"; want one of [\"amount\"]"},
		"a column without distribution":      {"lognormal: {median: 40, sigma: 1}", "nulls: 0.1", "small.yaml:7: datasets[0].columns[0]: 0 distributions"},
		"an incident after the end":          {"at: 1d}", "at: 5d}", "is outside the replay"},
		"a size out of range":                {"at: 1d}", "at: 1d, size: 8}", "small.yaml:9: incidents[0].size: 8; want 0 to 1"},
		"a duration without a unit":          {"length: 4d", "length: 4", "small.yaml:3: length"},
		"a bar of a class that is not there": {"measure: missed,", "measure: missed, class: drift,", "no incident is of this class"},
		"a bar that is no duration":          {"measure: missed, limit: 0", "measure: worst_detection, limit: 0.5", "small.yaml:11: bars[0].limit"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, small, m.old)
			_, err := Parse("small.yaml", []byte(strings.Replace(small, m.old, m.new, 1)))
			require.ErrorContains(t, err, m.want)
		})
	}
}

func TestBarsComeFromTheirFileToo(t *testing.T) {
	load := func(t *testing.T, bars string) (*Scenario, error) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "small.yaml"), []byte("bars_from: bars.yaml\n"+small), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "bars.yaml"), []byte(bars), 0o600))
		return LoadFile(filepath.Join(dir, "small.yaml"))
	}
	s, err := load(t, "every:\n- {measure: worst_detection, limit: 11m}\nscenarios:\n  small:\n  - {measure: worst_detection, class: null_surge, limit: 1h}\n")
	require.NoError(t, err)
	require.Len(t, s.Bars, 3)
	require.Equal(t, []string{"0", "1h", "11m"}, []string{s.Bars[0].Limit, s.Bars[1].Limit, s.Bars[2].Limit}, "its own, those under its name, those of every scenario")
	require.True(t, s.Bars[2].General())
	require.False(t, s.Bars[1].General())

	for name, tc := range map[string]struct{ bars, want string }{
		"no entry for the scenario":   {"scenarios: {other: []}", `bars.yaml: scenarios has no "small"`},
		"a class of no incident":      {"scenarios:\n  small:\n  - {measure: missed, class: drift, limit: 0}", `bars.yaml:3: class "drift"; no incident of scenario small is of this class`},
		"an unknown key":              {"scenarios:\n  small:\n  - {measure: missed, limt: 0}", "bars.yaml:3: scenarios.small[0].limt"},
		"a measure that is not there": {"every:\n- {measure: misses, limit: 0}", `bars.yaml:2: every[0].measure: "misses"; want one of`},
		"a class of false alarms":     {"every:\n- {measure: false_alarms, class: null_surge, limit: 0}", "bars.yaml:2: every[0].class"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, tc.bars)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestEveryScenarioOfTheBarsIsThere(t *testing.T) {
	bars, err := config.Load[Bars]("../bars.yaml")
	require.NoError(t, err)
	files, err := filepath.Glob("../scenarios/*.yaml")
	require.NoError(t, err)
	var names []string
	for _, f := range files {
		s, err := LoadFile(f)
		require.NoError(t, err)
		names = append(names, s.Name)
	}
	for name := range bars.Scenarios {
		require.Contains(t, names, name)
	}
}
