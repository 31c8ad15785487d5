// Package recent keeps a sample of the recent inferences of a version, by the bins of their fields.
//
// Input: inferences, most of which cost one comparison. A sampled inference has the bin of each field, or the value if it has no bin of its
// own. Output: the rows of a sample that is uniform within each twelfth of a window. State: a Sample, which has no lock, and the Room that
// limits the memory of all samples together. The package never allocates beyond that limit.
package recent

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/keep"
)

// Limits of a sample.
const (
	// intervalsPerWindow is the number of intervals of a window. A sample has the intervals of two windows, and the one that is being filled.
	intervalsPerWindow = 12
	maxIntervals       = 2*intervalsPerWindow + 1
	// maxRows and leastRows limit the rows of an interval. If there is not enough memory for leastRows, no rows are stored.
	maxRows, leastRows = 512, 24
	// growRows is the number of rows by which an interval grows.
	growRows = 64
	// MaxText is the length of the longest stored value in bytes. maxTexts and maxOfField limit the number of values in an interval.
	MaxText, maxTexts, maxOfField = 64, 256, 32
	// textBytes is the memory of a text in addition to its bytes: its header, its entry in the index, its bin.
	textBytes = 128
)

// Memory is the memory limit of a set of samples.
type Memory struct {
	bytes         int64
	used, samples atomic.Int64
}

// NewMemory returns a Memory of this many bytes.
func NewMemory(bytes int64) *Memory { return &Memory{bytes: bytes} }

// Used returns the used bytes.
func (m *Memory) Used() int64 { return m.used.Load() }

func (m *Memory) reserve(n int64) bool {
	if m.used.Add(n) > m.bytes {
		m.used.Add(-n)
		return false
	}
	return true
}

// text is a value without its own bin.
type text struct {
	field uint16
	value string
}

// Keep implements keep.Keeper.
func (t text) Keep() text { return text{t.field, strings.Clone(t.value)} }

// interval is the sample of a twelfth of the window.
type interval struct {
	start int64 // Unix nanoseconds
	seen  int64 // inferences of the version before start
	times []int64
	codes []uint16
	texts []text
	bins  []uint16 // bins of the texts
	index keep.Map[text, uint16]
	of    map[uint16]int // number of texts by field
	bytes int64
}

// isText marks the code of a text; all other codes are bins.
const isText = 1 << 15

// Sample is the sample of one version. Its methods must not be called concurrently.
type Sample struct {
	memory    *Memory
	fields    int
	length    int64 // duration of an interval
	intervals []interval
	most      int
	skip      int64 // inferences to skip before the next one is sampled; negative means now
	weight    float64
	random    *rand.Rand
}

// Off returns a sample that never stores anything.
func Off() *Sample { return &Sample{skip: math.MaxInt64} }

// New returns a sample of rows with this number of fields. It starts with the first Rotate.
func New(memory *Memory, fields int, window time.Duration) *Sample {
	memory.samples.Add(1)
	return &Sample{memory: memory, fields: fields, length: int64(window) / intervalsPerWindow, skip: math.MaxInt64, random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))} //nolint:gosec // A sample.
}

// Close releases the memory. Nothing is stored afterwards.
func (s *Sample) Close() {
	if s.memory == nil {
		return
	}
	for i := range s.intervals {
		s.memory.used.Add(-s.intervals[i].bytes)
	}
	s.memory.samples.Add(-1)
	*s = *Off()
}

// Due counts an inference and reports whether it has to be sampled.
func (s *Sample) Due() bool {
	s.skip--
	return s.skip < 0
}

// Rotate starts a new interval if the last one has ended. seen is the number of all inferences so far.
func (s *Sample) Rotate(now, seen int64) {
	if s.memory == nil || len(s.intervals) > 0 && now < s.intervals[len(s.intervals)-1].start+s.length {
		return
	}
	if len(s.intervals) == maxIntervals {
		s.memory.used.Add(-s.intervals[0].bytes)
		s.intervals = slices.Delete(s.intervals, 0, 1)
	}
	s.intervals = append(s.intervals, interval{start: now, seen: seen, of: make(map[uint16]int)})
	share := s.memory.bytes / (max(s.memory.samples.Load(), 1) * maxIntervals)
	s.most = int(min(maxRows, share/(s.rowBytes()+textBytes/2)))
	if s.skip, s.weight = 0, 1; s.most < leastRows {
		s.skip = math.MaxInt64
	}
}

func (s *Sample) rowBytes() int64 { return 8 + 2*int64(s.fields) }

// Keep samples an inference that is due. The caller must fill the returned row with the codes of all fields. It is nil if there is no
// memory.
func (s *Sample) Keep(now int64) []uint16 {
	if len(s.intervals) == 0 || s.most < leastRows {
		s.skip = math.MaxInt64
		return nil
	}
	p := &s.intervals[len(s.intervals)-1]
	row := len(p.times)
	if row < s.most {
		if !s.grow(p) {
			s.skip = math.MaxInt64 // Until the next interval.
			return nil
		}
		p.times, p.codes = append(p.times, now), p.codes[:len(p.codes)+s.fields]
		if s.skip = 0; row+1 == s.most {
			s.wait()
		}
	} else {
		// It replaces a random row. The number of inferences until the next replacement is drawn at once (Li, 1994: algorithm L).
		row = s.random.IntN(len(p.times))
		p.times[row] = now
		s.wait()
	}
	return p.codes[row*s.fields : (row+1)*s.fields]
}

func (s *Sample) wait() {
	n := float64(s.most)
	s.weight *= math.Exp(math.Log(1-s.random.Float64()) / n)
	s.skip = int64(min(math.Log(1-s.random.Float64())/math.Log1p(-s.weight), 1<<40))
}

func (s *Sample) grow(p *interval) bool {
	if len(p.times) < cap(p.times) {
		return true
	}
	n := min(growRows, s.most-len(p.times))
	bytes := int64(n) * s.rowBytes()
	if !s.memory.reserve(bytes) {
		return false
	}
	p.bytes += bytes
	times, codes := make([]int64, len(p.times), len(p.times)+n), make([]uint16, len(p.codes), len(p.codes)+n*s.fields)
	copy(times, p.times)
	copy(codes, p.codes)
	p.times, p.codes = times, codes
	return true
}

// Code returns the code of a value without its own bin, or its bin if there is no memory for the value.
func (s *Sample) Code(field, bin int, value string) uint16 {
	p := &s.intervals[len(s.intervals)-1]
	if len(value) > MaxText || value == "" {
		return uint16(bin)
	}
	of := text{uint16(field), value}
	if code, ok := p.index.Get(of); ok {
		return isText | code
	}
	bytes := int64(textBytes + len(value))
	if len(p.texts) == maxTexts || p.of[of.field] == maxOfField || !s.memory.reserve(bytes) {
		return uint16(bin)
	}
	p.bytes += bytes
	p.of[of.field]++
	return isText | p.index.Put(of, func(kept text) uint16 {
		p.texts, p.bins = append(p.texts, kept), append(p.bins, uint16(bin))
		return uint16(len(p.texts) - 1)
	})
}

// Count adds the rows since a time to the counts of the bins, by field. It skips bins beyond the length of counts.
func (s *Sample) Count(since int64, counts [][]int64) {
	for i := range s.intervals {
		p := &s.intervals[i]
		if i+1 < len(s.intervals) && s.intervals[i+1].start <= since {
			continue
		}
		for row, at := range p.times {
			if at < since {
				continue
			}
			for field, code := range p.codes[row*s.fields : (row+1)*s.fields] {
				if code&isText != 0 {
					code = p.bins[code&^isText]
				}
				if int(code) < len(counts[field]) {
					counts[field][code]++
				}
			}
		}
	}
}

// Seen returns the approximate number of inferences before a time.
func (s *Sample) Seen(at int64) int64 {
	seen := int64(0)
	for i := range s.intervals {
		if s.intervals[i].start <= at || i == 0 {
			seen = s.intervals[i].seen
		}
	}
	return seen
}

// Rows is a copy of the rows of a Sample.
type Rows struct {
	// Times in Unix nanoseconds.
	Times     []int64
	intervals []interval
	rows      []int // by interval
	width     int
}

// Rows copies the rows since a time.
func (s *Sample) Rows(since int64) Rows {
	r := Rows{width: s.fields}
	for i := range s.intervals {
		p := &s.intervals[i]
		c := interval{texts: p.texts[:len(p.texts):len(p.texts)], bins: p.bins[:len(p.bins):len(p.bins)]} // Existing entries never change.
		n := 0
		for row, at := range p.times {
			if at >= since {
				r.Times, n = append(r.Times, at), n+1
				c.codes = append(c.codes, p.codes[row*s.fields:(row+1)*s.fields]...)
			}
		}
		r.intervals, r.rows = append(r.intervals, c), append(r.rows, n)
	}
	return r
}

// Bins returns the bin of a field in each row.
func (r Rows) Bins(field int) []int32 {
	bins := make([]int32, 0, len(r.Times))
	for i := range r.intervals {
		p := &r.intervals[i]
		for row := range r.rows[i] {
			code := p.codes[row*r.width+field]
			if code&isText != 0 {
				code = p.bins[code&^isText]
			}
			bins = append(bins, int32(code))
		}
	}
	return bins
}

// Value is a field's value in a row: a bin, or a text without its own bin.
type Value struct {
	Bin  int
	Text string
}

// Values returns the distinct values of a field, and for each row an index into them. A text with fewer than least rows is replaced by its
// bin.
func (r Rows) Values(field, least int) (codes []int32, values []Value) {
	// Grouped by the codes of each interval first, so that values are compared once for each interval instead of once for each row.
	rows := make(map[Value]int)
	for i := range r.intervals {
		for code, n := range r.countCodes(i, field) {
			rows[r.intervals[i].value(code)] += n
		}
	}
	index := make(map[Value]int32, len(rows))
	codes = make([]int32, 0, len(r.Times))
	for i := range r.intervals {
		p := &r.intervals[i]
		var bins, texts codeIndex
		for row := range r.rows[i] {
			code := p.codes[row*r.width+field]
			known := bins.at(code)
			if code&isText != 0 {
				known = texts.at(code &^ isText)
			}
			if *known == 0 {
				v := p.value(code)
				if rows[v] < least {
					v.Text = ""
				}
				at, ok := index[v]
				if !ok {
					at = int32(len(values))
					index[v], values = at, append(values, v)
				}
				*known = at + 1
			}
			codes = append(codes, *known-1)
		}
	}
	return codes, values
}

// codeIndex are those of values by a code, plus one.
type codeIndex []int32

func (p *codeIndex) at(code uint16) *int32 {
	if int(code) >= len(*p) {
		*p = append(*p, make([]int32, int(code)+1-len(*p))...)
	}
	return &(*p)[code]
}

func (r Rows) countCodes(interval, field int) map[uint16]int {
	var bins, texts codeIndex
	for row := range r.rows[interval] {
		if code := r.intervals[interval].codes[row*r.width+field]; code&isText == 0 {
			*bins.at(code)++
		} else {
			*texts.at(code &^ isText)++
		}
	}
	counts := make(map[uint16]int)
	for code, n := range bins {
		counts[uint16(code)] = int(n)
	}
	for code, n := range texts {
		counts[uint16(code)|isText] = int(n)
	}
	return counts
}

func (p *interval) value(code uint16) Value {
	if code&isText == 0 {
		return Value{Bin: int(code)}
	}
	return Value{int(p.bins[code&^isText]), p.texts[code&^isText].value}
}
