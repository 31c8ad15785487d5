package metering

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/require"
)

// The first half of the step a gateway saw the model, the second half the server itself did, at the same 2 requests a second.
func TestModelThatChangesItsSourceIsCountedOnce(t *testing.T) {
	storage := promqltest.LoadedStorage(t, `load 30s
		model:ml_inference_requests:rate5m{model="m",source="litellm"} 2x4 stale
		model:ml_inference_requests:rate5m{model="m",source="vllm"} _x5 2x5
		model:ml_inference_failures:ratio_rate5m{model="m",source="litellm",outcome="error"} 0.25x4 stale
		model:ml_inference_failures:ratio_rate5m{model="m",source="vllm",outcome="error"} _x5 0.25x5
		model:ml_inference_forward_pass_seconds:mean_5m{model="m",source="litellm"} 0.5x4 stale
		model:ml_inference_forward_pass_seconds:mean_5m{model="m",source="vllm"} _x5 0.5x5
		model:ml_inference_tokens:rate5m{model="m",source="litellm",direction="input"} 100x4 stale
		model:ml_inference_tokens:rate5m{model="m",source="vllm",direction="input"} _x5 100x5
	`)
	engine := promqltest.NewTestEngineWithOpts(t, promql.EngineOpts{
		MaxSamples: 10_000, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{}),
	})
	for query, want := range map[string]float64{
		defaults.Requests: 2, defaults.Successes: 1.5, defaults.Working: 1, defaults.Tokens: 100,
	} {
		q, err := engine.NewInstantQuery(t.Context(), storage, nil, inStep(query, 5*time.Minute), time.Unix(300, 0))
		require.NoError(t, err, query)
		vector, err := q.Exec(t.Context()).Vector()
		require.NoError(t, err, query)
		require.Len(t, vector, 1, query)
		require.InDelta(t, want, vector[0].F, 1e-9, query)
	}
}
