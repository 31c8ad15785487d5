package baseline

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/season"
)

func provisionalDefinition() Definition {
	d := testDefinition()
	d.Edges = EdgesProduction
	return d
}

func TestRefinedBinsReplaceProvisionalOnesOnce(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() *Store) {
		ctx := t.Context()
		s := open().Subject("dataset", "orders")
		d, err := s.CreateDefinition(ctx, provisionalDefinition())
		require.NoError(t, err)
		require.False(t, d.Refined())
		for _, day := range days(1, 3) {
			_, err := s.AddDay(ctx, day, countsOf(d.ID, day))
			require.NoError(t, err)
			require.NoError(t, s.AddOutline(ctx, d.ID, day, map[string]int{"rows": 7}))
		}
		v, err := s.View(ctx)
		require.NoError(t, err)
		require.Equal(t, days(4, 5), v.WithoutOutline(d.ID, days(1, 5)))
		var outline map[string]int
		require.NoError(t, v.Outline(ctx, d.ID, day(2), &outline))
		require.Equal(t, 7, outline["rows"])

		// Replicas refine at the same time, by other bins: all agree on one.
		var wg sync.WaitGroup
		for n := range 3 {
			wg.Go(func() {
				of := provisionalDefinition()
				of.Learned = days(1, 3)
				of.Fields = map[string]binning.Layout{"amount": binning.NewNumeric([]float64{float64(n), 7, 8}, true)}
				if err := open().Subject("dataset", "orders").Refine(ctx, of); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		v, err = s.View(ctx)
		require.NoError(t, err)
		refined, err := v.Definition(ctx)
		require.NoError(t, err)
		require.True(t, refined.Refined())
		other, err := open().Subject("dataset", "orders").View(ctx)
		require.NoError(t, err)
		same, err := other.Definition(ctx)
		require.NoError(t, err)
		require.Equal(t, refined, same)
		p, err := v.Production(ctx, 0)
		require.NoError(t, err)
		require.Empty(t, p.Days, "the days are counted again by the refined bins")
		_, err = s.AddDay(ctx, day(1), countsOf(d.ID, day(1)))
		require.ErrorIs(t, err, ErrOtherBins)

		// With new days come provisional bins again.
		require.NoError(t, s.Reset(ctx, PartProduction))
		v, err = s.View(ctx)
		require.NoError(t, err)
		again, err := v.Definition(ctx)
		require.NoError(t, err)
		require.Equal(t, d, again)
	})
}

// What was accepted while the bins were provisional, and the counts of the training data, outlive the refinement.
func TestRefinementKeepsAcceptedColumnsAndTraining(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() *Store) {
		ctx := t.Context()
		s := open().Subject("dataset", "orders")
		of := testDefinition()
		of.Untrained = []string{"tender"}
		d, err := s.CreateDefinition(ctx, of)
		require.NoError(t, err)
		require.False(t, d.Trained("tender"))
		require.True(t, d.Trained("amount"))
		training, err := s.CreateTraining(ctx, countsOf(d.ID, day(1)))
		require.NoError(t, err)
		layout := binning.Layout{Kind: binning.Categorical, Top: []string{"card"}}
		require.NoError(t, s.Accept(ctx, d.ID, Accepted{Column: Column{"tender", "VARCHAR"}, Layout: &layout}))
		of.Learned = days(1, 3)
		require.NoError(t, s.Refine(ctx, of))
		v, err := s.View(ctx)
		require.NoError(t, err)
		refined, err := v.Definition(ctx)
		require.NoError(t, err)
		require.NotEqual(t, d.ID, refined.ID)
		require.Equal(t, 1, refined.Kept)
		require.Equal(t, layout, refined.Fields["tender"])
		kept, err := v.Training(ctx)
		require.NoError(t, err)
		require.Equal(t, training, kept)

		// A later acceptance is in force.
		require.NoError(t, s.Accept(ctx, refined.ID, Accepted{Column: Column{Name: "tender"}, Removed: true}))
		v, err = open().Subject("dataset", "orders").View(ctx)
		require.NoError(t, err)
		after, err := v.Definition(ctx)
		require.NoError(t, err)
		require.NotContains(t, after.Fields, "tender")

		require.NoError(t, s.Reset(ctx, PartTraining))
		v, err = s.View(ctx)
		require.NoError(t, err)
		_, err = v.Training(ctx)
		require.ErrorIs(t, err, ErrNotFound, "it is counted again")
	})
}

func TestAcceptedColumnsLeaveTheOthersAlone(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() *Store) {
		ctx := t.Context()
		s := open().Subject("dataset", "orders")
		d, err := s.CreateDefinition(ctx, provisionalDefinition())
		require.NoError(t, err)
		for _, day := range days(1, 3) {
			_, err := s.AddDay(ctx, day, countsOf(d.ID, day))
			require.NoError(t, err)
		}
		frozen, err := s.Freeze(ctx)
		require.NoError(t, err)
		layout := binning.Layout{Kind: binning.Categorical, Top: []string{"card", "cash"}}
		counts := map[string]int64{"card": 30, "cash": 12}
		require.NoError(t, s.Accept(ctx, d.ID, Accepted{Column: Column{"tender", "VARCHAR"}, Layout: &layout, Counts: counts}))
		require.NoError(t, s.Accept(ctx, d.ID, Accepted{Column: Column{"amount", "DECIMAL"}, Left: "of a type without bins"}))
		require.NoError(t, s.Accept(ctx, d.ID, Accepted{Column: Column{Name: "merchant \"category\"\n"}, Removed: true}))

		v, err := open().Subject("dataset", "orders").View(ctx)
		require.NoError(t, err)
		after, err := v.Definition(ctx)
		require.NoError(t, err)
		require.Equal(t, d.ID, after.ID)
		require.Equal(t, []Column{{"amount", "DECIMAL"}, {"tender", "VARCHAR"}}, after.Schema)
		require.Equal(t, map[string]binning.Layout{"tender": layout}, after.Fields)
		require.Equal(t, map[string]string{"amount": "of a type without bins"}, after.Left)
		p, err := v.Production(ctx, 3)
		require.NoError(t, err)
		require.True(t, p.Frozen())
		require.Equal(t, frozen.Days, p.Days)
		require.Equal(t, frozen.Counts.Rows, p.Counts.Rows)
		require.Equal(t, map[string]map[string]int64{"tender": counts}, p.Counts.Fields)

		// The last word on a column holds.
		require.NoError(t, s.Accept(ctx, d.ID, Accepted{Column: Column{Name: "tender"}, Removed: true}))
		v, err = s.View(ctx)
		require.NoError(t, err)
		after, err = v.Definition(ctx)
		require.NoError(t, err)
		require.Equal(t, []Column{{"amount", "DECIMAL"}}, after.Schema)
		require.ErrorContains(t, s.Accept(ctx, d.ID, Accepted{}), "expected UTF-8 text")
	})
}

func TestSeasonsOfAcceptedColumns(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() *Store) {
		ctx, settings := t.Context(), season.Settings{Zone: time.UTC, MaxNoise: 0.07}
		s := open().Subject("dataset", "orders")
		of := testDefinition()
		other := of.Fields["amount"]
		of.Fields["other"] = other
		d, err := s.CreateDefinition(ctx, of)
		require.NoError(t, err)
		bins := other.Bins()
		// Values are in the first bin from midnight to noon, and in the second one from noon on.
		byHour := func(hour int) int { return 1 + hour/12 }
		total := map[string]int64{bins[1]: 24_000, bins[2]: 24_000}
		all := Counts{Definition: d.ID, Rows: 48_000, Fields: map[string]map[string]int64{"amount": total, "other": total}}
		_, err = s.CreateTraining(ctx, all)
		require.NoError(t, err)
		for _, day := range days(1, 4) {
			var h Hours
			for hour := range hoursPerDay {
				of := map[string]int64{bins[byHour(hour)]: 2000}
				h.Add(d, hour, map[string]map[string]int64{"amount": of, "other": of})
			}
			_, err := s.AddDayByHour(ctx, day, all, h)
			require.NoError(t, err)
		}
		start, err := day(12).Start()
		require.NoError(t, err)
		share := func(s *season.Season, field string, hour int, bin string) float64 {
			from := start.Add(time.Duration(hour) * time.Hour)
			e, ok := s.Window(field, from, from.Add(time.Hour))
			require.True(t, ok)
			return e.Shares[bin]
		}
		read := func(s *Subject) (production *season.Season, accepted map[string]*season.Season, training Counts) {
			v, err := s.View(ctx)
			require.NoError(t, err)
			p, err := v.Production(ctx, 0)
			require.NoError(t, err)
			production, err = v.Season(ctx, p, settings)
			require.NoError(t, err)
			accepted, err = v.AcceptedSeasons(ctx, p, settings)
			require.NoError(t, err)
			training, err = v.Training(ctx)
			require.NoError(t, err)
			return production, accepted, training
		}
		production, accepted, training := read(s)
		require.InDelta(t, 1, share(production, "amount", 3, bins[1]), 1e-9)
		require.Empty(t, accepted)
		require.Contains(t, training.Fields, "amount")

		// The accepted column has as many bins as before, under other names.
		layout := binning.Layout{Kind: binning.Categorical, Top: []string{"card", "cash"}}
		for len(layout.Bins()) < len(bins) {
			layout.Top = append(layout.Top, fmt.Sprint("spare ", len(layout.Top)))
		}
		a := Accepted{Column: Column{"amount", "VARCHAR"}, Layout: &layout, Counts: map[string]int64{"card": 6000, "cash": 6000}}
		require.NoError(t, s.Accept(ctx, d.ID, a))
		for _, s := range []*Subject{s, open().Subject("dataset", "orders")} {
			production, accepted, training = read(s)
			for _, hour := range []int{3, 15} {
				require.InDelta(t, 0.5, share(production, "amount", hour, "card"), 1e-9, "without hours, the whole column")
			}
			require.InDelta(t, 1, share(production, "other", 3, bins[1]), 1e-9)
			require.Empty(t, accepted)
			require.NotContains(t, training.Fields, "amount")
			require.Contains(t, training.Fields, "other")
		}

		card := slices.Index(layout.Bins(), "card")
		for hour := range hoursPerDay * 5 {
			counts := make([]int64, len(bins))
			counts[card+hour%hoursPerDay/12] = 100
			a.Hours = append(a.Hours, AcceptedHour{start.Add(time.Duration(hour) * time.Hour), counts})
		}
		require.NoError(t, s.Accept(ctx, d.ID, a))
		production, accepted, _ = read(s)
		require.InDelta(t, 1, share(accepted["amount"], "amount", 3, "card"), 1e-9)
		require.InDelta(t, 0, share(accepted["amount"], "amount", 15, "card"), 1e-9)
		require.InDelta(t, 1, share(production, "other", 3, bins[1]), 1e-9)

		a.Hours[0].Counts[0] = -1
		require.ErrorContains(t, s.Accept(ctx, d.ID, a), "expected 0 to 2^53")
	})
}
