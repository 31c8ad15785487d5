package fields

import (
	"maps"
	"math"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/recent"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
)

// Names of fields in a definition have their role as prefix, so that a feature may have the name of an output.
const (
	input      = "input/"
	prediction = "output/prediction"
	confidence = "output/confidence"
)

// maxFields limits the features of a model with bins. The features of a span are a set of bits.
const maxFields = 256

// maxScanned is the number of edges up to which a linear search is used.
const maxScanned = 16

// counters count values by the bins of one definition. Their methods may be called concurrently.
type counters struct {
	id         string
	definition baseline.Definition
	byName     map[string]int // of inputs
	inputs     []*field
	names      []string // of the inputs
	// prediction and confidence are nil if they have no bins.
	prediction, confidence *field
	all                    map[string]*field // by the names in the definition
	sorted                 []string          // the same names; computed on first use

	mu sync.Mutex // also guards the counts of the fields and the sample
	// recent is a sample of the last inferences: the fields in sampled, and the origin.
	recent      *recent.Sample
	sampled     []sampledField
	firstOutput int // index in sampled
	now         func() time.Time
	rows        int64
	// hourly is nil unless bins are provisional.
	hourly *hourly
	// last caches the inputs of the previous inference, because most have the same ones in the same order.
	last []int
	// sent are the inputs that the version has ever sent. The others are absent, not null: the version has no such feature.
	sent inputSet
}

// inputSet is a set of inputs by their number.
type inputSet [maxFields / 64]uint64

func (s *inputSet) add(n int)      { s[n/64] |= 1 << (n % 64) }
func (s *inputSet) has(n int) bool { return s[n/64]&(1<<(n%64)) != 0 }

func newCounters(d baseline.Definition) *counters {
	c := &counters{id: d.ID, definition: d, all: make(map[string]*field), recent: recent.Off()}
	byName := make(map[string]int)
	for _, name := range slices.Sorted(maps.Keys(d.Fields)) {
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
	c.byName = byName
	return c
}

// count counts the values of one inference. It reports whether a value was one that the baseline never had. A feature that the version has
// sent and that is absent while others are present counts as null, unless the SDK dropped attributes of the span.
func (c *counters) count(features []convention.Feature, p otlp.Value, conf float64, dropped bool) (unseen bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.add(features, p, conf, dropped)
}

// add is count with the lock held.
func (c *counters) add(features []convention.Feature, p otlp.Value, conf float64, dropped bool) (unseen bool) {
	counted := false
	if len(features) > 0 && len(c.inputs) > 0 {
		counted = true
		var present inputSet
		for i := range features {
			n, ok := c.input(i, features[i].Name)
			if !ok {
				continue
			}
			// A name that occurs twice counts once.
			if present.has(n) {
				continue
			}
			present.add(n)
			unseen = c.inputs[n].count(features[i].Value) || unseen
		}
		for word, is := range present {
			c.sent[word] |= is
			for absent := c.sent[word] &^ is; absent != 0 && !dropped; absent &= absent - 1 {
				c.inputs[64*word+bits.TrailingZeros64(absent)].counts[0]++
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
	if c.hourly != nil && !dropped {
		c.hourly.see(features, p, conf)
	}
	return unseen
}

// takeSample returns the sample of the time in which the values were counted, and starts a new one of at most so many cells.
func (c *counters) takeSample(counted baseline.Counts, most int) map[string]marginal {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hourly == nil {
		return nil
	}
	return c.hourly.take(counted, most)
}

// endSample ends sampling.
func (c *counters) endSample() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hourly = nil
}

// input returns the number of the named input. position is its position among the features of an inference.
func (c *counters) input(position int, name string) (n int, ok bool) {
	if position < len(c.last) && c.names[c.last[position]] == name {
		return c.last[position], true
	}
	if n, ok = c.byName[name]; !ok {
		return 0, false
	}
	if position >= len(c.last) && position < maxFields {
		c.last = append(c.last, make([]int, position+1-len(c.last))...)
	}
	if position < len(c.last) {
		c.last[position] = n
	}
	return n, true
}

// snapshot returns the counts so far. Features that the version has not sent are left out.
func (c *counters) snapshot() baseline.Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := baseline.Counts{Definition: c.id, Rows: c.rows, Fields: make(map[string]map[string]int64, len(c.all))}
	for name, f := range c.all {
		if c.omits(name) {
			continue
		}
		bins := make(map[string]int64, len(f.bins))
		for i, bin := range f.bins {
			bins[bin] = f.counts[i]
		}
		s.Fields[name] = bins
	}
	return s
}

// since returns the difference between two snapshots of the same counters.
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
	// hidden are the categories that are not published as they are, and published caches the published names of the bins.
	hidden    map[string]string
	published []string
	counts    []int64

	edges []float64 // of the intervals; the first interval is bin first
	first int
	// centroid is nil unless the values are embeddings. mismatches counts embeddings with another number of dimensions, and mismatch is the
	// last such number.
	centroid   []float32
	mismatches int64
	mismatch   int
	// top has the bins of the categories with their own bin; rest has the other known ones. truths and smallIntegers are the bins of booleans and
	// small integers, which are found without formatting the value.
	categorical   bool
	top           map[string]int
	rest          map[string]struct{}
	truths        [2]uint16
	smallIntegers [32]uint16
	// nan, other, unseen and inf are the bins of other values. A layout without the bin counts them as null, which they are for the model.
	nan, other, unseen int
	inf                int // or -1: infinities are in the outermost intervals
	hasUnseen          bool
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
	f.top = make(map[string]int, len(l.Top))
	for i, c := range l.Top {
		f.top[c] = len(f.bins) - len(l.Top) + i
	}
	f.rest = make(map[string]struct{}, len(l.Rest))
	for _, c := range l.Rest {
		f.rest[c] = struct{}{}
	}
	f.addSpellings(l)
	f.unseen, f.hasUnseen = bin(binning.Other), !l.Open
	if f.hasUnseen {
		f.unseen = bin(binning.Unseen)
	}
	for i := range f.smallIntegers {
		f.smallIntegers[i] = uint16(f.written(otlp.IntValue(int64(i))))
	}
	f.truths = [2]uint16{uint16(f.written(otlp.BoolValue(false))), uint16(f.written(otlp.BoolValue(true)))}
	return f
}

// count reports whether the baseline never had the value.
func (f *field) count(v otlp.Value) (unseen bool) {
	if f.centroid != nil {
		f.counts[f.embedded(v)]++
		f.mismatched(v)
		return false
	}
	if !f.categorical {
		f.counts[f.interval(v)]++
		return false
	}
	bin := f.category(v)
	f.counts[bin]++
	return f.hasUnseen && bin == f.unseen
}

// bin is the bin of a value.
func (f *field) bin(v otlp.Value) int {
	switch {
	case f.centroid != nil:
		return f.embedded(v)
	case !f.categorical:
		return f.interval(v)
	}
	return f.category(v)
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
	// A value belongs to the interval whose upper bound is the first edge that is not below it. For few edges, a linear search is faster:
	// the processor predicts all its branches but the last, and only half of those of a binary search.
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
		if i >= 0 && i < int64(len(f.smallIntegers)) {
			return int(f.smallIntegers[i])
		}
		return f.written(v)
	case otlp.Bool:
		if v.Truth() {
			return int(f.truths[1])
		}
		return int(f.truths[0])
	case otlp.Double:
		// A client with a missing integer sends all of its integers as doubles, and this one as NaN.
		if n, _ := v.Number(); math.IsNaN(n) && !f.known(string(v.Append(nil))) {
			return 0
		}
		return f.written(v)
	}
	return 0
}

// written returns the bin of a number or boolean by its text.
func (f *field) written(v otlp.Value) int {
	var space [32]byte
	return f.called(string(v.Append(space[:0])))
}

// addSpellings adds other spellings of the layout's categories: 1 and 1.0 are one category unless the layout has both. A spelling of
// several belongs to the first of them.
func (f *field) addSpellings(l binning.Layout) {
	among := l.Categories()
	for _, c := range slices.Concat(l.Top, l.Rest) {
		for _, spelling := range binning.Spellings(c, among) {
			if f.known(spelling) {
				continue
			}
			if bin, ok := f.top[c]; ok {
				f.top[spelling] = bin
			} else {
				f.rest[spelling] = struct{}{}
			}
		}
	}
}

func (f *field) known(category string) bool {
	_, top := f.top[category]
	_, rest := f.rest[category]
	return top || rest
}

func (f *field) called(category string) int {
	if bin, ok := f.top[category]; ok {
		return bin
	}
	if _, known := f.rest[category]; known {
		return f.other
	}
	return f.unseen
}
