package binning_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

func TestBins(t *testing.T) {
	for name, tc := range map[string]struct {
		layout binning.Layout
		want   []string
	}{
		"a numeric field has an interval between each pair of quantiles": {
			binning.NewNumeric([]float64{0, 5, 12.5}, false),
			[]string{"null", "(-Inf,5]", "(5,12.5]", "(12.5,+Inf)"},
		},
		"a floating-point field counts NaN and infinities apart": {
			binning.NewNumeric([]float64{-1, 0.5}, true),
			[]string{"null", "nan", "inf", "(-Inf,0.5]", "(0.5,+Inf)"},
		},
		"quantiles that are not finite make no edge": {
			binning.NewNumeric([]float64{math.Inf(-1), 1, 2, math.Inf(1), math.NaN()}, false),
			[]string{"null", "(-Inf,2]", "(2,+Inf)"},
		},
		"a constant has an interval to itself": {
			binning.NewNumeric([]float64{5, 5, 5, 5}, false),
			[]string{"null", "(-Inf,5)", "[5,5]", "(5,+Inf)"},
		},
		"many zeros at the minimum have an interval to themselves": {
			binning.NewNumeric([]float64{0, 0, 0, 3, 7}, false),
			[]string{"null", "(-Inf,0)", "[0,0]", "(0,3]", "(3,7]", "(7,+Inf)"},
		},
		"a tie in the middle has an interval to itself": {
			binning.NewNumeric([]float64{-9, -3, 1, 1, 1, 4}, false),
			[]string{"null", "(-Inf,-3]", "(-3,1)", "[1,1]", "(1,4]", "(4,+Inf)"},
		},
		"a field without values counts all in one interval": {
			binning.NewNumeric(nil, false),
			[]string{"null", "(-Inf,+Inf)"},
		},
		"categories beyond the named ones share other": {
			binning.NewCategorical([]string{"visa", "amex", "jcb"}, 2, false),
			[]string{"null", "unseen", "other", "visa", "amex"},
		},
		"without further categories there is no other": {
			binning.NewCategorical([]string{"true", "false"}, 20, false),
			[]string{"null", "unseen", "true", "false"},
		},
		"with too many categories to list nothing can be unseen": {
			binning.NewCategorical([]string{"a", "b"}, 1, true),
			[]string{"null", "other", "a"},
		},
		"an all-null field takes any value as unseen": {
			binning.NewCategorical(nil, 20, false),
			[]string{"null", "unseen"},
		},
		"points in time are counted by age": {
			binning.NewAged(),
			[]string{"null", "future", "(0s,1m]", "(1m,5m]", "(5m,15m]", "(15m,1h]", "(1h,6h]", "(6h,1d]", "(1d,7d]", "(7d,30d]", "(30d,365d]", "(365d,+Inf)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, tc.layout.Validate())
			require.Equal(t, tc.want, tc.layout.Bins())
		})
	}
}

func TestCategoryBin(t *testing.T) {
	for name, tc := range map[string]struct{ category, want string }{
		"a plain category names its bin":             {"visa", "visa"},
		"spaces and other scripts stay as they are":  {"São Tomé 日本", "São Tomé 日本"},
		"a reserved name is quoted":                  {"null", `"null"`},
		"an empty category is quoted":                {"", `""`},
		"a category with a leading quote is quoted":  {`"null"`, `"\"null\""`},
		"control characters are escaped":             {"a\nb", `"a\nb"`},
		"bytes that are not UTF-8 are escaped":       {"a\xffb", `"a\xffb"`},
		"right-to-left marks cannot hide in a label": {"a\u202eb", `"a\u202eb"`},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.want, binning.CategoryBin(tc.category)) })
	}
	t.Run("long categories that differ at the end stay different", func(t *testing.T) {
		long := strings.Repeat("x", 1000)
		a, b := binning.CategoryBin(long+"a"), binning.CategoryBin(long+"b")
		require.NotEqual(t, a, b)
		require.Len(t, []rune(a), 64)
	})
}

func TestSpellings(t *testing.T) {
	require.Equal(t, []string{"1", "1.0", "1.00"}, binning.Spellings("1", nil))
	require.Equal(t, []string{"1.0", "1", "1.00"}, binning.Spellings("1.0", nil))
	require.Equal(t, []string{"-20.00", "-20", "-20.0"}, binning.Spellings("-20.00", nil))
	for _, other := range []string{"1.5", "1.00.0", "1.000", "01", "v1", ".0", ""} {
		require.Equal(t, []string{other}, binning.Spellings(other, nil))
	}

	require.Equal(t, []string{"1", "1.00"}, binning.Spellings("1", map[string]bool{"1": true, "1.0": true}))

	of := func(categories ...string) map[string]bool { return binning.Layout{Top: categories}.Categories() }
	require.Equal(t, []string{"true", "True", "TRUE", "t", "1", "1.0", "1.00"}, binning.Spellings("true", of("true", "false")))
	require.Equal(t, []string{"0", "0.0", "0.00", "false", "False", "FALSE", "f"}, binning.Spellings("0", of("1", "0")))
	require.Equal(t, []string{"F"}, binning.Spellings("F", of("T", "F")))
	for _, categories := range [][]string{{"true"}, {"true", "1"}, {"true", "False"}, {"true", "false", "1"}} {
		require.Equal(t, []string{"true"}, binning.Spellings("true", of(categories...)))
	}

	counts := map[string]int{"1": 1, "1.0": 2, "1.00": 4, "2.0": 8, "2.00": 16, "3.00": 32}
	binning.JoinSpellings(counts)
	require.Equal(t, map[string]int{"1": 7, "2.0": 24, "3.00": 32}, counts)
}

func TestValidateRefuses(t *testing.T) {
	for want, l := range map[string]binning.Layout{
		`unknown kind "", expected "numeric", "categorical" or "age"`:                                             {},
		"edge 1 (1) is not above edge 0 (2)":                                                                      {Kind: binning.Numeric, Edges: []float64{2, 1}},
		"edge 0 is NaN, expected a finite number":                                                                 {Kind: binning.Numeric, Edges: []float64{math.NaN()}},
		"101 edges, at most 100 are possible":                                                                     {Kind: binning.Numeric, Edges: make([]float64, 101)},
		`a layout of kind "numeric" has no categories`:                                                            {Kind: binning.Numeric, Top: []string{"a"}},
		`a centroid of 2 dimensions in a layout of kind "age", expected up to 4096 and "numeric" with NaN`:        {Kind: binning.Aged, Float: true, Centroid: []float32{1, 0}},
		`a centroid of 4097 dimensions in a layout of kind "numeric", expected up to 4096 and "numeric" with NaN`: {Kind: binning.Numeric, Float: true, Centroid: make([]float32, 4097)},
		`number 1 of the centroid is 2, expected -1 to 1`:                                                         {Kind: binning.Numeric, Float: true, Centroid: []float32{0, 2}},
		`a layout of kind "categorical" has no edges and no centroid`:                                             {Kind: binning.Categorical, Float: true},
		`category "a" is there twice`:                                                                             {Kind: binning.Categorical, Top: []string{"a"}, Rest: []string{"a"}},
		"0 named and 2001 other categories, at most 100 and 2000 are possible":                                    {Kind: binning.Categorical, Rest: make([]string, 2001)},
	} {
		require.EqualError(t, l.Validate(), want)
	}
}

// Every layout that comes from quantiles must be countable and its bins must
// have different names, or two bins would fold into one series.
func FuzzNumeric(f *testing.F) {
	f.Add(0.0, 0.0, 1.0, 2.0)
	f.Add(5.0, 5.0, 5.0, 5.0)
	f.Add(math.Nextafter(5, 0), 5.0, 5.0, 6.0)
	f.Add(-math.MaxFloat64, -math.MaxFloat64, math.MaxFloat64, math.MaxFloat64)
	f.Fuzz(func(t *testing.T, a, b, c, d float64) {
		l := binning.NewNumeric([]float64{a, b, c, d}, true)
		require.NoError(t, l.Validate())
		bins := l.Bins()
		slices.Sort(bins)
		require.Len(t, slices.Compact(slices.Clone(bins)), len(bins))
	})
}

func FuzzCategoryBin(f *testing.F) {
	f.Add("null", `"null"`)
	f.Fuzz(func(t *testing.T, a, b string) {
		if a != b {
			require.NotEqual(t, binning.CategoryBin(a), binning.CategoryBin(b))
		}
	})
}
