package rules_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/rules"
)

// How often a window of five minutes alerts without a change. Windows are drawn at
// random and evaluated with the formulas of the rules in Go, tens of thousands in a
// second. A test compares these formulas with the rules.

// extrapolation is the factor of increase() over five minutes with a scrape every 30 s:
// ten samples cover four and a half minutes, and it extrapolates them to five.
const extrapolation = 10.0 / 9

func threshold(t testing.TB, signal string) float64 {
	t.Helper()
	value, ok := rules.Default(signal)
	require.True(t, ok, signal)
	return value
}

// window has the values of a field in five minutes, and a baseline of baselineValues.
type window struct {
	counts   []int
	baseline []float64
}

const baselineValues = 100_000

// index returns the index of a window, its noise and its critical value, as the rules record them.
func (l window) index(z float64) (psi, noise, critical float64) {
	n := extrapolation * float64(sum(l.counts))
	bins := 0.0
	for i, q := range l.baseline {
		if l.counts[i] == 0 && q == 0 {
			continue
		}
		bins++
		p, q := max(float64(l.counts[i])*extrapolation/n, 1e-4), max(q, 1e-4)
		psi += (p - q) * math.Log(p/q)
	}
	k := bins - 1
	noise = k * (1/n + 1.0/baselineValues)
	return psi, noise, noise * math.Pow(1-2/(9*k)+z*math.Sqrt(2/(9*k)), 3)
}

// judge is model_field:ml_drift:sudden.
type judge struct{ z, limit, rows float64 }

func newJudge(t testing.TB) judge {
	return judge{
		z:     threshold(t, "sudden_significance_z"),
		limit: threshold(t, "drift_psi") * threshold(t, "drift_sudden_factor"),
		rows:  threshold(t, "drift_sudden_min_rows"),
	}
}

func (j judge) sudden(l window) bool {
	psi, noise, critical := l.index(j.z)
	return extrapolation*float64(sum(l.counts)) >= j.rows && psi > critical && psi-noise > j.limit
}

// critic is model:ml_groundedness:sudden.
type critic struct{ z, limit, answers float64 }

func newCritic(t testing.TB) critic {
	return critic{
		z:       threshold(t, "sudden_significance_z"),
		limit:   threshold(t, "groundedness_score"),
		answers: threshold(t, "evaluation_sudden_min_count"),
	}
}

func (c critic) sudden(scores []float64) bool {
	n, total := extrapolation*float64(len(scores)), 0.0
	for _, s := range scores {
		total += extrapolation * s
	}
	return n >= c.answers && total/n+c.z*math.Sqrt(c.limit*(1-c.limit)/n) < c.limit
}

func sum(counts []int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// draw is a window of n values of a distribution.
func draw(r *rand.Rand, shares []float64, n int) []int {
	upTo := make([]float64, len(shares))
	for i, at := 0, 0.0; i < len(shares); i++ {
		at += shares[i]
		upTo[i] = at
	}
	counts := make([]int, len(shares))
	for range n {
		i, _ := slices.BinarySearch(upTo, r.Float64()*upTo[len(upTo)-1])
		counts[i]++
	}
	return counts
}

func even(bins int) []float64 { return slices.Repeat([]float64{1 / float64(bins)}, bins) }

// zipf is what categories are often like: the second is half of the first, the third a third.
func zipf(bins int) []float64 {
	shares, total := make([]float64, bins), 0.0
	for i := range shares {
		shares[i] = 1 / float64(i+1)
		total += shares[i]
	}
	for i := range shares {
		shares[i] /= total
	}
	return shares
}

// deciles are the shares of a normal variable, moved by shift standard deviations, in ten bins that are equal when it is
// not moved.
func deciles(shift float64) []float64 {
	shares, below := make([]float64, 10), 0.0
	for i := range shares {
		upTo := 1.0
		if i < 9 {
			edge := math.Sqrt2 * math.Erfinv(2*float64(i+1)/10-1)
			upTo = 0.5 * math.Erfc((shift-edge)/math.Sqrt2)
		}
		shares[i], below = upTo-below, upTo
	}
	return shares
}

// alarms returns the share of windows with the distribution now that alert.
func (j judge) alarms(r *rand.Rand, now, baseline []float64, n, windows int) float64 {
	alarms := 0
	for range windows {
		if j.sudden(window{draw(r, now, int(float64(n)/extrapolation)), baseline}) {
			alarms++
		}
	}
	return float64(alarms) / float64(windows)
}

func TestDriftInFiveMinutesRaisesNoFalseAlarm(t *testing.T) {
	const windows = 10_000 // 8640 make a month.
	j := newJudge(t)
	for name, shares := range map[string][]float64{
		"two bins":                      even(2),
		"ten bins":                      even(10),
		"twenty bins":                   even(20),
		"fifty bins":                    even(50),
		"twenty categories":             zipf(20),
		"a value and twenty exceptions": append(slices.Repeat([]float64{0.005}, 20), 0.9),
	} {
		for _, n := range []int{int(j.rows), 1000} {
			r := rand.New(rand.NewPCG(uint64(len(shares)), uint64(n)))
			share := j.alarms(r, shares, shares, n, windows)
			t.Logf("%s, %d values: %.4f %% of windows alert", name, n, 100*share)
			require.LessOrEqual(t, share, 0.001, "%s, %d values", name, n)
		}
	}
}

// The test shows why thresholds.yaml has separate limits for five minutes.
func TestLongWindowLimitsWouldRaiseFalseAlarmsInFiveMinutes(t *testing.T) {
	const windows = 10_000
	r := rand.New(rand.NewPCG(3, 4))
	j := newJudge(t)
	hour := judge{z: threshold(t, "drift_significance_z"), limit: threshold(t, "drift_psi"), rows: threshold(t, "drift_min_rows")}

	few := hour.alarms(r, zipf(20), zipf(20), int(hour.rows), windows)
	t.Logf("of 100 values in twenty categories, %.1f %% of windows would alert at the hour's limits", 100*few)
	require.Greater(t, few, 0.1)

	// A month of days that swing as far as the hour's limit lets pass.
	const perDay = 288
	swing := func(window int) []float64 { return deciles(0.52 * math.Sin(2*math.Pi*float64(window)/perDay)) }
	mean := make([]float64, 10)
	for i := range perDay {
		for bin, share := range swing(i) {
			mean[bin] += share / perDay
		}
	}
	edge, _, _ := window{scaled(swing(perDay/4), 1e6), mean}.index(0)
	require.Greater(t, edge, 0.25)
	require.Less(t, edge, hour.limit)
	once, twice := 0, 0
	for i := range 30 * perDay {
		l := window{draw(r, swing(i), int(j.rows/extrapolation)), mean}
		if j.sudden(l) {
			twice++
		}
		if (judge{j.z, hour.limit, j.rows}).sudden(l) {
			once++
		}
	}
	t.Logf("of a month that swings up to an index of %.2f, %.1f %% of windows would alert at the hour's limit, and %.3f %% do",
		edge, 100*float64(once)/(30*perDay), 100*float64(twice)/(30*perDay))
	require.Greater(t, once, 30*perDay/20)
	require.LessOrEqual(t, twice, 30*perDay/1000)
}

func scaled(shares []float64, n float64) []int {
	counts := make([]int, len(shares))
	for i, s := range shares {
		counts[i] = int(math.Round(s * n))
	}
	return counts
}

// Scores that are 0 or 1 have the largest spread of all that have their mean.
func TestEvaluationsInFiveMinutesRaiseNoFalseAlarm(t *testing.T) {
	const windows = 10_000
	r := rand.New(rand.NewPCG(5, 6))
	c := newCritic(t)
	for _, n := range []int{int(c.answers), 60, 300} {
		for _, mean := range []float64{c.limit, c.limit + 0.05} {
			alarms := 0
			for range windows {
				scores := make([]float64, int(float64(n)/extrapolation))
				for i := range scores {
					if r.Float64() < mean {
						scores[i] = 1
					}
				}
				if c.sudden(scores) {
					alarms++
				}
			}
			share := float64(alarms) / windows
			t.Logf("%d answers, mean %.2f, limit %.2f: %.2f %% of windows alert", n, mean, c.limit, 100*share)
			require.LessOrEqual(t, share, 0.01)
		}
	}
}

// The rules decide as the formulas above, with and without a shift.
func TestTheSimulatedWindowsAreEvaluatedAsByTheRules(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(7, 8))
	now := time.Unix(1_800_000_000, 0)
	j := newJudge(t)
	c := newCritic(t)
	const before = 1000 // Counters that are not new.
	windows, answers := map[string]window{}, map[string][]float64{}
	var start, growth []sample
	count := func(grows float64, pairs ...string) {
		ls := labels.FromStrings(pairs...)
		start, growth = append(start, sample{ls, before}), append(growth, sample{ls, grows})
	}
	var gauges []sample
	for i := range 60 {
		name := fmt.Sprintf("m%02d", i)
		baseline := [][]float64{even(2), even(10), zipf(20)}[i%3]
		shares := slices.Clone(baseline)
		shares[0] += 0.3 * float64(i%5) // A shift of 0 to more than half of the values.
		l := window{draw(r, shares, 200+r.IntN(400)), baseline}
		windows[name] = l
		field := []string{"model", name, "version", "1", "field", "f", "role", "input"}
		for b, q := range baseline {
			bin := append(slices.Clip(field), "bin", fmt.Sprint(b))
			count(float64(l.counts[b]), append(slices.Clip(bin), model.MetricNameLabel, "ml_model_field_values_total")...)
			gauges = append(gauges, sample{labels.FromStrings(append(bin, "baseline", "production", model.MetricNameLabel, "ml_model_field_baseline_ratio")...), q})
		}
		gauges = append(gauges, sample{labels.FromStrings(append(field, "baseline", "production", model.MetricNameLabel, "ml_model_field_baseline_values")...), baselineValues})

		total := 0.0
		for range 10 + r.IntN(60) {
			s := min(1, 0.6+0.5*r.Float64()-0.1*float64(i%3))
			answers[name], total = append(answers[name], s), total+s
		}
		evaluation := []string{"model", name, "version", "1", "evaluation", "groundedness"}
		count(total, append(slices.Clip(evaluation), model.MetricNameLabel, "ml_model_evaluation_score_sum")...)
		count(float64(len(answers[name])), append(evaluation, model.MetricNameLabel, "ml_model_evaluation_score_count")...)
	}
	for scrape := range 10 {
		at := now.Add(time.Duration(scrape-9) * interval)
		w.store(at, gauges)
		counters := slices.Clone(start)
		for i := range counters {
			counters[i].value += growth[i].value * float64(scrape) / 9
		}
		w.store(at, counters)
	}
	for _, group := range load(t).Groups() {
		for _, rule := range group.Rules {
			if slices.Contains([]string{"sightglass.thresholds", "sightglass.thresholds.model", "sightglass.model.baseline", "sightglass.model.drift", "sightglass.evaluation"}, group.Name) {
				w.evaluate(now, rule)
			}
		}
	}
	values := func(expr string) map[string]float64 {
		found := map[string]float64{}
		for _, s := range w.query(now, expr) {
			found[s.Metric.Get("model")] = s.F
		}
		return found
	}
	psi, critical := values("model_field:ml_drift:psi5m"), values("model_field:ml_drift:psi_critical5m")
	sudden, fallen := values("model_field:ml_drift:sudden"), values("model:ml_groundedness:sudden")
	for name, l := range windows {
		wantPSI, _, wantCritical := l.index(j.z)
		if _, enough := psi[name]; enough {
			require.InDelta(t, wantPSI, psi[name], 1e-9)
			require.InDelta(t, wantCritical, critical[name], 1e-9)
		}
		_, is := sudden[name]
		require.Equal(t, j.sudden(l), is, "%s: %v of %v", name, l.counts, l.baseline)
		_, is = fallen[name]
		require.Equal(t, c.sudden(answers[name]), is, "%s: %v", name, answers[name])
	}
	for _, found := range []map[string]float64{sudden, fallen} {
		require.NotEmpty(t, found)
		require.Less(t, len(found), len(windows))
	}
}
