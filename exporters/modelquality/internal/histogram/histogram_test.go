package histogram

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

var (
	bounds = []float64{0.001, 0.0025, 0.005, 0.01, 0.1, 1, 10, 60}
	kind   = NewKind(prometheus.NewDesc("seconds", "Help.", []string{"model"}, nil), bounds)
)

// library returns client_golang's histogram of the values, with buckets of this growth.
func library(t testing.TB, growth float64, values []float64) *dto.Histogram {
	t.Helper()
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "seconds", Buckets: bounds, NativeHistogramBucketFactor: growth, NativeHistogramZeroThreshold: zero,
	})
	for _, v := range values {
		h.Observe(v)
	}
	return written(t, h)
}

func written(t testing.TB, m prometheus.Metric) *dto.Histogram {
	t.Helper()
	var out dto.Metric
	require.NoError(t, m.Write(&out))
	return out.Histogram
}

func requireSame(t testing.TB, growth float64, values []float64) {
	t.Helper()
	var h Histogram
	for _, v := range values {
		h.Observe(kind, v, &Exemplar{})
	}
	got, want := written(t, h.Metric(kind, "fraud")), library(t, growth, values)
	// Sums of floating-point numbers depend on their order, which is the same; the time of creation is not.
	got.CreatedTimestamp, want.CreatedTimestamp = nil, nil
	require.True(t, proto.Equal(want, got), "of %v\nwant %v\ngot  %v", values, want, got)
}

// nine and nineteen per cent.
const fine, coarse = 1.1, 1.2

func TestEqualsTheLibraryHistogram(t *testing.T) {
	for name, values := range map[string][]float64{
		"one":                         {0.02},
		"only zeros":                  {0, 0, 1e-12, -1e-12},
		"bounds of classic buckets":   bounds,
		"bounds of native buckets":    {1, 2, 4, 0.5, 0.25, math.Exp2(1. / 8), math.Exp2(3. / 8), math.Exp2(-7. / 8)},
		"just beyond and just before": {math.Nextafter(1, 2), math.Nextafter(1, 0), math.Nextafter(math.Exp2(5./8), 2), math.Nextafter(math.Exp2(5./8), 0), math.Nextafter(0.01, 1)},
		"both sides of zero":          {-1, -0.3, 0, 0.3, 1},
		"far apart":                   {1e-9, 1, 1e9},
		"downwards":                   {1000, 100, 10, 1, 0.1, 0.01},
	} {
		t.Run(name, func(t *testing.T) { requireSame(t, fine, values) })
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		values := make([]float64, r.IntN(300)+1)
		spread := r.Float64() * 3
		for i := range values {
			values[i] = math.Exp(r.NormFloat64()*spread - 3)
			if r.IntN(4) == 0 {
				values[i] = -values[i]
			}
		}
		var h Histogram
		for _, v := range values {
			h.Observe(kind, v, &Exemplar{})
		}
		if h.positive.used()+h.negative.used() <= maxNative {
			requireSame(t, fine, values)
		}
	}
}

func TestTooManyBucketsAreMergedInPairs(t *testing.T) {
	var values []float64
	for v := 1e-4; v < 1e4; v *= 1.09 {
		values = append(values, v, v)
	}
	require.Greater(t, len(values)/2, maxNative)
	requireSame(t, coarse, values)
}

// A score can be any number. Extreme values are counted in the outermost buckets, so memory does not grow.
func TestExtremeValuesDoNotGrowMemory(t *testing.T) {
	var h Histogram
	for exponent := -1070; exponent < 1024; exponent++ {
		h.Observe(kind, math.Ldexp(1.5, exponent), &Exemplar{})
		h.Observe(kind, -math.Ldexp(1.5, exponent), &Exemplar{})
	}
	h.Observe(kind, math.Inf(1), &Exemplar{})
	h.Observe(kind, math.MaxFloat64, &Exemplar{})
	require.LessOrEqual(t, len(h.positive.counts)+len(h.negative.counts), 2*(lastKey-firstKey+2*perDouble))
	got := written(t, h.Metric(kind, "fraud"))
	require.EqualValues(t, 2*(1070+1024)+2, got.GetSampleCount())
	buckets := got.GetZeroCount()
	for _, deltas := range [][]int64{got.PositiveDelta, got.NegativeDelta} {
		var count int64
		for _, d := range deltas {
			count += d
			buckets += uint64(count)
		}
	}
	require.Equal(t, got.GetSampleCount(), buckets, "Prometheus refuses a histogram whose buckets do not add up")
}

func TestBucketGetsOneExemplarASecond(t *testing.T) {
	var h Histogram
	exemplars := func() (found []*dto.Exemplar) {
		for _, b := range written(t, h.Metric(kind, "fraud")).Bucket {
			if b.Exemplar != nil {
				found = append(found, b.Exemplar)
			}
		}
		return found
	}
	second := int64(time.Second)
	for i := range 3 {
		h.Observe(kind, 0.02, &Exemplar{[16]byte{1, 15: byte(i)}, "registered", 100*second + int64(i)})
	}
	require.Len(t, exemplars(), 1)
	require.Equal(t, "01000000000000000000000000000000", exemplars()[0].Label[1].GetValue(), "the first of the second")
	require.Equal(t, "registered", exemplars()[0].Label[0].GetValue())
	require.Equal(t, 100*second, exemplars()[0].Timestamp.AsTime().UnixNano())

	h.Observe(kind, 0.02, &Exemplar{[16]byte{2}, "registered", 102 * second})
	require.Equal(t, "02000000000000000000000000000000", exemplars()[0].Label[1].GetValue())
	for _, run := range []string{string(make([]byte, MaxRun+1)), "\xff"} {
		h.Observe(kind, 100, &Exemplar{[16]byte{3}, run, 102 * second})
		require.Len(t, exemplars(), 2, "another bucket, +Inf, has its own")
		require.Len(t, exemplars()[1].Label, 1, "a run that cannot be shown is left out")
	}
}

func TestEmptyHistogramHasNoMetric(t *testing.T) {
	require.Nil(t, new(Histogram).Metric(kind, "fraud"))
}

func FuzzTheSameAsTheLibrary(f *testing.F) {
	f.Add(1.0, 0.5, -2.0)
	f.Fuzz(func(t *testing.T, a, b, c float64) {
		var values []float64
		for _, v := range []float64{a, b, c} {
			if v >= -1<<32 && v <= 1<<32 {
				values = append(values, v)
			}
		}
		if len(values) > 0 {
			requireSame(t, fine, values)
		}
	})
}

// BenchmarkObserve observes the same values with client_golang's histogram.
func BenchmarkObserve(b *testing.B) {
	values := make([]float64, 1000)
	for i := range values {
		values[i] = 0.001 * math.Exp(rand.Float64()*8)
	}
	b.Run("package", func(b *testing.B) {
		var h Histogram
		exemplar := &Exemplar{}
		for i := 0; b.Loop(); i++ {
			h.Observe(kind, values[i%len(values)], exemplar)
		}
	})
	b.Run("client_golang", func(b *testing.B) {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "seconds", Buckets: bounds, NativeHistogramBucketFactor: fine, NativeHistogramZeroThreshold: zero})
		for i := 0; b.Loop(); i++ {
			h.Observe(values[i%len(values)])
		}
	})
}
