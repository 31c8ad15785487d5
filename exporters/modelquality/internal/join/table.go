package join

import "github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"

// table remembers something of the last spans, in a bounded number of sets of a few each.
type table[V any] struct {
	sets []set[V]
}

const each = 4

type set[V any] struct {
	ids    [each]ID
	values [each]V
	oldest uint8
}

func newTable[V any](spans int) table[V] {
	size := 1
	for size*each < 2*spans {
		size *= 2
	}
	return table[V]{make([]set[V], size)}
}

func (t *table[V]) set(id *ID) *set[V] { return &t.sets[int(hash(id)>>24)&(len(t.sets)-1)] }

// find returns nil for a span that is not remembered.
func (t *table[V]) find(id ID) *V {
	s := t.set(&id)
	for i := range s.ids {
		if s.ids[i] == id && id != (ID{}) {
			return &s.values[i]
		}
	}
	return nil
}

// put returns where to write what is remembered of a span: what there was, or a zero value.
func (t *table[V]) put(id ID) *V {
	if v := t.find(id); v != nil {
		return v
	}
	s := t.set(&id)
	i := s.oldest
	s.oldest = (i + 1) % each
	s.ids[i], s.values[i] = id, *new(V)
	return &s.values[i]
}

// Counted is an inference that was counted before the span above it came.
type Counted[S comparable] struct {
	Series S
	// Has are the numbers that it brought.
	Has uint16
}

// maxDepth is how many spans may lie between an inference and the one above it.
const maxDepth = 32

// Link remembers the parent of a span.
func (j *Join[S, W]) Link(id ID, parent otlp.SpanID) { *j.links.put(id) = parent }

// Linked reports whether a span has come.
func (j *Join[S, W]) Linked(id ID) bool { return j.links.find(id) != nil }

// Above returns the nearest inference at a span or above it. If there is none, missing is the first span on the way up
// that has not come; it is zero past the root.
func (j *Join[S, W]) Above(trace otlp.TraceID, span otlp.SpanID) (above Inference[S], missing otlp.SpanID, ok bool) {
	for range maxDepth {
		if span == (otlp.SpanID{}) {
			return above, span, false
		}
		id := ID{trace, span}
		if i, ok := j.Find(id); ok {
			return i, span, true
		}
		parent := j.links.find(id)
		if parent == nil {
			return above, span, false
		}
		span = *parent
	}
	return above, otlp.SpanID{}, false
}

// Parent returns the parent of a span that has come.
func (j *Join[S, W]) Parent(id ID) otlp.SpanID {
	if p := j.links.find(id); p != nil {
		return *p
	}
	return otlp.SpanID{}
}

// Await remembers that an inference was counted whose parent has not come.
func (j *Join[S, W]) Await(parent ID, c Counted[S]) {
	if parent.Span == (otlp.SpanID{}) {
		return
	}
	j.awaited = true
	to := j.counted.put(parent)
	to.Series = c.Series
	to.Has |= c.Has
}

// Awaited reports whether Await was ever called.
func (j *Join[S, W]) Awaited() bool { return j.awaited }

// Below returns what was counted below a span before that came.
func (j *Join[S, W]) Below(id ID) (Counted[S], bool) {
	if c := j.counted.find(id); c != nil {
		return *c, true
	}
	return Counted[S]{}, false
}

// OfTrace remembers an inference as that of its trace. One that answers with text is preferred to one that does not.
func (j *Join[S, W]) OfTrace(id ID, series S, embeds bool) {
	key := ID{Trace: id.Trace, Span: otlp.SpanID{0: 0xff}}
	if old := j.traces.find(key); old != nil && embeds && !old.embeds {
		return
	}
	*j.traces.put(key) = ofTrace[S]{series, embeds}
}

// FindTrace returns what the inference of a trace was counted under.
func (j *Join[S, W]) FindTrace(trace otlp.TraceID) (S, bool) {
	if t := j.traces.find(ID{Trace: trace, Span: otlp.SpanID{0: 0xff}}); t != nil && trace != (otlp.TraceID{}) {
		return t.series, true
	}
	return *new(S), false
}

type ofTrace[S comparable] struct {
	series S
	embeds bool
}

// Repeated reports whether an evaluation with the hash was found in the other kind of request: SDKs send one both as an
// event and as a log record.
func (j *Join[S, W]) Repeated(id ID, hash uint64, logged bool) bool {
	for i := range 8 {
		id.Trace[i] ^= byte(hash >> (8 * i))
	}
	seen := j.evaluations.put(id)
	mine, other := &seen[0], &seen[1]
	if logged {
		mine, other = other, mine
	}
	if *other > 0 {
		*other--
		return true
	}
	if *mine < 255 {
		*mine++
	}
	return false
}
