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

// put makes this process a candidate for the writer of an object, unless there
// is one. It returns the name of what it wrote, "" if nothing.
//
// In a folder there is one candidate at most, the one that the kernel let
// through.
//
// In an object store each candidate has a name of its own, and the one whose
// name sorts first wins. All replicas agree on it if each looks only when no
// more candidates can appear, and this is when that is. Nobody uploads without
// having listed before, within the same half of Store.settle, and found no
// candidate. So when the first candidate appears, whoever may still upload has
// begun to list before that; half a settle later it is done, or cut off by its
// deadline. The other half is for a store that finishes an upload after its
// client gave up. A listing that begins a whole settle after the first candidate
// appeared has them all, and one that begins a settle after this process first
// saw a candidate does so more than ever. No two machines' clocks are compared.
//
// This assumes that a listing shows every upload that was completed before it,
// as S3, GCS and Azure promise. It can be broken by a process that is suspended,
// not killed, between the last check of its deadline and its request, for longer
// than half a settle. A day would still count once, but replicas that started
// before and after could differ in whose counts of it they use.
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
	objects, _, err := b.look(ctx)
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
	rand.Read(id[:]) // Never returns an error, says its documentation.
	return hex.EncodeToString(id[:])
}

// settled lists the subject, and waits until the candidates of all that is
// listed are complete. Objects that appear meanwhile are left for next time.
func (b *Subject) settled(ctx context.Context) (map[string]listed, error) {
	before, wait, err := b.look(ctx)
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
	objects, _, err := b.look(ctx)
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

// contested says that an object can have several candidates of which one must
// win. Of a reset only the name counts, and a last good snapshot is replaced.
func contested(stem string) bool {
	return !strings.HasPrefix(stem, kindReset) && !strings.HasPrefix(stem, kindLastGood)
}

// longAgo is an age at which the candidates of an object are complete for sure.
// Object stores refuse requests of clients whose clocks differ by more.
const longAgo = 15 * time.Minute

// look lists the subject, and returns how long it takes until the candidates of
// all that is listed are complete.
func (b *Subject) look(ctx context.Context) (objects map[string]listed, wait time.Duration, err error) {
	start := time.Now() //nolint:forbidigo // Only durations are taken, which the injected clock need not have.
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
			if b.seen == nil && !l.modified.IsZero() && b.store.now().Sub(l.modified) > longAgo {
				// It was complete before this process existed.
				first = start.Add(-b.store.settle)
			}
		}
		seen[stem] = first
		wait = max(wait, b.store.settle-start.Sub(first))
	}
	b.seen = seen
	return objects, wait, nil
}
