package responder_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
	"github.com/sightglass-ml/sightglass/responder"
)

const minimal = `webhook: {token: {file: token}}
actions: [{name: retrain, response: retrain, target: {webhook: {url: "http://127.0.0.1:1"}}}]
`

func write(t *testing.T, path, text string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestResponderRunsOnTheExporterRuntime(t *testing.T) {
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "responder.yaml"), minimal)
	write(t, filepath.Join(dir, "token"), "s3cret")
	s := exportertest.Start(t, responder.Spec(), "--config.file="+file)
	s.AwaitReady()
	page := s.Metrics()
	exportertest.Lint(t, page)

	known := map[string]string{}
	for _, m := range responder.Catalogue().Metrics {
		known[m.Name] = m.Type
	}
	found := regexp.MustCompile(`(?m)^# TYPE (ml_\S+) (\S+)$`).FindAllStringSubmatch(page, -1)
	require.NotEmpty(t, found)
	for _, m := range found {
		require.Equal(t, m[2], known[m[1]], "%s in the reference", m[1])
	}
	require.Contains(t, page, `ml_response_actions_total{action="retrain",result="succeeded"} 0`)

	status, body := s.Do(http.MethodPost, "/api/v1/alerts")
	require.Equal(t, http.StatusUnauthorized, status, body)

	write(t, file, strings.Replace(minimal, "name: retrain", "name: renamed", 1))
	status, body = s.Do(http.MethodPost, "/-/reload")
	require.Equal(t, http.StatusOK, status, body)
	write(t, file, minimal+"workers: 7\n")
	status, body = s.Do(http.MethodPost, "/-/reload")
	require.Equal(t, http.StatusInternalServerError, status)
	require.Contains(t, body, "store, workers and incidents.lineage_interval are read at the start only")
	write(t, file, minimal+"worker: 7\n")
	status, body = s.Do(http.MethodPost, "/-/reload")
	require.Equal(t, http.StatusInternalServerError, status)
	require.Contains(t, body, file+":3: worker")

	require.Zero(t, s.Stop())
	require.NotContains(t, s.Logs(), "s3cret")
}

func TestTwoRespondersDoNotWorkOnOneSQLiteDatabase(t *testing.T) {
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "responder.yaml"), minimal)
	first := exportertest.Start(t, responder.Spec(), "--config.file="+file)
	env := exportertest.Env(t)
	cfg, err := config.Load[responder.Config](file)
	require.NoError(t, err)
	_, err = responder.Spec().Start(t.Context(), env, cfg)
	require.ErrorContains(t, err, "another process works on the store; replicas need PostgreSQL")
	require.Zero(t, first.Stop())
}

func TestStorePath(t *testing.T) {
	for sentence, tc := range map[string]struct{ env, text, want string }{
		"in the folder that systemd makes":                   {"STATE", "", "STATE/responder.db"},
		"beside the configuration":                           {"", "", "BESIDE/responder.db"},
		"where the configuration says, relative to the file": {"STATE", "store: {path: own.db}\n", "BESIDE/own.db"},
		"in PostgreSQL alone":                                {"STATE", "store: {postgresql: {env: DSN}}\n", ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			state, beside := t.TempDir(), t.TempDir()
			fill := strings.NewReplacer("STATE", state, "BESIDE", beside)
			t.Setenv("STATE_DIRECTORY", fill.Replace(tc.env))
			t.Setenv("DSN", "postgres://localhost/x")
			cfg, err := config.Load[responder.Config](write(t, filepath.Join(beside, "c.yaml"), "webhook: {token: {file: token}}\n"+tc.text))
			require.NoError(t, err)
			require.Equal(t, fill.Replace(tc.want), string(cfg.Store.Path))
		})
	}
}

func TestTheFullConfiguration(t *testing.T) {
	_, err := config.Load[responder.Config]("testdata/full.good.yaml")
	require.NoError(t, err)
	_, err = config.Load[responder.Config]("../examples/responder/responder.yaml")
	require.NoError(t, err)
}

func TestInvalidConfigurationsAreRefused(t *testing.T) {
	for name, tc := range map[string]struct{ more, want string }{
		"a name twice":              {`actions: [{name: a, response: retrain, target: {webhook: {url: "http://a"}}}, {name: a, response: replay, target: {webhook: {url: "http://a"}}}]`, `two actions are called "a"`},
		"two databases":             {"store: {path: a, postgresql: {env: B}}", "store.postgresql: stands beside path; want one of them"},
		"too many workers":          {"workers: 1000", "workers: 1000; want 1 to 64"},
		"a window that is endless":  {"incidents: {window: 30d}", "incidents.window: 30d; want a time up to 1w"},
		"a storm of one":            {"incidents: {storm: 1}", "incidents.storm: 1; want at least 2"},
		"a lineage without a pause": {"incidents: {lineage_interval: 0s}", "incidents.lineage_interval: 0s; want 1s to 1h"},
		"a link from nowhere":       {"incidents: {links: [{feeds: [a]}]}", "incidents.links[0]: begins at 0 objects; want one of dataset, model and host"},
		"a link to nowhere":         {"incidents: {links: [{dataset: a}]}", "incidents.links[0]: leads nowhere"},
		"a link of another kind":    {"incidents: {links: [{model: a, feeds: [b]}]}", "incidents.links[0].feeds: stands without dataset"},
		"an invalid Grafana URL":    {"page: {users_file: testdata/users.yaml, grafana_url: 'javascript:x'}", `page.grafana_url: "javascript:x"; want an http or https URL`},
		"a history that is short":   {"history: 1d", "history: 1d; want at least 30d, since an alert that was forgotten is acted on again"},
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, filepath.Join(t.TempDir(), "c.yaml"), "webhook: {token: {file: token}}\n"+tc.more)
			_, err := config.Load[responder.Config](file)
			require.ErrorContains(t, err, tc.want)
		})
	}
}
