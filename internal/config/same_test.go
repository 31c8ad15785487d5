package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSameIgnoresPositions(t *testing.T) {
	type part struct {
		Pos   `yaml:"-"`
		Name  string
		Zone  TimeZone
		Until *Duration
		List  []string
		By    map[string]float64
		set   bool
	}
	zone := func(name string) (z TimeZone) {
		require.NoError(t, z.UnmarshalText([]byte(name)))
		return z
	}
	hour := Duration(time.Hour)
	base := func() part {
		d := hour
		return part{Name: "a", Zone: zone("America/Toronto"), Until: &d, List: []string{"x"}, By: map[string]float64{"k": 1}}
	}
	for name, tc := range map[string]struct {
		change func(*part)
		want   bool
	}{
		"nothing":                     {func(*part) {}, true},
		"another line":                {func(p *part) { p.Pos = Pos{} }, true},
		"another text":                {func(p *part) { p.Name = "b" }, false},
		"another zone":                {func(p *part) { p.Zone = zone("Europe/Paris") }, false},
		"no value where there was":    {func(p *part) { p.Until = nil }, false},
		"another value behind":        {func(p *part) { d := 2 * hour; p.Until = &d }, false},
		"more in a list":              {func(p *part) { p.List = append(p.List, "y") }, false},
		"another key":                 {func(p *part) { p.By = map[string]float64{"l": 1} }, false},
		"what no other package reads": {func(p *part) { p.set = true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			other := base()
			tc.change(&other)
			require.Equal(t, tc.want, Equal(base(), other))
			require.Equal(t, tc.want, Equal([]part{base()}, []part{other}))
		})
	}
	require.False(t, Equal(1, "1"))
	require.True(t, Equal(nil, nil))
}
