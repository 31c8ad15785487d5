package modelquality

import (
	"strings"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/join"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/metering"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// maxAnswered bounds the hosted models whose last version is remembered.
const maxAnswered = 1000

// maxNested is how many inferences of one call may lie above another. Parents may also form a ring.
const maxNested = 32

// release gives a failed call of a hosted model the version that answered last: no answer said it. The join is locked.
func (p *pipeline) release(o *convention.Observation) {
	switch {
	case !o.Hosted:
	case o.Version != "":
		if p.answered[o.Model] == o.Version {
			return
		}
		if _, known := p.answered[o.Model]; known || len(p.answered) < maxAnswered {
			p.answered[strings.Clone(o.Model)] = strings.Clone(o.Version)
		}
	case o.Outcome != convention.OK:
		o.Version = p.answered[o.Model]
	}
}

// inherit gives calls the version that a part of them in the same request says: of two libraries that see a call, the outer
// one may not say the name of the answer.
func inherit(b *convention.Batch) {
	if b.Unversioned == 0 || b.Unversioned == len(b.Observations) {
		return
	}
	type above struct {
		parent otlp.SpanID
		call   *convention.Observation // nil where the span is none
	}
	spans := make(map[join.ID]above, len(b.Observations)+len(b.Links))
	for i := range b.Links {
		l := &b.Links[i]
		spans[join.ID{Trace: l.Trace, Span: l.Span}] = above{l.Parent, nil}
	}
	for i := range b.Observations {
		if o := &b.Observations[i]; o.Phase == convention.Whole {
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

// nest finds the inferences of a batch that are parts of others: the same call, seen by two libraries, also with other
// spans between. A part only adds what the other one lacks. The join is locked.
func (p *pipeline) nest(w *worker) {
	b := &w.batch
	var below []join.Counted[*metering.Series]
	// A span between hands on what was counted below it before it came, to the inference above it or the span that lacks.
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
		if o.Phase != convention.Whole {
			parent, ok := p.join.Find(join.ID{Trace: o.Trace, Span: o.Parent})
			w.part[i] = ok && parent.Series == w.series[i]
			continue
		}
		below = p.join.Below(below[:0], join.ID{Trace: o.Trace, Span: o.Span})
		for _, c := range below {
			if sameCall(c.Series, w.series[i]) {
				w.part[i] = true
				w.skip[i] |= c.Has
			}
		}
		above, missing := p.join.Above(o.Trace, o.Parent)
		if above == nil {
			p.join.Await(join.ID{Trace: o.Trace, Span: missing}, w.series[i], o.Has())
		}
		for range maxNested {
			if above == nil || above.ID.Span == o.Span || !sameCall(above.Series, w.series[i]) {
				break
			}
			w.part[i] = true
			w.skip[i] |= above.Has
			above, _ = p.join.Above(o.Trace, above.Parent)
		}
	}
}

// sameCall reports whether two inferences, one below the other, are one call: of the same model, and not of versions that
// both are known and differ.
func sameCall(a, b *metering.Series) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.Model == limit.Other || convention.Base(a.Model) != convention.Base(b.Model) {
		return false
	}
	return a.Version == "" || b.Version == "" || convention.Base(a.Version) == convention.Base(b.Version)
}
