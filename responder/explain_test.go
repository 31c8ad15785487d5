package responder

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// prometheusWith is a Prometheus with two firing alerts and the lineage that connects them.
func prometheusWith(t *testing.T) *httptest.Server {
	t.Helper()
	alert := func(at string, labels map[string]string) map[string]any {
		return map[string]any{"activeAt": at, "state": "firing", "value": "1", "labels": labels, "annotations": map[string]string{"description": "It drifted.", "action": "Look at the mapping."}}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var data any = map[string]any{"resultType": "vector", "result": []any{}}
		switch query := r.FormValue("query"); {
		case r.URL.Path == "/api/v1/alerts":
			data = map[string]any{"alerts": []any{
				alert("2026-11-24T06:10:00Z", map[string]string{"alertname": "MLDatasetDrift", "layer": "data", "dataset": "payments"}),
				alert("2026-11-24T09:00:00Z", map[string]string{"alertname": "MLModelDrift", "layer": "model", "model": "fraud"}),
				alert("2026-11-24T09:00:00Z", map[string]string{"alertname": "MLDatasetStale", "layer": "data", "dataset": "weather"}),
			}}
		case strings.Contains(query, "ml_model_dataset_info"):
			data = map[string]any{"resultType": "vector", "result": []any{map[string]any{"metric": map[string]string{"model": "fraud", "dataset": "payments"}, "value": []any{1, "1"}}}}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data})
	}))
	t.Cleanup(s.Close)
	return s
}

func TestExplainByPrometheusAlone(t *testing.T) {
	t.Parallel()
	p := prometheusWith(t)
	o := ExplainOptions{Prometheus: p.URL, Width: 90, Now: func() time.Time { return time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC) }}
	var out strings.Builder
	require.NoError(t, Explain(t.Context(), &out, "MLModelDrift", o))
	require.Contains(t, out.String(), "MLDatasetDrift of dataset payments and 1 more")
	require.Contains(t, out.String(), "Probable cause: Trouble with dataset payments (64 %)\n    - It is upstream of 1 of the 1 other objects that alert.\n    - Its alert was the first.")
	require.Contains(t, out.String(), "dataset payments → model fraud (feeds)")
	require.NotContains(t, out.String(), "weather")

	out.Reset()
	o.Postmortem = true
	require.NoError(t, Explain(t.Context(), &out, "MLModelDrift", o))
	require.True(t, strings.HasPrefix(out.String(), "# Post-mortem: MLDatasetDrift of dataset payments and 1 more"))
}

func TestExplainAsksTheResponderFirst(t *testing.T) {
	t.Parallel()
	known := `{"id":"abc","title":"MLModelDrift of model fraud","state":"open","causes":null,"members":null}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'")
		user, password, _ := r.BasicAuth()
		switch {
		case user != "anna" || password != "secret":
			http.Error(w, "Please log in.", http.StatusUnauthorized)
		case r.URL.Path == "/api/v1/incidents/abc":
			_, _ = w.Write([]byte(known))
		case r.URL.Path == "/api/v1/incidents" && r.FormValue("alert") == "MLModelDrift":
			_, _ = w.Write([]byte(`{"incidents":[{"id":"abc"}]}`))
		case r.URL.Path == "/api/v1/incidents":
			_, _ = w.Write([]byte(`{"incidents":[]}`))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	login := filepath.Join(t.TempDir(), "login.yaml")
	require.NoError(t, os.WriteFile(login, []byte("http_client: {basic_auth: {username: anna, password_file: password}}\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(login), "password"), []byte("secret"), 0o600))
	p := prometheusWith(t)
	now := func() time.Time { return time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC) }
	for name, tc := range map[string]struct {
		what     string
		o        ExplainOptions
		contains string
		err      string
	}{
		"by the name of an alert":      {"MLModelDrift", ExplainOptions{Responder: s.URL, ResponderHTTP: login}, "incident abc", ""},
		"by the ID of the incident":    {"abc", ExplainOptions{Responder: s.URL, ResponderHTTP: login}, "incident abc", ""},
		"unknown fields":               {"Other", ExplainOptions{Responder: s.URL, ResponderHTTP: login}, "", "there is no such incident, and no alert of one"},
		"what Prometheus knows":        {"MLDatasetStale", ExplainOptions{Responder: s.URL, ResponderHTTP: login, Prometheus: p.URL}, "MLDatasetStale of dataset weather", ""},
		"without the login":            {"abc", ExplainOptions{Responder: s.URL}, "", "the login is refused; give a file"},
		"without an address":           {"abc", ExplainOptions{}, "", "want --responder.url, --prometheus.url or both"},
		"with an address that is none": {"abc", ExplainOptions{Prometheus: "nonsense"}, "", "--prometheus.url: url: \"nonsense\" is no address of a service"},
		"with a file that is none":     {"abc", ExplainOptions{Responder: s.URL, ResponderHTTP: "missing.yaml"}, "", "missing.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			tc.o.Width, tc.o.Now = 90, now
			err := Explain(t.Context(), &out, tc.what, tc.o)
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			require.Contains(t, out.String(), tc.contains)
		})
	}
}
