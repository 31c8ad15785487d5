package modelquality

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// mlflow is a real server.
type mlflow struct {
	t   *testing.T
	url string
}

func (m mlflow) post(path string, body, into any) {
	m.t.Helper()
	data, err := json.Marshal(body)
	require.NoError(m.t, err)
	request, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, m.url+"/api/"+path, bytes.NewReader(data))
	require.NoError(m.t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(m.t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(m.t, err)
	require.Equal(m.t, http.StatusOK, response.StatusCode, "%s: %s", path, answer)
	if into != nil {
		require.NoError(m.t, json.Unmarshal(answer, into))
	}
}

// trace logs one, as MLflow calls that of OpenTelemetry.
func (m mlflow) trace(experiment, id string) string {
	m.t.Helper()
	m.post("3.0/mlflow/traces", object{"trace": object{"trace_info": object{
		"trace_id": id, "trace_location": object{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": object{"experiment_id": experiment}},
		"request_time": time.Now().UTC().Format(time.RFC3339Nano), "state": "OK",
	}}}, nil)
	return id
}

// assess logs a judgement of a trace.
func (m mlflow) assess(trace, name string, value any) {
	m.t.Helper()
	m.post("3.0/mlflow/traces/"+trace+"/assessments", object{"assessment": object{
		"assessment_name": name, "trace_id": trace, "source": object{"source_type": "HUMAN", "source_id": "ada"}, "rationale": "I looked.", "feedback": object{"value": value},
	}}, nil)
}

func TestAssessmentsOfARealMLflow(t *testing.T) {
	m := mlflow{t, testtools.MLflow(t)}
	var experiment struct {
		ID string `json:"experiment_id"`
	}
	m.post("2.0/mlflow/experiments/create", object{"name": "chat"}, &experiment)
	w := newWorld(t, fmt.Sprintf(`
evaluations: {safety: {gate: 0.5}}
mlflow: {url: %q, requests_per_second: 1000, assessments: {interval: 1h, experiments: [{name: chat, model: chatbot}], file: %q}}
`, m.url, t.TempDir()+"/cursor.json"))

	// A trace whose span and judgement also arrive over OTLP. The judgement counts once, whichever arrives first.
	spans := func(n byte, score float64) {
		w.spans(nil, span{trace: n, id: n, took: time.Millisecond, attrs: chat("gpt-4o", nil), events: []event{{evaluationResult, time.Microsecond, attributes{"gen_ai.evaluation.name": "safety", "gen_ai.evaluation.score.value": score}}}})
	}
	spans(1, 0.75)
	known := func(n byte) string { return fmt.Sprintf("tr-aa%030x", n) }
	for n := byte(1); n <= 2; n++ {
		m.assess(m.trace(experiment.ID, known(n)), "safety", 0.75)
	}
	// More than a page of others, which are the configured model's.
	for n := range 120 {
		m.assess(m.trace(experiment.ID, fmt.Sprintf("tr-%032x", 1000+n)), "Safety", float64(n%4)/4)
	}
	m.assess(m.trace(experiment.ID, fmt.Sprintf("tr-%032x", 2000)), "safety", "no")
	require.NoError(t, w.connections.registry.Load().assessments.Cycle(t.Context()))
	spans(2, 0.75)
	require.NoError(t, w.connections.registry.Load().assessments.Cycle(t.Context()))
	const line = `ml_model_evaluations_total{evaluation="safety",model=%q,result=%q,version=""} %d`
	w.requireMetric(fmt.Sprintf(line, "chatbot", "pass", 60+1))
	w.requireMetric(fmt.Sprintf(line, "chatbot", "below_gate", 60+1))
	w.requireMetric(fmt.Sprintf(line, "gpt-4o", "pass", 1))
	w.requireMetric(`sightglass_mlflow_assessments_total{result="taken"} 123`)
	require.NotContains(t, w.metrics(""), "I looked")
	require.NotContains(t, w.metrics(""), `model="unknown"`)
}
