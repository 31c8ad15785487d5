package outbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/guard"
	"github.com/sightglass-ml/sightglass/internal/review"
)

const (
	// atOnce is how many requests are in flight.
	atOnce = 8
	// maxAttempts bounds the items that are known to have failed; past it the sender pauses as a whole.
	maxAttempts = 1024
	// maxAnswer of a receiver is read, so that the connection can be used again.
	maxAnswer = 64 << 10
)

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("an outbox needs the http or https URL of a receiver")
	}
	return nil
}

func newClient() *http.Client {
	return &http.Client{
		// A POST that is sent elsewhere by a redirect would take the token with it, or become a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// letter is a record with its place in the queue.
type letter struct {
	sequence uint64
	value    []byte
	record   record
	damage   error // why the value is no record
}

// attempt is how often an item was sent in vain, and when it is sent again.
type attempt struct {
	times int
	next  time.Time
}

// outcome is what became of one request.
type outcome uint8

const (
	delivered outcome = iota
	rejected
	failed
)

func (o outcome) String() string { return [...]string{"delivered", "rejected", "failed"}[o] }

// Run sends items until the context ends.
func (b *Outbox) Run(ctx context.Context) {
	failures := 0 // rounds in a row that came to nothing
	for ctx.Err() == nil {
		letters, err := b.next()
		if err == nil && len(letters) == 0 {
			failures = 0
			b.pause(ctx, b.untilRetry(), b.woken)
			continue
		}
		if err == nil {
			err = b.send(ctx, letters)
		}
		if err == nil {
			failures = 0
			continue
		}
		if failures++; failures == 1 && ctx.Err() == nil {
			b.Logger.Warn("Responses cannot be sent for review; they are kept and sent again", "err", err)
		}
		b.pause(ctx, b.backoff(failures), nil)
	}
}

// backoff doubles with each failure, and its upper half is chance: many senders must not come back at once.
func (b *Outbox) backoff(failures int) time.Duration {
	d := b.MaxBackoff
	if failures < 30 {
		d = min(d, b.MinBackoff<<(failures-1))
	}
	return d/2 + time.Duration(rand.Int64N(int64(d/2)+1)) //nolint:gosec // Nothing depends on it being unpredictable.
}

func (b *Outbox) pause(ctx context.Context, d time.Duration, woken <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-woken:
	}
}

// untilRetry is the time to the next repetition of an item.
func (b *Outbox) untilRetry() time.Duration {
	d := b.MaxBackoff
	b.locked(func() {
		for _, a := range b.attempts {
			d = min(d, time.Until(a.next))
		}
	})
	return max(d, time.Millisecond)
}

// next are the oldest items that it is time to send.
func (b *Outbox) next() ([]letter, error) {
	var letters []letter
	now := time.Now()
	err := b.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(pendingBucket).Cursor()
		for k, v := c.First(); k != nil && len(letters) < atOnce; k, v = c.Next() {
			l := letter{sequence: binary.BigEndian.Uint64(k)}
			waits := false
			b.locked(func() { waits = b.attempts[l.sequence].next.After(now) })
			if waits {
				continue
			}
			l.value = bytes.Clone(v)
			l.damage = json.Unmarshal(v, &l.record)
			letters = append(letters, l)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	return letters, nil
}

// send sends the items and notes what became of them. It fails if the receiver has answered for none of them.
func (b *Outbox) send(ctx context.Context, letters []letter) error {
	outcomes := make([]outcome, len(letters))
	errs := make([]error, len(letters))
	var all sync.WaitGroup
	for i := range letters {
		all.Go(func() {
			l := &letters[i]
			if outcomes[i] = rejected; l.damage == nil {
				outcomes[i] = failed // and stays so if it panics
				errs[i] = guard.Call(b.Logger, "review", func() (err error) {
					outcomes[i], err = b.post(ctx, l)
					return err
				})
			}
			if outcomes[i] == rejected {
				b.Logger.Error("A response was refused by the reviewers' endpoint; it is kept but not sent again", "id", l.record.Item.ID, "status", l.record.Status, "err", l.damage)
			}
		})
	}
	all.Wait()
	if !slices.ContainsFunc(outcomes, func(o outcome) bool { return o != failed }) {
		if ctx.Err() == nil {
			b.note(letters, outcomes)
		}
		return errs[0]
	}
	if err := b.settle(letters, outcomes); err != nil {
		return fmt.Errorf("note what was delivered: %w", err)
	}
	b.note(letters, outcomes)
	return nil
}

// note counts, and says when what failed is sent again.
func (b *Outbox) note(letters []letter, outcomes []outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, l := range letters {
		version := b.Models.Fold(l.record.Item.Model + "\x1f" + l.record.Item.Version)
		model, version, _ := strings.Cut(version, "\x1f")
		b.counts[series{model, version, outcomes[i]}]++
		if outcomes[i] != failed {
			delete(b.attempts, l.sequence)
			continue
		}
		if a, ok := b.attempts[l.sequence]; ok || len(b.attempts) < maxAttempts {
			a.times++
			a.next = time.Now().Add(b.backoff(a.times))
			b.attempts[l.sequence] = a
		}
	}
}

// judge is the contract of package review.
func judge(status int) outcome {
	switch {
	case status/100 == 2, status == http.StatusConflict:
		return delivered
	case status == http.StatusTooManyRequests, status/100 == 5:
		return failed
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound:
		return failed // A wrong token or address is mended by people, and not the item's fault.
	}
	return rejected
}

func (b *Outbox) post(ctx context.Context, l *letter) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, b.Timeout)
	defer cancel()
	body, err := json.Marshal(l.record.Item)
	if err != nil {
		return rejected, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(b.URL, "/")+review.Path, bytes.NewReader(body))
	if err != nil {
		return failed, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(review.IdempotencyHeader, l.record.Item.ID)
	if b.Token != (config.SecretSource{}) {
		token, err := b.Token.Read()
		if err != nil {
			return failed, fmt.Errorf("bearer token: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token.Reveal()))
	}
	answer, err := b.Client.Do(request)
	if err != nil {
		return failed, err
	}
	defer answer.Body.Close()
	// The status says all there is to know, so a body that breaks off changes nothing.
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer))
	l.record.Status = answer.StatusCode
	if o := judge(answer.StatusCode); o != failed {
		return o, nil
	}
	return failed, fmt.Errorf("the endpoint answers %s", answer.Status)
}

// settle takes what was delivered or rejected out of the queue.
func (b *Outbox) settle(letters []letter, outcomes []outcome) error {
	var change usage
	err := b.db.Update(func(tx *bolt.Tx) error {
		change = usage{}
		pending, ids, done := tx.Bucket(pendingBucket), tx.Bucket(idBucket), tx.Bucket(doneBucket)
		for i, l := range letters {
			if outcomes[i] == failed {
				continue
			}
			if err := pending.Delete(key(l.sequence)); err != nil {
				return err
			}
			change.add(usage{pending: -1, bytes: -int64(len(l.value))})
			if outcomes[i] == delivered {
				if err := done.Put(key(l.sequence), []byte(l.record.Item.ID)); err != nil {
					return err
				}
				continue
			}
			value := l.value
			if l.damage == nil {
				var err error
				if value, err = json.Marshal(l.record); err != nil {
					return err
				}
			}
			if err := tx.Bucket(rejectedBucket).Put(key(l.sequence), value); err != nil {
				return err
			}
			change.add(usage{rejected: 1, bytes: int64(len(value))})
		}
		return forget(done, ids, pending.Sequence())
	})
	if err != nil {
		return err
	}
	b.locked(func() { b.usage.add(change) })
	return nil
}

// forget drops the IDs of what was delivered long ago.
func forget(done, ids *bolt.Bucket, last uint64) error {
	c := done.Cursor()
	for k, id := c.First(); k != nil && binary.BigEndian.Uint64(k)+remembered <= last; k, id = c.First() {
		if err := errors.Join(ids.Delete(bytes.Clone(id)), c.Delete()); err != nil {
			return err
		}
	}
	return nil
}
