package metering

import (
	"encoding/hex"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

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

// A trace stays for a minute at least, so that its series do not come faster than alerts can use them; gives way after
// five even to one that is less bad; and is gone after fifteen, when a trace store may have dropped it.
const (
	stays = int64(time.Minute)
	fresh = 5 * int64(time.Minute)
	gone  = 15 * int64(time.Minute)
)

// place holds the trace that is shown for one reason, and the worst one that could follow.
type place struct {
	// worst is the badness of next, read without the lock for every span.
	worst       atomic.Uint64
	mu          sync.Mutex
	shown, next seen
	since       int64 // when shown began to be shown
}

// seen is a trace and how bad it is.
type seen struct {
	trace string
	run   string
	bad   float64
	at    int64
}

func newPlace() *place {
	p := &place{}
	p.worst.Store(math.Float64bits(math.Inf(-1)))
	return p
}

// offer proposes a trace: the larger bad, the worse.
func (p *place) offer(bad float64, e Exemplar) {
	if !(bad > math.Float64frombits(p.worst.Load())) || e.Trace == (otlp.TraceID{}) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !(bad > math.Float64frombits(p.worst.Load())) {
		return
	}
	p.next = seen{hex.EncodeToString(e.Trace[:]), runLabel(e.Run), bad, e.Now}
	p.worst.Store(math.Float64bits(bad))
}

// current returns what to show now.
func (p *place) current(now int64) (seen, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown.trace != "" && now-p.shown.at > gone {
		p.shown = seen{}
	}
	if p.next.trace != "" {
		free := p.shown.trace == "" || now-p.since >= fresh || p.next.bad > p.shown.bad
		if free && now-p.since >= stays {
			p.shown, p.since = p.next, now
			p.clear()
		} else if now-p.next.at >= fresh {
			p.clear()
		}
	}
	return p.shown, p.shown.trace != ""
}

// clear makes room for the next one. The lock is held.
func (p *place) clear() {
	p.next = seen{}
	p.worst.Store(math.Float64bits(math.Inf(-1)))
}
