package join

import "github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"

// link is a span that is no inference.
type link struct {
	id     ID
	parent otlp.SpanID
}

// Counted is an inference that was counted before the span above it came.
type Counted[S comparable] struct {
	Series S
	// Has are the numbers that it brought.
	Has uint16

	above ID // the span that has not come
}

// Trace is what is known of a trace.
type Trace[S comparable] struct {
	id otlp.TraceID
	// only is its inference, as long as no other span has come and nobody has looked for one. Most traces of a service that
	// starts them itself stay so, and cost no more than this. awaits says that Await is to be called with it after that.
	only         Inference[S]
	lone, awaits bool
	// series stands for the trace. embeds says that its inference answered with no text.
	series S
	embeds bool
}

// evaluated counts the evaluations that were found in one kind of request and not in the other.
type evaluated struct {
	id   ID
	seen [2]uint8
}

// maxDepth is how many spans may lie between an inference and the one above it.
const maxDepth = 32

// Link remembers the parent of a span that is no inference.
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

// Linked reports whether a span that is no inference has come.
func (j *Join[S, W]) Linked(id ID) bool { return j.link(id) != nil }

// Above returns the nearest inference at a span or above it, until the next is added. If there is none, it is nil, and
// missing is the first span on the way up that has not come; that is zero past the root.
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

// Await remembers that an inference was counted below a span that has not come.
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

// Below appends what was counted below a span before that came.
func (j *Join[S, W]) Below(list []Counted[S], id ID) []Counted[S] {
	j.counted.find(hash(&id), func(c *Counted[S]) bool {
		if c.above == id {
			list = append(list, *c)
		}
		return false
	})
	return list
}

// trace returns what is known of a trace, or nil.
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

// another returns what is known of a trace of which one more span has come, and whether it is the first.
func (j *Join[S, W]) another(id otlp.TraceID) (t *Trace[S], first bool) {
	if t = j.trace(id); t != nil {
		j.settle(t)
		return t, false
	}
	t = j.traces.add(hash(&ID{Trace: id}))
	// Its only inference is written when it comes; while it is not alone, what is there means nothing.
	t.id, t.lone, t.awaits, t.series, t.embeds = id, false, false, *new(S), true
	j.last = t
	return t, true
}

// settle lets the only inference of a trace be found as all others are.
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

// Alone reports whether an inference is the only span of its trace that has come. Nothing can be above or below it then, and
// what Await would remember the trace does.
func (t *Trace[S]) Alone(id otlp.TraceID) bool {
	if t == nil || !t.lone || t.id != id {
		return false
	}
	t.awaits = true
	return true
}

// FindTrace returns what the inference of a trace was counted under.
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

// Repeated reports whether an evaluation with the hash was found in the other kind of request: SDKs send one both as an
// event and as a log record.
func (j *Join[S, W]) Repeated(id ID, said uint64, logged bool) bool {
	for i := range 8 {
		id.Trace[i] ^= byte(said >> (8 * i))
	}
	h := hash(&id) ^ said
	e := j.evaluations.find(h, func(e *evaluated) bool { return e.id == id })
	if e == nil {
		e = j.evaluations.add(h)
		*e = evaluated{id: id}
	}
	mine, other := &e.seen[0], &e.seen[1]
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
