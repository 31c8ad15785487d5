package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
)

// Random series of every kind, in the store and in Prometheus's TSDB.
func twin(t *testing.T, seed uint64) (*store, *teststorage.TestStorage, time.Time) {
	rng := rand.New(rand.NewPCG(seed, 1))
	st, db := newStore(), teststorage.New(t)
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	app := db.Appender(t.Context())
	for n := range 12 {
		name := []string{"gauge_metric", "counter_total", "native"}[n%3]
		ls := labels.FromStrings(model.MetricNameLabel, name, "series", fmt.Sprint(n), "half", fmt.Sprint(n%2))
		s := st.get(ls)
		v, count := 1.0, uint64(0)
		for at := start; at.Before(start.Add(4 * time.Hour)); {
			step := time.Minute
			var h *histogram.FloatHistogram
			switch {
			case rng.Float64() < 0.02:
				v, h = staleNaN, nil
			case name == "native":
				count += rng.Uint64N(3)
				h = &histogram.FloatHistogram{
					Schema: 1, Count: float64(count + 1), Sum: float64(count), ZeroThreshold: 0.001, ZeroCount: 1,
					PositiveSpans: []histogram.Span{{Offset: 0, Length: 1}}, PositiveBuckets: []float64{float64(count)},
				}
			case name == "counter_total":
				if v != v || rng.Float64() < 0.02 {
					v = 0
				}
				v += float64(rng.IntN(3))
			case v != v || rng.Float64() < 0.3:
				v = float64(rng.IntN(4))
			}
			if name == "native" && h == nil {
				v = staleNaN
			}
			s.append(at.UnixMilli(), v, h, 0, 1)
			var err error
			if h != nil {
				_, err = app.AppendHistogram(0, ls, at.UnixMilli(), nil, h)
			} else {
				_, err = app.Append(0, ls, at.UnixMilli(), v)
			}
			require.NoError(t, err)
			if rng.Float64() < 0.03 {
				step += time.Duration(rng.IntN(900)) * time.Second // Missed scrapes, and a clock that is off.
			}
			at = at.Add(step)
		}
	}
	require.NoError(t, app.Commit())
	return st, db, start
}

func TestStoreAnswersLikeTheTSDB(t *testing.T) {
	eng := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e8, Timeout: time.Minute, Parser: newParser(), EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	})
	ask := func(t *testing.T, q storage.Queryable, expr string, from, to time.Time, step time.Duration) string {
		query, err := eng.NewRangeQuery(t.Context(), q, nil, expr, from, to, step)
		require.NoError(t, err)
		defer query.Close()
		res := query.Exec(t.Context())
		require.NoError(t, res.Err)
		return res.String()
	}
	for seed := range uint64(5) {
		st, db, start := twin(t, seed)
		for _, expr := range []string{
			`gauge_metric`, `counter_total`, `native`, `{half="1"}`, `{__name__=~"g.*|c.*", series!="3"}`, `gauge_metric{half=""}`,
			`rate(counter_total[5m])`, `increase(counter_total[7m])`, `changes(gauge_metric[20m])`, `count_over_time(gauge_metric[10m])`,
			`last_over_time(gauge_metric[30m] offset 1h)`, `gauge_metric offset 17m`, `gauge_metric @ 1772330000`, `gauge_metric offset -3m`,
			`sum_over_time(gauge_metric[1h:2m])`, `max_over_time(rate(counter_total[5m])[30m:])`, `timestamp(gauge_metric)`,
			`histogram_count(rate(native[5m]))`, `histogram_quantile(0.5, native)`, `absent(gauge_metric{series="0"})`,
			`sum by (half) (gauge_metric) / on (half) count by (half) (counter_total)`,
		} {
			for _, step := range []time.Duration{17 * time.Second, time.Minute, 9 * time.Minute} {
				from, to := start.Add(90*time.Minute), start.Add(5*time.Hour)
				require.Equal(t, ask(t, db, expr, from, to, step), ask(t, st, expr, from, to, step), "%s every %s, seed %d", expr, step, seed)
			}
		}
	}
}

// Buckets of a histogram: 1, 4, 7 and +Inf. Half of the histograms have no +Inf.
const buckets = `label_replace(label_replace(counter_total, "le", "$1", "series", "(.*)"), "le", "+Inf", "series", "10")`

// Results in columns equal those of Prometheus at every step.
func TestColumnsCalculateLikePrometheus(t *testing.T) {
	eng := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e8, Timeout: time.Minute, Parser: newParser()})
	calculated := 0
	for seed := range uint64(5) {
		st, _, start := twin(t, seed)
		v := &view{store: st, lookback: 5 * time.Minute.Milliseconds()}
		for at := start; at.Before(start.Add(5 * time.Hour)); at = at.Add(37 * time.Second) {
			v.times = append(v.times, at.UnixMilli())
		}
		for _, text := range []string{
			`gauge_metric`, `gauge_metric{half="0"}`, `gauge_metric * 2 - 1`, `3 / gauge_metric`, `2 < gauge_metric`, `gauge_metric >= bool 2`,
			`gauge_metric > 1`, `abs(gauge_metric - 2)`, `ln(gauge_metric)`, `sqrt(gauge_metric)`, `sgn(gauge_metric - 1)`, `clamp_min(gauge_metric, 1.5)`,
			`clamp_max(gauge_metric, 1.5)`, `exp(gauge_metric)`, `floor(gauge_metric / 2)`, `ceil(gauge_metric / 2)`, `gauge_metric ^ 0.5`, `gauge_metric % 2`,
			`sum(gauge_metric)`, `sum by (half) (gauge_metric / 7)`, `max without (series) (gauge_metric)`, `min by (half) (gauge_metric)`,
			`count by (half) (gauge_metric)`, `group by (half) (gauge_metric)`, `sum by (half) (gauge_metric) / sum by (half) (counter_total)`,
			`gauge_metric / on (half) group_left () sum by (half) (gauge_metric)`, `sum by (half) (gauge_metric) * on (half) group_right () gauge_metric`,
			`gauge_metric > on (half) group_left () min by (half) (gauge_metric)`, `gauge_metric - ignoring (series) group_left () max by (half) (gauge_metric)`,
			`gauge_metric and on (half) (sum by (half) (gauge_metric) > 3)`, `gauge_metric unless on (half) (sum by (half) (gauge_metric) > 3)`,
			`gauge_metric{series="0"} or gauge_metric`, `sum by (half) (gauge_metric) or on (half) counter_total`, `gauge_metric == gauge_metric`,
			`sum(gauge_metric > 5)`, `gauge_metric + on (series) gauge_metric`, `nothing / gauge_metric`, `gauge_metric or nothing`,
			`native`, `avg(gauge_metric)`, `avg by (half) (gauge_metric / 7)`, `label_replace(gauge_metric, "a", "b", "", "")`, `-gauge_metric`, `+gauge_metric`,
			`avg by (half) (gauge_metric * 1e308)`, `avg(1 / gauge_metric)`, `-(gauge_metric + 1)`, `vector(0.3)`, `gauge_metric > on () group_left () vector(2)`,
			`quantile by (half) (0.5, gauge_metric)`, `quantile(0.9, gauge_metric / 7)`, `quantile(0, 0 / (gauge_metric - 1))`, `quantile(1.5, gauge_metric)`,
			`topk by (half) (1, gauge_metric + 0 * counter_total)`, `topk by (series) (1, gauge_metric)`, `bottomk by (series) (1, gauge_metric > 1)`,
			`topk by (half) (1, label_replace(counter_total, "__name__", "x", "", ""))`, `topk by (half) (1, counter_total)`, `bottomk by (half) (1, counter_total)`,
			`topk(1, counter_total{series="1"} + 0.1 or counter_total{series="4"} + 0.2 or counter_total{series="7"} + 0.3)`,
			`bottomk(1, counter_total{series="1"} + 0.1 or counter_total{series="4"} + 0.2 or ln(counter_total{series="7"} - 9) + 0.3)`,
			`topk(2, gauge_metric)`, `gauge_metric / ignoring (series) group_left () topk by (half) (1, sum by (half) (gauge_metric) > 0)`,
			`label_replace(gauge_metric, "half", "x$1", "series", "(.).*")`, `label_replace(gauge_metric, "half", "", "series", "[0-3]")`,
			`label_replace(gauge_metric{series="0"}, "series", "9", "", "") or gauge_metric`, `label_replace(max by (series) (gauge_metric), "half", "$1", "series", "x")`,
			`histogram_quantile(0.5, sum by (le) (` + buckets + `))`, `histogram_quantile(0.99, ` + buckets + `)`, `histogram_quantile(2, ` + buckets + `) >= 0`,
			`histogram_quantile(0.5, gauge_metric)`, `histogram_quantile(0.5, native)`, `histogram_quantile(0.5, label_replace(gauge_metric, "le", "+Inf", "", ""))`,
			`gauge_metric > 9 and on (half) sum by (half) (counter_total)`, `gauge_metric > 9 unless gauge_metric`, `(gauge_metric > 9) * on (half) group_left () topk by (half) (1, gauge_metric)`,
			`gauge_metric > 9 or gauge_metric`, `(gauge_metric > 9) * on (half) group_left () (sum by (half) (counter_total) or on (half) group by (half) (gauge_metric))`,
		} {
			expr, err := newParser().ParseExpr(text)
			require.NoError(t, err)
			cols, err := columns{view: v}.vector(expr)
			if err != nil {
				require.ErrorIs(t, err, errNotColumns)
				continue
			}
			calculated++
			have := outcome{times: v.times}
			have.take(cols)
			query, err := eng.NewRangeQuery(t.Context(), v, promql.NewPrometheusQueryOpts(false, viewLookback, nil), text, v.at(0), v.at(len(v.times)-1), viewStep)
			require.NoError(t, err)
			res := query.Exec(t.Context())
			require.NoError(t, res.Err, text)
			want := map[string]float64{}
			for _, s := range res.Value.(promql.Matrix) {
				for _, p := range s.Floats {
					want[fmt.Sprint(s.Metric, p.T)] = p.F
				}
			}
			for _, s := range have.series {
				for p := range s.all() {
					key := fmt.Sprint(s.metric, v.at(p.k).UnixMilli())
					w, ok := want[key]
					require.True(t, ok && almostEqual(p.v, w), "%s, seed %d: %s is %v, Prometheus has %v (%v)", text, seed, key, p.v, w, ok)
					delete(want, key)
				}
			}
			require.Empty(t, want, "%s, seed %d: Prometheus has more", text, seed)
			query.Close()
		}
	}
	require.Greater(t, calculated, 330, "most expressions here are of the kind that columns calculate")
}

// Functions of ranges and offsets depend on the time itself, so they are compared over the store.
func TestColumnsCalculateRangesLikePrometheus(t *testing.T) {
	const lookback = 5 * time.Minute
	eng := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e8, Timeout: time.Minute, LookbackDelta: lookback, Parser: newParser(), EnableAtModifier: true, EnableNegativeOffset: true,
	})
	for seed := range uint64(5) {
		st, _, start := twin(t, seed)
		for _, step := range []time.Duration{17 * time.Second, time.Minute, 9 * time.Minute} {
			from, to := start.Add(90*time.Minute), start.Add(5*time.Hour)
			v := &view{store: st, lookback: lookback.Milliseconds()}
			for at := from; !at.After(to); at = at.Add(step) {
				v.times = append(v.times, at.UnixMilli())
			}
			for text, calculated := range map[string]bool{
				`rate(counter_total[5m])`: true, `increase(counter_total[7m])`: true, `increase(counter_total[1h] offset 13m)`: true,
				`rate(gauge_metric[5m])`: true, `increase(gauge_metric{half="1"}[3m])`: true, `rate(counter_total[45s])`: true,
				`sum by (half) (rate(counter_total[5m])) / sum by (half) (increase(counter_total[10m]) > 0)`: true,
				`sum_over_time(gauge_metric[1h:2m]) / 2.5`:                                                   true, `sum_over_time(counter_total{half="0"}[10m:37s])`: true,
				`gauge_metric - gauge_metric offset 17m`: true, `gauge_metric offset -3m`: true, `sum_over_time(nothing[1h:2m])`: true,
				`rate(native[5m])`: false, `sum_over_time(native[1h])`: false, `gauge_metric @ 1772330000`: false, `gauge_metric * time()`: false,
				`sum_over_time(gauge_metric[1h])`: true, `avg_over_time(gauge_metric[1h])`: true, `avg_over_time(counter_total[10m] offset 13m)`: true,
				`min_over_time(gauge_metric[30m])`: true, `max_over_time(gauge_metric[30m])`: true, `count_over_time(gauge_metric[30m])`: true,
				`last_over_time(gauge_metric[30m] offset 20m)`: true, `last_over_time({half="1",__name__=~"g.+"}[3m])`: true, `quantile_over_time(0.5, gauge_metric[1h])`: true,
				`quantile_over_time(2, gauge_metric[1h])`: true, `avg_over_time(nothing[1h])`: true,
				`sum_over_time(rate(counter_total[5m])[30m:1m])`: true, `sum_over_time(gauge_metric[1h:2m] offset 5m)`: true, `delta(gauge_metric[5m])`: false,
				`quantile_over_time(0.5, (gauge_metric * 3 > 4)[1h:10m])`: true, `avg_over_time((gauge_metric / 7)[40m:7m])`: true, `last_over_time(gauge_metric[40m:7m])`: true,
				`count_over_time((gauge_metric > 2)[1h:10m])`: true, `max_over_time(sum by (half) (gauge_metric)[30m:1m])`: true, `min_over_time((gauge_metric offset 5m)[30m:1m])`: true,
				`avg_over_time((gauge_metric * 1e308)[1h:1m])`: false, `sum_over_time(gauge_metric[1h:])`: false,
				`min_over_time(gauge_metric[30m]) == 1 and (gauge_metric offset 30m) == 1`: true,
			} {
				expr, err := newParser().ParseExpr(text)
				require.NoError(t, err)
				cols, err := columns{view: v}.vector(expr)
				if !calculated {
					require.ErrorIs(t, err, errNotColumns, text)
					continue
				}
				require.NoError(t, err, text)
				query, err := eng.NewRangeQuery(t.Context(), st, nil, text, from, to, step)
				require.NoError(t, err)
				res := query.Exec(t.Context())
				require.NoError(t, res.Err, text)
				want := map[string]float64{}
				for _, s := range res.Value.(promql.Matrix) {
					for _, p := range s.Floats {
						want[fmt.Sprint(s.Metric, p.T)] = p.F
					}
				}
				have := map[string]float64{}
				for _, col := range cols {
					for k, x := range col.v {
						if !isAbsent(x) {
							have[fmt.Sprint(col.metric, v.times[k])] = x
						}
					}
				}
				require.Len(t, have, len(want), "%s every %s, seed %d", text, step, seed)
				for key, x := range want {
					require.Equal(t, math.Float64bits(x), math.Float64bits(have[key]), "%s every %s, seed %d: %s is %v, Prometheus has %v", text, step, seed, key, have[key], x)
				}
				query.Close()
			}
		}
	}
}
