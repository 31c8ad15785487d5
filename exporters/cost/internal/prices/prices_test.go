package prices_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/prices"
)

var now = time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)

func rate(currency string, _ time.Time) (float64, bool) {
	r, ok := map[string]float64{"CAD": 1, "USD": 1.4}[currency]
	return r, ok
}

func book(t *testing.T, entries ...prices.Entry) prices.Book {
	t.Helper()
	b, err := prices.NewBook(entries, rate)
	require.NoError(t, err)
	return b
}

func TestMostSpecificValidPriceApplies(t *testing.T) {
	t.Parallel()
	b := book(t,
		prices.Entry{Unit: prices.GPUHour, Resource: "*", Price: 1, Currency: "CAD"},
		prices.Entry{Unit: prices.GPUHour, Resource: "NVIDIA H100*", Price: 3, Currency: "USD"},
		prices.Entry{Unit: prices.GPUHour, Resource: "NVIDIA H100*", Price: 4, Currency: "USD", From: now},
		prices.Entry{Unit: prices.GPUHour, Resource: "NVIDIA H100*", Node: "spot-*", Price: 2, Currency: "CAD"},
		prices.Entry{Unit: prices.GPUHour, Resource: "NVIDIA A100", Price: 9, Currency: "SEK"},
		prices.Entry{Unit: prices.Request, Resource: "org/model*", Price: 0.01, Currency: "CAD"},
	)
	for name, tc := range map[string]struct {
		unit           prices.Unit
		resource, node string
		at             time.Time
		want           float64
		ok             bool
	}{
		"any GPU":                             {prices.GPUHour, "Tesla T4", "n1", now, 1, true},
		"by the name of the GPU, in any case": {prices.GPUHour, "nvidia h100 80GB HBM3", "n1", now, 4 * 1.4, true},
		"before the new price":                {prices.GPUHour, "NVIDIA H100 80GB HBM3", "n1", now.Add(-1), 3 * 1.4, true},
		"by the machine as well":              {prices.GPUHour, "NVIDIA H100 80GB HBM3", "spot-7", now, 2, true},
		"without a rate there is no price":    {prices.GPUHour, "NVIDIA A100", "n1", now, 0, false},
		"a slash is a letter":                 {prices.Request, "org/model/7b", "", now, 0.01, true},
		"another unit":                        {prices.InputToken, "org/model", "", now, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := b.Price(tc.unit, tc.resource, tc.node, tc.at)
			require.Equal(t, tc.ok, ok)
			require.InDelta(t, tc.want, got, 1e-12)
		})
	}
	require.Equal(t, []prices.Listed{
		{Resource: "*", Unit: prices.GPUHour, CAD: 1},
		{Resource: "NVIDIA H100*", Unit: prices.GPUHour, CAD: 4 * 1.4},
		{Resource: "NVIDIA H100*@spot-*", Unit: prices.GPUHour, CAD: 2},
		{Resource: "org/model*", Unit: prices.Request, CAD: 0.01},
	}, b.List(now, nil))
}

const list = `{
 "sample_spec": {"input_cost_per_token": "in USD, of one token"},
 "gpt-x": {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-06, "input_cost_per_token_above_200k_tokens": 5e-06},
 "org/embed[1]": {"input_cost_per_token": 1e-07, "output_cost_per_token": null}
}`

func TestPriceListIsRead(t *testing.T) {
	t.Parallel()
	entries, err := prices.ParseList([]byte(list), "USD", time.Time{})
	require.NoError(t, err)
	require.Len(t, entries, 5)
	b := book(t, append(entries, prices.Entry{Unit: prices.OutputToken, Resource: "gpt-x", Price: 2e-05, Currency: "CAD"})...)
	got, ok := b.Price(prices.InputToken, "gpt-x", "", now)
	require.True(t, ok)
	require.InDelta(t, 3.5e-06, got, 1e-15)
	got, _ = b.Price(prices.OutputToken, "gpt-x", "", now)
	require.InDelta(t, 2e-05, got, 1e-15, "what stands after the list overlays it")
	_, ok = b.Price(prices.InputToken, "org/embed[1]", "", now)
	require.True(t, ok, "a name is not a pattern")
	_, ok = b.Price(prices.OutputToken, "org/embed[1]", "", now)
	require.False(t, ok)
}

func TestInvalidPriceListsAreReported(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`[]`:                                   "expected a JSON object from model to prices",
		`{"m": 3}`:                             "m: expected an object of prices",
		`{"m": {"input_cost_per_token": "3"}}`: `m.input_cost_per_token: is "3", expected a number`,
		`{"m": {"output_cost_per_token": -1}}`: "m.output_cost_per_token: output_token of m: price is -1, expected a number of 0 or more",
	} {
		_, err := prices.ParseList([]byte(text), "USD", time.Time{})
		require.ErrorContains(t, err, want, text)
	}
	for _, e := range []prices.Entry{{Unit: prices.Request}, {Unit: prices.Request, Resource: "["}} {
		_, err := prices.NewBook([]prices.Entry{e}, rate)
		require.Error(t, err)
	}
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte(list))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := prices.ParseList(data, "USD", time.Time{})
		if err != nil {
			return
		}
		if _, err := prices.NewBook(entries, rate); err != nil {
			t.Error(err)
		}
	})
}

func TestPricesAreFoundByAliasAndProvider(t *testing.T) {
	t.Parallel()
	b := book(t,
		prices.Entry{Unit: prices.InputToken, Resource: "gpt-4o", Price: 1, Currency: "CAD"},
		prices.Entry{Unit: prices.InputToken, Resource: "azure/gpt-4o", Price: 2, Currency: "CAD"},
	).WithAliases(map[string]string{"chat-prod": "gpt-4o", "chat-eu": "azure/eu/gpt-4o"})
	for model, want := range map[string]float64{
		"gpt-4o": 1, "azure/gpt-4o": 2, "openai/gpt-4o": 1, "azure/eu/gpt-4o": 1, "chat-prod": 1, "chat-eu": 1, "GPT-4o": 1,
	} {
		got, ok := b.Price(prices.InputToken, model, "", now)
		require.True(t, ok, model)
		require.InDelta(t, want, got, 1e-12, model)
	}
	_, ok := b.Price(prices.InputToken, "chat-test", "", now)
	require.False(t, ok)
}

func TestPriceListShowsOnlyPricesInUse(t *testing.T) {
	t.Parallel()
	entries, err := prices.ParseList([]byte(`{"gpt-4o": {"input_cost_per_token": 1, "output_cost_per_token": 2}, "other": {"input_cost_per_token": 3},
		"speech": {"input_cost_per_token": 0, "input_cost_per_second": 0.1}, "embed": {"input_cost_per_token": 4, "output_cost_per_token": 0}}`), "CAD", time.Time{})
	require.NoError(t, err)
	require.Len(t, entries, 5, "a zero beside a price by the second is no price, one beside a price by the token is")
	b := book(t, append(entries, prices.Entry{Unit: prices.GPUHour, Resource: "H100", Price: 4, Currency: "CAD"})...)
	require.Equal(t, []prices.Listed{{Resource: "H100", Unit: prices.GPUHour, CAD: 4}}, b.List(now, nil))
	require.Equal(t, []prices.Listed{
		{Resource: "H100", Unit: prices.GPUHour, CAD: 4}, {Resource: "gpt-4o", Unit: prices.InputToken, CAD: 1}, {Resource: "gpt-4o", Unit: prices.OutputToken, CAD: 2},
	}, b.List(now, []string{"openai/gpt-4o"}))
}
