package fields

import (
	"fmt"
	"log/slog"
	"maps"
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
)

// serve counts so many inferences an hour for so many days.
func (w *world) serve(k *Keeper, days int, shift float64, trackers ...*Tracker) {
	w.t.Helper()
	for range days * 24 {
		for n, t := range trackers {
			for _, o := range inferences(uint64(w.clock.Unix())+uint64(n), 60, shift) {
				t.Count(o)
			}
		}
		w.cycle(k)
		w.clock = w.clock.Add(time.Hour)
		w.cycle(k)
	}
}

// value returns the value of a series, and whether it is there.
func value(t *testing.T, k *Keeper, series string) (v float64, ok bool) {
	t.Helper()
	for line := range strings.Lines(exportertest.Gather(t, k)) {
		if rest, found := strings.CutPrefix(line, series+" "); found {
			_, err := fmt.Sscan(rest, &v)
			require.NoError(t, err)
			return v, true
		}
	}
	return 0, false
}

func requireValue(t *testing.T, k *Keeper, want float64, series string) {
	t.Helper()
	v, ok := value(t, k, series)
	require.True(t, ok, "%s is not there", series)
	require.InDelta(t, want, v, 1e-9, series)
}

func TestTheBaselineOfFeaturesSurvivesARelease(t *testing.T) {
	w := newWorld(t)
	w.clock = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	w.days = 10
	k := w.replica()
	one := k.Track("fraud", "1")
	w.serve(k, 4, 0, one)
	k.Forget(one)
	two := k.Track("fraud", "2")
	w.serve(k, 4, 0, two)
	requireValue(t, k, 8, `ml_model_baseline_days{model="fraud",role="input",version="2"}`)
	requireValue(t, k, 0, `ml_model_baseline_frozen{model="fraud",role="input",version="2"}`)
	three := k.Track("fraud", "3")
	w.serve(k, 2, 0, two, three)
	requireValue(t, k, 1, `ml_model_baseline_frozen{model="fraud",role="input",version="3"}`)
	requireValue(t, k, 24*60*(10+2), `ml_model_field_baseline_values{baseline="production",field="country",model="fraud",role="input",version="3"}`)
	_, ok := value(t, k, `ml_model_field_baseline_values{baseline="season_5m",field="country",model="fraud",role="input",version="3"}`)
	require.True(t, ok, "five minutes of a new version are compared with what the versions before left behind")
}

func TestOutputsAreComparedWithThePreviousVersionUntilFrozen(t *testing.T) {
	w := newWorld(t)
	w.clock = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	w.days = 8
	k := w.replica()
	first := k.Track("fraud", "1")
	w.serve(k, 8, 0, first)
	requireValue(t, k, 1, `ml_model_baseline_frozen{model="fraud",role="output",version="1"}`)
	k.Forget(first)

	// The next version calls fraud what was fine.
	second := k.Track("fraud", "2")
	turned := func(n int) {
		for i, o := range inferences(uint64(w.clock.Unix()), n, 0) {
			o.Prediction = otlp.StringValue([]string{"fraud", "fraud", "fine"}[i%3])
			second.Count(o)
		}
	}
	turned(fewInferences)
	w.clock = w.clock.Add(10 * time.Second)
	w.cycle(k)
	require.NotNil(t, counts(second), "a version whose fields are known needs no sample")
	requireValue(t, k, 1, `ml_model_baseline_frozen{model="fraud",role="output",version="2"}`)
	requireValue(t, k, 0, `ml_model_baseline_days{model="fraud",role="output",version="2"}`)
	requireValue(t, k, 1, `ml_model_baseline_inherited_info{from_version="1",model="fraud",version="2"}`)
	before, _ := value(t, k, `ml_model_field_baseline_ratio{baseline="production",bin="fraud",field="prediction",model="fraud",role="output",version="2"}`)
	require.InDelta(t, 0.25, before, 0.02)
	for range 8 * 24 {
		turned(60)
		w.clock = w.clock.Add(time.Hour)
		w.cycle(k)
	}
	own, _ := value(t, k, `ml_model_field_baseline_ratio{baseline="production",bin="fraud",field="prediction",model="fraud",role="output",version="2"}`)
	require.InDelta(t, 0.667, own, 0.02)
	_, inherits := value(t, k, `ml_model_baseline_inherited_info{from_version="1",model="fraud",version="2"}`)
	require.False(t, inherits)

	t.Run("a version that was replaced after a few days is no measure", func(t *testing.T) {
		third := k.Track("fraud", "3")
		w.serve(k, 2, 0, third)
		k.Forget(third)
		k.Forget(second)
		fourth := k.Track("fraud", "4")
		w.serve(k, 1, 0, fourth)
		requireValue(t, k, 1, `ml_model_baseline_inherited_info{from_version="2",model="fraud",version="4"}`)
	})
}

func TestNewFeatureOfAVersionIsLearned(t *testing.T) {
	w := newWorld(t)
	w.clock = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	k := w.replica()
	one := k.Track("fraud", "1")
	w.serve(k, 3, 0, one)
	k.Forget(one)
	two := k.Track("fraud", "2")
	serve := func(hours int) {
		for range hours {
			for i, o := range inferences(uint64(w.clock.Unix()), 60, 0) {
				o.Features = append(o.Features, convention.Feature{Name: "hour", Value: otlp.IntValue(int64(i % 6))})
				two.Count(o)
			}
			w.cycle(k)
			w.clock = w.clock.Add(time.Hour)
			w.cycle(k)
		}
	}
	serve(30)
	require.Contains(t, counts(two), "input/hour")
	requireValue(t, k, 1, `ml_model_baseline_frozen{model="fraud",role="input",version="2"}`)
	requireValue(t, k, 3*24*60, `ml_model_field_baseline_values{baseline="production",field="country",model="fraud",role="input",version="2"}`)
	_, ok := value(t, k, `ml_model_field_baseline_values{baseline="production",field="hour",model="fraud",role="input",version="2"}`)
	require.False(t, ok, "what has not been learned is no measure")
	serve(60)
	requireValue(t, k, 3*24*60, `ml_model_field_baseline_values{baseline="production",field="hour",model="fraud",role="input",version="2"}`)
	requireValue(t, k, 3*24*60, `ml_model_field_baseline_values{baseline="production",field="country",model="fraud",role="input",version="2"}`)
}

func TestAcceptedFeatureIsLearnedAgainAndOthersAreKept(t *testing.T) {
	w := newWorld(t)
	w.clock = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	k := w.replica()
	one := k.Track("fraud", "1")
	w.serve(k, 3, 0, one)
	require.ErrorContains(t, Accept(t.Context(), k.Store, "fraud", "colour"), `"colour"; want one of "amount", "country", "gift", "items"`)
	require.NoError(t, Accept(t.Context(), k.Store, "fraud", "amount"))
	w.serve(k, 1, 5000, one)
	requireValue(t, k, 3*24*60, `ml_model_field_baseline_values{baseline="production",field="country",model="fraud",role="input",version="1"}`)
	_, ok := value(t, k, `ml_model_field_baseline_values{baseline="production",field="amount",model="fraud",role="input",version="1"}`)
	require.False(t, ok)
	w.serve(k, 5, 5000, one)
	requireValue(t, k, 3*24*60-60, `ml_model_field_baseline_values{baseline="production",field="amount",model="fraud",role="input",version="1"}`)
	values := counts(one)["input/amount"]
	var total, most int64
	for _, n := range values {
		total, most = total+n, max(most, n)
	}
	require.Less(t, most*5, total, "it has bins of its own again: %v", values)

	t.Run("and again", func(t *testing.T) {
		require.NoError(t, Accept(t.Context(), k.Store, "fraud", "amount"))
		w.serve(k, 6, 0, one)
		requireValue(t, k, 3*24*60-60, `ml_model_field_baseline_values{baseline="production",field="amount",model="fraud",role="input",version="1"}`)
		require.Len(t, one.books, 3)
	})
	t.Run("a feature that the model is not asked with any more is given up", func(t *testing.T) {
		require.NoError(t, Accept(t.Context(), k.Store, "fraud", "gift"))
		for range 5 {
			for range 2 * w.sample {
				one.Count(&convention.Observation{Confidence: 0.5, Prediction: otlp.StringValue("fine"), Features: []convention.Feature{{Name: "country", Value: otlp.StringValue("CA")}}})
			}
			w.clock = w.clock.Add(time.Minute)
			w.cycle(k)
		}
		require.NotNil(t, counts(one))
		require.Len(t, one.books, 3)
		require.NotContains(t, counts(one), "input/gift", "it is absent and not null")
		restarted := w.replica()
		again := restarted.Track("fraud", "1")
		w.serveWithout(restarted, again, "gift")
		require.NotContains(t, counts(again), "input/gift")
		w.serve(restarted, 1, 0, again)
		require.Contains(t, counts(again), "input/gift")
		require.Len(t, again.books, 4, "it is learned when it is sent again")
	})
}

// serveWithout counts inferences that lack a feature, in two cycles.
func (w *world) serveWithout(k *Keeper, tracker *Tracker, feature string) {
	w.t.Helper()
	for range 2 {
		for _, o := range inferences(uint64(w.clock.Unix()), w.sample, 0) {
			o.Features = slices.DeleteFunc(o.Features, func(f convention.Feature) bool { return f.Name == feature })
			tracker.Count(o)
		}
		w.cycle(k)
		w.clock = w.clock.Add(2 * time.Minute)
		w.cycle(k)
	}
}

func TestFeatureThatAVersionNeverSentIsAbsentAndNotNull(t *testing.T) {
	w := newWorld(t)
	w.clock = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	k := w.replica()
	var logs strings.Builder
	k.Logger = slog.New(slog.NewTextHandler(&logs, nil))
	one := k.Track("fraud", "1")
	w.serve(k, 4, 0, one)
	require.NotContains(t, logs.String(), "does not send")
	two := k.Track("fraud", "2")
	w.serveWithout(k, two, "gift")
	require.Contains(t, counts(two), "input/country")
	require.NotContains(t, counts(two), "input/gift")
	_, ok := value(t, k, `ml_model_field_values_total{bin="null",field="gift",model="fraud",role="input",version="2"}`)
	require.False(t, ok)
	requireValue(t, k, 3*24*60, `ml_model_field_baseline_values{baseline="production",field="gift",model="fraud",role="input",version="2"}`)
	require.Contains(t, logs.String(), `version=2 previous_version=1 features=[gift]`)

	other := w.replica()
	elsewhere := other.Track("fraud", "2")
	w.serveWithout(other, elsewhere, "gift")
	require.NotContains(t, counts(elsewhere), "input/gift")

	w.serve(k, 1, 0, two)
	require.Contains(t, counts(two), "input/gift")
	before := counts(two)["input/gift"][binning.Null]
	w.serveWithout(k, two, "gift")
	require.Equal(t, before+int64(2*w.sample), counts(two)["input/gift"][binning.Null], "once sent, it is null where it is absent")
	w.serveWithout(other, elsewhere, "gift")
	require.Positive(t, counts(elsewhere)["input/gift"][binning.Null], "another replica knows that the version has sent it")

	restarted := w.replica()
	again := restarted.Track("fraud", "2")
	w.serveWithout(restarted, again, "gift")
	require.EqualValues(t, 2*w.sample, counts(again)["input/gift"][binning.Null], "a feature that breaks at a restart is null")
	require.Equal(t, 1, strings.Count(logs.String(), "does not send"))
}

// earlier stores the baseline of a version as the program did before models had their own baselines.
func (w *world) earlier(k *Keeper, version string, days int, hours bool, more ...string) *baseline.Subject {
	w.t.Helper()
	s := newSample()
	for _, o := range inferences(7, 500, 0) {
		for _, name := range more {
			o.Features = append(o.Features, convention.Feature{Name: name, Value: otlp.StringValue("app")})
		}
		s.add(o.Features, o.Prediction, o.Confidence, 100)
	}
	subject := k.Store.Subject(kind, subjectName("fraud", version))
	layouts, _ := s.cut(k.Choice)
	d, err := subject.CreateDefinition(w.t.Context(), baseline.Definition{Edges: baseline.EdgesProduction, Fields: layouts})
	require.NoError(w.t, err)
	for n := range days {
		c := newCounters(d)
		s.replay(c)
		var h baseline.Hours
		if hours {
			h.Add(d, 12, c.snapshot().Fields)
		}
		_, err := subject.AddDayByHour(w.t.Context(), baseline.DayOf(w.clock.AddDate(0, 0, n-days)), c.snapshot(), h)
		require.NoError(w.t, err)
	}
	view, err := subject.View(w.t.Context())
	require.NoError(w.t, err)
	_, err = view.Production(w.t.Context(), w.days)
	require.NoError(w.t, err)
	return subject
}

func TestBaselinesOfAnEarlierProgramVersionAreTakenOver(t *testing.T) {
	for name, test := range map[string]struct {
		days   map[string]int // learned by version
		served string
		want   int // days
		frozen float64
		from   string
	}{
		"of the version that is frozen, however long ago": {days: map[string]int{"1": 3, "2": 2}, served: "2", want: 3, frozen: 1, from: "1"},
		"of the version that has more days":               {days: map[string]int{"1": 1, "2": 2}, served: "1", want: 2, from: "2"},
		"for a version that is new":                       {days: map[string]int{"1": 3}, served: "2", want: 3, frozen: 1, from: "1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			k := w.replica()
			var logs strings.Builder
			k.Logger = slog.New(slog.NewTextHandler(&logs, nil))
			for version, days := range test.days {
				w.earlier(k, version, days, version == "1")
			}
			tracker := k.Track("fraud", test.served)
			for _, o := range inferences(1, w.sample, 0) {
				tracker.Count(o)
			}
			w.cycle(k)
			labels := `model="fraud",role="input",version="` + test.served + `"`
			requireValue(t, k, float64(test.want), `ml_model_baseline_days{`+labels+`}`)
			requireValue(t, k, test.frozen, `ml_model_baseline_frozen{`+labels+`}`)
			requireValue(t, k, float64(500*test.want), `ml_model_field_baseline_values{baseline="production",field="country",`+labels+`}`)
			require.Contains(t, logs.String(), "took over what a version had learned")
			require.Contains(t, logs.String(), "from_version="+test.from)
		})
	}
	t.Run("features that only another version learned have a book of their own", func(t *testing.T) {
		w := newWorld(t)
		k := w.replica()
		var logs strings.Builder
		k.Logger = slog.New(slog.NewTextHandler(&logs, nil))
		w.earlier(k, "1", 3, true)
		w.earlier(k, "2", 2, true, "channel")
		for _, k := range []*Keeper{k, w.replica()} { // The second finds it done.
			tracker := k.Track("fraud", "2")
			for _, o := range inferences(1, w.sample, 0) {
				o.Features = append(o.Features, convention.Feature{Name: "channel", Value: otlp.StringValue("app")})
				tracker.Count(o)
			}
			w.cycle(k)
			requireValue(t, k, 3, `ml_model_baseline_days{model="fraud",role="input",version="2"}`)
			require.Len(t, tracker.books, 2)
			require.Equal(t, []string{"input/channel"}, slices.Collect(maps.Keys(tracker.books[1].definition.Fields)))
			require.Len(t, tracker.books[1].production.Days, 2)
			require.EqualValues(t, 1000, tracker.books[1].production.Counts.Fields["input/channel"][binning.CategoryBin("app")])
		}
		require.Contains(t, logs.String(), "from_version=2 features=[input/channel]")
	})
	t.Run("where a copy was interrupted, the next start goes on", func(t *testing.T) {
		w := newWorld(t)
		k := w.replica()
		earlier := w.earlier(k, "1", 2, true)
		view, err := earlier.View(t.Context())
		require.NoError(t, err)
		d, err := view.Definition(t.Context())
		require.NoError(t, err)
		inputs := onlyFields(d, isInput)
		_, err = k.Store.Subject(inputsKind, "fraud").CreateDefinition(t.Context(), baseline.Definition{Edges: inputs.Edges, Fields: inputs.Fields})
		require.NoError(t, err)
		k.Track("fraud", "1")
		w.cycle(k)
		requireValue(t, k, 2, `ml_model_baseline_days{model="fraud",role="input",version="1"}`)
	})
	t.Run("what was reset is not taken over again", func(t *testing.T) {
		w := newWorld(t)
		k := w.replica()
		w.earlier(k, "1", 3, true)
		k.Track("fraud", "1")
		w.cycle(k)
		require.NoError(t, k.Store.Subject(inputsKind, "fraud").Reset(t.Context(), baseline.PartProduction))
		again := w.replica()
		again.Track("fraud", "1")
		w.cycle(again)
		requireValue(t, again, 0, `ml_model_baseline_days{model="fraud",role="input",version="1"}`)
	})
}

func TestTheTrainingDataOfEachVersionIsCountedByTheBinsOfTheModel(t *testing.T) {
	w := newWorld(t)
	w.training = w.trainingData(trainingRows)
	k := w.replica()
	one := k.Track("fraud", "1")
	w.serve(k, 1, 0, one)
	w.training = w.trainingData(strings.Replace(trainingRows, "* 50)", "* 50 + 100)", 1))
	two := k.Track("fraud", "2")
	w.serve(k, 1, 100, two)
	shares := func(version string) (all []float64) {
		for _, bin := range one.books[0].definition.Fields["input/amount"].Bins() {
			v, ok := value(t, k, fmt.Sprintf(`ml_model_field_baseline_ratio{baseline="training",bin=%q,field="amount",model="fraud",role="input",version=%q}`, bin, version))
			require.True(t, ok, bin)
			all = append(all, v)
		}
		return all
	}
	require.Len(t, shares("2"), len(shares("1")))
	require.NotEqual(t, shares("1"), shares("2"))
}

func TestTheLastCountsOfAForgottenVersionAreLearned(t *testing.T) {
	w := newWorld(t)
	k := w.replica()
	one, two := k.Track("fraud", "1"), k.Track("fraud", "2")
	w.serve(k, 1, 0, one, two)
	for _, o := range inferences(1, 50, 0) {
		one.Count(o)
	}
	k.Forget(one)
	w.serve(k, 1, 0, two)
	w.serve(k, 1, 0, two)
	requireValue(t, k, 24*60*2+50+12*60+24*60, `ml_model_field_baseline_values{baseline="production",field="country",model="fraud",role="input",version="2"}`)
}
