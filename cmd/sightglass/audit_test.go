package main

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
	"github.com/sightglass-ml/sightglass/responder"
)

const firingAlert = `{"version":"4","receiver":"responder","alerts":[{"status":"firing","labels":{"alertname":"MLModelDrift","response":"retrain","model":"fraud"},
	"startsAt":"2026-11-24T09:00:00Z","fingerprint":"0123456789abcdef"}]}`

func TestAuditTrailIsVerifiedAndExportedWhileTheResponderRuns(t *testing.T) {
	dir := t.TempDir()
	config, export := filepath.Join(dir, "responder.yaml"), filepath.Join(dir, "audit.jsonl")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte("s3cret"), 0o600))
	require.NoError(t, os.WriteFile(config, []byte(`{webhook: {token: {file: token}}, actions: [{name: a, response: retrain, target: {webhook: {url: "http://127.0.0.1:1"}}}]}`), 0o600))

	status, _, stderr := call("audit", "verify", "--config.file", config)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "responder.db: no such file", "to look makes no database")

	s := exportertest.Start(t, responder.Spec(), "--config.file="+config)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/api/v1/alerts", strings.NewReader(firingAlert))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer s3cret")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusAccepted, res.StatusCode)

	status, stdout, stderr := call("audit", "verify", "--config.file", config)
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "OK: 2 records, 0 of them redacted")
	mark := regexp.MustCompile(`mark (\S+)`).FindStringSubmatch(stdout)[1]
	status, _, stderr = call("audit", "verify", "--config.file", config, "--mark", mark)
	require.Zero(t, status, stderr)

	status, stdout, stderr = call("audit", "export", "--config.file", config)
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, `"decision":"dry_run"`)
	require.NoError(t, os.WriteFile(export, []byte(stdout), 0o600))
	status, _, stderr = call("audit", "verify", "--export", export, "--mark", mark)
	require.Zero(t, status, stderr)
	require.NoError(t, os.WriteFile(export, []byte(strings.Replace(stdout, "dry_run", "send", 1)), 0o600))
	status, _, stderr = call("audit", "verify", "--export", export)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "audit record 2 (action_decided,")

	status, _, stderr = call("audit", "verify")
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "want one of --config.file and --export")
	status, _, stderr = call("audit", "verify", "--export", export, "--mark", "x")
	require.Equal(t, 2, status)
	require.Contains(t, stderr, `"x" is not a mark`)
}
