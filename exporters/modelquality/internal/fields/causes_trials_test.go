package fields

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/drift"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// trials is how many there are of the benchmark; of the test there are fewer, of another seed.
const trials = 200

// Kinds of causes that are planted.
const (
	oneFeature   = "one feature"
	newValue     = "a value never seen"
	twoFeatures  = "two features together"
	oneOrigin    = "region or client"
	oneVersion   = "a version"
	noSegment    = "no segment"
	driftedField = "score"
)

// kinds are those of a round of trials.
var kinds = []string{oneFeature, twoFeatures, noSegment, oneOrigin, oneVersion, noSegment, newValue, twoFeatures, noSegment}

// attribute is a feature, or where an inference comes from: a common value that is everywhere, a feature that goes along with another one,
// and a number.
type attribute struct {
	name   string
	values []string
	shares []float64
}

func numbered(name string, n int) []string {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprintf("%s-%d", name, i)
	}
	return values
}

var attributes = []attribute{
	{"country", []string{"CA", "US", "FR", "DE", "IT"}, []float64{0.92, 0.04, 0.02, 0.01, 0.01}},
	{"provider", numbered("p", 7), []float64{0.34, 0.25, 0.15, 0.1, 0.08, 0.05, 0.03}},
	{"channel", []string{"web", "app", "phone"}, []float64{0.55, 0.3, 0.15}},
	{"device", numbered("d", 4), []float64{0.4, 0.35, 0.15, 0.1}},
	{"store", numbered("s", 20), slices.Repeat([]float64{1. / 20}, 20)},
	{"companion", []string{"x", "y", "z"}, []float64{0.6, 0.25, 0.15}},
	{fieldRegion, []string{"ca-1", "us-1", "eu-1"}, []float64{0.5, 0.3, 0.2}},
	{fieldClient, []string{"shop", "partner", "batch"}, []float64{0.6, 0.25, 0.15}},
	{fieldInstance, numbered("pod", 4), []float64{0.25, 0.25, 0.25, 0.25}},
}

const companion = 5

// shop is the traffic of one trial.
type shop struct {
	r    *rand.Rand
	base []float64 // of the bins of the field
	// The planted cause: rows of these values, from some time on.
	kind     string
	cause    [][2]int // attribute and value
	version  bool
	strength float64
	target   int
	kin      int
}

func (s *shop) has(row []int, version string) bool {
	if s.kind == noSegment {
		return true
	}
	if s.version && version != "2" {
		return false
	}
	return !slices.ContainsFunc(s.cause, func(c [2]int) bool { return row[c[0]] != c[1] })
}

// inference is one, now or as in the baseline.
func (s *shop) inference(version string, changed bool) *convention.Observation {
	row := make([]int, len(attributes))
	for i, a := range attributes {
		row[i] = draw(s.r, a.shares)
	}
	if s.r.Float64() < 0.85 && len(s.cause) > 0 { // It goes along with the cause.
		row[companion] = 0
		if row[s.cause[0][0]] == s.cause[0][1] {
			row[companion] = 1
		}
	}
	bin := draw(s.r, s.base)
	if row[s.kin]%3 == 1 && s.r.Float64() < 0.3 { // What fields have to do with each other anyway.
		bin = (s.target + 1 + row[s.kin]%(len(s.base)-1)) % len(s.base)
	}
	values := make([]string, len(attributes))
	for i, a := range attributes {
		values[i] = a.values[row[i]]
	}
	if in := s.has(row, version); changed && in {
		if s.kind == newValue {
			values[s.cause[0][0]] = "newpay"
		}
		if s.r.Float64() < s.strength {
			bin = s.target
		}
	}
	o := &convention.Observation{Confidence: math.NaN(), Origin: &convention.Origin{Region: values[6], Client: values[7], Instance: values[8]}}
	for i, a := range attributes[:6] {
		o.Features = append(o.Features, convention.Feature{Name: a.name, Value: otlp.StringValue(values[i])})
	}
	o.Features = append(o.Features, convention.Feature{Name: driftedField, Value: otlp.DoubleValue(float64(bin) + 0.5)}, convention.Feature{Name: "amount", Value: otlp.DoubleValue(s.r.ExpFloat64() * 50)})
	return o
}

func draw(r *rand.Rand, shares []float64) int {
	at := r.Float64()
	for i, share := range shares {
		if at -= share; at < 0 {
			return i
		}
	}
	return len(shares) - 1
}

func newShop(r *rand.Rand, kind string) *shop {
	s := &shop{r: r, kind: kind, kin: 1 + r.IntN(4)}
	bins := []int{6, 10}[r.IntN(2)]
	total := 0.0
	for range bins {
		s.base = append(s.base, 0.3+r.Float64())
		total += s.base[len(s.base)-1]
	}
	for i := range s.base {
		s.base[i] /= total
	}
	// The values that come instead are rare, or as good as never seen: then they are broken.
	s.target = bins - 1 - r.IntN(3)
	rare := 0.005
	if kind == twoFeatures || r.IntN(2) == 0 {
		rare = 0.0003
	}
	s.base[(s.target+1)%bins] += s.base[s.target] - rare
	s.base[s.target] = rare
	pick := func(attribute int, least, most float64) [2]int {
		var fit []int
		for i, share := range attributes[attribute].shares {
			if share >= least && share <= most {
				fit = append(fit, i)
			}
		}
		return [2]int{attribute, fit[r.IntN(len(fit))]}
	}
	affected := 1.0
	switch kind {
	case oneFeature, newValue:
		s.cause = [][2]int{pick([]int{1, 2, 3}[r.IntN(3)], 0.2, 0.45)}
	case oneOrigin:
		s.cause = [][2]int{pick(6+r.IntN(3), 0.2, 0.35)}
	case twoFeatures:
		a := 1 + r.IntN(3)
		b := 1 + a%3
		s.cause = [][2]int{pick(a, 0.3, 0.6), pick(b, 0.3, 0.6)}
		slices.SortFunc(s.cause, func(a, b [2]int) int { return a[0] - b[0] })
	case oneVersion:
		s.version = true
	}
	for _, c := range s.cause {
		affected *= attributes[c[0]].shares[c[1]]
	}
	// The whole changes by what an alert takes and more: a third of the inferences in another bin, or all of a rare value.
	s.strength = min(0.95, (0.35+0.3*r.Float64())/affected)
	if kind == oneVersion {
		s.strength = 0.35 + 0.3*r.Float64()
	}
	return s
}

// want is the cause that is to be named.
func (s *shop) want() (field, value string) {
	var names, values []string
	if s.version {
		names, values = append(names, fieldVersion), append(values, "2")
	}
	for _, c := range s.cause {
		names, values = append(names, attributes[c[0]].name), append(values, attributes[c[0]].values[c[1]])
	}
	if s.kind == newValue {
		values[0] = "newpay"
	}
	if len(names) == 2 && names[0] > names[1] {
		slices.Reverse(names)
		slices.Reverse(values)
	}
	return strings.Join(names, ", "), strings.Join(values, ", ")
}

// trialWorld is a keeper without a store, and two versions of a model whose baseline is frozen.
func trialWorld(tb testing.TB, s *shop, clock *time.Time) (*Keeper, []*Tracker) {
	tb.Helper()
	layouts := map[string]binning.Layout{}
	for _, a := range attributes[:6] {
		layouts[input+a.name] = binning.NewCategorical(a.values, len(a.values), false)
	}
	edges := make([]float64, len(s.base)+1)
	for i := range edges {
		edges[i] = float64(i)
	}
	layouts[input+driftedField] = binning.NewNumeric(edges, true)
	layouts[input+"amount"] = binning.NewNumeric([]float64{0, 10, 20, 40, 80, 160, 320}, true)
	d := baseline.Definition{ID: "trial", Edges: baseline.EdgesProduction, Fields: layouts}
	limits := Limits{
		Long: drift.Limits{PSI: 0.3, Z: 3.09, Values: 100, Noise: 0.07}, Short: drift.Limits{PSI: 0.6, Z: 3.77, Values: 300, Noise: 1}, Broken: 0.04, BrokenBin: 0.001,
	}
	limiter := limit.New("fields", 100, limit.NewDropped())
	k, err := New(Options{
		Store: new(baseline.Store), Sample: 1, Training: func(context.Context, string, string) (Training, bool, error) { return Training{}, false, nil }, Fields: func(string) *limit.Limiter { return limiter },
		Causes: Causes{Window: time.Hour, Memory: 32 << 20, Fields: 50, Limits: func(string, string) Limits { return limits }},
		Now:    func() time.Time { return *clock }, Logger: promslog.NewNopLogger(),
	})
	require.NoError(tb, err)
	learned := newCounters(d)
	for range 20_000 {
		o := s.inference("1", false)
		learned.count(o.Features, o.Prediction, o.Confidence, false)
	}
	m := k.newModel("fraud", *clock)
	k.models["fraud"] = m
	for _, version := range []string{"1", "2"} {
		t := k.Track("fraud", version)
		t.adopt(d, d.ID, nil)
		t.learned = append(t.learned, learnedFrom(learned))
		m.trackers = append(m.trackers, t)
	}
	return k, m.trackers
}

func learnedFrom(c *counters) learned { return learned{counts: c.snapshot(), frozen: true} }

// outcome of one trial.
type outcome struct {
	claimed, right, wrong bool // in the end
	early                 bool // another cause was named at first
}

// trial lets a field change and asks for the cause every few minutes.
func trial(tb testing.TB, r *rand.Rand, kind string) outcome {
	tb.Helper()
	s := newShop(r, kind)
	clock := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	k, trackers := trialWorld(tb, s, &clock)
	perMinute := 40 + r.IntN(160)
	var o outcome
	field, value := s.want()
	begins := 65 + r.IntN(30)
	for minute := range begins + 40 {
		clock = clock.Add(time.Minute)
		for key, i := range trackers[1].incidents {
			if key.field == input+driftedField && len(i.causes) > 0 && (i.causes[0].field != field || i.causes[0].value != value) {
				o.early = true
			}
		}
		for n, t := range trackers {
			counting := t.Begin()
			for range perMinute * (n + 1) / 2 { // The first version has less traffic.
				counting.Count(s.inference(t.version, minute >= begins))
			}
			counting.End()
		}
		if minute%5 == 4 || minute > begins && minute%2 == 0 {
			require.NoError(tb, k.Explain(tb.Context()))
		}
	}
	for key, i := range trackers[1].incidents {
		if key.field != input+driftedField || len(i.causes) == 0 {
			continue
		}
		o.claimed = true
		if right := kind != noSegment && len(i.causes) == 1 && i.causes[0].field == field && i.causes[0].value == value; right {
			o.right = true
		} else {
			o.wrong = true
			tb.Logf("%s: want %s = %s, got %+v", kind, field, value, i.causes)
		}
	}
	o.right = o.right && !o.wrong || kind == noSegment && !o.claimed
	for _, t := range trackers {
		k.Forget(t)
	}
	require.Zero(tb, k.memory.Used(), "what is forgotten gives its memory back")
	return o
}

// sums are outcomes, added up.
type sums struct{ trials, right, wrong, claimed, planted, found, early int }

func (s *sums) add(kind string, o outcome) {
	n := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	s.trials, s.right, s.wrong, s.claimed = s.trials+1, s.right+n(o.right), s.wrong+n(o.wrong), s.claimed+n(o.claimed)
	s.early += n(o.early)
	if kind != noSegment {
		s.planted, s.found = s.planted+1, s.found+n(o.right)
	}
}

func run(tb testing.TB, seed uint64, n int) (all sums, byKind map[string]*sums) {
	tb.Helper()
	byKind = make(map[string]*sums)
	for i := range n {
		kind := kinds[i%len(kinds)]
		o := trial(tb, rand.New(rand.NewPCG(seed, uint64(i))), kind)
		if byKind[kind] == nil {
			byKind[kind] = new(sums)
		}
		all.add(kind, o)
		byKind[kind].add(kind, o)
	}
	return all, byKind
}

func TestLong_PlantedCausesOfModelsAreFound(t *testing.T) {
	t.Parallel()
	all, _ := run(t, 20, len(kinds))
	require.GreaterOrEqual(t, float64(all.right)/float64(all.trials), 0.94, "%+v", all)
	require.Zero(t, all.wrong, "%+v", all)
}

// BenchmarkModelCause prints precision and recall; see make bench-cause.
func BenchmarkModelCause(b *testing.B) {
	for b.Loop() {
		all, byKind := run(b, 2026, trials)
		fmt.Printf("\nmodels, from a sample of recent inferences: right in %.1f %% of %d trials, wrong claims in %.1f %% (at first in %.1f %%); precision %.3f, recall %.3f\n",
			100*float64(all.right)/float64(all.trials), all.trials, 100*float64(all.wrong)/float64(all.trials), 100*float64(all.early)/float64(all.trials),
			float64(all.found)/float64(max(all.claimed, 1)), float64(all.found)/float64(all.planted))
		for _, kind := range []string{oneFeature, newValue, twoFeatures, oneOrigin, oneVersion, noSegment} {
			s := byKind[kind]
			fmt.Printf("  %-22s %3d of %3d right, %d wrong claims\n", kind, s.right, s.trials, s.wrong)
		}
	}
}
