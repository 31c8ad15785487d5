package memory

import (
	"errors"
	"math"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/stretchr/testify/require"
)

func TestADatabaseTakesNoMoreThanHalfOfTheContainer(t *testing.T) {
	const gibibyte = 1 << 30
	for name, tc := range map[string]struct {
		limit uint64
		err   error
		want  int64
	}{
		"a small container":                 {512 << 20, nil, 256 << 20},
		"a container of just twice as much": {2 * gibibyte, nil, gibibyte},
		"a large container":                 {64 * gibibyte, nil, gibibyte},
		"no limit":                          {0, memlimit.ErrNoLimit, gibibyte},
		"an invalid limit":                  {math.MaxUint64, nil, gibibyte},
		"no cgroups":                        {0, errors.New("no cgroup"), gibibyte},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want, half(func() (uint64, error) { return tc.limit, tc.err }, gibibyte))
		})
	}
}

func TestHostWithoutAMemoryLimit(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "100GiB") // Of the tests' own process.
	require.NoError(t, Follow())
}
