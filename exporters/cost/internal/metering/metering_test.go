package metering

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/prices"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// sourceFunc is a Source.
type sourceFunc func(end time.Time) (Usage, error)

func (f sourceFunc) Usage(_ context.Context, end time.Time, _ time.Duration) (Usage, error) {
	return f(end)
}

func always(u Usage) sourceFunc { return func(time.Time) (Usage, error) { return u, nil } }

// clock is set by the test.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func options(t testing.TB, c *clock, source Source) Options {
	t.Helper()
	o, err := optionsFor(filepath.Join(t.TempDir(), "spend.json"), c.Now, source)
	require.NoError(t, err)
	return o
}

func optionsFor(file string, now func() time.Time, source Source) (Options, error) {
	rate := func(currency string, _ time.Time) (float64, bool) { return 1, currency == "CAD" }
	book, err := prices.NewBook([]prices.Entry{
		{Unit: prices.GPUHour, Resource: "H100", Price: 4, Currency: "CAD"},
		{Unit: prices.InputToken, Resource: "api", Price: 1e-6, Currency: "CAD"},
		{Unit: prices.Request, Resource: "ocr", Price: 0.01, Currency: "CAD"},
	}, rate)
	return Options{
		Source: source, Prices: book, Rate: rate,
		Resources: map[string]Resource{
			"core": {PerHour: 0.05, Currency: "CAD"}, "prometheus": {PerHour: 1, Currency: "CAD", Observability: true}, "foreign": {PerHour: 1, Currency: "XXX"},
		},
		Department: func(model string) string { return map[string]string{"fraud": "risk"}[model] },
		SelfHosted: func(model string) bool { return model == "own" },
		Value:      func(model string) (float64, bool) { return 0.5, model == "fraud" },
		Tier:       func(model string) string { return map[string]string{"nightly": "batch"}[model] },
		Month:      func(at time.Time) string { return at.Format("2006-01") },
		Weight:     ByUsage, GatewayCurrency: "CAD",
		File: file, Step: 5 * time.Minute, Lag: time.Minute, CatchUp: 24 * time.Hour,
		MaxSeries: 100, Folded: func() {}, Now: now, Logger: promslog.NewNopLogger(),
	}, err
}

func open(t testing.TB, o Options) *Meter {
	t.Helper()
	m, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// hour opens a meter and lets it count one hour of the same usage.
func hour(t *testing.T, u Usage) map[Key]float64 {
	t.Helper()
	c := &clock{noon}
	m := open(t, options(t, c, always(u)))
	require.NoError(t, m.Cycle(t.Context()))
	c.now = noon.Add(time.Hour)
	require.NoError(t, m.Cycle(t.Context()))
	requireReconciled(t, m, 1e-9)
	return sums(m)
}

// requireReconciled requires that the divided costs add up to the whole cost.
func requireReconciled(t *testing.T, m *Meter, within float64) {
	t.Helper()
	gpu, loaded := m.Unreconciled()
	require.InDelta(t, 0, gpu, within, "of the GPUs")
	require.InDelta(t, 0, loaded, within, "of all that was spent")
}

// marginal returns the counters without those of shared costs and of months.
func marginal(all map[Key]float64) map[Key]float64 {
	maps.DeleteFunc(all, func(key Key, _ float64) bool {
		return key.Counter == Loaded || key.Counter == Total || key.Counter == Monthly || key.Counter == GPUHours
	})
	return all
}

func sums(m *Meter) map[Key]float64 {
	samples, _ := m.Samples()
	all := map[Key]float64{}
	for _, s := range samples {
		all[s.Key] = s.Sum
	}
	return all
}

func TestAnHourOfUsage(t *testing.T) {
	shared := Owner{Department: "platform"}
	gpu := func(busy float64, holders ...Owner) GPU {
		return GPU{Name: "H100", Node: "n1", UUID: "a", Busy: busy, Holders: holders}
	}
	spend := func(department, resource, model string) Key {
		return Key{Counter: Spend, Department: department, Resource: resource, Model: model}
	}
	total := map[Key]float64{{Counter: GPUTotal}: 4, {Counter: Infrastructure}: 4}
	for name, tc := range map[string]struct {
		usage Usage
		want  map[Key]float64 // beside total, if there is a GPU
	}{
		"a GPU that nobody holds is idle and unallocated": {
			Usage{GPUs: []GPU{gpu(0)}},
			map[Key]float64{{Counter: Idle, Kind: Unallocated, Department: Unallocated}: 4},
		},
		"a holder of a model pays for the busy time, and the rest is idle and allocated": {
			Usage{GPUs: []GPU{gpu(0.25, Owner{"risk", "own"})}},
			map[Key]float64{spend("risk", "gpu", "own"): 1, {Counter: Idle, Kind: Allocated, Department: "risk"}: 3},
		},
		"two holders pay a half each": {
			Usage{GPUs: []GPU{gpu(1, Owner{"risk", "own"}, Owner{"search", "other"})}},
			map[Key]float64{spend("risk", "gpu", "own"): 2, spend("search", "gpu", "other"): 2},
		},
		"models share by the time they work, and what they do not explain is shared": {
			Usage{
				GPUs: []GPU{gpu(0.5, shared)},
				Working: map[ClusterModel]float64{
					{"", "fraud"}: 0.3, {"", "rank"}: 0.1, {"elsewhere", "far"}: 1, {"", "api"}: 5,
				},
				Tokens: map[TokenUse]float64{{"api", "input", ""}: 0},
			},
			map[Key]float64{
				spend("risk", "gpu", "fraud"): 1.2, spend("platform", "gpu", "rank"): 0.4, spend("platform", "gpu", ""): 0.4,
				{Counter: Idle, Kind: Allocated, Department: "platform"}: 2,
			},
		},
		"batched requests that overlap do not cost more than the GPU": {
			Usage{GPUs: []GPU{gpu(1, shared)}, Working: map[ClusterModel]float64{{"", "fraud"}: 6, {"", "rank"}: 2}},
			map[Key]float64{spend("risk", "gpu", "fraud"): 3, spend("platform", "gpu", "rank"): 1},
		},
		"a GPU without a price is counted, and not free": {
			Usage{GPUs: []GPU{{Name: "B300", Node: "n1", UUID: "b", Busy: 1}}},
			map[Key]float64{{Counter: Unpriced, Resource: "gpu_hour", Model: "B300"}: 1},
		},
		"requests and tokens with a price are bought": {
			Usage{Requests: map[string]float64{"ocr": 1, "api": 1}, Tokens: map[TokenUse]float64{{"api", "input", ""}: 1000}},
			map[Key]float64{
				spend(Unallocated, "request", "ocr"): 36, spend(Unallocated, "input_token", "api"): 3.6, {Counter: Infrastructure}: 39.6,
				{Counter: Units, Resource: "request", Model: "ocr"}: 3600, {Counter: Units, Resource: "request", Model: "api"}: 3600,
				{Counter: Units, Resource: "input_token", Model: "api"}: 3.6e6,
			},
		},
		"tokens of a direction without a price are counted, and not free": {
			Usage{Tokens: map[TokenUse]float64{{"api", "output", ""}: 10, {"api", "input", ""}: 0}},
			map[Key]float64{
				{Counter: Unpriced, Resource: "output_token", Model: "api"}: 36000, {Counter: Units, Resource: "output_token", Model: "api"}: 36000,
			},
		},
		"a model without a price is counted and not free": {
			Usage{Requests: map[string]float64{"new": 1}},
			map[Key]float64{{Counter: Unpriced, Resource: "request", Model: "new"}: 3600, {Counter: Units, Resource: "request", Model: "new"}: 3600},
		},
		"a model on GPUs of one's own needs no price of its requests": {
			Usage{Requests: map[string]float64{"own": 1}},
			map[Key]float64{{Counter: Units, Resource: "request", Model: "own"}: 3600},
		},
		"a model of one's own costs its GPUs once, also where a list has a price for its name": {
			Usage{GPUs: []GPU{gpu(0.25, Owner{"risk", "api"})}, Tokens: map[TokenUse]float64{{"api", "input", ""}: 1000}},
			map[Key]float64{
				spend("risk", "gpu", "api"): 1, {Counter: Idle, Kind: Allocated, Department: "risk"}: 3,
				{Counter: Units, Resource: "input_token", Model: "api"}: 3.6e6,
			},
		},
		"a gateway's model without a price is counted, and takes nothing of the GPUs": {
			Usage{
				GPUs: []GPU{gpu(0.5, shared)}, Working: map[ClusterModel]float64{{"", "fraud"}: 0.5},
				Requests: map[string]float64{"chat-prod": 1}, Tokens: map[TokenUse]float64{{"chat-prod", "input", ""}: 10},
			},
			map[Key]float64{
				spend("risk", "gpu", "fraud"): 2, {Counter: Idle, Kind: Allocated, Department: "platform"}: 2,
				{Counter: Unpriced, Resource: "input_token", Model: "chat-prod"}: 36000,
				{Counter: Units, Resource: "request", Model: "chat-prod"}:        3600, {Counter: Units, Resource: "input_token", Model: "chat-prod"}: 36000,
			},
		},
		"three pods of one team and one of another pay three quarters and one": {
			Usage{GPUs: []GPU{gpu(1, Owner{"risk", "own"}, Owner{"risk", "own"}, Owner{"risk", "own"}, Owner{"search", "other"})}},
			map[Key]float64{spend("risk", "gpu", "own"): 3, spend("search", "gpu", "other"): 1},
		},
		"successful requests are worth what the configuration says, and others nothing": {
			Usage{Successes: map[string]float64{"fraud": 2, "rank": 1}},
			map[Key]float64{
				{Counter: Value, Model: "fraud"}: 3600, {Counter: Units, Resource: "successful_request", Model: "fraud"}: 7200,
				{Counter: Units, Resource: "successful_request", Model: "rank"}: 3600,
			},
		},
		"a query of values replaces the query by inference": {
			Usage{Successes: map[string]float64{"fraud": 2}, Values: map[string]float64{"fraud": 0.25, "rank": 1}},
			map[Key]float64{
				{Counter: Value, Model: "fraud"}: 900, {Counter: Value, Model: "rank"}: 3600,
				{Counter: Units, Resource: "successful_request", Model: "fraud"}: 7200,
			},
		},
		"resources with a query cost their price, those that watch apart": {
			Usage{Resources: []ResourceUse{{"core", Owner{"risk", ""}, 40}, {"prometheus", Owner{}, 0.5}, {"foreign", Owner{}, 2}}},
			map[Key]float64{
				spend("risk", "core", ""): 2, spend(Unallocated, "prometheus", ""): 0.5, {Counter: Infrastructure}: 2, {Counter: Observability}: 0.5,
				{Counter: Unpriced, Resource: "foreign"}: 2,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if len(tc.usage.GPUs) > 0 && tc.usage.GPUs[0].Name == "H100" {
				for k, v := range total {
					tc.want[k] = v
				}
			}
			require.InDeltaMapValues(t, tc.want, marginal(hour(t, tc.usage)), 1e-6)
		})
	}
}

// For every measurement, the whole cost of the GPUs is counted exactly once, and no counter decreases.
func TestDividedGPUCostsSumToTheWholeCost(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	c := &clock{noon}
	var exact float64
	o := options(t, c, sourceFunc(func(time.Time) (Usage, error) {
		u := Usage{Working: map[ClusterModel]float64{}}
		for i := range r.IntN(6) {
			g := GPU{Cluster: fmt.Sprint(r.IntN(2)), Name: "H100", UUID: fmt.Sprint(i), Busy: r.Float64()*1.2 - 0.1}
			for range r.IntN(3) {
				g.Holders = append(g.Holders, Owner{fmt.Sprint("d", r.IntN(3)), []string{"", "", "m1", "m2"}[r.IntN(4)]})
			}
			u.GPUs = append(u.GPUs, g)
			exact += 4. / 12
		}
		for i := range r.IntN(5) {
			u.Working[ClusterModel{fmt.Sprint(r.IntN(2)), fmt.Sprint("m", i)}] = r.ExpFloat64() * float64(r.IntN(2))
		}
		return u, nil
	}))
	folded := 0
	o.MaxSeries, o.Folded = 12, func() { folded++ } // Folding must lose nothing.
	m := open(t, o)
	require.NoError(t, m.Cycle(t.Context()))
	last := map[Key]float64{}
	for range 300 {
		c.now = c.now.Add(o.Step)
		require.NoError(t, m.Cycle(t.Context()))
		requireReconciled(t, m, 1e-9*(1+exact))
		now := sums(m)
		require.InDelta(t, exact, now[Key{Counter: GPUTotal}], 1e-9*(1+exact))
		for k, v := range last {
			require.GreaterOrEqual(t, now[k], v, k)
		}
		last = now
	}
	require.LessOrEqual(t, len(last), o.MaxSeries+10, "labels past the limit fold")
	require.Positive(t, folded)
}

func TestOutageOfPrometheusIsBackfilled(t *testing.T) {
	c := &clock{noon}
	down := false
	o := options(t, c, sourceFunc(func(end time.Time) (Usage, error) {
		if down {
			return Usage{}, errors.New("connection refused")
		}
		return Usage{GPUs: []GPU{{Name: "H100"}}, Blind: end.Equal(noon.Add(time.Hour))}, nil
	}))
	m := open(t, o)
	require.NoError(t, m.Cycle(t.Context()))
	begun := noon.Add(-o.Lag).Truncate(o.Step)
	idle := Key{Counter: Idle, Kind: Unallocated, Department: Unallocated}

	down = true
	for range 36 {
		c.now = c.now.Add(o.Step)
		require.ErrorContains(t, m.Cycle(t.Context()), "connection refused")
	}
	require.Empty(t, sums(m))

	down = false
	require.NoError(t, m.Cycle(t.Context()))
	_, through := m.Samples()
	gap := o.Step
	require.InDelta(t, 4*(through.Sub(begun)-gap).Hours(), sums(m)[idle], 1e-9)
	require.Equal(t, gap.Seconds(), sums(m)[Key{Counter: GapSeconds, Kind: NoData}], "what Prometheus did not see is a gap")

	before := sums(m)[idle]
	c.now = c.now.Add(o.CatchUp + 3*time.Hour)
	require.NoError(t, m.Cycle(t.Context()))
	require.InDelta(t, before+4*o.CatchUp.Hours(), sums(m)[idle], 1e-9, "no further back than the configuration says")
	require.InDelta(t, (3 * time.Hour).Seconds(), sums(m)[Key{Counter: GapSeconds, Kind: TooOld}], 1e-9)
}

func TestOnlyStoredCountersArePublished(t *testing.T) {
	c := &clock{noon}
	o := options(t, c, always(Usage{GPUs: []GPU{{Name: "H100"}}}))
	m := open(t, o)
	require.NoError(t, m.Cycle(t.Context()))
	c.now = noon.Add(time.Hour)
	require.NoError(t, m.Cycle(t.Context()))
	want := sums(m)

	// Writing fails as on a full disk: a folder stands where the file should be replaced.
	require.NoError(t, os.Rename(o.File, o.File+".away"))
	require.NoError(t, os.MkdirAll(filepath.Join(o.File, "in the way"), 0o700))
	c.now = noon.Add(2 * time.Hour)
	require.ErrorContains(t, m.Cycle(t.Context()), "keep the counters of spend")
	require.Equal(t, want, sums(m))

	require.NoError(t, os.RemoveAll(o.File))
	require.NoError(t, m.Cycle(t.Context()))
	require.InDelta(t, 2*want[Key{Counter: GPUTotal}], sums(m)[Key{Counter: GPUTotal}], 1e-9)
}

func TestDamagedStateIsKeptAndCountingRestarts(t *testing.T) {
	c := &clock{noon}
	o := options(t, c, always(Usage{GPUs: []GPU{{Name: "H100"}}}))
	m := open(t, o)
	require.NoError(t, m.Cycle(t.Context()))
	c.now = noon.Add(time.Hour)
	require.NoError(t, m.Cycle(t.Context()))
	require.NoError(t, m.Close())

	text, err := os.ReadFile(o.File)
	require.NoError(t, err)
	text[len(text)/2] ^= 1
	require.NoError(t, os.WriteFile(o.File, text, 0o600))

	m = open(t, o)
	require.NoError(t, m.Cycle(t.Context()))
	require.Empty(t, sums(m))
	kept, err := os.ReadFile(fmt.Sprintf("%s.damaged-%d", o.File, c.now.Unix()))
	require.NoError(t, err)
	require.Equal(t, text, kept)
}

func TestOneMeterWritesAFileAtATime(t *testing.T) {
	c := &clock{noon}
	o := options(t, c, always(Usage{GPUs: []GPU{{Name: "H100"}}}))
	first, second := open(t, o), open(t, o)
	require.NoError(t, first.Cycle(t.Context()))

	ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
	defer cancel()
	require.ErrorContains(t, second.Cycle(ctx), "held by another process")

	c.now = noon.Add(time.Hour)
	require.NoError(t, first.Cycle(t.Context()))
	require.Equal(t, sums(first), sums(second), "the one that waits shows what the other counts")

	require.NoError(t, first.Close())
	c.now = noon.Add(2 * time.Hour)
	require.NoError(t, second.Cycle(t.Context()))
	require.InDelta(t, 8, math.Round(sums(second)[Key{Counter: GPUTotal}]), 1e-9)
}

func TestBuiltInQueriesParse(t *testing.T) {
	queries := reflect.ValueOf(defaults)
	for i := range queries.NumField() {
		text := inStep(queries.Field(i).String(), 5*time.Minute)
		if text == "" {
			continue // values have no default
		}
		_, err := parser.NewParser(parser.Options{}).ParseExpr(text)
		require.NoError(t, err, queries.Type().Field(i).Name)
	}
}
