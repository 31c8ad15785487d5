package join

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

func id(n uint64) (i ID) {
	binary.LittleEndian.PutUint64(i.Trace[8:], n%7)
	binary.LittleEndian.PutUint64(i.Span[:], n)
	return i
}

func TestALateItemFindsItsInference(t *testing.T) {
	j := New[*int, string](100, 10)
	model := new(int)
	j.Add(id(1), model, true, false, 0, "answer-1")
	got, ok := j.Find(id(1))
	require.True(t, ok)
	require.Equal(t, model, got.Series)
	require.True(t, got.HasQueueWait)
	got, ok = j.FindResponse("answer-1")
	require.True(t, ok)
	require.Equal(t, id(1), got.ID)

	_, ok = j.Find(id(2))
	require.False(t, ok)
	_, ok = j.FindResponse("answer-2")
	require.False(t, ok)
	_, ok = j.FindResponse("")
	require.False(t, ok)
	_, ok = j.Find(ID{})
	require.False(t, ok, "what names no span belongs to none")
}

func TestOnlyTheLastInferencesAreRemembered(t *testing.T) {
	j := New[*int, string](64, 10)
	for n := range uint64(10_000) {
		j.Add(id(n+1), new(int), false, false, 0, "")
	}
	found := 0
	for n := range uint64(10_000) {
		if _, ok := j.Find(id(n + 1)); ok {
			found++
		}
	}
	require.LessOrEqual(t, found, 64)
	require.Greater(t, found, 56)
	_, ok := j.Find(id(10_000))
	require.True(t, ok)
}

func TestAnEarlyItemWaitsForItsInference(t *testing.T) {
	j := New[*int, string](64, 3)
	require.True(t, j.Wait(id(1), "a", 10))
	require.True(t, j.Wait(id(1), "b", 20))
	require.True(t, j.Wait(id(2), "c", 30))
	require.False(t, j.Wait(id(3), "d", 40), "no more room")
	require.Empty(t, j.Take(id(9)))
	require.Equal(t, []string{"a", "b"}, j.Take(id(1)))
	require.Empty(t, j.Take(id(1)))
	require.True(t, j.Wait(id(1), "e", 50), "there is room again")

	require.Empty(t, j.Expire(30))
	require.Equal(t, []string{"c"}, j.Expire(31))
	require.Equal(t, []string{"e"}, j.Expire(100))
	require.Empty(t, j.Expire(100))
	require.Empty(t, j.waiting)
	require.Empty(t, j.order)
}

func TestWhatWaitsForOneInferenceExpiresOneByOne(t *testing.T) {
	j := New[*int, string](64, 10)
	j.Wait(id(1), "early", 10)
	j.Wait(id(1), "late", 20)
	require.Equal(t, []string{"early"}, j.Expire(15))
	require.Equal(t, []string{"late"}, j.Take(id(1)))
}
