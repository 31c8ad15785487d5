package join

import "math/bits"

// memory has the last inferences one behind the other, in the order in which they came, and an index of where they are. The
// index is small enough for the cache of a processor, which a table of the inferences themselves is not: most spans have a
// parent that is no inference, and all have to be looked for.
type memory[S comparable] struct {
	ring []Inference[S]
	next int // where the next one is written
	// index has sets of places in the ring, the last one first. Above the bits of the place is a part of the hash.
	index []uint32
}

// ways is how many inferences share a set of the index, at half of them on average. Span ids are random, so sets fill
// alike; a client whose are not loses its own joins only.
const ways = 4

func newMemory[S comparable](inferences int) memory[S] {
	size := 2
	for size < inferences {
		size *= 2
	}
	return memory[S]{ring: make([]Inference[S], size), index: make([]uint32, size/2*ways)}
}

func (m *memory[S]) add(hash uint64, i *Inference[S]) {
	m.ring[m.next] = *i
	set, mark := m.look(hash)
	set[1], set[2], set[3] = set[0], set[1], set[2]
	set[0] = mark | uint32(m.next)
	m.next = (m.next + 1) & (len(m.ring) - 1)
}

func (m *memory[S]) find(hash uint64, same func(*Inference[S]) bool) (Inference[S], bool) {
	set, mark := m.look(hash)
	place := uint32(len(m.ring) - 1)
	for _, entry := range set {
		if entry&^place != mark {
			continue
		}
		// The place may have another one by now.
		if i := &m.ring[entry&place]; same(i) {
			return *i, true
		}
	}
	return Inference[S]{}, false
}

// look returns the set of a hash, and the part of the hash that its entries have.
func (m *memory[S]) look(hash uint64) (*[ways]uint32, uint32) {
	first := int(hash>>24) & (len(m.index)/ways - 1) * ways
	return (*[ways]uint32)(m.index[first:]), uint32(hash>>40) << bits.Len(uint(len(m.ring)-1))
}
