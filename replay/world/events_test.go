package world

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// A file is read long after its scenario: its mistakes have the scenario's file and line all the same.
func TestEventFileErrorNamesTheScenarioLine(t *testing.T) {
	t.Parallel()
	const good = "at,fare,city,score,paid\n2026-01-05 00:00:10,12.5,YOW,0.9,2026-01-05 00:00:10\n2026-01-05 10:00:20,8.5,,0.8,2026-01-05 00:00:10\n"
	const text = `name: taxi
start: 2026-01-05
length: 1d
datasets:
- name: trips
  data:
    file: trips.csv
    time: at
models:
- name: eta
  data: {file: trips.csv, time: at}
  feature_columns: [fare, city]
  confidence_column: score
incidents:
- {kind: null_surge, dataset: trips, column: fare, at: 10h}
`
	for name, c := range map[string]struct {
		csv, old, new string
		want          string
	}{
		"nothing is wrong":             {csv: good},
		"a missing file":               {csv: good, old: "file: trips.csv\n", new: "file: nope.csv\n", want: `taxi.yaml:7: datasets[0].data.file: "DIR/nope.csv" does not exist; want a Parquet or CSV file, relative to the scenario, or --data NAME=FILE relative to the working directory`},
		"a file of nothing":            {csv: "", want: `taxi.yaml:7: datasets[0].data.file: "DIR/trips.csv" is empty; want a header and rows`},
		"a header alone":               {csv: "at,fare,city,score,paid\n", want: `taxi.yaml:7: datasets[0].data.file: DIR/trips.csv has no rows with a time in column "at"`},
		"a file of another kind":       {csv: good, old: "file: trips.csv\n", new: "file: taxi.yaml\n", want: `taxi.yaml:7: datasets[0].data.file: DIR/taxi.yaml cannot be read: `},
		"a missing time":               {csv: good, old: "    time: at\n", new: "    time: pickup\n", want: `taxi.yaml:8: datasets[0].data.time: DIR/trips.csv has no column "pickup"; it has ["at" "fare" "city" "score" "paid"]`},
		"one with a form":              {csv: good, old: "    time: at\n", new: "    time: pickup\n    time_format: '%d'\n", want: `taxi.yaml:8: datasets[0].data.time: DIR/trips.csv has no column "pickup"`},
		"a form of a number":           {csv: good, old: "    time: at\n", new: "    time: score\n    time_format: '%d'\n", want: `taxi.yaml:8: datasets[0].data.time: column "score" of DIR/trips.csv has "0.9" in row 1, which is not a time; want the form of data.time_format, "%d"`},
		"an invalid time":              {csv: good + "soon,1,a,1,2026-01-05\n", want: `taxi.yaml:8: datasets[0].data.time: column "at" of DIR/trips.csv has "soon" in row 3, which is not a time; want`},
		"a missing column":             {csv: good, old: "    time: at\n", new: "    time: at\n    columns: [fare, fair]\n", want: `taxi.yaml:9: datasets[0].data.columns[1]: DIR/trips.csv has no column "fair"; it has`},
		"a missing feature":            {csv: good, old: "[fare, city]", new: "[fair, city]", want: `taxi.yaml:10: models[0].feature_columns[0]: DIR/trips.csv has no column "fair"; it has`},
		"a feature that is a time":     {csv: good, old: "[fare, city]", new: "[fare, paid]", want: `taxi.yaml:10: models[0].feature_columns[1]: "paid" has timestamps; want numbers or texts`},
		"confidence that is a text":    {csv: good, old: "column: score", new: "column: city", want: `taxi.yaml:10: models[0].confidence_column: "city" has texts; want numbers from 0 to 1`},
		"confidence beyond 1":          {csv: good, old: "column: score", new: "column: fare", want: `taxi.yaml:10: models[0].confidence_column: "fare" has 12.5; want numbers from 0 to 1`},
		"an incident of no column":     {csv: good, old: "column: fare, at", new: "column: fair, at", want: `taxi.yaml:15: incidents[0].column: "fair"; the file has ["fare" "city" "score" "paid"]`},
		"a unit of a text":             {csv: good, old: "null_surge, dataset: trips, column: fare", new: "unit_change, dataset: trips, column: city", want: `taxi.yaml:15: incidents[0].column: "city" has texts; want a column of numbers for unit_change`},
		"a snapshot of no rows":        {csv: good, old: "null_surge, dataset: trips, column: fare", new: "wrong_snapshot, dataset: trips", want: `taxi.yaml:15: incidents[0].delay: 1w; the snapshot would have no rows, which begin at 2026-01-05 00:00:00: want a shorter delay`},
		"a drift of a time":            {csv: good, old: "null_surge, dataset: trips, column: fare", new: "sudden_drift, dataset: trips, column: paid", want: `taxi.yaml:15: incidents[0].column: "paid" has timestamps; want a column of numbers or texts or booleans for sudden_drift`},
		"nulls that are there already": {csv: good, old: "column: fare, at", new: "column: city, at", want: `taxi.yaml:15: incidents[0].column: "city" has 0.5 nulls already; want a size above it, not 0.08`},
		"a first day without rows":     {csv: good, old: "- name: trips\n", new: "- name: trips\n  first_day: 2025-12-05\n", want: `taxi.yaml:5: datasets[0].first_day: 2025-12-05 is before the first row of the file, of 2026-01-05 00:00:10: days without rows would be learned; want that day or a later one`},
		"no file at all":               {csv: good, old: "    file: trips.csv\n", new: "", want: `taxi.yaml:7: datasets[0].data.file: missing; want a Parquet or CSV file, or --data trips=FILE`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "trips.csv"), []byte(c.csv), 0o600))
			require.Contains(t, text, c.old)
			s := loadFile(t, filepath.Join(dir, "taxi.yaml"), strings.Replace(text, c.old, c.new, 1))
			w, err := Open(t.Context(), s, Options{})
			if c.want == "" {
				require.NoError(t, err)
				require.NoError(t, w.Close())
				return
			}
			require.ErrorContains(t, err, strings.ReplaceAll(c.want, "DIR", dir))
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func loadFile(t *testing.T, path, text string) *scenario.Scenario {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	s, err := scenario.LoadFile(path)
	require.NoError(t, err)
	return s
}

func TestEventFileThatEndsEarlyIsReported(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "events.csv")
	require.NoError(t, os.WriteFile(file, []byte("at,amount\n2026-01-05 00:00:10,1\n2026-01-06 12:00:00,2\n"), 0o600))
	for length, want := range map[string]string{
		"60h": "",
		"4d":  "orders: the last event of " + file + " is at 2026-01-06 12:00:00, 2d12h before the end of the replay: from then on the feed appears to have stopped",
	} {
		s := load(t, "name: recorded\nstart: 2026-01-05\nlength: "+length+"\ndatasets:\n- {name: orders, data: {file: "+file+", time: at}}\n")
		w, err := Open(t.Context(), s, Options{})
		require.NoError(t, err)
		require.NoError(t, w.Close())
		require.Equal(t, want, strings.Join(w.Warnings(), "\n"))
	}
}
