// Package webhook receives alerts from Alertmanager.
//
// Input: messages of its webhook, version 4, with a Bearer token. Output: alerts in the store, decisions on actions, and
// audit records of both. All of these are committed in one transaction before the response 202. State: the table alerts. It
// never calls a target itself.
//
// Alertmanager delivers at least once, and several Alertmanagers deliver more often. It repeats only requests answered with
// 5xx. So a message that cannot be accepted now gets 503, never 429. An alert is stored once for its fingerprint and start,
// however often it is delivered.
package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/responder/internal/action"
	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/auth"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// Path is the path to which Alertmanager posts.
const Path = "/api/v1/alerts"

// Config limits the requests and sets the token.
type Config struct {
	// Token is what Alertmanager sends as "Authorization: Bearer …". Its file is read again when it changes.
	Token config.SecretSource `yaml:"token"`
	// Requests beyond MaxRequestsPerSecond and MaxConcurrentRequests get 503; Alertmanager repeats them.
	MaxRequestsPerSecond  int `yaml:"max_requests_per_second"`
	MaxConcurrentRequests int `yaml:"max_concurrent_requests"`
	// MaxPending is the maximum number of actions waiting for their targets. Above it, alerts get 503.
	MaxPending int `yaml:"max_pending"`
	// Drop are labels and annotations that are not stored, because they contain data that must not be kept.
	Drop []string `yaml:"drop,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (c *Config) SetDefaults() {
	c.MaxRequestsPerSecond, c.MaxConcurrentRequests, c.MaxPending = 50, 16, 10_000
}

// Validate implements config.Validator.
func (c *Config) Validate(at config.At) {
	if c.Token == (config.SecretSource{}) {
		at.Errorf("token", "missing; want %s with what Alertmanager sends as its Bearer token", c.Token.Want())
	}
	for _, n := range []struct {
		key   string
		value int
	}{
		{"max_requests_per_second", c.MaxRequestsPerSecond}, {"max_concurrent_requests", c.MaxConcurrentRequests}, {"max_pending", c.MaxPending},
	} {
		if n.value < 1 {
			at.Errorf(n.key, "%d; want at least 1", n.value)
		}
	}
	for _, name := range []string{"alertname", "response", "model", "dataset"} {
		if slices.Contains(c.Drop, name) {
			at.Errorf("drop", "%q decides what is done; it cannot be dropped", name)
		}
	}
}

// Handler is the endpoint.
type Handler struct {
	store  *store.Store
	logger *slog.Logger
	now    func() time.Time
	worker *action.Worker
	token  *auth.Bearer

	current atomic.Pointer[limits]
}

// limits is the configuration in force.
type limits struct {
	Config
	rate  *rate.Limiter
	slots chan struct{}
}

// New returns the endpoint. worker has the configured actions, and is notified of new ones.
func New(s *store.Store, worker *action.Worker, logger *slog.Logger, now func() time.Time, cfg Config) *Handler {
	h := &Handler{store: s, worker: worker, logger: logger, now: now, token: &auth.Bearer{}}
	h.Configure(cfg)
	return h
}

// Configure replaces the configuration.
func (h *Handler) Configure(cfg Config) {
	h.token.Configure(cfg.Token)
	h.current.Store(&limits{
		Config: cfg,
		rate:   rate.NewLimiter(rate.Limit(cfg.MaxRequestsPerSecond), cfg.MaxRequestsPerSecond),
		slots:  make(chan struct{}, cfg.MaxConcurrentRequests),
	})
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "This endpoint takes POST.", http.StatusMethodNotAllowed)
		return
	}
	switch err := h.token.Check(r); {
	case errors.Is(err, auth.ErrDenied):
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "A Bearer token is required, and this is not it.", http.StatusUnauthorized)
		return
	case err != nil:
		h.unavailable(w, "The token cannot be read.", err)
		return
	}
	l := h.current.Load()
	if !l.rate.Allow() {
		h.unavailable(w, "Too many requests; repeat this one.", nil)
		return
	}
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	default:
		h.unavailable(w, "Too many requests at once; repeat this one.", nil)
		return
	}
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		http.Error(w, fmt.Sprintf("The body is larger than %d bytes; set max_alerts of Alertmanager's receiver.", tooLarge.Limit), http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		http.Error(w, "The body ended early.", http.StatusBadRequest)
		return
	}
	m, err := Decode(body)
	if err != nil {
		h.logger.Warn("A message of Alertmanager was refused", "err", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch err := h.take(r.Context(), m, l.Config); {
	case errors.Is(err, errFull):
		h.unavailable(w, "Too many actions wait for their targets; repeat this request.", nil)
	case err != nil:
		h.unavailable(w, "The alerts could not be stored; repeat this request.", err)
	default:
		h.worker.Wake()
		w.WriteHeader(http.StatusAccepted)
	}
}

// unavailable answers 503, so that Alertmanager repeats the request. Alertmanager has its own backoff and ignores
// Retry-After.
func (h *Handler) unavailable(w http.ResponseWriter, text string, err error) {
	if err != nil {
		h.logger.Error("Alerts cannot be taken; Alertmanager repeats them", "err", err)
	} else {
		h.logger.Warn("Alerts are not taken for now; Alertmanager repeats them", "reason", text)
	}
	http.Error(w, text, http.StatusServiceUnavailable)
}

var errFull = errors.New("too many actions wait")

// take stores the message and the resulting decisions.
func (h *Handler) take(ctx context.Context, m *Message, cfg Config) error {
	if m.TruncatedAlerts > 0 {
		h.logger.Warn("Alertmanager left alerts out of a message; raise max_alerts of its receiver", "left_out", m.TruncatedAlerts, "receiver", m.Receiver)
	}
	for i := range m.Alerts {
		for _, name := range cfg.Drop {
			delete(m.Alerts[i].Labels, name)
			delete(m.Alerts[i].Annotations, name)
		}
	}
	// All replicas lock rows in the same order, which prevents deadlocks.
	slices.SortStableFunc(m.Alerts, func(a, b Alert) int { return strings.Compare(a.ID(), b.ID()) })
	actions, lineage := h.worker.Actions(), h.worker.Lineage()
	return h.store.Write(ctx, func(tx *store.Tx) error {
		if err := action.LockDecisions(tx); err != nil {
			return err
		}
		waiting, err := action.Waiting(tx)
		if err != nil {
			return err
		}
		if waiting >= cfg.MaxPending {
			return errFull
		}
		now := h.now()
		if m.TruncatedAlerts > 0 {
			if err := audit.Append(tx, audit.Record{
				Time: now, Kind: "alerts_truncated", Actor: "alertmanager",
				Facts: map[string]string{"left_out": strconv.FormatUint(m.TruncatedAlerts, 10), "receiver": m.Receiver},
			}); err != nil {
				return err
			}
		}
		for i := range m.Alerts {
			a := &m.Alerts[i]
			if err := save(tx, a, m.Receiver, now); err != nil {
				return fmt.Errorf("alert %s: %w", a.ID(), err)
			}
			if a.Status == resolved {
				continue // Only the audit record is written.
			}
			if err := action.Decide(tx, actions, lineage, action.Alert{ID: a.ID(), Labels: a.Labels, Annotations: a.Annotations, StartsAt: a.StartsAt}, now); err != nil {
				return fmt.Errorf("alert %s: %w", a.ID(), err)
			}
		}
		return nil
	})
}

// causeNamed is the text before a probable cause in a description. The cause may be found only after the first delivery.
const causeNamed = "Probable cause:"

// save stores the alert and records new facts: that it fires, and once that it is resolved.
func save(tx *store.Tx, a *Alert, receiver string, now time.Time) error {
	labels, err := json.Marshal(a.Labels)
	if err != nil {
		return err
	}
	annotations, err := json.Marshal(a.Annotations)
	if err != nil {
		return err
	}
	var endsAt int64
	if a.Status == resolved {
		endsAt = store.Micros(a.EndsAt)
		if a.EndsAt.IsZero() {
			endsAt = store.Micros(now)
		}
	}
	var before, deliveries int64
	var previous string
	// The latest end is kept: with two Alertmanagers, "firing" may arrive after "resolved". A later start is another alert.
	if err := tx.QueryRow(`SELECT COALESCE(MAX(ends_at), 0), COALESCE(MAX(annotations), '') FROM alerts WHERE id = ?`, a.ID()).Scan(&before, &previous); err != nil {
		return err
	}
	if err := tx.QueryRow(`INSERT INTO alerts (id, fingerprint, alertname, response, severity, model, dataset, labels, annotations, receiver,
			starts_at, ends_at, first_received_at, last_received_at, deliveries)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
		ON CONFLICT (id) DO UPDATE SET last_received_at = excluded.last_received_at, deliveries = alerts.deliveries + 1,
			ends_at = CASE WHEN alerts.ends_at > excluded.ends_at THEN alerts.ends_at ELSE excluded.ends_at END,
			annotations = CASE WHEN excluded.ends_at > 0 THEN alerts.annotations ELSE excluded.annotations END
		RETURNING deliveries`,
		a.ID(), a.Fingerprint, a.Labels["alertname"], a.Labels["response"], a.Labels["severity"], a.Labels["model"], a.Labels["dataset"],
		string(labels), string(annotations), receiver, store.Micros(a.StartsAt), endsAt, store.Micros(now), store.Micros(now)).Scan(&deliveries); err != nil {
		return err
	}
	facts := map[string]string{"alertname": a.Labels["alertname"], "fingerprint": a.Fingerprint, "starts_at": a.StartsAt.UTC().Format(time.RFC3339Nano)}
	if deliveries == 1 {
		if err := audit.Append(tx, audit.Record{
			Time: now, Kind: "alert_received", Actor: "alertmanager", Subject: a.ID(), Facts: facts,
			Detail: map[string]any{"receiver": receiver, "status": a.Status, "labels": a.Labels, "annotations": a.Annotations},
		}); err != nil {
			return err
		}
	}
	if deliveries > 1 && endsAt == 0 && strings.Contains(string(annotations), causeNamed) && !strings.Contains(previous, causeNamed) {
		return audit.Append(tx, audit.Record{
			Time: now, Kind: "alert_explained", Actor: "alertmanager", Subject: a.ID(), Facts: facts, Detail: map[string]any{"annotations": a.Annotations},
		})
	}
	if endsAt > 0 && before == 0 {
		facts["ends_at"] = store.Time(endsAt).Format(time.RFC3339Nano)
		return audit.Append(tx, audit.Record{Time: now, Kind: "alert_resolved", Actor: "alertmanager", Subject: a.ID(), Facts: facts})
	}
	return nil
}

// Forget deletes alerts last delivered before the time, with their finished actions.
func Forget(ctx context.Context, s *store.Store, before time.Time) error {
	err := s.Write(ctx, func(tx *store.Tx) error {
		if err := action.Forget(tx, before); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM alerts WHERE last_received_at < ? AND NOT EXISTS (SELECT 1 FROM actions WHERE actions.alert_id = alerts.id)`, store.Micros(before))
		return err
	})
	if err != nil {
		return fmt.Errorf("forget old alerts: %w", err)
	}
	return nil
}
