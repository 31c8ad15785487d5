package review

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
	contract "github.com/sightglass-ml/sightglass/internal/review"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
	"github.com/sightglass-ml/sightglass/responder/internal/store/storetest"
)

// queue is an API over a store, with a clock that tests move.
type queue struct {
	*API
	t   *testing.T
	cfg Config
	at  time.Time
}

func newQueue(t *testing.T, s *store.Store) *queue {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("t0ken\n"), 0o600))
	q := &queue{t: t, at: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)}
	q.cfg.SetDefaults()
	q.cfg.Token = config.SecretSource{File: config.Path(token)}
	q.API = NewAPI(s, promslog.NewNopLogger(), func() time.Time { return q.at })
	q.Configure(&q.cfg)
	return q
}

func item(id string) contract.Item {
	return contract.Item{
		ID: id, Time: time.Unix(1e9, 0).UTC(), Model: "bot", Version: "3", TraceID: "0af7", Evaluation: "groundedness", Score: 0.4, Gate: 0.9, Excerpt: "The answer.",
	}
}

func (q *queue) do(method, path, body string, headers ...string) (int, string) {
	q.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body)).WithContext(context.WithoutCancel(q.t.Context()))
	r.Header.Set("Authorization", "Bearer t0ken")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	q.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func (q *queue) post(i contract.Item) (int, string) {
	q.t.Helper()
	body, err := json.Marshal(i)
	require.NoError(q.t, err)
	return q.do(http.MethodPost, contract.Path, string(body))
}

func (q *queue) decide(id string, revision int64, decision string) error {
	return q.store.Write(q.t.Context(), func(tx *store.Tx) error {
		return Decide(tx, id, revision, Decision{decision, "because", "anna", q.at})
	})
}

func (q *queue) status() (s Status) {
	q.t.Helper()
	require.NoError(q.t, q.store.Read(q.t.Context(), func(tx *store.Tx) (err error) {
		s, err = ReadStatus(tx)
		return err
	}))
	return s
}

func TestReviewItemIsQueuedOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		q := newQueue(t, s)
		codes := make([]int, 8)
		var wg sync.WaitGroup
		for i := range codes {
			wg.Go(func() { codes[i], _ = q.post(item("i-1")) })
		}
		wg.Wait()
		created := 0
		for _, code := range codes {
			if code == http.StatusCreated {
				created++
			} else {
				require.Equal(t, http.StatusOK, code)
			}
		}
		require.Equal(t, 1, created)
		require.EqualValues(t, 1, q.status().Items[Open])

		other := item("i-1")
		other.Score = 0.5
		code, text := q.post(other)
		require.Equal(t, http.StatusUnprocessableEntity, code)
		require.Contains(t, text, "id: i-1: the id is taken by an item of other content")

		require.NoError(t, s.Read(t.Context(), func(tx *store.Tx) error {
			e, _, err := Get(tx, "i-1", 100)
			require.Empty(t, e.Excerpt, "it is not kept unless the configuration says so")
			return err
		}))
		code, _ = q.post(item("i-1"))
		require.Equal(t, http.StatusOK, code, "an excerpt that was not kept does not make it another item")
	})
}

func TestFullQueueAsksTheSenderToRetry(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		q := newQueue(t, s)
		q.cfg.MaxOpen = 2
		q.Configure(&q.cfg)
		for n, want := range []int{201, 201, 503} {
			code, _ := q.post(item(fmt.Sprintf("i-%d", n)))
			require.Equal(t, want, code)
		}
		code, _ := q.post(item("i-1"))
		require.Equal(t, 200, code, "what is queued can be sent again")
		require.NoError(t, q.decide("i-0", 0, Accepted))
		code, _ = q.post(item("i-2"))
		require.Equal(t, 201, code)
		require.ErrorIs(t, q.decide("i-0", 0, Rejected), ErrConflict)
		require.ErrorIs(t, q.decide("none", 0, Rejected), ErrNotFound)
	})
}

func TestInvalidReviewItemsAreRefused(t *testing.T) {
	q := newQueue(t, storetest.SQLite(t))
	good, err := json.Marshal(item("i-1"))
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		method, path, body string
		headers            []string
		code               int
		contains           string
	}{
		"no token":          {http.MethodPost, contract.Path, string(good), []string{"Authorization", ""}, 401, "Bearer token"},
		"another token":     {http.MethodPost, contract.Path, string(good), []string{"Authorization", "Bearer x"}, 401, "Bearer token"},
		"another method":    {http.MethodGet, contract.Path, "", nil, 405, "takes POST"},
		"no JSON":           {http.MethodPost, contract.Path, "{", nil, 400, "the body is no review item"},
		"nothing in it":     {http.MethodPost, contract.Path, "{}", nil, 400, "model: is missing"},
		"another key":       {http.MethodPost, contract.Path, string(good), []string{contract.IdempotencyHeader, "i-2"}, 400, `Idempotency-Key: is "i-2", expected the item's id "i-1"`},
		"an odd id":         {http.MethodPost, contract.Path, strings.Replace(string(good), "i-1", "../x", 1), nil, 400, `id: is "../x"`},
		"a long model":      {http.MethodPost, contract.Path, strings.Replace(string(good), "bot", strings.Repeat("m", 257), 1), nil, 400, "model: has 257 bytes, expected at most 256"},
		"a body too large":  {http.MethodPost, contract.Path, strings.Repeat(" ", maxItem+1), nil, 413, "larger than"},
		"an odd cursor":     {http.MethodGet, DecisionsPath + "?since=yesterday", "", nil, 400, `since: is "yesterday"`},
		"decisions unasked": {http.MethodGet, DecisionsPath, "", []string{"Authorization", ""}, 401, "Bearer token"},
	} {
		t.Run(name, func(t *testing.T) {
			code, text := q.do(tc.method, tc.path, tc.body, tc.headers...)
			require.Equal(t, tc.code, code, text)
			require.Contains(t, text, tc.contains)
		})
	}
	require.Empty(t, q.status().Items)
	q.Configure(nil)
	code, _ := q.post(item("i-1"))
	require.Equal(t, 404, code)
}

func TestDecisionsAreExportedFromACursor(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		q := newQueue(t, s)
		q.cfg.StoreExcerpts = true
		q.Configure(&q.cfg)
		const n = exportBatch + 5
		for i := range n {
			one := item(fmt.Sprintf("i-%d", i))
			one.Excerpt = "a\x00b"
			code, text := q.post(one)
			require.Equal(t, 201, code, text)
			require.NoError(t, q.decide(one.ID, 0, Rejected))
		}
		read := func(query string) (lines []exported) {
			code, text := q.do(http.MethodGet, DecisionsPath+query, "")
			require.Equal(t, 200, code)
			for line := range strings.Lines(text) {
				var e exported
				require.NoError(t, json.Unmarshal([]byte(line), &e))
				lines = append(lines, e)
			}
			return lines
		}
		all := read("")
		require.Len(t, all, n)
		for i, e := range all {
			require.EqualValues(t, i+1, e.Seq)
		}
		require.Equal(t, "anna", all[0].By)
		require.Equal(t, "because", all[0].Reason)
		require.Equal(t, "a\uFFFDb", all[0].Item.Excerpt)
		require.Len(t, read(fmt.Sprintf("?since=%d", n-2)), 2)
		require.Empty(t, read(fmt.Sprintf("?since=%d", n)))

		require.NoError(t, s.Write(t.Context(), func(tx *store.Tx) error { return Forget(tx, q.at.Add(time.Second)) }))
		require.Empty(t, read(""))
		require.NoError(t, func() error { q.post(item("i-new")); return q.decide("i-new", 0, Accepted) }())
		require.EqualValues(t, n+1, read(fmt.Sprintf("?since=%d", n))[0].Seq, "numbers are never used twice")
		require.EqualValues(t, n, q.status().Decisions[Rejected], "a counter does not fall with what it counted")
	})
}

func TestItemsAreForwardedUntilAccepted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		q := newQueue(t, s)
		answer := http.StatusBadGateway
		var got []contract.Item
		tool := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			var i contract.Item
			if json.Unmarshal(body, &i) == nil && r.Header.Get(contract.IdempotencyHeader) == i.ID && r.Header.Get("Authorization") == "Bearer t0ken" {
				got = append(got, i)
			}
			w.WriteHeader(answer)
		}))
		defer tool.Close()
		q.cfg.Forward = &ForwardConfig{URL: tool.URL, Token: q.cfg.Token}
		q.Configure(&q.cfg)
		code, _ := q.post(item("i-1"))
		require.Equal(t, 201, code)

		require.ErrorContains(t, q.Forward(t.Context()), "502 Bad Gateway")
		require.Len(t, got, 1)
		require.NoError(t, q.Forward(t.Context()))
		require.Len(t, got, 1, "it waits before it tries again")
		require.EqualValues(t, 1, q.status().Waiting)
		q.at, answer = q.at.Add(forwardRetry), http.StatusOK
		require.NoError(t, q.Forward(t.Context()))
		require.NoError(t, q.Forward(t.Context()))
		require.Len(t, got, 2)
		require.Equal(t, "i-1", got[1].ID)
		require.Empty(t, got[1].Excerpt, "what is not kept is not passed on")
		require.EqualValues(t, 1, q.status().Forwarded["ok"])

		answer = http.StatusBadRequest
		q.post(item("i-2"))
		require.NoError(t, q.Forward(t.Context()))
		require.EqualValues(t, 1, q.status().Forwarded["refused"])
		require.Zero(t, q.status().Waiting)
	})
}
