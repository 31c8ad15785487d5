package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/demo/stack"
	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/replay/history"
	"github.com/sightglass-ml/sightglass/rules"
)

// A real Prometheus with three days of a table that lost values for two hours, behind a proxy that asks for a password and
// fails now and then.
func TestReplayOfAHistory(t *testing.T) {
	ctx := testContext(t)
	dir := t.TempDir()
	path := toolsDir(t)
	s, err := stack.New(stack.Config{Tools: stack.Tools{Prometheus: filepath.Join(path, "prometheus"), Promtool: filepath.Join(path, "promtool"), Alertmanager: filepath.Join(path, "alertmanager")}, Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	to := time.Now().Add(-24 * time.Hour).Truncate(time.Hour)
	from := to.Add(-72 * time.Hour)
	bad := from.Add(30 * time.Hour)
	var text bytes.Buffer
	write := func(name string, value func(at time.Time) float64) {
		for at := from; at.Before(to); at = at.Add(time.Minute) {
			fmt.Fprintf(&text, "%s %v %d\n", name, value(at), at.Unix())
		}
	}
	write(`ml_dataset_rows{dataset="payments",job="dq",instance="dq:1"}`, func(time.Time) float64 { return 1000 })
	write(`ml_dataset_column_nulls{dataset="payments",column="amount",job="dq",instance="dq:1"}`, func(at time.Time) float64 {
		if !at.Before(bad) && at.Before(bad.Add(2*time.Hour)) {
			return 80
		}
		return 30
	})
	text.WriteString("# EOF\n")
	require.NoError(t, s.BackfillOpenMetrics(ctx, &text))
	p, err := s.StartPrometheus(ctx, stack.PrometheusConfig{ScrapeInterval: time.Hour, EvaluationInterval: time.Hour})
	require.NoError(t, err)

	target, err := url.Parse(p.URL())
	require.NoError(t, err)
	var requests atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(target)
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "reader" || password != "secret" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		if requests.Add(1)%20 == 3 {
			http.Error(w, "overloaded", http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(gate.Close)
	httpConfig := filepath.Join(dir, "http.yml")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "password"), []byte("secret"), 0o600))
	require.NoError(t, os.WriteFile(httpConfig, []byte("basic_auth: {username: reader, password_file: password}\n"), 0o600))

	bundle, err := engine.LoadRules(rules.FS)
	require.NoError(t, err)
	cfg := history.Config{URL: gate.URL, HTTPConfigFile: httpConfig, From: from, To: to}
	result, err := history.Run(ctx, cfg, bundle)
	require.NoError(t, err)
	require.Equal(t, []string{"ml_dataset_column_nulls", "ml_dataset_rows"}, result.Read)
	require.Equal(t, 2*72*60, result.Stats.Samples, "every sample once")
	require.Len(t, result.Alerts, 1)
	alert := result.Alerts[0]
	require.Equal(t, []any{"MLDatasetNullRatioHigh", "warning", "amount"}, []any{alert.Name, alert.Labels.Get("severity"), alert.Labels.Get("column")})
	require.Equal(t, 1, alert.Times)
	require.Equal(t, bad.UTC(), alert.First.UTC(), "beyond chance at once")
	require.Equal(t, 2*time.Hour+10*time.Minute, alert.Firing, "keep_firing_for: 10m")

	// With a higher limit it would not have fired.
	higher, err := bundle.Override(map[string]float64{"null_ratio": 0.1})
	require.NoError(t, err)
	result, err = history.Run(ctx, cfg, higher)
	require.NoError(t, err)
	require.Empty(t, result.Alerts)

	cfg.HTTPConfigFile = ""
	_, err = history.Run(ctx, cfg, bundle)
	require.ErrorContains(t, err, "list the metrics: client_error: client error: 401")
	cfg.HTTPConfigFile, cfg.From, cfg.To = httpConfig, from.Add(-100*time.Hour), from.Add(-90*time.Hour)
	_, err = history.Run(ctx, cfg, bundle)
	require.ErrorContains(t, err, "has none of the")
}
