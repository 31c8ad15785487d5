package baseline

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/binning"
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
