package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/alertmanager"
	"github.com/sightglass-ml/sightglass/demo/slack"
	"github.com/sightglass-ml/sightglass/demo/speedup"
	"github.com/sightglass-ml/sightglass/demo/stack"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// pace makes a minute of the rules two seconds long.
var pace = speedup.Factor(30)

// password must not appear anywhere but in the file that the configuration names.
const password = "s3cr3t-Pa55-of-the-warehouse"

const exporterConfig = `
sources:
  warehouse: {type: postgres, dsn: {file: dsn}}
  files: {type: duckdb, threads: 1}
defaults: {interval: 1s, timeout: 5s}
datasets:
  - name: claims
    source: warehouse
    table: public.claims
    baselines: {production: {days: 0}}
  - name: policies
    source: warehouse
    table: public.policies
    baselines: {production: {days: 0}}
  - name: branches
    source: files
    files: branches.csv
    baselines: {production: {days: 0}}
`

// openClaims fills the database and makes a role that can read it.
func openClaims(ctx context.Context, t *testing.T, admin string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", admin)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, statement := range []string{
		`CREATE TABLE claims AS SELECT i AS claim_id, CASE WHEN i % 100 >= 2 THEN i * 1.5 END AS amount, i % 7 AS region FROM generate_series(1, 5000) AS i`,
		`CREATE TABLE policies AS SELECT i AS policy_id, i % 3 AS tier FROM generate_series(1, 1000) AS i`,
		`CREATE ROLE reader LOGIN PASSWORD '` + password + `'`,
		`GRANT SELECT ON claims, policies TO reader`,
	} {
		_, err := db.ExecContext(ctx, statement)
		require.NoError(t, err, statement)
	}
	return db
}

// readerDSN is the address of the database for the reader.
func readerDSN(t *testing.T, admin string) string {
	t.Helper()
	_, rest, ok := strings.Cut(admin, "@")
	require.True(t, ok)
	return fmt.Sprintf("postgres://reader:%s@%s", password, rest)
}

func TestPostgresEndToEnd(t *testing.T) {
	ctx := testContext(t)
	tools, err := stack.FindTools(toolsDir(t))
	require.NoError(t, err)
	admin := testtools.Postgres(t)
	db := openClaims(ctx, t, admin)

	dir := t.TempDir()
	s, err := stack.New(stack.Config{Tools: tools, Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	config := filepath.Join(dir, "dataquality.yaml")
	dsnFile := filepath.Join(dir, "dsn")
	for path, content := range map[string]string{
		config:                             exporterConfig,
		dsnFile:                            readerDSN(t, admin) + "\n",
		filepath.Join(dir, "branches.csv"): "branch,city\n1,Toronto\n2,Montreal\n3,Halifax\n",
	} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}

	sink, slackURL, err := s.StartSlack(ctx, 1000)
	require.NoError(t, err)
	am, err := s.StartAlertmanager(ctx, stack.AlertmanagerConfig{Files: alertmanager.Files, SlackURL: slackURL, SpeedUp: float64(pace)})
	require.NoError(t, err)
	exporter, err := s.StartExporter(ctx, stack.ExporterConfig{
		Name: "exporter", Path: buildCommand(t, "dataquality-exporter"),
		Args: []string{"--config.file=" + config, "--log.level=debug"},
	})
	require.NoError(t, err)
	bundle, err := pace.Rules()
	require.NoError(t, err)
	files, err := bundle.WriteDir(filepath.Join(dir, "rules"))
	require.NoError(t, err)
	prometheus, err := s.StartPrometheus(ctx, stack.PrometheusConfig{
		Targets:   []stack.ScrapeTarget{{Job: "dataquality", Addresses: []string{exporter.Address}}},
		RuleFiles: files, Alertmanager: am.Address,
		ScrapeInterval: time.Second / 2, EvaluationInterval: time.Second / 2,
		LookbackDelta: pace.Duration(5 * time.Minute), ResendDelay: pace.Duration(time.Minute),
	})
	require.NoError(t, err)

	has := func(expr string) func() bool {
		return func() bool {
			vector, err := prometheus.Query(ctx, expr)
			require.NoError(t, err)
			return len(vector) > 0
		}
	}
	told := func(alert, dataset string) slack.Message {
		t.Helper()
		m, err := sink.Wait(ctx, func(m slack.Message) bool {
			return strings.Contains(m.Attachments[0].Title, "] "+alert+": "+dataset) && !strings.HasPrefix(m.Attachments[0].Title, "[RESOLVED")
		})
		require.NoError(t, err)
		return m
	}
	execute := func(statement string) {
		t.Helper()
		_, err := db.ExecContext(ctx, statement)
		require.NoError(t, err)
	}

	eventually(ctx, t, "every dataset is profiled", has(`count(ml_dataset_profile_success == 1) == 3`))
	eventually(ctx, t, "rows arrive", has(`dataset:ml_rows:current{dataset="claims"} == 5000`))
	require.Empty(t, firing(ctx, t, prometheus))

	// A tenth of a column is lost.
	execute(`UPDATE claims SET amount = NULL WHERE claim_id % 10 = 5`)
	m := told("MLDatasetNullRatioHigh", "claims")
	require.Equal(t, "#ml-alerts", m.Channel)
	require.Contains(t, m.Attachments[0].Title, "amount")
	require.Contains(t, m.Attachments[0].Text, "12% of amount in claims is null; the limit is 5%")

	// A table is dropped; the others of the same server are still watched.
	execute(`DROP TABLE policies`)
	told("MLDatasetProfileFailing", "policies")
	execute(`INSERT INTO claims SELECT 0, 1, 1 FROM generate_series(1, 100)`)
	eventually(ctx, t, "the other table is still counted", has(`dataset:ml_rows:current{dataset="claims"} == 5100`))

	// The exporter is locked out, and let in again.
	execute(`ALTER ROLE reader NOLOGIN`)
	execute(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'`)
	eventually(ctx, t, "the table cannot be counted", has(`ml_dataset_profile_success{dataset="claims"} == 0`))
	execute(`ALTER ROLE reader LOGIN`)
	eventually(ctx, t, "the table is counted again", has(`ml_dataset_profile_success{dataset="claims"} == 1`))

	// The server stops. The other source is still watched.
	_, _ = db.ExecContext(ctx, `COPY (SELECT 1) TO PROGRAM 'kill -INT $(head -n 1 postmaster.pid)'`) // It may cut us off first.
	told("MLDatasetProfileFailing", "claims")
	eventually(ctx, t, "what cannot be counted any more is absent", has(`absent(ml_dataset_rows{dataset="claims"})`))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "branches.csv"), []byte("branch,city\n1,Toronto\n"), 0o600))
	eventually(ctx, t, "the file is still counted", has(`dataset:ml_rows:current{dataset="branches"} == 1`))

	// A failed profile has one alert, its own.
	for _, a := range firing(ctx, t, prometheus) {
		require.NotEqual(t, model.LabelValue("SightglassCollectorFailing"), a.Labels[model.AlertNameLabel])
	}

	require.NoError(t, sink.LastRejection())
	noSecret(ctx, t, exporter, sink, dir, dsnFile)
}

// firing lists the alerts that fire. Others may be pending for a moment: the group of an alert can be evaluated before the rules
// it depends on have recorded anything.
func firing(ctx context.Context, t *testing.T, prometheus *stack.Prometheus) []v1.Alert {
	t.Helper()
	alerts, err := prometheus.Alerts(ctx)
	require.NoError(t, err)
	return slices.DeleteFunc(alerts, func(a v1.Alert) bool { return a.State != v1.AlertStateFiring })
}

// noSecret looks for the password everywhere a person or a machine may read.
func noSecret(ctx context.Context, t *testing.T, exporter stack.Server, sink *slack.Sink, dir, dsnFile string) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, exporter.URL()+"/metrics", http.NoBody)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	metrics, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Contains(t, string(metrics), "ml_dataset_rows")
	require.NotContains(t, string(metrics), password)
	for _, m := range sink.Messages() {
		require.NotContains(t, m.Render(200, false), password)
	}
	// Not the folder of Prometheus's data, whose files come and go: its samples are those of /metrics.
	for _, pattern := range []string{"*.*", "*/*.yaml", "baselines/*/*/*", "alertmanager/*/*"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		for _, path := range paths {
			if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || path == dsnFile {
				continue
			}
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NotContains(t, string(content), password, path)
		}
	}
	log, err := os.ReadFile(filepath.Join(dir, "exporter.log"))
	require.NoError(t, err)
	require.Contains(t, string(log), "policies", "the log names what failed")
}
