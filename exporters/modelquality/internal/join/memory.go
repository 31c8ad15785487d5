package join

import (
	"encoding/binary"
	"math/bits"
)

// memory has the last entries one behind the other, in the order in which they came, and an index of where they are. Most
// of what is looked for is not there, and every span is looked for: of that, the marks alone are read, a byte an entry,
// which stay in the cache of a processor.
type memory[E any] struct {
	ring []E
	next uint32 // the number of the next one, whose place in the ring is its remainder
	// Of each set of the index, marks has a part of the hashes, numbers those of the entries, and oldest which of them is
	// the next to give way.
	marks   []byte
	numbers []uint32
	oldest  []byte
}

// ways is how many entries share a set of the index, at half of them on average. Span ids are random, so sets fill alike;
// a client whose are not loses its own joins only.
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

// add returns where to write the next entry.
func (m *memory[E]) add(hash uint64) *E {
	set, mark := m.look(hash)
	way := set*ways + int(m.oldest[set])
	m.marks[way], m.numbers[way] = mark, m.next
	m.oldest[set] = (m.oldest[set] + 1) % ways
	e := &m.ring[int(m.next)&(len(m.ring)-1)]
	m.next++
	return e
}

// find returns the first entry of a hash that is the right one, or nil.
func (m *memory[E]) find(hash uint64, right func(*E) bool) *E {
	const each, highest = 0x0101010101010101, 0x8080808080808080
	set, mark := m.look(hash)
	// A byte that is the mark becomes zero, and only from a zero can a borrow set its highest bit while it is not set itself;
	// the byte above may be taken for one as well, and is then found not to be the right one.
	differs := binary.LittleEndian.Uint64(m.marks[set*ways:]) ^ each*uint64(mark)
	for found := (differs - each) &^ differs & highest; found != 0; found &= found - 1 {
		n := m.numbers[set*ways+bits.TrailingZeros64(found)/8]
		if age := m.next - n; age == 0 || int(age) > len(m.ring) {
			continue // its place has another one by now
		}
		if e := &m.ring[int(n)&(len(m.ring)-1)]; right(e) {
			return e
		}
	}
	return nil
}

// look returns the set of a hash, and the part of the hash that its entries have.
func (m *memory[E]) look(hash uint64) (set int, mark byte) {
	return int(hash>>24) & (len(m.oldest) - 1), byte(hash >> 56)
}
