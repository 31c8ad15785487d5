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
	// atOnce is the number of concurrent requests.
	atOnce = 8
	// maxAttempts limits the failed items whose retries are scheduled separately. Beyond it, the sender pauses completely.
	maxAttempts = 1024
	// maxAnswer is the part of an answer that is read, so that the connection can be reused.
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
		// A redirected POST would send the token elsewhere, or become a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// letter is a record with its position in the queue.
type letter struct {
	sequence uint64
	value    []byte
	record   record
	damage   error // why the value could not be decoded
}

// attempt is the number of failed attempts of an item, and the time of the next one.
type attempt struct {
	times int
	next  time.Time
}

// outcome is the result of one request.
type outcome uint8

const (
	delivered outcome = iota
	rejected
	failed
)

func (o outcome) String() string { return [...]string{"delivered", "rejected", "failed"}[o] }

// Run sends items until the context ends.
func (b *Outbox) Run(ctx context.Context) {
	failures := 0 // consecutive rounds without any success
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

// backoff doubles with each failure. Its upper half is random, so that many senders do not retry at the same time.
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

// untilRetry returns the time until the next retry.
func (b *Outbox) untilRetry() time.Duration {
	d := b.MaxBackoff
	b.locked(func() {
		for _, a := range b.attempts {
			d = min(d, time.Until(a.next))
		}
	})
	return max(d, time.Millisecond)
}

// next returns the oldest items that are due.
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

// send sends the items and records the results. It returns an error if the responder answered for none of them.
func (b *Outbox) send(ctx context.Context, letters []letter) error {
	outcomes := make([]outcome, len(letters))
	errs := make([]error, len(letters))
	var all sync.WaitGroup
	for i := range letters {
		all.Go(func() {
			l := &letters[i]
			if outcomes[i] = rejected; l.damage == nil {
				outcomes[i] = failed // stays if the call panics
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

// note counts the results and schedules the retries.
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

// judge maps an HTTP status to an outcome, as package review defines.
func judge(status int) outcome {
	switch {
	case status/100 == 2, status == http.StatusConflict:
		return delivered
	case status == http.StatusTooManyRequests, status/100 == 5:
		return failed
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound:
		return failed // A wrong token or address has to be corrected by people; the item is not invalid.
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
	// The status is sufficient, so a truncated body does not matter.
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer))
	l.record.Status = answer.StatusCode
	if o := judge(answer.StatusCode); o != failed {
		return o, nil
	}
	return failed, fmt.Errorf("the endpoint answers %s", answer.Status)
}

// settle removes delivered and rejected items from the queue.
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

// forget removes the oldest IDs of delivered items.
func forget(done, ids *bolt.Bucket, last uint64) error {
	c := done.Cursor()
	for k, id := c.First(); k != nil && binary.BigEndian.Uint64(k)+remembered <= last; k, id = c.First() {
		if err := errors.Join(ids.Delete(bytes.Clone(id)), c.Delete()); err != nil {
			return err
		}
	}
	return nil
}
