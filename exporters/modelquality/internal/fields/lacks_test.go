package fields

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
)

func TestLacksOfABaselineOfAnEarlierVersion(t *testing.T) {
	amount := binning.NewNumeric([]float64{0, 10, 20}, true)
	bins := amount.Bins()
	first, last := bins[len(bins)-3], bins[len(bins)-1]
	of := func(field string, l binning.Layout, counts map[string]int64) (baseline.Definition, baseline.Production) {
		return baseline.Definition{Fields: map[string]binning.Layout{field: l}}, baseline.Production{
			FrozenAt: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), Days: []baseline.Day{"2026-11-01"},
			Counts: baseline.Counts{Fields: map[string]map[string]int64{field: counts}},
		}
	}
	const without = "the bins of amount have no range: MLModelInputBroken cannot detect values beyond the learned ones"
	d, p := of("input/amount", amount, map[string]int64{first: 989, last: 11})
	what, part := Lacks(d, p, 1)
	require.Equal(t, "days without hours: 1: five minutes and an hour are compared with the hours of the other days, or with the whole baseline if there are none; "+without, what)
	require.Equal(t, baseline.PartDefinition, part)
	what, _ = Lacks(d, p, 0)
	require.Equal(t, without, what)
	p.FrozenAt = time.Time{}
	what, _ = Lacks(d, p, 0)
	require.Empty(t, what, "it is learning")

	for name, field := range map[string]string{"outputs have none": "output/confidence", "hardly any value is outermost": "input/amount"} {
		outermost := int64(500)
		if field == "input/amount" {
			outermost = 10
		}
		d, p := of(field, amount, map[string]int64{bins[len(bins)-2]: 1000 - outermost, last: outermost})
		what, _ := Lacks(d, p, 0)
		require.Empty(t, what, name)
	}
	_, part = Lacks(d, p, 1)
	require.Equal(t, baseline.PartProduction, part)
}
