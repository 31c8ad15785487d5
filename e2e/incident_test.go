package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/sightglass-ml/sightglass/alertmanager"
	"github.com/sightglass-ml/sightglass/demo/slack"
	"github.com/sightglass-ml/sightglass/demo/stack"
	"github.com/sightglass-ml/sightglass/internal/testtools"
	"github.com/sightglass-ml/sightglass/responder"
)

// A table drifts, and then the model that it feeds. The test has the series of the exporters and two alerts with the bundle's names.
const (
	fedSeries = `ml_model_dataset_info{model="fraud",dataset="payments",dataset_cluster="",dataset_namespace=""} 1
ml_dataset_cause_info{dataset="payments",column="merchant_category",signal="drift_psi",cause_column="payment_provider",cause_value="newpay"} 0.97
column_drift{dataset="payments",column="merchant_category"} %d
field_drift{model="fraud",field="merchant_category"} %d
`
	fedRules = `groups:
  - name: fed
    rules:
      - {alert: MLDatasetDrift, expr: column_drift > 0, labels: {severity: warning, layer: data}, annotations: {summary: A column drifts.}}
      - {alert: MLModelDrift, expr: field_drift > 0, labels: {severity: critical, layer: model}, annotations: {summary: A model drifts.}}
`
)

func TestAlertsOfOneFaultAreOneIncident(t *testing.T) {
	ctx := testContext(t)
	var table, model atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, fedSeries, table.Load(), model.Load())
	}))
	t.Cleanup(service.Close)
	s := newStack(t)
	sink, slackURL, err := s.StartSlack(ctx, 1000)
	require.NoError(t, err)
	address := testtools.FreeAddress(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	require.NoError(t, err)
	for name, text := range map[string]string{
		"token": "s3cret", "password": "secret", "users.yaml": fmt.Sprintf("basic_auth_users: {anna: %q}\n", hash),
		"login.yaml": "http_client: {basic_auth: {username: anna, password_file: password}}\n", "rules.yaml": fedRules,
		"responder.yaml": fmt.Sprintf(`
webhook: {token: {file: token}}
prometheus: {url: "http://%s"}
page: {users_file: users.yaml, external_url: https://responder.example.com}
incidents:
  lineage_interval: 1s
  slack: {channel: "#ml-incidents", token: {file: token}, url: %q}
`, address, slackURL+"/api"),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(s.Dir(), name), []byte(text), 0o600))
	}
	server, err := s.StartExporter(ctx, stack.ExporterConfig{
		Name: "responder", Path: buildCommand(t, "responder"), Args: []string{"--config.file=" + filepath.Join(s.Dir(), "responder.yaml")},
	})
	require.NoError(t, err)
	am, err := s.StartAlertmanager(ctx, stack.AlertmanagerConfig{Files: alertmanager.Files, SlackURL: slackURL, SpeedUp: 200, ResponderURL: server.URL(), ResponderToken: "s3cret"})
	require.NoError(t, err)
	prometheus, err := s.StartPrometheus(ctx, stack.PrometheusConfig{
		Address: address, Targets: []stack.ScrapeTarget{{Job: "fed", Addresses: []string{strings.TrimPrefix(service.URL, "http://")}}},
		RuleFiles: []string{filepath.Join(s.Dir(), "rules.yaml")}, Alertmanager: am.Address,
		ScrapeInterval: time.Second / 4, EvaluationInterval: time.Second / 4, ResendDelay: time.Second,
	})
	require.NoError(t, err)
	eventually(ctx, t, "every query of the lineage is answered", func() bool {
		return strings.Contains(get(ctx, t, server.URL()+"/metrics"), `sightglass_collector_success{collector="lineage"} 1`)
	})

	table.Store(1)
	told := func(text string) slack.Message {
		t.Helper()
		m, err := sink.Wait(ctx, func(m slack.Message) bool {
			return m.TS != "" && strings.Contains(m.Text+m.Attachments[0].Text, text)
		})
		require.NoError(t, err)
		return m
	}
	first := told("MLDatasetDrift of dataset payments")
	require.Contains(t, first.Attachments[0].Text, "*Probable cause* payment_provider = newpay in dataset payments")
	model.Store(1)
	second := told("[CRITICAL] MLDatasetDrift of dataset payments and 1 more")
	require.Equal(t, first.TS, second.TS, "it is one message")
	require.Equal(t, "#ml-incidents", second.Channel)

	for _, o := range []responder.ExplainOptions{
		{Responder: server.URL(), ResponderHTTP: filepath.Join(s.Dir(), "login.yaml")},
		{Prometheus: prometheus.URL()},
	} {
		var out strings.Builder
		o.Width, o.Now = 100, time.Now
		require.NoError(t, responder.Explain(ctx, &out, "MLModelDrift", o))
		require.Contains(t, out.String(), "Probable cause: payment_provider = newpay in dataset payments")
		require.Contains(t, out.String(), "dataset payments → model fraud (feeds)")
	}
	table.Store(0)
	model.Store(0)
	told("[RESOLVED after ")
	require.Contains(t, get(ctx, t, server.URL()+"/metrics"), `ml_incident_messages_total{result="failed"} 0`)
}
