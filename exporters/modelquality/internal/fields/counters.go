package fields

import (
	"math"
	"slices"
	"sync/atomic"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
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

// counters count by the bins of one definition. Their methods may be called at the same time.
type counters struct {
	id     string
	rows   atomic.Int64
	byName map[string]int // of inputs
	inputs []*field
	// prediction and confidence are nil where they have no bins.
	prediction, confidence *field
	all                    map[string]*field // by the names of the definition
}

func newCounters(d baseline.Definition) *counters {
	c := &counters{id: d.ID, byName: make(map[string]int), all: make(map[string]*field)}
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
				c.byName[name[min(len(input), len(name)):]] = len(c.inputs)
				c.inputs = append(c.inputs, f)
			}
		}
	}
	return c
}

// count counts what one inference says, and reports whether a value was one that the baseline never had. A feature that
// is not there, while others are, is a missing value.
func (c *counters) count(features []convention.Feature, p otlp.Value, conf float64) (unseen bool) {
	counted := false
	if len(features) > 0 && len(c.inputs) > 0 {
		counted = true
		var there [maxFields / 64]uint64
		for i := range features {
			n, ok := c.byName[features[i].Name]
			// A name that is there twice counts once.
			if !ok || there[n/64]&(1<<(n%64)) != 0 {
				continue
			}
			there[n/64] |= 1 << (n % 64)
			unseen = c.inputs[n].count(features[i].Value) || unseen
		}
		for n, f := range c.inputs {
			if there[n/64]&(1<<(n%64)) == 0 {
				f.counts[0].Add(1)
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
		c.rows.Add(1)
	}
	return unseen
}

// snapshot is what was counted so far.
func (c *counters) snapshot() baseline.Counts {
	s := baseline.Counts{Definition: c.id, Rows: c.rows.Load(), Fields: make(map[string]map[string]int64, len(c.all))}
	for name, f := range c.all {
		bins := make(map[string]int64, len(f.bins))
		for i, bin := range f.bins {
			bins[bin] = f.counts[i].Load()
		}
		s.Fields[name] = bins
	}
	return s
}

// since is what was counted after an earlier snapshot of the same counters.
func since(earlier, now baseline.Counts) baseline.Counts {
	now.Rows -= earlier.Rows
	for name, bins := range now.Fields {
		for bin := range bins {
			bins[bin] -= earlier.Fields[name][bin]
		}
	}
	return now
}

// field counts the values of one field.
type field struct {
	bins   []string // Null is the first
	counts []atomic.Int64

	edges []float64 // of the intervals, which begin at bin first
	first int
	// categories have the bins of the known categories; nil for a number.
	categories map[string]int
	// nan, inf and strange are the bins of what is none of these. A layout without such a bin counts it as missing,
	// since for the model it is.
	nan, strange int
	inf          int // or -1: in the outermost intervals
	hasUnseen    bool
}

func newField(l binning.Layout) *field {
	f := &field{bins: l.Bins()}
	f.counts = make([]atomic.Int64, len(f.bins))
	bin := func(name string) int { return slices.Index(f.bins, name) }
	if l.Kind != binning.Categorical {
		f.edges, f.first = l.Edges, len(f.bins)-len(l.Edges)-1
		f.nan, f.inf = max(bin(binning.NaN), 0), bin(binning.Inf)
		return f
	}
	f.categories = make(map[string]int, len(l.Top)+len(l.Rest))
	for i, c := range l.Top {
		f.categories[c] = len(f.bins) - len(l.Top) + i
	}
	for _, c := range l.Rest {
		f.categories[c] = bin(binning.Other)
	}
	f.strange, f.hasUnseen = bin(binning.Other), !l.Open
	if f.hasUnseen {
		f.strange = bin(binning.Unseen)
	}
	return f
}

// count reports whether the value is one that the baseline never had.
func (f *field) count(v otlp.Value) (unseen bool) {
	if f.categories == nil {
		f.counts[f.interval(v)].Add(1)
		return false
	}
	bin := f.category(v)
	f.counts[bin].Add(1)
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
	// The first edge that is not below the value is the upper bound of its interval, which it belongs to.
	at, _ := slices.BinarySearch(f.edges, n)
	return f.first + at
}

func (f *field) category(v otlp.Value) int {
	var space [32]byte
	var bin int
	var known bool
	switch v.Kind {
	case otlp.String:
		bin, known = f.categories[v.Text()]
	case otlp.Bool, otlp.Int, otlp.Double:
		bin, known = f.categories[string(v.Append(space[:0]))] // no copy is made
	default:
		return 0
	}
	if !known {
		return f.strange
	}
	return bin
}
