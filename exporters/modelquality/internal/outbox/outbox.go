// Package outbox delivers review items to the responder, and keeps them until it has accepted them.
//
// Input: review items. Output: POST requests, each repeated until the responder answers, and counters of their results. State: one database
// file. An item is in the file before Add returns, and is removed after the responder has accepted it. A crash in between repeats a POST
// and never loses an item. The responder recognizes a repeated item by its ID.
package outbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/review"
)

// Options configure an Outbox.
type Options struct {
	// File is the database. Only one process can open it at a time.
	File string
	// URL is the base URL of the responder; review.Path is added.
	URL string
	// Token is the bearer token, which is read again for each request. The zero value means none.
	Token config.SecretSource
	// MaxBytes limits the waiting and the rejected items together.
	MaxBytes int64
	// Timeout of one request.
	Timeout time.Duration
	// Shortest and longest time before an item is sent again.
	MinBackoff, MaxBackoff time.Duration
	// Models limits the label values of the counters.
	Models *limit.Limiter
	Client *http.Client
	Logger *slog.Logger
}

// ErrFull means that the items on disk have reached the limit. Drop counts the items that were not stored.
var ErrFull = errors.New("the outbox of reviews is full")

// remembered is the number of delivered items whose IDs are kept, so that a repeated evaluation is not sent again. It needs about 20 MB on
// disk.
const remembered = 100_000

// groupDelay is the time that an item waits for others to share its flush to disk.
const groupDelay = 2 * time.Millisecond

// Buckets. Sequence numbers order the items of pending and done.
var (
	pendingBucket  = []byte("pending")  // sequence → record
	idBucket       = []byte("ids")      // ID of a pending, rejected or delivered item → sequence
	doneBucket     = []byte("done")     // sequence → ID of a delivered item
	rejectedBucket = []byte("rejected") // sequence → record
)

// record is an item on disk.
type record struct {
	Added time.Time   `json:"added"`
	Item  review.Item `json:"item"`
	// Status is the HTTP status with which the responder rejected the item.
	Status int `json:"status,omitempty"`
}

// Outbox is a durable queue of items and their sender.
type Outbox struct {
	Options
	db    *bolt.DB
	woken chan struct{}
	descs descs

	mu     sync.Mutex
	usage  usage
	counts map[series]float64
	drops  map[lost]float64
	// warned is the time of the last warning about dropped items.
	warned   time.Time
	attempts map[uint64]attempt
}

// usage is the content of the file. It is computed when the file is opened.
type usage struct{ pending, rejected, bytes int64 }

func (u *usage) add(v usage) {
	u.pending += v.pending
	u.rejected += v.rejected
	u.bytes += v.bytes
}

// Open opens or creates the file. Run sends its items.
func Open(o Options) (*Outbox, error) {
	if o.File == "" || o.MaxBytes <= 0 || o.Timeout <= 0 || o.MinBackoff <= 0 || o.MaxBackoff < o.MinBackoff || o.Models == nil || o.Logger == nil {
		return nil, errors.New("an outbox needs a file, a size, a timeout, times to wait, a limit and a logger")
	}
	if err := checkURL(o.URL); err != nil {
		return nil, err
	}
	if o.Client == nil {
		o.Client = newClient()
	}
	db, err := bolt.Open(o.File, 0o600, &bolt.Options{Timeout: time.Second})
	if errors.Is(err, berrors.ErrTimeout) {
		err = errors.New("another process has it open")
	}
	if err != nil {
		return nil, fmt.Errorf("open outbox %s: %w", o.File, err)
	}
	db.MaxBatchDelay = groupDelay
	b := &Outbox{Options: o, db: db, woken: make(chan struct{}, 1), descs: newDescs(nil), counts: make(map[series]float64), drops: make(map[lost]float64), attempts: make(map[uint64]attempt)}
	if err := b.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open outbox %s: %w", o.File, err), db.Close())
	}
	return b, nil
}

func (b *Outbox) load() error {
	err := b.db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{pendingBucket, idBucket, doneBucket, rejectedBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return b.db.View(func(tx *bolt.Tx) error {
		for name, of := range map[string]*int64{string(pendingBucket): &b.usage.pending, string(rejectedBucket): &b.usage.rejected} {
			if err := tx.Bucket([]byte(name)).ForEach(func(_, v []byte) error {
				*of++
				b.usage.bytes += int64(len(v))
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close closes the file. The next Outbox sends the remaining items.
func (b *Outbox) Close() error {
	if err := b.db.Close(); err != nil {
		return fmt.Errorf("close outbox: %w", err)
	}
	return nil
}

// Add stores items on disk and returns when they are stored. An error means that none is stored. Concurrent calls share one flush. An item
// whose ID is already pending, rejected or delivered is not added again.
func (b *Outbox) Add(items ...review.Item) error {
	if len(items) == 0 {
		return nil
	}
	now := time.Now().UTC()
	values := make([][]byte, len(items))
	for i, item := range items {
		if err := item.Validate(); err != nil {
			return fmt.Errorf("add to the outbox: item %q: %w", item.ID, err)
		}
		var err error
		if values[i], err = json.Marshal(record{Added: now, Item: item}); err != nil {
			return fmt.Errorf("add to the outbox: %w", err)
		}
	}
	var reserved usage
	release := func() {
		b.locked(func() { b.usage.add(usage{pending: -reserved.pending, bytes: -reserved.bytes}) })
		reserved = usage{}
	}
	err := b.db.Batch(func(tx *bolt.Tx) error {
		release() // because a batch may run the function again
		pending, ids := tx.Bucket(pendingBucket), tx.Bucket(idBucket)
		for i, item := range items {
			if ids.Get([]byte(item.ID)) != nil {
				continue
			}
			one := usage{pending: 1, bytes: int64(len(values[i]))}
			if err := b.reserve(one); err != nil {
				return err
			}
			reserved.add(one)
			sequence, err := pending.NextSequence()
			if err != nil {
				return err
			}
			if err := errors.Join(pending.Put(key(sequence), values[i]), ids.Put([]byte(item.ID), key(sequence))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		release()
		return fmt.Errorf("add to the outbox: %w", err)
	}
	b.wake()
	return nil
}

// warnEvery is the shortest time between two warnings about dropped items.
const warnEvery = time.Minute

// Drop counts and logs items that Add did not store.
func (b *Outbox) Drop(err error, items ...review.Item) {
	reason := "disk"
	if errors.Is(err, ErrFull) {
		reason = "full"
	}
	warn := false
	b.locked(func() {
		for _, item := range items {
			model, version, _ := strings.Cut(b.Models.Fold(item.Model+"\x1f"+item.Version), "\x1f")
			b.drops[lost{model, version, reason}]++
		}
		if warn = time.Since(b.warned) >= warnEvery; warn {
			b.warned = time.Now()
		}
	})
	if warn {
		b.Logger.Error("Responses below their gate are not kept for review; ml_model_reviews_dropped_total counts them", "err", err)
	}
}

// reserve reserves space for a write.
func (b *Outbox) reserve(u usage) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.usage.bytes+u.bytes > b.MaxBytes {
		return fmt.Errorf("%w: %d items wait and %d were rejected, and at most %d bytes of both are kept", ErrFull, b.usage.pending, b.usage.rejected, b.MaxBytes)
	}
	b.usage.add(u)
	return nil
}

func (b *Outbox) locked(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *Outbox) wake() {
	select {
	case b.woken <- struct{}{}:
	default:
	}
}

// key encodes a number so that keys sort by it.
func key(sequence uint64) []byte { return binary.BigEndian.AppendUint64(nil, sequence) }
