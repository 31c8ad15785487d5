package modelquality

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/review"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

const childVariable = "MODELQUALITY_CHILD"

// TestMain makes the test's own binary the exporter as well, as a process whose disk can be full.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	signal.Ignore(syscall.SIGXFSZ) // A full disk sends no signal.
	os.Exit(exporter.Run(Spec(), os.Args[1:], os.Stdout, os.Stderr))
}

// child is an exporter in a process of its own.
type child struct {
	t               *testing.T
	cmd             *exec.Cmd
	http, grpc, web string
	log             *bytes.Buffer
}

func startChild(t *testing.T, config string) *child {
	t.Helper()
	c := &child{t: t, http: testtools.FreeAddress(t), grpc: testtools.FreeAddress(t), web: testtools.FreeAddress(t), log: new(bytes.Buffer)}
	file := write(t, fmt.Sprintf("otlp: {grpc: %q, http: %q}\n", c.grpc, c.http)+config)
	c.cmd = exec.Command(os.Args[0], "--config.file="+file, "--web.listen-address="+c.web)
	c.cmd.Env = append(os.Environ(), childVariable+"=1")
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log // By a pipe: the limit is on files.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, c.cmd.Start())
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
		if t.Failed() {
			t.Log(c.log)
		}
	})
	c.await("readiness", func() bool {
		response, err := http.Get("http://" + c.web + "/-/ready")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return c
}

func (c *child) await(what string, reached func() bool) {
	c.t.Helper()
	require.Eventually(c.t, reached, time.Minute, 20*time.Millisecond, "waited in vain for %s", what)
}

// disk sets how large a file may become.
func (c *child) disk(bytes uint64) {
	c.t.Helper()
	require.NoError(c.t, unix.Prlimit(c.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil))
}

func (c *child) metrics() string {
	c.t.Helper()
	response, err := http.Get("http://" + c.web + "/metrics")
	require.NoError(c.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)
	return "\n" + string(text)
}

func (c *child) awaitMetric(line string) {
	c.t.Helper()
	c.await(line, func() bool { return strings.Contains(c.metrics(), "\n"+line+"\n") })
}

// post sends a request over HTTP, and returns the status and when to send it again.
func (c *child) post(body []byte) (int, string) {
	c.t.Helper()
	response, err := http.Post("http://"+c.http+"/v1/traces", "application/x-protobuf", bytes.NewReader(body))
	require.NoError(c.t, err)
	defer response.Body.Close()
	return response.StatusCode, response.Header.Get("Retry-After")
}

// call sends it over gRPC.
func (c *child) call(body []byte) error {
	c.t.Helper()
	request := ptraceotlp.NewExportRequest()
	require.NoError(c.t, request.UnmarshalProto(body))
	conn, err := grpc.NewClient(c.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(c.t, err)
	defer func() { require.NoError(c.t, conn.Close()) }()
	_, err = ptraceotlp.NewGRPCClient(conn).Export(c.t.Context(), request)
	return err
}

// answers are inferences of a version, from one trace ID to another, with the same groundedness.
func answers(t *testing.T, version string, from, to byte, score float64) []byte {
	t.Helper()
	var spans []span
	for id := from; id < to; id++ {
		spans = append(spans, span{trace: id, id: 1, took: time.Second, attrs: attributes{
			"ml.model.name": "assistant", "ml.model.version": version, "ml.feature.amount": float64(id) + 0.5,
		}, events: []event{{evaluationResult, 0, attributes{"gen_ai.evaluation.name": "groundedness", "gen_ai.evaluation.score.value": score}}}})
	}
	return traces(t, nil, spans...)
}

func TestFullDiskLosesNoSpan(t *testing.T) {
	var up atomic.Bool
	var mu sync.Mutex
	arrived := make(map[string]int)
	people := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		var item review.Item
		if json.NewDecoder(request.Body).Decode(&item) != nil || !up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		arrived[item.TraceID[30:]+" "+item.Version]++
	}))
	t.Cleanup(people.Close)
	store := filepath.Join(t.TempDir(), "baselines")
	c := startChild(t, fmt.Sprintf(`
baseline_store: {type: FILESYSTEM, config: {directory: %q}}
baselines: {sample: 10, interval: 1s}
reviews: {url: %q, max_backoff: 1s}
`, store, people.URL))
	taken := func(body []byte) {
		t.Helper()
		code, _ := c.post(body)
		require.Equal(t, http.StatusOK, code)
	}
	taken(answers(t, "1", 1, 21, 0.89))
	c.awaitMetric(`ml_model_baseline_wanted_days{model="assistant",role="input",version="1"} 30`)

	c.disk(0)
	taken(answers(t, "1", 21, 24, 0.89))
	require.NoError(t, c.call(answers(t, "2", 101, 121, 0.2)))
	taken(answers(t, "2", 121, 141, 0.90))
	c.awaitMetric(`sightglass_collector_success{collector="fields"} 0`)
	require.NotContains(t, c.metrics(), `ml_model_field_values_total{bin="null",field="amount",model="assistant",role="input",version="2"}`, "no bins that are not in the store")
	for _, line := range []string{
		`ml_inference_requests_total{model="assistant",outcome="ok",version="1"} 23`,
		`ml_model_evaluations_total{evaluation="groundedness",model="assistant",result="below_gate",version="1"} 23`,
		`ml_model_reviews_dropped_total{model="assistant",reason="disk",version="1"} 3`,
		`ml_model_reviews_dropped_total{model="assistant",reason="disk",version="2"} 20`,
	} {
		require.Contains(t, c.metrics(), "\n"+line+"\n")
	}

	c.disk(unix.RLIM_INFINITY)
	up.Store(true)
	c.awaitMetric(`ml_model_reviews_outbox_items{state="pending"} 0`)
	want := make(map[string]int)
	for id := 1; id < 21; id++ {
		want[fmt.Sprintf("%02x 1", id)] = 1
	}
	mu.Lock()
	require.Equal(t, want, arrived, "each once")
	mu.Unlock()
	c.awaitMetric(`sightglass_collector_success{collector="fields"} 1`)
	for version, n := range map[string]int{"1": 23, "2": 40} {
		c.await("the values of version "+version, func() bool {
			var sum int
			for line := range strings.Lines(c.metrics()) {
				if strings.HasPrefix(line, "ml_model_field_values_total{") && strings.Contains(line, `field="amount"`) && strings.Contains(line, `version="`+version+`"`) {
					var values int
					_, err := fmt.Sscan(line[strings.LastIndexByte(line, ' '):], &values)
					require.NoError(t, err)
					sum += values
				}
			}
			return sum == n
		})
	}
	left, err := filepath.Glob(filepath.Join(store, "model", "*", ".tmp-*"))
	require.NoError(t, err)
	require.Empty(t, left, "a file that could not be written is removed")
}
