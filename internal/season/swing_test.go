package season

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSwing(t *testing.T) {
	noonHour := monday.AddDate(0, 0, 28).Add(12 * time.Hour)
	// The index of 0.6 and 0.4 against a half each is 2 × 0.1 × ln(0.6/0.5) + … = 0.2 × ln 1.5 / 2 each way.
	index := 0.1*math.Log(0.6/0.5) + 0.1*math.Log(0.5/0.4)
	for sentence, tc := range map[string]struct {
		days     int
		values   func(time.Time) (a, b int64)
		from, to time.Time
		known    bool
		want     float64
		within   float64
	}{
		"hours that are alike do not swing": {
			days: 28, values: func(time.Time) (int64, int64) { return 5000, 5000 }, known: true,
		},
		"hours that differ by chance alone do not swing": {days: 28, values: wobble, known: true, within: 1e-3},
		"days that take turns swing by their index, corrected for the baseline they are in": {
			days: 28, known: true, want: index * 20 / 19, within: 1e-3,
			values: func(at time.Time) (int64, int64) {
				if at.YearDay()%2 == 0 {
					return 6000, 4000
				}
				return 4000, 6000
			},
		},
		"days swing where hours do": {
			days: 28, from: noonHour, to: noonHour.Add(24 * time.Hour), known: true, want: index * 28 / 27, within: 1e-3,
			values: func(at time.Time) (int64, int64) {
				if at.YearDay()%2 == 0 {
					return 6000, 4000
				}
				return 4000, 6000
			},
		},
		"hours of every day that differ are a season, and no swing": {days: 28, values: daily(10000), known: true, within: 1e-3},
		"the swing of an hour comes from it and its neighbours, not from the evening": {
			days: 28, known: true, within: 1e-3,
			values: func(at time.Time) (int64, int64) {
				if at.Hour() > 18 && at.YearDay()%2 == 0 {
					return 9000, 1000
				}
				return 5000, 5000
			},
		},
		"two days say nothing":       {days: 2, values: daily(10000)},
		"too few values say nothing": {days: 28, values: func(time.Time) (int64, int64) { return 3, 4 }},
	} {
		t.Run(sentence, func(t *testing.T) {
			if tc.from.IsZero() {
				tc.from, tc.to = noonHour, noonHour.Add(time.Hour)
			}
			got, known := learn(time.UTC, tc.days, tc.values).Swing("f", tc.from, tc.to)
			require.Equal(t, tc.known, known)
			require.InDelta(t, tc.want, got, tc.within+1e-12)
		})
	}
	_, known := learn(time.UTC, 28, daily(1000)).Swing("another", noonHour, noonHour.Add(time.Hour))
	require.False(t, known)
}

func TestSwingOfDaysIsDeterministic(t *testing.T) {
	first := 0.0
	for n := range 20 {
		b := NewBuilder(Settings{Zone: time.UTC, MaxNoise: 0.07})
		b.Field("amount", []string{"a", "b"}, map[string]int64{"a": 3_360_000, "b": 3_360_000})
		for h := range 28 * 24 {
			at := monday.Add(time.Duration(h) * time.Hour)
			other := int64(3 * at.YearDay() * at.YearDay() % 700)
			b.Hour(at, map[string][]int64{"amount": {5000 + other, 5000 - other}})
		}
		swing, ok := b.Season().DaySwing("amount")
		require.True(t, ok)
		if n == 0 {
			first = swing
		}
		require.Equal(t, math.Float64bits(first), math.Float64bits(swing))
	}
}
