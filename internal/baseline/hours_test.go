package baseline

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/season"
)

func hoursOf(d Definition, at map[int]int64) Hours {
	var h Hours
	for hour, n := range at {
		h.Add(d, hour, map[string]map[string]int64{"amount": {"(-Inf,12.5)": n}})
	}
	return h
}

func TestHoursBelongToTheirDay(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() *Store) {
		ctx := t.Context()
		b := open().Subject("dataset", "orders")
		d, err := b.CreateDefinition(ctx, testDefinition())
		require.NoError(t, err)
		counts := Counts{Definition: d.ID, Rows: 48_000, Fields: map[string]map[string]int64{"amount": {"(-Inf,12.5)": 24_000, "[12.5,12.5]": 24_000}}}
		for n := 1; n <= 4; n++ {
			var h Hours
			for hour := range hoursPerDay {
				bin := "(-Inf,12.5)"
				if hour < 12 {
					bin = "[12.5,12.5]"
				}
				h.Add(d, hour, map[string]map[string]int64{"amount": {bin: 2000}})
			}
			if n == 4 {
				h = Hours{} // As an earlier version learned it.
			}
			added, err := b.AddDayByHour(ctx, day(n), counts, h)
			require.NoError(t, err)
			require.True(t, added)
		}
		added, err := b.AddDayByHour(ctx, day(1), counts, hoursOf(d, map[int]int64{0: 1}))
		require.NoError(t, err)
		require.False(t, added, "a day counts once, and so do its hours")

		other := open().Subject("dataset", "orders") // Another replica, which has nothing in memory.
		v, err := other.View(ctx)
		require.NoError(t, err)
		p, err := v.Production(ctx, 0)
		require.NoError(t, err)
		require.Equal(t, []Day{day(4)}, v.WithoutHours(p))
		s, err := v.Season(ctx, p, season.Settings{Zone: time.UTC, MaxNoise: 0.07})
		require.NoError(t, err)
		start, err := day(12).Start()
		require.NoError(t, err)
		e, ok := s.Window("amount", start.Add(13*time.Hour), start.Add(14*time.Hour))
		require.True(t, ok)
		require.InDelta(t, 1, e.Shares["(-Inf,12.5)"], 1e-9)
		again, err := v.Season(ctx, p, season.Settings{Zone: time.UTC, MaxNoise: 0.07})
		require.NoError(t, err)
		require.Same(t, s, again, "built once")
		elsewhere, err := v.Season(ctx, p, season.Settings{Zone: time.FixedZone("east", 3*3600), MaxNoise: 0.07})
		require.NoError(t, err)
		require.NotSame(t, s, elsewhere)

		stored, err := v.Day(ctx, d.ID, day(4))
		require.NoError(t, err)
		require.Equal(t, counts, stored)
		require.NoError(t, other.AddHours(ctx, day(4), hoursOf(d, map[int]int64{1: 5})))
		v, err = other.View(ctx)
		require.NoError(t, err)
		require.Empty(t, v.WithoutHours(p))

		require.NoError(t, b.Reset(ctx, PartProduction))
		v, err = other.View(ctx)
		require.NoError(t, err)
		p, err = v.Production(ctx, 0)
		require.NoError(t, err)
		s, err = v.Season(ctx, p, season.Settings{Zone: time.UTC, MaxNoise: 0.07})
		require.NoError(t, err)
		require.Nil(t, s, "hours go with the days that they are of")
	})
}

func TestHoursThatCannotBeStored(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() *Store) {
		b := open().Subject("dataset", "orders")
		d, err := b.CreateDefinition(t.Context(), testDefinition())
		require.NoError(t, err)
		h := hoursOf(d, map[int]int64{3: 1})
		h.Hours = h.Hours[:23]
		_, err = b.AddDayByHour(t.Context(), day(1), Counts{Definition: d.ID}, h)
		require.ErrorContains(t, err, "write hours of dataset/orders: 23 hours, expected 24")
		h = hoursOf(d, map[int]int64{3: -1})
		require.ErrorContains(t, b.AddHours(t.Context(), day(1), h), `hour 3: field "amount": bin 3 has -1 values, expected 0 to 2^53`)
		h = hoursOf(d, map[int]int64{3: 1})
		h.Definition = "other"
		require.ErrorIs(t, b.AddHours(t.Context(), day(1), h), ErrOtherBins)
	})
}
