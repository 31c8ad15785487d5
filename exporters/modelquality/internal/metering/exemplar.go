package metering

import (
	"encoding/hex"
	"math"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/histogram"
)

// Exemplar is the trace that a value was seen in, and the run that trained the model.
type Exemplar = histogram.Exemplar

// Reason is why a trace is worth a look.
type Reason uint8

// The reasons.
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

// A trace stays for a minute at least, so that its series do not come faster than alerts can use them; gives way after two hours
// even to one that is less bad; and is gone 15 minutes after the last that could have followed.
//
// Each trace that is shown is a new series, so there is a budget: changes in store, and one more every two hours. A day has 19 for
// each of five reasons at most, which is fewer than 100 for a version. A model whose traces become worse and worse, or come one by
// one, uses the store up first.
const (
	stays   = int64(time.Minute)
	waits   = 5 * int64(time.Minute)
	gone    = 15 * int64(time.Minute)
	fresh   = 2 * int64(time.Hour)
	inStore = 6
	refill  = 2 * int64(time.Hour)
)

// place holds the trace that is shown for one reason, and the worst one that could follow.
type place struct {
	shown, next seen
	since       int64 // when shown began to be shown
	offered     int64 // when a trace was offered last
	changes     int64 // that the budget still has
	refilled    int64
}

// seen is a trace and how bad it is.
type seen struct {
	trace string
	run   string
	bad   float64
	at    int64
}

var nothing = seen{bad: math.Inf(-1)}

func newPlace() place { return place{next: nothing, changes: inStore} }

// offer proposes a trace: the larger bad, the worse.
func (p *place) offer(bad float64, e *Exemplar) {
	if e.Trace == [16]byte{} {
		return
	}
	p.offered = e.Now
	if bad > p.next.bad {
		p.next = seen{hex.EncodeToString(e.Trace[:]), histogram.RunLabel(e.Run), bad, e.Now}
	}
}

// current returns what to show now.
func (p *place) current(now int64) (seen, bool) {
	if p.refilled == 0 {
		p.refilled = now
	}
	if n := (now - p.refilled) / refill; n > 0 {
		p.changes = min(inStore, p.changes+n)
		p.refilled += n * refill
	}
	if p.shown.trace != "" && now-p.offered > gone {
		p.shown = seen{}
	}
	if p.next.trace != "" {
		free := p.shown.trace == "" || now-p.since >= fresh || p.next.bad > p.shown.bad
		if free && now-p.since >= stays && p.changes > 0 {
			p.shown, p.since = p.next, now
			p.next = nothing
			p.changes--
		} else if now-p.next.at >= waits {
			p.next = nothing
		}
	}
	return p.shown, p.shown.trace != ""
}
