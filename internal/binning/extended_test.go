package binning_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// The counts of values by a layout, converted to the extended one, are their counts by the extended one.
func TestExtendedLayouts(t *testing.T) {
	count := func(l binning.Layout, numbers []float64, categories []string) map[string]int64 {
		f, counts := binning.NewFinder(l, false), make(map[string]int64)
		for _, bin := range f.Bins() {
			counts[bin] = 0
		}
		for _, x := range numbers {
			counts[f.Bins()[f.Number(x)]]++
		}
		for _, c := range categories {
			counts[f.Bins()[f.Category(c)]]++
		}
		return counts
	}
	for _, numbers := range [][]float64{{0, 5, 10}, {-3, 0, 7}, {2, 10, 11}, {-1, 3, 99}} {
		l := binning.NewRanged([]float64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 0, 10, 4, true)
		more := l.Extended(binning.Moments{Values: 3, Min: slices.Min(numbers), Max: slices.Max(numbers)}, nil)
		require.NoError(t, more.Validate())
		n, _ := more.OutOfRange(count(more, numbers, nil))
		require.Zero(t, n)
		require.Equal(t, count(more, numbers, nil), more.Converted(l, count(l, numbers, nil)), numbers)
	}
	for _, rest := range []string{"", "c"} {
		l := binning.NewCategorical(slices.DeleteFunc([]string{"1", "b", rest}, func(c string) bool { return c == "" }), 2, false)
		values := []string{"1", "1.0", "b", "b", "e", "d", "c"}
		more := l.Extended(binning.Moments{}, values)
		require.Equal(t, l.Top, more.Top)
		require.Equal(t, []string{"c", "d", "e"}, more.Rest)
		require.Zero(t, count(more, nil, values)[binning.Unseen])
		require.Equal(t, count(more, nil, values), more.Converted(l, count(l, nil, values)))
	}
	many := make([]string, binning.MaxKnown+2)
	for i := range many {
		many[i] = string(rune('a' + i))
	}
	l := binning.NewCategorical([]string{"a"}, 1, false)
	require.Equal(t, l, l.Extended(binning.Moments{}, many), "too many categories")
	require.Equal(t, l, l.Extended(binning.Moments{}, []string{"a"}))
}
