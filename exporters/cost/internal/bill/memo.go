package bill

import (
	"bytes"
	"hash/maphash"
)

// Bounds of a memo: how many meanings it remembers, and how long their texts may be. So it has at most 16 MiB, and takes
// that only where a file has as many different texts of that length.
const (
	memoSlots = 1 << 12
	memoText  = 4 << 10
)

// A memo of whose last memoWindow texts three quarters were new gives up remembering for the next eight as many.
const memoWindow = 1 << 12

// memo remembers what texts mean, by their bytes as they are in the file. It is direct-mapped: a text replaces the one that
// was in its place, whose memory it takes over, so that a column of which every value differs costs little more than working
// each one out.
type memo[T any] struct {
	seed  maphash.Seed
	slots []memoSlot[T]
	last  *memoSlot[T]
	// work fills in what a text means; what was there before may be used again.
	work func(text []byte, meaning *T)
	// calls and misses are those of this window; bypass counts the calls that do not try to remember.
	calls, misses, bypass int
	scratch               T
}

type memoSlot[T any] struct {
	key     []byte
	used    bool
	meaning T
}

func newMemo[T any](work func([]byte, *T)) *memo[T] {
	return &memo[T]{seed: maphash.MakeSeed(), slots: make([]memoSlot[T], memoSlots), work: work, last: &memoSlot[T]{}}
}

// of returns what a text means; it is valid until the next call.
func (m *memo[T]) of(text []byte) *T {
	if m.bypass > 0 {
		m.bypass--
		m.work(text, &m.scratch)
		return &m.scratch
	}
	if m.last.used && bytes.Equal(m.last.key, text) {
		return &m.last.meaning
	}
	if m.calls++; m.calls == memoWindow {
		if m.misses > memoWindow*3/4 {
			m.bypass = 8 * memoWindow
		}
		m.calls, m.misses = 0, 0
	}
	slot := &m.slots[maphash.Bytes(m.seed, text)%memoSlots]
	m.last = slot
	if slot.used && bytes.Equal(slot.key, text) {
		return &slot.meaning
	}
	m.misses++
	m.work(text, &slot.meaning)
	slot.used = len(text) <= memoText
	if slot.used {
		slot.key = append(slot.key[:0], text...)
	}
	return &slot.meaning
}
