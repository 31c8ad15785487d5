package metering

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/prices"
)

// priceList has prices in the shape and of the size that LiteLLM's list has them.
const priceList = `{
	"gpt-4o": {"input_cost_per_token": 2.5e-06, "cache_read_input_token_cost": 1.25e-06, "output_cost_per_token": 1e-05,
		"input_cost_per_token_batches": 1.25e-06, "output_cost_per_token_batches": 5e-06},
	"claude": {"input_cost_per_token": 3e-06, "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06,
		"cache_read_input_token_cost": 3e-07, "output_cost_per_token": 1.5e-05},
	"gemini": {"input_cost_per_token": 1.25e-06, "input_cost_per_token_above_200k_tokens": 2.5e-06, "cache_read_input_token_cost": 1.25e-07,
		"cache_read_input_token_cost_above_200k_tokens": 2.5e-07, "output_cost_per_token": 1e-05, "output_cost_per_token_above_200k_tokens": 1.5e-05,
		"output_cost_per_reasoning_token": 1.2e-05},
	"flash": {"input_cost_per_token": 1e-06, "input_cost_per_token_above_128k_tokens": 2e-06, "output_cost_per_token": 4e-06},
	"nightly": {"input_cost_per_token": 2e-06, "input_cost_per_token_batches": 1e-06},
	"voice": {"input_cost_per_token": 2.5e-06, "input_cost_per_audio_token": 4e-05, "output_cost_per_token": 1e-05, "output_cost_per_audio_token": 8e-05},
	"painter": {"input_cost_per_token": 5e-06, "input_cost_per_image_token": 1e-05, "output_cost_per_image_token": 4e-05},
	"pictures": {"output_cost_per_image": 0.04},
	"song": {"input_cost_per_token": 0, "output_cost_per_token": 0, "output_cost_per_image": 0.04},
	"speech": {"input_cost_per_token": 0, "output_cost_per_token": 0, "input_cost_per_second": 0.0001},
	"rerank": {"input_cost_per_query": 0.002, "input_cost_per_token": 0, "output_cost_per_token": 0},
	"plain": {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
	"embed": {"input_cost_per_token": 2e-08, "output_cost_per_token": 0}
}`

// listed counts an hour of usage at the prices of the list, in which a dollar is a dollar.
func listed(t *testing.T, u Usage) map[Key]float64 {
	t.Helper()
	entries, err := prices.ParseList([]byte(priceList), "CAD", time.Time{})
	require.NoError(t, err)
	c := &clock{noon}
	o := options(t, c, always(u))
	o.Prices, err = prices.NewBook(entries, o.Rate)
	require.NoError(t, err)
	m := open(t, o)
	require.NoError(t, m.Cycle(t.Context()))
	c.now = noon.Add(time.Hour)
	require.NoError(t, m.Cycle(t.Context()))
	requireReconciled(t, m, 1e-9)
	return sums(m)
}

func TestTokenCostsFollowThePriceList(t *testing.T) {
	t.Parallel()
	// tokens are millions in an hour.
	tokens := func(model string, millions map[string]float64) map[TokenUse]float64 {
		all := map[TokenUse]float64{}
		for direction, n := range millions {
			all[TokenUse{model, direction, ""}] = n * 1e6 / 3600
		}
		return all
	}
	tier := func(tier string, all map[TokenUse]float64) map[TokenUse]float64 {
		in := map[TokenUse]float64{}
		for key, rate := range all {
			key.Tier = tier
			in[key] = rate
		}
		return in
	}
	for name, tc := range map[string]struct {
		usage    Usage
		spend    map[string]float64 // by resource
		unpriced map[string]float64
	}{
		"60 % of the input from the cache are C$4.15, and not C$4.90, which is 18 % more": {
			Usage{Tokens: tokens("gpt-4o", map[string]float64{"input": 1, "cached": 0.6, "output": 0.24})},
			map[string]float64{"input_token": 1, "cached_input_token": 0.75, "output_token": 2.4},
			nil,
		},
		"what is written to the cache costs more than the rest of the input": {
			Usage{Tokens: tokens("claude", map[string]float64{"input": 1, "cached": 0.5, "cache_write": 0.2, "output": 0.1})},
			map[string]float64{"input_token": 0.9, "cached_input_token": 0.15, "cache_write_input_token": 0.75, "output_token": 1.5},
			nil,
		},
		"what is kept for longer than an hour, where the query says so": {
			Usage{Tokens: tier("above_1hr", tokens("claude", map[string]float64{"input": 1, "cache_write": 1}))},
			map[string]float64{"cache_write_input_token": 6},
			nil,
		},
		"more from the cache than there is input is the input, once": {
			Usage{Tokens: tokens("claude", map[string]float64{"input": 1, "cached": 2, "cache_write": 1})},
			map[string]float64{"cached_input_token": 0.3},
			nil,
		},
		"batches, if the query returns them": {
			Usage{Tokens: tier("batch", tokens("gpt-4o", map[string]float64{"input": 1, "cached": 0.4, "output": 1}))},
			map[string]float64{"input_token": 0.75, "cached_input_token": 0.5, "output_token": 5},
			nil, // no batch price of cached ones
		},
		"batches, where the configuration says that a model runs in them": {
			Usage{Tokens: tokens("nightly", map[string]float64{"input": 1})},
			map[string]float64{"input_token": 1},
			nil,
		},
		"prompts of more than 200 000 tokens": {
			Usage{Tokens: tier("above_200k", tokens("gemini", map[string]float64{"input": 1, "cached": 0.5, "output": 1}))},
			map[string]float64{"input_token": 1.25, "cached_input_token": 0.125, "output_token": 15},
			nil,
		},
		"prompts of more than 128 000 tokens": {
			Usage{Tokens: tier("above_128k", tokens("flash", map[string]float64{"input": 1, "output": 1}))},
			map[string]float64{"input_token": 2, "output_token": 4},
			nil, // no such price of the output
		},
		"short and long prompts of one model": {
			Usage{Tokens: map[TokenUse]float64{{"gemini", "input", ""}: 1e6 / 3600., {"gemini", "input", "above_200k"}: 1e6 / 3600.}},
			map[string]float64{"input_token": 1.25 + 2.5},
			nil,
		},
		"reasoning is a part of the output": {
			Usage{Tokens: tokens("gemini", map[string]float64{"output": 1, "reasoning": 0.5})},
			map[string]float64{"output_token": 5, "reasoning_output_token": 6},
			nil,
		},
		"audio": {
			Usage{Tokens: tokens("voice", map[string]float64{"input": 1, "audio_input": 0.5, "output": 1, "audio_output": 0.5})},
			map[string]float64{"input_token": 1.25, "audio_input_token": 20, "output_token": 5, "audio_output_token": 40},
			nil,
		},
		"tokens of images": {
			Usage{Tokens: tokens("painter", map[string]float64{"input": 1, "image_input": 0.5, "output": 1, "image_output": 1})},
			map[string]float64{"input_token": 2.5, "image_input_token": 5, "image_output_token": 40},
			nil,
		},
		"images by the piece": {
			Usage{Requests: map[string]float64{"pictures": 1. / 36}, Images: map[string]float64{"pictures": 1. / 36}},
			map[string]float64{"image": 4},
			nil,
		},
		"a token kind without a price costs as much as the others": {
			Usage{Tokens: tokens("plain", map[string]float64{"input": 1, "cached": 0.6, "output": 1, "reasoning": 0.5})},
			map[string]float64{"input_token": 1, "output_token": 2},
			nil,
		},
		"tokens at 0 beside a price by the image or the second are not free": {
			Usage{Tokens: map[TokenUse]float64{{"song", "input", ""}: 1, {"speech", "output", ""}: 1}},
			map[string]float64{},
			map[string]float64{"song input_token": 3600, "speech output_token": 3600},
		},
		"documents are put in order for a price by the request": {
			Usage{Requests: map[string]float64{"rerank": 1}, Tokens: tokens("rerank", map[string]float64{"input": 1})},
			map[string]float64{"request": 7.2},
			nil,
		},
		"a price of 0 beside one that is not is a price": {
			Usage{Tokens: tokens("embed", map[string]float64{"input": 100, "output": 1})},
			map[string]float64{"input_token": 2},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spend, unpriced, units := map[string]float64{}, map[string]float64{}, 0.0
			for key, sum := range listed(t, tc.usage) {
				switch {
				case key.Counter == Spend:
					spend[key.Resource] += sum
				case key.Counter == Unpriced:
					unpriced[key.Model+" "+key.Resource] += sum
				case key.Counter == Units && key.Resource != string(prices.Request) && key.Resource != string(prices.Image):
					units += sum
				}
			}
			require.InDeltaMapValues(t, tc.spend, spend, 1e-9)
			if tc.unpriced == nil {
				tc.unpriced = map[string]float64{}
			}
			require.InDeltaMapValues(t, tc.unpriced, unpriced, 1e-6)
			total := 0.0
			for key, rate := range tc.usage.Tokens {
				if key.Direction == "input" || key.Direction == "output" {
					total += 3600 * rate
				}
			}
			require.InDelta(t, total, units, 1e-3, "every token is counted once")
		})
	}
}

// The gateway's own spend is in US dollars, at 1.4; LiteLLM's key without a team has the team None.
func TestGatewaySpendIsUsedWithoutTokenCounts(t *testing.T) {
	t.Parallel()
	u := used(t, nil,
		`litellm_spend_metric_total{requested_model="chat-prod",model="gpt-4o",team_alias="Search"} 0+6x10`,
		`litellm_spend_metric_total{requested_model="chat-prod",model="gpt-4o-mini",team_alias="None"} 0+3x10`,
		`litellm_spend_metric_total{requested_model="None",model="whisper-1",team_alias="Search"} 0+12x10`,
		`litellm_images_generated_metric_total{requested_model="pictures",model="dall-e"} 0+6x10`,
	)
	require.InDeltaMapValues(t, map[Owner]float64{{"search", "chat-prod"}: 0.1, {"", "chat-prod"}: 0.05, {"search", "whisper-1"}: 0.2}, u.Gateway, 1e-9)
	require.InDeltaMapValues(t, map[string]float64{"pictures": 0.1}, u.Images, 1e-9)

	priced := map[TokenUse]float64{{"api", "input", ""}: 1000, {"chat-prod", "input", ""}: 5}
	spend := func(prefer bool, currency string, gateway map[Owner]float64) (map[Key]float64, float64) {
		c := &clock{noon}
		o := options(t, c, always(Usage{
			GPUs: []GPU{{Name: "H100", UUID: "a", Busy: 1, Holders: []Owner{{"risk", "own"}}}}, Tokens: priced, Gateway: gateway,
			Requests: map[string]float64{"chat-prod": 1},
		}))
		o.PreferGateway, o.GatewayCurrency = prefer, currency
		o.Rate = func(currency string, _ time.Time) (float64, bool) {
			r, ok := map[string]float64{"CAD": 1, "USD": 1.4}[currency]
			return r, ok
		}
		m := open(t, o)
		require.NoError(t, m.Cycle(t.Context()))
		c.now = noon.Add(time.Hour)
		require.NoError(t, m.Cycle(t.Context()))
		requireReconciled(t, m, 1e-9)
		found, unpriced := map[Key]float64{}, 0.0
		for key, sum := range sums(m) {
			switch key.Counter {
			case Spend:
				found[key] = sum
			case Unpriced:
				unpriced += sum
			}
		}
		return found, unpriced
	}
	key := func(department, resource, model string) Key {
		return Key{Counter: Spend, Department: department, Resource: resource, Model: model}
	}
	gateway := map[Owner]float64{{"search", "chat-prod"}: 0.001, {"search", "api"}: 0.001, {"search", "own"}: 0.001}
	got, unpriced := spend(false, "USD", gateway)
	require.InDeltaMapValues(t, map[Key]float64{
		key("risk", "gpu", "own"): 4, key(Unallocated, "input_token", "api"): 3.6, key("search", "gateway", "chat-prod"): 5.04,
	}, got, 1e-9, "a price and GPUs of one's own come before it")
	require.Zero(t, unpriced, "what the gateway has priced is no token without a price")
	got, _ = spend(true, "USD", gateway)
	require.InDeltaMapValues(t, map[Key]float64{
		key("risk", "gpu", "own"): 4, key("search", "gateway", "api"): 5.04, key("search", "gateway", "chat-prod"): 5.04,
	}, got, 1e-9, "preferred, it stands in for prices")
	_, unpriced = spend(true, "SEK", gateway)
	require.Positive(t, unpriced, "without an exchange rate it is no price")
}
