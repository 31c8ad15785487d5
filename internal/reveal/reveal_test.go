package reveal

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

func TestOnlyCodesAreShown(t *testing.T) {
	for name, tc := range map[string]struct {
		field string
		shown []string
		not   []string
	}{
		"codes of a list":            {"status", []string{"paid", "refunded", "in_transit", "PENDING", "CA", "US-NY", "v1.2", "a/b", "application/json", "model-3b", "T1", ""}, nil},
		"truths":                     {"gift", []string{"true", "false"}, nil},
		"numbers":                    {"items", []string{"0", "-1", "12", "3.5", "100000"}, nil},
		"names of people and places": {"customer", []string{"smith2"}, []string{"Alice", "Jean-Luc", "O'Brien", "Zoë", "Mary Smith", "jean tremblay", "Montréal", "Laval"}},
		"e-mail, telephone and the like": {"contact", nil, []string{
			"a@b.ca", "514-555-0199", "+15145550199", "(514) 555-0199", "5145550199", "046-454-286", "1980-02-03", "H2X1Y4", "H2X 1Y4", "192.168.0.1", "2001:db8::1", "https://a.ca/u/7", "1234567",
		}},
		"free text":                         {"reason", nil, []string{"the parcel was late", "late, again", "two\nlines", `"quoted"`, "Mrs Tremblay of 12 Main Street in Laval called twice about the parcel that her neighbour took", "a_code_that_is_longer_than_any_code_should_be", "«bonjour»"}},
		"a column whose name suggests it":   {"customer_email", []string{"1", "true"}, []string{"alice", "CA"}},
		"in camel case":                     {"firstName", nil, []string{"alice"}},
		"in French":                         {"nom-client", nil, []string{"tremblay"}},
		"a name that only holds such a one": {"rename_count", []string{"alice"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			hidden := Policy(nil).Hidden(tc.field, binning.Layout{Kind: binning.Categorical, Top: append(append([]string{}, tc.shown...), tc.not...)})
			for _, v := range tc.shown {
				require.NotContains(t, hidden, v)
				require.Equal(t, binning.CategoryBin(v), Name(hidden, binning.CategoryBin(v)))
			}
			for i, v := range tc.not {
				name := Name(hidden, binning.CategoryBin(v))
				require.Regexp(t, `^#\d+~[0-9a-f]{6}$`, name, v)
				require.Contains(t, name, fmt.Sprintf("#%d~", len(tc.shown)+i+1), "its rank")
			}
		})
	}
}

func TestPatternsRevealAField(t *testing.T) {
	l := binning.Layout{Kind: binning.Categorical, Top: []string{"Laval", "Alice"}}
	require.Nil(t, Policy{"ci*"}.Hidden("city", l))
	require.Nil(t, Policy{"*"}.Hidden("customer_name", l))
	require.Len(t, Policy{"city"}.Hidden("city_of_birth", l), 2)
	require.NotEqual(t, Policy(nil).Hidden("a", l)["Alice"], Policy(nil).Hidden("b", l)["Alice"], "columns cannot be joined by it")
	require.Equal(t, map[string]string{"Laval": "#1~9a588d", "Alice": "#2~2ae752"}, Policy(nil).Hidden("a", l), "replicas and versions agree")
}

func TestBinsOtherThanCategoriesAreShown(t *testing.T) {
	l := binning.NewNumeric([]float64{0, 1, 2}, true)
	require.Nil(t, Policy(nil).Hidden("name", l))
	hidden := Policy(nil).Hidden("name", binning.Layout{Kind: binning.Categorical, Top: []string{"Alice"}})
	for _, bin := range []string{binning.Null, binning.Unseen, binning.Other, "(1,2]"} {
		require.Equal(t, bin, Name(hidden, bin))
	}
}
