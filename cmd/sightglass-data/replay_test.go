package main

import (
	"encoding/json"
	"fmt"
	"math"
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
)

const quietScenario = `
name: quiet
start: 2026-01-05
length: 2h
datasets: [{name: payments, rows_per_hour: 60, columns: [{name: amount, lognormal: {median: 40, sigma: 1}}]}]
bars: [{measure: false_alarms, limit: 0}]
`

func TestTheCommandLineOfReplay(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	require.NoError(t, os.WriteFile(good, []byte(quietScenario), 0o600))
	require.NoError(t, os.WriteFile(bad, []byte(strings.Replace(quietScenario, "length", "lengh", 1)), 0o600))
	for name, tc := range map[string]struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		"a scenario runs, and its cost is told":      {[]string{good}, 0, "", "peak memory"},
		"a scenario runs with another threshold":     {[]string{good, "--set", "drift_psi=0.2", "--output", "json"}, 0, `"incidents"`, ""},
		"nothing to replay is an error":              {nil, 1, "", "nothing to replay: want scenario files, or --from-prometheus URL"},
		"an unknown key is an error with its line":   {[]string{bad}, 1, "", "lengh"},
		"an unknown threshold is refused":            {[]string{good, "--set", "drift=0.2"}, 1, "", `threshold "drift" does not exist, expected one of `},
		"a threshold that is no number is refused":   {[]string{good, "--set", "drift_psi=high"}, 1, "", "--set drift_psi=high: want a number"},
		"so is one without a value":                  {[]string{good, "--set", "drift_psi"}, 1, "", `--set "drift_psi": want a name and a value`},
		"scenarios and a history do not go together": {[]string{good, "--from-prometheus", "http://localhost"}, 1, "", "takes no scenario files"},
		"nor do a seed and a history":                {[]string{"--from-prometheus", "http://localhost", "--seed", "2"}, 1, "", "--seed is of scenarios"},
		"nor do a scenario and a range":              {[]string{good, "--range", "7d"}, 1, "", "--range: of --from-prometheus only"},
		"a range must be a duration":                 {[]string{"--from-prometheus", "http://localhost", "--range", "month"}, 1, "", `--range is "month", expected a duration such as 30d`},
		"an end must be a time":                      {[]string{"--from-prometheus", "http://localhost", "--until", "May"}, 1, "", `--until is "May", expected a time such as`},
		"a history must have a URL":                  {[]string{"--from-prometheus", "localhost"}, 1, "", "expected a URL such as http://localhost:9090"},
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

func TestReplayOfAHistoryListsTheAlertsThatWouldHaveFired(t *testing.T) {
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
		})
	}
}
