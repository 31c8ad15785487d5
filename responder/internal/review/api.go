package review

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	contract "github.com/sightglass-ml/sightglass/internal/review"
	"github.com/sightglass-ml/sightglass/responder/internal/auth"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// DecisionsPath is the path from which evaluators read decisions.
const DecisionsPath = contract.Path + "/decisions.jsonl"

// maxItem bounds the body of a POST, excerpt included.
const maxItem = 2 << 20

// API accepts items from programs and returns decisions to them. Before Configure it answers 404.
type API struct {
	store  *store.Store
	logger *slog.Logger
	now    func() time.Time
	token  auth.Bearer
	cfg    atomic.Pointer[Config]
}

// NewAPI returns the endpoints of contract.Path and DecisionsPath.
func NewAPI(s *store.Store, logger *slog.Logger, now func() time.Time) *API {
	return &API{store: s, logger: logger, now: now}
}

// Configure replaces the configuration. With nil the endpoints answer 404.
func (a *API) Configure(cfg *Config) {
	if cfg != nil {
		a.token.Configure(cfg.Token)
	}
	a.cfg.Store(cfg)
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	cfg := a.cfg.Load()
	if cfg == nil {
		http.Error(w, "No reviews are configured.", http.StatusNotFound)
		return
	}
	method, serve := http.MethodPost, a.take
	if r.URL.Path == DecisionsPath {
		method, serve = http.MethodGet, a.decisions
	}
	if r.Method != method {
		w.Header().Set("Allow", method)
		http.Error(w, "This endpoint takes "+method+".", http.StatusMethodNotAllowed)
		return
	}
	switch err := a.token.Check(r); {
	case errors.Is(err, auth.ErrDenied):
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "A Bearer token is required, and this is not it.", http.StatusUnauthorized)
	case err != nil:
		a.unavailable(w, "The token cannot be read.", err)
	default:
		serve(w, r, *cfg)
	}
}

func (a *API) unavailable(w http.ResponseWriter, text string, err error) {
	a.logger.Error("The review queue cannot serve a request; the sender repeats it", "reason", text, "err", err)
	http.Error(w, text, http.StatusServiceUnavailable)
}

// take answers 201 when the item is stored, and 200 if it was stored before. Senders repeat a request only after 503.
func (a *API) take(w http.ResponseWriter, r *http.Request, cfg Config) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxItem))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		http.Error(w, fmt.Sprintf("The item is larger than %d bytes; shorten its excerpt.", tooLarge.Limit), http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		http.Error(w, "The body ended early.", http.StatusBadRequest)
		return
	}
	item, err := decode(body, r.Header.Get(contract.IdempotencyHeader))
	if err != nil {
		a.logger.Warn("A review item was refused", "err", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var isNew bool
	err = a.store.Write(r.Context(), func(tx *store.Tx) (err error) {
		isNew, err = add(tx, item, admit{cfg.MaxOpen, cfg.StoreExcerpts, cfg.Forward != nil}, a.now())
		return err
	})
	switch {
	case errors.Is(err, errIDTaken):
		http.Error(w, fmt.Sprintf("id: %s: %v", item.ID, errIDTaken), http.StatusUnprocessableEntity)
	case errors.Is(err, errFull):
		a.unavailable(w, fmt.Sprintf("The queue is full: %d items wait for a person. Repeat this request.", cfg.MaxOpen), nil)
	case err != nil:
		a.unavailable(w, "The item could not be stored; repeat this request.", err)
	case isNew:
		w.WriteHeader(http.StatusCreated)
	default:
		w.WriteHeader(http.StatusOK)
	}
}

// plainID matches IDs that can be part of a URL.
var plainID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]*$`)

// decode decodes an item. Its error lists everything that is wrong.
func decode(body []byte, key string) (contract.Item, error) {
	var item contract.Item
	if err := json.Unmarshal(body, &item); err != nil {
		return item, fmt.Errorf("the body is no review item: %w", err)
	}
	var errs []error
	if err := item.Validate(); err != nil {
		errs = append(errs, err)
	}
	if item.ID != "" && !plainID.MatchString(item.ID) {
		errs = append(errs, fmt.Errorf("id: is %.100q, expected letters, digits and . _ : -, beginning with one of the first two", item.ID))
	}
	if key != "" && key != item.ID {
		errs = append(errs, fmt.Errorf("%s: is %.100q, expected the item's id %.100q", contract.IdempotencyHeader, key, item.ID))
	}
	for _, f := range []struct {
		name  string
		value *string
		most  int
	}{
		{"id", &item.ID, 128},
		{"model", &item.Model, 256},
		{"version", &item.Version, 256},
		{"mlflow_run_id", &item.MLflowRunID, 256},
		{"trace_id", &item.TraceID, 128},
		{"span_id", &item.SpanID, 128},
		{"response_id", &item.ResponseID, 512},
		{"evaluation", &item.Evaluation, 256},
		{"label", &item.Label, 1024},
		{"explanation", &item.Explanation, 64 << 10},
		{"excerpt", &item.Excerpt, maxItem},
	} {
		if len(*f.value) > f.most {
			errs = append(errs, fmt.Errorf("%s: has %d bytes, expected at most %d", f.name, len(*f.value), f.most))
		}
		// PostgreSQL's TEXT cannot store a NUL character.
		*f.value = strings.ReplaceAll(*f.value, "\x00", "\uFFFD")
	}
	return item, errors.Join(errs...)
}

// exported is one line for evaluators: a decision and its item.
type exported struct {
	Seq      int64         `json:"seq"`
	Decision string        `json:"decision"`
	Reason   string        `json:"reason,omitempty"`
	By       string        `json:"decided_by"`
	At       time.Time     `json:"decided_at"`
	Item     contract.Item `json:"item"`
}

// exportBatch bounds the decisions read in one transaction, so that a slow client does not keep a transaction open.
const exportBatch = 100

// decisions streams the decisions after the number in since, in the order of their numbers.
func (a *API) decisions(w http.ResponseWriter, r *http.Request, _ Config) {
	since, err := strconv.ParseInt(r.URL.Query().Get("since"), 10, 64)
	if r.URL.Query().Get("since") != "" && (err != nil || since < 0) {
		http.Error(w, fmt.Sprintf("since: is %.100q, expected the seq of the last line you have, such as 17", r.URL.Query().Get("since")), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/jsonl; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	enc, out := json.NewEncoder(w), http.NewResponseController(w)
	for first := true; ; first = false {
		batch, err := a.readDecisions(r.Context(), since)
		switch {
		case err != nil && first:
			a.unavailable(w, "The decisions cannot be read; repeat this request.", err)
			return
		case err != nil:
			// The status is already sent: only a broken connection tells the client that the response is incomplete.
			a.logger.Error("An export of decisions broke off", "err", err)
			panic(http.ErrAbortHandler)
		case len(batch) == 0:
			return
		}
		// A slow client is accepted as long as it reads a batch within a minute.
		_ = out.SetWriteDeadline(time.Now().Add(time.Minute))
		for _, d := range batch {
			if err := enc.Encode(d); err != nil {
				return
			}
			since = d.Seq
		}
	}
}

func (a *API) readDecisions(ctx context.Context, since int64) (batch []exported, err error) {
	err = a.store.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT d.seq, d.decision, d.reason, d.decided_by, d.decided_at, i.item, i.excerpt
			FROM review_decisions d JOIN review_items i ON i.id = d.item_id WHERE d.seq > ? ORDER BY d.seq LIMIT ?`, since, exportBatch)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e exported
			var at int64
			var item, excerpt string
			if err := rows.Scan(&e.Seq, &e.Decision, &e.Reason, &e.By, &at, &item, &excerpt); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(item), &e.Item); err != nil {
				return fmt.Errorf("read a stored item: %w", err)
			}
			e.At, e.Item.Excerpt = store.Time(at), excerpt
			batch = append(batch, e)
		}
		return rows.Err()
	})
	return batch, err
}
