package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
	"github.com/sightglass-ml/sightglass/responder/internal/lineage"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
	"github.com/sightglass-ml/sightglass/responder/internal/store/storetest"
)

// clock is set by the tests.
type clock struct{ micros atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.micros.Store(time.Date(2026, 11, 24, 23, 0, 0, 0, time.UTC).UnixMicro())
	return c
}

func (c *clock) now() time.Time          { return store.Time(c.micros.Load()) }
func (c *clock) advance(d time.Duration) { c.micros.Add(d.Microseconds()) }

// bench is a store, a clock and a worker.
type bench struct {
	t     *testing.T
	store *store.Store
	clock *clock
	*Worker
}

func newBench(t *testing.T, s *store.Store, actions string) *bench {
	t.Helper()
	b := &bench{t: t, store: s, clock: newClock()}
	b.Worker = b.worker(actions)
	return b
}

// worker returns a further worker on the same store.
func (b *bench) worker(actions string) *Worker {
	b.t.Helper()
	w, err := NewWorker(Options{Store: b.store, Logger: promslog.NewNopLogger(), Now: b.clock.now})
	require.NoError(b.t, err)
	var c struct {
		Actions []Config `yaml:"actions"`
	}
	require.NoError(b.t, config.Decode(filepath.Join(b.t.TempDir(), "c.yaml"), []byte(actions), &c))
	require.NoError(b.t, w.Configure(c.Actions))
	return w
}

// fire delivers a firing alert; n makes it another one.
func (b *bench) fire(n int, labels ...string) {
	b.t.Helper()
	a := Alert{
		ID: fmt.Sprintf("alert-%d", n), StartsAt: b.clock.now(), Labels: map[string]string{"alertname": "MLModelDrift", "response": "retrain", "model": "fraud"},
		Annotations: map[string]string{"mlflow_run_id": "run7"},
	}
	for i := 0; i+1 < len(labels); i += 2 {
		a.Labels[labels[i]] = labels[i+1]
	}
	require.NoError(b.t, b.store.Write(b.t.Context(), func(tx *store.Tx) error {
		if err := LockDecisions(tx); err != nil {
			return err
		}
		text, err := json.Marshal(a.Labels)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO alerts (id, fingerprint, alertname, response, severity, model, dataset, labels, annotations, receiver,
			starts_at, ends_at, first_received_at, last_received_at, deliveries) VALUES (?, '', ?, ?, ?, ?, ?, ?, '', '', 0, 0, 0, ?, 0) ON CONFLICT (id) DO NOTHING`,
			a.ID, a.Labels["alertname"], a.Labels["response"], a.Labels["severity"], a.Labels["model"], a.Labels["dataset"], string(text), store.Micros(b.clock.now())); err != nil {
			return err
		}
		return Decide(tx, b.Actions(), b.Lineage(), a, b.clock.now())
	}))
}

// work runs the worker until nothing is due.
func (b *bench) work() {
	b.t.Helper()
	for {
		did, err := b.Once(b.t.Context())
		require.NoError(b.t, err)
		if !did {
			return
		}
	}
}

// results are the totals that are not 0, as "result=n", in the order of the reference.
func (b *bench) results() string {
	b.t.Helper()
	s := b.status()
	var out []string
	for _, r := range Results {
		for _, a := range Responses {
			if n := s.Totals[[2]string{a, r}]; n > 0 {
				out = append(out, fmt.Sprintf("%s=%d", r, n))
			}
		}
	}
	return strings.Join(out, " ")
}

func (b *bench) status() (s Status) {
	b.t.Helper()
	require.NoError(b.t, b.store.Read(b.t.Context(), func(tx *store.Tx) (err error) {
		s, err = ReadStatus(tx)
		return err
	}))
	return s
}

// verify proves the audit trail and returns its kinds in order.
func (b *bench) verify() (kinds []string) {
	b.t.Helper()
	_, err := audit.Verify(b.t.Context(), b.store)
	require.NoError(b.t, err)
	require.NoError(b.t, b.store.Read(b.t.Context(), func(tx *store.Tx) error {
		return tx.Each(`SELECT kind FROM audit ORDER BY seq`, nil, func(scan func(...any) error) error {
			var kind string
			err := scan(&kind)
			kinds = append(kinds, kind)
			return err
		})
	}))
	return kinds
}

// receiver counts the calls of each key and returns the answers that a test sets.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	keys   map[string]int
	answer func(call int, w http.ResponseWriter)
	state  string // of all runs
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{keys: map[string]int{}, state: "ok"}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if req.Method == http.MethodGet {
			_, _ = fmt.Fprintf(w, `{"state":%q}`, r.state)
			return
		}
		key := req.Header.Get(KeyHeader)
		r.keys[key]++
		if r.answer != nil {
			r.answer(r.calls(), w)
			return
		}
		_, _ = fmt.Fprintf(w, `{"id":%q}`, key)
	}))
	t.Cleanup(r.Close)
	return r
}

// calls returns the number of calls. The caller holds the lock, or no call is in progress.
func (r *receiver) calls() (n int) {
	for _, k := range r.keys {
		n += k
	}
	return n
}

func (r *receiver) config(more string) string {
	if !strings.Contains(more, "grace:") {
		more = "grace: 0s, " + more
	}
	return fmt.Sprintf(`{actions: [{name: retrain, response: retrain, dry_run: false, poll_interval: 1m, %s target: {webhook:
		{url: %q, id: id, status: {url: %q, field: state, succeeded: [ok], failed: [bad]}}}}]}`, more, r.URL, r.URL+"/{id}")
}

func TestRepeatedAlertStartsOneAction(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		r := newReceiver(t)
		r.state = "soon"
		b := newBench(t, s, r.config("cooldown: 1h, max_in_flight: 2,"))
		for range 3 {
			b.fire(0)
			b.work()
		}
		require.Equal(t, 1, r.calls(), "an alert that is repeated acts once")

		for n := range 10 {
			b.clock.advance(5 * time.Minute)
			b.fire(1 + n)
			b.work()
		}
		require.Equal(t, 1, r.calls(), "an alert that flaps is a new alert each time, and the cooldown holds")
		require.Equal(t, "cooldown=10", b.results())

		b.clock.advance(15 * time.Minute)
		b.fire(10)
		b.work()
		require.Equal(t, 1, r.calls(), "the cooldown is over, but the run is not")
		r.state = "ok"
		b.clock.advance(2 * time.Minute)
		b.work()
		b.fire(5)
		b.fire(10)
		b.work()
		require.Equal(t, 2, r.calls(), "what is still firing afterwards acts, once for all its alerts")
		b.fire(100, "model", "other")
		b.work()
		require.Equal(t, 3, r.calls(), "another model has a cooldown of its own")
		b.fire(101, "response", "")
		b.fire(102, "response", "review")
		b.fire(103, "response", "rm -rf /")
		b.work()
		require.Equal(t, 3, r.calls(), "what no action is configured for does nothing")
		for _, n := range r.keys {
			require.Equal(t, 1, n)
		}
		b.verify()
	})
}

func TestActionStates(t *testing.T) {
	r := newReceiver(t)
	b := newBench(t, storetest.SQLite(t), r.config(""))
	r.answer = func(call int, w http.ResponseWriter) {
		if call == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = fmt.Fprint(w, `{"id":"r1"}`)
	}
	var latency time.Duration
	b.Started = func(_ string, l time.Duration) { latency = l }
	b.fire(0)
	require.EqualValues(t, 1, b.status().Pending["retrain"])
	b.work()
	s := b.status()
	require.EqualValues(t, 1, s.Pending["retrain"])
	require.EqualValues(t, 1, s.Retrying["retrain"])
	b.clock.advance(11 * time.Second)
	b.work()
	require.Equal(t, 11*time.Second, latency)
	s = b.status()
	require.Zero(t, s.Pending["retrain"])
	require.EqualValues(t, 1, s.Running["retrain"])
	require.Empty(t, b.results(), "the target has it, and that is not the end")
	b.clock.advance(time.Minute)
	b.work()
	require.Equal(t, "succeeded=1", b.results())
	require.Equal(t, []string{"action_decided", "action_attempt_failed", "action_started", "action_finished"}, b.verify())
	require.Len(t, r.keys, 1, "the second attempt has the key of the first")
}

func TestUnsuccessfulEndsOfActions(t *testing.T) {
	for name, tc := range map[string]struct {
		more   string
		answer func(call int, w http.ResponseWriter)
		state  string
		want   string
	}{
		"the target says that the run failed": {state: "bad", want: "failed=1"},
		"the run does not end":                {more: "run_timeout: 1h,", state: "soon", want: "timed_out=1"},
		"the target refuses for good":         {answer: func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusBadRequest) }, want: "rejected=1"},
		"the target does not answer in time":  {answer: func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }, want: "undelivered=1"},
		"the target asks for too much time": {answer: func(_ int, w http.ResponseWriter) {
			w.Header().Set("Retry-After", "7200")
			w.WriteHeader(http.StatusTooManyRequests)
		}, more: "give_up_after: 30m,", want: "undelivered=1"},
		"the alert lacks what the action needs": {more: "requires: [version, mlflow_run_id],", want: "rejected=1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t)
			r.answer = tc.answer
			r.state = tc.state
			b := newBench(t, storetest.SQLite(t), r.config(tc.more))
			b.fire(0)
			for range 200 {
				b.work()
				b.clock.advance(time.Minute)
			}
			require.Equal(t, tc.want, b.results())
			require.LessOrEqual(t, r.calls(), 40, "pauses grow")
			kinds := b.verify()
			require.Equal(t, "action_finished", kinds[len(kinds)-1])
			b.fire(1)
			require.Equal(t, tc.want+" cooldown=1", b.results(), "its cooldown is not lifted")
		})
	}
}

// resolve ends an alert.
func (b *bench) resolve(n int) {
	b.t.Helper()
	require.NoError(b.t, b.store.Write(b.t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE alerts SET ends_at = ? WHERE id = ?`, store.Micros(b.clock.now()), fmt.Sprintf("alert-%d", n))
		return err
	}))
}

func TestRetrainingWaitsForAnAlertThatCancelsIt(t *testing.T) {
	drift := []string{"field", "amount"}
	broken := append([]string{"response", ""}, drift...)
	for sentence, c := range map[string]struct {
		config string
		do     func(b *bench)
		calls  int
		result string
	}{
		"it is called after ten minutes": {"", func(b *bench) { b.clock.advance(10 * time.Minute) }, 1, "succeeded=1"},
		"and not before":                 {"", func(b *bench) { b.clock.advance(8*time.Minute - time.Second) }, 0, ""},
		"a grace of one's own":           {"grace: 1m,", func(b *bench) { b.clock.advance(time.Minute) }, 1, "succeeded=1"},
		"a dataset that is broken minutes after the drift holds it back": {"", func(b *bench) {
			b.clock.advance(5 * time.Minute)
			b.fire(1, broken...)
			b.clock.advance(time.Hour)
			b.fire(0, drift...)
		}, 0, "held=1"},
		"a break that came first holds it back": {"daily_budget: 1,", func(b *bench) {
			b.fire(1, broken...) // Alert 0 came in the same message, and was decided first.
			b.fire(2, append([]string{"severity", "warning"}, drift...)...)
			b.fire(3, append([]string{"severity", "warning"}, broken...)...)
			b.clock.advance(time.Hour)
		}, 0, "held=2"},
		"cooldown and budget are free for another field's drift": {"daily_budget: 1,", func(b *bench) {
			b.fire(1, broken...)
			b.fire(2, "field", "country")
			b.clock.advance(10 * time.Minute)
		}, 1, "succeeded=1 held=1"},
		"the break of another field takes nothing back": {"", func(b *bench) {
			b.fire(1, "response", "", "field", "country")
			b.clock.advance(10 * time.Minute)
		}, 1, "succeeded=1"},
		"after the breakage it is decided again": {"", func(b *bench) {
			b.fire(1, broken...)
			b.clock.advance(time.Hour)
			b.resolve(1)
			b.fire(0, drift...)
			b.clock.advance(10 * time.Minute)
		}, 1, "succeeded=1 held=1"},
		"a break whose end never came is forgotten after a day": {"", func(b *bench) {
			b.fire(1, broken...)
			b.clock.advance(24*time.Hour + time.Second)
			b.fire(0, drift...)
			b.clock.advance(10 * time.Minute)
		}, 1, "succeeded=1 held=1"},
		"what the target has is not taken back": {"", func(b *bench) {
			b.clock.advance(10 * time.Minute)
			b.work()
			b.fire(1, broken...)
		}, 1, "succeeded=1"},
	} {
		t.Run(sentence, func(t *testing.T) {
			on := func(t *testing.T, s *store.Store) {
				r := newReceiver(t)
				config := r.config(c.config)
				if c.config == "" || !strings.Contains(c.config, "grace") {
					config = strings.Replace(config, "grace: 0s, ", "", 1) // The default.
				}
				b := newBench(t, s, config)
				b.fire(0, drift...)
				c.do(b)
				b.work()
				b.clock.advance(2 * time.Minute) // The worker looks at its run.
				b.work()
				require.Equal(t, c.calls, r.calls())
				require.Equal(t, c.result, b.results())
				b.verify()
			}
			if c.result == "held=1" { // The queries are the same in all of them.
				storetest.Each(t, on)
				return
			}
			on(t, storetest.SQLite(t))
		})
	}
}

// in are labels of an object in a cluster and namespace; later ones replace earlier ones.
func in(cluster, namespace string, labels ...string) []string {
	return append([]string{"cluster", cluster, "namespace", namespace}, labels...)
}

func TestStagingNeverHoldsBackProduction(t *testing.T) {
	staging, production := in("prod", "staging"), in("prod", "ml")
	for sentence, c := range map[string]struct {
		config string
		other  []string
	}{
		"by the cooldown and the run of the model":           {"max_in_flight: 2,", staging},
		"in another cluster":                                 {"max_in_flight: 2,", in("test", "ml")},
		"without a cluster and a namespace":                  {"max_in_flight: 2,", nil},
		"by the daily budget":                                {"max_in_flight: 2, daily_budget: 1,", in("prod", "staging", "model", "other")},
		"with further labels that distinguish objects":       {"max_in_flight: 2, object_labels: [tier],", staging},
		"with one of them a part of every object's name too": {"max_in_flight: 2, object_labels: [cluster],", staging},
	} {
		t.Run(sentence, func(t *testing.T) {
			r := newReceiver(t)
			r.state = "soon"
			b := newBench(t, storetest.SQLite(t), r.config(c.config))
			b.fire(0, c.other...)
			b.fire(1, production...)
			b.work()
			require.Equal(t, 2, r.calls())
			b.fire(2, production...)
			require.Equal(t, "cooldown=1", b.results(), "the cooldown of its own holds")
		})
	}
}

func TestStateFromBeforeObjectsHadAClusterAndANamespaceStillHoldsBack(t *testing.T) {
	older := func(t *testing.T, s *store.Store) {
		require.NoError(t, s.Write(t.Context(), func(tx *store.Tx) error {
			for _, statement := range []string{
				`UPDATE actions SET object = 'retrain/model/fraud'`,
				`UPDATE cooldowns SET object = 'retrain/model/fraud' WHERE object NOT LIKE 'dry-run/%'`,
				`UPDATE cooldowns SET object = 'dry-run/retrain/model/fraud' WHERE object LIKE 'dry-run/%'`,
				`DELETE FROM schema_migrations WHERE version = 4`,
			} {
				if _, err := tx.Exec(statement); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	for name, cfg := range map[string]store.Config{
		"SQLite":     {Path: config.Path(filepath.Join(t.TempDir(), "responder.db"))},
		"PostgreSQL": storetest.PostgreSQL(t),
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t)
			r.state = "soon"
			b := newBench(t, storetest.Open(t, cfg), r.config("cooldown: 1h, max_in_flight: 2,"))
			b.fire(0, in("prod", "ml")...)
			b.Worker = b.worker(strings.Replace(r.config("cooldown: 1h,"), "dry_run: false, ", "", 1))
			b.fire(1, in("prod", "ml")...)
			require.Equal(t, "dry_run=1", b.results())

			older(t, b.store)
			b.store = storetest.Open(t, cfg)
			b.fire(2, in("prod", "ml")...)
			require.Equal(t, "dry_run=1 cooldown=1", b.results())

			b.Worker = b.worker(r.config("cooldown: 1h, max_in_flight: 2,"))
			b.fire(3, in("prod", "ml")...)
			b.work()
			require.Equal(t, "dry_run=1 cooldown=2", b.results())
			require.Equal(t, 1, r.calls(), "what was pending is sent")
			b.clock.advance(2 * time.Hour)
			b.fire(3, in("prod", "ml")...)
			require.Equal(t, "dry_run=1 cooldown=2", b.results(), "the cooldown is over, but the run is not")
			r.state = "ok"
			b.work()
			b.fire(3, in("prod", "ml")...)
			b.fire(4, in("prod", "staging")...)
			b.work()
			require.Equal(t, 3, r.calls(), "from then on each has its own")
		})
	}
}

func TestBrokenDataHoldBackRetraining(t *testing.T) {
	model := func(labels ...string) []string {
		return in("prod", "ml", append([]string{"field", "amount"}, labels...)...)
	}
	table := func(labels ...string) []string {
		return in("prod", "ml", append([]string{"alertname", "MLDatasetDrift", "model", "", "dataset", "payments", "column", "amount"}, labels...)...)
	}
	brokenInput := func(labels ...string) []string {
		return model(append([]string{"alertname", "MLModelInputBroken", "response", "", "severity", "warning"}, labels...)...)
	}
	brokenTable := func(labels ...string) []string {
		return table(append([]string{"alertname", "MLDatasetBroken", "response", "replay", "layer", "data", "severity", "warning"}, labels...)...)
	}
	feeds := func(model string) []lineage.Link {
		return []lineage.Link{{Dataset: "payments", Feeds: []string{model}}}
	}
	const held, sent = "held=1", "succeeded=1"
	for sentence, c := range map[string]struct {
		drift, broken []string
		links         []lineage.Link
		result        string
	}{
		"a break of the same feature, which silences the same alert without response": {model(), brokenInput(), nil, held},
		"a break of another feature":                                     {model(), brokenInput("field", "country"), nil, held},
		"a break of another version":                                     {model("version", "3"), brokenInput("version", "4"), nil, held},
		"not one of another model":                                       {model(), brokenInput("model", "limits"), nil, sent},
		"not one of the model in staging":                                {model(), brokenInput("namespace", "staging"), nil, sent},
		"nor in another cluster":                                         {model(), brokenInput("cluster", "test"), nil, sent},
		"a broken table that drifts":                                     {table(), brokenTable(), nil, held},
		"in any column":                                                  {table(), brokenTable("column", "country"), nil, held},
		"not another table":                                              {table(), brokenTable("dataset", "orders"), nil, sent},
		"nor the table in staging":                                       {table(), brokenTable("namespace", "staging"), nil, sent},
		"a broken table that the drifted model's alert names":            {model("dataset", "payments"), brokenTable(), nil, held},
		"a broken table that feeds the model":                            {model(), brokenTable(), feeds("fraud"), held},
		"not one that feeds another model":                               {model(), brokenTable(), feeds("limits"), sent},
		"nor one of staging, if the link says nothing about namespaces":  {model(), brokenTable("namespace", "staging"), feeds("fraud"), sent},
		"a critical alert about the table, which silences the other one": {table(), brokenTable("alertname", "MLDatasetNullRatioHigh", "severity", "critical", "response", ""), nil, held},
		"not a warning about it":                                         {table(), brokenTable("alertname", "MLDatasetNullRatioHigh", "response", ""), nil, sent},
		"nor a critical alert of another layer":                          {table(), brokenTable("alertname", "Other", "severity", "critical", "layer", "business"), nil, sent},
	} {
		t.Run(sentence, func(t *testing.T) {
			start := func(t *testing.T, s *store.Store) *bench {
				r := newReceiver(t)
				b := newBench(t, s, strings.Replace(r.config("daily_budget: 1,"), "grace: 0s, ", "", 1))
				b.Lineage = func() *grouping.Graph { return lineage.Of(c.links) }
				return b
			}
			end := func(b *bench) {
				b.clock.advance(10 * time.Minute)
				b.work()
				b.clock.advance(2 * time.Minute)
				b.work()
			}
			late := func(t *testing.T, s *store.Store) {
				b := start(t, s)
				b.fire(0, c.drift...)
				b.clock.advance(5 * time.Minute)
				b.fire(1, c.broken...)
				end(b)
				require.Equal(t, c.result, b.results(), "a break within the grace")
				if c.result == held { // Cooldown and budget are free for the drift that still fires after the break.
					b.resolve(1)
					b.fire(0, c.drift...)
					end(b)
					require.Equal(t, "succeeded=1 held=1", b.results())
				}
				b.verify()
			}
			if c.links != nil && c.result == held { // The queries are the same in all of them.
				storetest.Each(t, late)
			} else {
				late(t, storetest.SQLite(t))
			}
			b := start(t, storetest.SQLite(t))
			b.fire(1, c.broken...)
			b.fire(0, c.drift...)
			end(b)
			require.Equal(t, c.result, b.results(), "a break that came first")
		})
	}
}

func TestAnAlertThatAsksForRetrainingDoesNotHoldItselfBack(t *testing.T) {
	r := newReceiver(t)
	b := newBench(t, storetest.SQLite(t), r.config(""))
	for range 2 {
		b.fire(0, "alertname", "MLDatasetDrift", "model", "", "dataset", "payments", "severity", "critical", "layer", "data")
	}
	b.work()
	require.Equal(t, 1, r.calls())
}

func TestBrokenDataDoNotHoldBackTheirReplay(t *testing.T) {
	r := newReceiver(t)
	b := newBench(t, storetest.SQLite(t), strings.Replace(r.config("grace: 10m,"), "response: retrain", "response: replay", 1))
	for range 2 {
		b.fire(0, "alertname", "MLDatasetBroken", "response", "replay", "model", "", "dataset", "payments", "layer", "data", "severity", "critical")
	}
	b.clock.advance(10 * time.Minute)
	b.work()
	require.Equal(t, 1, r.calls())
}

func TestDryRunShowsTheRequest(t *testing.T) {
	r := newReceiver(t)
	b := newBench(t, storetest.SQLite(t), strings.Replace(r.config("cooldown: 1h,"), "dry_run: false, ", "", 1))
	b.fire(0)
	b.fire(0)
	b.fire(1)
	b.work()
	require.Equal(t, "dry_run=1 cooldown=1", b.results())
	require.Zero(t, r.calls())

	b.Worker = b.worker(r.config("cooldown: 1h,"))
	b.fire(1)
	b.work()
	require.Equal(t, 1, r.calls(), "a dry run costs the real one nothing")
}

func TestDailyBudget(t *testing.T) {
	r := newReceiver(t)
	b := newBench(t, storetest.SQLite(t), r.config("cooldown: 1m, daily_budget: 3, max_in_flight: 9,"))
	for n := range 5 {
		b.fire(n, "model", fmt.Sprint(n))
	}
	b.work()
	require.Equal(t, 3, r.calls())
	b.clock.advance(time.Hour) // It is midnight in UTC.
	for n := range 5 {
		b.fire(n, "model", fmt.Sprint(n))
	}
	b.work()
	require.Equal(t, 5, r.calls())
}

func TestMaxInFlight(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		r := newReceiver(t)
		r.state = "soon"
		b := newBench(t, s, r.config("max_in_flight: 2,"))
		for n := range 5 {
			b.fire(n, "model", fmt.Sprint(n))
		}
		other := b.worker(r.config("max_in_flight: 2,"))
		var wg sync.WaitGroup
		for _, w := range []*Worker{b.Worker, other} {
			for range 4 {
				wg.Go(func() {
					for range 10 {
						_, err := w.Once(context.WithoutCancel(t.Context()))
						if err != nil && !errors.Is(err, errLeaseLost) {
							t.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
		require.Equal(t, 2, r.calls())
		r.mu.Lock()
		r.state = "ok"
		r.mu.Unlock()
		for range 3 {
			b.clock.advance(2 * time.Minute)
			b.work()
		}
		require.Equal(t, "succeeded=5", b.results())
		require.Len(t, r.keys, 5)
	})
}

func TestExpiredLeaseOfADeadWorkerIsTakenOver(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		r := newReceiver(t)
		b := newBench(t, s, r.config(""))
		b.fire(0)
		dying, cancel := context.WithCancel(t.Context())
		r.answer = func(_ int, w http.ResponseWriter) { cancel(); _, _ = fmt.Fprint(w, `{"id":"r1"}`) }
		_, err := b.Once(dying)
		require.ErrorIs(t, err, context.Canceled, "the call arrived, and that was not stored")
		r.answer = nil

		other := b.worker(r.config(""))
		did, err := other.Once(t.Context())
		require.NoError(t, err)
		require.False(t, did, "the lease holds")
		b.clock.advance(2 * time.Minute)
		did, err = other.Once(t.Context())
		require.NoError(t, err)
		require.True(t, did)
		require.Len(t, r.keys, 1, "the same key again")
		require.Equal(t, 2, r.calls())
		b.clock.advance(2 * time.Minute)
		b.work()
		require.Equal(t, "succeeded=1", b.results())
	})
}

// After a worker has lost its lease, its results are older than those of the new owner.
func TestWorkerWithAnExpiredLeaseWritesNothing(t *testing.T) {
	r := newReceiver(t)
	b := newBench(t, storetest.SQLite(t), r.config(""))
	other := b.worker(r.config(""))
	b.fire(0)
	r.answer = func(call int, w http.ResponseWriter) {
		if call > 1 {
			_, _ = fmt.Fprint(w, `{"id":"second"}`)
			return
		}
		r.mu.Unlock() // The other worker's call comes in while this one hangs.
		b.clock.advance(10 * time.Minute)
		did, err := other.Once(context.WithoutCancel(t.Context()))
		r.mu.Lock()
		if err != nil || !did {
			t.Errorf("the other worker: %t, %v", did, err)
		}
		_, _ = fmt.Fprint(w, `{"id":"first"}`)
	}
	_, err := b.Once(t.Context())
	require.ErrorIs(t, err, errLeaseLost)
	var id string
	require.NoError(t, b.store.Read(t.Context(), func(tx *store.Tx) error { return tx.QueryRow(`SELECT target_id FROM actions`).Scan(&id) }))
	require.Equal(t, "second", id)
}

// GitHub, Kubeflow and Argo Events start a run for every call. A retry therefore first searches for the run of an earlier call.
func TestTargetWithoutKeysIsSearchedBeforeARetry(t *testing.T) {
	var posts, runs atomic.Int64
	github := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			posts.Add(1)
			runs.Add(1)
			w.WriteHeader(http.StatusBadGateway) // It was dispatched, and the answer got lost.
		case strings.HasSuffix(r.URL.Path, "/workflows/w/runs"):
			_, _ = fmt.Fprintf(w, `{"workflow_runs":[{"id":%d,"display_title":"retrain %s"}]}`, runs.Load(), newKey("alert-0", "retrain"))
		default:
			_, _ = fmt.Fprint(w, `{"status":"completed","conclusion":"success"}`)
		}
	}))
	t.Cleanup(github.Close)
	b := newBench(t, storetest.SQLite(t), fmt.Sprintf(`{actions: [{name: retrain, response: retrain, dry_run: false, grace: 0s,
		target: {github_actions: {url: %q, repository: a/b, workflow: w}}}]}`, github.URL))
	b.fire(0)
	for range 5 {
		b.work()
		b.clock.advance(time.Minute)
	}
	require.EqualValues(t, 1, posts.Load())
	require.Equal(t, "succeeded=1", b.results())
}

type snapshots struct {
	answers []string
	err     error
	asked   int
}

func (s *snapshots) LastGood(_ context.Context, dataset, _, _ string) (string, error) {
	s.asked++
	if s.err != nil {
		return "", s.err
	}
	return dataset + s.answers[min(s.asked, len(s.answers))-1], nil
}

func TestLastGoodSnapshotIsQueriedOnce(t *testing.T) {
	s := play(t, exchange{"POST /", 503, ""}, exchange{"POST /", 200, ""})
	b := newBench(t, storetest.SQLite(t), fmt.Sprintf(`{actions: [{name: replay, response: replay, dry_run: false, requires: [last_good_snapshot],
		target: {webhook: {url: %q, body: {from: "{{ .LastGoodSnapshot }}"}}}}]}`, s.URL))
	known := &snapshots{answers: []string{"@41", "@42"}, err: errors.New("down")}
	b.Snapshots = func() Snapshots { return known }
	b.fire(0, "response", "replay", "model", "", "dataset", "orders")
	b.work()
	require.Empty(t, s.bodies, "without an answer nothing is sent")
	require.EqualValues(t, 1, b.status().Retrying["replay"])
	known.err = nil
	for range 3 {
		b.clock.advance(time.Minute)
		b.work()
	}
	require.Equal(t, []string{`{"from":"orders@42"}`, `{"from":"orders@42"}`}, s.bodies)
	require.Equal(t, 2, known.asked)
}

func TestActionsMissingInTheConfigurationAreGivenUpAfterADay(t *testing.T) {
	r := newReceiver(t)
	b := newBench(t, storetest.SQLite(t), r.config(""))
	b.fire(0)
	require.NoError(t, b.Configure(nil))
	b.clock.advance(23 * time.Hour)
	require.NoError(t, b.GiveUpUnconfigured(t.Context()))
	require.EqualValues(t, 1, b.status().Pending["retrain"])
	b.clock.advance(2 * time.Hour)
	require.NoError(t, b.GiveUpUnconfigured(t.Context()))
	require.Equal(t, "undelivered=1", b.results())
	b.verify()
}

func TestInvalidConfigurationsAreRefused(t *testing.T) {
	const target = ` target: {webhook: {url: "http://a"}}`
	for name, tc := range map[string]struct{ config, want string }{
		"no name":          {`{response: retrain,` + target + `}`, "name: has 0 characters; want 1 to 100"},
		"a response":       {`{name: a, response: reboot,` + target + `}`, `response: "reboot"; want one of replay, retrain, review`},
		"no cooldown":      {`{name: a, response: retrain, cooldown: 0s,` + target + `}`, "cooldown: 0s; want more than 0"},
		"a long grace":     {`{name: a, response: retrain, grace: 25h,` + target + `}`, "grace: 1d1h; want 0s to 24h"},
		"no budget":        {`{name: a, response: retrain, daily_budget: 0,` + target + `}`, "daily_budget: 0; want at least 1"},
		"a requirement":    {`{name: a, response: retrain, requires: [command],` + target + `}`, `requires: "command"; want some of dataset, last_good_snapshot,`},
		"a slow request":   {`{name: a, response: retrain, request_timeout: 1h,` + target + `}`, "request_timeout: 1h; want at most 5m"},
		"pauses that fall": {`{name: a, response: retrain, retry_min: 1h,` + target + `}`, "retry_max: 5m is less than retry_min, 1h"},
		"a command":        {`{name: a, response: retrain, command: [sh],` + target + `}`, "command"},
	} {
		t.Run(name, func(t *testing.T) {
			var c Config
			require.ErrorContains(t, config.Decode("c.yaml", []byte(tc.config), &c), tc.want)
		})
	}
}
