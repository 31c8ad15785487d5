package engine

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestOnlyCyclicRulesAreEvaluatedStepwise(t *testing.T) {
	for name, c := range map[string]struct {
		rules string
		want  []bool // Stepwise, in the order of evaluation.
	}{
		"no circle":                 {`[{record: b, expr: a}, {record: a, expr: m}]`, []bool{false, false}},
		"its own record":            {`[{record: a, expr: a + m}]`, []bool{true}},
		"other series of its name":  {`[{record: a, labels: {of: x}, expr: 'a{of="y"}'}]`, []bool{false}},
		"a series that may be its":  {`[{record: a, labels: {of: x}, expr: 'a{of=~"x|y"}'}]`, []bool{true}},
		"two in a circle":           {`[{record: a, expr: b}, {record: b, expr: a}]`, []bool{true, true}},
		"a circle that labels open": {`[{record: a, expr: m}, {record: b, expr: 'a{of=""}'}, {record: a, labels: {of: b}, expr: b}]`, []bool{false, false, false}},
		"file order of one name":    {`[{record: a, labels: {of: x}, expr: 'a{of="y"}'}, {record: a, labels: {of: y}, expr: m}]`, []bool{true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			loaded, err := LoadRules(fstest.MapFS{"r.yaml": {Data: []byte("groups: [{name: g, rules: " + c.rules + "}]")}})
			require.NoError(t, err)
			units, err := compile(loaded, defaultInterval)
			require.NoError(t, err)
			var have []bool
			for _, u := range units {
				for _, r := range u.rules {
					have = append(have, r.stepwise)
				}
			}
			require.Equal(t, c.want, have)
		})
	}
}
