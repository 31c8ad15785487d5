package fields

import (
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// aDayOf calls count with the inferences of one day: by day customers of four countries with small orders, at night one of
// a fifth with large ones. batch is the same all day.
func (w *world) aDayOf(trackers ...*Tracker) {
	w.t.Helper()
	for range 24 {
		for n, o := range inferences(uint64(w.clock.Unix()), 240, 0) {
			if h := w.clock.Hour(); h < 4 {
				o.Features = append(o.Features[:0:0], convention.Feature{Name: "amount", Value: otlp.DoubleValue(5000 + float64(n))}, convention.Feature{Name: "country", Value: otlp.StringValue("JP")})
			}
			o.Features = append(o.Features, convention.Feature{Name: "batch", Value: otlp.StringValue("b" + w.clock.Format(time.DateOnly))})
			trackers[n%len(trackers)].Count(o)
		}
		for _, t := range trackers {
			w.cycle(t.keeper)
		}
		w.clock = w.clock.Add(time.Hour)
		for _, t := range trackers {
			w.cycle(t.keeper)
		}
	}
}

func production(t *testing.T, s *baseline.Subject) (baseline.Definition, baseline.Production) {
	t.Helper()
	view, err := s.View(t.Context())
	require.NoError(t, err)
	d, err := view.Definition(t.Context())
	require.NoError(t, err)
	p, err := view.Production(t.Context(), 0)
	require.NoError(t, err)
	return d, p
}

// The first inferences of a model are those of an afternoon. Its frozen baseline knows the night too.
func TestBinsAreRefinedFromAllLearnedDays(t *testing.T) {
	for name, replicas := range map[string]int{"one process": 1, "two replicas": 2} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var trackers []*Tracker
			for range replicas {
				trackers = append(trackers, w.replica().Track("fraud", "3"))
			}
			one := trackers[0]
			w.aDayOf(trackers...) // From noon to noon.
			provisional := one.books[0].definition
			require.NotContains(t, provisional.Fields["input/country"].Top, "JP")
			require.Contains(t, provisional.Fields, "input/batch", "one hour has one batch")
			for range 3 {
				w.aDayOf(trackers...)
			}
			d, p := production(t, one.books[0].subject)
			require.True(t, d.Refined())
			require.True(t, p.Frozen())
			require.Contains(t, d.Fields["input/country"].Top, "JP")
			require.Zero(t, p.Counts.Fields["input/country"][binning.Unseen])
			require.Contains(t, d.Left["input/batch"], "replaced by others")
			require.NotContains(t, counts(one), "input/batch")
			require.Contains(t, exportertest.Gather(t, one.keeper), `ml_model_field_without_bins_info{field="batch",model="fraud",reason="`+d.Left["input/batch"]+`",role="input",version="3"} 1`)
			amounts := d.Fields["input/amount"]
			require.True(t, amounts.Ranged)
			beyond, _ := amounts.OutOfRange(p.Counts.Fields["input/amount"])
			require.Zero(t, beyond)

			// The days are those of the noon, of the day and of the next: 12, 24 and 24 hours.
			require.EqualValues(t, 60*240/replicas, total(p.Counts.Fields["input/country"]))
			nights := float64(4+4) / 60
			require.InDelta(t, nights, float64(p.Counts.Fields["input/country"]["JP"])/float64(total(p.Counts.Fields["input/country"])), 0.001)
			season := one.books[0].season
			bins, shares, _, ok := season.Mix("input/country", w.clock.Truncate(24*time.Hour).Add(2*time.Hour), w.clock.Truncate(24*time.Hour).Add(3*time.Hour))
			require.True(t, ok)
			require.InDelta(t, 1, shares[slices.Index(bins, "JP")], 0.001, "the night has its own distribution")
			for _, other := range trackers[1:] {
				require.Equal(t, slices.Sorted(maps.Keys(counts(one)["input/amount"])), slices.Sorted(maps.Keys(counts(other)["input/amount"])))
			}
		})
	}
}

// A window that has values by the old bins is not compared with the new ones, also not after a restart.
func TestAWindowWithBothBinsIsNotCompared(t *testing.T) {
	w := newWorld(t)
	k := w.replica()
	one := k.Track("fraud", "3")
	for range 4 {
		w.aDayOf(one)
	}
	d, _ := production(t, one.books[0].subject)
	require.True(t, d.Refined())
	refined := d.Created
	compared := func(field string) (found []string) {
		for _, name := range []string{"production", "season", "season_5m"} {
			if _, ok := value(t, k, `ml_model_field_baseline_values{baseline="`+name+`",field="`+field+`",model="fraud",role="input",version="3"}`); ok {
				found = append(found, name)
			}
		}
		return found
	}
	for after, want := range map[time.Duration][]string{
		0: nil, 11 * time.Minute: nil, 30 * time.Minute: {"season_5m"}, 2 * time.Hour: {"season", "season_5m"}, 26 * time.Hour: {"production", "season", "season_5m"},
	} {
		w.clock = refined.Add(after)
		k = w.replica()
		k.Slow = 15 * time.Minute
		again := k.Track("fraud", "3")
		for _, o := range inferences(1, fewInferences, 0) {
			again.Count(o)
		}
		w.cycle(k)
		require.NotNil(t, counts(again))
		require.Equal(t, want, compared("amount"), "%s after the new bins", after)
		require.Equal(t, []string{"production", "season", "season_5m"}, compared("gift"), "its bins are the same")
	}
}

func TestDaysWithoutSamplesKeepTheirBins(t *testing.T) {
	w := newWorld(t)
	k := w.replica()
	var logs strings.Builder
	k.Logger = slog.New(slog.NewTextHandler(&logs, nil))
	one := k.Track("fraud", "3")
	for range 2 {
		w.aDayOf(one)
	}
	files, err := filepath.Glob(filepath.Join(w.dir, "model_inputs", "fraud", "outline-*.json"))
	require.NoError(t, err)
	require.Len(t, files, 2)
	require.NoError(t, os.Remove(files[0]))
	for range 2 {
		w.aDayOf(one)
	}
	d, p := production(t, one.books[0].subject)
	require.False(t, d.Refined())
	require.True(t, p.Frozen(), "it is a baseline all the same")
	require.Contains(t, logs.String(), "days=3 days_without_samples=1")
	require.Nil(t, one.counters.Load().hourly, "nothing is to be refined any more")
}

func TestFieldsOfTheTrainingDataKeepTheirBins(t *testing.T) {
	w := newWorld(t)
	w.training = w.trainingData(`SELECT 'JP' AS country, 'fine' AS label, 'b2026-10-0' || (i % 3) AS batch FROM range(500) AS t(i)`)
	one := w.replica().Track("fraud", "3")
	w.aDayOf(one)
	require.Contains(t, one.books[0].definition.Fields, "input/batch")
	for range 3 {
		w.aDayOf(one)
	}
	d, p := production(t, one.books[0].subject)
	require.True(t, p.Frozen())
	require.Equal(t, baseline.EdgesTraining, d.Edges)
	require.Equal(t, []string{"JP"}, d.Fields["input/country"].Top)
	require.EqualValues(t, 60*240, total(p.Counts.Fields["input/country"]))
	require.EqualValues(t, 8*240, p.Counts.Fields["input/country"]["JP"])
	require.NotContains(t, d.Fields, "input/batch")
	edges := d.Fields["input/amount"].Edges
	require.InDelta(t, 5239, edges[len(edges)-1], 1, "the training data has no amounts")
	view, err := one.trained.View(t.Context())
	require.NoError(t, err)
	training, err := view.Training(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 500, training.Fields["input/country"]["JP"])
	outputs, _ := production(t, one.outputs.subject)
	require.Equal(t, []string{"fine"}, outputs.Fields[prediction].Top)
	require.True(t, outputs.Refined(), "the confidence is not in the training data")
}

func TestEmbeddingsKeepTheirBins(t *testing.T) {
	w := newWorld(t)
	one := w.replica().Track("search", "1")
	for range 4 * 24 {
		for i, o := range embedded(uint64(w.clock.Unix()), 100, 8, 0) {
			o.Features = append(o.Features, convention.Feature{Name: "n", Value: otlp.IntValue(int64(i))})
			one.Count(o)
		}
		w.cycle(one.keeper)
		w.clock = w.clock.Add(time.Hour)
		w.cycle(one.keeper)
	}
	d, p := production(t, one.books[0].subject)
	require.True(t, d.Refined())
	before, err := func() (baseline.Definition, error) {
		view, err := one.books[0].subject.View(t.Context())
		require.NoError(t, err)
		return view.Provisional(t.Context())
	}()
	require.NoError(t, err)
	compared := 0
	for name, l := range d.Fields {
		if l.Centroid != nil {
			compared++
			require.Equal(t, before.Fields[name], l)
			require.EqualValues(t, 60*100, total(p.Counts.Fields[name]))
			_, _, _, ok := one.books[0].season.Mix(name, w.clock.Add(-time.Hour), w.clock)
			require.True(t, ok)
		}
	}
	require.Equal(t, 1, compared)
}

// Bins that were refined, while a crash kept the days from being counted by them.
func TestRecountingContinuesAfterACrash(t *testing.T) {
	w := newWorld(t)
	one := w.replica().Track("fraud", "3")
	for range 4 {
		w.aDayOf(one)
	}
	d, want := production(t, one.books[0].subject)
	for _, pattern := range []string{"frozen-*", "day-*-" + d.ID[:12] + "-*3.json"} {
		files, err := filepath.Glob(filepath.Join(w.dir, "model_inputs", "fraud", pattern))
		require.NoError(t, err)
		require.Len(t, files, 1)
		require.NoError(t, os.Remove(files[0]))
	}
	k := w.replica()
	again := k.Track("fraud", "3")
	for _, o := range inferences(1, w.sample, 0) {
		again.Count(o)
	}
	w.cycle(k)
	_, got := production(t, again.books[0].subject)
	require.True(t, got.Frozen())
	require.Equal(t, want.Counts, got.Counts)
}

func TestSamplesOfAnHourAreUniformAndBounded(t *testing.T) {
	const n = 20_000
	thirds := [3]int{}
	h := newHourly(hourCells)
	for range 20 {
		for i := range n {
			h.see([]convention.Feature{{Name: "i", Value: otlp.IntValue(int64(i))}}, otlp.Value{}, math.NaN())
		}
		require.Len(t, h.rows, hourRows)
		m := h.take(baseline.Counts{Rows: n}, hourCells)["input/i"]
		require.EqualValues(t, n, m.Of)
		require.Len(t, m.Numbers, hourRows)
		for _, i := range m.Numbers {
			thirds[int(i)*3/n]++
		}
		require.Empty(t, h.rows, "the next hour has a sample of its own")
	}
	for _, third := range thirds {
		require.InDelta(t, 20*hourRows/3, third, 4*math.Sqrt(20*hourRows*2/9.))
	}

	wide := newHourly(hourCells)
	features := make([]convention.Feature, 250)
	for i := range features {
		features[i] = convention.Feature{Name: strings.Repeat("f", 1+i), Value: otlp.IntValue(1)}
	}
	for range n {
		wide.see(features, otlp.Value{}, math.NaN())
	}
	require.LessOrEqual(t, wide.cells, hourCells)
}

// fewValues is the number of values from which all-different ones are identifiers.
const fewValues = 100

func TestMarginals(t *testing.T) {
	list := func(values ...otlp.Value) []otlp.Value { return values }
	numbers := marginalOf(list(otlp.IntValue(3), otlp.DoubleValue(1.5), otlp.DoubleValue(math.NaN()), otlp.DoubleValue(math.Inf(-1)), otlp.Value{}))
	require.Equal(t, marginal{Class: floats, Nulls: 1, NaN: 1, Inf: 1, Numbers: []float64{1.5, 3}}, numbers)
	mixed := marginalOf(list(otlp.IntValue(3), otlp.StringValue("a"), otlp.BoolValue(true)))
	require.Equal(t, marginal{Class: texts, Texts: map[string]int64{"3": 1, "a": 1, "true": 1}, Distinct: 3, Values: 3}, mixed)
	require.Equal(t, opaque, marginalOf(list(otlp.StringValue("a"), otlp.Value{Kind: otlp.List})).Class)
	long := marginalOf(append(slices.Repeat(list(otlp.StringValue("a")), 199), otlp.StringValue(strings.Repeat("x", maxText+1))))
	require.Equal(t, marginal{Class: texts, Texts: map[string]int64{"a": 199}, Distinct: 2, Values: 200, Long: 1}, long)
	long.Of = 2000
	require.Equal(t, map[string]int64{"null": 0, "unseen": 10, "a": 1990}, long.count(newField(binning.NewCategorical([]string{"a"}, 2, false))))
	rare, _ := cutDays([]outline{{{0, map[string]marginal{"input/x": long}}}}, baseline.Definition{}, tables.Choice{Bins: 4, Top: 4, MaxColumns: 4})
	require.True(t, rare["input/x"].Open, "one long text in two hundred: %v", rare)
	var ids []otlp.Value
	for i := range fewValues {
		ids = append(ids, otlp.StringValue(strings.Repeat("i", 1+i)))
	}
	unique := marginalOf(ids)
	require.Equal(t, marginal{Class: texts, Distinct: fewValues, Values: fewValues}, unique, "identifiers are not stored")
	unique.Of = 10
	require.EqualValues(t, 10, unique.count(newField(binning.NewCategorical([]string{"a"}, 2, false)))[binning.Unseen])

	numbers.Of = 50
	require.Equal(t, map[string]int64{"null": 10, "nan": 10, "inf": 10, "(-Inf,2]": 10, "(2,+Inf)": 10},
		numbers.count(newField(binning.Layout{Kind: binning.Numeric, Edges: []float64{2}, Float: true})))
	mixed.Of = 10
	require.Equal(t, map[string]int64{"null": 0, "unseen": 3, "3": 4, "a": 3}, mixed.count(newField(binning.NewCategorical([]string{"3", "a"}, 2, false))))

	// A field with numbers in one hour and texts in another one is counted as text.
	o := outline{{0, map[string]marginal{"input/x": {Class: integers, Numbers: []float64{1, 1, 2}}}}, {1, map[string]marginal{"input/x": {Class: texts, Texts: map[string]int64{"1": 1}, Distinct: 1, Values: 1}}}}
	layouts, left := cutDays([]outline{o}, baseline.Definition{}, tables.Choice{Bins: 4, Top: 4, MaxColumns: 4})
	require.Empty(t, left)
	require.Equal(t, []string{"1", "2"}, layouts["input/x"].Top)
}
