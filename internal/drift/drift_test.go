package drift_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/drift"
	"github.com/sightglass-ml/sightglass/rules"
	"github.com/sightglass-ml/sightglass/rules/ruleset"
)

func TestCompare(t *testing.T) {
	for name, tc := range map[string]struct {
		observed, baseline map[string]int64
		psi, noise         float64
	}{
		"equal shares have PSI 0 for all sizes": {
			map[string]int64{"a": 10, "b": 30}, map[string]int64{"a": 100, "b": 300}, 0, 1 * (1.0/40 + 1.0/400),
		},
		// (0.8-0.5) ln(0.8/0.5) + (0.2-0.5) ln(0.2/0.5) = 0.4158883
		"a shift between two bins": {
			map[string]int64{"a": 80, "b": 20}, map[string]int64{"a": 50, "b": 50}, 0.4158883, 2.0 / 100,
		},
		// (0.1-0.0001) ln(0.1/0.0001) + (0.9-1) ln(0.9/1)
		"a bin that the baseline never had counts from the floor": {
			map[string]int64{"a": 90, "unseen": 10}, map[string]int64{"a": 100, "unseen": 0}, 0.7006208, 2.0 / 100,
		},
		"a bin that is empty in both does not count": {
			map[string]int64{"a": 50, "b": 50, "nan": 0}, map[string]int64{"a": 50, "b": 50, "nan": 0}, 0, 2.0 / 100,
		},
	} {
		t.Run(name, func(t *testing.T) {
			x, ok := drift.Compare(tc.observed, tc.baseline)
			require.True(t, ok)
			require.InDelta(t, tc.psi, x.PSI, 1e-7)
			require.InDelta(t, tc.noise, x.Noise, 1e-12)
		})
	}
	_, ok := drift.Compare(map[string]int64{"a": 0}, map[string]int64{"a": 1})
	require.False(t, ok, "nothing observed")
}

// The critical value against the chi-squared table (NIST/SEMATECH e-Handbook,
// section 1.3.6.7.4) at 5 %: 9 degrees of freedom 16.919, 19 degrees 30.144.
func TestCritical(t *testing.T) {
	for bins, want := range map[int]float64{10: 16.919, 20: 30.144} {
		counts := make(map[string]int64)
		for i := range bins {
			counts[fmt.Sprint(i)] = 100
		}
		x, _ := drift.Compare(counts, counts)
		unit := 2 / float64(100*bins)
		require.InEpsilon(t, want, x.Critical(1.645)/unit, 0.003)
	}
}

// Without drift, alarms are as rare as the significance says, also for samples
// that are too small for a fixed threshold on the index.
func TestLong_NoFalseAlarmsOnSmallSamples(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	sample := func(n int) map[string]int64 {
		counts := make(map[string]int64)
		for range n {
			counts[fmt.Sprint(r.IntN(10))]++
		}
		return counts
	}
	least, ok := rules.Default("drift_min_rows")
	require.True(t, ok)
	const looks = 4000
	for _, n := range []int{20, 50, int(least)} {
		naive, alarms := 0, 0
		for range looks {
			x, _ := drift.Compare(sample(n), sample(2000))
			if x.PSI > 0.1 {
				naive++
			}
			if x.Exceeds(drift.Limits{PSI: 0.1, Z: 3.09, Values: least, Noise: 1}) {
				alarms++
			}
		}
		require.Greater(t, naive, looks/4, "an index above 0.1 is usual with %d values", n)
		require.LessOrEqual(t, alarms, looks/100, "%d values", n)
	}
}

// Few values for many categories lack some by chance, and the index makes much of that.
func TestNoFalseAlarmsOnManyCategories(t *testing.T) {
	var l drift.Limits
	for name, to := range map[string]*float64{"drift_psi": &l.PSI, "drift_significance_z": &l.Z, "drift_min_rows": &l.Values, "drift_noise_psi": &l.Noise} {
		var ok bool
		*to, ok = rules.Default(name)
		require.True(t, ok, name)
	}
	anyNoise := l
	anyNoise.Noise = math.Inf(1)
	const looks = 1000
	for _, categories := range []int{10, 20, 50} {
		r := rand.New(rand.NewPCG(9, uint64(categories)))
		names, upTo := make([]string, categories), make([]float64, categories)
		at := 0.0
		for i := range categories {
			at += 1 / float64(i+1) // The second category has half of the first one's values, the third a third.
			names[i], upTo[i] = fmt.Sprint(i), at
		}
		sample := func(n int) map[string]int64 {
			drawn := make([]int64, categories)
			for range n {
				i, _ := slices.BinarySearch(upTo, at*r.Float64())
				drawn[i]++
			}
			counts := make(map[string]int64, categories)
			for i, n := range drawn {
				counts[names[i]] = n
			}
			return counts
		}
		base := sample(100_000)
		judged := false
		for _, n := range []int{100, 15 * categories} {
			alarms, careless := 0, 0
			for range looks {
				x, _ := drift.Compare(sample(n), base)
				judged = judged || x.Noise <= l.Noise
				if x.Exceeds(l) {
					alarms++
				}
				if x.Exceeds(anyNoise) {
					careless++
				}
			}
			require.LessOrEqual(t, alarms, looks/100, "%d values in %d categories", n, categories)
			if n == 100 && categories == 20 {
				require.Greater(t, careless, looks/10)
			}
		}
		require.True(t, judged, "%d categories: no look was judged", categories)
	}
}

// The rules and this package are one formula: evaluated by Prometheus's engine
// on the same counts, the recorded series have the same values.
func TestLong_EqualsTheRules(t *testing.T) {
	bundle, err := ruleset.Load()
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(7, 11))
	z, ok := rules.Default("drift_significance_z")
	require.True(t, ok)
	for range 20 {
		observed, base := make(map[string]int64), make(map[string]int64)
		for i := range 2 + r.IntN(15) {
			bin := fmt.Sprint("b", i)
			observed[bin], base[bin] = int64(r.IntN(100)*r.IntN(2)), int64(r.IntN(1000)*r.IntN(2))
		}
		observed["b0"] += 100
		base["b0"] += 100
		x, ok := drift.Compare(observed, base)
		require.True(t, ok)
		got := evaluate(t, bundle, observed, base)
		require.InDelta(t, x.PSI, got["dataset_column:ml_drift:psi"], 1e-9)
		require.InDelta(t, x.Noise, got["dataset_column:ml_drift:psi_noise"], 1e-9)
		if x.Critical(z) > 0 {
			require.InDelta(t, x.Critical(z), got["dataset_column:ml_drift:psi_critical"], 1e-9)
		}
	}
}

// evaluate runs the recording rules of the drift group, in order, on one column.
func evaluate(t *testing.T, bundle ruleset.Set, observed, base map[string]int64) map[string]float64 {
	t.Helper()
	storage := teststorage.New(t)
	defer func() { require.NoError(t, storage.Close()) }()
	now := time.Unix(1_800_000_000, 0)
	add := func(v float64, pairs ...string) {
		app := storage.Appender(t.Context())
		_, err := app.Append(0, labels.FromStrings(pairs...), now.UnixMilli(), v)
		require.NoError(t, err)
		require.NoError(t, app.Commit())
	}
	var n, m float64
	for _, c := range observed {
		n += float64(c)
	}
	for _, c := range base {
		m += float64(c)
	}
	add(n, "__name__", "ml_dataset_rows", "dataset", "d")
	add(m, "__name__", "ml_dataset_column_baseline_rows", "dataset", "d", "column", "c", "baseline", "training")
	for bin := range observed {
		add(float64(observed[bin]), "__name__", "ml_dataset_column_values", "dataset", "d", "column", "c", "bin", bin)
		add(float64(base[bin])/m, "__name__", "ml_dataset_column_baseline_ratio", "dataset", "d", "column", "c", "bin", bin, "baseline", "training")
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 100_000, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})})
	defer func() { require.NoError(t, engine.Close()) }()
	got := make(map[string]float64)
	for _, f := range bundle.Files {
		for _, g := range f.Groups {
			for _, rule := range g.Rules {
				if rule.Record == "" {
					continue
				}
				query, err := engine.NewInstantQuery(t.Context(), storage, nil, rule.Expr, now)
				require.NoError(t, err)
				vector, err := query.Exec(t.Context()).Vector()
				require.NoError(t, err)
				for _, s := range vector {
					if math.IsNaN(s.F) {
						continue
					}
					got[rule.Record] = s.F
					pairs := []string{"__name__", rule.Record}
					s.Metric.Range(func(l labels.Label) {
						if l.Name != "__name__" {
							pairs = append(pairs, l.Name, l.Value)
						}
					})
					add(s.F, pairs...)
				}
				query.Close()
			}
		}
	}
	return got
}
