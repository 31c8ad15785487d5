package tables

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFloatsAreSorted(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	special := []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, -1, 1}
	for name, draw := range map[string]func() float64{
		"of all sizes":   func() float64 { return math.Float64frombits(r.Uint64()) },
		"whole numbers":  func() float64 { return float64(r.IntN(100) - 50) },
		"special values": func() float64 { return special[r.IntN(len(special))] },
		"all the same":   func() float64 { return 7 },
	} {
		for _, n := range []int{0, 1, 100, 10_000} {
			v := make([]float64, n)
			for i := range v {
				v[i] = draw()
			}
			want := slices.Sorted(slices.Values(v))
			sortFloats(v)
			for i := range v {
				require.True(t, v[i] == want[i] || math.IsNaN(v[i]) && math.IsNaN(want[i]), "%s: the %d-th of %d is %v, expected %v", name, i, n, v[i], want[i])
			}
		}
	}
}

func TestDistinctValuesOfAVirtualColumn(t *testing.T) {
	nan := math.NaN()
	choice := Choice{Top: 20}
	for name, c := range map[string]struct {
		column Column
		values VirtualValues
		want   ColumnOutline
	}{
		"NaN is one value, and none of a number's quantiles": {
			Column{Name: "x", Class: Float},
			VirtualValues{Null: make([]bool, 4), Numbers: []float64{nan, nan, 1, math.Inf(1)}},
			ColumnOutline{Values: 4, Distinct: 3, Moments: &Moments{Values: 1, Min: 1, Max: 1, Mean: 1}, Quantiles: slices.Repeat([]float64{1}, quantileCount)},
		},
		"what is missing is no value": {
			Column{Name: "x", Class: Text},
			VirtualValues{Null: []bool{true, false, false}, Texts: []int32{0, 1, 1}, Names: []string{"a", "b"}},
			ColumnOutline{Values: 2, Distinct: 1, Categories: map[string]int64{"b": 2}},
		},
		"whatever is not true is false": {
			Column{Name: "x", Class: Boolean},
			VirtualValues{Null: make([]bool, 3), Texts: []int32{0, 1, 2}, Names: []string{"true", "n", "false"}},
			ColumnOutline{Values: 3, Distinct: 2, Categories: map[string]int64{"true": 1, "false": 2}},
		},
		"few whole numbers are categories too": {
			Column{Name: "x", Class: Integer},
			VirtualValues{Null: make([]bool, 2), Numbers: []float64{3, 3}},
			ColumnOutline{Values: 2, Distinct: 1, Moments: &Moments{Values: 2, Min: 3, Max: 3, Mean: 3}, Quantiles: slices.Repeat([]float64{3}, quantileCount), Categories: map[string]int64{"3": 2}},
		},
		"a time has no quantiles": {
			Column{Name: "x", Class: Timestamp},
			VirtualValues{Null: make([]bool, 2), Numbers: []float64{3, 4}},
			ColumnOutline{Values: 2, Distinct: 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.values.Names != nil {
				require.Equal(t, c.want, outlineOfTexts(c.column, c.values, choice))
				return
			}
			require.Equal(t, c.want, outlineOfNumbers(c.column, c.values, choice))
		})
	}
}
