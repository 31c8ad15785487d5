package metering

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/prices"
)

// priced counts an hour of usage at the prices of gpt-4o and deepseek-chat, and C$4 an hour of a GPU.
func priced(t *testing.T, aliases map[string]string, u Usage, more ...prices.Entry) map[Key]float64 {
	t.Helper()
	entries, err := prices.ParseList([]byte(`{"gpt-4o": {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05},
		"deepseek-chat": {"input_cost_per_token": 2.7e-07, "output_cost_per_token": 1.1e-06}}`), "CAD", time.Time{})
	require.NoError(t, err)
	c := &clock{noon}
	o := options(t, c, always(u))
	book, err := prices.NewBook(append(append(entries, prices.Entry{Unit: prices.GPUHour, Resource: "H100", Price: 4, Currency: "CAD"}), more...), o.Rate)
	require.NoError(t, err)
	o.Prices = book.WithAliases(aliases)
	m := open(t, o)
	require.NoError(t, m.Cycle(t.Context()))
	c.now = noon.Add(time.Hour)
	require.NoError(t, m.Cycle(t.Context()))
	requireReconciled(t, m, 1e-9)
	return sums(m)
}

// spentBy returns the marginal cost by model and resource.
func spentBy(all map[Key]float64) map[string]float64 {
	found := map[string]float64{}
	for key, sum := range all {
		if key.Counter == Spend {
			found[key.Model+" "+key.Resource] += sum
		}
	}
	return found
}

func unpriced(all map[Key]float64) map[string]float64 {
	found := map[string]float64{}
	for key, sum := range all {
		if key.Counter == Unpriced {
			found[key.Model+" "+key.Resource] += sum
		}
	}
	return found
}

// LiteLLM passes chat-prod on to gpt-4o, and is at work on it for nine tenths of the time; llama's server is for eight tenths, on a
// GPU for C$4. As a model of that GPU, chat-prod took 9/17 of it: C$2.118.
func TestGatewayAliasTakesNoGPUCost(t *testing.T) {
	usage := used(t, nil,
		`gpu:gpu_utilization:ratio{uuid="GPU-1",instance="n:1"} 1x10`,
		`gpu_info{uuid="GPU-1",instance="n:1",name="H100"} 1x10`,
		`gpu_allocation_info{uuid="GPU-1",instance="n:1",pod="llama-0"} 1x10`,
		`model:ml_inference_requests:rate5m{model="llama",source="vllm"} 0.8x10`,
		`model:ml_inference_duration_seconds:mean_5m{model="llama",source="vllm"} 1x10`,
		`model:ml_inference_requests:rate5m{model="chat-prod",source="litellm"} 0.9x10`,
		`model:ml_inference_duration_seconds:mean_5m{model="chat-prod",source="litellm"} 1x10`,
		`model:ml_inference_tokens:rate5m{model="chat-prod",source="litellm",direction="input"} 900x10`,
		`model:ml_inference_tokens:rate5m{model="chat-prod",source="litellm",direction="output"} 90x10`,
	)
	for name, tc := range map[string]struct {
		aliases  map[string]string
		chat     map[string]float64
		unpriced map[string]float64
	}{
		"without a price its tokens are counted": {
			nil,
			map[string]float64{},
			map[string]float64{"chat-prod input_token": 900 * 3600, "chat-prod output_token": 90 * 3600},
		},
		"an alias gives it the price of its model": {
			map[string]string{"chat-prod": "gpt-4o"},
			map[string]float64{"chat-prod input_token": 3.24 * 2.5, "chat-prod output_token": 0.324 * 10},
			map[string]float64{},
		},
		"an alias with the name of a provider, too": {
			map[string]string{"chat-prod": "azure/eu/gpt-4o"},
			map[string]float64{"chat-prod input_token": 3.24 * 2.5, "chat-prod output_token": 0.324 * 10},
			map[string]float64{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			all := priced(t, tc.aliases, usage)
			want := map[string]float64{"llama gpu": 3.2, " gpu": 0.8}
			for key, cost := range tc.chat {
				want[key] = cost
			}
			require.InDeltaMapValues(t, want, spentBy(all), 1e-9)
			require.InDeltaMapValues(t, tc.unpriced, unpriced(all), 1e-6)
		})
	}
}

// deepseek-chat runs on a GPU for C$4 an hour, and a list has a price for its name: of a million tokens in and as many out, C$1.37.
func TestSelfHostedModelOnAPriceListIsCountedOnce(t *testing.T) {
	tokens := map[TokenUse]float64{{"deepseek-chat", "input", ""}: 1e6 / 3600., {"deepseek-chat", "output", ""}: 1e6 / 3600.}
	gpu := func(cluster string, holder Owner) GPU {
		return GPU{Cluster: cluster, Name: "H100", UUID: "a", Busy: 1, Holders: []Owner{holder}}
	}
	search, engine := Owner{Department: "search"}, map[ClusterModel]bool{{"", "deepseek-chat"}: true}
	bought := map[string]float64{"deepseek-chat input_token": 0.27, "deepseek-chat output_token": 1.1, " gpu": 4}
	for name, tc := range map[string]struct {
		usage      Usage
		configured bool
		want       map[string]float64
	}{
		"a rule allocates a GPU to it, which is its cost": {
			Usage{GPUs: []GPU{gpu("", Owner{"search", "deepseek-chat"})}}, true, map[string]float64{"deepseek-chat gpu": 4},
		},
		"an engine computes it, and the GPU is what it costs": {
			Usage{GPUs: []GPU{gpu("", search)}, Engines: engine}, false, map[string]float64{"deepseek-chat gpu": 4},
		},
		"the gateway's counts of it are ignored too": {
			Usage{GPUs: []GPU{gpu("", search)}, Engines: engine, Gateway: map[Owner]float64{{"", "deepseek-chat"}: 1}}, false, map[string]float64{"deepseek-chat gpu": 4},
		},
		"a price of the configuration is what was meant": {
			Usage{GPUs: []GPU{gpu("", search)}, Engines: engine}, true, map[string]float64{"deepseek-chat input_token": 1, "deepseek-chat output_token": 1.1, " gpu": 4},
		},
		"where only a gateway sees it, it is bought": {
			Usage{GPUs: []GPU{gpu("", search)}}, false, bought,
		},
		"in a cluster without visible GPUs, the price list applies": {
			Usage{GPUs: []GPU{gpu("other", search)}, Engines: engine}, false, bought,
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.usage.Tokens = tokens
			tc.usage.Working = map[ClusterModel]float64{{"", "deepseek-chat"}: 1}
			var more []prices.Entry
			if tc.configured {
				more = []prices.Entry{{Unit: prices.InputToken, Resource: "deepseek-chat", Price: 1e-6, Currency: "CAD", From: noon.Add(-time.Hour)}}
			}
			all := priced(t, nil, tc.usage, more...)
			require.InDeltaMapValues(t, tc.want, spentBy(all), 1e-9)
			require.Empty(t, unpriced(all))
		})
	}
	u := used(t, nil, `model:ml_inference_requests:rate5m{model="deepseek-chat",source="vllm"} 1x10`, `model:ml_inference_requests:rate5m{model="gpt-4o",source="litellm"} 1x10`,
		`model:ml_inference_requests:rate5m{model="fraud",source="triton"} 1x10`)
	require.Equal(t, engine, u.Engines)
}

// Before, a list of 4 878 models had 9 744 series, even if none of its prices was used.
func TestOnlyPricesInUseAreShown(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for n := range 4878 {
		fmt.Fprintf(&text, `, "model-%d": {"input_cost_per_token": 1e-06`, n)
		if n >= 12 {
			text.WriteString(`, "output_cost_per_token": 2e-06`)
		}
		text.WriteString("}")
	}
	entries, err := prices.ParseList([]byte("{"+text.String()[2:]+"}"), "CAD", time.Time{})
	require.NoError(t, err)
	require.Len(t, entries, 9744)
	book, err := prices.NewBook(entries, func(string, time.Time) (float64, bool) { return 1, true })
	require.NoError(t, err)
	require.Empty(t, book.List(noon, nil))
	require.Len(t, book.List(noon, []string{"model-7", "openai/model-100", "llama"}), 3)
}
