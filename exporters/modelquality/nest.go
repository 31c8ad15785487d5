package modelquality

import (
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/join"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/keep"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/metering"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// maxAnswered limits the hosted models whose last version is remembered.
const maxAnswered = 1000

// maxNested is the largest number of nested inferences of one call. It also ends a loop of parents that form a cycle.
const maxNested = 32

// release sets the version of a failed call of a hosted model to the last version that answered, because a failed call has no response. The
// caller holds the join's lock.
func (p *pipeline) release(o *convention.Observation) {
	switch {
	case !o.Hosted:
	case o.Version != "":
		last, known := p.answered.Get(keep.Name(o.Model))
		if last.String() != o.Version && (known || p.answered.Len() < maxAnswered) {
			p.answered.Put(keep.Name(o.Model), func(keep.Name) keep.Text { return keep.Copy(o.Version) })
		}
	case o.Outcome != convention.OK:
		last, _ := p.answered.Get(keep.Name(o.Model))
		o.Version = last.String()
	}
}

// inherit copies the version from an inference to the calls above it in the same request that have none. If two libraries instrument a
// call, the outer one may not know the response's model name.
func inherit(b *convention.Batch) {
	if b.Unversioned == 0 || b.Unversioned == len(b.Observations) {
		return
	}
	type above struct {
		parent otlp.SpanID
		call   *convention.Observation // nil if the span is not an inference
	}
	spans := make(map[join.ID]above, len(b.Observations)+len(b.Links))
	for i := range b.Links {
		l := &b.Links[i]
		spans[join.ID{Trace: l.Trace, Span: l.Span}] = above{l.Parent, nil}
	}
	for i := range b.Observations {
		if o := &b.Observations[i]; o.Phase == convention.InferencePhase {
			spans[join.ID{Trace: o.Trace, Span: o.Span}] = above{o.Parent, o}
		}
	}
	for i := range b.Observations {
		o := &b.Observations[i]
		if !o.Hosted || o.Version == "" {
			continue
		}
		at := o.Parent
		for range maxNested {
			up, ok := spans[join.ID{Trace: o.Trace, Span: at}]
			if c := up.call; !ok || c != nil && (!c.Hosted || c.Version != "" || convention.Base(c.Model) != convention.Base(o.Model)) {
				break
			} else if c != nil {
				c.Version = o.Version
			}
			at = up.parent
		}
	}
}

// nest finds the inferences of a batch that are nested in others of the same call, which two libraries instrument. Other spans may be
// between them. A nested one only adds the values that the other lacks. The caller holds the join's lock.
func (p *pipeline) nest(w *worker) {
	b := &w.batch
	var below []join.Counted[*metering.Series]
	// A link passes on the inferences that were counted under it before it arrived: to the inference above it, or to the missing span.
	for i := range b.Links {
		l := &b.Links[i]
		below = p.join.Below(below[:0], join.ID{Trace: l.Trace, Span: l.Span})
		if len(below) == 0 {
			continue
		}
		_, missing := p.join.Above(l.Trace, l.Parent)
		for _, c := range below {
			p.join.Await(join.ID{Trace: l.Trace, Span: missing}, c.Series, c.Has)
		}
	}
	for i := range b.Observations {
		o := &b.Observations[i]
		if o.Trace == (otlp.TraceID{}) || w.traces[i].Alone(o.Trace) {
			continue
		}
		if o.Phase != convention.InferencePhase {
			parent, ok := p.join.Find(join.ID{Trace: o.Trace, Span: o.Parent})
			w.nested[i] = ok && parent.Series == w.series[i]
			continue
		}
		below = p.join.Below(below[:0], join.ID{Trace: o.Trace, Span: o.Span})
		for _, c := range below {
			if sameCall(c.Series, w.series[i]) {
				w.nested[i] = true
				w.skip[i] |= c.Has
			}
		}
		above, missing := p.join.Above(o.Trace, o.Parent)
		if above == nil {
			p.join.Await(join.ID{Trace: o.Trace, Span: missing}, w.series[i], o.Has)
		}
		for range maxNested {
			if above == nil || above.ID.Span == o.Span || !sameCall(above.Series, w.series[i]) {
				break
			}
			w.nested[i] = true
			w.skip[i] |= above.Has
			above, _ = p.join.Above(o.Trace, above.Parent)
		}
	}
}

// sameCall reports whether two nested inferences are the same call: their model is the same, and their versions are not two different known
// ones.
func sameCall(a, b *metering.Series) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.Model == limit.Other || convention.Base(a.Model) != convention.Base(b.Model) {
		return false
	}
	return a.Version == "" || b.Version == "" || convention.Base(a.Version) == convention.Base(b.Version)
}
