package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	amtemplate "github.com/prometheus/alertmanager/template"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/responder/internal/action"
	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
	"github.com/sightglass-ml/sightglass/responder/internal/store/storetest"
)

var fired = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

// endpoint is a handler on a store.
type endpoint struct {
	*Handler
	t     *testing.T
	token string // file
	cfg   Config
}

func newEndpoint(t *testing.T, s *store.Store) *endpoint {
	t.Helper()
	e := &endpoint{t: t, token: filepath.Join(t.TempDir(), "token")}
	e.write("s3cret")
	e.cfg.SetDefaults()
	e.cfg.MaxRequestsPerSecond = 10_000
	e.cfg.Token = config.SecretSource{File: config.Path(e.token)}
	w, err := action.NewWorker(action.Options{Store: s, Logger: promslog.NewNopLogger(), Now: time.Now})
	require.NoError(t, err)
	a := action.Config{Name: "retrain", Response: "retrain"}
	a.SetDefaults()
	a.DryRun = false
	a.Target.Webhook = &action.Webhook{URL: "http://127.0.0.1:1"}
	require.NoError(t, w.Configure([]action.Config{a}))
	e.Handler = New(s, w, promslog.NewNopLogger(), time.Now, e.cfg)
	return e
}

func (e *endpoint) write(token string) {
	require.NoError(e.t, os.WriteFile(e.token, []byte(token+"\n"), 0o600))
}

func (e *endpoint) post(body, token string) (int, string) {
	e.t.Helper()
	r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(body)).WithContext(context.WithoutCancel(e.t.Context()))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	http.MaxBytesHandler(e, 1<<20).ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// count returns one number of the store.
func (e *endpoint) count(query string) (n int) {
	e.t.Helper()
	require.NoError(e.t, e.store.Read(e.t.Context(), func(tx *store.Tx) error { return tx.QueryRow(query).Scan(&n) }))
	return n
}

// message returns Alertmanager's message of n alerts, made with its own types.
func message(t *testing.T, status string, n int) string {
	t.Helper()
	m := struct {
		*amtemplate.Data
		Version         string `json:"version"`
		GroupKey        string `json:"groupKey"`
		TruncatedAlerts uint64 `json:"truncatedAlerts"`
	}{Data: &amtemplate.Data{Receiver: "responder", Status: status, GroupLabels: amtemplate.KV{}, CommonLabels: amtemplate.KV{}}, Version: "4", GroupKey: `{}:{alertname="a"}`}
	for i := range n {
		a := amtemplate.Alert{
			Status:      status,
			Labels:      amtemplate.KV{"alertname": "MLModelDrift", "response": "retrain", "model": fmt.Sprintf("model-%d", i), "severity": "warning"},
			Annotations: amtemplate.KV{"mlflow_run_id": "run7", "summary": "Jane Doe's model drifts."},
			StartsAt:    fired, Fingerprint: fmt.Sprintf("%016x", i),
		}
		if status == "resolved" {
			a.EndsAt = fired.Add(time.Hour)
		}
		m.Alerts = append(m.Alerts, a)
	}
	text, err := json.Marshal(m)
	require.NoError(t, err)
	return string(text)
}

func TestDeliveriesOfAlerts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		e := newEndpoint(t, s)
		// Two Alertmanagers deliver the same alerts at the same time, and repeat them.
		var wg sync.WaitGroup
		codes := make(chan int, 16)
		body := message(t, "firing", 3)
		for range cap(codes) {
			wg.Go(func() {
				code, _ := e.post(body, "s3cret")
				codes <- code
			})
		}
		wg.Wait()
		for range cap(codes) {
			require.Equal(t, http.StatusAccepted, <-codes)
		}
		require.Equal(t, 3, e.count(`SELECT COUNT(*) FROM alerts`))
		require.Equal(t, 48, e.count(`SELECT SUM(deliveries) FROM alerts`))
		require.Equal(t, 3, e.count(`SELECT COUNT(*) FROM actions WHERE state = 'pending'`))
		require.Equal(t, 6, e.count(`SELECT COUNT(*) FROM audit`), "an alert received and an action decided, each once")

		for range 2 {
			code, text := e.post(message(t, "resolved", 4), "s3cret")
			require.Equal(t, http.StatusAccepted, code, text)
		}
		require.Equal(t, 3, e.count(`SELECT COUNT(*) FROM actions`), "an alert that is over causes nothing")
		require.Equal(t, 4, e.count(`SELECT COUNT(*) FROM alerts WHERE ends_at > starts_at`))
		require.Equal(t, 4, e.count(`SELECT COUNT(*) FROM audit WHERE kind = 'alert_resolved'`))
		_, err := audit.Verify(t.Context(), s)
		require.NoError(t, err)

		require.NoError(t, Forget(t.Context(), s, time.Now().Add(time.Hour)))
		require.Equal(t, 3, e.count(`SELECT COUNT(*) FROM alerts`), "what has an action under way is kept")
	})
}

func TestWebhookNeedsTheToken(t *testing.T) {
	e := newEndpoint(t, storetest.SQLite(t))
	body := message(t, "firing", 1)
	for name, token := range map[string]string{"none": "", "a wrong one": "secret", "a beginning": "s3cre", "one that goes on": "s3cretx", "two": "s3cret s3cret"} {
		t.Run(name, func(t *testing.T) {
			code, text := e.post(body, token)
			require.Equal(t, http.StatusUnauthorized, code)
			require.NotContains(t, text, "s3cret")
		})
	}
	require.Zero(t, e.count(`SELECT COUNT(*) FROM alerts`))

	e.write("rotated")
	code, _ := e.post(body, "s3cret")
	require.Equal(t, http.StatusUnauthorized, code, "a rotated token holds at once")
	code, _ = e.post(body, "rotated")
	require.Equal(t, http.StatusAccepted, code)

	require.NoError(t, os.Remove(e.token))
	code, _ = e.post(body, "rotated")
	require.Equal(t, http.StatusServiceUnavailable, code, "a token that is missing for a moment must lose no alert")

	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, Path, http.NoBody))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}

// Alertmanager gives up on 429 and repeats 503.
func TestWebhookAnswers503AboveItsLimits(t *testing.T) {
	for name, prepare := range map[string]func(e *endpoint){
		"too often": func(e *endpoint) {
			e.cfg.MaxRequestsPerSecond = 1
			e.Configure(e.cfg)
			e.post("{}", "s3cret")
		},
		"too many at once": func(e *endpoint) {
			e.cfg.MaxConcurrentRequests = 1
			e.Configure(e.cfg)
			e.current.Load().slots <- struct{}{}
		},
		"too many actions wait": func(e *endpoint) {
			e.cfg.MaxPending = 2
			e.Configure(e.cfg)
			e.post(message(e.t, "firing", 2), "s3cret")
		},
		"the database is down": func(e *endpoint) { require.NoError(e.t, e.store.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoint(t, storetest.SQLite(t))
			prepare(e)
			code, _ := e.post(message(t, "firing", 3), "s3cret")
			require.Equal(t, http.StatusServiceUnavailable, code)
		})
	}
}

func TestInvalidMessagesAreRefused(t *testing.T) {
	good := message(t, "firing", 1)
	alert := func(old, changed string) string { return strings.Replace(good, old, changed, 1) }
	for name, tc := range map[string]struct{ body, want string }{
		"no JSON":                        {"alerts", "the body is not a message of Alertmanager: invalid character"},
		"another type":                   {`{"alerts":7}`, "cannot unmarshal number into Go struct field Message.alerts"},
		"two messages":                   {good + good, "the body goes on after the message"},
		"an old version":                 {alert(`"version":"4"`, `"version":"3"`), `version: "3"; want "4"`},
		"no alerts":                      {`{"version":"4"}`, "alerts: has 0; want 1 to 1000"},
		"a status":                       {alert(`"status":"firing","labels"`, `"status":"burning","labels"`), `alerts[0].status: "burning"; want firing or resolved`},
		"a fingerprint":                  {alert(`"fingerprint":"0000000000000000"`, `"fingerprint":"../../etc"`), `alerts[0].fingerprint: "../../etc"; want 16 digits in hex`},
		"no start":                       {alert(`2026-11-24T09:00:00Z`, `0001-01-01T00:00:00Z`), "alerts[0].startsAt: 0001-01-01T00:00:00Z; want the time at which the alert began to fire"},
		"no name":                        {alert(`"alertname":"MLModelDrift",`, ``), "alerts[0].labels.alertname: missing"},
		"a long label":                   {alert("model-0", strings.Repeat("x", 5000)), "alerts[0].labels.model: has 5000 bytes; want UTF-8 of at most 4096, without NUL"},
		"a NUL, which no database takes": {alert("model-0", `a\u0000b`), "alerts[0].labels.model: has 3 bytes; want UTF-8"},
		"several wrongs at once":         {strings.NewReplacer(`"firing","labels"`, `"x","labels"`, `"fingerprint":"0000000000000000"`, `"fingerprint":""`).Replace(good), "\nalerts[0].fingerprint: \"\"; want 16 digits"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoint(t, storetest.SQLite(t))
			code, text := e.post(tc.body, "s3cret")
			require.Equal(t, http.StatusBadRequest, code)
			require.Contains(t, text, tc.want)
			require.Zero(t, e.count(`SELECT COUNT(*) FROM audit`))
		})
	}
	t.Run("a body that is too large", func(t *testing.T) {
		code, text := newEndpoint(t, storetest.SQLite(t)).post(alert("model-0", strings.Repeat("x", 2<<20)), "s3cret")
		require.Equal(t, http.StatusRequestEntityTooLarge, code)
		require.Contains(t, text, "set max_alerts")
	})
}

func TestTruncatedAlertsAreAudited(t *testing.T) {
	e := newEndpoint(t, storetest.SQLite(t))
	code, _ := e.post(strings.Replace(message(t, "firing", 1), `"truncatedAlerts":0`, `"truncatedAlerts":12`, 1), "s3cret")
	require.Equal(t, http.StatusAccepted, code)
	require.Equal(t, 1, e.count(`SELECT COUNT(*) FROM audit WHERE kind = 'alerts_truncated' AND facts LIKE '%"left_out":"12"%'`))
}

func TestDroppedFieldsAreNotStored(t *testing.T) {
	e := newEndpoint(t, storetest.SQLite(t))
	e.cfg.Drop = []string{"summary", "severity"}
	e.Configure(e.cfg)
	code, _ := e.post(message(t, "firing", 1), "s3cret")
	require.Equal(t, http.StatusAccepted, code)
	require.Equal(t, 1, e.count(`SELECT COUNT(*) FROM alerts WHERE annotations LIKE '%run7%' AND severity = ''`))
	require.Zero(t, e.count(`SELECT COUNT(*) FROM alerts WHERE annotations LIKE '%Jane%'`))
	require.Zero(t, e.count(`SELECT COUNT(*) FROM audit WHERE detail LIKE '%Jane%' OR detail LIKE '%warning%'`))
}

func TestInvalidConfigurationsAreRefused(t *testing.T) {
	for name, tc := range map[string]struct{ config, want string }{
		"no token":        {`{}`, "token: missing; want {file: PATH} or {env: NAME}"},
		"no requests":     {`{token: {file: a}, max_concurrent_requests: 0}`, "max_concurrent_requests: 0; want at least 1"},
		"what is decided": {`{token: {file: a}, drop: [model]}`, `"model" decides what is done; it cannot be dropped`},
	} {
		t.Run(name, func(t *testing.T) {
			var c Config
			require.ErrorContains(t, config.Decode("c.yaml", []byte(tc.config), &c), tc.want)
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":"4","alerts":[{"status":"firing","labels":{"alertname":"a"},"startsAt":"2026-11-24T09:00:00Z","fingerprint":"0000000000000000"}]}`))
	f.Add([]byte(`{"version":"4","alerts":[{}, {"labels":{"":""}}]}`))
	f.Add([]byte(`{"version":4`))
	s, err := store.Open(f.Context(), store.Config{Path: config.Path(filepath.Join(f.TempDir(), "responder.db"))})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, s.Close()) })
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := Decode(body)
		if err != nil {
			require.Less(t, len(err.Error()), 64<<10, "what is wrong with a message is told in a few lines")
			return
		}
		// What was let in can be stored.
		require.NoError(t, s.Write(context.WithoutCancel(t.Context()), func(tx *store.Tx) error {
			for i := range m.Alerts {
				if err := save(tx, &m.Alerts[i], m.Receiver, fired); err != nil {
					return err
				}
			}
			return nil
		}))
	})
}

// The audit trail has the probable cause: with the alert, or once it is found.
func TestTheCauseIsInTheAuditTrail(t *testing.T) {
	const plain, cause = "a description", "a description Probable cause: payment_provider = newpay, 97% of the change, 5% of the rows."
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		e := newEndpoint(t, s)
		for i, descriptions := range [][]string{
			{cause, cause},        // It is named when the alert comes,
			{plain, plain, cause}, // later,
			{plain + " No single segment explains this.", plain}, // never,
			{plain}, // or only when the alert is over, whose annotations are stale.
		} {
			post := func(status, description string) {
				body := strings.Replace(message(t, status, 1), `"mlflow_run_id":"run7"`, `"mlflow_run_id":"run7","description":"`+description+`"`, 1)
				code, text := e.post(strings.ReplaceAll(body, "0000000000000000", fmt.Sprintf("%016x", i)), "s3cret")
				require.Equal(t, http.StatusAccepted, code, text)
			}
			for _, d := range descriptions {
				post("firing", d)
			}
			post("resolved", cause)
		}
		of := func(kind, like string) int {
			return e.count(`SELECT COUNT(*) FROM audit WHERE kind = '` + kind + `' AND detail ` + like + ` '%Probable cause: payment_provider = newpay%'`)
		}
		require.Equal(t, 1, of("alert_received", "LIKE"))
		require.Equal(t, 3, of("alert_received", "NOT LIKE"))
		require.Equal(t, 1, of("alert_explained", "LIKE"))
		require.Equal(t, 1, e.count(`SELECT COUNT(*) FROM audit WHERE kind = 'alert_explained'`))
		_, err := audit.Verify(t.Context(), s)
		require.NoError(t, err)
	})
}
