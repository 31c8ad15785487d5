package baseline

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// put proposes data as the content of an object, unless the object already has a candidate. It returns the name of the object that it
// wrote, or "" if it wrote none.
//
// In a folder there is at most one candidate: the first one that the kernel creates.
//
// In an object store a conditional write ("create unless it exists") would decide at once. The library for object stores has none: in its
// newest version, github.com/thanos-io/objstore v0.0.0-20250804093838-71d60dfee488, the only option of an upload is the content type. So the
// wait of Store.settle stays, ten seconds by default, once for each new object.
//
// Therefore each candidate has its own name, and the name that sorts first wins. All replicas agree on the winner if each
// reads the list only after no more candidates can appear. That time is determined as follows. A process uploads only if it has listed
// the subject before, within the same half of Store.settle, and found no candidate. Therefore, when the first candidate appears, every
// process that may still upload has already begun its listing. Half a settle later it has finished, or its deadline has cancelled it.
// The other half allows for a store that completes an upload after its client gave up. A listing that begins a full settle after the
// first candidate appeared contains all candidates. A process cannot see a candidate before it appears, so a listing that begins a
// settle after this process first saw a candidate also contains all. The clocks of two machines are never compared.
//
// This assumes that a listing contains every upload that completed before it, as S3, GCS and Azure promise. It fails if a process is
// suspended (not killed) for longer than half a settle between the last check of its deadline and its request. A day would still count
// once, but replicas that started before and after could use different counts of it.
func (b *Subject) put(ctx context.Context, stem string, data []byte) (object string, err error) {
	s := b.store
	defer func() { s.wrote(err) }()
	if s.folder != nil {
		object := b.dir + "/" + stem + ".json"
		if created, err := s.folder.create(ctx, object, data); !created {
			return "", err
		}
		return object, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.settle/2)
	defer cancel()
	objects, _, err := b.list(ctx)
	if err != nil {
		return "", err
	}
	if _, ok := objects[stem]; ok {
		return "", nil
	}
	object = b.dir + "/" + stem + "." + randomName() + ".json"
	return object, s.bucket.Upload(ctx, object, bytes.NewReader(data))
}

func randomName() string {
	var id [8]byte
	rand.Read(id[:]) // Never returns an error, according to its documentation.
	return hex.EncodeToString(id[:])
}

// settled lists the subject and waits until the candidates of all listed objects are complete. Objects that appear during the wait are
// left out.
func (b *Subject) settled(ctx context.Context) (map[string]listed, error) {
	before, wait, err := b.list(ctx)
	if err != nil || wait <= 0 {
		return before, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for other writers of %s: %w", b.id, ctx.Err())
	case <-timer.C:
	}
	objects, _, err := b.list(ctx)
	if err != nil {
		return nil, err
	}
	for stem := range objects {
		if _, ok := before[stem]; !ok && contested(stem) {
			delete(objects, stem)
		}
	}
	return objects, nil
}

// contested reports whether an object can have several candidates of which one must win. A reset has no content that matters, and a
// last good snapshot is replaced.
func contested(stem string) bool {
	return !strings.HasPrefix(stem, kindReset) && !strings.HasPrefix(stem, kindLastGood)
}

// candidatesCompleteAge is an age at which the candidates of an object are certainly complete. Object stores reject requests of clients whose clocks
// differ by more.
const candidatesCompleteAge = 15 * time.Minute

// list lists the subject, and returns the time until the candidates of all listed objects are complete.
func (b *Subject) list(ctx context.Context) (objects map[string]listed, wait time.Duration, err error) {
	start := time.Now() //nolint:forbidigo // Only durations are measured, for which the injected clock is not suitable.
	objects, err = b.store.list(ctx, b.dir)
	if err != nil || b.store.settle == 0 {
		return objects, 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := make(map[string]time.Time, len(objects))
	for stem, l := range objects {
		if !contested(stem) {
			continue
		}
		first, ok := b.seen[stem]
		if !ok {
			first = time.Now() //nolint:forbidigo // As above.
			if b.seen == nil && !l.modified.IsZero() && b.store.now().Sub(l.modified) > candidatesCompleteAge {
				// The object was complete before this process started.
				first = start.Add(-b.store.settle)
			}
		}
		seen[stem] = first
		wait = max(wait, b.store.settle-start.Sub(first))
	}
	b.seen = seen
	return objects, wait, nil
}
