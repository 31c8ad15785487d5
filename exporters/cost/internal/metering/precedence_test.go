package metering

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/rules/ruleset"
)

// seenByAll are the same 2 requests a second of one model, of which a quarter fails, with 100 tokens each, as they are seen by a
// gateway from the start, by the engine behind it from minute 12 and by spans from minute 24 on.
const seenByAll = `load 30s
	up{job="any"} 1x72
	litellm_proxy_total_requests_metric_total{requested_model="m",status_code="200"} 0+45x72
	litellm_proxy_total_requests_metric_total{requested_model="m",status_code="500"} 0+15x72
	litellm_request_total_latency_metric_sum{requested_model="m"} 0+30x72
	litellm_request_total_latency_metric_count{requested_model="m"} 0+60x72
	litellm_input_tokens_metric_total{requested_model="m"} 0+6000x72
	vllm:request_success_total{model_name="m",finished_reason="stop",engine="0"} _x24 0+45x48
	vllm:request_success_total{model_name="m",finished_reason="error",engine="0"} _x24 0+15x48
	vllm:e2e_request_latency_seconds_sum{model_name="m",engine="0"} _x24 0+30x48
	vllm:e2e_request_latency_seconds_count{model_name="m",engine="0"} _x24 0+60x48
	vllm:prompt_tokens_total{model_name="m",engine="0"} _x24 0+6000x48
	ml_inference_requests_total{model="m",version="1",outcome="ok"} _x48 0+45x24
	ml_inference_requests_total{model="m",version="1",outcome="error"} _x48 0+15x24
	ml_inference_duration_seconds_sum{model="m",version="1"} _x48 0+30x24
	ml_inference_duration_seconds_count{model="m",version="1"} _x48 0+60x24
	ml_inference_tokens_total{model="m",version="1",direction="input"} _x48 0+6000x24
`

// record evaluates the rules of all adapters every 30 seconds, as Prometheus does, and stores what they record, and a marker
// where a series ends. Most rules are for servers without series here: a rule that reads no stored series is evaluated once.
func record(t *testing.T, engine *promql.Engine, storage *teststorage.TestStorage, until time.Time) {
	t.Helper()
	bundle, err := ruleset.Load()
	require.NoError(t, err)
	type key struct {
		group string
		rule  int
	}
	before := map[key][]labels.Labels{}
	querier, err := storage.Querier(math.MinInt64, math.MaxInt64)
	require.NoError(t, err)
	names, _, err := querier.LabelValues(t.Context(), model.MetricNameLabel, nil)
	require.NoError(t, err)
	require.NoError(t, querier.Close())
	stored := map[string]bool{}
	for _, name := range names {
		stored[name] = true
	}
	reads := map[string][]*labels.Matcher{}
	isStored := func(of *labels.Matcher) bool {
		for name := range stored {
			if of.Matches(name) {
				return true
			}
		}
		return false
	}
	for at := time.Unix(0, 0); !at.After(until); at = at.Add(30 * time.Second) {
		for _, group := range bundle.Groups() {
			if !strings.HasPrefix(group.Name, "sightglass.adapters.") {
				continue
			}
			for i, rule := range group.Rules {
				if reads[rule.Expr] == nil {
					reads[rule.Expr] = selected(t, rule.Expr)
				}
				if at.Unix() > 0 && !slices.ContainsFunc(reads[rule.Expr], isStored) {
					continue
				}
				q, err := engine.NewInstantQuery(t.Context(), storage, nil, rule.Expr, at)
				require.NoError(t, err, rule.Expr)
				vector, err := q.Exec(t.Context()).Vector()
				require.NoError(t, err, rule.Expr)
				appender := storage.Appender(t.Context())
				store := func(ls labels.Labels, v float64) {
					_, err := appender.Append(0, ls, at.UnixMilli(), v)
					require.NoError(t, err)
				}
				var now []labels.Labels
				for _, s := range vector {
					b := labels.NewBuilder(s.Metric).Set(model.MetricNameLabel, rule.Record)
					for name, v := range rule.Labels {
						b.Set(name, v)
					}
					now, stored[rule.Record] = append(now, b.Labels()), true
					store(b.Labels(), s.F)
				}
				for _, ls := range before[key{group.Name, i}] {
					if !slices.ContainsFunc(now, func(l labels.Labels) bool { return labels.Equal(l, ls) }) {
						store(ls, math.Float64frombits(value.StaleNaN))
					}
				}
				before[key{group.Name, i}] = now
				require.NoError(t, appender.Commit())
				q.Close()
			}
		}
	}
}

// selected returns the matchers of the names of the series that an expression reads.
func selected(t *testing.T, query string) (names []*labels.Matcher) {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	require.NoError(t, err, query)
	for _, matchers := range parser.ExtractSelectors(expr) {
		i := slices.IndexFunc(matchers, func(m *labels.Matcher) bool { return m.Name == model.MetricNameLabel })
		require.GreaterOrEqual(t, i, 0, "%s: expected the names of the series", query)
		names = append(names, matchers[i])
	}
	return names
}

func TestLong_ModelWithThreeSourcesIsCountedOnce(t *testing.T) {
	storage := promqltest.LoadedStorage(t, seenByAll)
	engine := promqltest.NewTestEngineWithOpts(t, promql.EngineOpts{
		MaxSamples: 1_000_000, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{}),
	})
	record(t, engine, storage, time.Unix(36*60, 0))
	ask := func(query string, minute int64) promql.Vector {
		q, err := engine.NewInstantQuery(t.Context(), storage, nil, inStep(query, 5*time.Minute), time.Unix(60*minute, 0))
		require.NoError(t, err, query)
		vector, err := q.Exec(t.Context()).Vector()
		require.NoError(t, err, query)
		return vector
	}
	for name, at := range map[string]struct {
		minute int64
		source string
		works  bool
	}{
		"the gateway alone, whose model works elsewhere": {minute: 11, source: "litellm"},
		"the engine before the gateway":                  {minute: 23, source: "vllm", works: true},
		"spans before the engine and the gateway":        {minute: 35, source: "sightglass", works: true},
	} {
		t.Run(name, func(t *testing.T) {
			sources := ask(`group by (source) (model:ml_inference_requests:rate5m{model="m"})`, at.minute)
			require.Len(t, sources, 1)
			require.Equal(t, at.source, sources[0].Metric.Get("source"))
			for query, want := range map[string]float64{
				defaults.Requests: 2, defaults.Successes: 1.5, defaults.Tokens: 200, defaults.Working: 1,
			} {
				got := ask(query, at.minute)
				if query == defaults.Working && !at.works {
					require.Empty(t, got)
					continue
				}
				require.Len(t, got, 1, query)
				require.InDelta(t, want, got[0].F, 1e-9, query)
			}
		})
	}
	// Where one source takes over from another, a step has no more than one evaluation in ten with both of them. A counter that begins
	// is slow to have a rate, so there is less than all of it.
	for _, minute := range []int64{16, 28} {
		for query, want := range map[string]float64{defaults.Requests: 2, defaults.Tokens: 200} {
			got := ask(query, minute)
			require.Len(t, got, 1, query)
			require.LessOrEqual(t, got[0].F, 1.1*want, query)
			require.Positive(t, got[0].F, query)
		}
	}
}
