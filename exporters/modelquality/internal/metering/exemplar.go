package metering

import (
	"encoding/hex"
	"math"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/histogram"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/keep"
)

// Exemplar is the trace of a value's span, and the run that trained the model.
type Exemplar = histogram.Exemplar

// Reason is why a trace is published as an example.
type Reason uint8

// Reasons.
const (
	Slow Reason = iota
	Failed
	LowGroundedness
	LowConfidence
	UnseenCategory
	reasons
)

// String is the value of the label reason.
func (r Reason) String() string {
	return [reasons]string{"slow", "error", "low_groundedness", "low_confidence", "unseen_category"}[r]
}

// A published trace stays for at least minShown, because alerts cannot use a faster change of series. After minAge, a less bad trace may
// replace it. It is removed maxIdle after the last trace was offered. An offered trace waits at most maxWait.
//
// Each published trace is a new series, so changes are limited: 6 at once (inStore), and one more every two hours (refill). A day has at
// most 19 changes for each of five reasons, thus fewer than 100 series for a version. A model whose traces become worse and worse, or
// arrive one by one, uses up the 6 first.
const (
	minShown = int64(time.Minute)
	maxWait  = 5 * int64(time.Minute)
	maxIdle  = 15 * int64(time.Minute)
	minAge   = 2 * int64(time.Hour)
	inStore  = 6
	refill   = 2 * int64(time.Hour)
)

// traceSlot has the published trace of one reason, and the worst trace that could replace it.
type traceSlot struct {
	published, next candidate
	publishedAt     int64 // time at which it was published
	offered         int64 // time at which a trace was last offered
	changes         int64 // remaining changes
	refilled        int64
}

// candidate is a trace and its badness.
type candidate struct {
	trace string
	run   keep.Text
	bad   float64
	at    int64
}

var nothing = candidate{bad: math.Inf(-1)}

func newTraceSlot() traceSlot { return traceSlot{next: nothing, changes: inStore} }

// offer proposes a trace. A larger bad is worse.
func (p *traceSlot) offer(bad float64, e *Exemplar) {
	if e.Trace == [16]byte{} {
		return
	}
	p.offered = e.Now
	if bad > p.next.bad {
		p.next = candidate{hex.EncodeToString(e.Trace[:]), histogram.RunLabel(e.Run), bad, e.Now}
	}
}

// current returns the trace to publish.
func (p *traceSlot) current(now int64) (candidate, bool) {
	if p.refilled == 0 {
		p.refilled = now
	}
	if n := (now - p.refilled) / refill; n > 0 {
		p.changes = min(inStore, p.changes+n)
		p.refilled += n * refill
	}
	if p.published.trace != "" && now-p.offered > maxIdle {
		p.published = candidate{}
	}
	if p.next.trace != "" {
		free := p.published.trace == "" || now-p.publishedAt >= minAge || p.next.bad > p.published.bad
		if free && now-p.publishedAt >= minShown && p.changes > 0 {
			p.published, p.publishedAt = p.next, now
			p.next = nothing
			p.changes--
		} else if now-p.next.at >= maxWait {
			p.next = nothing
		}
	}
	return p.published, p.published.trace != ""
}
