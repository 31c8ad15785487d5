package join

import (
	"encoding/binary"
	"math/bits"
)

// memory has the last inferences one behind the other, in the order in which they came, and an index of where they are.
// Most spans have a parent that is no inference, and all have to be looked for: of that, the marks alone are read, a byte an
// inference, which stay in the cache of a processor.
type memory[S comparable] struct {
	ring []Inference[S]
	next int // where the next one is written
	// Of each set of the index, marks has a part of the hashes, places where in the ring they are, and oldest which of them
	// is the next to give way.
	marks  []byte
	places []uint32
	oldest []byte
}

// ways is how many inferences share a set of the index, at half of them on average. Span ids are random, so sets fill
// alike; a client whose are not loses its own joins only.
const ways = 8

func newMemory[S comparable](inferences int) memory[S] {
	size := ways / 2
	for size < inferences {
		size *= 2
	}
	return memory[S]{
		ring: make([]Inference[S], size), marks: make([]byte, 2*size), places: make([]uint32, 2*size), oldest: make([]byte, 2*size/ways),
	}
}

// add returns where to write the next inference.
func (m *memory[S]) add(hash uint64) *Inference[S] {
	i := &m.ring[m.next]
	set, mark := m.look(hash)
	way := set*ways + int(m.oldest[set])
	m.marks[way], m.places[way] = mark, uint32(m.next)
	m.oldest[set] = (m.oldest[set] + 1) % ways
	m.next = (m.next + 1) & (len(m.ring) - 1)
	return i
}

func (m *memory[S]) find(hash uint64, same func(*Inference[S]) bool) (Inference[S], bool) {
	const each, highest = 0x0101010101010101, 0x8080808080808080
	set, mark := m.look(hash)
	// A byte that is the mark becomes zero, and only from a zero can a borrow set its highest bit while it is not set itself;
	// the byte above may be taken for one as well, and is then found not to be the same.
	differs := binary.LittleEndian.Uint64(m.marks[set*ways:]) ^ each*uint64(mark)
	for found := (differs - each) &^ differs & highest; found != 0; found &= found - 1 {
		// The place may have another one by now.
		if i := &m.ring[m.places[set*ways+bits.TrailingZeros64(found)/8]]; same(i) {
			return *i, true
		}
	}
	return Inference[S]{}, false
}

// look returns the set of a hash, and the part of the hash that its entries have.
func (m *memory[S]) look(hash uint64) (set int, mark byte) {
	return int(hash>>24) & (len(m.oldest) - 1), byte(hash >> 56)
}
