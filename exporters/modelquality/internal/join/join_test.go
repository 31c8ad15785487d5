package join

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/keep"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

func id(n uint64) (i ID) {
	binary.LittleEndian.PutUint64(i.Trace[8:], n%7)
	binary.LittleEndian.PutUint64(i.Span[:], n)
	return i
}

func TestLateItemFindsItsInference(t *testing.T) {
	j := New[*int, keep.Name](100, 10)
	model := new(int)
	j.Add(Inference[*int]{ID: id(1), Series: model, Has: 5}, "answer-1")
	got, ok := j.Find(id(1))
	require.True(t, ok)
	require.Equal(t, model, got.Series)
	require.Equal(t, uint16(5), got.Has)
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
	j := New[*int, keep.Name](64, 10)
	for n := range uint64(10_000) {
		j.Add(Inference[*int]{ID: id(n + 1), Series: new(int)}, "")
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

func TestEarlyItemWaitsForItsInference(t *testing.T) {
	j := New[*int, keep.Name](64, 3)
	require.True(t, j.Wait(id(1), "a", 10))
	require.True(t, j.Wait(id(1), "b", 20))
	require.True(t, j.Wait(id(2), "c", 30))
	require.False(t, j.Wait(id(3), "d", 40), "no more room")
	require.Empty(t, j.Take(id(9)))
	require.Equal(t, []keep.Name{"a", "b"}, j.Take(id(1)))
	require.Empty(t, j.Take(id(1)))
	require.True(t, j.Wait(id(1), "e", 50), "there is room again")

	require.Empty(t, j.Expire(30))
	require.Equal(t, []keep.Name{"c"}, j.Expire(31))
	require.Equal(t, []keep.Name{"e"}, j.Expire(100))
	require.Empty(t, j.Expire(100))
	require.Empty(t, j.waiting)
	require.Empty(t, j.order)
}

func TestWaitingItemsExpireOneByOne(t *testing.T) {
	j := New[*int, keep.Name](64, 10)
	j.Wait(id(1), "early", 10)
	j.Wait(id(1), "late", 20)
	require.Equal(t, []keep.Name{"early"}, j.Expire(15))
	require.Equal(t, []keep.Name{"late"}, j.Take(id(1)))
}

func TestFirstCountedSeriesBelowASpanIsFound(t *testing.T) {
	j := New[*int, keep.Name](64, 10)
	chat, search := new(int), new(int)
	require.Empty(t, j.Below(nil, id(1)))
	j.Await(id(1), chat, 1)
	j.Await(id(1), search, 2)
	j.Await(id(1), chat, 4)
	j.Await(ID{Trace: id(1).Trace}, chat, 1)
	require.Equal(t, []Counted[*int]{{chat, 5, id(1)}, {search, 2, id(1)}}, j.Below(nil, id(1)), "each model once, with all its numbers")
	require.Empty(t, j.Below(nil, ID{Trace: id(1).Trace}), "nothing is above a root")
	for n := range uint64(10_000) {
		j.Await(id(n+2), chat, 1)
	}
	require.Empty(t, j.Below(nil, id(1)), "only the last are remembered")
}

func TestAncestorsOfASpanAreFound(t *testing.T) {
	j := New[*int, keep.Name](64, 10)
	model := new(int)
	at := func(span byte) ID { return ID{otlp.TraceID{1}, otlp.SpanID{span}} }
	j.Add(Inference[*int]{ID: at(1), Series: model}, "")
	j.Link(at(2), at(1).Span)
	j.Link(at(3), at(9).Span)
	j.Link(at(4), otlp.SpanID{})
	j.Link(at(5), at(5).Span)
	for span, want := range map[byte]struct {
		found   bool
		missing byte
	}{1: {true, 1}, 2: {true, 1}, 3: {false, 9}, 4: {false, 0}, 5: {false, 0}, 6: {false, 6}} {
		above, missing := j.Above(at(span).Trace, at(span).Span)
		require.Equal(t, want.found, above != nil, span)
		require.Equal(t, at(want.missing).Span, missing, span)
	}
	require.True(t, j.Linked(at(2)))
	require.False(t, j.Linked(at(6)))
	j.Link(at(3), at(1).Span)
	above, _ := j.Above(at(3).Trace, at(3).Span)
	require.NotNil(t, above, "what came again")
	require.Same(t, model, above.Series)
}

func TestLastTextInferenceRepresentsItsTrace(t *testing.T) {
	j := New[*int, keep.Name](64, 10)
	embedding, first, last := new(int), new(int), new(int)
	add := func(trace byte, series *int, embeds bool) {
		j.Add(Inference[*int]{ID: ID{otlp.TraceID{trace}, otlp.SpanID{1}}, Series: series, Embeds: embeds}, "")
	}
	stands := func(trace byte) *int {
		s, ok := j.FindTrace(otlp.TraceID{trace})
		require.Equal(t, s != nil, ok)
		return s
	}
	require.Nil(t, stands(1))
	add(1, embedding, true)
	require.Same(t, embedding, stands(1))
	add(1, first, false)
	add(2, embedding, true)
	add(1, last, false)
	add(1, embedding, true)
	require.Same(t, last, stands(1))
	require.Same(t, embedding, stands(2))
	require.Nil(t, stands(0))
	for n := range byte(200) {
		add(n+3, first, false)
	}
	require.Nil(t, stands(1), "only the last are remembered")
	require.Same(t, first, stands(202))
}

func TestSingleSpanOfATraceIsStoredUnlinked(t *testing.T) {
	model := new(int)
	trace, parent := otlp.TraceID{1}, otlp.SpanID{9}
	call := Inference[*int]{ID: ID{trace, otlp.SpanID{1}}, Parent: parent, Series: model, Has: 5}
	counted := []Counted[*int]{{model, 5, ID{trace, parent}}}
	for then, come := range map[string]func(*Join[*int, keep.Name]){
		"a span that is no inference": func(j *Join[*int, keep.Name]) { j.Link(ID{trace, parent}, otlp.SpanID{}) },
		"a sibling":                   func(j *Join[*int, keep.Name]) { j.Link(ID{trace, otlp.SpanID{3}}, parent) },
		"an inference":                func(j *Join[*int, keep.Name]) { j.Add(Inference[*int]{ID: ID{trace, parent}, Series: model}, "") },
		"the same span once more":     func(j *Join[*int, keep.Name]) { j.Add(call, "") },
	} {
		t.Run(then, func(t *testing.T) {
			j := New[*int, keep.Name](64, 10)
			require.True(t, j.Add(call, "").Alone(trace))
			require.Empty(t, j.Below(nil, ID{trace, parent}), "nobody has asked yet")
			j.Link(ID{otlp.TraceID{2}, parent}, otlp.SpanID{})
			require.Empty(t, j.Below(nil, ID{trace, parent}), "of another trace")
			come(j)
			require.Equal(t, counted, j.Below(nil, ID{trace, parent}))
			require.False(t, j.Add(call, "").Alone(trace))
		})
	}
	t.Run("both in one request, before anybody asks", func(t *testing.T) {
		j := New[*int, keep.Name](64, 10)
		first := j.Add(call, "")
		j.Link(ID{trace, parent}, otlp.SpanID{})
		require.False(t, first.Alone(trace))
		require.Empty(t, j.Below(nil, ID{trace, parent}), "whoever asks finds the link")
	})
	t.Run("a trace whose place another one has taken", func(t *testing.T) {
		j := New[*int, keep.Name](4, 10)
		first := j.Add(call, "")
		for n := range byte(100) {
			j.Add(Inference[*int]{ID: ID{otlp.TraceID{2, 9: n}, otlp.SpanID{n + 1}}, Series: model}, "")
		}
		require.False(t, first.Alone(trace))
	})
	t.Run("without a trace", func(t *testing.T) {
		none := Inference[*int]{ID: ID{Span: otlp.SpanID{1}}, Series: model}
		require.False(t, New[*int, keep.Name](64, 10).Add(none, "").Alone(none.ID.Trace))
	})
}

func TestEverySpanCountedTowardsItsParentIsRemembered(t *testing.T) {
	j := New[*int, keep.Name](1024, 10)
	model := new(int)
	span := func(n int) (id otlp.SpanID) {
		binary.BigEndian.PutUint64(id[:], uint64(n))
		return id
	}
	for n := range 500 {
		j.Add(Inference[*int]{ID: ID{otlp.TraceID{1}, span(n + 1)}, Series: model}, "")
	}
	var lost []int
	for n := range 500 {
		if _, ok := j.Find(ID{otlp.TraceID{1}, span(n + 1)}); !ok {
			lost = append(lost, n+1)
		}
	}
	require.Empty(t, lost)
}
