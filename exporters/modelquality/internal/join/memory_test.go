package join

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkFind remembers an inference and searches for two that are not remembered, as most spans do: in a memory, and in a map with a ring
// of its keys.
func BenchmarkFind(b *testing.B) {
	const entries = 32_768
	ids := make([]ID, 3*entries)
	for i := range ids {
		n := uint64(i+1) * 0x9e3779b97f4a7c15
		binary.LittleEndian.PutUint64(ids[i].Trace[8:], n^n>>29)
		binary.LittleEndian.PutUint64(ids[i].Span[:], n*n)
	}
	b.Run("memory", func(b *testing.B) {
		m, found := newMemory[Inference[*int]](entries), 0
		for i := 0; b.Loop(); i++ {
			id := &ids[i%entries]
			m.add(hash(id)).ID = *id
			for _, absent := range [2]*ID{&ids[entries+i%entries], &ids[2*entries+i%entries]} {
				if m.find(hash(absent), func(x *Inference[*int]) bool { return x.ID == *absent }) != nil {
					found++
				}
			}
		}
		require.Zero(b, found)
	})
	b.Run("map", func(b *testing.B) {
		m, ring, found := make(map[ID]Inference[*int], entries), make([]ID, entries), 0
		for i := 0; b.Loop(); i++ {
			id := ids[i%entries]
			delete(m, ring[i%entries])
			m[id], ring[i%entries] = Inference[*int]{ID: id}, id
			for _, absent := range [2]ID{ids[entries+i%entries], ids[2*entries+i%entries]} {
				if _, ok := m[absent]; ok {
					found++
				}
			}
		}
		require.Zero(b, found)
	})
}
