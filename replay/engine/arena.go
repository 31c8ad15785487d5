package engine

import "sync"

// An arena is reusable memory for the columns of one evaluation. A rule needs about ten megabytes, which would otherwise be
// cleared and garbage-collected for each evaluation.
type arena struct {
	chunks [][]float64
	chunk  int // index of the current chunk
	used   int // values used of it
}

// chunkValues is the number of values of a chunk, 1 MiB.
const chunkValues = 1 << 17

// column returns n values, which are not initialised.
func (a *arena) column(n int) []float64 {
	if a == nil {
		return make([]float64, n)
	}
	for ; a.chunk < len(a.chunks); a.chunk, a.used = a.chunk+1, 0 {
		if c := a.chunks[a.chunk]; len(c)-a.used >= n {
			a.used += n
			return c[a.used-n : a.used : a.used]
		}
	}
	c := make([]float64, max(n, chunkValues))
	a.chunks, a.used = append(a.chunks, c), n
	return c[:n:n]
}

// clone copies a column.
func (a *arena) clone(v []float64) []float64 {
	c := a.column(len(v))
	copy(c, v)
	return c
}

// fill returns a column with n times the same value.
func (a *arena) fill(x float64, n int) []float64 {
	c := a.column(n)
	for i := range c {
		c[i] = x
	}
	return c
}

// arenas is the pool of unused arenas. It has as many as there were concurrent evaluations.
type arenas struct {
	mu   sync.Mutex
	free []*arena
}

func (a *arenas) get() *arena {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.free); n > 0 {
		one := a.free[n-1]
		a.free = a.free[:n-1]
		return one
	}
	return &arena{}
}

// put returns an arena to the pool. Nothing may use its columns any more.
func (a *arenas) put(one *arena) {
	one.chunk, one.used = 0, 0
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free = append(a.free, one)
}
