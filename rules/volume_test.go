package rules_test

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/rules"
)

// feed makes the rows of one hour, which starts at a local time.
type feed func(hour time.Time, random *rand.Rand) float64

// office is a feed of people at work: eleven times as many rows at noon as
// at night, a third of them on weekends, and each day and hour some per cent more or less.
func office(hour time.Time, random *rand.Rand) float64 {
	distance := float64(hour.Hour()) - 13
	mean := 200 + 2000*math.Exp(-distance*distance/18)
	if day := hour.Weekday(); day == time.Saturday || day == time.Sunday {
		mean *= 0.33
	}
	day := rand.New(rand.NewPCG(uint64(hour.YearDay()), 7))
	return poisson(mean*math.Exp(0.05*day.NormFloat64()+0.05*random.NormFloat64()), random)
}

func constant(mean float64) feed {
	return func(_ time.Time, random *rand.Rand) float64 { return poisson(mean, random) }
}

func poisson(mean float64, random *rand.Rand) float64 {
	if mean > 50 {
		return math.Max(0, math.Round(mean+math.Sqrt(mean)*random.NormFloat64()))
	}
	n, left := 0.0, random.Float64()
	for limit := math.Exp(-mean); left > limit; n++ {
		left *= random.Float64()
	}
	return n
}

// feeds are the simulated feeds by name.
type feeds map[string]feed

var simulated = feeds{
	"steady": constant(1000),
	"few":    constant(4),
	"office": office,
	// A bad week must not cause alerts in the following weeks.
	"office with an outage": func(hour time.Time, random *rand.Rand) float64 {
		rows := office(hour, random)
		if outage(hour) {
			return math.Round(rows / 10)
		}
		return rows
	},
}

func outage(hour time.Time) bool {
	return hour.Month() == time.February && hour.Day() >= 2 && hour.Day() < 9
}

// simulate looks once an hour at twelve weeks with the change of clocks of 8 March, and evaluates a group of rules. It
// returns how many hours each query found each feed, the week of the outage left out. The queries' series have the feed's
// name in label.
func simulate(t *testing.T, groups []string, label string, thresholds []string, observe func(name string, value float64) []sample, queries map[string]string) map[string]map[string]float64 {
	t.Helper()
	toronto, err := time.LoadLocation("America/Toronto")
	require.NoError(t, err)
	w := newWorld(t)
	var evaluated []rulefmt.Rule
	for _, g := range load(t).Groups() {
		if slices.Contains(groups, g.Name) {
			evaluated = append(evaluated, g.Rules...)
		}
	}
	require.NotEmpty(t, evaluated)
	random := rand.New(rand.NewPCG(1, 2))
	found := map[string]map[string]float64{}
	for query := range queries {
		found[query] = map[string]float64{}
	}
	start := time.Date(2026, 1, 12, 0, 0, 0, 0, toronto)
	for now := start; now.YearDay() < 97; now = now.Add(time.Hour) {
		var samples []sample
		for _, signal := range thresholds {
			value, ok := rules.Default(signal)
			require.True(t, ok)
			samples = append(samples, sample{labels.FromStrings(model.MetricNameLabel, rules.ThresholdPrefix+signal), value})
		}
		for _, name := range slices.Sorted(maps.Keys(simulated)) {
			samples = append(samples, observe(name, simulated[name](now, random))...)
		}
		w.store(now, samples)
		season := now.Sub(start) >= 3*7*24*time.Hour // Less than three weeks are no season.
		for _, rule := range evaluated {
			if season || strings.HasSuffix(rule.Record, ":seen") || strings.HasSuffix(rule.Record, ":current") || strings.HasSuffix(rule.Record, ":highest") || strings.HasSuffix(rule.Record, ":lowest") {
				w.evaluate(now, rule)
			}
		}
		for query, expr := range queries {
			for _, s := range w.query(now, expr) {
				if name := s.Metric.Get(label); season && (name != "office with an outage" || !outage(now)) {
					found[query][name]++
				}
			}
		}
	}
	return found
}

// How often is a feed that is well outside of its band, and how often would a feed that lost 62 % at this hour be inside?
func TestVolumeOverSimulatedMonths(t *testing.T) {
	found := simulate(t, []string{"sightglass.data.volume"}, "dataset", []string{"volume_deviation_ratio"}, func(name string, rows float64) []sample {
		return []sample{{labels.FromStrings(model.MetricNameLabel, "dataset:ml_rows:current", "dataset", name), rows}}
	}, map[string]string{
		"hours":  `dataset:ml_rows:lower`,
		"alarms": `dataset:ml_rows:current < dataset:ml_rows:lower or dataset:ml_rows:current > dataset:ml_rows:upper`,
		"hidden": `dataset:ml_rows:current * 0.38 >= dataset:ml_rows:lower`,
	})
	// Four rows an hour cannot tell a loss of 62 % from chance.
	requireFew(t, found, map[string]float64{"few": 1, "office": 0.03, "office with an outage": 0.03})
}

// The same for traffic of a model: what the feeds have in an hour it has in five minutes. No feed that falls silent is
// inside, but for one that is too slow to tell.
func TestTrafficOverSimulatedMonths(t *testing.T) {
	found := simulate(t, []string{"sightglass.inference.history", "sightglass.inference.season"}, "model", []string{"traffic_deviation_ratio", "latency_deviation_ratio", "requests_per_second"}, func(name string, requests float64) []sample {
		return []sample{{labels.FromStrings(model.MetricNameLabel, "model:ml_inference_requests:rate5m", "model", name, "version", "1", "source", "s"), requests / 300}}
	}, map[string]string{
		"hours":  `model:ml_season:upper{signal="traffic"}`,
		"alarms": `model:ml_season:current{signal="traffic"} < model:ml_season:lower or model:ml_season:current{signal="traffic"} > model:ml_season:upper`,
		"hidden": `model:ml_season:current{signal="traffic"} * 0 >= model:ml_season:lower or model:ml_season:usual{shift="same", signal="traffic"} unless on (model) model:ml_season:lower`,
	})
	requireFew(t, found, map[string]float64{"few": 1})
}

func requireFew(t *testing.T, found map[string]map[string]float64, misses map[string]float64) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(simulated)) {
		hours, alarms, hidden := found["hours"][name], found["alarms"][name], found["hidden"][name]
		require.Greater(t, hours, 8.0*7*24-30, "hours of %s with a band", name)
		t.Logf("%-22s %5.2f %% of the hours are false alarms; a loss hides in %5.2f %%", name, 100*alarms/hours, 100*hidden/hours)
		require.LessOrEqual(t, alarms/hours, 0.01, "false alarms of %s", name)
		require.LessOrEqual(t, hidden/hours, misses[name], "missed losses of %s", name)
	}
}
