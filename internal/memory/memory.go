// Package memory adapts a program to the memory limit of its container.
//
// Input: the limit of the process's cgroup. Output: the soft memory limit of Go's garbage collector, and the limit for a database in
// the same process. State: the runtime's limit, set once. It never overrides GOMEMLIMIT, and AUTOMEMLIMIT=off disables it.
package memory

import (
	"math"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// goShare is the share of the cgroup's limit that Go may use. It is an upper limit: DuckDB's memory counts against the same limit, and
// stacks, threads and libraries need the rest.
const goShare = 0.8

// Follow sets the garbage collector's limit to a share of the cgroup's limit, if there is one.
func Follow() error {
	cgroup := func() (uint64, error) { return limit(memlimit.FromCgroup), nil }
	_, err := memlimit.Set(memlimit.WithProvider(cgroup), memlimit.WithRatio(goShare))
	return err
}

// limit returns the provider's limit, or the maximum of int64 if none can be read. A host without cgroups is not an error.
func limit(provider memlimit.Provider) uint64 {
	if limit, err := provider(); err == nil && limit > 0 && limit <= math.MaxInt64 {
		return limit
	}
	return math.MaxInt64
}

// Half returns half of the cgroup's limit, but at most most bytes.
func Half(most int64) int64 { return half(memlimit.FromCgroup, most) }

func half(provider memlimit.Provider, most int64) int64 {
	return min(most, int64(limit(provider)/2))
}
