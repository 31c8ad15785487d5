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
)

// Limits of a sample.
const (
	// parts is the number of parts of a window. A sample has the parts of two windows, and the part that is being filled.
	parts    = 12
	maxParts = 2*parts + 1
	// maxRows and leastRows limit the rows of a part. If there is not enough memory for leastRows, no rows are stored.
	maxRows, leastRows = 512, 24
	// growRows is the number of rows by which a part grows.
	growRows = 64
	// MaxText is the length of the longest stored value in bytes. maxTexts and maxOfField limit the number of values in a part.
	MaxText, maxTexts, maxOfField = 64, 256, 32
	// textBytes is the memory of a text in addition to its bytes: its header, its entry in the index, its bin.
	textBytes = 128
)

// Room is the memory limit of a set of samples.
type Room struct {
	bytes         int64
	used, samples atomic.Int64
}

// NewRoom returns a Room of this size in bytes.
func NewRoom(bytes int64) *Room { return &Room{bytes: bytes} }

// Used returns the used bytes.
func (r *Room) Used() int64 { return r.used.Load() }

func (r *Room) take(n int64) bool {
	if r.used.Add(n) > r.bytes {
		r.used.Add(-n)
		return false
	}
	return true
}

// text is a value without its own bin.
type text struct {
	field uint16
	value string
}

// part is the sample of a twelfth of the window.
type part struct {
	start int64 // Unix nanoseconds
	seen  int64 // inferences of the version before start
	times []int64
	codes []uint16
	texts []text
	bins  []uint16 // bins of the texts
	index map[text]uint16
	of    map[uint16]int // number of texts by field
	bytes int64
}

// isText marks the code of a text; all other codes are bins.
const isText = 1 << 15

// Sample is the sample of one version. Its methods must not be called concurrently.
type Sample struct {
	room   *Room
	fields int
	length int64 // duration of a part
	parts  []part
	most   int
	skip   int64 // inferences to skip before the next one is sampled; negative means now
	weight float64
	random *rand.Rand
}

// Off returns a sample that never stores anything.
func Off() *Sample { return &Sample{skip: math.MaxInt64} }

// New returns a sample of rows with this number of fields. It starts with the first Turn.
func New(room *Room, fields int, window time.Duration) *Sample {
	room.samples.Add(1)
	return &Sample{room: room, fields: fields, length: int64(window) / parts, skip: math.MaxInt64, random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))} //nolint:gosec // A sample.
}

// Close releases the memory. Nothing is stored afterwards.
func (s *Sample) Close() {
	if s.room == nil {
		return
	}
	for i := range s.parts {
		s.room.used.Add(-s.parts[i].bytes)
	}
	s.room.samples.Add(-1)
	*s = *Off()
}

// Due counts an inference and reports whether it has to be sampled.
func (s *Sample) Due() bool {
	s.skip--
	return s.skip < 0
}

// Turn starts a new part if the last one has ended. seen is the number of all inferences so far.
func (s *Sample) Turn(now, seen int64) {
	if s.room == nil || len(s.parts) > 0 && now < s.parts[len(s.parts)-1].start+s.length {
		return
	}
	if len(s.parts) == maxParts {
		s.room.used.Add(-s.parts[0].bytes)
		s.parts = slices.Delete(s.parts, 0, 1)
	}
	s.parts = append(s.parts, part{start: now, seen: seen, index: make(map[text]uint16), of: make(map[uint16]int)})
	share := s.room.bytes / (max(s.room.samples.Load(), 1) * maxParts)
	s.most = int(min(maxRows, share/(s.rowBytes()+textBytes/2)))
	if s.skip, s.weight = 0, 1; s.most < leastRows {
		s.skip = math.MaxInt64
	}
}

func (s *Sample) rowBytes() int64 { return 8 + 2*int64(s.fields) }

// Keep samples an inference that is due. The caller must fill the returned row with the codes of all fields. It is nil if there is no
// memory.
func (s *Sample) Keep(now int64) []uint16 {
	if len(s.parts) == 0 || s.most < leastRows {
		s.skip = math.MaxInt64
		return nil
	}
	p := &s.parts[len(s.parts)-1]
	row := len(p.times)
	if row < s.most {
		if !s.grow(p) {
			s.skip = math.MaxInt64 // Until the next part.
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

func (s *Sample) grow(p *part) bool {
	if len(p.times) < cap(p.times) {
		return true
	}
	n := min(growRows, s.most-len(p.times))
	bytes := int64(n) * s.rowBytes()
	if !s.room.take(bytes) {
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
	p := &s.parts[len(s.parts)-1]
	if len(value) > MaxText || value == "" {
		return uint16(bin)
	}
	of := text{uint16(field), value}
	if code, ok := p.index[of]; ok {
		return isText | code
	}
	bytes := int64(textBytes + len(value))
	if len(p.texts) == maxTexts || p.of[of.field] == maxOfField || !s.room.take(bytes) {
		return uint16(bin)
	}
	p.bytes += bytes
	of.value = strings.Clone(value)
	code := uint16(len(p.texts))
	p.texts, p.bins, p.index[of] = append(p.texts, of), append(p.bins, uint16(bin)), code
	p.of[of.field]++
	return isText | code
}

// Count adds the rows since a time to the counts of the bins, by field. It skips bins beyond the length of counts.
func (s *Sample) Count(since int64, counts [][]int64) {
	for i := range s.parts {
		p := &s.parts[i]
		if i+1 < len(s.parts) && s.parts[i+1].start <= since {
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
	for i := range s.parts {
		if s.parts[i].start <= at || i == 0 {
			seen = s.parts[i].seen
		}
	}
	return seen
}

// Rows is a copy of the rows of a Sample.
type Rows struct {
	// Times in Unix nanoseconds.
	Times []int64
	parts []part
	rows  []int // by part
	width int
}

// Rows copies the rows since a time.
func (s *Sample) Rows(since int64) Rows {
	r := Rows{width: s.fields}
	for i := range s.parts {
		p := &s.parts[i]
		c := part{texts: p.texts[:len(p.texts):len(p.texts)], bins: p.bins[:len(p.bins):len(p.bins)]} // Existing entries never change.
		n := 0
		for row, at := range p.times {
			if at >= since {
				r.Times, n = append(r.Times, at), n+1
				c.codes = append(c.codes, p.codes[row*s.fields:(row+1)*s.fields]...)
			}
		}
		r.parts, r.rows = append(r.parts, c), append(r.rows, n)
	}
	return r
}

// Bins returns the bin of a field in each row.
func (r Rows) Bins(field int) []int32 {
	bins := make([]int32, 0, len(r.Times))
	for i := range r.parts {
		p := &r.parts[i]
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
	// Grouped by the codes of each part first, so that values are compared once for each part instead of once for each row.
	rows := make(map[Value]int)
	for i := range r.parts {
		for code, n := range r.countCodes(i, field) {
			rows[r.parts[i].value(code)] += n
		}
	}
	index := make(map[Value]int32, len(rows))
	codes = make([]int32, 0, len(r.Times))
	for i := range r.parts {
		p := &r.parts[i]
		var bins, texts places
		for row := range r.rows[i] {
			code := p.codes[row*r.width+field]
			place := bins.of(code)
			if code&isText != 0 {
				place = texts.of(code &^ isText)
			}
			if *place == 0 {
				v := p.value(code)
				if rows[v] < least {
					v.Text = ""
				}
				at, ok := index[v]
				if !ok {
					at = int32(len(values))
					index[v], values = at, append(values, v)
				}
				*place = at + 1
			}
			codes = append(codes, *place-1)
		}
	}
	return codes, values
}

// places are those of values by a code, plus one.
type places []int32

func (p *places) of(code uint16) *int32 {
	if int(code) >= len(*p) {
		*p = append(*p, make([]int32, int(code)+1-len(*p))...)
	}
	return &(*p)[code]
}

func (r Rows) countCodes(part, field int) map[uint16]int {
	var bins, texts places
	for row := range r.rows[part] {
		if code := r.parts[part].codes[row*r.width+field]; code&isText == 0 {
			*bins.of(code)++
		} else {
			*texts.of(code &^ isText)++
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

func (p *part) value(code uint16) Value {
	if code&isText == 0 {
		return Value{Bin: int(code)}
	}
	return Value{int(p.bins[code&^isText]), p.texts[code&^isText].value}
}
