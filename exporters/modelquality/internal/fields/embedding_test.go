package fields

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/drift"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

func vector(numbers ...float64) otlp.Value {
	b := []byte{}
	for _, x := range numbers {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(x)))
	}
	return otlp.VectorOf(b)
}

// embedded are inferences whose embeddings lie around a direction: that of the first axis, turned by an angle to the second.
func embedded(seed uint64, n, dimensions int, angle float64) []*convention.Observation {
	r := rand.New(rand.NewPCG(seed, 2))
	list := inferences(seed, n, 0)
	for _, o := range list {
		numbers := make([]float64, dimensions)
		for i := range numbers {
			numbers[i] = r.NormFloat64() * 0.05
		}
		numbers[0] += math.Cos(angle)
		numbers[1] += math.Sin(angle)
		o.Features = append(o.Features, convention.Feature{Name: "embedding.distance", Value: vector(numbers...)})
	}
	return list
}

func feed(t *Tracker, list []*convention.Observation) {
	for _, o := range list {
		t.Count(o)
	}
}

func TestCosineDistance(t *testing.T) {
	for name, test := range map[string]struct {
		of       otlp.Value
		centroid []float32
		want     float64
		ok       bool
	}{
		"in its direction, at any length": {vector(3, 4), []float32{0.6, 0.8}, 0, true},
		"at 60 degrees":                   {vector(1, 0), []float32{0.5, float32(math.Sqrt(0.75))}, 0.5, true},
		"at right angles":                 {vector(0, 1), []float32{1, 0}, 1, true},
		"opposite":                        {vector(-2), []float32{1}, 2, true},
		"of other dimensions":             {vector(1, 0, 0), []float32{1, 0}, 0, false},
		"without numbers":                 {vector(), []float32{1, 0}, 0, false},
		"no embedding":                    {otlp.DoubleValue(0.5), []float32{1}, 0, false},
	} {
		got, ok := cosine(test.of, test.centroid)
		require.Equal(t, test.ok, ok, name)
		require.InDelta(t, test.want, got, 1e-6, name)
	}
}

func TestBinsOfEmbeddings(t *testing.T) {
	choice := tables.Choice{Bins: 10, Top: 20, MaxColumns: 100}
	of := func(n, dimensions int) (values []otlp.Value) {
		for _, o := range embedded(1, n, dimensions, 0) {
			values = append(values, o.Features[len(o.Features)-1].Value)
		}
		return values
	}
	for name, test := range map[string]struct {
		values     []otlp.Value
		dimensions int // 0 is that there are no bins
	}{
		"the centroid has the dimensions of the values":       {of(100, 8), 8},
		"most values decide":                                  {append(of(40, 3), of(60, 8)...), 8},
		"those that were refused decide nothing":              {append(of(40, 8), make([]otlp.Value, 60)...), 8},
		"too few would be near the texts that they stand for": {of(fewestEmbeddings-1, 8), 0},
		"values that cancel each other out":                   {append(slices.Repeat([]otlp.Value{vector(1, 0)}, 50), slices.Repeat([]otlp.Value{vector(-1, 0)}, 50)...), 0},
		"refused ones alone":                                  {slices.Repeat([]otlp.Value{vector()}, 100), 0},
	} {
		t.Run(name, func(t *testing.T) {
			if len(test.values) > 0 && test.values[len(test.values)-1].Kind == otlp.Empty {
				for i := range test.values {
					if test.values[i].Kind == otlp.Empty {
						test.values[i] = vector()
					}
				}
			}
			l, ok := cutOne("embedding.distance", test.values, choice)
			require.Equal(t, test.dimensions > 0, ok)
			if !ok {
				return
			}
			require.NoError(t, l.Validate())
			require.Len(t, l.Centroid, test.dimensions)
			require.Equal(t, []string{"null", "nan", "inf"}, l.Bins()[:3])
			require.InDelta(t, 1, l.Centroid[0], 0.05)
			require.Greater(t, len(l.Edges), 8)
		})
	}
	same, ok := cutOne("embedding.distance", slices.Repeat([]otlp.Value{vector(0.1, 0.2, 0.3)}, 50), choice)
	require.True(t, ok)
	require.Equal(t, []string{"null", "nan", "inf", "(-Inf,0)", "[0,0]", "(0,+Inf)"}, same.Bins(), "rounding makes no differences between equal embeddings")
}

// The centroid is with the bins in the store: the first replica's is everybody's, and the next process's.
func TestReplicasAndRestartsShareOneCentroid(t *testing.T) {
	w := newWorld(t)
	w.training = w.trainingData(trainingRows) // which has no embeddings
	first, second, alone := w.replica(), w.replica(), newWorld(t).replica()
	a, b, one := first.Track("search", "1"), second.Track("search", "1"), alone.Track("search", "1")
	begin, later := embedded(1, 500, 64, 0), embedded(2, 3000, 64, 0.4)
	feed(a, begin)
	feed(b, embedded(3, 50, 64, 1)) // would cut others
	w.cycle(first, second)
	feed(one, begin)
	require.NoError(t, alone.Cycle(t.Context()))
	la, lb := a.counters.Load().definition.Fields["input/embedding.distance"], b.counters.Load().definition.Fields["input/embedding.distance"]
	require.Len(t, la.Centroid, 64)
	require.Equal(t, la, lb)
	require.Equal(t, la, one.counters.Load().definition.Fields["input/embedding.distance"])
	feed(one, embedded(3, 50, 64, 1))
	feed(one, later)
	feed(a, later[:1000])
	feed(b, later[1000:])
	require.Equal(t, counts(one)["input/embedding.distance"], sum(a, b)["input/embedding.distance"], "replicas add up")

	restarted := w.replica()
	c := restarted.Track("search", "1")
	feed(c, later[:200])
	w.cycle(restarted)
	require.Equal(t, la, c.counters.Load().definition.Fields["input/embedding.distance"])
	require.NotContains(t, exportertest.Gather(t, restarted), `ml_model_field_baseline_values{baseline="training",field="embedding.distance"`)
	require.Contains(t, exportertest.Gather(t, restarted), `ml_model_field_baseline_values{baseline="training",field="amount"`)
}

// An embedding whose direction changes drifts like any field. After it is accepted it has a new centroid.
func TestEmbeddingsDriftAndAreAccepted(t *testing.T) {
	w := newWorld(t)
	k := w.replica()
	tracker := k.Track("search", "1")
	feed(tracker, embedded(1, 1000, 64, 0))
	w.cycle(k)
	const field = "input/embedding.distance"
	psi := func(now, before map[string]int64) float64 {
		c, ok := drift.Compare(now, before)
		require.True(t, ok)
		return c.PSI
	}
	since := func(before map[string]int64) map[string]int64 {
		now := counts(tracker)[field]
		for bin, n := range before {
			now[bin] -= n
		}
		return now
	}
	learned := counts(tracker)[field]
	feed(tracker, embedded(2, 1000, 64, 0))
	require.Less(t, psi(since(learned), learned), 0.1)
	before := counts(tracker)[field]
	feed(tracker, embedded(3, 1000, 64, 0.5))
	require.Greater(t, psi(since(before), learned), 0.5)

	old := tracker.counters.Load().definition.Fields[field].Centroid
	require.NoError(t, Accept(t.Context(), k.Store, "search", "embedding.distance"))
	w.clock = w.clock.Add(time.Hour)
	w.cycle(k)
	feed(tracker, embedded(4, 1000, 128, 0.5))
	w.cycle(k)
	accepted := tracker.counters.Load().definition.Fields[field].Centroid
	require.Len(t, old, 64)
	require.Len(t, accepted, 128, "of another embedding model")
}

func TestEmbeddingsOfOtherDimensionsAreNotCompared(t *testing.T) {
	w := newWorld(t)
	k := w.replica()
	log := new(bytes.Buffer)
	k.Logger = slog.New(slog.NewTextHandler(log, nil))
	tracker := k.Track("search", "1")
	feed(tracker, embedded(1, 500, 64, 0))
	w.cycle(k)
	feed(tracker, embedded(2, 30, 128, 0))
	w.cycle(k)
	feed(tracker, embedded(3, 30, 128, 0))
	w.cycle(k)
	text := exportertest.Gather(t, k)
	require.Contains(t, text, `ml_model_embedding_mismatches_total{field="embedding.distance",model="search",version="1"} 60`)
	require.Contains(t, text, `ml_model_field_values_total{bin="nan",field="embedding.distance",model="search",role="input",version="1"} 60`)
	require.Equal(t, 1, strings.Count(log.String(), "other dimensions"), log.String())
	require.Contains(t, log.String(), "dimensions=128 baseline_dimensions=64")
	// An embedding that is not there is missing, as any feature is.
	feed(tracker, inferences(4, 7, 0))
	require.EqualValues(t, 7, counts(tracker)["input/embedding.distance"][binning.Null])
}

func TestTooFewEmbeddingsAreLogged(t *testing.T) {
	w := newWorld(t)
	k := w.replica()
	log := new(bytes.Buffer)
	k.Logger = slog.New(slog.NewTextHandler(log, nil))
	tracker := k.Track("search", "1")
	feed(tracker, embedded(1, 20, 64, 0))
	feed(tracker, inferences(1, 480, 0))
	w.cycle(k)
	require.NotContains(t, counts(tracker), "input/embedding.distance")
	require.Contains(t, log.String(), "has no baseline")
}

// While bins are learned the embeddings of a sample are in memory: no more of them than there is room for.
func TestSamplesKeepABoundedNumberOfEmbeddings(t *testing.T) {
	w := newWorld(t)
	k := w.replica()
	k.Sample = math.MaxInt / 8
	v := vector(make([]float64, binning.MaxDimensions)...)
	var trackers []*Tracker
	bytes := 0
	for i := range 3 {
		tracker := k.Track("m", fmt.Sprint(i))
		trackers = append(trackers, tracker)
		for range 2000 {
			tracker.Count(&convention.Observation{Confidence: math.NaN(), Features: []convention.Feature{{Name: "embedding.distance", Value: v}}})
		}
		for _, row := range tracker.sample.rows {
			require.Len(t, row, 1)
			bytes += row[0].value.Size()
		}
	}
	require.LessOrEqual(t, k.cells.Load(), int64(maxCells))
	require.LessOrEqual(t, bytes, maxCells*cellBytes)
	require.Greater(t, bytes, maxCells*cellBytes*9/10)
	for _, tracker := range trackers {
		k.Forget(tracker)
	}
	require.Zero(t, k.cells.Load())
	// Lists that are not embeddings, and bytes, are not kept.
	s := newSample()
	s.add([]convention.Feature{{Name: "x", Value: otlp.Value{Kind: otlp.Bytes}}}, otlp.Value{}, math.NaN(), 10)
	require.Zero(t, s.rows[0][0].value.Size())
}

func TestCentroidIsStoredExactly(t *testing.T) {
	w := newWorld(t)
	l, ok := cutOne("e", func() (values []otlp.Value) {
		for _, o := range embedded(1, 100, binning.MaxDimensions, 0) {
			values = append(values, o.Features[len(o.Features)-1].Value)
		}
		return values
	}(), tables.Choice{Bins: 10})
	require.True(t, ok)
	d, err := w.replica().Store.Subject("model_inputs", "m").CreateDefinition(t.Context(), baseline.Definition{Edges: baseline.EdgesProduction, Fields: map[string]binning.Layout{"input/e": l}})
	require.NoError(t, err)
	require.Equal(t, l, d.Fields["input/e"])
}

func BenchmarkCountAnEmbedding(b *testing.B) {
	values := embedded(1, 100, 1536, 0)
	var all []otlp.Value
	for _, o := range values {
		all = append(all, o.Features[len(o.Features)-1].Value)
	}
	l, ok := cutOne("e", all, tables.Choice{Bins: 10})
	require.True(b, ok)
	f := newField(l)
	b.ReportAllocs()
	for b.Loop() {
		f.count(all[7])
	}
}
