package binning_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// quantilesOf are 200 evenly spaced quantiles of a function of the share below.
func quantilesOf(value func(p float64) float64) []float64 {
	q := make([]float64, 200)
	for i := range q {
		q[i] = value((float64(i) + 0.5) / 200)
	}
	return q
}

func TestRangedLayouts(t *testing.T) {
	for name, tc := range map[string]struct {
		layout binning.Layout
		want   []string
	}{
		"deciles, the last one divided at the 99th percentile, and what lies beyond the extremes": {
			binning.NewRanged(quantilesOf(func(p float64) float64 { return math.Ceil(p * 100) }), 0, 100, 4, false),
			[]string{"null", "(-Inf,0)", "[0,25]", "(25,50]", "(50,75]", "(75,99]", "(99,100]", "(100,+Inf)"},
		},
		"of seven values in a hundred that are not zero, the quantiles": {
			binning.NewRanged(quantilesOf(func(p float64) float64 { return max(0, math.Floor(p*200)-185) }), 0, 14, 5, true),
			[]string{"null", "nan", "inf", "(-Inf,0)", "[0,0]", "(0,3]", "(3,7]", "(7,10]", "(10,12]", "(12,14]", "(14,+Inf)"},
		},
		"a constant has itself for a range": {
			binning.NewRanged(quantilesOf(func(float64) float64 { return 5 }), 5, 5, 10, false),
			[]string{"null", "(-Inf,5)", "[5,5]", "(5,+Inf)"},
		},
		"a column without values has no range": {
			binning.NewRanged(nil, 0, 0, 10, false),
			[]string{"null", "(-Inf,+Inf)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, tc.layout.Validate())
			require.Equal(t, tc.want, tc.layout.Bins())
		})
	}
	t.Run("values beyond either extreme are out of range", func(t *testing.T) {
		l := binning.NewRanged(quantilesOf(func(p float64) float64 { return p }), 0, 1, 10, true)
		f := binning.NewFinder(l, true)
		counts := make(map[string]int64)
		for _, v := range []float64{-0.001, 0, 0.5, 1, 1.001, 1e300, math.Inf(1), math.NaN()} {
			counts[f.Bins()[f.Number(v)]]++
		}
		n, ok := l.OutOfRange(counts)
		require.True(t, ok)
		require.EqualValues(t, 3, n)
		_, ok = binning.NewNumeric([]float64{0, 1}, true).OutOfRange(counts)
		require.False(t, ok)
	})
	t.Run("a number of a categorical field is the category that it is written as", func(t *testing.T) {
		f := binning.NewFinder(binning.NewCategorical([]string{"1", "2.0", "0.5"}, 3, false), true)
		for v, want := range map[float64]string{1: "1", 2: "2.0", 0.5: "0.5", 1.5: "unseen", 3: "unseen"} {
			require.Equal(t, want, f.Bins()[f.Number(v)], v)
		}
		require.Equal(t, "null", f.Bins()[f.Number(math.NaN())])
		require.Equal(t, "1", f.Bins()[f.Category("1.0")])
		require.Equal(t, "2.0", f.Bins()[f.Category("2")])
	})
}

func TestMomentsOfPartsAddUp(t *testing.T) {
	of := func(values ...float64) binning.Moments {
		var m binning.Moments
		for _, v := range values {
			m = m.Plus(binning.Moments{Values: 1, Min: v, Max: v, Mean: v})
		}
		return m
	}
	all := of(2, 4, 4, 4, 5, 5, 7, 9)
	require.InDelta(t, 5, all.Mean, 1e-12)
	require.InDelta(t, 2, all.Stddev, 1e-12)
	parts := of(2, 4, 4).Plus(of(4, 5, 5, 7, 9))
	require.Equal(t, all.Values, parts.Values)
	require.InDelta(t, all.Mean, parts.Mean, 1e-12)
	require.InDelta(t, all.Stddev, parts.Stddev, 1e-12)
	require.Equal(t, []float64{2, 9}, []float64{parts.Min, parts.Max})
	require.False(t, binning.Moments{}.Valid())
}

// Every layout must be countable, and its bins must have different names.
func FuzzRanged(f *testing.F) {
	f.Add(0.0, 0.0, 1.0, 2.0, 10)
	f.Add(-math.MaxFloat64, 5.0, 5.0, math.MaxFloat64, 2)
	f.Fuzz(func(t *testing.T, a, b, c, d float64, bins int) {
		if bins < 2 || bins > 50 || math.IsNaN(a) || math.IsInf(a, 0) {
			t.Skip()
		}
		l := binning.NewRanged([]float64{a, b, c, d, a, b}, min(a, 0), max(a, 1), bins, true)
		require.NoError(t, l.Validate())
		seen := make(map[string]bool)
		for _, bin := range l.Bins() {
			require.False(t, seen[bin], bin)
			seen[bin] = true
		}
	})
}
