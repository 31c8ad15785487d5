package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
)

type zoned struct {
	Zone config.TimeZone `yaml:"time_zone"`
}

func (z *zoned) Validate(at config.At) {
	if z.Zone == "" {
		z.Zone = at.TimeZone("time_zone", "America/Toronto")
	}
}

func TestTimeZoneOfTheEnvironmentIsTheFallback(t *testing.T) {
	for sentence, tc := range map[string]struct{ env, text, want, problem string }{
		"the file wins": {"Asia/Tokyo", "time_zone: Europe/Berlin", "Europe/Berlin", ""},
		"the variable, if the file has no time zone": {"Asia/Tokyo", "{}", "Asia/Tokyo", ""},
		"the default, without either":                {"", "{}", "America/Toronto", ""},
		"a variable that names no zone":              {"Tokyo", "{}", "", `f.yaml:1: time_zone: is not set, and the environment variable SIGHTGLASS_TIME_ZONE is "Tokyo"; want the name of a time zone, such as America/Toronto or UTC`},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Setenv("SIGHTGLASS_TIME_ZONE", tc.env)
			var z zoned
			err := config.Decode("f.yaml", []byte(tc.text), &z)
			if tc.problem != "" {
				require.EqualError(t, err, tc.problem)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, string(z.Zone))
		})
	}
}
