package baseline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/thanos-io/objstore"
)

// hostileBucket is an object store on a bad day: requests and replies take any
// time, an upload that was given up may still be finished, and nobody's clock is
// right.
type hostileBucket struct {
	*objstore.InMemBucket
	mu     sync.Mutex
	random *rand.Rand
	// late bounds how long after its client gave up an upload may be finished.
	late time.Duration
}

func (b *hostileBucket) duration(limit time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Duration(b.random.Int64N(int64(limit)))
}

// travel is one way of a request: mostly fast, sometimes slower than a settle.
func (b *hostileBucket) travel(ctx context.Context) error {
	limit := defaultSettle / 10
	if b.duration(4) == 0 {
		limit = 2 * defaultSettle
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(b.duration(limit)):
		return nil
	}
}

func (b *hostileBucket) Upload(ctx context.Context, name string, r io.Reader, _ ...objstore.ObjectUploadOption) error {
	finish := func() error {
		err := b.InMemBucket.Upload(context.Background(), name, r)
		clock := time.Now().Add(b.duration(candidatesCompleteAge) - candidatesCompleteAge/2)
		return errors.Join(err, b.ChangeLastModified(name, clock))
	}
	if err := b.travel(ctx); err != nil {
		if late := b.duration(b.late); late%3 != 0 { // Otherwise it got lost.
			time.AfterFunc(late, func() { _ = finish() })
		}
		return err
	}
	if err := finish(); err != nil {
		return err
	}
	return b.travel(ctx)
}

func (b *hostileBucket) IterWithAttributes(ctx context.Context, dir string, f func(objstore.IterObjectAttributes) error, opts ...objstore.IterOption) error {
	if err := b.travel(ctx); err != nil {
		return err
	}
	var found []objstore.IterObjectAttributes
	err := b.InMemBucket.IterWithAttributes(ctx, dir, func(o objstore.IterObjectAttributes) error {
		found = append(found, o)
		return nil
	}, opts...)
	if err := errors.Join(err, b.travel(ctx)); err != nil {
		return err
	}
	for _, o := range found {
		if err := f(o); err != nil {
			return err
		}
	}
	return nil
}

// race lets replicas that start at any time create a definition and add a day,
// some of which die on the way, and others read. It returns what they saw.
func race(t *testing.T, seed uint64, late time.Duration) (definitions, rows map[string]bool) {
	definitions, rows = make(map[string]bool), make(map[string]bool)
	synctest.Test(t, func(t *testing.T) {
		bucket := &hostileBucket{
			InMemBucket: objstore.NewInMemBucket(),
			random:      rand.New(rand.NewPCG(seed, 0)),
			late:        late,
		}
		var mu sync.Mutex
		readStore := func(ctx context.Context, b *Subject) error {
			v, err := b.View(ctx)
			if err != nil {
				return err
			}
			d, err := v.Definition(ctx)
			if err != nil {
				return err
			}
			p, err := v.Production(ctx, 0)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			definitions[d.ID] = true
			if len(p.Days) > 0 {
				rows[fmt.Sprint(p.Counts.Rows)] = true
			}
			return nil
		}
		write := func(ctx context.Context, b *Subject, replica int) error {
			mine := testDefinition()
			mine.Schema[0].Type = fmt.Sprint("TYPE ", replica)
			d, err := b.CreateDefinition(ctx, mine)
			if err != nil {
				return err
			}
			_, err = b.AddDay(ctx, day(1), Counts{Definition: d.ID, Rows: int64(replica)})
			return err
		}
		untilDone := func(do func() error) {
			for do() != nil {
			}
		}

		var replicas sync.WaitGroup
		for r := range 12 {
			replicas.Go(func() {
				ctx := t.Context()
				time.Sleep(bucket.duration(3 * defaultSettle))
				b := New(bucket).Subject("dataset", "orders")
				switch r % 4 {
				case 0: // Reads, and must not mind if nothing is there yet.
					for range 10 {
						_ = readStore(ctx, b)
					}
				case 1: // Dies.
					ctx, cancel := context.WithTimeout(ctx, bucket.duration(4*defaultSettle))
					defer cancel()
					_ = write(ctx, b, r)
				default: // Writes until it is done, then reads.
					untilDone(func() error { return write(ctx, b, r) })
					untilDone(func() error { return readStore(ctx, b) })
				}
			})
		}
		replicas.Wait()
		time.Sleep(time.Hour)
		untilDone(func() error { return readStore(t.Context(), New(bucket).Subject("dataset", "orders")) })
	})
	return definitions, rows
}

func TestReplicasAgreeOnEveryObjectStoreBehaviour(t *testing.T) {
	for seed := range uint64(300) {
		definitions, rows := race(t, seed, defaultSettle/2)
		require.Len(t, definitions, 1, "seed %d", seed)
		require.Len(t, rows, 1, "seed %d", seed)
	}
}

// TestRaceTestDetectsLateUploads shows that the test above would notice, and that the
// assumption about late uploads is needed.
func TestRaceTestDetectsLateUploads(t *testing.T) {
	for seed := range uint64(300) {
		if definitions, _ := race(t, seed, 10*defaultSettle); len(definitions) > 1 {
			return
		}
	}
	t.Fatal("replicas agreed although uploads were finished long after they were given up")
}

// countingBucket counts requests.
type countingBucket struct {
	objstore.Bucket
	lists, gets, uploads int
}

func (b *countingBucket) IterWithAttributes(ctx context.Context, dir string, f func(objstore.IterObjectAttributes) error, opts ...objstore.IterOption) error {
	b.lists++
	return b.Bucket.IterWithAttributes(ctx, dir, f, opts...)
}

func (b *countingBucket) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	b.gets++
	return b.Bucket.Get(ctx, name)
}

func (b *countingBucket) Upload(ctx context.Context, name string, r io.Reader, opts ...objstore.ObjectUploadOption) error {
	b.uploads++
	return b.Bucket.Upload(ctx, name, r, opts...)
}

func TestACycleCostsOneListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		inMem := objstore.NewInMemBucket()
		writer := New(inMem).Subject("dataset", "orders")
		def, err := writer.CreateDefinition(ctx, testDefinition())
		require.NoError(t, err)
		_, err = writer.CreateTraining(ctx, countsOf(def.ID, day(1)))
		require.NoError(t, err)
		for n := range 10 {
			_, err := writer.AddDay(ctx, day(n+1), countsOf(def.ID, day(n+1)))
			require.NoError(t, err)
		}

		bucket := &countingBucket{Bucket: inMem}
		b := New(bucket).Subject("dataset", "orders")
		cycle := func() countingBucket {
			*bucket = countingBucket{Bucket: inMem}
			v := view(t, b)
			_, err := v.Definition(ctx)
			require.NoError(t, err)
			_, err = v.Training(ctx)
			require.NoError(t, err)
			p, err := v.Production(ctx, 11)
			require.NoError(t, err)
			require.Equal(t, countsOf(def.ID, p.Days...), p.Counts)
			return countingBucket{nil, bucket.lists, bucket.gets, bucket.uploads}
		}

		time.Sleep(candidatesCompleteAge)
		start := time.Now()
		require.Equal(t, countingBucket{lists: 1, gets: 12}, cycle())
		require.Equal(t, countingBucket{lists: 1}, cycle())
		require.Zero(t, time.Since(start), "what is old needs no settling")

		_, err = writer.AddDay(ctx, day(11), countsOf(def.ID, day(11)))
		require.NoError(t, err)
		start = time.Now()
		require.Equal(t, countingBucket{lists: 2 + 3, gets: 2, uploads: 1}, cycle(), "settle, read the day, freeze")
		require.Equal(t, 2*defaultSettle, time.Since(start))
		require.Equal(t, countingBucket{lists: 1}, cycle())
	})
}

// stuckBucket never answers.
type stuckBucket struct{ objstore.Bucket }

func (stuckBucket) IterWithAttributes(ctx context.Context, _ string, _ func(objstore.IterObjectAttributes) error, _ ...objstore.IterOption) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestSlowStoreTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := New(stuckBucket{objstore.NewInMemBucket()}).Subject("dataset", "orders")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := stuck.View(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err, "list dataset/orders of inmem: context deadline exceeded")
		require.ErrorIs(t, stuck.Reset(ctx, PartProduction), context.DeadlineExceeded)

		// Nor are other writers.
		bucket := objstore.NewInMemBucket()
		require.NoError(t, bucket.Upload(t.Context(), "dataset/orders/definition-00000.json", strings.NewReader("x")))
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = New(bucket).Subject("dataset", "orders").View(ctx)
		require.EqualError(t, err, "wait for other writers of dataset/orders: context deadline exceeded")
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := openFolder(t, t.TempDir()).Subject("dataset", "orders").CreateDefinition(ctx, testDefinition())
	require.ErrorIs(t, err, context.Canceled)
}

// failingBucket accepts no uploads.
type failingBucket struct{ objstore.Bucket }

func (failingBucket) Upload(context.Context, string, io.Reader, ...objstore.ObjectUploadOption) error {
	return errors.New("access denied")
}

func TestFailedUploadIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(failingBucket{objstore.NewInMemBucket()}).Subject("dataset", "orders")
		_, err := b.CreateDefinition(t.Context(), testDefinition())
		require.EqualError(t, err, "write definition of dataset/orders: access denied")
		require.EqualError(t, view(t, b).SetLastGood(t.Context(), 1), "write last good snapshot of dataset/orders: access denied")
		require.EqualError(t, b.Reset(t.Context(), PartTraining), "reset training of dataset/orders: access denied")
	})
}

// TestAFolderCanMoveToAnObjectStoreAndBack is why both have the same layout.
func TestAFolderCanMoveToAnObjectStoreAndBack(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := openFolder(t, dir).Subject("dataset", "orders")
		def, err := b.CreateDefinition(t.Context(), testDefinition())
		require.NoError(t, err)
		bucket := objstore.NewInMemBucket()
		copyObjects(t, bucket, b.store.bucket)

		moved := New(bucket).Subject("dataset", "orders")
		got, err := moved.CreateDefinition(t.Context(), Definition{Edges: EdgesProduction})
		require.NoError(t, err)
		require.Equal(t, def, got)
		_, err = moved.AddDay(t.Context(), day(1), countsOf(def.ID, day(1)))
		require.NoError(t, err)

		back := openFolder(t, filepath.Join(dir, "back")).Subject("dataset", "orders")
		copyObjects(t, back.store.bucket, bucket)
		added, err := back.AddDay(t.Context(), day(1), countsOf(def.ID, day(1)))
		require.NoError(t, err)
		require.False(t, added)
		require.Equal(t, days(1, 1), production(t, back, 0).Days)
	})
}

func copyObjects(t *testing.T, to, from objstore.Bucket) {
	require.NoError(t, from.Iter(t.Context(), "", func(name string) error {
		r, err := from.Get(t.Context(), name)
		if err != nil {
			return err
		}
		defer r.Close()
		return to.Upload(t.Context(), name, r)
	}, objstore.WithRecursiveIter()))
}
