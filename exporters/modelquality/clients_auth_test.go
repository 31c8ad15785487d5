package modelquality

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
)

// Two clients, each with a model of its own, send over HTTP with their passwords.
func TestClientMayCountOnlyItsOwnModels(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	require.NoError(t, err)
	web := filepath.Join(t.TempDir(), "web.yml")
	require.NoError(t, os.WriteFile(web, []byte("basic_auth_users: {fraud-team: '"+string(hash)+"', mallory: '"+string(hash)+"'}\n"), 0o600))
	env := exportertest.Env(t)
	e, err := start(env, parse(t, `
limits: {models: 3, versions: 6}
clients:
  fraud-team: {models: ["fraud*"], max_models: 2, max_versions: 4}
`), web)
	require.NoError(t, err)
	w := &world{Exporter: e.(*Exporter), t: t}
	t.Cleanup(func() { require.NoError(t, w.Stop(t.Context())) })
	_, address := w.receiver.Addresses()
	post := func(user string, body []byte) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/v1/traces", bytes.NewReader(body))
		require.NoError(t, err)
		request.SetBasicAuth(user, "secret")
		request.Header.Set("Content-Type", "application/x-protobuf")
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
	}
	named := func(id byte, model string, events ...event) []byte {
		return traces(t, nil, span{trace: id, id: 1, took: time.Second, attrs: attributes{"ml.model.name": model, "ml.model.version": "3"}, events: events})
	}
	for i := range byte(5) {
		post("mallory", named(10+i, "made-up-"+string('a'+rune(i))))
	}
	post("mallory", named(20, "fraud"))
	post("fraud-team", named(1, "fraud"))
	post("fraud-team", named(2, "search"))
	// Evaluations of an inference of somebody else, which would start a retraining.
	bad := event{evaluationResult, 0, attributes{"gen_ai.evaluation.name": "groundedness", "gen_ai.evaluation.score.value": 0.1}}
	post("mallory", traces(t, nil, span{trace: 1, id: 2, parent: 1, took: time.Second, attrs: attributes{}, events: []event{bad}}))
	post("fraud-team", named(3, "fraud", bad))

	w.requireMetric(`ml_inference_requests_total{model="fraud",outcome="ok",version="3"} 2`)
	w.requireMetric(`ml_inference_requests_total{model="made-up-a",outcome="ok",version="3"} 1`)
	w.requireMetric(`ml_inference_requests_total{model="other",outcome="ok",version=""} 6`)
	w.requireMetric(`ml_model_evaluations_total{evaluation="groundedness",model="fraud",result="below_gate",version="3"} 1`)
	require.NotContains(t, w.metrics("ml_inference_requests_total"), `model="search"`)
	require.NotContains(t, w.metrics("ml_inference_requests_total"), `model="made-up-b"`)
}
