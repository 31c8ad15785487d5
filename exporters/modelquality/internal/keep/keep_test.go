package keep

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestKeptTextsAreCopiedFromTheRequest(t *testing.T) {
	t.Parallel()
	request := []byte("fraud scorer")
	model, version := unsafe.String(&request[0], 5), unsafe.String(&request[6], 6)
	var m Map[Name, Text]
	_, ok := m.Get(Name(model))
	require.False(t, ok)
	require.Equal(t, "scorer", m.Put(Name(model), func(kept Name) Text {
		require.Equal(t, Name("fraud"), kept)
		return Copy(version)
	}).String())
	clear(request)
	v, ok := m.Get("fraud")
	require.True(t, ok)
	require.Equal(t, "scorer", v.String())
	require.Equal(t, 1, m.Len())
	for name, v := range m.All() {
		require.Equal(t, Name("fraud"), name)
		require.Equal(t, "scorer", v.String())
		m.Delete(name)
	}
	require.Zero(t, m.Len())
}
