// Package exportertest runs exporters in tests.
//
// Input: a Spec or a collector. Output: a running server on loopback, the text at /metrics, and the findings of the linters. State: the
// servers, which stop when their test ends.
package exportertest

import (
	"bytes"
	"context"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/sightglass-ml/sightglass/instrument/telemetry"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Server is a binary that runs inside the test.
type Server struct {
	URL string // http://127.0.0.1:port

	t    testing.TB
	stop context.CancelFunc
	code chan int
	logs *logs
}

// Start runs spec on a free loopback port with the additional args and stops it when the test ends. Reloads by HTTP are enabled unless
// the args disable them. It fails the test if the binary does not start.
func Start[C any](t testing.TB, spec exporter.Spec[C], args ...string) *Server {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{t: t, stop: stop, code: make(chan int, 1), logs: &logs{address: make(chan string, 1)}}
	args = append([]string{"--web.listen-address=127.0.0.1:0", "--log.level=debug"}, args...)
	if !slices.Contains(args, "--no-web.enable-lifecycle") {
		args = append(args, "--web.enable-lifecycle")
	}
	go func() { s.code <- exporter.RunContext(ctx, spec, args, io.Discard, s.logs) }()
	select {
	case address := <-s.logs.address:
		s.URL = "http://" + address
	case code := <-s.code:
		stop()
		t.Fatalf("the exporter ended with code %d:\n%s", code, s.Logs())
	}
	t.Cleanup(func() { s.Stop() })
	return s
}

// Stop ends the binary as SIGTERM would and returns its exit code.
func (s *Server) Stop() int {
	s.stop()
	code := <-s.code
	s.code <- code // for a later Stop
	return code
}

// Logs returns what was logged so far.
func (s *Server) Logs() string { return s.logs.String() }

// Do sends a request to the path with headers given as name, value, … and
// returns the status and the body.
func (s *Server) Do(method, path string, headers ...string) (int, string) {
	s.t.Helper()
	return s.do(nil, method, path, headers...)
}

// DoOnce is Do without following redirects.
func (s *Server) DoOnce(method, path string, headers ...string) (int, string) {
	s.t.Helper()
	return s.do(func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, method, path, headers...)
}

func (s *Server) do(redirect func(*http.Request, []*http.Request) error, method, path string, headers ...string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, http.NoBody)
	require.NoError(s.t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	// A kept-alive connection would be reported as a leaked goroutine.
	client := &http.Client{CheckRedirect: redirect, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	require.NoError(s.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	return res.StatusCode, string(body)
}

// Metrics returns the text at /metrics.
func (s *Server) Metrics() string {
	s.t.Helper()
	status, body := s.Do(http.MethodGet, "/metrics")
	require.Equal(s.t, http.StatusOK, status, body)
	return body
}

// AwaitReady returns once the binary reports that it is ready.
func (s *Server) AwaitReady() {
	s.t.Helper()
	s.await("readiness", func() bool {
		status, _ := s.Do(http.MethodGet, "/-/ready")
		return status == http.StatusOK
	})
}

// AwaitMetric returns once /metrics contains the line.
func (s *Server) AwaitMetric(line string) {
	s.t.Helper()
	s.await(line, func() bool { return strings.Contains("\n"+s.Metrics(), "\n"+line+"\n") })
}

// AwaitLog waits for a logged line that contains text and returns the rest of that line. The exporter's loops may log after it is
// ready.
func (s *Server) AwaitLog(text string) (rest string) {
	s.t.Helper()
	s.await(text, func() bool {
		var found bool
		for line := range strings.Lines(s.Logs()) {
			if _, rest, found = strings.Cut(line, text); found && strings.HasSuffix(rest, "\n") {
				rest = strings.TrimSpace(rest)
				return true
			}
		}
		return false
	})
	return rest
}

func (s *Server) await(what string, reached func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !reached(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain for %s; the log:\n%s", what, s.Logs())
		}
	}
}

// logs stores the log of a server and extracts its address.
type logs struct {
	mu      sync.Mutex
	text    bytes.Buffer
	address chan string
	found   bool
}

var listening = regexp.MustCompile(`msg="Listening on" address=(\S+)`)

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := listening.FindSubmatch(p); m != nil && !l.found {
		l.found = true
		l.address <- string(m[1])
	}
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Env returns an environment for an instance that a test starts itself. It is
// closed when the test ends.
func Env(t testing.TB) *exporter.Env {
	t.Helper()
	tel := &telemetry.Telemetry{Meters: metricnoop.NewMeterProvider(), Tracers: tracenoop.NewTracerProvider()}
	env := exporter.NewEnv(context.Background(), promslog.NewNopLogger(), tel, limit.NewDropped())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		require.NoError(t, env.Close(ctx))
	})
	return env
}

// Gather returns the text that a scrape of the collectors returns. An inconsistency between metrics, which a scrape only logs, fails
// the test.
func Gather(t testing.TB, collectors ...prometheus.Collector) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for _, c := range collectors {
		require.NoError(t, registry.Register(c))
	}
	families, err := registry.Gather()
	require.NoError(t, err)
	var text bytes.Buffer
	encoder := expfmt.NewEncoder(&text, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		require.NoError(t, encoder.Encode(f))
	}
	return text.String()
}

// Golden compares text with the golden file, or writes it with -update.
func Golden(t testing.TB, file, text string) {
	t.Helper()
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "run the test with -update to write it")
	require.Equal(t, string(want), text, "run the test with -update if the change is meant")
}

// unit matches units that are not base units, which promlint does not detect.
var unit = regexp.MustCompile(`_(percent|percentage|pct|ms|millis|mb|gb|minutes|hours|days)(_|$)`)

// Lint fails the test if a linter reports a problem in text, which is an exposition. The Go runtime's own metrics and the exceptions do
// not have to use base units.
func Lint(t testing.TB, text string, exceptions ...string) {
	t.Helper()
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	for line := range strings.Lines(text) {
		name, isType := strings.CutPrefix(line, "# TYPE ")
		name, _, _ = strings.Cut(name, " ")
		if isType && unit.MatchString(name) && !strings.HasPrefix(name, "go_") && !slices.Contains(exceptions, name) {
			t.Errorf("%s is not in base units", name)
		}
	}
}
