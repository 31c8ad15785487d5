package exporter_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opencensus.io/stats"
	"go.opencensus.io/stats/view"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// OpenCensus starts its worker when it is imported and never ends it.
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// toyConfig is the configuration of the exporter under test.
type toyConfig struct {
	Message  string          `yaml:"message"`
	Interval config.Duration `yaml:"interval"`
}

func (c *toyConfig) SetDefaults() { c.Interval = config.Duration(time.Hour) }

func (c *toyConfig) Validate(at config.At) {
	if c.Message == "" {
		at.Errorf("message", "is required")
	}
}

var messageDesc = prometheus.NewDesc("toy_message_info", "The message.", []string{"message"}, nil)

// toy publishes its message from a loop.
type toy struct {
	exporter.Snapshot
	stopped *atomic.Int32
}

func (t *toy) Stop(context.Context) error {
	t.stopped.Add(1)
	return nil
}

// toySpec returns a working spec. The hook, if any, runs in each collection.
func toySpec(hook func(ctx context.Context, message string) error) (spec exporter.Spec[toyConfig], stopped *atomic.Int32) {
	stopped = &atomic.Int32{}
	return exporter.Spec[toyConfig]{
		Name:           "toy_exporter",
		Description:    "Publishes a message.",
		DefaultAddress: ":0",
		Load:           config.Load[toyConfig],
		Start: func(_ context.Context, env *exporter.Env, cfg toyConfig) (exporter.Instance, error) {
			if cfg.Message == "refused" {
				return nil, errors.New("the message is refused")
			}
			t := &toy{stopped: stopped}
			env.Limit("message", 10)
			return t, env.Loop(exporter.Loop{Name: "message", Interval: time.Duration(cfg.Interval), Collect: func(ctx context.Context) error {
				if hook != nil {
					if err := hook(ctx, cfg.Message); err != nil {
						return err
					}
				}
				var m exporter.Metrics
				m.Gauge(messageDesc, 1, cfg.Message)
				t.Set(m, 3*time.Duration(cfg.Interval))
				return nil
			}})
		},
	}, stopped
}

// write writes a config file and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestTheMetricsPageOfAFreshExporter(t *testing.T) {
	spec, _ := toySpec(nil)
	s := exportertest.Start(t, spec, "--config.file="+write(t, "toy.yml", "message: hello\n"))
	s.AwaitReady()
	text := s.Metrics()
	exportertest.Lint(t, text)
	exportertest.Golden(t, "testdata/metrics.prom", stable(text))
}

// stable keeps what does not depend on the machine, the run and the Go version.
func stable(metrics string) string {
	var out strings.Builder
	for line := range strings.Lines(metrics) {
		if strings.Contains(line, " go_") || strings.Contains(line, " process_") || strings.HasPrefix(line, "go_") || strings.HasPrefix(line, "process_") {
			continue
		}
		line = regexp.MustCompile(`(branch|go\w+|revision|tags|version)="[^"]*"`).ReplaceAllString(line, `$1="…"`)
		line = regexp.MustCompile(`^(\w+_(?:timestamp|duration)_seconds\S*) .*`).ReplaceAllString(line, "$1 …")
		out.WriteString(line)
	}
	return out.String()
}

func TestOpenCensusViewsOfDependenciesAreOnTheMetricsPage(t *testing.T) {
	rows := stats.Int64("example.com/driver/rows", "Rows read by a dependency.", stats.UnitDimensionless)
	v := &view.View{Name: "example.com/driver/rows", Description: "Rows read by a dependency.", Measure: rows, Aggregation: view.Sum()}
	require.NoError(t, view.Register(v))
	defer view.Unregister(v)
	spec, _ := toySpec(func(ctx context.Context, _ string) error {
		stats.Record(ctx, rows.M(42))
		return nil
	})
	s := exportertest.Start(t, spec, "--config.file="+write(t, "toy.yml", "message: hello\n"))
	s.AwaitMetric("example_com_driver_rows_total 42")
}

func TestTheUsualPathsAreServed(t *testing.T) {
	block := make(chan struct{})
	spec, _ := toySpec(func(ctx context.Context, _ string) error {
		select {
		case <-block:
		case <-ctx.Done():
		}
		return nil
	})
	s := exportertest.Start(t, spec, "--config.file="+write(t, "toy.yml", "message: hello\n"))

	status, body := s.Do(http.MethodGet, "/")
	require.Equal(t, http.StatusOK, status)
	for _, want := range []string{"toy_exporter", "Publishes a message.", `href="/metrics"`, `href="/-/ready"`} {
		require.Contains(t, body, want)
	}
	require.NotContains(t, body, "debug/pprof")
	status, _ = s.Do(http.MethodGet, "/nowhere")
	require.Equal(t, http.StatusNotFound, status)
	status, body = s.Do(http.MethodGet, "/-/healthy")
	require.Equal(t, http.StatusOK, status, body)

	status, body = s.Do(http.MethodGet, "/-/ready")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "1 of 1 collectors have not run yet, message among them\n", body)
	close(block)
	s.AwaitReady()
}

func TestTheMetricsPathCanBeMoved(t *testing.T) {
	spec, _ := toySpec(nil)
	file := "--config.file=" + write(t, "toy.yml", "message: hello\n")
	for _, path := range []string{"/probe/metrics", "/"} {
		s := exportertest.Start(t, spec, file, "--web.telemetry-path="+path)
		status, body := s.Do(http.MethodGet, path)
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, body, "toy_exporter_build_info")
		s.Stop()
	}
}

func TestABlockedSourceBlocksNeitherAScrapeNorAStop(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	spec, stopped := toySpec(func(context.Context, string) error {
		close(started)
		<-release // the context is ignored
		return nil
	})
	spec.StopTimeout = 50 * time.Millisecond
	s := exportertest.Start(t, spec, "--config.file="+write(t, "toy.yml", "message: hello\n"))
	<-started
	require.NotContains(t, s.Metrics(), "toy_message_info")
	require.Contains(t, s.Metrics(), "toy_exporter_build_info")

	code := make(chan int)
	go func() { code <- s.Stop() }()
	require.Equal(t, 0, <-code)
	require.Contains(t, s.Logs(), "background work did not stop within the timeout; abandoned")
	require.EqualValues(t, 1, stopped.Load(), "what the instance holds is released all the same")
	close(release)
}

func TestAReloadThatFailsKeepsTheLastGoodConfiguration(t *testing.T) {
	spec, stopped := toySpec(nil)
	path := write(t, "toy.yml", "message: one\n")
	s := exportertest.Start(t, spec, "--config.file="+path)
	s.AwaitMetric(`toy_message_info{message="one"} 1`)
	post := func() (int, string) { return s.Do(http.MethodPost, "/-/reload") }

	for name, tc := range map[string]struct{ text, want string }{
		"a config that is not valid":   {"mesage: two\n", "Reload failed: " + path + `:1: mesage: unknown key; did you mean "message"?` + "\n"},
		"a config that does not start": {"message: refused\n", "Reload failed: " + path + ": the message is refused\n"},
		"a removed configuration file": {"", "Reload failed: read config: open " + path + ": no such file or directory\n"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.Remove(path))
			if tc.text != "" {
				require.NoError(t, os.WriteFile(path, []byte(tc.text), 0o600))
			} else {
				defer func() { require.NoError(t, os.WriteFile(path, nil, 0o600)) }()
			}
			status, body := post()
			require.Equal(t, http.StatusInternalServerError, status)
			require.Equal(t, tc.want, body)
			metrics := s.Metrics()
			require.Contains(t, metrics, "sightglass_config_last_reload_successful 0\n")
			require.Contains(t, metrics, `toy_message_info{message="one"} 1`)
		})
	}

	require.NoError(t, os.WriteFile(path, []byte("message: two\n"), 0o600))
	status, body := post()
	require.Equal(t, http.StatusOK, status, body)
	metrics := s.Metrics()
	require.Contains(t, metrics, "sightglass_config_last_reload_successful 1\n")
	require.Contains(t, metrics, `toy_message_info{message="two"} 1`)
	require.NotContains(t, metrics, `message="one"`)
	require.EqualValues(t, 1, stopped.Load())

	status, _ = s.Do(http.MethodGet, "/-/reload")
	require.Equal(t, http.StatusMethodNotAllowed, status)
	status, _ = s.Do(http.MethodPut, "/-/reload")
	require.Equal(t, http.StatusOK, status)
}

func TestLifecycleAPINeedsItsFlagAndTheSameSite(t *testing.T) {
	const off = "The lifecycle API is not enabled; start the program with --web.enable-lifecycle, or send it SIGHUP to reload.\n"
	const elsewhere = "This request comes from another site.\n"
	for name, tc := range map[string]struct {
		args    []string
		method  string
		path    string
		headers []string
		status  int
		body    string
	}{
		"a reload is off":                           {[]string{"--no-web.enable-lifecycle"}, http.MethodPost, "/-/reload", nil, 403, off},
		"by PUT too":                                {[]string{"--no-web.enable-lifecycle"}, http.MethodPut, "/-/reload", nil, 403, off},
		"the routes of the instance too":            {[]string{"--no-web.enable-lifecycle"}, http.MethodPost, "/-/release", nil, 403, off},
		"a detour in a path is refused":             {[]string{"--no-web.enable-lifecycle"}, http.MethodPost, "/x/../-/reload", nil, 307, ""},
		"a doubled slash is refused":                {[]string{"--no-web.enable-lifecycle"}, http.MethodPost, "//-/reload", nil, 307, ""},
		"health is not":                             {[]string{"--no-web.enable-lifecycle"}, http.MethodGet, "/-/healthy", nil, 200, "Healthy\n"},
		"the flag enables it":                       {nil, http.MethodPost, "/-/reload", nil, 200, "Reloaded\n"},
		"the page of the program itself may":        {nil, http.MethodPost, "/-/reload", []string{"Sec-Fetch-Site", "same-origin"}, 200, "Reloaded\n"},
		"another site may not":                      {nil, http.MethodPost, "/-/reload", []string{"Sec-Fetch-Site", "cross-site"}, 403, elsewhere},
		"nor another host of the same site":         {nil, http.MethodPost, "/-/reload", []string{"Sec-Fetch-Site", "same-site"}, 403, elsewhere},
		"nor a browser that sends only the origin":  {nil, http.MethodPost, "/-/reload", []string{"Origin", "https://evil.example"}, 403, elsewhere},
		"nor a page without an origin":              {nil, http.MethodPost, "/-/reload", []string{"Origin", "null"}, 403, elsewhere},
		"nor one that sends a form":                 {nil, http.MethodPost, "/-/reload", []string{"Origin", "https://evil.example", "Content-Type", "text/plain"}, 403, elsewhere},
		"nor may it use the routes of the instance": {nil, http.MethodPost, "/-/release", []string{"Sec-Fetch-Site", "cross-site"}, 403, elsewhere},
	} {
		t.Run(name, func(t *testing.T) {
			spec, _ := toySpec(nil)
			s := exportertest.Start(t, spec, append([]string{"--config.file=" + write(t, "toy.yml", "message: one\n")}, tc.args...)...)
			s.AwaitReady()
			status, body := s.DoOnce(tc.method, tc.path, tc.headers...)
			require.Equal(t, tc.status, status, body)
			if tc.body != "" {
				require.Equal(t, tc.body, body)
			}
		})
	}
}

func TestProfilesNeedAFlag(t *testing.T) {
	get := func(path string, args ...string) (int, string) {
		spec, _ := toySpec(nil)
		s := exportertest.Start(t, spec, append([]string{"--config.file=" + write(t, "toy.yml", "message: one\n")}, args...)...)
		s.AwaitReady()
		return s.DoOnce(http.MethodGet, path)
	}
	_, page := get("/")
	require.NotContains(t, page, "debug/pprof")
	status, _ := get("/debug/pprof/goroutine?debug=1")
	require.Equal(t, 404, status)

	_, page = get("/", "--web.enable-pprof")
	require.Contains(t, page, "debug/pprof/", "the links of the landing page")
	status, page = get("/debug/pprof/goroutine?debug=1", "--web.enable-pprof")
	require.Equal(t, 200, status)
	require.Contains(t, page, "goroutine profile")
	status, page = get("/debug/pprof/profile?seconds=1", "--web.enable-pprof")
	require.Equal(t, 200, status, page)
}

// Attacks by a malicious client on the port of a program, and the answers.
func TestAttacksOnThePortAreRefused(t *testing.T) {
	spec, _ := toySpec(nil)
	s := exportertest.Start(t, spec, "--config.file="+write(t, "toy.yml", "message: one\n"))
	s.AwaitReady()
	address := strings.TrimPrefix(s.URL, "http://")
	// raw sends bytes and returns what comes until the server closes.
	raw := func(t *testing.T, request string) string {
		t.Helper()
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		require.NoError(t, c.SetDeadline(time.Now().Add(15*time.Second)))
		_, err = io.WriteString(c, request)
		require.NoError(t, err)
		answer, _ := io.ReadAll(c)
		return string(answer)
	}
	const end = "Host: x\r\nConnection: close\r\n\r\n"
	for name, tc := range map[string]struct{ request, want, not string }{
		"a path out of the tree":         {"GET /../../../../etc/passwd HTTP/1.1\r\n" + end, "HTTP/1.1 307", "root:"},
		"the same, escaped":              {"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + end, "HTTP/1.1 ", "root:"},
		"a header in the path":           {"GET /metrics%0d%0aX-Evil:%201 HTTP/1.1\r\n" + end, "HTTP/1.1 ", "\nX-Evil"},
		"a header in a redirect":         {"GET //evil.example/%0d%0aX-Evil:1/.. HTTP/1.1\r\n" + end, "HTTP/1.1 ", "\nX-Evil"},
		"a script in the path":           {"GET /<script>alert(1)</script> HTTP/1.1\r\n" + end, "HTTP/1.1 ", "<script>alert"},
		"a header of a megabyte":         {"GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n" + end, "HTTP/1.1 431", ""},
		"a body that is said to be huge": {"POST /-/reload HTTP/1.1\r\nContent-Length: 99999999999\r\n" + end, "HTTP/1.1 ", ""},
		"two lengths":                    {"POST /-/reload HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n" + end, "HTTP/1.1 400", ""},
		"no protocol":                    {"\x16\x03\x01\x02\x00\x01\r\n\r\n", "HTTP/1.1 400", ""},
	} {
		t.Run(name, func(t *testing.T) {
			answer := raw(t, tc.request)
			require.Contains(t, answer, tc.want)
			if tc.not != "" {
				require.NotContains(t, answer, tc.not)
			}
		})
	}
	t.Run("headers that never end are cut off", func(t *testing.T) {
		start := time.Now()
		raw(t, "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ") // It reads until the server closes.
		require.Less(t, time.Since(start), 14*time.Second)
	})
	status, _ := s.Do(http.MethodGet, "/metrics")
	require.Equal(t, http.StatusOK, status, "all others are served as before")
}

func TestHangupReloads(t *testing.T) {
	spec, _ := toySpec(nil)
	path := write(t, "toy.yml", "message: one\n")
	s := exportertest.Start(t, spec, "--config.file="+path)
	s.AwaitMetric(`toy_message_info{message="one"} 1`)

	require.NoError(t, os.WriteFile(path, []byte("message: two\n"), 0o600))
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	s.AwaitMetric(`toy_message_info{message="two"} 1`)

	require.NoError(t, os.WriteFile(path, []byte("message: 3\nx: y\n"), 0o600))
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	s.AwaitMetric(`sightglass_config_last_reload_successful 0`)
	require.Contains(t, s.Metrics(), `toy_message_info{message="two"} 1`)
	require.Contains(t, s.Logs(), "toy.yml:2: x: unknown key")
}

func TestAReloadLeavesNoGapBetweenScrapes(t *testing.T) {
	second, release := make(chan struct{}), make(chan struct{})
	spec, _ := toySpec(func(_ context.Context, message string) error {
		if message == "two" {
			close(second)
			<-release
		}
		return nil
	})
	path := write(t, "toy.yml", "message: one\n")
	s := exportertest.Start(t, spec, "--config.file="+path)
	s.AwaitMetric(`toy_message_info{message="one"} 1`)

	require.NoError(t, os.WriteFile(path, []byte("message: two\n"), 0o600))
	reloaded := make(chan int)
	go func() {
		status, _ := s.Do(http.MethodPost, "/-/reload")
		reloaded <- status
	}()
	<-second
	require.Contains(t, s.Metrics(), `toy_message_info{message="one"} 1`, "the old instance is served until the new one has data")
	status, _ := s.Do(http.MethodGet, "/-/ready")
	require.Equal(t, http.StatusOK, status)
	status, body := s.Do(http.MethodPost, "/-/reload")
	require.Equal(t, http.StatusServiceUnavailable, status, "one reload at a time")
	require.Equal(t, "Another reload is under way.\n", body)

	close(release)
	require.Equal(t, http.StatusOK, <-reloaded)
	require.Contains(t, s.Metrics(), `toy_message_info{message="two"} 1`)
}

// service is an instance with every optional method.
type service struct {
	exporter.Snapshot
	requests prometheus.Histogram
	config   atomic.Pointer[toyConfig]
	entered  chan struct{}
	release  chan struct{}
}

var (
	_ exporter.Router              = (*service)(nil)
	_ exporter.Readier             = (*service)(nil)
	_ exporter.Reloader[toyConfig] = (*service)(nil)
)

func (s *service) Ready() error { return nil }

func (s *service) Collect(ch chan<- prometheus.Metric) { s.requests.Collect(ch) }

func (s *service) Reload(_ context.Context, cfg toyConfig) error {
	if cfg.Message == "refused" {
		return errors.New("not this one")
	}
	s.config.Store(&cfg)
	return nil
}

func (s *service) Routes(mux *http.ServeMux) {
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		_, _ = fmt.Fprintf(w, "%s: %d bytes", s.config.Load().Message, len(body))
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, _ *http.Request) {
		close(s.entered)
		<-s.release
		_, _ = io.WriteString(w, "done")
	})
}

func serviceSpec() (exporter.Spec[toyConfig], *service) {
	s := &service{
		requests: prometheus.NewHistogram(exporter.HistogramOpts("toy_request_duration_seconds", "Time.", []float64{0.1, 1})),
		entered:  make(chan struct{}),
		release:  make(chan struct{}),
	}
	spec, _ := toySpec(nil)
	spec.MaxRequestBytes = 100
	spec.Start = func(_ context.Context, _ *exporter.Env, cfg toyConfig) (exporter.Instance, error) {
		s.config.Store(&cfg)
		return s, nil
	}
	return spec, s
}

func TestExemplarsAndNativeHistogramsAreServedWhereAskedFor(t *testing.T) {
	spec, instance := serviceSpec()
	instance.requests.(prometheus.ExemplarObserver).ObserveWithExemplar(0.5, prometheus.Labels{"trace_id": "abc"})
	s := exportertest.Start(t, spec, "--config.file="+write(t, "toy.yml", "message: hello\n"))

	require.NotContains(t, s.Metrics(), "abc", "the plain format has no exemplars")
	status, body := s.Do(http.MethodGet, "/metrics", "Accept", "application/openmetrics-text;version=1.0.0")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `toy_request_duration_seconds_bucket{le="1.0"} 1 # {trace_id="abc"} 0.5`)
	require.True(t, strings.HasSuffix(body, "# EOF\n"))
	require.NotContains(t, body, "_created", "they would be series of their own in most servers")
	status, body = s.Do(http.MethodGet, "/metrics", "Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "toy_request_duration_seconds")
	require.Contains(t, body, "trace_id")
}

func TestAnInstanceServesRoutesOfItsOwnWithinTheBodyLimit(t *testing.T) {
	spec, _ := serviceSpec()
	s := exportertest.Start(t, spec, "--config.file="+write(t, "toy.yml", "message: hello\n"))
	post := func(size int) (int, string) {
		res, err := http.Post(s.URL+"/echo", "text/plain", strings.NewReader(strings.Repeat("x", size)))
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		http.DefaultClient.CloseIdleConnections()
		return res.StatusCode, string(body)
	}
	status, body := post(100)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "hello: 100 bytes", body)
	status, body = post(101)
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
	require.Equal(t, "http: request body too large\n", body)
}

func TestAnInstanceWithStateReloadsInPlace(t *testing.T) {
	spec, instance := serviceSpec()
	path := write(t, "toy.yml", "message: one\n")
	s := exportertest.Start(t, spec, "--config.file="+path)

	require.NoError(t, os.WriteFile(path, []byte("message: two\n"), 0o600))
	status, body := s.Do(http.MethodPost, "/-/reload")
	require.Equal(t, http.StatusOK, status, body)
	require.Equal(t, "two", instance.config.Load().Message)

	require.NoError(t, os.WriteFile(path, []byte("message: refused\n"), 0o600))
	status, body = s.Do(http.MethodPost, "/-/reload")
	require.Equal(t, http.StatusInternalServerError, status)
	require.Equal(t, "Reload failed: "+path+": not this one\n", body)
	require.Equal(t, "two", instance.config.Load().Message)
}

func TestAStopLetsRequestsUnderWayFinish(t *testing.T) {
	spec, instance := serviceSpec()
	s := exportertest.Start(t, spec, "--config.file="+write(t, "toy.yml", "message: hello\n"))
	answer := make(chan string)
	go func() {
		_, body := s.Do(http.MethodGet, "/slow")
		answer <- body
	}()
	<-instance.entered
	code := make(chan int)
	go func() { code <- s.Stop() }()
	require.Eventually(t, func() bool { return strings.Contains(s.Logs(), "msg=Stopping") }, 30*time.Second, time.Millisecond)
	close(instance.release)
	require.Equal(t, "done", <-answer)
	require.Equal(t, 0, <-code)
}

// blocking is an instance that breaks the rule that Collect must not block.
type blocking struct {
	exporter.Snapshot
	entered, release chan struct{}
}

func (b *blocking) Collect(chan<- prometheus.Metric) {
	b.entered <- struct{}{}
	<-b.release
}

func TestScrapesPastTheLimitAreRefused(t *testing.T) {
	spec, _ := toySpec(nil)
	b := &blocking{entered: make(chan struct{}), release: make(chan struct{})}
	spec.Start = func(context.Context, *exporter.Env, toyConfig) (exporter.Instance, error) { return b, nil }
	s := exportertest.Start(t, spec, "--config.file="+write(t, "toy.yml", "message: hello\n"), "--web.max-requests=1")
	first := make(chan int)
	go func() {
		status, _ := s.Do(http.MethodGet, "/metrics")
		first <- status
	}()
	<-b.entered
	status, _ := s.Do(http.MethodGet, "/metrics")
	require.Equal(t, http.StatusServiceUnavailable, status)
	close(b.release)
	require.Equal(t, http.StatusOK, <-first)
}

// broken publishes one series twice and then panics.
type broken struct{ exporter.Snapshot }

func (*broken) Collect(ch chan<- prometheus.Metric) {
	for range 2 {
		ch <- prometheus.MustNewConstMetric(messageDesc, prometheus.GaugeValue, 1, "twice")
	}
	panic("a bug")
}

func TestBrokenInstanceKeepsTheMetricsPage(t *testing.T) {
	spec, _ := toySpec(nil)
	spec.Start = func(context.Context, *exporter.Env, toyConfig) (exporter.Instance, error) { return &broken{}, nil }
	s := exportertest.Start(t, spec, "--config.file="+write(t, "toy.yml", "message: hello\n"))
	require.Contains(t, s.Metrics(), "sightglass_config_last_reload_successful 1")
	require.Contains(t, s.Logs(), "Some metrics could not be exposed")
	require.Contains(t, s.Metrics(), `promhttp_metric_handler_errors_total{cause="gathering"} 1`, "the first scrape's failure is on the second")
}

func TestTLSAndBasicAuthComeFromTheWebConfigFile(t *testing.T) {
	dir := t.TempDir()
	pool := certificate(t, dir)
	hash, err := bcrypt.GenerateFromPassword([]byte("hunter2"), bcrypt.MinCost)
	require.NoError(t, err)
	webConfig := filepath.Join(dir, "web.yml")
	require.NoError(t, os.WriteFile(webConfig, fmt.Appendf(nil,
		"tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {me: %s}\n", hash), 0o600))

	spec, _ := toySpec(nil)
	s := exportertest.Start(t, spec, "--config.file="+write(t, "toy.yml", "message: hello\n"), "--web.config.file="+webConfig)
	address := "https" + strings.TrimPrefix(s.URL, "http")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
	get := func(user, password string) int {
		req, err := http.NewRequest(http.MethodGet, address+"/metrics", http.NoBody)
		require.NoError(t, err)
		if user != "" {
			req.SetBasicAuth(user, password)
		}
		res, err := transport.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}
	require.Equal(t, http.StatusUnauthorized, get("", ""))
	require.Equal(t, http.StatusUnauthorized, get("me", "wrong"))
	require.Equal(t, http.StatusOK, get("me", "hunter2"))
	require.NotContains(t, s.Logs(), "hunter2")
	status, _ := s.Do(http.MethodGet, "/metrics")
	require.Equal(t, http.StatusBadRequest, status, "plain HTTP is refused")
}

// certificate writes cert.pem and key.pem for 127.0.0.1 and returns the pool
// that trusts it.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(cert))
	return pool
}

func TestTheCommandLine(t *testing.T) {
	good := write(t, "good.yml", "message: hello\n")
	bad := write(t, "bad.yml", "message: hello\ninterval: 5\nmesage: x\n")
	badWeb := write(t, "web.yml", "basic_auth_user: {}\n")
	spec, _ := toySpec(nil)
	var greeting string
	spec.Flags = func(app *kingpin.Application) {
		app.Flag("greeting", "A flag of the binary's own.").StringVar(&greeting)
	}
	optional := spec
	optional.ConfigOptional = true
	optional.Load = func(path string) (toyConfig, error) {
		if path != "" {
			return toyConfig{}, fmt.Errorf("unexpected path %q", path)
		}
		return toyConfig{Message: "default"}, nil
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()

	for name, tc := range map[string]struct {
		spec           exporter.Spec[toyConfig]
		args           []string
		code           int
		stdout, stderr string // contained, or exactly nothing where empty
	}{
		"--version says what was built": {spec, []string{"--version"}, 0, "toy_exporter, version ", ""},
		"--help lists the flags":        {spec, []string{"--help"}, 0, "--web.config.file", ""},
		"-h too, with the binary's own": {spec, []string{"-h"}, 0, "--greeting", ""},
		"--config.check accepts a good file": {
			spec, []string{"--config.check", "--config.file=" + good, "--greeting=hi"}, 0, "OK: " + good + " is valid\n", "",
		},
		"--config.check lists every problem of a bad file": {
			spec,
			[]string{"--config.check", "--config.file=" + bad},
			1, "",
			bad + `:2: interval: "5"; want a duration such as 30s, 5m, 1h30m or 30d` + "\n" + bad + `:3: mesage: unknown key; did you mean "message"?` + "\n",
		},
		"--config.check reads the web config as well": {
			spec, []string{"--config.check", "--config.file=" + good, "--web.config.file=" + badWeb}, 1, "", "field basic_auth_user not found",
		},
		"--config.check of a file that is not there": {
			spec, []string{"--config.check", "--config.file=/nowhere.yml"}, 1, "", "read config: open /nowhere.yml: no such file or directory\n",
		},
		"--config.check without a file where none is needed": {
			optional, []string{"--config.check"}, 0, "OK: the default configuration is valid\n", "",
		},
		"no --config.file where one is needed": {spec, nil, 2, "", "toy_exporter: error: --config.file is required; see --help\n"},
		"an unknown flag":                      {spec, []string{"--confg.file=x"}, 2, "", "toy_exporter: error: unknown long flag '--confg.file'; see --help\n"},
		"a word too many":                      {spec, []string{"--config.file=x", "y"}, 2, "", "unexpected y"},
		"an invalid log level":                 {spec, []string{"--config.file=" + good, "--log.level=loud"}, 2, "", "loud"},
		"a negative limit of scrapes":          {spec, []string{"--config.file=" + good, "--web.max-requests=-1"}, 2, "", "must not be negative"},
		"a metrics path without a slash":       {spec, []string{"--config.file=" + good, "--web.telemetry-path=metrics"}, 2, "", "must start with a slash"},
		"a metrics path with dots":             {spec, []string{"--config.file=" + good, "--web.telemetry-path=/a/../b"}, 2, "", "plain path"},
		"a metrics path the runtime needs":     {spec, []string{"--config.file=" + good, "--web.telemetry-path=/-/ready"}, 2, "", "outside /-/"},
		"a metrics path that is a pattern":     {spec, []string{"--config.file=" + good, "--web.telemetry-path=/{x}"}, 2, "", "plain path"},
		"a config that is not valid at start":  {spec, []string{"--config.file=" + bad}, 1, "", "mesage: unknown key"},
		"an instance that does not start":      {spec, []string{"--config.file=" + write(t, "r.yml", "message: refused\n")}, 1, "", "the message is refused"},
		"a web config that is not valid":       {spec, []string{"--config.file=" + good, "--web.config.file=" + badWeb}, 1, "", "field basic_auth_user not found"},
		"an address that is taken":             {spec, []string{"--config.file=" + good, "--web.listen-address=" + listener.Addr().String()}, 1, "", "address already in use"},
		"an incomplete spec":                   {exporter.Spec[toyConfig]{Name: "toy_exporter"}, nil, 2, "", "exporter: a Spec needs Name, DefaultAddress, Load and Start"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			require.Equal(t, tc.code, exporter.RunContext(t.Context(), tc.spec, tc.args, &stdout, &stderr), stderr.String())
			for got, want := range map[*bytes.Buffer]string{&stdout: tc.stdout, &stderr: tc.stderr} {
				if want == "" {
					require.Empty(t, got.String())
				}
				require.Contains(t, got.String(), want)
			}
		})
	}
}

func TestSIGTERMStopsTheProcessCleanly(t *testing.T) {
	spec, stopped := toySpec(func(context.Context, string) error {
		return syscall.Kill(os.Getpid(), syscall.SIGTERM)
	})
	var stderr bytes.Buffer
	code := exporter.Run(spec, []string{"--config.file=" + write(t, "toy.yml", "message: hello\n"), "--web.listen-address=127.0.0.1:0"}, io.Discard, &stderr)
	require.Equal(t, 0, code, stderr.String())
	require.EqualValues(t, 1, stopped.Load())
}
