package engine

import "sync"

// An arena is the memory of the columns of one evaluation. It is reused, because a rule's columns are ten megabytes, which would be cleared
// and collected each time.
type arena struct {
	chunks [][]float64
	chunk  int // The current one.
	used   int // Used values of it.
}

// chunkValues is the length of a chunk, 1 MiB.
const chunkValues = 1 << 17

// column returns a column with undefined values.
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

// fill returns a column with the same value n times.
func (a *arena) fill(x float64, n int) []float64 {
	c := a.column(n)
	for i := range c {
		c[i] = x
	}
	return c
}

// arenas is a pool of unused arenas, as many as were used at the same time.
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

// put returns the memory of an evaluation whose columns are no longer used.
func (a *arenas) put(one *arena) {
	one.chunk, one.used = 0, 0
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free = append(a.free, one)
}
