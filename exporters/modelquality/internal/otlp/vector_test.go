package otlp

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// valueOf is a value as it arrives.
func valueOf(t testing.TB, raw any) (v Value) {
	t.Helper()
	out := ptrace.NewTraces()
	value := out.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty().Attributes().PutEmpty("v")
	if f, ok := raw.(func(pcommon.Value)); ok {
		f(value)
	} else {
		require.NoError(t, value.FromRaw(raw))
	}
	body, err := ptraceotlp.NewExportRequestFromTraces(out).MarshalProto()
	require.NoError(t, err)
	require.NoError(t, new(Decoder).Traces(body, visit(func(s *Span) { v = s.Attributes[0].Value.Clone() })))
	return v
}

type visit func(*Span)

func (visit) Resource([]Attribute) {}
func (v visit) Span(s *Span)       { v(s) }
func (visit) Record(*Record)       {}

func TestVectorsAreReadFromLists(t *testing.T) {
	for name, test := range map[string]struct {
		raw     any
		want    []float32
		numbers int
		bad     bool
	}{
		"doubles":                           {raw: []any{0.5, -1.0, 0.0}, want: []float32{0.5, -1, 0}, numbers: 3},
		"whole numbers":                     {raw: []any{1, -2, 127}, want: []float32{1, -2, 127}, numbers: 3},
		"both":                              {raw: []any{1, 0.25}, want: []float32{1, 0.25}, numbers: 2},
		"a double that 32 bits do not hold": {raw: []any{1e300}, want: []float32{float32(math.Inf(1))}, numbers: 1},
		"none":                              {raw: []any{}, want: []float32{}},
		"more than most":                    {raw: []any{1.0, 2.0, 3.0, 4.0, 5.0}, want: []float32{1, 2, 3, 4}, numbers: 5},
		"texts":                             {raw: []any{"0.5"}, bad: true},
		"a text among numbers":              {raw: []any{0.5, "x"}, bad: true},
		"lists within":                      {raw: []any{[]any{0.5}}, bad: true},
		"an empty value within":             {raw: func(v pcommon.Value) { v.SetEmptySlice().AppendEmpty() }, bad: true},
		"a text":                            {raw: "[0.5, 1]", bad: true},
		"a number":                          {raw: 0.5, bad: true},
		"bytes":                             {raw: []byte{0, 0, 0, 0}, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			b, n, ok := valueOf(t, test.raw).AppendVector(nil, 4)
			require.Equal(t, !test.bad, ok)
			if test.bad {
				return
			}
			require.Equal(t, test.numbers, n)
			v := VectorOf(b).Clone()
			got := []float32{}
			for i := range v.Dimensions() {
				got = append(got, v.At(i))
			}
			require.Equal(t, test.want, got)
			_, number := v.Number()
			require.False(t, number, "a vector is no number")
			require.Empty(t, v.Append(nil), "nor a text")
		})
	}
	require.Zero(t, StringValue("1234").Dimensions())
}

func TestDamagedListsAreRefusedAsVectors(t *testing.T) {
	v := valueOf(t, []any{0.5, 7, 1.5})
	for n := range len(v.text) {
		cut := Value{Kind: List, text: v.text[:n]}
		b, numbers, ok := cut.AppendVector(nil, 10)
		if ok {
			require.Len(t, b, numbers*vectorBytes)
		}
	}
	b, _, ok := Value{Kind: List, text: "\x0a\x09\x22"}.AppendVector(nil, 10)
	require.False(t, ok)
	require.Empty(t, b)
}

func BenchmarkVector(b *testing.B) {
	numbers := make([]any, 1536)
	for i := range numbers {
		numbers[i] = 0.01
	}
	v := valueOf(b, numbers)
	var to []byte
	b.ReportAllocs()
	for b.Loop() {
		to, _, _ = v.AppendVector(to[:0], 4096)
	}
}
