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
