package join

import "github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"

// link is a span that is not an inference.
type link struct {
	id     ID
	parent otlp.SpanID
}

// Counted is an inference that was counted before its parent span arrived.
type Counted[S comparable] struct {
	Series S
	// Has are the bits of the values that it had.
	Has uint16

	above ID // the span that has not arrived
}

// Trace is what is remembered of a trace.
type Trace[S comparable] struct {
	id otlp.TraceID
	// only is the trace's inference, until another span arrives or an inference of the trace is searched for. Most traces of services that
	// start their own traces stay in this state, which is cheap. awaits means that Await must be called for it when the state ends.
	only         Inference[S]
	lone, awaits bool
	// series is the series of the trace. embeds means that its inference returned embeddings instead of text.
	series S
	embeds bool
}

// evaluated counts the evaluations that arrived in one kind of request but not in the other.
type evaluated struct {
	id   ID
	seen [2]uint8
}

// maxDepth is the largest number of spans between two nested inferences.
const maxDepth = 32

// Link remembers the parent of a span that is not an inference.
func (j *Join[S, W]) Link(id ID, parent otlp.SpanID) {
	j.another(id.Trace)
	l := j.link(id)
	if l == nil {
		l = j.links.add(hash(&id))
	}
	*l = link{id, parent}
}

func (j *Join[S, W]) link(id ID) *link {
	return j.links.find(hash(&id), func(l *link) bool { return l.id == id })
}

// Linked reports whether a span that is not an inference has arrived.
func (j *Join[S, W]) Linked(id ID) bool { return j.link(id) != nil }

// Above returns the nearest inference at or above a span; it is valid until the next Add. If there is none, it returns nil and the first
// ancestor that has not arrived, which is zero above the root.
func (j *Join[S, W]) Above(trace otlp.TraceID, span otlp.SpanID) (above *Inference[S], missing otlp.SpanID) {
	j.settle(j.trace(trace))
	for range maxDepth {
		if span == (otlp.SpanID{}) {
			return nil, span
		}
		id := ID{trace, span}
		h := hash(&id)
		if i := j.recent.find(h, func(i *Inference[S]) bool { return i.ID == id }); i != nil {
			return i, span
		}
		l := j.links.find(h, func(l *link) bool { return l.id == id })
		if l == nil {
			return nil, span
		}
		span = l.parent
	}
	return nil, otlp.SpanID{}
}

// Await remembers that an inference was counted under a span that has not arrived.
func (j *Join[S, W]) Await(above ID, series S, has uint16) {
	if above.Span == (otlp.SpanID{}) {
		return
	}
	h := hash(&above)
	if c := j.counted.find(h, func(c *Counted[S]) bool { return c.above == above && c.Series == series }); c != nil {
		c.Has |= has
		return
	}
	*j.counted.add(h) = Counted[S]{Series: series, Has: has, above: above}
}

// Below appends the inferences that were counted under a span before it arrived.
func (j *Join[S, W]) Below(list []Counted[S], id ID) []Counted[S] {
	j.counted.find(hash(&id), func(c *Counted[S]) bool {
		if c.above == id {
			list = append(list, *c)
		}
		return false
	})
	return list
}

// trace returns what is remembered of a trace, or nil.
func (j *Join[S, W]) trace(id otlp.TraceID) *Trace[S] {
	if t := j.last; t != nil && t.id == id {
		return t
	}
	t := j.traces.find(hash(&ID{Trace: id}), func(t *Trace[S]) bool { return t.id == id })
	if t != nil {
		j.last = t
	}
	return t
}

// another returns the entry of a trace of which another span has arrived, and whether it is the first.
func (j *Join[S, W]) another(id otlp.TraceID) (t *Trace[S], first bool) {
	if t = j.trace(id); t != nil {
		j.settle(t)
		return t, false
	}
	t = j.traces.add(hash(&ID{Trace: id}))
	// only is set by the caller. Its content is invalid unless lone is true.
	t.id, t.lone, t.awaits, t.series, t.embeds = id, false, false, *new(S), true
	j.last = t
	return t, true
}

// settle stores the only inference of a trace like all other inferences, so that it can be found.
func (j *Join[S, W]) settle(t *Trace[S]) {
	if t == nil || !t.lone {
		return
	}
	t.lone = false
	*j.recent.add(hash(&t.only.ID)) = t.only
	if t.awaits {
		j.Await(ID{Trace: t.id, Span: t.only.Parent}, t.only.Series, t.only.Has)
	}
}

// Alone reports whether an inference is the only span of its trace so far. It has no parent or child then. The trace remembers what Await
// otherwise would.
func (t *Trace[S]) Alone(id otlp.TraceID) bool {
	if t == nil || !t.lone || t.id != id {
		return false
	}
	t.awaits = true
	return true
}

// FindTrace returns the series of the inference of a trace.
func (j *Join[S, W]) FindTrace(trace otlp.TraceID) (S, bool) {
	if trace == (otlp.TraceID{}) {
		return *new(S), false
	}
	t := j.trace(trace)
	if t == nil {
		return *new(S), false
	}
	return t.series, t.series != *new(S)
}

// Repeated reports whether the other kind of request already had an evaluation with this hash. SDKs send the same evaluation both as an
// event and as a log record.
func (j *Join[S, W]) Repeated(id ID, verdict uint64, logged bool) bool {
	for i := range 8 {
		id.Trace[i] ^= byte(verdict >> (8 * i))
	}
	h := hash(&id) ^ verdict
	e := j.evaluations.find(h, func(e *evaluated) bool { return e.id == id })
	if e == nil {
		e = j.evaluations.add(h)
		*e = evaluated{id: id}
	}
	same, other := &e.seen[0], &e.seen[1]
	if logged {
		same, other = other, same
	}
	if *other > 0 {
		*other--
		return true
	}
	if *same < 255 {
		*same++
	}
	return false
}
