package metering

import (
	"context"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/require"
)

// engine is a Querier that evaluates queries as Prometheus does, over series in the notation of its tests.
type engine struct {
	t      *testing.T
	series string
}

func (e engine) Query(ctx context.Context, query string, ts time.Time, _ ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	e.t.Helper()
	storage := promqltest.LoadedStorage(e.t, "load 1m\n"+e.series)
	pe := promqltest.NewTestEngine(e.t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	q, err := pe.NewInstantQuery(ctx, storage, nil, query, ts)
	require.NoError(e.t, err, query)
	defer q.Close()
	result := q.Exec(ctx)
	require.NoError(e.t, result.Err, query)
	vector, err := result.Vector()
	require.NoError(e.t, err)
	return toModel(vector), nil, nil, nil
}

func toModel(vector promql.Vector) model.Vector {
	var out model.Vector
	for _, s := range vector {
		metric := model.Metric{}
		for name, value := range s.Metric.Map() {
			metric[model.LabelName(name)] = model.LabelValue(value)
		}
		out = append(out, &model.Sample{Metric: metric, Value: model.SampleValue(s.F)})
	}
	return out
}

// used returns the results of the built-in queries over ten minutes of series.
func used(t *testing.T, holders []Holder, series ...string) Usage {
	t.Helper()
	p := Prometheus{API: engine{t, strings.Join(append(series, "up 1x10"), "\n")}, Holders: holders, Timeout: time.Minute}
	u, err := p.Usage(t.Context(), time.Unix(600, 0), 5*time.Minute)
	require.NoError(t, err)
	require.False(t, u.Blind)
	return u
}

// The rules record one source of a model; the tests of the adapters hold that.
func TestGatewayInferencesTakeNoGPUCost(t *testing.T) {
	u := used(t, nil,
		`model:ml_inference_requests:rate5m{model="llama",source="vllm"} 2x10`,
		`model:ml_inference_requests:rate5m{model="gpt-4o",source="litellm"} 3x10`,
		`model:ml_inference_failures:ratio_rate5m{model="gpt-4o",source="litellm",outcome="error"} 0.5x10`,
		`model:ml_inference_tokens:rate5m{model="llama",source="vllm",direction="input"} 100x10`,
		`model:ml_inference_tokens:rate5m{model="gpt-4o",source="litellm",direction="input"} 7x10`,
		`model:ml_inference_duration_seconds:mean_5m{model="llama",source="vllm"} 0.25x10`,
		`model:ml_inference_duration_seconds:mean_5m{model="gpt-4o",source="litellm"} 0.25x10`,
	)
	require.Equal(t, map[string]float64{"llama": 2, "gpt-4o": 3}, u.Requests)
	require.Equal(t, map[string]float64{"llama": 2, "gpt-4o": 1.5}, u.Successes)
	require.Equal(t, map[TokenUse]float64{{"llama", "input", ""}: 100, {"gpt-4o", "input", ""}: 7}, u.Tokens)
	require.Equal(t, map[ClusterModel]float64{{"", "llama"}: 0.5}, u.Working, "what a gateway passes on is no work of the GPUs here")
}

func TestGPUKeepsItsIdentityAcrossScrapeAddresses(t *testing.T) {
	u := used(t, []Holder{{Pod: "a-*", Owner: Owner{Department: "a"}}, {Pod: "b-*", Owner: Owner{Department: "b"}}, {Node: "gpu-7", Owner: Owner{Department: "n"}}},
		// The exporter's pod got another address.
		`gpu:gpu_utilization:ratio{uuid="GPU-1",instance="10.0.0.1:10910"} 0.2 0.2 0.2 0.2 0.2 0.2 0.2 0.2 stale`,
		`gpu:gpu_utilization:ratio{uuid="GPU-1",instance="10.0.0.9:10910"} _ _ _ _ _ _ _ _ 0.4 0.4 0.4`,
		`gpu:gpu_utilization:ratio{uuid="GPU-1",instance="10.0.0.1:10910",cluster="other"} 1x10`,
		`gpu:gpu_utilization:ratio{uuid="GPU-2",instance="10.0.0.2:10910",node="gpu-7"} 1x10`,
		`gpu_info{uuid="GPU-1",instance="10.0.0.9:10910",name="H100"} 1x10`,
		`gpu_allocation_info{uuid="GPU-1",instance="10.0.0.1:10910",pod="a-1",container="x"} 1x10`,
		`gpu_allocation_info{uuid="GPU-1",instance="10.0.0.9:10910",pod="a-1",container="x"} 1x10`,
		`gpu_allocation_info{uuid="GPU-1",instance="10.0.0.9:10910",pod="a-1",container="sidecar"} 1x10`,
		`gpu_allocation_info{uuid="GPU-1",instance="10.0.0.9:10910",pod="a-2"} 1x10`,
		`gpu_allocation_info{uuid="GPU-1",instance="10.0.0.9:10910",pod="a-3"} 1x10`,
		`gpu_allocation_info{uuid="GPU-1",instance="10.0.0.9:10910",pod="b-1"} 1x10`,
		`gpu_allocation_info{uuid="GPU-2",instance="10.0.0.2:10910",node="gpu-7",pod="c"} 1x10`,
	)
	require.Len(t, u.GPUs, 3)
	byCard := map[string]GPU{}
	for _, g := range u.GPUs {
		byCard[g.Cluster+g.UUID] = g
	}
	first := byCard["GPU-1"]
	require.InDelta(t, 0.3, first.Busy, 1e-9)
	require.Equal(t, "H100", first.Name)
	require.ElementsMatch(t, []Owner{{"a", ""}, {"a", ""}, {"a", ""}, {"b", ""}}, first.Holders, "three pods of a, and one of b")
	require.Equal(t, "gpu-7", byCard["GPU-2"].Node)
	require.Equal(t, []Owner{{"n", ""}}, byCard["GPU-2"].Holders)
	require.Empty(t, byCard["otherGPU-1"].Holders)
}
