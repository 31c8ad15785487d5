package histogram

import (
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// A number is 1.m·2ᵉ, where m is the mantissa. ends has the first mantissa above each bucket of a doubling. below has, for each sixteenth
// of the mantissas, how many buckets end below it. No sixteenth contains the ends of two buckets.
var ends, below = mantissas()

const mantissa = 52 // bits

func mantissas() (ends [perDouble]uint64, below [16]uint8) {
	for i := range ends {
		ends[i] = math.Float64bits(math.Exp2(float64(i)/perDouble)) & (1<<mantissa - 1)
	}
	for i := range below {
		for _, end := range ends {
			if end < uint64(i)<<(mantissa-4) {
				below[i]++
			}
		}
	}
	return ends, below
}

// keyOf returns the index of the native bucket of a positive value, as Prometheus defines it. The upper bound of the bucket, 2^(key/8),
// belongs to it.
func keyOf(v float64) int {
	bits := math.Float64bits(v)
	exponent := int(bits>>mantissa) - 1023
	m := bits & (1<<mantissa - 1)
	end := int(below[m>>(mantissa-4)])
	if end < perDouble && m > ends[end] {
		end++
	}
	return min(exponent*perDouble+end, lastKey)
}

// buckets are consecutive native buckets from the key first.
type buckets struct {
	first  int
	counts []uint64
}

func (b *buckets) add(key int) {
	if i := key - b.first; uint(i) < uint(len(b.counts)) {
		b.counts[i]++
		return
	}
	b.grow(key)
	b.counts[key-b.first]++
}

// grow extends the range to include a key, by whole doublings.
func (b *buckets) grow(key int) {
	first := key &^ (perDouble - 1)
	end := first + perDouble
	if len(b.counts) == 0 {
		b.first = first
	}
	first, end = min(first, b.first), max(end, b.first+len(b.counts))
	counts := make([]uint64, end-first)
	copy(counts[b.first-first:], b.counts)
	b.first, b.counts = first, counts
}

func (b buckets) used() int {
	n := 0
	for _, count := range b.counts {
		if count > 0 {
			n++
		}
	}
	return n
}

// merged returns the buckets of the next lower schema, in which bucket k has the counts of 2k-1 and 2k.
func (b buckets) merged() buckets {
	half := func(key int) int { return (key + 1) >> 1 }
	m := buckets{first: half(b.first)}
	if len(b.counts) > 0 {
		m.counts = make([]uint64, half(b.first+len(b.counts)-1)-m.first+1)
	}
	for i, count := range b.counts {
		m.counts[half(b.first+i)-m.first] += count
	}
	return m
}

// maxGap is the number of empty buckets up to which they are encoded as zeros. A longer gap starts a new span.
const maxGap = 2

// encode encodes the buckets as spans, and each count as the difference from the previous one.
func (b buckets) encode() (spans []*dto.BucketSpan, deltas []int64) {
	var last int64
	end := 0 // of the previous span
	for i := range b.counts {
		if b.counts[i] == 0 {
			continue
		}
		key := b.first + i
		if gap := key - end; len(spans) == 0 || gap > maxGap {
			spans = append(spans, &dto.BucketSpan{Offset: proto.Int32(int32(gap)), Length: proto.Uint32(0)})
			end = key
		}
		for _, count := range b.counts[end-b.first : i+1] {
			deltas = append(deltas, int64(count)-last)
			last = int64(count)
			*spans[len(spans)-1].Length++
		}
		end = key + 1
	}
	return slices.Clip(spans), deltas
}
