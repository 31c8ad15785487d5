// Package recent keeps a sample of the last inferences of a version, by the bins of their fields.
//
// Input: inferences, of which most cost one comparison; those that are kept, by the bin of each field and, where a value has no bin of its
// own, by the value. Output: the rows of a sample that is uniform within each twelfth of a window. A Sample belongs to whoever locks it.
// All samples of a Room together take no more memory than it has.
package recent

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Bounds of a sample.
const (
	// parts is how many parts a window has. The sample has those of the window and of as long before, and the one that is being filled.
	parts    = 12
	maxParts = 2*parts + 1
	// maxRows and leastRows are the rows of a part. Where there is no room for the latter, none are kept.
	maxRows, leastRows = 512, 24
	// growRows is by how many rows a part grows.
	growRows = 64
	// MaxText is the longest value that is kept, in bytes; maxTexts and maxOfField bound their number in a part.
	MaxText, maxTexts, maxOfField = 64, 256, 32
	// textBytes is what a text takes beside its bytes: its header, its place in the index, its bin.
	textBytes = 128
)

// Room is the memory that samples share.
type Room struct {
	bytes         int64
	used, samples atomic.Int64
}

// NewRoom makes a Room of so many bytes.
func NewRoom(bytes int64) *Room { return &Room{bytes: bytes} }

// Used is how many bytes are taken.
func (r *Room) Used() int64 { return r.used.Load() }

func (r *Room) take(n int64) bool {
	if r.used.Add(n) > r.bytes {
		r.used.Add(-n)
		return false
	}
	return true
}

// text is a value that has no bin of its own.
type text struct {
	field uint16
	value string
}

// part is the sample of a twelfth of the window.
type part struct {
	start int64 // nanoseconds since 1970
	seen  int64 // inferences of the version before that
	times []int64
	codes []uint16
	texts []text
	bins  []uint16 // of the texts
	index map[text]uint16
	of    map[uint16]int // texts by field
	bytes int64
}

// isText marks the code of a text; all others are bins.
const isText = 1 << 15

// Sample is the sample of one version. Its methods must not be called at the same time.
type Sample struct {
	room   *Room
	fields int
	length int64 // of a part
	parts  []part
	most   int
	skip   int64 // inferences until the next one that is kept; below 0 is that this is the one
	weight float64
	random *rand.Rand
}

// Off is a sample that never keeps anything.
func Off() *Sample { return &Sample{skip: math.MaxInt64} }

// New makes a sample of rows of so many fields. It begins with the first Turn.
func New(room *Room, fields int, window time.Duration) *Sample {
	room.samples.Add(1)
	return &Sample{room: room, fields: fields, length: int64(window) / parts, skip: math.MaxInt64, random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))} //nolint:gosec // A sample.
}

// Close gives the memory back. Nothing is kept from then on.
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

// Due counts an inference and reports whether it is one to keep.
func (s *Sample) Due() bool {
	s.skip--
	return s.skip < 0
}

// Turn begins a new part if the last one is over. Seen is the number of all inferences so far.
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

// Keep takes an inference that is due. It returns the row to be filled with the codes of all fields, or nil if there is no room.
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
		// It takes the place of another one; the next that does is told at once (Li, 1994: algorithm L).
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

// Code is the code of a value that has no bin of its own, or its bin where there is no room for the value.
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

// Count adds the rows since a time to the counts of the bins, by field. Bins past those that a field has counts for are left out.
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

// Seen is how many inferences there were before about a time.
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
	// Times are in nanoseconds since 1970.
	Times []int64
	parts []part
	rows  []int // of each part
	width int
}

// Rows copies the rows since a time.
func (s *Sample) Rows(since int64) Rows {
	r := Rows{width: s.fields}
	for i := range s.parts {
		p := &s.parts[i]
		c := part{texts: p.texts[:len(p.texts):len(p.texts)], bins: p.bins[:len(p.bins):len(p.bins)]} // What is in there stays as it is.
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

// Bins are the bins of a field in each row.
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

// Value is what rows have of a field: a bin, or a value that has none of its own.
type Value struct {
	Bin  int
	Text string
}

// Values are the values of a field in each row, by their place in the list of those that there are. Texts of fewer than least rows are
// their bin.
func (r Rows) Values(field, least int) (codes []int32, values []Value) {
	// By the codes of each part first, so that values are compared once a part and not once a row.
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
					at = int32(len(values)) //nolint:gosec // There are no more values than rows.
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
