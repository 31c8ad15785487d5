package binning

import (
	"math"
	"slices"
	"strconv"
	"time"
)

// Finder finds the bin of one value at a time, for programs that have the values themselves. The databases count by the
// same layouts in SQL; a test of package tables holds the two together. A Finder is for one goroutine.
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
	// numbers caches the bins of whole numbers that are counted as categories.
	numbers map[float64]int
}

// NullBin is the index of Null among the bins of every Finder.
const NullBin = 0

// NewFinder makes the Finder of a layout. Values of a floating-point column can be NaN and infinite, whatever the column of
// the baseline could be.
func NewFinder(l Layout, float bool) *Finder {
	f := &Finder{bins: l.Bins(), kind: l.Kind, edges: l.Edges}
	f.first = len(f.bins) - len(l.Edges) - 1
	if l.Kind == Numeric && float && !l.Float {
		f.bins = append(f.bins, NaN, Inf)
	}
	f.nan, f.inf, f.future = slices.Index(f.bins, NaN), slices.Index(f.bins, Inf), slices.Index(f.bins, Future)
	if l.Kind != Categorical {
		return f
	}
	f.numbers = make(map[float64]int)
	f.byName = make(map[string]int, len(l.Top)+len(l.Rest))
	other := slices.Index(f.bins, Other)
	for _, c := range l.Rest {
		f.add(c, other)
	}
	for i, c := range l.Top {
		f.add(c, len(f.bins)-len(l.Top)+i)
	}
	// A category that is listed itself is not another one's spelling.
	for _, c := range l.Rest {
		f.byName[c] = other
	}
	for i, c := range l.Top {
		f.byName[c] = len(f.bins) - len(l.Top) + i
	}
	if f.unknown = slices.Index(f.bins, Unseen); f.unknown < 0 {
		f.unknown = other
	}
	return f
}

// add takes note of a category's bin, by all its spellings.
func (f *Finder) add(category string, bin int) {
	for _, spelling := range Spellings(category) {
		f.byName[spelling] = bin
	}
}

// Bins returns the names of the bins in the order of their indices. They must not be changed.
func (f *Finder) Bins() []string { return f.bins }

// Number returns the bin of a number. NaN is a missing value of a categorical field.
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
	case math.IsNaN(v) && f.nan >= 0:
		return f.nan
	case math.IsInf(v, 0) && f.inf >= 0:
		return f.inf
	}
	// The first edge that is not below the value is the upper bound of its interval, which it belongs to.
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

// Age returns the bin of a point in time that was so long before the moment at which ages are taken.
func (f *Finder) Age(age time.Duration) int {
	if age < 0 {
		return f.future
	}
	return f.Number(age.Seconds())
}
