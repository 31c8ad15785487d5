package fields

import (
	"math"
	"slices"
	"sync"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/names"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
)

// Fields of a definition are called by their role, so that a feature may be called as an output is.
const (
	input      = "input/"
	prediction = "output/prediction"
	confidence = "output/confidence"
)

// maxFields is how many features of a model can have bins: those that a span has are told by a bit each.
const maxFields = 256

// maxScanned is how many edges are compared one by one.
const maxScanned = 16

// counters count by the bins of one definition. Their methods may be called at the same time.
type counters struct {
	id string
	// definition has the bins.
	definition baseline.Definition
	byName     names.Table[int] // of inputs
	inputs     []*field
	names      []string // of the inputs
	// prediction and confidence are nil where they have no bins.
	prediction, confidence *field
	all                    map[string]*field // by the names of the definition
	sorted                 []string          // those names, once somebody asked for them

	mu   sync.Mutex // of the counts of the fields as well
	rows int64
	// last are the inputs of the inference before: most have the same ones in the same order.
	last []int
}

func newCounters(d baseline.Definition) *counters {
	c := &counters{id: d.ID, definition: d, all: make(map[string]*field)}
	byName := make(map[string]int)
	for _, name := range sortedKeys(d.Fields) {
		f := newField(d.Fields[name])
		c.all[name] = f
		switch name {
		case prediction:
			c.prediction = f
		case confidence:
			c.confidence = f
		default:
			if len(c.inputs) < maxFields {
				name := name[min(len(input), len(name)):]
				byName[name] = len(c.inputs)
				c.inputs, c.names = append(c.inputs, f), append(c.names, name)
			}
		}
	}
	c.byName = names.New(byName)
	return c
}

// count counts what one inference says, and reports whether a value was one that the baseline never had. A feature that
// is not there, while others are, is a missing value, unless the SDK dropped attributes of the span.
func (c *counters) count(features []convention.Feature, p otlp.Value, conf float64, dropped bool) (unseen bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.add(features, p, conf, dropped)
}

// add is count while the counters are locked.
func (c *counters) add(features []convention.Feature, p otlp.Value, conf float64, dropped bool) (unseen bool) {
	counted := false
	if len(features) > 0 && len(c.inputs) > 0 {
		counted = true
		var there [maxFields / 64]uint64
		for i := range features {
			n, ok := c.input(i, features[i].Name)
			if !ok {
				continue
			}
			// A name that is there twice counts once.
			if there[n/64]&(1<<(n%64)) != 0 {
				continue
			}
			there[n/64] |= 1 << (n % 64)
			unseen = c.inputs[n].count(features[i].Value) || unseen
		}
		for n, f := range c.inputs {
			if !dropped && there[n/64]&(1<<(n%64)) == 0 {
				f.counts[0]++
			}
		}
	}
	if c.prediction != nil && p.Kind != otlp.Empty {
		unseen = c.prediction.count(p) || unseen
		counted = true
	}
	if c.confidence != nil && !math.IsNaN(conf) {
		c.confidence.count(otlp.DoubleValue(conf))
		counted = true
	}
	if counted {
		c.rows++
	}
	return unseen
}

// input returns the number of the input of that name, in that place among the features of an inference.
func (c *counters) input(place int, name string) (n int, ok bool) {
	if place < len(c.last) && c.names[c.last[place]] == name {
		return c.last[place], true
	}
	found := c.byName.Find(name)
	if found == nil {
		return 0, false
	}
	if place >= len(c.last) && place < maxFields {
		c.last = append(c.last, make([]int, place+1-len(c.last))...)
	}
	if place < len(c.last) {
		c.last[place] = *found
	}
	return *found, true
}

// snapshot is what was counted so far.
func (c *counters) snapshot() baseline.Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := baseline.Counts{Definition: c.id, Rows: c.rows, Fields: make(map[string]map[string]int64, len(c.all))}
	for name, f := range c.all {
		bins := make(map[string]int64, len(f.bins))
		for i, bin := range f.bins {
			bins[bin] = f.counts[i]
		}
		s.Fields[name] = bins
	}
	return s
}

// since is what was counted between two snapshots of the same counters.
func since(earlier, now baseline.Counts) baseline.Counts {
	d := baseline.Counts{Definition: now.Definition, Rows: now.Rows - earlier.Rows, Fields: make(map[string]map[string]int64, len(now.Fields))}
	for name, bins := range now.Fields {
		d.Fields[name] = make(map[string]int64, len(bins))
		for bin, n := range bins {
			d.Fields[name][bin] = n - earlier.Fields[name][bin]
		}
	}
	return d
}

// field counts the values of one field.
type field struct {
	bins []string // Null is the first
	// hidden are the categories that are not shown as they are, and shown the bins as they are shown, once somebody asked.
	hidden map[string]string
	shown  []string
	counts []int64

	edges []float64 // of the intervals, which begin at bin first
	first int
	// centroid is that of the embeddings that are the values, or nil. mismatches are those of other dimensions, the last of so many
	// as mismatch says.
	centroid   []float32
	mismatches int64
	mismatch   int
	// top has the bins of the categories that have one of their own, and rest are the others that are known. truths and
	// small are the bins of truths and small whole numbers, which need not be written out to be found.
	categorical bool
	top         names.Table[int]
	rest        map[string]struct{}
	truths      [2]uint16
	small       [32]uint16
	// nan, inf and strange are the bins of what is none of these. A layout without such a bin counts it as missing,
	// since for the model it is.
	nan, other, strange int
	inf                 int // or -1: in the outermost intervals
	hasUnseen           bool
}

func newField(l binning.Layout) *field {
	f := &field{bins: l.Bins()}
	f.counts = make([]int64, len(f.bins))
	bin := func(name string) int { return slices.Index(f.bins, name) }
	if l.Kind != binning.Categorical {
		f.edges, f.first = l.Edges, len(f.bins)-len(l.Edges)-1
		f.nan, f.inf, f.centroid = max(bin(binning.NaN), 0), bin(binning.Inf), l.Centroid
		return f
	}
	f.categorical, f.other = true, bin(binning.Other)
	top := make(map[string]int, len(l.Top))
	for i, c := range l.Top {
		top[c] = len(f.bins) - len(l.Top) + i
	}
	f.top = names.New(top)
	f.rest = make(map[string]struct{}, len(l.Rest))
	for _, c := range l.Rest {
		f.rest[c] = struct{}{}
	}
	f.strange, f.hasUnseen = bin(binning.Other), !l.Open
	if f.hasUnseen {
		f.strange = bin(binning.Unseen)
	}
	for i := range f.small {
		f.small[i] = uint16(f.written(otlp.IntValue(int64(i))))
	}
	f.truths = [2]uint16{uint16(f.written(otlp.BoolValue(false))), uint16(f.written(otlp.BoolValue(true)))}
	return f
}

// count reports whether the value is one that the baseline never had.
func (f *field) count(v otlp.Value) (unseen bool) {
	if f.centroid != nil {
		f.counts[f.embedded(v)]++
		return false
	}
	if !f.categorical {
		f.counts[f.interval(v)]++
		return false
	}
	bin := f.category(v)
	f.counts[bin]++
	return f.hasUnseen && bin == f.strange
}

func (f *field) interval(v otlp.Value) int {
	n, ok := v.Number()
	switch {
	case !ok:
		return 0
	case math.IsNaN(n):
		return f.nan
	case math.IsInf(n, 0) && f.inf >= 0:
		return f.inf
	}
	// The first edge that is not below the value is the upper bound of its interval, which it belongs to. Of a few edges a
	// processor guesses each comparison of this loop but the last, and half of those of a binary search.
	if len(f.edges) > maxScanned {
		at, _ := slices.BinarySearch(f.edges, n)
		return f.first + at
	}
	at := 0
	for at < len(f.edges) && f.edges[at] < n {
		at++
	}
	return f.first + at
}

func (f *field) category(v otlp.Value) int {
	switch i := v.Int(); v.Kind {
	case otlp.String:
		return f.called(v.Text())
	case otlp.Int:
		if i >= 0 && i < int64(len(f.small)) {
			return int(f.small[i])
		}
		return f.written(v)
	case otlp.Bool:
		if v.Truth() {
			return int(f.truths[1])
		}
		return int(f.truths[0])
	case otlp.Double:
		return f.written(v)
	}
	return 0
}

// written is the bin of a number or a truth.
func (f *field) written(v otlp.Value) int {
	var space [32]byte
	return f.called(string(v.Append(space[:0])))
}

func (f *field) called(category string) int {
	if bin := f.top.Find(category); bin != nil {
		return *bin
	}
	if _, known := f.rest[category]; known {
		return f.other
	}
	return f.strange
}
