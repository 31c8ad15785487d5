package outbox_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/outbox"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/review"
)

func item(n int) review.Item {
	trace := fmt.Sprintf("%032x", n+1)
	return review.Item{
		ID: review.NewID(trace, "b7ad6b7169203331", "", "groundedness"), Time: time.Unix(1e9, 0).UTC(), Model: "support-bot", Version: "3",
		TraceID: trace, SpanID: "b7ad6b7169203331", Evaluation: "groundedness", Score: 0.89, Gate: 0.9,
	}
}

func options(file, url string) outbox.Options {
	return outbox.Options{
		File: file, URL: url, MaxBytes: 64 << 20, Timeout: 5 * time.Second, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond,
		Models: limit.New("reviewed_models", 10, limit.NewDropped()), Logger: promslog.NewNopLogger(),
	}
}

func open(t *testing.T, o outbox.Options) *outbox.Outbox {
	t.Helper()
	b, err := outbox.Open(o)
	require.NoError(t, err)
	return b
}

// run sends until the test ends, or until stop is called.
func run(t *testing.T, b *outbox.Outbox) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { b.Run(ctx) })
	stop = func() {
		cancel()
		done.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// reviewers is an endpoint that keeps the received items by ID.
type reviewers struct {
	*httptest.Server
	mu     sync.Mutex
	posts  map[string]int
	items  map[string]review.Item
	tokens map[string]bool
	// answer is the status of the n-th POST of an item.
	answer func(item review.Item, n int) int
}

func serve(t *testing.T, answer func(review.Item, int) int) *reviewers {
	t.Helper()
	r := &reviewers{posts: make(map[string]int), items: make(map[string]review.Item), tokens: make(map[string]bool), answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var i review.Item
		if json.NewDecoder(q.Body).Decode(&i) != nil || i.Validate() != nil || q.URL.Path != review.Path || q.Method != http.MethodPost || q.Header.Get(review.IdempotencyHeader) != i.ID {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.posts[i.ID]++
		r.tokens[q.Header.Get("Authorization")] = true
		status := r.answer(i, r.posts[i.ID])
		if status/100 == 2 {
			r.items[i.ID] = i
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

func accept(review.Item, int) int { return http.StatusAccepted }

func (r *reviewers) have() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.items)
}

const itemsHelp = `# HELP ml_model_reviews_outbox_items Responses on disk by state: pending ones will be sent, rejected ones were refused by the reviewers' endpoint.
# TYPE ml_model_reviews_outbox_items gauge
`

func waitItems(t *testing.T, b *outbox.Outbox, pending, rejected int) {
	t.Helper()
	want := itemsHelp + fmt.Sprintf("ml_model_reviews_outbox_items{state=\"pending\"} %d\nml_model_reviews_outbox_items{state=\"rejected\"} %d\n", pending, rejected)
	require.Eventually(t, func() bool {
		return testutil.CollectAndCompare(b, strings.NewReader(want), "ml_model_reviews_outbox_items") == nil
	}, 20*time.Second, 5*time.Millisecond, "want %d pending and %d rejected", pending, rejected)
}

func TestDelivery(t *testing.T) {
	for name, tc := range map[string]struct {
		answer   func(review.Item, int) int
		posts    int
		rejected int
	}{
		"what is accepted is sent once":                     {accept, 1, 0},
		"409 means that the receiver has the item":          {func(review.Item, int) int { return http.StatusConflict }, 1, 0},
		"what the receiver cannot take now is repeated":     {func(_ review.Item, n int) int { return []int{503, 429, 500, 202}[n-1] }, 4, 0},
		"a wrong token or address will be mended":           {func(_ review.Item, n int) int { return []int{401, 403, 404, 202}[n-1] }, 4, 0},
		"what the receiver will never take is kept":         {func(review.Item, int) int { return http.StatusBadRequest }, 1, 1},
		"a redirect is not followed, and so never accepted": {func(review.Item, int) int { return http.StatusTemporaryRedirect }, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := serve(t, tc.answer)
			b := open(t, options(filepath.Join(t.TempDir(), "reviews.db"), r.URL+"/"))
			t.Cleanup(func() { require.NoError(t, b.Close()) })
			run(t, b)
			require.NoError(t, b.Add(item(1)))
			waitItems(t, b, 0, tc.rejected)
			require.NoError(t, b.Add(item(1)), "the same item again")
			require.NoError(t, b.Add(item(2)))
			waitItems(t, b, 0, 2*tc.rejected)
			r.mu.Lock()
			defer r.mu.Unlock()
			require.Equal(t, map[string]int{item(1).ID: tc.posts, item(2).ID: tc.posts}, r.posts)
		})
	}
}

func TestFailingItemDoesNotBlockOthers(t *testing.T) {
	r := serve(t, func(i review.Item, _ int) int {
		if i.ID == item(0).ID {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	b := open(t, options(filepath.Join(t.TempDir(), "reviews.db"), r.URL))
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	run(t, b)
	for n := range 100 {
		require.NoError(t, b.Add(item(n)))
	}
	waitItems(t, b, 1, 0)
	require.Equal(t, 99, r.have())
}

func TestTheTokenIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	r := serve(t, accept)
	o := options(filepath.Join(dir, "reviews.db"), r.URL)
	o.Token = config.SecretSource{File: config.Path(token)}
	b := open(t, o)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	run(t, b)
	require.NoError(t, b.Add(item(0)), "a token that is not there yet holds nothing up but the sending")
	for n, text := range []string{"one\n", "two\n"} {
		require.NoError(t, os.WriteFile(token, []byte(text), 0o600))
		require.NoError(t, b.Add(item(n)))
		waitItems(t, b, 0, 0)
	}
	require.Equal(t, map[string]bool{"Bearer one": true, "Bearer two": true}, r.tokens)
}

func TestFullOutboxRefusesItemsUntilSomeAreDelivered(t *testing.T) {
	var up atomic.Bool
	r := serve(t, func(review.Item, int) int {
		if up.Load() {
			return http.StatusOK
		}
		return http.StatusServiceUnavailable
	})
	o := options(filepath.Join(t.TempDir(), "reviews.db"), r.URL)
	o.MaxBytes = 4000
	b := open(t, o)
	n := 0
	var err error
	for ; err == nil; n++ {
		err = b.Add(item(n))
	}
	require.ErrorIs(t, err, outbox.ErrFull)
	require.EqualError(t, err, fmt.Sprintf("add to the outbox: the outbox of reviews is full: %d items wait and 0 were rejected, and at most 4000 bytes of both are kept", n-1))
	require.ErrorIs(t, b.Add(item(1000), item(1001)), outbox.ErrFull)
	b.Drop(err, item(1000), item(1001))
	b.Drop(errors.New("no space left on device"), item(1000))
	require.NoError(t, testutil.CollectAndCompare(b, strings.NewReader(`# HELP ml_model_reviews_dropped_total Responses below their gate that could not be stored for review, by reason: the outbox is full, or its disk cannot be written.
# TYPE ml_model_reviews_dropped_total counter
ml_model_reviews_dropped_total{model="support-bot",reason="disk",version="3"} 1
ml_model_reviews_dropped_total{model="support-bot",reason="full",version="3"} 2
`), "ml_model_reviews_dropped_total"))
	require.NoError(t, b.Add(item(0)), "what is in it is no addition")
	require.NoError(t, b.Close())

	b = open(t, o)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	require.ErrorIs(t, b.Add(item(1000)), outbox.ErrFull, "the bound outlives the process")
	run(t, b)
	up.Store(true)
	waitItems(t, b, 0, 0)
	require.NoError(t, b.Add(item(1000)))
	waitItems(t, b, 0, 0)
	require.Equal(t, n, r.have())
}

func TestManyAddsShareAFlush(t *testing.T) {
	b := open(t, options(filepath.Join(t.TempDir(), "reviews.db"), "http://127.0.0.1:1"))
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	var all sync.WaitGroup
	errs := make([]error, 64)
	for n := range errs {
		all.Go(func() {
			for i := range 4 {
				errs[n] = errors.Join(errs[n], b.Add(item(n*4+i)), b.Add(item(n*4+i)))
			}
		})
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	waitItems(t, b, 256, 0)
}

func TestOptions(t *testing.T) {
	o := options(filepath.Join(t.TempDir(), "reviews.db"), "reviews.example")
	_, err := outbox.Open(o)
	require.EqualError(t, err, "an outbox needs the http or https URL of a receiver")
	o.URL = "http://127.0.0.1:1"
	b := open(t, o)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	_, err = outbox.Open(o)
	require.ErrorContains(t, err, "another process has it open")
	o.MaxBytes = 0
	_, err = outbox.Open(o)
	require.ErrorContains(t, err, "an outbox needs a file, a size")
}

// TestChild is the process that other tests kill or starve: it adds items and says which are on disk.
func TestChild(t *testing.T) {
	file := os.Getenv("OUTBOX_CHILD")
	if file == "" {
		t.Skip("runs in a process of its own, started by other tests")
	}
	if size := os.Getenv("OUTBOX_FILE_SIZE"); size != "" {
		n, err := strconv.ParseUint(size, 10, 64)
		require.NoError(t, err)
		signal.Ignore(syscall.SIGXFSZ)
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}))
	}
	from, err := strconv.Atoi(os.Getenv("OUTBOX_FROM"))
	require.NoError(t, err)
	b := open(t, options(file, os.Getenv("OUTBOX_URL")))
	run(t, b)
	var next atomic.Int64
	next.Store(int64(from))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 2000 {
				n := int(next.Add(1))
				if err := b.Add(item(n)); err != nil {
					fmt.Printf("failed %v\n", err)
					return
				}
				fmt.Printf("added %d\n", n)
			}
		})
	}
	all.Wait()
}

func child(t *testing.T, file, url string, from int, env ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(append(os.Environ(), "OUTBOX_CHILD="+file, "OUTBOX_URL="+url, fmt.Sprintf("OUTBOX_FROM=%d", from)), env...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return cmd, bufio.NewScanner(out)
}

// killed runs a child until it has said of so many items that they are on disk, and notes which.
func killed(t *testing.T, file, url string, from, after int, added map[int]bool) {
	t.Helper()
	cmd, lines := child(t, file, url, from)
	for reported := 0; lines.Scan(); {
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "added %d", &n); err != nil {
			continue
		}
		added[n] = true
		if reported++; reported == after {
			require.NoError(t, cmd.Process.Kill())
		}
	}
	require.ErrorContains(t, cmd.Wait(), "signal: killed")
}

func TestKilledFiftyTimesWhileTheReviewersAreDown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "reviews.db")
	var up atomic.Bool
	r := serve(t, func(review.Item, int) int {
		if up.Load() {
			return http.StatusAccepted
		}
		return http.StatusServiceUnavailable
	})
	added := make(map[int]bool)
	for start := range 50 {
		// Odd runs are killed while the endpoint is down.
		url := r.URL
		if start%2 == 1 {
			url = "http://127.0.0.1:1"
		}
		killed(t, file, url, start*10_000, 1+start%17, added)
	}
	require.GreaterOrEqual(t, len(added), 50)

	up.Store(true)
	b := open(t, options(file, r.URL))
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	run(t, b)
	waitItems(t, b, 0, 0)
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := range added {
		require.Contains(t, r.items, item(n).ID, "item %d was on disk", n)
	}
	t.Logf("%d items were said to be on disk, %d arrived", len(added), len(r.items))
}

func TestKilledWhileItemsAreDelivered(t *testing.T) {
	file := filepath.Join(t.TempDir(), "reviews.db")
	r := serve(t, accept)
	added := make(map[int]bool)
	for start := range 10 {
		killed(t, file, r.URL, start*10_000, 40, added)
	}
	b := open(t, options(file, r.URL))
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	run(t, b)
	waitItems(t, b, 0, 0)
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := range added {
		require.Contains(t, r.items, item(n).ID)
	}
	repeated := 0
	for _, posts := range r.posts {
		if posts > 1 {
			repeated++
		}
	}
	// Only what was in flight when the process died is sent again; the receiver knows it by its ID.
	require.LessOrEqual(t, repeated, 10*8)
	t.Logf("%d items, %d of them sent more than once over 10 crashes", len(added), repeated)
}

func TestAFullDisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "reviews.db")
	r := serve(t, accept)
	cmd, lines := child(t, file, "http://127.0.0.1:1", 0, "OUTBOX_FILE_SIZE=131072")
	added, failed := make(map[int]bool), ""
	for lines.Scan() {
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "added %d", &n); err == nil {
			added[n] = true
		} else if strings.HasPrefix(lines.Text(), "failed") {
			failed = lines.Text()
		}
	}
	require.NoError(t, cmd.Wait())
	require.Contains(t, failed, "file too large")
	require.NotEmpty(t, added)

	b := open(t, options(file, r.URL))
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	run(t, b)
	waitItems(t, b, 0, 0)
	for n := range added {
		require.Contains(t, r.items, item(n).ID)
	}
}
