package fields

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/drift"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// world is a store that any number of replicas share.
type world struct {
	t        *testing.T
	dir      string
	clock    time.Time
	training *Training
	sample   int
	days     int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, dir: t.TempDir(), clock: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), sample: 200, days: 3}
}

// replica starts a keeper on the store.
func (w *world) replica() *Keeper {
	w.t.Helper()
	store, err := baseline.Open(baseline.Folder(w.dir), nil, nil, baseline.WithClock(func() time.Time { return w.clock }))
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, store.Close()) })
	limiter := limit.New("fields", 100, limit.NewDropped())
	k, err := New(Options{
		Store: store, Sample: w.sample, SampleWait: time.Minute, Days: w.days, Choice: tables.Choice{Bins: 10, Top: 20, MaxColumns: 100},
		Training: func(context.Context, string, string) (Training, bool, error) {
			if w.training == nil {
				return Training{}, false, nil
			}
			return *w.training, true, nil
		},
		Fields: func(string) *limit.Limiter { return limiter }, Now: func() time.Time { return w.clock }, Logger: promslog.NewNopLogger(),
	})
	require.NoError(w.t, err)
	return k
}

func (w *world) cycle(keepers ...*Keeper) {
	w.t.Helper()
	for _, k := range keepers {
		require.NoError(w.t, k.Cycle(w.t.Context()))
	}
}

// inferences are random ones; shift moves the amounts.
func inferences(seed uint64, n int, shift float64) []*convention.Observation {
	r := rand.New(rand.NewPCG(seed, 1))
	list := make([]*convention.Observation, n)
	for i := range list {
		o := &convention.Observation{Confidence: r.Float64(), Prediction: otlp.StringValue([]string{"fraud", "fine", "fine", "fine"}[r.IntN(4)])}
		o.Features = []convention.Feature{
			{Name: "amount", Value: otlp.DoubleValue(r.ExpFloat64()*50 + shift)},
			{Name: "country", Value: otlp.StringValue([]string{"CA", "US", "FR", "DE"}[r.IntN(4)])},
			{Name: "items", Value: otlp.IntValue(int64(r.IntN(5)))},
			{Name: "gift", Value: otlp.BoolValue(r.IntN(3) == 0)},
		}
		if r.IntN(20) == 0 {
			o.Features = o.Features[1:] // no amount
		}
		list[i] = o
	}
	return list
}

// counts returns the counts of a tracker.
func counts(t *Tracker) map[string]map[string]int64 {
	c := t.counters.Load()
	if c == nil {
		return nil
	}
	return c.snapshot().Fields
}

// sum adds the counts of replicas.
func sum(trackers ...*Tracker) map[string]map[string]int64 {
	total := make(map[string]map[string]int64)
	for _, t := range trackers {
		for field, bins := range counts(t) {
			if total[field] == nil {
				total[field] = make(map[string]int64)
			}
			for bin, n := range bins {
				total[field][bin] += n
			}
		}
	}
	return total
}

// trainingData writes a table and returns where it is.
func (w *world) trainingData(query string) *Training {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "training.parquet")
	db, err := sql.Open("duckdb", "")
	require.NoError(w.t, err)
	defer db.Close()
	_, err = db.Exec(fmt.Sprintf("COPY (%s) TO '%s' (FORMAT parquet)", query, path))
	require.NoError(w.t, err)
	source, err := tables.Open(tables.Options{Type: tables.DuckDB, Threads: 1})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, source.Close()) })
	relation, err := source.Files(path, "")
	require.NoError(w.t, err)
	return &Training{Source: source, Relation: relation, Prediction: "label"}
}

const trainingRows = `SELECT (-ln(1 - random()) * 50)::DOUBLE AS amount, ['CA', 'US', 'FR', 'DE'][1 + (i % 4)] AS country,
	(i % 5)::INT AS items, i % 3 = 0 AS gift, CASE WHEN i % 4 = 0 THEN 'fraud' ELSE 'fine' END AS label, i AS row_id FROM range(5000) AS t(i)`

// The counts of three replicas behind a load balancer add up to exactly those of one replica, with the same drift, whichever
// of them cut the bins and whenever the others learned of it.
func TestReplicasAddUp(t *testing.T) {
	for name, training := range map[string]string{"bins from the first inferences": "", "bins from training data": trainingRows} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if training != "" {
				w.training = w.trainingData(training)
			}
			replicas := []*Keeper{w.replica(), w.replica(), w.replica()}
			var three []*Tracker
			for _, k := range replicas {
				three = append(three, k.Track("fraud", "3"))
			}
			alone := w.replica()
			one := alone.Track("fraud", "3")

			spans := inferences(7, 5000, 10)
			var balanced sync.WaitGroup
			feed := func(from, to int) {
				for r, tracker := range three {
					balanced.Go(func() {
						for i := from + r; i < to; i += len(three) {
							tracker.Count(spans[i])
						}
					})
				}
				balanced.Wait()
				for _, o := range spans[from:to] {
					one.Count(o)
				}
			}
			// The first has enough to cut bins from; the others still keep what they get.
			feed(0, 600)
			w.cycle(replicas[0])
			feed(600, 780)
			w.cycle(replicas[1], alone)
			feed(780, 1200)
			w.cycle(replicas[2])
			feed(1200, len(spans))

			want := counts(one)
			require.Equal(t, []string{"input/amount", "input/country", "input/gift", "input/items", "output/confidence", "output/prediction"}, slices.Sorted(maps.Keys(want)))
			require.Equal(t, want, sum(three...))
			for _, bins := range want {
				var total int64
				for _, n := range bins {
					total += n
				}
				require.EqualValues(t, len(spans), total)
			}
			require.Positive(t, want["input/amount"][binning.Null], "a feature that is not there is missing")
			if training == "" {
				return
			}
			view, err := one.trained.View(t.Context())
			require.NoError(t, err)
			base, err := view.Training(t.Context())
			require.NoError(t, err)
			require.Len(t, base.Fields, 4)
			for field := range base.Fields {
				ours, ok := drift.Compare(sum(three...)[field], base.Fields[field])
				require.True(t, ok)
				alone, ok := drift.Compare(want[field], base.Fields[field])
				require.True(t, ok)
				// The counts are the same; only the order of the sum's terms, a map's, is not.
				require.InDelta(t, alone.PSI, ours.PSI, 1e-12)
				require.Equal(t, alone.Noise, ours.Noise)
				require.Equal(t, field == "input/amount", ours.Exceeds(drift.Limits{PSI: 0.3, Z: 3.09, Values: 100, Noise: 0.07}), "%s: %v", field, ours)
			}
		})
	}
}

func TestBinsOfValuesAreThoseOfTheDatabase(t *testing.T) {
	for name, how := range map[string]tables.Reading{
		"NaN is a missing number, as in all files":    {},
		"NaN is a value where the training data says": {NaNIsMissing: new(false)},
	} {
		t.Run(name, func(t *testing.T) { valuesFallAsInADatabase(t, how) })
	}
}

func valuesFallAsInADatabase(t *testing.T, how tables.Reading) {
	w := newWorld(t)
	training := w.trainingData(`SELECT v::DOUBLE AS number, (v * 3)::INT AS whole, CASE WHEN v % 7 = 0 THEN NULL ELSE 'c' || (v % 30) END AS text,
		v % 2 = 0 AS truth FROM range(-50, 50) AS t(v) UNION ALL SELECT 'nan'::DOUBLE, NULL, NULL, NULL UNION ALL SELECT '-inf'::DOUBLE, 1, '', true`)
	training.Relation = training.Relation.ReadAs(how, training.Source)
	schema, err := training.Source.Schema(t.Context(), training.Relation)
	require.NoError(t, err)
	cut, err := training.Source.Cut(t.Context(), training.Relation, schema, tables.Window{}, tables.Choice{Bins: 5, Top: 4, MaxColumns: 9}, nil)
	require.NoError(t, err)
	layouts := make(tables.Fields)
	d := baseline.Definition{Fields: make(map[string]binning.Layout)}
	for name, l := range cut.Layouts {
		layouts[name] = &l
		d.Fields[input+name] = l
	}
	p, err := training.Source.Count(t.Context(), training.Relation, schema, tables.Window{}, layouts, w.clock)
	require.NoError(t, err)

	c := newCounters(d)
	add := func(number float64, whole, text, truth otlp.Value) {
		c.count([]convention.Feature{{Name: "number", Value: otlp.DoubleValue(number)}, {Name: "whole", Value: whole}, {Name: "text", Value: text}, {Name: "truth", Value: truth}}, otlp.Value{}, math.NaN(), false)
	}
	for v := -50; v < 50; v++ {
		text := otlp.Value{}
		if v%7 != 0 {
			text = otlp.StringValue(fmt.Sprint("c", v%30))
		}
		add(float64(v), otlp.IntValue(int64(v*3)), text, otlp.BoolValue(v%2 == 0))
	}
	add(math.NaN(), otlp.Value{}, otlp.Value{}, otlp.Value{})
	add(math.Inf(-1), otlp.IntValue(1), otlp.StringValue(""), otlp.BoolValue(true))
	got := c.snapshot()
	require.Equal(t, p.Rows, got.Rows)
	_, hasBin := p.Values["number"][binning.NaN]
	require.Equal(t, how.NaNIsMissing != nil, hasBin)
	for name, bins := range p.Values {
		require.Equal(t, bins, got.Fields[input+name], name)
	}
}

func TestValuesOutsideTheBaselineAreUnseen(t *testing.T) {
	w := newWorld(t)
	w.training = w.trainingData(trainingRows)
	k := w.replica()
	tracker := k.Track("fraud", "3")
	for _, o := range inferences(1, w.sample, 0) {
		tracker.Count(o)
	}
	w.cycle(k)
	o := inferences(2, 1, 0)[0]
	require.False(t, tracker.Count(o))
	o.Features[1].Value = otlp.StringValue("XX")
	require.True(t, tracker.Count(o))
	require.EqualValues(t, 1, counts(tracker)["input/country"][binning.Unseen])
	o.Features[1].Value = otlp.IntValue(5)
	require.True(t, tracker.Count(o), "another type is another category")
	o.Features = []convention.Feature{{Name: "amount", Value: otlp.StringValue("many")}, {Name: "new", Value: otlp.IntValue(1)}}
	before := counts(tracker)["input/amount"][binning.Null]
	require.False(t, tracker.Count(o))
	require.Equal(t, before+1, counts(tracker)["input/amount"][binning.Null], "text is no number")
}

func TestTheProductionBaselineIsLearnedDayByDayAndFrozen(t *testing.T) {
	w := newWorld(t)
	k := w.replica()
	tracker := k.Track("fraud", "3")
	day := func(n int) {
		for _, o := range inferences(uint64(n), 500, 0) {
			tracker.Count(o)
		}
		w.cycle(k)
		w.clock = w.clock.AddDate(0, 0, 1)
		w.cycle(k)
	}
	state := func() string {
		var kept strings.Builder
		for line := range strings.Lines(exportertest.Gather(t, k)) {
			if strings.HasPrefix(line, "ml_model_baseline_") || strings.HasPrefix(line, `ml_model_field_baseline_values{baseline="production",field="country"`) {
				kept.WriteString(line)
			}
		}
		return kept.String()
	}
	day(1)
	require.Equal(t, `ml_model_baseline_days{model="fraud",role="input",version="3"} 1
ml_model_baseline_days{model="fraud",role="output",version="3"} 1
ml_model_baseline_first_day_timestamp_seconds{model="fraud",role="input",version="3"} 1.7934912e+09
ml_model_baseline_first_day_timestamp_seconds{model="fraud",role="output",version="3"} 1.7934912e+09
ml_model_baseline_frozen{model="fraud",role="input",version="3"} 0
ml_model_baseline_frozen{model="fraud",role="output",version="3"} 0
ml_model_baseline_wanted_days{model="fraud",role="input",version="3"} 3
ml_model_baseline_wanted_days{model="fraud",role="output",version="3"} 3
ml_model_field_baseline_values{baseline="production",field="country",model="fraud",role="input",version="3"} 500
`, state())
	day(2)
	w.clock = w.clock.AddDate(0, 0, 5) // nothing is served: these are no days
	day(3)
	require.Contains(t, state(), `ml_model_baseline_frozen{model="fraud",role="input",version="3"} 1`)
	require.Contains(t, state(), `role="input",version="3"} 1500`)
	day(4)
	require.Contains(t, state(), `role="input",version="3"} 1500`, "what is frozen does not change")
	problems, err := promlint.New(strings.NewReader(exportertest.Gather(t, k))).Lint()
	require.NoError(t, err)
	for _, p := range problems {
		// These are a number of days, not a time of that unit.
		require.Contains(t, []string{"ml_model_baseline_days", "ml_model_baseline_wanted_days"}, p.Metric, p.Text)
	}

	t.Run("and published again after a restart", func(t *testing.T) {
		again := w.replica()
		restarted := again.Track("fraud", "3")
		w.cycle(again)
		require.NotNil(t, counts(restarted), "there are bins before the first inference")
		require.Contains(t, exportertest.Gather(t, again), `ml_model_baseline_frozen{model="fraud",role="input",version="3"} 1`)
	})
}

// By night amounts are high. Five minutes of a night that is like nights are compared with nights, and the hour in which the
// night ends with both.
func TestTheShortWindowsAreComparedWithTheirTimeOfTheDay(t *testing.T) {
	w := newWorld(t)
	w.clock = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	w.days = 5
	k := w.replica()
	tracker := k.Track("fraud", "3")
	hour := func() {
		shift := 0.0
		if w.clock.Hour() < 6 {
			shift = 1000
		}
		for _, o := range inferences(uint64(w.clock.Unix()), 400, shift) {
			tracker.Count(o)
		}
		w.cycle(k)
		w.clock = w.clock.Add(time.Hour)
		w.cycle(k)
	}
	for range 5 * 24 {
		hour()
	}
	shares := func(baseline, field string) map[string]float64 {
		of := make(map[string]float64)
		for line := range strings.Lines(exportertest.Gather(t, k)) {
			var bin string
			var share float64
			rest, ok := strings.CutPrefix(line, `ml_model_field_baseline_ratio{baseline="`+baseline+`",bin="`)
			if !ok || !strings.Contains(line, `field="`+field+`"`) {
				continue
			}
			bin, _, _ = strings.Cut(rest, `"`)
			_, err := fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &share)
			require.NoError(t, err)
			of[bin] = share
		}
		return of
	}
	w.clock = time.Date(2026, 11, 9, 3, 0, 0, 0, time.UTC)
	w.cycle(k)
	whole := shares("production", "amount")
	require.NotEmpty(t, whole)
	night := shares("season", "amount")
	require.NotEqual(t, whole, night)
	require.Equal(t, night, shares("season_5m", "amount"))
	require.Equal(t, shares("production", "country"), shares("season", "country"), "countries are the same at any time")

	w.clock = time.Date(2026, 11, 9, 6, 15, 0, 0, time.UTC)
	w.cycle(k)
	mixed, minutes := shares("season", "amount"), shares("season_5m", "amount")
	w.clock = time.Date(2026, 11, 9, 7, 0, 0, 0, time.UTC)
	w.cycle(k)
	day := shares("season", "amount")
	for bin := range whole {
		require.InDelta(t, 0.75*night[bin]+0.25*day[bin], mixed[bin], 0.01, bin)
		require.InDelta(t, day[bin], minutes[bin], 0.01, bin)
	}

	t.Run("days that an earlier version learned are compared as a whole, and the log says so", func(t *testing.T) {
		files, err := filepath.Glob(filepath.Join(w.dir, "model_inputs", "fraud", "hours-*.json"))
		require.NoError(t, err)
		require.Len(t, files, 2*5, "by the provisional and the refined bins")
		for _, f := range files {
			require.NoError(t, os.Remove(f))
		}
		var logs strings.Builder
		again := w.replica()
		again.Logger = slog.New(slog.NewTextHandler(&logs, nil))
		again.Track("fraud", "3")
		w.cycle(again)
		k = again
		require.Equal(t, whole, shares("season", "amount"))
		require.Equal(t, whole, shares("season_5m", "amount"))
		require.Contains(t, logs.String(), `lacks="days without hours: 5:`)
	})
}

func TestResetStartsANewBaseline(t *testing.T) {
	w := newWorld(t)
	k := w.replica()
	tracker := k.Track("fraud", "")
	for _, o := range inferences(1, w.sample, 0) {
		tracker.Count(o)
	}
	w.cycle(k)
	require.NotNil(t, counts(tracker))
	for n, subject := range []*baseline.Subject{tracker.outputs.subject, tracker.books[0].subject} {
		require.NoError(t, subject.Reset(t.Context(), baseline.PartDefinition))
		w.clock = w.clock.Add(time.Hour)
		w.cycle(k)
		require.Nil(t, counts(tracker), n)
		for _, o := range inferences(uint64(2+n), w.sample, 0) {
			tracker.Count(o)
		}
		w.cycle(k)
		require.NotNil(t, counts(tracker), n)
	}
}

func TestSmallSampleIsUsedAfterAWhile(t *testing.T) {
	w := newWorld(t)
	k := w.replica()
	tracker := k.Track("fraud", "3")
	w.clock = w.clock.Add(time.Hour)
	w.cycle(k)
	require.Nil(t, counts(tracker), "nothing was served")
	tracker.Count(inferences(1, 1, 0)[0])
	w.cycle(k)
	require.NotNil(t, counts(tracker))
}

func TestUnreadableTrainingDataIsRetried(t *testing.T) {
	w := newWorld(t)
	w.training = w.trainingData(trainingRows)
	var ends []error
	w.training.Done = func(err error) { ends = append(ends, err) }
	good := *w.training
	relation, err := good.Source.Files(filepath.Join(t.TempDir(), "missing.parquet"), "")
	require.NoError(t, err)
	w.training.Relation = relation
	k := w.replica()
	tracker := k.Track("fraud", "3")
	for _, o := range inferences(1, w.sample, 0) {
		tracker.Count(o)
	}
	err = k.Cycle(t.Context())
	require.ErrorContains(t, err, `model "fraud" version "3": training data: `)
	require.Nil(t, counts(tracker), "bins from production would be others")
	require.Len(t, ends, 1)
	require.Error(t, ends[0])
	*w.training = good
	w.cycle(k)
	require.Len(t, ends, 2, "it is opened once to cut bins and to count")
	require.NoError(t, ends[1])
	require.Contains(t, exportertest.Gather(t, k), `ml_model_field_baseline_values{baseline="training",field="amount",model="fraud",role="input",version="3"} 5000`)
}

func TestAFullSampleStartsACycle(t *testing.T) {
	w := newWorld(t)
	k := w.replica()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go k.Run(ctx)
	tracker := k.Track("fraud", "3")
	for _, o := range inferences(1, w.sample, 0) {
		tracker.Count(o)
	}
	require.Eventually(t, func() bool { return tracker.counters.Load() != nil }, 30*time.Second, time.Millisecond)
}

func TestSamplesKeepABoundedNumberOfValues(t *testing.T) {
	w := newWorld(t)
	k := w.replica()
	k.Sample = math.MaxInt / 8
	var trackers []*Tracker
	for i := range 3 {
		tracker := k.Track("m", fmt.Sprint(i))
		trackers = append(trackers, tracker)
		for _, o := range inferences(1, 70_000, 0) {
			tracker.Count(o)
		}
	}
	require.EqualValues(t, maxCells, k.cells.Load())
	for _, tracker := range trackers {
		k.Forget(tracker)
	}
	require.Zero(t, k.cells.Load())
}

func TestSpellingsOfANumberAreOneCategory(t *testing.T) {
	for name, c := range map[string]struct {
		top, rest []string
		value     otlp.Value
		want      string
	}{
		"a text with a fraction":            {[]string{"0", "1"}, nil, otlp.StringValue("1.0"), "1"},
		"a text of a decimal":               {[]string{"0", "1"}, nil, otlp.StringValue("1.00"), "1"},
		"a double":                          {[]string{"0", "1"}, nil, otlp.DoubleValue(1), "1"},
		"an integer of texts with fraction": {[]string{"0.0", "1.0"}, nil, otlp.IntValue(1), "1.0"},
		"one of the rest":                   {[]string{"0"}, []string{"7"}, otlp.StringValue("7.0"), "other"},
		"both are in the layout":            {[]string{"1", "1.0"}, nil, otlp.StringValue("1.0"), "1.0"},
		"a spelling of two":                 {[]string{"1.0", "1"}, nil, otlp.StringValue("1.00"), "1.0"},
		"another number":                    {[]string{"0", "1"}, nil, otlp.StringValue("2.0"), "unseen"},
		"a version is a text":               {[]string{"0", "1"}, nil, otlp.StringValue("1.00.0"), "unseen"},
		"a missing integer":                 {[]string{"0", "1"}, nil, otlp.DoubleValue(math.NaN()), "null"},
		"a boolean that was a number":       {[]string{"0", "1"}, nil, otlp.BoolValue(true), "1"},
		"a number that was a boolean":       {[]string{"true", "false"}, nil, otlp.IntValue(0), "false"},
		"a text that was a boolean":         {[]string{"true"}, []string{"false"}, otlp.StringValue("False"), "other"},
		"a boolean that was a text":         {[]string{"True", "False"}, nil, otlp.BoolValue(true), "True"},
		"no boolean with a third category":  {[]string{"true", "false", "maybe"}, nil, otlp.IntValue(1), "unseen"},
		"NaN is a category":                 {[]string{"NaN", "0.5"}, nil, otlp.DoubleValue(math.NaN()), "NaN"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newField(binning.NewCategorical(slices.Concat(c.top, c.rest), len(c.top), false))
			require.Equal(t, c.want, f.bins[f.bin(c.value)])
		})
	}
}

// cutOne cuts the bins of one feature from a sample of its values.
func cutOne(name string, values []otlp.Value, choice tables.Choice) (binning.Layout, bool) {
	s := &sample{names: []string{input + name}}
	for _, v := range values {
		s.rows = append(s.rows, []cell{{0, v}})
	}
	choice.MaxColumns = 10
	layouts, _ := s.cut(choice)
	l, ok := layouts[input+name]
	return l, ok
}

func TestBinsAreCutFromASample(t *testing.T) {
	values := func(n int, f func(i int) otlp.Value) []otlp.Value {
		list := make([]otlp.Value, n)
		for i := range list {
			list[i] = f(i)
		}
		return list
	}
	text := func(format string, mod int) func(int) otlp.Value {
		return func(i int) otlp.Value { return otlp.StringValue(fmt.Sprintf(format, i%mod)) }
	}
	choice := tables.Choice{Bins: 4, Top: 3, MaxColumns: 10}
	for name, tc := range map[string]struct {
		field  string
		values []otlp.Value
		want   []string // bins; none means that the field has none
	}{
		"numbers":                   {"x", values(100, func(i int) otlp.Value { return otlp.DoubleValue(float64(i)) }), []string{"null", "nan", "inf", "(-Inf,-50]", "(-50,24]", "(24,49]", "(49,74]", "(74,97]", "(97,148]", "(148,+Inf)"}},
		"a constant":                {"x", values(100, func(int) otlp.Value { return otlp.DoubleValue(0.5) }), []string{"null", "nan", "inf", "(-Inf,0.5)", "[0.5,0.5]", "(0.5,+Inf)"}},
		"few whole numbers":         {"x", values(100, func(i int) otlp.Value { return otlp.IntValue(int64(i % 2)) }), []string{"null", "unseen", "0", "1"}},
		"truths":                    {"x", values(100, func(i int) otlp.Value { return otlp.BoolValue(i%4 == 0) }), []string{"null", "unseen", "false", "true"}},
		"categories":                {"x", values(99, text("c%d", 3)), []string{"null", "unseen", "c0", "c1", "c2"}},
		"more categories than top":  {"x", values(100, text("c%d", 5)), []string{"null", "unseen", "other", "c0", "c1", "c2"}},
		"categories seen once":      {"x", append(values(97, text("c%d", 3)), values(3, text("rare%d", 3))...), []string{"null", "other", "c0", "c1", "c2"}},
		"two spellings of a number": {"x", append(values(50, text("%d", 2)), values(49, text("%d.0", 2))...), []string{"null", "unseen", "0", "1"}},
		"identifiers":               {"x", values(100, text("c%d", 100)), nil},
		"whole numbers of a key":    {"user_id", values(100, func(i int) otlp.Value { return otlp.IntValue(int64(i)) }), nil},
		"lists":                     {"x", []otlp.Value{{Kind: otlp.List}}, nil},
		"long texts":                {"x", []otlp.Value{otlp.StringValue(strings.Repeat("x", maxText+1))}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l, ok := cutOne(tc.field, tc.values, choice)
			require.Equal(t, tc.want != nil, ok)
			if ok {
				require.NoError(t, l.Validate())
				require.Equal(t, tc.want, l.Bins())
			}
		})
	}
}
