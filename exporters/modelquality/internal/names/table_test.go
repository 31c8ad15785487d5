package names

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheTableFindsWhatAMapWould(t *testing.T) {
	meanings := make(map[string]int)
	for i := range 300 {
		meanings[fmt.Sprint("attribute.number.", i*i)] = i
		meanings[fmt.Sprint(i)] = i
	}
	table := New(meanings)
	for name, want := range meanings {
		require.Equal(t, want, *table.Find(name))
	}
	for i := range 1000 {
		require.Nil(t, table.Find(fmt.Sprint("attribute.number.x", i)))
	}
	require.Nil(t, table.Find(""))
	table = New(map[string]int{"": 7})
	require.Equal(t, 7, *table.Find(""))
	require.Nil(t, table.Find("a"))
	empty := New[int](nil)
	require.Nil(t, empty.Find("anything"))
}

// BenchmarkFind looks up the attributes of a typical span, of which every third one has no meaning, in a Table and in a map.
func BenchmarkFind(b *testing.B) {
	meanings := make(map[string]int)
	for i := range 120 {
		meanings[fmt.Sprint("gen_ai.some.attribute_", i)] = i
	}
	var span []string
	for i := range 12 {
		span = append(span, fmt.Sprint("gen_ai.some.attribute_", i*5), fmt.Sprint("gen_ai.some.attribute_", i*5+1), fmt.Sprint("http.request.header_", i))
	}
	b.Run("table", func(b *testing.B) {
		table, found := New(meanings), 0
		for b.Loop() {
			for _, name := range span {
				if table.Find(name) != nil {
					found++
				}
			}
		}
		require.Positive(b, found)
	})
	b.Run("map", func(b *testing.B) {
		found := 0
		for b.Loop() {
			for _, name := range span {
				if _, ok := meanings[name]; ok {
					found++
				}
			}
		}
		require.Positive(b, found)
	})
}
