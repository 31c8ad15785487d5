// Package join connects spans and evaluations to their inference if they arrive separately.
//
// Input: inferences as they arrive, and nested spans and evaluations. These may arrive before or after their inference, and in other
// requests. Output: pairs. A late item finds its inference among the recent ones. An early item waits for its inference, for a limited
// time. State: the recent inferences and the waiting items. Both have a fixed size that clients cannot increase.
package join

import (
	"encoding/binary"
	"hash/maphash"
	"sync"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/keep"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

// ID identifies a span.
type ID struct {
	Trace otlp.TraceID
	Span  otlp.SpanID
}

// Inference is what is remembered of an inference.
type Inference[S comparable] struct {
	ID     ID
	Parent otlp.SpanID
	// Series is the series that the inference was counted in.
	Series S
	// Has are the bits of the values that it had; see convention.Observation.Has.
	Has uint16
	// Embeds means that it returned embeddings instead of text.
	Embeds bool

	response uint64 // hash of the response ID
}

// Join remembers recent inferences and waiting items. S is the series that inferences are counted in, W the type of the waiting items,
// which are copied because their request ends before.
type Join[S comparable, W keep.Keeper[W]] struct {
	seed maphash.Seed

	mu      sync.Mutex
	recent  memory[Inference[S]]
	byReply memory[Inference[S]]
	// links has the spans that are not inferences. counted has the inferences under spans that have not arrived, by these spans. Most of
	// these spans arrive with the next requests, so a smaller memory is enough.
	links       memory[link]
	counted     memory[Counted[S]]
	traces      memory[Trace[S]]
	last        *Trace[S] // the last used of traces: most spans of a trace are consecutive
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

// smaller is the factor by which the smaller memories are smaller.
const smaller = 4

// New returns a Join that remembers about inferences inferences and at most waiters waiting items.
func New[S comparable, W keep.Keeper[W]](inferences, waiters int) *Join[S, W] {
	return &Join[S, W]{
		seed: maphash.MakeSeed(), recent: newMemory[Inference[S]](inferences), byReply: newMemory[Inference[S]](inferences),
		links: newMemory[link](inferences), counted: newMemory[Counted[S]](inferences / smaller), traces: newMemory[Trace[S]](inferences),
		evaluations: newMemory[evaluated](inferences / smaller),
		waiting:     make(map[ID][]waiter[W]), most: waiters,
	}
}

// Lock locks the Join for a series of calls, because a request has hundreds of spans.
func (j *Join[S, W]) Lock() { j.mu.Lock() }

// Unlock ends the series of calls.
func (j *Join[S, W]) Unlock() { j.mu.Unlock() }

// Add remembers an inference and returns its trace, or nil if it has none. The caller must hold the lock, as for all following methods.
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
	const odd = 0x9e3779b97f4a7c15 // mixes sequential IDs, which differ only in the highest byte read here
	h := binary.LittleEndian.Uint64(id.Span[:])*odd ^ binary.LittleEndian.Uint64(id.Trace[8:])
	h ^= h >> 32
	return h * odd
}

// Find returns the inference with this ID.
func (j *Join[S, W]) Find(id ID) (Inference[S], bool) {
	if id.Span == (otlp.SpanID{}) {
		return Inference[S]{}, false
	}
	j.settle(j.trace(id.Trace))
	return found(j.recent.find(hash(&id), func(i *Inference[S]) bool { return i.ID == id }))
}

// FindResponse returns the last inference with this response ID.
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

// Wait stores an item until its inference arrives. It returns false if the limit is reached.
func (j *Join[S, W]) Wait(id ID, item W, now int64) bool {
	// An item that was taken remains in the order until it would have expired.
	if j.count >= j.most || len(j.order) >= 2*j.most {
		return false
	}
	j.waiting[id] = append(j.waiting[id], waiter[W]{item.Keep(), now})
	j.order = append(j.order, queued{id, now})
	j.count++
	return true
}

// Awaited reports whether any item waits.
func (j *Join[S, W]) Awaited() bool { return len(j.waiting) > 0 }

// Take returns and removes the items that wait for an inference.
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

// Expire returns and removes the items that have waited since before a time.
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
