package clients

import (
	"fmt"
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/limit"
)

func limiters() (func(string, int) *limit.Limiter, *prometheus.CounterVec) {
	dropped := limit.NewDropped()
	return func(name string, most int) *limit.Limiter { return limit.New(name, most, dropped) }, dropped
}

func TestModelsThatAClientMaySend(t *testing.T) {
	fraud := map[string]Config{"fraud-team": {Models: []string{"fraud*"}, MaxModels: 2, MaxVersions: 3}}
	for name, tc := range map[string]struct {
		allowed       []string
		clients       map[string]Config
		client, model string
		want          bool
	}{
		"without a list everybody names all":              {nil, nil, "", "anything", true},
		"a model on the list":                             {[]string{"search-*"}, nil, "", "search-eu", true},
		"a model that is not on the list":                 {[]string{"search-*"}, nil, "", "made-up", false},
		"a client names its own model":                    {nil, fraud, "fraud-team", "fraud-eu", true},
		"a client does not name another one":              {nil, fraud, "fraud-team", "search", false},
		"a list does not widen what a client may":         {[]string{"search"}, fraud, "fraud-team", "search", false},
		"other clients cannot send the model of a client": {nil, fraud, "search-team", "fraud", false},
		"nor a request without a client":                  {nil, fraud, "", "fraud", false},
		"nor does a list allow it":                        {[]string{"*"}, fraud, "", "fraud", false},
		"others name what is nobody's":                    {nil, fraud, "search-team", "search", true},
		"a pattern has a whole name":                      {[]string{"search"}, nil, "", "search-2", false},
		"other belongs to no client":                      {[]string{"search"}, fraud, "", limit.Other, true},
	} {
		t.Run(name, func(t *testing.T) {
			limiter, dropped := limiters()
			c := New(tc.allowed, tc.clients, 100, 200, limiter)
			require.Equal(t, tc.want, c.May(tc.client, tc.model))
			model, version := c.Name(tc.client, tc.model, "1")
			if tc.want {
				require.Equal(t, [2]string{tc.model, "1"}, [2]string{model, version})
				return
			}
			require.Equal(t, [2]string{limit.Other, ""}, [2]string{model, version})
			require.InDelta(t, 1, testutil.ToFloat64(dropped.WithLabelValues("allowed_models")), 0, "it is counted")
		})
	}
}

func TestModelAndVersionLimitsAreKeptForEachClient(t *testing.T) {
	limiter, _ := limiters()
	c := New(nil, map[string]Config{"a": {Models: []string{"a*"}, MaxModels: 2, MaxVersions: 3}, "b": {Models: []string{"b*"}, MaxModels: 2, MaxVersions: 3}}, 6, 8, limiter)
	used := func(client, prefix string) (models, versions int) {
		names, pairs := map[string]bool{}, map[string]bool{}
		for i := range 50 {
			for j := range 50 {
				model, version := c.Name(client, fmt.Sprint(prefix, i), fmt.Sprint(j))
				if model != limit.Other {
					names[model] = true
				}
				if model != limit.Other && version != limit.Other {
					pairs[model+version] = true
				}
			}
		}
		return len(names), len(pairs)
	}
	for client, prefix := range map[string]string{"a": "a", "": "x", "stranger": "y"} {
		models, versions := used(client, prefix)
		require.LessOrEqual(t, models, 2, client)
		require.LessOrEqual(t, versions, 3, client)
	}
	model, version := c.Name("b", "b1", "1")
	require.Equal(t, [2]string{"b1", "1"}, [2]string{model, version}, "after all others used up theirs")
	t.Run("a model that is forgotten gives its place back", func(t *testing.T) {
		model, _ := c.Name("a", "a-new", "1")
		require.Equal(t, limit.Other, model)
		c.Readmit(maps.All(map[string]string{"b1": "1", limit.Other: ""}))
		model, _ = c.Name("a", "a-new", "1")
		require.Equal(t, "a-new", model)
	})
}

func TestLimitsAreDividedByRequestOrByVersions(t *testing.T) {
	by := map[string]Config{"asks": {MaxVersions: 20, MaxDetails: 700}, "does-not": {MaxVersions: 20}}
	require.Equal(t, map[string]int{"asks": 700, "does-not": 200, "": 1100}, Divide(by, 200, 2000, Details))
	require.Equal(t, map[string]int{"": 2000}, Divide(nil, 200, 2000, Details))
	require.Equal(t, map[string]int{"asks": 200, "does-not": 200, "": 1600}, Divide(by, 200, 2000, nil), "by the versions alone")
	require.Negative(t, Divide(by, 200, 700, Details)[""], "they ask for more than there is")
}

func TestModelBelongsToTheFirstMatchingClient(t *testing.T) {
	limiter, _ := limiters()
	c := New(nil, map[string]Config{"b": {Models: []string{"fraud*"}}, "a": {Models: []string{"fraud-*"}}}, 10, 10, limiter)
	require.Equal(t, []string{"a", "b", ""}, []string{c.Client("fraud-eu"), c.Client("fraud"), c.Client("search")})
}
