package otlp

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// collected keeps copies of the results of a Decoder.
type collected struct {
	resources [][]Attribute
	spans     []Span
	records   []Record
}

func (c *collected) Resource(a []Attribute) { c.resources = append(c.resources, copyOf(a)) }

func (c *collected) Span(s *Span) {
	kept := *s
	kept.Attributes, kept.Events = copyOf(s.Attributes), nil
	for _, e := range s.Events {
		e.Attributes = copyOf(e.Attributes)
		kept.Events = append(kept.Events, e)
	}
	c.spans = append(c.spans, kept)
}

func (c *collected) Record(r *Record) {
	kept := *r
	kept.Attributes = copyOf(r.Attributes)
	c.records = append(c.records, kept)
}

func copyOf(attributes []Attribute) []Attribute {
	return append([]Attribute(nil), attributes...)
}

// expected reads the attributes the way pdata does.
func expected(m pcommon.Map) []Attribute {
	var list []Attribute
	for k, v := range m.All() {
		a := Attribute{Key: k}
		switch v.Type() {
		case pcommon.ValueTypeStr:
			a.Value = StringValue(v.Str())
		case pcommon.ValueTypeInt:
			a.Value = IntValue(v.Int())
		case pcommon.ValueTypeDouble:
			a.Value = DoubleValue(v.Double())
		case pcommon.ValueTypeBool:
			a.Value = BoolValue(v.Bool())
		case pcommon.ValueTypeBytes:
			a.Value = Value{Kind: Bytes, text: string(v.Bytes().AsRaw())}
		case pcommon.ValueTypeSlice:
			a.Value.Kind = List
		case pcommon.ValueTypeMap:
			a.Value.Kind = Map
		}
		list = append(list, a)
	}
	return list
}

// normal leaves out what pdata does not show in the same form: the encoded content of lists and maps, and how a
// client wrote true.
func normal(list []Attribute) []Attribute {
	for i, a := range list {
		switch a.Value.Kind {
		case List, Map:
			list[i].Value.text = ""
		case Bool:
			list[i].Value = BoolValue(a.Value.Truth())
		}
	}
	return list
}

func expectedSpans(t ptrace.Traces) (spans []Span) {
	for _, rs := range t.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				want := Span{
					Trace: TraceID(s.TraceID()), ID: SpanID(s.SpanID()), Parent: SpanID(s.ParentSpanID()), Name: s.Name(),
					Start: uint64(s.StartTimestamp()), End: uint64(s.EndTimestamp()), Status: int32(s.Status().Code()),
					State: s.TraceState().AsRaw(), Dropped: s.DroppedAttributesCount(),
					Attributes: expected(s.Attributes()),
				}
				for _, e := range s.Events().All() {
					want.Events = append(want.Events, Event{e.Name(), uint64(e.Timestamp()), expected(e.Attributes())})
				}
				spans = append(spans, want)
			}
		}
	}
	return spans
}

// body is the body of a record, as the value of an attribute.
func body(v pcommon.Value) Value {
	m := pcommon.NewMap()
	v.CopyTo(m.PutEmpty("body"))
	return expected(m)[0].Value
}

func expectedRecords(l plog.Logs) (records []Record) {
	for _, rl := range l.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, r := range sl.LogRecords().All() {
				records = append(records, Record{
					TraceID(r.TraceID()), SpanID(r.SpanID()), uint64(r.Timestamp()), uint64(r.ObservedTimestamp()), r.EventName(), body(r.Body()), expected(r.Attributes()),
				})
			}
		}
	}
	return records
}

func sampleTraces() ptrace.Traces {
	t := ptrace.NewTraces()
	rs := t.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "scorer")
	ss := rs.ScopeSpans().AppendEmpty()
	for range 2 {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID([16]byte{1, 2, 3})
		s.SetSpanID([8]byte{4})
		s.SetParentSpanID([8]byte{5})
		s.SetName("predict")
		s.SetStartTimestamp(1_000)
		s.SetEndTimestamp(math.MaxUint64)
		s.Status().SetCode(ptrace.StatusCodeError)
		s.Status().SetMessage("no")
		a := s.Attributes()
		a.PutStr("text", "värde")
		a.PutInt("int", -7)
		a.PutDouble("double", math.Inf(-1))
		a.PutBool("yes", true)
		a.PutBool("no", false)
		a.PutEmptyBytes("bytes").FromRaw([]byte{0, 255})
		a.PutEmptySlice("list").AppendEmpty().SetStr("x")
		a.PutEmptyMap("map").PutStr("k", "v")
		a.PutEmpty("empty")
		e := s.Events().AppendEmpty()
		e.SetName("exception")
		e.SetTimestamp(1_500)
		e.Attributes().PutStr("exception.type", "ValueError")
		s.Events().AppendEmpty().Attributes().PutInt("n", 1)
		s.Links().AppendEmpty().SetTraceID([16]byte{9})
	}
	return t
}

func sampleLogs() plog.Logs {
	l := plog.NewLogs()
	rl := l.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "judge")
	r := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	r.SetTraceID([16]byte{1})
	r.SetSpanID([8]byte{2})
	r.SetTimestamp(3)
	r.SetObservedTimestamp(4)
	r.SetEventName("gen_ai.evaluation.result")
	r.Body().SetStr("body")
	r.Attributes().PutDouble("gen_ai.evaluation.score.value", 0.89)
	return l
}

func bytesOf(t testing.TB, marshal func() ([]byte, error)) []byte {
	t.Helper()
	b, err := marshal()
	require.NoError(t, err)
	return b
}

func TestSpansAreReadAsPdataReadsThem(t *testing.T) {
	traces := sampleTraces()
	var got collected
	require.NoError(t, new(Decoder).Traces(bytesOf(t, ptraceotlp.NewExportRequestFromTraces(traces).MarshalProto), &got))
	require.Equal(t, [][]Attribute{{{"service.name", StringValue("scorer")}}}, got.resources)
	require.Len(t, got.spans, 2)
	for i, want := range expectedSpans(traces) {
		got.spans[i].Attributes = normal(got.spans[i].Attributes)
		require.Equal(t, want, got.spans[i])
	}
}

func TestRecordsAreReadAsPdataReadsThem(t *testing.T) {
	logs := sampleLogs()
	var got collected
	require.NoError(t, new(Decoder).Logs(bytesOf(t, plogotlp.NewExportRequestFromLogs(logs).MarshalProto), &got))
	require.Equal(t, expectedRecords(logs), got.records)
}

func TestResourceMayFollowItsScopes(t *testing.T) {
	body := bytesOf(t, ptraceotlp.NewExportRequestFromTraces(sampleTraces()).MarshalProto)
	// Move the resource, the first field of the group, behind the scopes.
	group, _, err := next(body)
	require.NoError(t, err)
	_, scopes, err := next(group.bytes)
	require.NoError(t, err)
	resource := group.bytes[:len(group.bytes)-len(scopes)]
	swapped := append(append([]byte{}, scopes...), resource...)
	swapped = append(binary.AppendUvarint([]byte{1<<3 | wireBytes}, uint64(len(swapped))), swapped...)

	var got collected
	require.NoError(t, new(Decoder).Traces(swapped, &got))
	require.Equal(t, [][]Attribute{{{"service.name", StringValue("scorer")}}}, got.resources)
	require.Len(t, got.spans, 2)
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	whole := bytesOf(t, ptraceotlp.NewExportRequestFromTraces(sampleTraces()).MarshalProto)
	for name, body := range map[string][]byte{
		"text":                        []byte("hello"),
		"a field cut off":             whole[:len(whole)-1],
		"a tag of no field":           {0},
		"an endless number":           {0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"a number where a message is": {0x08, 1},
		"a group":                     {0x13, 0x14},
		"a trace id of three bytes":   {0x0a, 9, 0x12, 7, 0x12, 5, 0x0a, 3, 1, 2, 3},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, new(Decoder).Traces(body, new(collected)), ErrMalformed)
		})
	}
}

func TestUnknownFieldsAreSkipped(t *testing.T) {
	body := bytesOf(t, ptraceotlp.NewExportRequestFromTraces(sampleTraces()).MarshalProto)
	var got collected
	require.NoError(t, new(Decoder).Traces(append([]byte{0x38, 5, 0x3d, 1, 2, 3, 4, 0xf2, 0x03, 1, 0}, body...), &got))
	require.Len(t, got.spans, 2)
}

func TestValuesAreFormattedAsDatabasesFormatThem(t *testing.T) {
	for want, v := range map[string]Value{
		"CA": StringValue("CA"), "-3": IntValue(-3), "3": DoubleValue(3), "0.5": DoubleValue(0.5), "true": BoolValue(true), "": {Kind: List, text: "x"},
	} {
		require.Equal(t, want, string(v.Append(nil)))
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	body := bytesOf(t, ptraceotlp.NewExportRequestFromTraces(sampleTraces()).MarshalProto)
	var d Decoder
	var v nothing
	require.NoError(t, d.Traces(body, v))
	// The closures of one request, whatever its size.
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _ = d.Traces(body, v) }), 8.0)
}

type nothing struct{}

func (nothing) Resource([]Attribute) {}
func (nothing) Span(*Span)           {}
func (nothing) Record(*Record)       {}

// The decoder reads everything that pdata reads, with the same result, except forms that no client writes. It never panics.
func FuzzTraces(f *testing.F) {
	f.Add(bytesOf(f, ptraceotlp.NewExportRequestFromTraces(sampleTraces()).MarshalProto))
	f.Add([]byte{0x0a, 9, 0x12, 7, 0x12, 5, 0x0a, 3, 1, 2, 3})
	f.Fuzz(func(t *testing.T, body []byte) {
		var got collected
		err := new(Decoder).Traces(body, &got)
		theirs := ptraceotlp.NewExportRequest()
		if theirs.UnmarshalProto(body) != nil {
			return
		}
		if errors.Is(err, errForeign) {
			return
		}
		require.NoError(t, err)
		for i := range got.spans {
			got.spans[i].Attributes = normal(got.spans[i].Attributes)
			for j := range got.spans[i].Events {
				got.spans[i].Events[j].Attributes = normal(got.spans[i].Events[j].Attributes)
			}
		}
		requireSame(t, expectedSpans(theirs.Traces()), got.spans)
	})
}

func FuzzLogs(f *testing.F) {
	f.Add(bytesOf(f, plogotlp.NewExportRequestFromLogs(sampleLogs()).MarshalProto))
	f.Fuzz(func(t *testing.T, body []byte) {
		var got collected
		err := new(Decoder).Logs(body, &got)
		theirs := plogotlp.NewExportRequest()
		if theirs.UnmarshalProto(body) != nil {
			return
		}
		if errors.Is(err, errForeign) {
			return
		}
		require.NoError(t, err)
		for i := range got.records {
			got.records[i].Attributes = normal(got.records[i].Attributes)
			got.records[i].Body = normal([]Attribute{{Value: got.records[i].Body}})[0].Value
		}
		requireSame(t, expectedRecords(theirs.Logs()), got.records)
	})
}

// requireSame compares values whose strings may hold anything.
func requireSame[T any](t *testing.T, want, got []T) {
	t.Helper()
	require.Len(t, got, len(want))
	if len(want) > 0 {
		require.Equal(t, want, got, strings.Repeat("-", 20))
	}
}

// BenchmarkTraces reads a request of a thousand spans, and the same request with pdata.
func BenchmarkTraces(b *testing.B) {
	traces := ptrace.NewTraces()
	spans := traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	one := sampleTraces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
	for range 1000 {
		one.CopyTo(spans.AppendEmpty())
	}
	body := bytesOf(b, ptraceotlp.NewExportRequestFromTraces(traces).MarshalProto)
	b.Run("package", func(b *testing.B) {
		var d Decoder
		b.ReportAllocs()
		for b.Loop() {
			require.NoError(b, d.Traces(body, nothing{}))
		}
	})
	b.Run("pdata", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			require.NoError(b, ptraceotlp.NewExportRequest().UnmarshalProto(body))
		}
	})
}
