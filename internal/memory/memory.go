// Package memory fits a program into the memory of its container.
//
// Input: the limit of the process's cgroup. Output: the soft limit of Go's garbage collector, and what a database in the same process
// may take. State: the runtime's limit, set once. It never overrides GOMEMLIMIT, and AUTOMEMLIMIT=off turns it off.
package memory

import (
	"math"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// goShare of the cgroup's limit is Go's. It is a ceiling: what DuckDB has taken counts against the same limit, and stacks, threads and
// libraries need the rest.
const goShare = 0.8

// Follow sets the garbage collector's limit to a share of the cgroup's, if there is one.
func Follow() error {
	cgroup := func() (uint64, error) { return limit(memlimit.FromCgroup), nil }
	_, err := memlimit.Set(memlimit.WithProvider(cgroup), memlimit.WithRatio(goShare))
	return err
}

// limit is that of the provider, or the largest there is where none can be read: a host without cgroups is no error.
func limit(provider memlimit.Provider) uint64 {
	if limit, err := provider(); err == nil && limit > 0 && limit <= math.MaxInt64 {
		return limit
	}
	return math.MaxInt64
}

// Half returns the half of the cgroup's limit, and at most so many bytes.
func Half(most int64) int64 { return half(memlimit.FromCgroup, most) }

func half(provider memlimit.Provider, most int64) int64 {
	return min(most, int64(limit(provider)/2))
}
