package responder_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/alertmanager"
	"github.com/sightglass-ml/sightglass/demo/stack"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
	"github.com/sightglass-ml/sightglass/internal/testtools"
	"github.com/sightglass-ml/sightglass/responder"
)

// Alertmanager silences the drift of broken values, also where it fires without `response`. The alert on the break must reach the
// responder and hold the retraining back.
func TestABreakWithinTheGraceOfADriftHoldsItsRetrainingBack(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("the test took over a minute"))
	defer cancel()
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/slack") {
			t.Error("a retraining was started")
		}
	}))
	t.Cleanup(target.Close)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "token"), "s3cret")
	file := write(t, filepath.Join(dir, "responder.yaml"), `webhook: {token: {file: token}}
incidents: {links: [{dataset: orders, feeds: [limits]}]}
actions: [{name: retrain, response: retrain, dry_run: false, target: {webhook: {url: "`+target.URL+`"}}}]
`)
	server := exportertest.Start(t, responder.Spec(), "--config.file="+file)
	s, err := stack.New(stack.Config{Dir: t.TempDir(), Tools: stack.Tools{Alertmanager: testtools.Path(t, "alertmanager")}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	am, err := s.StartAlertmanager(ctx, stack.AlertmanagerConfig{
		Files: alertmanager.Files, SlackURL: target.URL + "/slack", ResponderURL: server.URL, ResponderToken: "s3cret", SpeedUp: 200,
	})
	require.NoError(t, err)
	recorded := func() string {
		trail, err := responder.OpenAuditTrail(ctx, file)
		require.NoError(t, err)
		defer trail.Close() //nolint:errcheck // It is only read.
		var out bytes.Buffer
		_, err = trail.Export(ctx, &out)
		require.NoError(t, err)
		return out.String()
	}
	eventually := func(what string, reached func() bool) {
		for !reached() {
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				t.Fatalf("%v: %s", context.Cause(ctx), what)
			}
		}
	}
	post := func(texts ...string) {
		alerts := make([]stack.Alert, len(texts))
		for i, text := range texts {
			alerts[i].Labels = map[string]string{"severity": "warning", "namespace": "ml"}
			for _, pair := range strings.Fields(text) {
				name, value, _ := strings.Cut(pair, "=")
				alerts[i].Labels[name] = value
			}
		}
		require.NoError(t, am.Post(ctx, alerts...))
	}
	const input, table = "layer=model model=fraud version=3 field=amount", "layer=data dataset=payments column=amount"
	post("alertname=MLModelDrift response=retrain "+input, "alertname=MLDatasetDrift response=retrain "+table,
		"alertname=MLModelDrift response=retrain layer=model model=limits version=1 field=amount",
		"alertname=MLModelInputBroken namespace=staging "+input, "alertname=MLDatasetBroken response=replay namespace=staging "+table)
	eventually("three retrainings wait, and staging is broken", func() bool {
		return strings.Count(recorded(), `"decision":"send"`) == 3 && strings.Count(recorded(), `"kind":"alert_received"`) == 5
	})
	require.NotContains(t, recorded(), `"decision":"held"`, "staging holds back nothing")

	post("alertname=MLModelInputBroken "+input, "alertname=MLDatasetBroken response=replay "+table,
		"alertname=MLDatasetBroken response=replay layer=data dataset=orders column=amount")
	post("alertname=MLModelDrift "+input, "alertname=MLDatasetDrift "+table)
	eventually("all three are held back", func() bool { return strings.Count(recorded(), `"decision":"held"`) == 3 })
}
