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

// Trace has the inference that stands for a trace.
type Trace[S comparable] struct {
	trace  otlp.TraceID
	series S
	embeds bool
	// several says that more than one span has come, awaits that the only one was found alone. parent and has are its.
	several, awaits bool
	has             uint16
	parent          otlp.SpanID
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
	j.trace(id.Trace)
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

// trace returns what is known of a trace of which one more span has come.
func (j *Join[S, W]) trace(id otlp.TraceID) *Trace[S] {
	t := j.last
	if t == nil || t.trace != id {
		h := hash(&ID{Trace: id})
		t = j.traces.find(h, func(t *Trace[S]) bool { return t.trace == id })
		if t == nil {
			t = j.traces.add(h)
			*t = Trace[S]{trace: id, embeds: true}
			j.last = t
			return t
		}
		j.last = t
	}
	t.several = true
	if t.awaits {
		j.Await(ID{Trace: id, Span: t.parent}, t.series, t.has)
		t.awaits = false
	}
	return t
}

// add makes an inference stand for its trace: the last one, and rather one that answers with text than one that does not.
func (t *Trace[S]) add(i *Inference[S]) {
	t.parent, t.has = i.Parent, i.Has
	if !i.Embeds || t.embeds {
		t.series, t.embeds = i.Series, i.Embeds
	}
}

// Alone reports whether an inference is still the only span of its trace that has come. Nothing can be above or below it
// then. What Await would remember the trace does, until a second span comes.
func (t *Trace[S]) Alone(trace otlp.TraceID) bool {
	if t == nil || t.several || t.trace != trace {
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
	t := j.traces.find(hash(&ID{Trace: trace}), func(t *Trace[S]) bool { return t.trace == trace })
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
