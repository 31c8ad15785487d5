package responder_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/testtools"
	"github.com/sightglass-ml/sightglass/responder"
)

// The test's own binary is also the responder and its target, as processes that can be killed.
const (
	childVariable  = "SIGHTGLASS_TEST_CHILD"
	actionsEnv     = "SIGHTGLASS_CRASH_ACTIONS" // how many; make bench-responder sets it
	defaultActions = 250
)

func TestMain(m *testing.M) {
	switch os.Getenv(childVariable) {
	case "responder":
		os.Exit(exporter.Run(responder.Spec(), os.Args[1:], os.Stdout, os.Stderr))
	case "target":
		fmt.Fprintln(os.Stderr, serveTarget(os.Args[1], os.Args[2], os.Args[3] == "honours keys"))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// serveTarget is a service that does one thing for a key: it writes a line. The lines survive it. One that honours
// keys looks them up before it does the thing again.
func serveTarget(address, path string, honours bool) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	done := map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		done[lines.Text()] = true
	}
	var mu sync.Mutex
	server := &http.Server{Addr: address, ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = fmt.Fprint(w, `{"state":"ok"}`)
			return
		}
		key := r.Header.Get("Idempotency-Key")
		mu.Lock()
		defer mu.Unlock()
		if !done[key] || !honours {
			if _, err := fmt.Fprintln(f, key); err != nil {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			done[key] = true
		}
		_, _ = fmt.Fprintf(w, `{"id":%q}`, key)
	})}
	return server.ListenAndServe()
}

// child is a process that is killed and started again.
type child struct {
	t    *testing.T
	env  string
	args []string
	log  string

	cmd   *exec.Cmd
	kills int
}

func (c *child) start() {
	c.t.Helper()
	self, err := os.Executable()
	require.NoError(c.t, err)
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(c.t, err)
	defer log.Close()
	c.cmd = exec.Command(self, c.args...)
	c.cmd.Env = append(os.Environ(), childVariable+"="+c.env)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(c.t, c.cmd.Start())
}

// kill ends the process as a power cut would.
func (c *child) kill() {
	c.kills++
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// alerts is a message of alerts number from to to, of one model each.
func alerts(from, to int) string {
	var b strings.Builder
	b.WriteString(`{"version":"4","receiver":"responder","alerts":[`)
	for n := from; n < to; n++ {
		if n > from {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"status":"firing","labels":{"alertname":"MLModelDrift","response":"retrain","model":"m%d"},
			"annotations":{"mlflow_run_id":"run%d"},"startsAt":"2026-11-24T09:00:00Z","fingerprint":"%016x"}`, n, n, n)
	}
	b.WriteString(`]}`)
	return b.String()
}

// deliver posts until the answer is 202, as Alertmanager does after no answer and after 5xx.
func deliver(ctx context.Context, client *http.Client, address, body string) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/api/v1/alerts", strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer s3cret")
		res, err := client.Do(req)
		if err == nil {
			text, _ := io.ReadAll(res.Body)
			res.Body.Close()
			switch {
			case res.StatusCode == http.StatusAccepted:
				return nil
			case res.StatusCode/100 != 5:
				return fmt.Errorf("%s: %s", res.Status, text)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// crash is a responder, or two, and a target that are killed at random while alerts come in.
type crash struct {
	t          *testing.T
	config     string
	done       string // the target's lines
	target     *child
	responders []*child
	addresses  []string
	logs       string
}

func newCrash(t *testing.T, storeYAML string, replicas int, target string) *crash {
	t.Helper()
	dir := t.TempDir()
	c := &crash{t: t, config: filepath.Join(dir, "responder.yaml"), done: filepath.Join(dir, "done"), logs: filepath.Join(dir, "responder.log")}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte("s3cret"), 0o600))
	at := testtools.FreeAddress(t)
	require.NoError(t, os.WriteFile(c.config, []byte(fmt.Sprintf(`
store: %s
webhook: {token: {file: token}, max_requests_per_second: 10000, max_pending: 100000}
workers: 16
actions:
  - name: retrain
    response: retrain
    dry_run: false
    grace: 0s
    daily_budget: 1000000
    max_in_flight: 64
    poll_interval: 20ms
    retry_min: 20ms
    retry_max: 200ms
    request_timeout: 2s
    target: {webhook: {url: "http://%s/", id: id, status: {url: "http://%s/{id}", field: state, succeeded: [ok], failed: [bad]}}}
`, storeYAML, at, at)), 0o600))
	c.target = &child{t: t, env: "target", args: []string{at, c.done, target}, log: filepath.Join(dir, "target.log")}
	for range replicas {
		address := testtools.FreeAddress(t)
		c.addresses = append(c.addresses, address)
		c.responders = append(c.responders, &child{
			t: t, env: "responder", log: c.logs,
			args: []string{"--config.file=" + c.config, "--web.listen-address=" + address, "--log.level=error"},
		})
	}
	for _, p := range append(c.responders, c.target) {
		p.start()
		t.Cleanup(p.kill)
	}
	return c
}

// run delivers n alerts to every responder while processes die, and returns how often each key was done.
func (c *crash) run(n int, patience time.Duration) map[string]int {
	t := c.t
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const batch = 10
	failed := make(chan error, len(c.addresses))
	for _, address := range c.addresses {
		go func() {
			client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			var err error
			for from := 0; from < n && err == nil; from += batch {
				err = deliver(ctx, client, address, alerts(from, min(from+batch, n)))
			}
			failed <- err
		}()
	}
	for delivered, over := 0, false; !over; {
		victim := c.target
		if i := rand.IntN(len(c.responders) + 1); i < len(c.responders) {
			victim = c.responders[i]
		}
		select {
		case err := <-failed:
			require.NoError(t, err)
			delivered++
		case <-time.After(time.Duration(100+rand.IntN(900)) * time.Millisecond):
			victim.kill()
			victim.start()
		}
		if delivered == len(c.addresses) {
			over = c.finished(ctx) == n
		}
		if ctx.Err() != nil {
			logs, _ := os.ReadFile(c.logs)
			t.Fatalf("%d of %d actions have ended; the responder says:\n%s", c.finished(t.Context()), n, logs[max(0, len(logs)-4000):])
		}
	}
	lines, err := os.ReadFile(c.done)
	require.NoError(t, err)
	times := map[string]int{}
	for line := range strings.Lines(string(lines)) {
		times[line]++
	}
	kills := 0
	for _, p := range c.responders {
		kills += p.kills
	}
	t.Logf("%d actions, %d kills of the responder, %d of the target", n, kills, c.target.kills)

	trail, err := responder.OpenAuditTrail(t.Context(), c.config)
	require.NoError(t, err)
	defer func() { require.NoError(t, trail.Close()) }()
	report, err := trail.Verify(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, report.Records, int64(4*n))
	return times
}

// finished counts the ends in the audit trail: it has one for each action.
func (c *crash) finished(ctx context.Context) int {
	trail, err := responder.OpenAuditTrail(ctx, c.config)
	if errors.Is(err, context.DeadlineExceeded) {
		return 0
	}
	require.NoError(c.t, err)
	defer func() { require.NoError(c.t, trail.Close()) }()
	counter := &lineCounter{substring: `"kind":"action_finished"`}
	_, err = trail.Export(ctx, counter)
	if ctx.Err() == nil {
		require.NoError(c.t, err)
	}
	return counter.n
}

// lineCounter counts the lines with a substring. The exporter flushes in the middle of lines.
type lineCounter struct {
	substring string
	rest      string
	n         int
}

func (l *lineCounter) Write(p []byte) (int, error) {
	text := l.rest + string(p)
	end := strings.LastIndexByte(text, '\n') + 1
	l.n += strings.Count(text[:end], l.substring)
	l.rest = text[end:]
	return len(p), nil
}

func howMany(t *testing.T) int {
	t.Helper()
	text := os.Getenv(actionsEnv)
	if text == "" {
		return defaultActions
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

func TestKilledAtAnyMomentNothingIsLostAndNothingIsDoneTwice(t *testing.T) {
	n := howMany(t)
	times := newCrash(t, `{path: responder.db}`, 1, "honours keys").run(n, 6*time.Minute+time.Duration(n)*60*time.Millisecond)
	require.Len(t, times, n, "none is lost")
	for key, k := range times {
		require.Equal(t, 1, k, "%s is done once", key)
	}
}

func TestTargetWithoutIdempotencyKeysIsCalledAtLeastOnce(t *testing.T) {
	times := newCrash(t, `{path: responder.db}`, 1, "ignores keys").run(300, 6*time.Minute)
	require.Len(t, times, 300, "none is lost")
	for key, k := range times {
		// A call is repeated only where a kill came between it and its record, and there are far fewer kills than that.
		require.Less(t, k, 10, key)
	}
}

func TestTwoKilledReplicasShareTheWorkThroughPostgreSQL(t *testing.T) {
	dsn := filepath.Join(t.TempDir(), "dsn")
	require.NoError(t, os.WriteFile(dsn, []byte(testtools.Postgres(t)), 0o600))
	c := newCrash(t, fmt.Sprintf(`{postgresql: {file: %q}}`, dsn), 2, "honours keys")
	times := c.run(100, 5*time.Minute)
	require.Len(t, times, 100, "none is lost")
	for key, k := range times {
		require.Equal(t, 1, k, "%s is done once", key)
	}
}
