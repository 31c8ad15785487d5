package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// The test binary starts itself as the child, and as the parent that is killed.
const (
	modeVariable  = "SIGHTGLASS_STACK_TEST_MODE"
	toolsVariable = "SIGHTGLASS_STACK_TEST_TOOLS"
)

func TestMain(m *testing.M) {
	switch mode := os.Getenv(modeVariable); mode {
	case "":
		os.Exit(m.Run())
	case "parent":
		exitOn(runParent())
	default:
		exitOn(runChild(mode))
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// runChild is an exporter: it serves one metric, and misbehaves as its mode says.
func runChild(mode string) error {
	address := strings.TrimPrefix(os.Args[len(os.Args)-1], "--web.listen-address=")
	switch mode {
	case "crash":
		for i := range 1000 {
			fmt.Printf("line %d\n", i)
		}
		return errors.New("cannot go on")
	case "unlucky":
		if err := os.Mkdir(os.Args[1], 0o700); err == nil {
			return fmt.Errorf("listen %s: %w", address, syscall.EADDRINUSE)
		}
	case "silent":
		fmt.Println("thinking")
		select {}
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		grandchild := exec.Command("sleep", "1000")
		if err := grandchild.Start(); err != nil {
			return err
		}
		fmt.Printf("grandchild %d\n", grandchild.Process.Pid)
	}
	http.HandleFunc("/-/ready", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "test_value 7") })
	return http.ListenAndServe(address, nil)
}

// runParent starts a stack, prints the process ids in it, and waits to be killed.
func runParent() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tools, err := FindTools(os.Getenv(toolsVariable))
	if err != nil {
		return err
	}
	s, err := New(Config{Tools: tools, Dir: os.Args[len(os.Args)-1]})
	if err != nil {
		return err
	}
	prometheus, err := s.StartPrometheus(ctx, PrometheusConfig{ScrapeInterval: time.Second, EvaluationInterval: time.Second})
	if err != nil {
		return err
	}
	alertmanager, err := s.StartAlertmanager(ctx, AlertmanagerConfig{Files: minimalAlertmanager, SlackURL: "http://127.0.0.1:1"})
	if err != nil {
		return err
	}
	exporter, err := s.StartExporter(ctx, exporterConfig("well-behaved"))
	if err != nil {
		return err
	}
	fmt.Println(prometheus.PID(), alertmanager.PID(), exporter.PID())
	select {}
}

var minimalAlertmanager = fstest.MapFS{"alertmanager.yaml": {Data: []byte(`
route:
  receiver: everyone
  group_by: [alertname]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 2h
receivers:
  - name: everyone
    slack_configs:
      - &slack {channel: '#everyone', api_url_file: /etc/slack-everyone, send_resolved: true}
      - {<<: *slack, channel: '#else', api_url_file: /etc/slack-else}
`)}}

func exporterConfig(mode string) ExporterConfig {
	return ExporterConfig{Name: "exporter-" + mode, Path: os.Args[0], Env: []string{modeVariable + "=" + mode}}
}

// newStack returns a stack with the real tools, closed at the end of the test.
func newStack(t *testing.T) *Stack {
	t.Helper()
	s, err := New(Config{Dir: t.TempDir(), Tools: Tools{
		Prometheus:   testtools.Path(t, "prometheus"),
		Promtool:     testtools.Path(t, "promtool"),
		Alertmanager: testtools.Path(t, "alertmanager"),
	}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// testContext ends well before the test binary's own limit, so that a failure has a reason.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("the test took over a minute"))
	t.Cleanup(cancel)
	return ctx
}

// eventually polls a real server until the condition holds.
func eventually(ctx context.Context, t *testing.T, condition func() bool) {
	t.Helper()
	for !condition() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(context.Cause(ctx))
		}
	}
}
