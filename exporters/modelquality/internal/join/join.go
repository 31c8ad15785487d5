// Package join brings together what belongs to one inference and arrives apart.
//
// Input: inferences as they are seen, and child spans and evaluations that may arrive before or after them, also in
// other requests. Output: pairs: what arrived late finds its inference among the last ones, what arrived early waits
// for it, for a bounded time and in bounded number. The Join owns both memories, of a size that does not depend on what
// is sent.
package join

import (
	"encoding/binary"
	"hash/maphash"
	"sync"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

// ID names a span.
type ID struct {
	Trace otlp.TraceID
	Span  otlp.SpanID
}

// Inference is what is remembered of one.
type Inference[S comparable] struct {
	ID     ID
	Parent otlp.SpanID
	// Series is what the inference was counted under.
	Series S
	// Has are the numbers that it brought itself.
	Has uint16
	// Embeds says that it answered with no text.
	Embeds bool

	response uint64 // hash of the response's id
}

// Join remembers the last inferences and what waits for one. S is what inferences are counted under, W what waits.
type Join[S comparable, W any] struct {
	seed maphash.Seed

	mu      sync.Mutex
	recent  memory[Inference[S]]
	byReply memory[Inference[S]]
	// links has the spans that are no inference, counted the inferences below spans that have not come, by those. Most of
	// those come with the next requests, so a part of the room will do.
	links       memory[link]
	counted     memory[Counted[S]]
	traces      memory[Trace[S]]
	last        *Trace[S] // of traces: most spans of a trace come one after the other
	evaluations memory[evaluated]
	waiting     map[ID][]waiter[W]
	order       []queued // of waiting, the oldest first
	count       int
	most        int
}

type waiter[W any] struct {
	item W
	at   int64
}

type queued struct {
	id ID
	at int64
}

// part is the part of the inferences that the smaller memories have room for.
const part = 4

// New makes a Join that remembers about as many inferences, and at most as many waiters.
func New[S comparable, W any](inferences, waiters int) *Join[S, W] {
	return &Join[S, W]{
		seed: maphash.MakeSeed(), recent: newMemory[Inference[S]](inferences), byReply: newMemory[Inference[S]](inferences),
		links: newMemory[link](inferences), counted: newMemory[Counted[S]](inferences / part), traces: newMemory[Trace[S]](inferences),
		evaluations: newMemory[evaluated](inferences / part),
		waiting:     make(map[ID][]waiter[W]), most: waiters,
	}
}

// Lock begins a series of calls, and Unlock ends it: a request has hundreds of spans.
func (j *Join[S, W]) Lock() { j.mu.Lock() }

// Unlock ends what Lock began.
func (j *Join[S, W]) Unlock() { j.mu.Unlock() }

// Add remembers an inference, and returns its trace, or nil where it has none. The lock must be held, as for all that follow.
func (j *Join[S, W]) Add(i Inference[S], responseID string) *Trace[S] {
	if responseID != "" {
		i.response = maphash.String(j.seed, responseID)
		*j.byReply.add(i.response) = i
	}
	if i.ID.Trace == (otlp.TraceID{}) {
		*j.recent.add(hash(&i.ID)) = i
		return nil
	}
	t, first := j.another(i.ID.Trace)
	if first {
		t.only, t.lone = i, true
	} else {
		*j.recent.add(hash(&i.ID)) = i
	}
	if !i.Embeds || t.embeds {
		t.series, t.embeds = i.Series, i.Embeds
	}
	return t
}

func hash(id *ID) uint64 {
	const odd = 0x9e3779b97f4a7c15 // spreads ids that were counted up and not drawn: they differ in the highest byte read here
	h := binary.LittleEndian.Uint64(id.Span[:])*odd ^ binary.LittleEndian.Uint64(id.Trace[8:])
	h ^= h >> 32
	return h * odd
}

// Find returns the inference of that name.
func (j *Join[S, W]) Find(id ID) (Inference[S], bool) {
	if id.Span == (otlp.SpanID{}) {
		return Inference[S]{}, false
	}
	j.settle(j.trace(id.Trace))
	return found(j.recent.find(hash(&id), func(i *Inference[S]) bool { return i.ID == id }))
}

// FindResponse returns the last inference with that response.
func (j *Join[S, W]) FindResponse(responseID string) (Inference[S], bool) {
	if responseID == "" {
		return Inference[S]{}, false
	}
	h := maphash.String(j.seed, responseID)
	return found(j.byReply.find(h, func(i *Inference[S]) bool { return i.response == h && i.Series != *new(S) }))
}

func found[S comparable](i *Inference[S]) (Inference[S], bool) {
	if i == nil {
		return Inference[S]{}, false
	}
	return *i, true
}

// Wait keeps an item until its inference is seen. It returns false if there is no more room.
func (j *Join[S, W]) Wait(id ID, item W, now int64) bool {
	// What was taken keeps its place in the order until it would have expired.
	if j.count >= j.most || len(j.order) >= 2*j.most {
		return false
	}
	j.waiting[id] = append(j.waiting[id], waiter[W]{item, now})
	j.order = append(j.order, queued{id, now})
	j.count++
	return true
}

// Awaited reports whether anything waits for an inference.
func (j *Join[S, W]) Awaited() bool { return len(j.waiting) > 0 }

// Take returns what waits for an inference that has come.
func (j *Join[S, W]) Take(id ID) []W {
	list, ok := j.waiting[id]
	if !ok {
		return nil
	}
	delete(j.waiting, id)
	j.count -= len(list)
	items := make([]W, len(list))
	for i, w := range list {
		items[i] = w.item
	}
	return items
}

// Expire returns what has waited since before a time in vain.
func (j *Join[S, W]) Expire(before int64) []W {
	var items []W
	done := 0
	for _, q := range j.order {
		if q.at >= before {
			break
		}
		done++
		kept := j.waiting[q.id][:0]
		for _, w := range j.waiting[q.id] {
			if w.at < before {
				items = append(items, w.item)
				j.count--
			} else {
				kept = append(kept, w)
			}
		}
		if len(kept) == 0 {
			delete(j.waiting, q.id)
		} else {
			j.waiting[q.id] = kept
		}
	}
	j.order = append(j.order[:0], j.order[done:]...)
	return items
}
