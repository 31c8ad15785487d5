package modelquality

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/receiver"
)

// Strings of a span are parts of its request until somebody copies them, and the next request gets the memory.
func TestStateHoldsNoMemoryOfARequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `baseline_store: {type: FILESYSTEM, config: {directory: `+t.TempDir()+`}}`)
	for i := range 5 {
		body := traces(t, nil, span{
			trace: byte(i + 1), id: byte(i + 1), start: time.Duration(i) * time.Second, took: time.Second, failed: true,
			attrs: attributes{
				"ml.model.name": "fraud", "ml.model.version": "3", "mlflow.run_id": "run-of-the-model", "queue_wait_ms": 20.0, "forward_pass_ms": 50.0,
				"error.type": "Broken", "ml.prediction": "yes", "ml.prediction.confidence": 0.4, "ml.feature.country": "CA",
				"ml.feature_time.country": at.Format(time.RFC3339), "gen_ai.usage.input_tokens": 5,
			},
			events: []event{{name: "gen_ai.evaluation.result", attrs: attributes{"gen_ai.evaluation.name": "groundedness", "gen_ai.evaluation.score.value": 0.5}}},
		}, span{trace: byte(i + 1), id: 100, parent: byte(i + 1), name: "queue_wait", took: time.Millisecond, attrs: attributes{"mlflow.run_id": "run-of-the-model"}})
		_, err := w.pipeline.Export(context.Background(), receiver.Traces, body)
		require.NoError(t, err)
		copy(body, bytes.Repeat([]byte{0xff}, len(body)))
	}
	registry := prometheus.NewRegistry()
	require.NoError(t, registry.Register(w.Exporter))
	families, err := registry.Gather()
	require.NoError(t, err)
	exemplars := 0
	check := func(e *dto.Exemplar) {
		if e == nil {
			return
		}
		exemplars++
		for _, l := range e.GetLabel() {
			if l.GetName() == "mlflow_run_id" {
				require.Equal(t, "run-of-the-model", l.GetValue())
			}
		}
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				require.NotContains(t, l.GetValue(), "\xff", f.GetName())
				require.NotContains(t, l.GetValue(), "\uFFFD", f.GetName())
			}
			for _, b := range m.GetHistogram().GetBucket() {
				check(b.GetExemplar())
			}
		}
	}
	require.NotZero(t, exemplars)
}
