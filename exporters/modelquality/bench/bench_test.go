// Package bench measures the model-quality exporter against the spanmetrics connector of the OpenTelemetry Collector, in
// a module of its own because of the Collector's dependencies.
package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/spanmetricsconnector"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/sightglass-ml/sightglass/exporters/modelquality"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
)

const (
	spans    = 512 // of a request, as many as SDKs send by default
	requests = 20  // of a round, which is short so that some rounds run undisturbed
)

// round is the requests of a round. No two rounds share an ID, because spans do not come again.
func round(n int) (bodies [][]byte) {
	for i := range requests {
		bodies = append(bodies, payload(n*requests+i))
	}
	return bodies
}

// payload is a request of inferences with the attributes that a service would send.
func payload(n int) []byte {
	ids := rand.New(rand.NewPCG(1, uint64(n)))
	random := func() (id [8]byte) {
		binary.LittleEndian.PutUint64(id[:], ids.Uint64())
		return id
	}
	t := ptrace.NewTraces()
	rs := t.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "scorer")
	rs.Resource().Attributes().PutStr("service.version", "1.4.2")
	rs.Resource().Attributes().PutStr("k8s.pod.name", "scorer-5d9c7-x2x9k")
	list := rs.ScopeSpans().AppendEmpty().Spans()
	for i := range spans {
		id := n*spans + i
		s := list.AppendEmpty()
		s.SetName("predict")
		s.SetKind(ptrace.SpanKindServer)
		first, second := random(), random()
		s.SetTraceID([16]byte(slices.Concat(first[:], second[:])))
		s.SetSpanID(random())
		s.SetParentSpanID(random()) // of the web server
		start := time.Unix(1_795_000_000, int64(id)*1000)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(start.Add(time.Duration(20+id%80) * time.Millisecond)))
		a := s.Attributes()
		a.PutStr("ml.model.name", "fraud-"+strconv.Itoa(id%5))
		a.PutStr("ml.model.version", strconv.Itoa(id%2+1))
		a.PutStr("mlflow.run_id", "5c1b3f8a9d6e4b7c8f0a1b2c3d4e5f60")
		a.PutDouble("queue_wait_ms", float64(id%17))
		a.PutDouble("forward_pass_ms", float64(15+id%40))
		a.PutStr("ml.prediction", []string{"fraud", "legitimate"}[id%2])
		a.PutDouble("ml.prediction.confidence", float64(id%100)/100)
		a.PutDouble("ml.feature.amount", float64(id%1000)/3)
		a.PutStr("ml.feature.country", []string{"CA", "US", "FR", "DE"}[id%4])
		a.PutInt("ml.feature.items", int64(id%6))
		a.PutBool("ml.feature.gift", id%3 == 0)
		a.PutStr("server.address", "scorer.shop.svc")
		a.PutInt("http.response.status_code", 200)
		a.PutStr("deployment.environment.name", "production")
		if id%50 == 0 {
			s.Status().SetCode(ptrace.StatusCodeError)
			e := s.Events().AppendEmpty()
			e.SetName("exception")
			e.Attributes().PutStr("exception.type", "ValueError")
		}
	}
	body, err := ptraceotlp.NewExportRequestFromTraces(t).MarshalProto()
	if err != nil {
		panic(err) // it cannot
	}
	return body
}

// sightglass is our handler, with bins for all fields.
func sightglass(b *testing.B, text string) (http.Handler, *modelquality.Exporter) {
	b.Helper()
	var cfg modelquality.Config
	text = fmt.Sprintf("otlp: {grpc: 'off', http: '127.0.0.1:0'}\nbaseline_store: {type: FILESYSTEM, config: {directory: %s}}\nbaselines: {sample: 10}\n%s", b.TempDir(), text)
	require.NoError(b, config.Decode("bench.yaml", []byte(text), &cfg))
	instance, err := modelquality.Spec().Start(b.Context(), exportertest.Env(b), cfg)
	require.NoError(b, err)
	e := instance.(*modelquality.Exporter)
	return e.OTLP(), e
}

// spanmetrics is a handler in front of the connector. It counts by the same model and version.
func spanmetrics(b *testing.B) http.Handler {
	b.Helper()
	factory := spanmetricsconnector.NewFactory()
	cfg := factory.CreateDefaultConfig().(*spanmetricsconnector.Config)
	cfg.Dimensions = []spanmetricsconnector.Dimension{{Name: "ml.model.name"}, {Name: "ml.model.version"}}
	cfg.MetricsFlushInterval = time.Hour // as rarely as one likes
	connector, err := factory.CreateTracesToMetrics(b.Context(), connectortest.NewNopSettings(factory.Type()), cfg, consumertest.NewNop())
	require.NoError(b, err)
	require.NoError(b, connector.Start(b.Context(), nil))
	b.Cleanup(func() { require.NoError(b, connector.Shutdown(context.Background())) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		request := ptraceotlp.NewExportRequest()
		if err := request.UnmarshalProto(body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := connector.ConsumeTraces(r.Context(), request.Traces()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

// send posts all bodies and returns their processor time and allocations, including those of the garbage collector. Wall time would
// include other processes.
func send(b *testing.B, h http.Handler, bodies [][]byte) (took time.Duration, mallocs uint64) {
	b.Helper()
	runtime.GC() // lest one clear up after the other
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := processorTime(b)
	for _, body := range bodies {
		req := httptest.NewRequest(http.MethodPost, "/v1/traces", bytes.NewReader(body))
		req.Header.Set("Content-Type", "application/x-protobuf")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != http.StatusOK {
			b.Fatalf("%d: %s", w.Code, w.Body)
		}
	}
	took = processorTime(b) - start
	runtime.ReadMemStats(&after)
	return took, after.Mallocs - before.Mallocs
}

// processorTime returns the processor time of this process.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIngest sends the same requests to both, on one core, from the bytes of a request to counters. One follows the other and has
// the heap to itself, because garbage is collected less often in a larger heap. The fastest rounds are compared, because other processes
// only make rounds slower: on a shared machine the mean differs by half from run to run.
func BenchmarkIngest(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var theirs time.Duration
	b.Run("spanmetrics", func(b *testing.B) {
		h := spanmetrics(b)
		send(b, h, round(0))
		theirs = fastest(b, h)
	})
	b.Run("sightglass", func(b *testing.B) {
		h, exporter := sightglass(b, "")
		send(b, h, round(0))
		for deadline := time.Now().Add(time.Minute); !strings.Contains(exportertest.Gather(b, exporter), `bin="CA",field="country",model="fraud-4"`); time.Sleep(100 * time.Millisecond) {
			require.True(b, time.Now().Before(deadline), "no bins were cut")
		}
		b.ReportMetric(theirs.Seconds()/fastest(b, h).Seconds(), "times-faster")
	})
}

// fastest sends a new round in each iteration, reports the rate of the fastest and returns the processor time that it took.
func fastest(b *testing.B, h http.Handler) time.Duration {
	b.Helper()
	least, allocated := time.Duration(math.MaxInt64), uint64(0)
	for n := 1; b.Loop(); n++ {
		took, mallocs := send(b, h, round(n))
		least, allocated = min(least, took), allocated+mallocs
	}
	const n = float64(requests * spans)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(n/least.Seconds(), "spans/s/core")
	b.ReportMetric(float64(allocated)/(n*float64(b.N)), "allocs/span")
	return least
}

// hostile is a request whose every span has names that were never there before.
func hostile(n int) []byte {
	t := ptrace.NewTraces()
	list := t.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	for i := range spans {
		id := strconv.Itoa(n*spans + i)
		s := list.AppendEmpty()
		s.SetTraceID([16]byte{1, byte(i), byte(n), byte(n >> 8), byte(n >> 16), 15: 1})
		s.SetSpanID([8]byte{byte(i), byte(n), byte(n >> 8), byte(n >> 16), 7: 1})
		s.SetStartTimestamp(1_795_000_000_000_000_000)
		s.SetEndTimestamp(1_795_000_000_100_000_000)
		a := s.Attributes()
		if i%2 == 0 {
			a.PutStr("ml.model.name", "model "+id)
		} else {
			a.PutStr("ml.model.name", "fraud")
		}
		a.PutStr("ml.model.version", id)
		a.PutStr("ml.feature.feature "+id, "value "+id)
		a.PutInt("ml.feature_time.feature "+id, 1_794_999_000)
		a.PutStr("ml.prediction", "class "+id)
		a.PutStr("error.type", "Exception "+id)
		a.PutStr("gen_ai.evaluation.name", "evaluation "+id)
		a.PutDouble("gen_ai.evaluation.score.value", 0.5)
	}
	body, err := ptraceotlp.NewExportRequestFromTraces(t).MarshalProto()
	if err != nil {
		panic(err) // it cannot
	}
	return body
}

// BenchmarkMemory throws a million different models, versions, features, predictions, evaluations and exceptions at the
// exporter, after enough of them to reach its limits.
func BenchmarkMemory(b *testing.B) {
	h, _ := sightglass(b, "")
	const warm, all = 1000, 10_000 + 1000 // requests of 100 spans
	throw := func(from, to int) {
		for n := from; n < to; n++ {
			req := httptest.NewRequest(http.MethodPost, "/v1/traces", bytes.NewReader(hostile(n)))
			req.Header.Set("Content-Type", "application/x-protobuf")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			if w.Code != http.StatusOK {
				b.Fatalf("%d: %s", w.Code, w.Body)
			}
		}
	}
	for b.Loop() {
		throw(0, warm)
		heapBefore, rssBefore := memory(b)
		throw(warm, all)
		heapAfter, rssAfter := memory(b)
		const mib = 1 << 20
		b.ReportMetric(heapBefore/mib, "heap-before-MiB")
		b.ReportMetric(heapAfter/mib, "heap-after-MiB")
		b.ReportMetric(rssBefore/mib, "rss-before-MiB")
		b.ReportMetric(rssAfter/mib, "rss-after-MiB")
		if heapAfter > heapBefore+8*mib {
			b.Errorf("the heap grew by %.1f MiB", (heapAfter-heapBefore)/mib)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// memory is the live heap and the resident size in bytes.
func memory(b *testing.B) (heap, rss float64) {
	b.Helper()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return float64(m.HeapAlloc), 0 // not Linux
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(text))[1], 64)
	require.NoError(b, err)
	return float64(m.HeapAlloc), pages * float64(os.Getpagesize())
}
