package season

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// monday is the start of a Monday in UTC.
var monday = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)

// learn makes a season of days from monday, with the counts that values returns
// for each hour, in the bins a and b.
func learn(zone *time.Location, days int, values func(at time.Time) (a, b int64)) *Season {
	full := map[string]int64{}
	type hour struct {
		at   time.Time
		a, b int64
	}
	var hours []hour
	for i := range days * hoursPerDay {
		at := monday.Add(time.Duration(i) * time.Hour)
		a, b := values(at)
		full["a"] += a
		full["b"] += b
		hours = append(hours, hour{at, a, b})
	}
	build := NewBuilder(Settings{Zone: zone, MaxNoise: 0.07})
	build.Field("f", []string{"a", "b"}, full)
	for _, h := range hours {
		build.Hour(h.at, map[string][]int64{"f": {h.a, h.b}, "unnamed": {1}})
	}
	return build.Season()
}

// daily has mostly a by day, from 8 to 20 o'clock, and mostly b by night.
func daily(perHour int64) func(time.Time) (a, b int64) {
	return func(at time.Time) (a, b int64) {
		if at.Hour() >= 8 && at.Hour() < 20 {
			return perHour * 9 / 10, perHour / 10
		}
		return perHour / 10, perHour * 9 / 10
	}
}

func TestWindow(t *testing.T) {
	at := func(day, hour, minute int) time.Time {
		return monday.AddDate(0, 0, 28+day).Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
	}
	toronto, err := time.LoadLocation("America/Toronto")
	require.NoError(t, err)
	kolkata, err := time.LoadLocation("Asia/Kolkata")
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		zone     *time.Location
		days     int
		values   func(time.Time) (a, b int64)
		from, to time.Time
		share    float64 // of a
		of       float64 // values
		full     bool
	}{
		"an hour by day": {days: 28, values: daily(1000), from: at(0, 9, 0), to: at(0, 10, 0), share: 0.9, of: 20_000},
		"an hour by night, up to the last moment of it":          {days: 28, values: daily(1000), from: at(0, 7, 0), to: at(0, 8, 0), share: 0.1, of: 20_000},
		"a quarter of an hour of the night, the rest of the day": {days: 28, values: daily(1000), from: at(0, 7, 45), to: at(0, 8, 45), share: 0.7, of: 32_000},
		"a part of the window in which there is little to expect weighs little": {
			days: 28, from: at(0, 7, 30), to: at(0, 8, 30), share: 0.95, of: 20_000,
			values: func(at time.Time) (a, b int64) {
				if at.Hour() == 8 {
					return 900, 0
				}
				return 50, 50
			},
		},
		"a window of a day is the full baseline":                 {days: 28, values: daily(1000), from: at(0, 9, 0), to: at(1, 9, 0), share: 0.5, of: 672_000, full: true},
		"no window is the full baseline":                         {days: 28, values: daily(1000), from: at(0, 9, 0), to: at(0, 9, 0), share: 0.5, of: 672_000, full: true},
		"slots that differ by chance alone are the full one":     {days: 28, values: wobble, from: at(0, 9, 0), to: at(0, 10, 0), share: 0.5, of: 672_000, full: true},
		"a weekend has its own hours":                            {days: 28, values: weekends, from: at(5, 9, 0), to: at(5, 10, 0), share: 0.1, of: 8000},
		"a weekday does not have those of the weekend":           {days: 28, values: weekends, from: at(4, 9, 0), to: at(4, 10, 0), share: 0.9, of: 20_000},
		"one weekend is too few: its hours use all days":         {days: 7, values: weekends, from: at(5, 9, 0), to: at(5, 10, 0), share: (5*0.9 + 2*0.1) / 7, of: 7000},
		"a slot with few values is pooled with its neighbours":   {days: 28, values: daily(8), from: at(0, 3, 0), to: at(0, 4, 0), share: 0, of: 20 * 7 * 3},
		"two days are too few for any season":                    {days: 2, values: daily(1000), from: at(0, 9, 0), to: at(0, 10, 0), share: 0.5, of: 48_000, full: true},
		"hours are those of the time zone":                       {zone: toronto, days: 28, values: func(at time.Time) (a, b int64) { return weekends(at.In(toronto)) }, from: at(7, 4, 0), to: at(7, 5, 0), share: 0.1, of: 8000},
		"a zone half an hour off has the hours that UTC counted": {zone: kolkata, days: 28, values: daily(1000), from: at(0, 9, 0), to: at(0, 10, 0), share: 0.9, of: 20_000},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.zone == nil {
				tc.zone = time.UTC
			}
			s := learn(tc.zone, tc.days, tc.values)
			e, ok := s.Window("f", tc.from, tc.to)
			require.True(t, ok)
			require.Equal(t, tc.full, e.Full)
			require.InDelta(t, 1, e.Shares["a"]+e.Shares["b"], 1e-12)
			require.InDelta(t, tc.share, e.Shares["a"], 1e-5)
			require.InEpsilon(t, tc.of, e.Values, 0.05)
		})
	}
}

// wobble differs between hours by less than a sample of their size does.
func wobble(at time.Time) (a, b int64) {
	d := int64(math.Round(5 * math.Sin(float64(at.Unix()/3600))))
	return 500 + d, 500 - d
}

func weekends(at time.Time) (a, b int64) {
	if d := at.Weekday(); d == time.Saturday || d == time.Sunday {
		return 100, 900
	}
	return 900, 100
}

func TestUnknownFieldsHaveNoSeason(t *testing.T) {
	s := learn(time.UTC, 28, daily(1000))
	_, ok := s.Window("another", monday, monday.Add(time.Hour))
	require.False(t, ok)
	_, ok = learn(time.UTC, 28, func(time.Time) (int64, int64) { return 0, 0 }).Window("f", monday, monday.Add(time.Hour))
	require.False(t, ok, "a baseline without values")
	require.True(t, s.Seasonal("f"))
	require.False(t, s.Seasonal("another"))

	// A slot that never had a value is compared with the full baseline.
	silent := learn(time.UTC, 28, func(at time.Time) (a, b int64) {
		if at.Hour() < 4 {
			return 0, 0
		}
		return daily(1000)(at)
	})
	e, ok := silent.Window("f", monday.Add(time.Hour), monday.Add(2*time.Hour))
	require.True(t, ok)
	require.InDelta(t, 0.58, e.Shares["a"], 1e-9)
}
