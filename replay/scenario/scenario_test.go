package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
)

const minimal = `name: small
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

func TestScenarioErrorNamesFileAndLine(t *testing.T) {
	t.Parallel()
	_, err := Parse("small.yaml", []byte(minimal))
	require.NoError(t, err)
	for name, m := range map[string]struct{ old, new, want string }{
		"an unknown key":                   {"length: 4d", "length: 4d\nlengh: 4d", "small.yaml:4: lengh"},
		"an unknown key of an incident":    {"at: 1d}", "at: 1d, sise: 2}", "small.yaml:9: incidents[0].sise"},
		"an unknown kind":                  {"null_surge", "nul_surge", "small.yaml:9: incidents[0].kind: \"nul_surge\"; want one of"},
		"a missing dataset":                {"dataset: orders, column", "dataset: order, column", `small.yaml:9: incidents[0].dataset: the scenario has no dataset "order"; want one of ["orders"]`},
		"a missing column":                 {"column: amount", "column: amounts", "small.yaml:9: incidents[0].column: \"amounts\"; want one of [\"amount\"]"},
		"a column without distribution":    {"lognormal: {median: 40, sigma: 1}", "nulls: 0.1", "small.yaml:7: datasets[0].columns[0]: 0 distributions"},
		"an incident after the end":        {"at: 1d}", "at: 5d}", "is outside the replay"},
		"a size out of range":              {"at: 1d}", "at: 1d, size: 8}", "small.yaml:9: incidents[0].size: 8; want 0 to 1"},
		"a size below its range":           {"at: 1d}", "at: 1d, size: -1}", "small.yaml:9: incidents[0].size: -1; want 0 to 1"},
		"a duration without a unit":        {"length: 4d", "length: 4", "small.yaml:3: length"},
		"a bar of a missing class":         {"measure: missed,", "measure: missed, class: drift,", `small.yaml:11: bars[0].class: "drift"; no incident is of this class: want one of ["null_surge"]`},
		"a bar with an invalid duration":   {"measure: missed, limit: 0", "measure: worst_detection, limit: 0.5", `small.yaml:11: bars[0].limit: "0.5"; want a duration such as 11m, since worst_detection is a time`},
		"a bar with an invalid number":     {"limit: 0", "limit: 11m", `small.yaml:11: bars[0].limit: "11m"; want a whole number from 0`},
		"a bar of half an incident":        {"limit: 0", "limit: 0.5", `small.yaml:11: bars[0].limit: "0.5"; want a whole number from 0`},
		"a bar of more than all":           {"measure: missed, limit: 0", "measure: false_alarm_share, limit: 6", `small.yaml:11: bars[0].limit: "6"; want a share from 0 to 1`},
		"a bar below nothing":              {"measure: missed, limit: 0", "measure: false_alarms_per_week, limit: -1", `small.yaml:11: bars[0].limit: "-1"; want a number from 0`},
		"a bar without a limit":            {", limit: 0", "", `small.yaml:11: bars[0].limit: missing; want a whole number from 0`},
		"a lead of incidents without harm": {"measure: missed, limit: 0", "measure: min_lead, limit: 1d", `small.yaml:11: bars[0].measure: min_lead of incidents without harm; want accuracy in one of them`},
		"no start, and nothing else":       {"start: 2026-01-05\n", "", "small.yaml:1: start: missing; want a date such as 2026-01-05"},
		"a start that is a duration":       {"start: 2026-01-05", "start: 30d", "small.yaml:2: start: 30d is a duration; want a date such as 2026-01-05"},
		"a warm-up of all":                 {"length: 4d", "length: 4d\nwarmup: 4d", "small.yaml:4: warmup: 4d; want a duration below the length, 4d"},
		"an incident in the warm-up":       {"length: 4d", "length: 4d\nwarmup: 1d6h", "small.yaml:10: incidents[0].at: 2026-01-06T00:00:00Z is within the warm-up, in which no alert counts, until 2026-01-06T06:00:00Z; want a later time, or a shorter warmup"},
		"an incident beyond the end":       {"at: 1d}", "at: 1d, for: 4d}", "small.yaml:9: incidents[0].for: 4d; it would end at 2026-01-10T00:00:00Z, after the replay; want 3d or less, or leave it out"},
		"an incident of no time":           {"at: 1d}", "at: 1d, for: 0s}", "small.yaml:9: incidents[0].for: 0s; want a minute or more, or leave it out"},
		"every without repeat":             {"at: 1d}", "at: 1d, for: 1h, every: 2h}", "small.yaml:9: incidents[0].every: 2h without repeat; want repeat: 2 or more"},
		"repeats beyond the end":           {"at: 1d}", "at: 1d, for: 1h, repeat: 9, every: 1d}", "small.yaml:9: incidents[0].repeat: 9; the last one at 2026-01-14T00:00:00Z is outside the replay"},
		"repeats that overlap":             {"at: 1d}", "at: 1d, for: 3h, repeat: 2, every: 2h}", "small.yaml:9: incidents[0].repeat: 2 times for 3h every 2h; want them an hour or more apart, each over before the next"},
		"a time within a minute":           {"at: 1d}", "at: 2026-01-06T00:00:30Z}", "small.yaml:9: incidents[0].at: 2026-01-06T00:00:30Z; want a whole minute"},
		"no object":                        {"dataset: orders, column", "column", "small.yaml:9: incidents[0].dataset: missing; want the dataset or model that null_surge applies to"},
		"an object of another type":        {"dataset: orders, column", "node: orders, column", "small.yaml:9: incidents[0].node: null_surge does not apply to a node; want a dataset or model"},
		"a column without nulls to add":    {"sigma: 1}", "sigma: 1}, nulls: 0.1", `small.yaml:9: incidents[0].column: "amount" has 0.1 nulls already; want a size above it, not 0.08`},
		"a ramp longer than the incident":  {"at: 1d}", "at: 1d, ramp: 4d}", "small.yaml:9: incidents[0].ramp: 4d; the incident lasts 3d and would not reach its size"},
		"a delay of a kind without":        {"at: 1d}", "at: 1d, delay: 1h}", "small.yaml:9: incidents[0].delay: 1h; null_surge has no delay: remove it"},
		"a category of a kind without":     {"at: 1d}", "at: 1d, category: x}", `small.yaml:9: incidents[0].category: "x"; null_surge has no category: remove it`},
		"a size that changes nothing":      {"null_surge, ", "unit_change, size: 1, ", "small.yaml:9: incidents[0].size: 1 changes nothing"},
		"a size of a kind without":         {"null_surge, ", "schema_change, size: 1, ", "small.yaml:9: incidents[0].size: 1; schema_change has no size: remove it"},
		"a ramp of a kind without":         {"null_surge, ", "unit_change, ramp: 1d, ", "small.yaml:9: incidents[0].ramp: 1d; unit_change has no ramp: remove it"},
		"a snapshot of no rows":            {"null_surge, dataset: orders, column: amount", "wrong_snapshot, dataset: orders, delay: 40d", "small.yaml:9: incidents[0].delay: 40d; the snapshot of 2025-11-27T00:00:00Z would have no rows: want a delay of 36d or less, or a longer history"},
		"a category of a number":           {"null_surge, ", "renamed_category, ", `small.yaml:9: incidents[0].column: "amount" has numbers; want a column of texts for renamed_category`},
		"a window of seconds":              {"- name: orders", "- name: orders\n  window: 90s", "small.yaml:6: datasets[0].window: 1m30s; want whole minutes above 0"},
		"a freshness of nothing":           {"- name: orders", "- name: orders\n  freshness: 0s", "small.yaml:6: datasets[0].freshness: 0s; want a duration above 0"},
		"scrapes that are all missing":     {"length: 4d", "length: 4d\nenvironment: {missing_scrapes: 1}", "small.yaml:4: environment.missing_scrapes: 1; want a share from 0, below 1"},
		"a holiday without traffic":        {"length: 4d", "length: 4d\nholidays: [2027-01-01]", "small.yaml:4: holidays[0]: 2027-01-01 has no traffic; want a date from 2025-12-01 to 2026-01-09"},
		"a holiday that is a duration":     {"length: 4d", "length: 4d\nholidays: [3d]", `small.yaml:4: holidays[0]: "3d"; want a date such as 2026-03-01`},
		"a first day that is a duration":   {"- name: orders", "- name: orders\n  first_day: 30d", `small.yaml:6: datasets[0].first_day: "30d"; want a date such as 2026-03-01`},
		"a first day after the start":      {"- name: orders", "- name: orders\n  first_day: 2026-01-05", "small.yaml:6: datasets[0].first_day: 2026-01-05 is not before the start, 2026-01-05"},
		"a first day without rows":         {"- name: orders", "- name: orders\n  first_day: 2025-06-06", "small.yaml:6: datasets[0].first_day: 2025-06-06 is before the first row, of 2025-12-01 00:00:00"},
		"an exclusion of nothing there":    {"bars:", "exclude: [{name: storm, from: 1d, to: 2d, object: {dataset: order}}]\nbars:", `small.yaml:10: exclude[0].object.dataset: the scenario has no dataset "order"`},
		"an exclusion by no label":         {"bars:", "exclude: [{name: storm, from: 1d, to: 2d, object: {node: gpu-a}}]\nbars:", "small.yaml:10: exclude[0].object.node: not a label of an object"},
		"an exclusion that ends first":     {"bars:", "exclude: [{name: storm, from: 2d, to: 1d}]\nbars:", "small.yaml:10: exclude[0].to: 2026-01-06T00:00:00Z is not after from"},
		"an exclusion beyond the end":      {"bars:", "exclude: [{name: storm, from: 2d, to: 9d}]\nbars:", "small.yaml:10: exclude[0].to: 2026-01-14T00:00:00Z is outside the replay"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, minimal, m.old)
			_, err := Parse("small.yaml", []byte(strings.Replace(minimal, m.old, m.new, 1)))
			require.ErrorContains(t, err, m.want)
			require.Len(t, strings.Split(err.Error(), "\n"), 1, "one mistake, one message")
		})
	}
}

// several has a model, a node, a department and a file. Errors in it are reported like those in small.
const several = `name: several
start: 2026-01-05
length: 4d
datasets:
- {name: trips, data: {file: trips.csv, time: at, columns: [fare, city]}}
models:
- {name: eta, data: {file: trips.csv, time: at}, feature_columns: [fare, city]}
- name: fraud
  features:
  - {name: amount, lognormal: {median: 40, sigma: 1}}
  - {name: country, categories: {values: [ca, us]}}
nodes:
- {name: gpu-a, gpus: 2, models: [fraud]}
costs: {departments: [{name: risk, model: fraud-serving}]}
incidents:
- {kind: error_storm, model: fraud, at: 1d, for: 1h}
`

func TestDanglingReferenceIsAnError(t *testing.T) {
	t.Parallel()
	_, err := Parse("several.yaml", []byte(several))
	require.NoError(t, err)
	incident := "kind: error_storm, model: fraud"
	for name, m := range map[string]struct{ old, new, want string }{
		"a model of a node":                           {"models: [fraud]", "models: [fraude]", `several.yaml:13: nodes[0].models[0]: the scenario has no model "fraude"; want one of ["eta" "fraud"]`},
		"a column that is not read":                   {incident, "kind: null_surge, dataset: trips, column: score", `several.yaml:16: incidents[0].column: "score"; want one of ["fare" "city"]`},
		"the column with the time":                    {incident, "kind: null_surge, dataset: trips, column: at", `several.yaml:16: incidents[0].column: "at" is the column with the time`},
		"a feature that is not read":                  {incident, "kind: null_surge, model: eta, column: score", `several.yaml:16: incidents[0].column: "score"; want one of ["fare" "city"]`},
		"a department":                                {incident, "kind: cost_creep, ramp: 1d, department: risks", `several.yaml:16: incidents[0].department: the scenario has no department "risks"; want one of ["risk"]`},
		"more GPUs than the node has":                 {incident, "kind: gpu_lost, node: gpu-a, size: 5", `several.yaml:16: incidents[0].size: 5; node "gpu-a" has 2 GPUs: want 1 to 2`},
		"a node, where none is named":                 {incident, "kind: gpu_lost", "several.yaml:16: incidents[0].node: missing; want the node that gpu_lost applies to"},
		"confidence that is not simulated":            {incident, "kind: confidence_collapse, model: fraud", `several.yaml:16: incidents[0].model: "fraud" has no simulated confidence`},
		"scores that are not there":                   {incident, "kind: hallucination_surge, model: fraud", `several.yaml:16: incidents[0].model: "fraud" is not scored for groundedness`},
		"a unit of a text":                            {incident, "kind: unit_change, model: fraud, column: country", `several.yaml:16: incidents[0].column: "country" has texts; want a column of numbers for unit_change`},
		"a new category that is old":                  {incident, "kind: unmapped_category, model: fraud, column: country, category: us", `several.yaml:16: incidents[0].category: "us" is one of the column's`},
		"a column that is read twice":                 {"columns: [fare, city]}}", "columns: [fare, fare]}}", `several.yaml:5: datasets[0].data.columns[1]: "fare" appears twice`},
		"the time as a column":                        {"columns: [fare, city]}}", "columns: [fare, at]}}", `several.yaml:5: datasets[0].data.columns[1]: "at" is the column with the time`},
		"an anchor that is a duration":                {"time: at, columns", "time: at, anchor: 3d, columns", `several.yaml:5: datasets[0].data.anchor: 3d is a duration; want a time of the file`},
		"rows beside a file":                          {"{name: trips,", "{name: trips, rows_per_hour: 5,", `several.yaml:5: datasets[0].rows_per_hour: not together with data`},
		"requests beside a file":                      {"{name: eta,", "{name: eta, requests_per_second: 5,", `several.yaml:7: models[0].requests_per_second: not together with data`},
		"training data beside a file":                 {"{name: eta,", "{name: eta, training_rows: 5000,", `several.yaml:7: models[0].training_rows: not together with data: such a model learns its baseline from its first 30 days of requests; use a warmup of 32d`},
		"columns of a dataset for a model":            {"time: at}, feature", "time: at, columns: [fare]}, feature", `several.yaml:7: models[0].data.columns: of a dataset; want feature_columns`},
		"no column of a file":                         {", feature_columns: [fare, city]", "", `several.yaml:7: models[0].feature_columns: missing`},
		"a release after the end":                     {"- name: fraud", "- name: fraud\n  releases: [{at: 9d, version: '2'}]", `several.yaml:9: models[1].releases[0].at: 2026-01-14T00:00:00Z is outside the replay`},
		"a release of the version that is there":      {"- name: fraud", "- name: fraud\n  releases: [{at: 1d, version: '1'}]", `several.yaml:9: models[1].releases[0].version: "1" is already used`},
		"two departments of a name":                   {"model: fraud-serving}", "model: fraud-serving}, {name: risk, model: x}", `several.yaml:14: costs.departments[1].name: "risk" appears twice`},
		"costs without a department":                  {"[{name: risk, model: fraud-serving}]", "[]", `several.yaml:14: costs.departments: none; want one or more`},
		"requests that end in more ways than one can": {"- name: fraud", "- name: fraud\n  errors: 0.6\n  timeouts: 0.6", `several.yaml:9: models[1].errors: errors, timeouts and fallbacks are 1.202 together; want 1 or less`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, several, m.old)
			_, err := Parse("several.yaml", []byte(strings.Replace(several, m.old, m.new, 1)))
			require.ErrorContains(t, err, m.want)
			require.Len(t, strings.Split(err.Error(), "\n"), 1, "one mistake, one message")
		})
	}
}

func TestTheRulesHaveTheAlertsThatAScenarioNames(t *testing.T) {
	t.Parallel()
	known := []string{"MLDatasetStale", "MLDatasetDrift"}
	for name, m := range map[string]struct{ old, new, want string }{
		"the alerts of the kind are not the scenario's": {"", "", ""},
		"alerts of the rules":                           {"at: 1d}", "at: 1d, detectors: [MLDatasetStale], consequences: ['*']}", ""},
		"a detector of no rule":                         {"at: 1d}", "at: 1d, detectors: [MLDatasetStale, MLDatasetStail]}", `small.yaml:9: incidents[0].detectors[1]: the rules have no alert "MLDatasetStail"; want one of ["MLDatasetStale" "MLDatasetDrift"]`},
		"a consequence of no rule":                      {"at: 1d}", "at: 1d, consequences: [Stale]}", "small.yaml:9: incidents[0].consequences[0]: the rules have no alert"},
		"an exclusion of no rule":                       {"bars:", "exclude: [{name: storm, from: 1d, to: 2d, alerts: [Drift]}]\nbars:", "small.yaml:10: exclude[0].alerts[0]: the rules have no alert"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Parse("small.yaml", []byte(strings.Replace(minimal, m.old, m.new, 1)))
			require.NoError(t, err)
			if err = s.CheckAlerts(known); m.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, m.want)
			}
		})
	}
}

func TestReplayPageListsEveryKindOfIncident(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/replay.md")
	require.NoError(t, err)
	for _, kind := range KindNames() {
		require.Regexp(t, "(?m)^\\|.*`"+kind+"`.* \\| .* \\| .* \\|", string(page), kind)
	}
	for _, m := range measures {
		require.Contains(t, string(page), "`"+string(m)+"`")
	}
}

func TestBarsComeFromTheirFileToo(t *testing.T) {
	load := func(t *testing.T, bars string) (*Scenario, error) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "small.yaml"), []byte("bars_from: bars.yaml\n"+minimal), 0o600))
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
		"no entry for the scenario": {"scenarios: {other: []}", `bars.yaml: scenarios has no "small"`},
		"a class of no incident":    {"scenarios:\n  small:\n  - {measure: missed, class: drift, limit: 0}", `bars.yaml:3: scenarios.small[0].class: "drift"; no incident is of this class: want one of ["null_surge"] (scenario small)`},
		"an unknown key":            {"scenarios:\n  small:\n  - {measure: missed, limt: 0}", "bars.yaml:3: scenarios.small[0].limt"},
		"an unknown measure":        {"every:\n- {measure: misses, limit: 0}", `bars.yaml:2: every[0].measure: "misses"; want one of`},
		"a class of false alarms":   {"every:\n- {measure: false_alarms, class: null_surge, limit: 0}", "bars.yaml:2: every[0].class"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, tc.bars)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestEveryScenarioOfTheBarsExists(t *testing.T) {
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
