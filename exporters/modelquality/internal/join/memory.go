package join

import (
	"encoding/binary"
	"math/bits"
)

// memory has the most recent entries in a ring, and an index by hash. Every span is searched for, and most searches find nothing. Such a
// search reads only the marks, one byte for each entry, which stay in the processor's cache. A map with a ring of its keys, which is what
// caches of the least recent use are made of, takes at least ten times as long (BenchmarkFind, 30 November 2026).
type memory[E any] struct {
	ring []E
	next uint32 // number of the next entry; its position in the ring is the remainder
	// The index consists of sets. marks has a part of the hash of each entry, numbers the number of the entry, and oldest the entry of the
	// set that is replaced next.
	marks   []byte
	numbers []uint32
	oldest  []byte
}

// ways is the number of entries in a set of the index; on average half are used. Span IDs are random, so sets fill evenly. A client whose
// IDs are not random loses only its own joins.
const ways = 8

func newMemory[E any](entries int) memory[E] {
	size := ways / 2
	for size < entries {
		size *= 2
	}
	return memory[E]{
		ring: make([]E, size), marks: make([]byte, 2*size), numbers: make([]uint32, 2*size), oldest: make([]byte, 2*size/ways),
	}
}

// add returns a pointer to the next entry, which the caller must set.
func (m *memory[E]) add(hash uint64) *E {
	set, mark := m.locate(hash)
	way := set*ways + int(m.oldest[set])
	m.marks[way], m.numbers[way] = mark, m.next
	m.oldest[set] = (m.oldest[set] + 1) % ways
	e := &m.ring[int(m.next)&(len(m.ring)-1)]
	m.next++
	return e
}

// find returns the first entry with this hash that right accepts, or nil.
func (m *memory[E]) find(hash uint64, right func(*E) bool) *E {
	const each, highest = 0x0101010101010101, 0x8080808080808080
	set, mark := m.locate(hash)
	// Bytes equal to the mark become zero. Subtracting 1 from a zero byte sets its highest bit, which was not set before. The borrow can
	// also mark the next higher byte; right then rejects that entry.
	differs := binary.LittleEndian.Uint64(m.marks[set*ways:]) ^ each*uint64(mark)
	for found := (differs - each) &^ differs & highest; found != 0; found &= found - 1 {
		n := m.numbers[set*ways+bits.TrailingZeros64(found)/8]
		if age := m.next - n; age == 0 || int(age) > len(m.ring) {
			continue // the entry was overwritten
		}
		if e := &m.ring[int(n)&(len(m.ring)-1)]; right(e) {
			return e
		}
	}
	return nil
}

// locate returns the set of a hash, and the part of the hash that the set stores.
func (m *memory[E]) locate(hash uint64) (set int, mark byte) {
	return int(hash>>24) & (len(m.oldest) - 1), byte(hash >> 56)
}
