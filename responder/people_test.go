package responder_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
	"github.com/sightglass-ml/sightglass/responder"
)

// request makes a request and returns the status.
func request(t *testing.T, method, url, body string, edit func(r *http.Request)) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	edit(r)
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode
}

func bearer(r *http.Request) { r.Header.Set("Authorization", "Bearer s3cret") }

func TestVerdictsAndReviewsAreCountedAsMetrics(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	require.NoError(t, err)
	write("token", "s3cret")
	write("users.yaml", fmt.Sprintf("basic_auth_users: {anna: %q}", hash))
	write("responder.yaml", `
webhook: {token: {file: token}}
reviews: {token: {file: token}}
page: {users_file: users.yaml, trace_url: "https://traces.example/{trace_id}"}
before: {time_to_detect: 4h12m, time_to_resolve: 9h, false_alarm_ratio: 0.38}
`)
	s := exportertest.Start(t, responder.Spec(), "--config.file="+filepath.Join(dir, "responder.yaml"))
	s.AwaitReady()
	s.AwaitMetric("ml_incident_time_to_detect_before_seconds 15120")
	s.AwaitMetric("ml_alerts_false_before_ratio 0.38")
	s.AwaitMetric(`ml_review_queue_items{state="open"} 0`)

	item := `{"id":"i-1","time":"2026-11-24T09:00:00Z","model":"bot","version":"3","trace_id":"0af7","evaluation":"groundedness","score":0.4,"gate":0.9,"excerpt":"private"}`
	require.Equal(t, http.StatusCreated, request(t, http.MethodPost, s.URL+"/api/v1/reviews", item, bearer))
	require.Equal(t, http.StatusAccepted, request(t, http.MethodPost, s.URL+"/api/v1/alerts", alerts(0, 1), bearer))
	s.AwaitMetric(`ml_review_queue_items{state="open"} 1`)
	s.AwaitMetric(`ml_alerts_total{alertname="MLModelDrift",verdict="unjudged"} 1`)

	anna := func(r *http.Request) {
		r.SetBasicAuth("anna", "secret")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	require.Equal(t, http.StatusOK, request(t, http.MethodPost, s.URL+"/reviews/i-1", "revision=0&decision=rejected&reason=wrong", anna))
	starts := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	require.Equal(t, http.StatusOK, request(t, http.MethodPost, s.URL+fmt.Sprintf("/alerts/%016x-%d", 0, starts.UnixNano()),
		"revision=0&verdict=true&onset=2026-11-24T08:49&note=x", anna))
	s.AwaitMetric(`ml_review_decisions_total{decision="rejected"} 1`)
	s.AwaitMetric(`ml_review_queue_items{state="open"} 0`)
	s.AwaitMetric(`ml_alerts_total{alertname="MLModelDrift",verdict="true"} 1`)
	s.AwaitMetric(`ml_alerts_total{alertname="MLModelDrift",verdict="unjudged"} 0`)
	s.AwaitMetric(`ml_incident_time_to_detect_seconds_sum 660`)
	s.AwaitMetric(`ml_incident_time_to_detect_seconds_count 1`)
	s.AwaitMetric(`ml_incident_time_to_resolve_seconds_count 0`)
	exportertest.Lint(t, s.Metrics())

	trail, err := responder.OpenAuditTrail(t.Context(), filepath.Join(dir, "responder.yaml"))
	require.NoError(t, err)
	defer func() { require.NoError(t, trail.Close()) }()
	var out strings.Builder
	_, err = trail.Export(t.Context(), &out)
	require.NoError(t, err)
	require.Contains(t, out.String(), `"kind":"review_decided","actor":"anna"`)
	require.Contains(t, out.String(), `"kind":"alert_judged","actor":"anna"`)
	require.NotContains(t, out.String(), "private", "an excerpt is kept only where the configuration allows it")
}
