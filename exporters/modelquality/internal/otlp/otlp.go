// Package otlp decodes OTLP requests without copying them.
//
// Input: the bytes of an ExportTraceServiceRequest or ExportLogsServiceRequest. Output: its spans and log records, one at a time. Their
// strings are parts of the request; package keep copies what outlives it. State: the memory of a Decoder, which is reused for the next item.
// Only one goroutine may use a Decoder.
//
// The library pdata is not used because it takes at least five times the processor time and 46 allocations a span; here a request of a
// thousand spans costs none (BenchmarkTraces, 30 November 2026). Without this the exporter would not be four times as fast as the
// spanmetrics connector (make bench-modelquality). The package accepts what pdata accepts, with the same result; a fuzz test compares the
// two.
package otlp

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unsafe"
)

// ErrMalformed means that the bytes are not a valid message.
var ErrMalformed = errors.New("malformed OTLP")

// Kind is the type of a Value.
type Kind uint8

// Kinds of values. Bytes, List and Map have their encoded content as text. A Vector is converted from a List; no client sends one.
const (
	Empty Kind = iota
	String
	Bool
	Int
	Double
	Bytes
	List
	Map
	Vector
)

// Value is the value of an attribute.
type Value struct {
	Kind Kind
	text string
	bits uint64
}

// StringValue returns a String.
func StringValue(s string) Value { return Value{Kind: String, text: s} }

// DoubleValue returns a Double.
func DoubleValue(f float64) Value { return Value{Kind: Double, bits: math.Float64bits(f)} }

// IntValue returns an Int.
func IntValue(i int64) Value { return Value{Kind: Int, bits: uint64(i)} }

// BoolValue returns a Bool.
func BoolValue(b bool) Value {
	if b {
		return Value{Kind: Bool, bits: 1}
	}
	return Value{Kind: Bool}
}

// Text returns the text of a String, and "" for any other kind.
func (v Value) Text() string {
	if v.Kind != String {
		return ""
	}
	return v.text
}

// First returns the first readable value of a List, and any other value unchanged.
func (v Value) First() Value {
	if v.Kind != List {
		return v
	}
	var first Value
	_ = messages(unsafe.Slice(unsafe.StringData(v.text), len(v.text)), 1, func(f field) error { //nolint:gosec // It is only read.
		if first.Kind != Empty {
			return nil
		}
		return first.decode(f.bytes)
	})
	return first
}

// Each calls f with every value of a List, or every key and value of a Map. It stops at the first malformed one.
func (v Value) Each(f func(key string, of Value)) {
	if v.Kind != List && v.Kind != Map {
		return
	}
	_ = messages(unsafe.Slice(unsafe.StringData(v.text), len(v.text)), 1, func(fd field) error { //nolint:gosec // It is only read.
		if v.Kind == Map {
			var space [1]Attribute
			a, err := appendAttribute(space[:0], fd)
			if err == nil {
				f(a[0].Key, a[0].Value)
			}
			return err
		}
		var item Value
		err := item.decode(fd.bytes)
		if err == nil {
			f("", item)
		}
		return err
	})
}

// Truth returns the value of a Bool.
func (v Value) Truth() bool { return v.Kind == Bool && v.bits != 0 }

// Int returns the value of an Int.
func (v Value) Int() int64 { return int64(v.bits) }

// Number returns the value as a number; it also converts texts. It is written so that the compiler inlines it for a Double, as most numbers are.
func (v Value) Number() (f float64, ok bool) {
	if v.Kind == Double {
		f, ok = math.Float64frombits(v.bits), true
	} else {
		f, ok = v.converted()
	}
	return
}

func (v Value) converted() (float64, bool) {
	switch v.Kind {
	case Int:
		return float64(int64(v.bits)), true
	case String:
		f, err := strconv.ParseFloat(v.text, 64)
		return f, err == nil
	}
	return 0, false
}

// Append appends the value as a category: the text of a String, otherwise the shortest form of a number or boolean, as databases write it.
// It appends nothing for other kinds.
func (v Value) Append(b []byte) []byte {
	switch v.Kind {
	case String:
		return append(b, v.text...)
	case Bool:
		return strconv.AppendBool(b, v.bits != 0)
	case Int:
		return strconv.AppendInt(b, int64(v.bits), 10)
	case Double:
		f := math.Float64frombits(v.bits)
		if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return strconv.AppendInt(b, int64(f), 10)
		}
		return strconv.AppendFloat(b, f, 'g', -1, 64)
	}
	return b
}

// Attributes appends the attributes of a Map, or of a String with a JSON object of texts, numbers and booleans.
func (v Value) Attributes(to []Attribute) []Attribute {
	switch v.Kind {
	case Map:
		_ = messages(unsafe.Slice(unsafe.StringData(v.text), len(v.text)), 1, func(f field) (err error) { //nolint:gosec // It is only read.
			to, err = appendAttribute(to, f)
			return err
		})
	case String:
		var object map[string]any
		if len(v.text) < 2 || v.text[0] != '{' || len(v.text) > maxObject || json.Unmarshal([]byte(v.text), &object) != nil {
			return to
		}
		for key, value := range object {
			switch x := value.(type) {
			case string:
				to = append(to, Attribute{key, StringValue(x)})
			case float64:
				to = append(to, Attribute{key, DoubleValue(x)})
			case bool:
				to = append(to, Attribute{key, BoolValue(x)})
			}
		}
	}
	return to
}

// maxObject limits the JSON of a log record's body, in bytes.
const maxObject = 64 << 10

// Clone returns a copy that does not keep the request in memory.
func (v Value) Clone() Value {
	v.text = string([]byte(v.text))
	return v
}

// Attribute is a key with its value.
type Attribute struct {
	Key   string
	Value Value
}

// TraceID is zero if there is none.
type TraceID [16]byte

// SpanID is zero if there is none.
type SpanID [8]byte

// Event is an event of a span.
type Event struct {
	Name       string
	Time       uint64 // Unix time in nanoseconds
	Attributes []Attribute
}

// Status codes of a span.
const (
	StatusUnset = 0
	StatusOK    = 1
	StatusError = 2
)

// Span is one span.
type Span struct {
	Trace      TraceID
	ID, Parent SpanID
	Name       string
	Start, End uint64 // Unix time in nanoseconds
	Status     int32
	// State is the tracestate. Dropped is the number of attributes that the SDK dropped.
	State      string
	Dropped    uint32
	Attributes []Attribute
	Events     []Event
}

// Record is one log record.
type Record struct {
	Trace          TraceID
	Span           SpanID
	Time, Observed uint64 // Unix time in nanoseconds
	EventName      string
	Body           Value
	Attributes     []Attribute
}

// Visitor receives the items of a request. It must not keep them, because the next item overwrites them.
type Visitor interface {
	// Resource starts a new resource.
	Resource(attributes []Attribute)
	Span(s *Span)
	Record(r *Record)
}

// Decoder decodes requests. The zero value is ready for use.
type Decoder struct {
	resource []Attribute
	span     Span
	record   Record
	// attributes are the attributes of all events of one span.
	attributes []Attribute
}

// Traces decodes an ExportTraceServiceRequest.
func (d *Decoder) Traces(body []byte, v Visitor) error {
	return d.request(body, v, func(item field) error {
		if err := d.decodeSpan(item.bytes); err != nil {
			return err
		}
		v.Span(&d.span)
		return nil
	})
}

// Logs decodes an ExportLogsServiceRequest.
func (d *Decoder) Logs(body []byte, v Visitor) error {
	return d.request(body, v, func(item field) error {
		if err := d.decodeRecord(item.bytes); err != nil {
			return err
		}
		v.Record(&d.record)
		return nil
	})
}

// request decodes request → resource → scope → item, whose field numbers are the same for both signals.
func (d *Decoder) request(body []byte, v Visitor, item func(field) error) error {
	return messages(body, 1, func(group field) error {
		// The resource may follow its items.
		d.resource = d.resource[:0]
		err := messages(group.bytes, 1, func(resource field) error {
			return messages(resource.bytes, 1, func(fd field) (err error) {
				d.resource, err = appendAttribute(d.resource, fd)
				return err
			})
		})
		if err != nil {
			return err
		}
		v.Resource(d.resource)
		return messages(group.bytes, 2, func(scope field) error { return messages(scope.bytes, 2, item) })
	})
}

// messages calls f with each field of that number. These fields must be messages.
func messages(b []byte, number uint64, f func(field) error) error {
	for len(b) > 0 {
		fd, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		if fd.number != number {
			continue
		}
		if fd.wire != wireBytes {
			return wrongType(fd)
		}
		if err := f(fd); err != nil {
			return err
		}
	}
	return nil
}

func (d *Decoder) decodeSpan(b []byte) error {
	s := &d.span
	*s = Span{Attributes: s.Attributes[:0], Events: s.Events[:0]}
	d.attributes = d.attributes[:0]
	for {
		if b = s.decodeCommon(b); len(b) == 0 {
			return nil
		}
		fd, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		switch fd.number {
		case 1:
			err = fd.id(s.Trace[:])
		case 2:
			err = fd.id(s.ID[:])
		case 3:
			s.State, err = fd.text()
		case 4:
			err = fd.id(s.Parent[:])
		case 10:
			if fd.wire != wireVarint {
				return wrongType(fd)
			}
			s.Dropped = uint32(fd.bits)
		case 5:
			s.Name, err = fd.text()
		case 7:
			s.Start, err = fd.fixed64()
		case 8:
			s.End, err = fd.fixed64()
		case 9:
			s.Attributes, err = appendAttribute(s.Attributes, fd)
		case 11:
			if fd.wire != wireBytes {
				return wrongType(fd)
			}
			err = d.decodeEvent(fd.bytes)
		case 15:
			if fd.wire != wireBytes {
				return wrongType(fd)
			}
			s.Status, err = status(fd.bytes)
		}
		if err != nil {
			return err
		}
	}
}

// decodeCommon decodes the fields that every span has, in the encoding that every SDK uses. It stops at the first other field and returns the
// rest, which decodeSpan decodes. Together with Attribute.decodeCommon it halves the time of a span.
func (s *Span) decodeCommon(b []byte) []byte {
	const (
		trace, span, parent, name = 1<<3 | wireBytes, 2<<3 | wireBytes, 4<<3 | wireBytes, 5<<3 | wireBytes
		kind, start, end          = 6<<3 | wireVarint, 7<<3 | wireFixed64, 8<<3 | wireFixed64
		attribute, status         = 9<<3 | wireBytes, 15<<3 | wireBytes
	)
	for len(b) >= 10 {
		length := int(b[1])
		switch b[0] {
		case attribute:
			n := len(s.Attributes)
			if n == cap(s.Attributes) {
				s.Attributes = slices.Grow(s.Attributes, 1)
			}
			if length >= 0x80 || len(b) < 2+length || !s.Attributes[:n+1][n].decodeCommon(b[2:2+length]) {
				return b
			}
			s.Attributes = s.Attributes[:n+1]
			b = b[2+length:]
			continue
		case trace:
			if length == len(s.Trace) && len(b) >= 2+len(s.Trace) {
				s.Trace = TraceID(b[2:])
				b = b[2+len(s.Trace):]
				continue
			}
		case span:
			if length == len(s.ID) {
				s.ID = SpanID(b[2:])
				b = b[2+len(s.ID):]
				continue
			}
		case parent:
			switch length {
			case len(s.Parent):
				s.Parent = SpanID(b[2:])
				b = b[2+len(s.Parent):]
				continue
			case 0:
				s.Parent = SpanID{}
				b = b[2:]
				continue
			}
		case name:
			if length < 0x80 && len(b) >= 2+length {
				s.Name = view(b[2 : 2+length])
				b = b[2+length:]
				continue
			}
		case kind:
			if b[1] < 0x80 {
				b = b[2:]
				continue
			}
		case status:
			if length == 0 {
				s.Status = StatusUnset
				b = b[2:]
				continue
			}
		case start:
			s.Start = binary.LittleEndian.Uint64(b[1:])
			b = b[9:]
			continue
		case end:
			s.End = binary.LittleEndian.Uint64(b[1:])
			b = b[9:]
			continue
		}
		return b
	}
	return b
}

// decodeCommon decodes a KeyValue of less than 128 bytes whose value is a text, boolean or number. SDKs write the key first, the OpenTelemetry
// Collector the value.
func (a *Attribute) decodeCommon(b []byte) bool {
	const key, value = 1<<3 | wireBytes, 2<<3 | wireBytes
	if len(b) < 4 {
		return false
	}
	middle := 2 + int(b[1])
	if len(b) < middle+2 || int(b[middle+1]) != len(b)-middle-2 {
		return false
	}
	k, v := b[2:middle], b[middle+2:]
	switch {
	case b[0] == key && b[middle] == value:
	case b[0] == value && b[middle] == key:
		k, v = v, k
	default:
		return false
	}
	a.Key = view(k)
	if len(v) < 2 {
		return false
	}
	// Written in place: a copy of the assembled struct would stall the processor.
	to := &a.Value
	to.text, to.bits = "", 0
	switch v[0] {
	case 1<<3 | wireBytes:
		to.Kind, to.text = String, view(v[2:])
		return int(v[1]) == len(v)-2
	case 2<<3 | wireVarint:
		to.Kind, to.bits = Bool, uint64(v[1])
		return len(v) == 2 && v[1] < 0x80
	case 3<<3 | wireVarint:
		bits, n := varint(v[1:])
		to.Kind, to.bits = Int, bits
		return n == len(v)-1
	case 4<<3 | wireFixed64:
		if len(v) == 9 {
			to.Kind, to.bits = Double, binary.LittleEndian.Uint64(v[1:])
			return true
		}
	}
	return false
}

func (d *Decoder) decodeEvent(b []byte) error {
	var e Event
	first := len(d.attributes)
	for len(b) > 0 {
		fd, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		switch fd.number {
		case 1:
			e.Time, err = fd.fixed64()
		case 2:
			e.Name, err = fd.text()
		case 3:
			d.attributes, err = appendAttribute(d.attributes, fd)
		}
		if err != nil {
			return err
		}
	}
	e.Attributes = d.attributes[first:len(d.attributes):len(d.attributes)]
	d.span.Events = append(d.span.Events, e)
	return nil
}

func (d *Decoder) decodeRecord(b []byte) error {
	r := &d.record
	*r = Record{Attributes: r.Attributes[:0]}
	for len(b) > 0 {
		fd, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		switch fd.number {
		case 1:
			r.Time, err = fd.fixed64()
		case 5:
			if fd.wire != wireBytes {
				return wrongType(fd)
			}
			err = r.Body.decode(fd.bytes)
		case 6:
			r.Attributes, err = appendAttribute(r.Attributes, fd)
		case 9:
			err = fd.id(r.Trace[:])
		case 10:
			err = fd.id(r.Span[:])
		case 11:
			r.Observed, err = fd.fixed64()
		case 12:
			r.EventName, err = fd.text()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// status decodes the code of a Status.
func status(b []byte) (int32, error) {
	var code int32
	for len(b) > 0 {
		fd, rest, err := next(b)
		if err != nil {
			return 0, err
		}
		b = rest
		if fd.number == 3 {
			if fd.wire != wireVarint {
				return 0, wrongType(fd)
			}
			code = int32(fd.bits)
		}
	}
	return code, nil
}

// appendAttribute decodes a KeyValue.
func appendAttribute(to []Attribute, of field) ([]Attribute, error) {
	if of.wire != wireBytes {
		return to, wrongType(of)
	}
	b := of.bytes
	to = append(to, Attribute{})
	a := &to[len(to)-1]
	for len(b) > 0 {
		fd, rest, err := next(b)
		if err != nil {
			return to, err
		}
		b = rest
		switch fd.number {
		case 1:
			a.Key, err = fd.text()
		case 2:
			if fd.wire != wireBytes {
				return to, wrongType(fd)
			}
			err = a.Value.decode(fd.bytes)
		}
		if err != nil {
			return to, err
		}
	}
	return to, nil
}

// decode decodes an AnyValue.
func (v *Value) decode(b []byte) error {
	for len(b) > 0 {
		fd, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		var want byte
		switch fd.number {
		case 1:
			*v, want = Value{Kind: String, text: view(fd.bytes)}, wireBytes
		case 2:
			*v, want = Value{Kind: Bool, bits: fd.bits}, wireVarint
		case 3:
			*v, want = Value{Kind: Int, bits: fd.bits}, wireVarint
		case 4:
			*v, want = Value{Kind: Double, bits: fd.bits}, wireFixed64
		case 5:
			*v, want = Value{Kind: List, text: view(fd.bytes)}, wireBytes
		case 6:
			*v, want = Value{Kind: Map, text: view(fd.bytes)}, wireBytes
		case 7:
			*v, want = Value{Kind: Bytes, text: view(fd.bytes)}, wireBytes
		default:
			continue
		}
		if fd.wire != want {
			return wrongType(fd)
		}
	}
	return nil
}

// view returns the bytes of the request as a string. Nothing writes to these bytes while such strings exist.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) } //nolint:gosec // See above.

func wrongType(f field) error {
	return fmt.Errorf("%w: field %d has wire type %d", ErrMalformed, f.number, f.wire)
}
