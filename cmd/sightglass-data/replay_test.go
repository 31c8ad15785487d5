package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/replay/report"
	"github.com/sightglass-ml/sightglass/replay/scenario"
	"github.com/sightglass-ml/sightglass/rules"
)

const quietScenario = `
name: quiet
start: 2026-01-05
length: 2h
datasets: [{name: payments, rows_per_hour: 60, columns: [{name: amount, lognormal: {median: 40, sigma: 1}}]}]
bars: [{measure: false_alarms, limit: 0}]
`

func TestLong_TheCommandLineOfReplay(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	events, stale := filepath.Join(dir, "events.yaml"), filepath.Join(dir, "stale.yaml")
	secret := filepath.Join(dir, "http.yaml")
	require.NoError(t, os.WriteFile(secret, []byte("basic_auth: {username: reader, pasword_file: x}\n"), 0o600))
	require.NoError(t, os.WriteFile(events, []byte("name: taxi\nstart: 2026-01-05\nlength: 2h\ndatasets: [{name: trips, data: {file: trips.csv, time: at}}]\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "trips.csv"), []byte("at,fair\n2026-02-05 00:00:10,1\n"), 0o600))
	require.NoError(t, os.WriteFile(stale, []byte(quietScenario+"exclude: [{name: storm, from: 1h, to: 2h, alerts: [MLDatasetStail]}]\n"), 0o600))
	require.NoError(t, os.WriteFile(good, []byte(quietScenario), 0o600))
	require.NoError(t, os.WriteFile(bad, []byte(strings.Replace(quietScenario, "length", "lengh", 1)), 0o600))
	for name, tc := range map[string]struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		"a scenario runs, and its resources are printed": {[]string{good}, 0, "", "peak memory"},
		"a scenario runs with another threshold":         {[]string{good, "--set", "drift_psi=0.2", "--output", "json"}, 0, `"incidents"`, ""},
		"nothing to replay is an error":                  {nil, 1, "", "nothing to replay: want scenario files, or --from-prometheus URL"},
		"an unknown key is an error with its line":       {[]string{bad}, 1, "", "lengh"},
		"an unknown threshold is refused":                {[]string{good, "--set", "drift=0.2"}, 1, "", `threshold "drift" does not exist, expected one of `},
		"a threshold that is not a number is refused":    {[]string{good, "--set", "drift_psi=high"}, 1, "", "--set drift_psi=high: want a number"},
		"so is one without a value":                      {[]string{good, "--set", "drift_psi"}, 1, "", `--set "drift_psi": want a name and a value`},
		"a threshold is given once":                      {[]string{good, "--set", "drift_psi=0.2", "--set", "drift_psi=0.3"}, 1, "", "--set drift_psi is given twice, as 0.2 and 0.3: want it once"},
		"a file of no dataset is refused":                {[]string{events, "--data", "trip=" + good}, 1, "", "--data trip=" + good + `: no dataset or model with data has this name; want one of ["trips"]`},
		"nor is one of a dataset that is simulated":      {[]string{good, "--data", "payments=" + good}, 1, "", `"payments" is simulated; want a dataset or model with data: {time: COLUMN} in the scenario`},
		"a missing file is refused":                      {[]string{events, "--data", "trips=" + dir + "/nope.csv"}, 1, "", "nope.csv: no such file or directory; want a Parquet or CSV file, relative to the working directory"},
		"an alert of no rule is refused":                 {[]string{stale}, 1, "", `stale.yaml:7: exclude[0].alerts[0]: the rules have no alert "MLDatasetStail"; want one of`},
		"a fault of a file has its line, and no bar":     {[]string{events}, 1, "", "replay: scenario taxi, seed 1:\n" + events + ":4: datasets[0].data.file: no event of "},
		"an unknown key of credentials":                  {[]string{"--from-prometheus", "http://localhost", "--http.config.file", secret}, 1, "", `http.yaml: yaml: unmarshal errors:   line 1: unknown key "pasword_file"; the keys are those of Prometheus's http_config`},
		"scenarios and a history do not go together":     {[]string{good, "--from-prometheus", "http://localhost"}, 1, "", "takes no scenario files"},
		"nor do a seed and a history":                    {[]string{"--from-prometheus", "http://localhost", "--seed", "2"}, 1, "", "--seed applies to scenarios"},
		"nor do a scenario and a range":                  {[]string{good, "--range", "7d"}, 1, "", "--range: only with --from-prometheus"},
		"a range must be a duration":                     {[]string{"--from-prometheus", "http://localhost", "--range", "month"}, 1, "", `--range is "month", expected a duration such as 30d`},
		"an end must be a time":                          {[]string{"--from-prometheus", "http://localhost", "--until", "May"}, 1, "", `--until is "May", expected a date such as 2026-03-31, or a time such as`},
		"a history must have a URL":                      {[]string{"--from-prometheus", "localhost"}, 1, "", "expected a URL such as http://localhost:9090"},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := call(append([]string{"replay"}, tc.args...)...)
			require.Equal(t, tc.status, status, stderr)
			require.Contains(t, stdout, tc.stdout)
			if tc.status != 0 {
				require.Contains(t, stderr, tc.stderr)
			}
		})
	}
}

// trips writes a file of the form that docs/replay.md shows: 500 rides an hour for 33 days.
func trips(t *testing.T, path string) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2)) // The file is the same at each run.
	var b bytes.Buffer
	b.WriteString("picked_up_at,fare,distance_km,city,score\n")
	for at := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC); at.Before(time.Date(2026, 2, 7, 0, 0, 0, 0, time.UTC)); at = at.Add(time.Duration(r.ExpFloat64() * 7.2 * float64(time.Second))) {
		distance := math.Exp(1.5 + 0.6*r.NormFloat64())
		fmt.Fprintf(&b, "%s,%.2f,%.2f,%s,%.3f\n", at.Format(time.DateTime), 4+2*distance+r.NormFloat64(), distance, []string{"YOW", "YYZ", "YUL"}[r.IntN(3)], 1-0.1*r.Float64())
	}
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
}

// Readers copy the scenarios of the page.
func TestLong_TheScenariosOfThePageAreGood(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/replay.md")
	require.NoError(t, err)
	dir := t.TempDir()
	var names []string
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		name := regexp.MustCompile(`(?m)^name: (\w+)$`).FindStringSubmatch(block[1])
		if name == nil {
			continue // Part of a scenario, or of another file.
		}
		path := filepath.Join(dir, name[1]+".yaml")
		require.NoError(t, os.WriteFile(path, []byte(block[1]), 0o600))
		_, err := scenario.LoadFile(path)
		require.NoError(t, err)
		names = append(names, name[1])
	}
	require.Equal(t, []string{"shop", "taxi"}, names)

	trips(t, filepath.Join(dir, "trips.csv"))
	status, stdout, stderr := call("replay", filepath.Join(dir, "taxi.yaml"))
	require.Zero(t, status, stdout+stderr)
	require.Contains(t, stdout, "0 of 2 incidents missed")
	require.NotContains(t, stdout, "WARNING")

	// A baseline that begins a week before the incident is not complete, and the result says so.
	text, err := os.ReadFile(filepath.Join(dir, "taxi.yaml"))
	require.NoError(t, err)
	short := strings.Replace(string(text), "first_day: 2026-01-05", "first_day: 2026-01-29", 1)
	short = strings.Replace(short, "- {kind: error_storm, model: eta, at: 1d10h, for: 2h}", "- {kind: unit_change, model: eta, column: distance_km, at: 10h, for: 1h}", 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "short.yaml"), []byte(strings.Replace(short, "length: 2d", "length: 17h", 1)), 0o600))
	status, stdout, _ = call("replay", "--output", "json", filepath.Join(dir, "short.yaml"))
	require.Equal(t, 1, status)
	var result struct {
		Seed      *uint64  `json:"seed"`
		Warnings  []string `json:"warnings"`
		Incidents []struct {
			Baseline report.Learned `json:"baseline"`
		} `json:"incidents"`
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &result))
	require.EqualValues(t, 1, *result.Seed)
	require.Equal(t, []string{
		`dataset "trips" had 7 of the 30 days of its baseline when unit_change began at 2026-02-05 10:00:00: alerts on changed values could not fire yet. Let the baseline complete before the incident: first_day, 30 days or more before the start with rows from then on, or a warmup of 32d`,
		`model "eta" had 0 of the 30 days of its baseline when unit_change began at 2026-02-05 10:00:00: alerts on changed values could not fire yet. Let the baseline complete before the incident: a warmup of 32d`,
	}, result.Warnings)
	require.Equal(t, report.Learned{Days: 7, Wanted: 30}, result.Incidents[0].Baseline)
}

func TestOutputToAFileHasNoProgressBar(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	var buffer bytes.Buffer
	for _, to := range []io.Writer{file, &buffer} {
		bar := newBar(to, 3, "days")
		for i := range 3 {
			require.NoError(t, bar.Set(i+1))
		}
		require.NoError(t, bar.Clear())
	}
	info, err := file.Stat()
	require.NoError(t, err)
	require.Zero(t, info.Size())
	require.Empty(t, buffer.String())
}

// A server of the two calls of Prometheus's API that a replay makes: six hours of a table that lost 8 % of its values for two.
// e2e replays the history of a real one.
func storedHistory(t *testing.T, to time.Time) string {
	from, bad := to.Add(-6*time.Hour), to.Add(-4*time.Hour)
	window := regexp.MustCompile(`^\{__name__="(\w+)"\}\[(\d+)ms\]$`)
	answer := func(w http.ResponseWriter, data any) {
		require.NoError(t, json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data}))
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "secret" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		if strings.HasSuffix(r.URL.Path, "/label/__name__/values") {
			answer(w, []string{"ml_dataset_column_nulls", "ml_dataset_rows", "up"})
			return
		}
		query := window.FindStringSubmatch(r.FormValue("query"))
		if query == nil {
			answer(w, map[string]any{"resultType": "matrix", "result": []any{}})
			return
		}
		name := query[1]
		length, _ := strconv.ParseInt(query[2], 10, 64)
		seconds, err := strconv.ParseFloat(r.FormValue("time"), 64)
		if err != nil {
			at, _ := time.Parse(time.RFC3339Nano, r.FormValue("time"))
			seconds = float64(at.UnixMilli()) / 1000
		}
		last := time.UnixMilli(int64(math.Round(seconds * 1000)))
		metric := model.Metric{"__name__": model.LabelValue(name), "dataset": "payments", "job": "dq", "instance": "dq:1"}
		if name == "ml_dataset_column_nulls" {
			metric["column"] = "amount"
		}
		var values []model.SamplePair
		for at := from; at.Before(to); at = at.Add(time.Minute) {
			if at.After(last) || !at.After(last.Add(-time.Duration(length)*time.Millisecond)) {
				continue
			}
			v := 1000.0
			if name == "ml_dataset_column_nulls" {
				v = 30
				if !at.Before(bad) && at.Before(bad.Add(2*time.Hour)) {
					v = 80
				}
			}
			values = append(values, model.SamplePair{Timestamp: model.TimeFromUnixNano(at.UnixNano()), Value: model.SampleValue(v)})
		}
		if name == "up" {
			values = nil
		}
		answer(w, map[string]any{"resultType": "matrix", "result": []any{map[string]any{"metric": metric, "values": values}}})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestLong_ReplayOfAHistoryListsTheAlertsThatWouldHaveFired(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "http.yaml")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "password"), []byte("secret"), 0o600))
	require.NoError(t, os.WriteFile(config, []byte("basic_auth: {username: reader, password_file: password}\n"), 0o600))
	to := time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC)
	url := storedHistory(t, to)
	replay := func(args ...string) (int, string, string) {
		return call(append([]string{"replay", "--from-prometheus", url, "--range", "6h", "--until", to.Format(time.RFC3339)}, args...)...)
	}
	for name, tc := range map[string]struct {
		args   []string
		status int
		want   string
	}{
		"a table":                    {[]string{"--http.config.file", config}, 0, `2026-03-30 18:00:00 to 2026-03-31 00:00:00, 3 metrics: 1 alerts would have fired; `},
		"how often and how long":     {[]string{"--http.config.file", config}, 0, `MLDatasetNullRatioHigh  1      2h10m   2h10m    2026-03-30 20:00:00`},
		"Markdown":                   {[]string{"--http.config.file", config, "--output", "markdown"}, 0, `| MLDatasetNullRatioHigh | 1 | 2h10m | 2h10m | 2026-03-30 20:00:00 |`},
		"JSON":                       {[]string{"--http.config.file", config, "--output", "json"}, 0, fmt.Sprintf(`"firing_ns": %d`, 130*time.Minute)},
		"another threshold":          {[]string{"--http.config.file", config, "--set", "null_ratio=0.1"}, 0, "0 alerts would have fired; "},
		"alerts without input":       {[]string{"--http.config.file", config}, 0, `MLGPUSaturated`},
		"what is absent":             {[]string{"--http.config.file", config}, 0, `ml_dataset_latest_record_timestamp_seconds`},
		"no credentials are refused": {nil, 1, "401"},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := replay(tc.args...)
			require.Equal(t, tc.status, status, stderr)
			require.Contains(t, stdout+stderr, tc.want)
			require.NotContains(t, stdout, rules.Override, "it is optional")
		})
	}
}
