package binning

import (
	"math"
	"slices"
	"strconv"
	"time"
)

// Finder finds the bin of a single value, for programs that have the values in memory. Databases count by the same layouts in SQL. A
// test in package tables compares the two. A Finder is not safe for concurrent use.
type Finder struct {
	bins    []string
	kind    Kind
	edges   []float64
	first   int // bin of the first interval
	nan     int
	inf     int
	future  int
	byName  map[string]int
	unknown int // bin of a category that is in no list
	// numbers caches the bins of numbers that are counted as categories.
	numbers map[float64]int
}

// NullBin is the index of Null in the bins of every Finder.
const NullBin = 0

// NewFinder returns the Finder of a layout. float means that values can be NaN or infinite, even if the baseline's column could not.
func NewFinder(l Layout, float bool) *Finder {
	f := &Finder{bins: l.Bins(), kind: l.Kind, edges: l.Edges}
	f.first = len(f.bins) - len(l.Edges) - 1
	if l.Kind == Numeric && float && !l.Float {
		if !l.NaNMissing {
			f.bins = append(f.bins, NaN)
		}
		f.bins = append(f.bins, Inf)
	}
	f.nan, f.inf, f.future = slices.Index(f.bins, NaN), slices.Index(f.bins, Inf), slices.Index(f.bins, Future)
	if l.Kind != Categorical {
		return f
	}
	f.numbers = make(map[float64]int)
	f.byName = make(map[string]int, len(l.Top)+len(l.Rest))
	other := slices.Index(f.bins, Other)
	among := l.Categories()
	add := func(category string, bin int) {
		for _, spelling := range Spellings(category, among) {
			f.byName[spelling] = bin
		}
	}
	for _, c := range l.Rest {
		add(c, other)
	}
	for i, c := range l.Top {
		add(c, len(f.bins)-len(l.Top)+i)
	}
	if f.unknown = slices.Index(f.bins, Unseen); f.unknown < 0 {
		f.unknown = other
	}
	return f
}

// Bins returns the names of the bins in the order of their indices. The caller must not change them.
func (f *Finder) Bins() []string { return f.bins }

// Number returns the bin of a number. In a categorical field, NaN is a missing value.
func (f *Finder) Number(v float64) int {
	switch {
	case f.kind == Categorical && math.IsNaN(v):
		return NullBin
	case f.kind == Categorical:
		bin, ok := f.numbers[v]
		if !ok {
			bin = f.Category(strconv.FormatFloat(v, 'f', -1, 64))
			if len(f.numbers) < MaxKnown {
				f.numbers[v] = bin
			}
		}
		return bin
	case math.IsNaN(v):
		return max(f.nan, NullBin) // Without a bin for NaN, it counts as missing.
	case math.IsInf(v, 0) && f.inf >= 0:
		return f.inf
	}
	// Edges are inclusive upper bounds: the value belongs to the interval of the first edge that is not below it.
	low, high := 0, len(f.edges)
	for low < high {
		if middle := (low + high) / 2; f.edges[middle] < v {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return f.first + low
}

// Category returns the bin of a category.
func (f *Finder) Category(name string) int {
	if bin, ok := f.byName[name]; ok {
		return bin
	}
	return f.unknown
}

// Age returns the bin of a point in time by its age.
func (f *Finder) Age(age time.Duration) int {
	if age < 0 {
		return f.future
	}
	return f.Number(age.Seconds())
}
