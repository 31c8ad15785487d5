package rules

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/stretchr/testify/require"
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

// Twelve weeks with the change of clocks of 8 March, a look an hour: how often
// is a feed that is well outside of its band, and how often would a feed that
// lost 62 % at this hour be inside?
func TestVolumeOverSimulatedMonths(t *testing.T) {
	toronto, err := time.LoadLocation("America/Toronto")
	require.NoError(t, err)
	feeds := []struct {
		name string
		rows feed
		// misses is the share of the hours at which a loss of 62 % may hide.
		misses float64
	}{
		{"steady", constant(1000), 0},
		// Four rows an hour cannot tell a loss of 62 % from chance.
		{"few", constant(4), 1},
		{"office", office, 0.03},
		// What a bad week leaves behind must not show in the weeks after it.
		{"office with an outage", func(hour time.Time, random *rand.Rand) float64 {
			rows := office(hour, random)
			if hour.Month() == time.February && hour.Day() >= 2 && hour.Day() < 9 {
				return math.Round(rows / 10)
			}
			return rows
		}, 0.03},
	}

	w := newWorld(t)
	var volume []rulefmt.Rule
	for _, group := range load(t, Options{}).Groups() {
		if group.Name == "sightglass.data.volume" {
			volume = group.Rules
		}
	}
	deviation, ok := Default("volume_deviation_ratio")
	require.True(t, ok)
	random := rand.New(rand.NewPCG(1, 2))
	hours, alarms, hidden := map[string]float64{}, map[string]float64{}, map[string]float64{}
	start := time.Date(2026, 1, 12, 0, 0, 0, 0, toronto)
	for now := start; now.YearDay() < 97; now = now.Add(time.Hour) {
		samples := []sample{{labels.FromStrings(model.MetricNameLabel, "ml:threshold:volume_deviation_ratio"), deviation}}
		for _, f := range feeds {
			samples = append(samples, sample{labels.FromStrings(model.MetricNameLabel, "dataset:ml_rows:current", "dataset", f.name), f.rows(now, random)})
		}
		w.store(now, samples)
		if now.Sub(start) < 3*7*24*time.Hour {
			continue // Less is no season.
		}
		for _, rule := range volume {
			w.evaluate(now, rule)
		}
		outage := now.Month() == time.February && now.Day() >= 2 && now.Day() < 9
		count := func(into map[string]float64, expr string) {
			for _, s := range w.query(now, expr) {
				if name := s.Metric.Get("dataset"); !outage || name != "office with an outage" {
					into[name]++
				}
			}
		}
		count(hours, `dataset:ml_rows:lower`)
		count(alarms, `dataset:ml_rows:current < dataset:ml_rows:lower or dataset:ml_rows:current > dataset:ml_rows:upper`)
		count(hidden, `dataset:ml_rows:current * 0.38 >= dataset:ml_rows:lower`)
	}
	for _, f := range feeds {
		name := f.name
		require.Greater(t, hours[name], 8.0*7*24-30, "hours of %s with a band", name)
		t.Logf("%-22s %5.2f %% of the hours are false alarms; a loss of 62 %% hides in %5.2f %%", name, 100*alarms[name]/hours[name], 100*hidden[name]/hours[name])
		require.LessOrEqual(t, alarms[name]/hours[name], 0.01, "false alarms of %s", name)
		require.LessOrEqual(t, hidden[name]/hours[name], f.misses, "missed losses of %s", name)
	}
}
