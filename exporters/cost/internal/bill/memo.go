package bill

import (
	"bytes"
	"hash/maphash"
)

// Bounds of a memo: the number of results that it remembers, and the length of their texts. So it uses at most 16 MiB,
// and only if a file has that many different texts of that length.
const (
	memoSlots = 1 << 12
	memoText  = 4 << 10
)

// If more than three quarters of the last memoWindow texts were new, the memo is not used for the next eight windows.
const memoWindow = 1 << 12

// memo remembers the result of a computation on a text, by the text's bytes in the file. It is direct-mapped: a text
// replaces the earlier one in its slot and reuses its memory. So a column in which every value differs costs little
// more than computing each one.
type memo[T any] struct {
	seed  maphash.Seed
	slots []memoSlot[T]
	last  *memoSlot[T]
	// work computes the meaning of a text. It may reuse the memory of the earlier meaning.
	work func(text []byte, meaning *T)
	// calls and misses are counts of this window. bypass is the number of calls left that do not use the memo.
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

// get returns the meaning of a text. It is valid until the next call.
func (m *memo[T]) get(text []byte) *T {
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
