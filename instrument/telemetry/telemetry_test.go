package telemetry

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"
	"go.opencensus.io/stats"
	"go.opencensus.io/stats/view"
	"go.opencensus.io/tag"
	octrace "go.opencensus.io/trace"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) {
	// The developer's environment must not influence the tests.
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") {
			_ = os.Unsetenv(name)
		}
	}
	goleak.VerifyTestMain(m,
		// OpenCensus starts its worker when it is imported and never ends it.
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// start starts telemetry and returns what would be at /metrics.
func start(t *testing.T) (tel *Telemetry, scrape func() string) {
	t.Helper()
	registry, self := prometheus.NewRegistry(), prometheus.NewRegistry()
	up := prometheus.NewGauge(prometheus.GaugeOpts{Name: "sightglass_collector_success", Help: "Up."})
	up.Set(1)
	self.MustRegister(up)
	tel, err := Start(t.Context(), Options{
		Service: "toy_exporter", Version: "1.2.3", Logger: promslog.NewNopLogger(), Registerer: registry, Self: self,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.Background())) })
	page := promhttp.HandlerFor(prometheus.Gatherers{registry, self}, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError})
	return tel, func() string {
		recorder := httptest.NewRecorder()
		page.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
		require.Equal(t, http.StatusOK, recorder.Code, recorder.Body.String())
		return recorder.Body.String()
	}
}

// recordCensus does what a dependency that is instrumented with OpenCensus does:
// it knows nothing of OpenTelemetry or of us.
func recordCensus(t *testing.T) {
	t.Helper()
	latency := stats.Float64("example.com/client/latency", "Latency of a dependency", stats.UnitSeconds)
	method := tag.MustNewKey("method")
	v := &view.View{
		Name: "example.com/client/latency", Description: "Latency of a dependency.",
		Measure: latency, TagKeys: []tag.Key{method}, Aggregation: view.Distribution(0.1, 1, 10),
	}
	require.NoError(t, view.Register(v))
	t.Cleanup(func() { view.Unregister(v) })
	require.NoError(t, stats.RecordWithTags(context.Background(), []tag.Mutator{tag.Upsert(method, "GET")}, latency.M(0.5)))
	// Records are taken in by a worker; a query waits for its turn behind them.
	_, err := view.RetrieveData(v.Name)
	require.NoError(t, err)
}

func TestOpenCensusViewIsOnTheMetricsPage(t *testing.T) {
	_, scrape := start(t)
	recordCensus(t)
	page := scrape()
	require.Contains(t, page, `example_com_client_latency_bucket{method="GET",le="1"} 1`)
	require.Contains(t, page, `example_com_client_latency_sum{method="GET"} 0.5`)
}

func TestOpenTelemetryMetricsHaveCleanNames(t *testing.T) {
	tel, scrape := start(t)
	requests, err := tel.Meters.Meter("toy").Int64Counter("toy.requests", metric.WithDescription("Requests."))
	require.NoError(t, err)
	requests.Add(t.Context(), 2)
	// A dependency finds the provider here.
	duration, err := otel.Meter("dependency").Float64Histogram("dep.request.duration", metric.WithUnit("s"), metric.WithDescription("Time."))
	require.NoError(t, err)
	duration.Record(t.Context(), 0.25)

	page := scrape()
	require.Contains(t, page, "\ntoy_requests_total 2\n")
	require.Contains(t, page, "\ndep_request_duration_seconds_sum 0.25\n")
	require.NotContains(t, page, "target_info")
	require.NotContains(t, page, "otel_scope")
	problems, err := promlint.New(strings.NewReader(page)).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
}

// receiver is an OTLP endpoint.
type receiver struct {
	*httptest.Server
	mu        sync.Mutex
	resources map[string]string
	metrics   map[string]bool
	spans     map[string]bool
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{resources: map[string]string{}, metrics: map[string]bool{}, spans: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/metrics", func(_ http.ResponseWriter, req *http.Request) {
		var in collectormetrics.ExportMetricsServiceRequest
		r.decode(t, req, &in)
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, rm := range in.ResourceMetrics {
			for _, a := range rm.Resource.Attributes {
				r.resources[a.Key] = a.Value.GetStringValue()
			}
			for _, sm := range rm.ScopeMetrics {
				for _, m := range sm.Metrics {
					r.metrics[m.Name] = true
				}
			}
		}
	})
	mux.HandleFunc("POST /v1/traces", func(_ http.ResponseWriter, req *http.Request) {
		var in collectortrace.ExportTraceServiceRequest
		r.decode(t, req, &in)
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, rs := range in.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					r.spans[s.Name] = true
				}
			}
		}
	})
	r.Server = httptest.NewServer(mux)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) decode(t *testing.T, req *http.Request, into proto.Message) {
	body, err := io.ReadAll(req.Body)
	if err == nil {
		err = proto.Unmarshal(body, into)
	}
	if err != nil {
		t.Errorf("decode %s: %v", req.URL.Path, err)
	}
}

func TestMetricsAndSpansGoToTheOTLPEndpointOfTheEnvironment(t *testing.T) {
	r := newReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	previous := octrace.DefaultTracer
	tel, scrape := start(t)

	requests, err := tel.Meters.Meter("toy").Int64Counter("toy.requests")
	require.NoError(t, err)
	requests.Add(t.Context(), 1)
	recordCensus(t)
	ctx, span := tel.Tracers.Tracer("toy").Start(t.Context(), "collect")
	_, census := octrace.StartSpan(ctx, "census query")
	census.End()
	span.End()
	require.NoError(t, tel.Shutdown(t.Context()), "what was not sent yet is sent")

	r.mu.Lock()
	defer r.mu.Unlock()
	require.Subset(t, r.metrics, map[string]bool{
		"toy.requests":                 true,
		"example.com/client/latency":   true,
		"sightglass_collector_success": true,
	})
	require.Equal(t, map[string]bool{"collect": true, "census query": true}, r.spans)
	require.Equal(t, "toy_exporter", r.resources["service.name"])
	require.Equal(t, "1.2.3", r.resources["service.version"])
	require.Equal(t, "test", r.resources["deployment.environment.name"])
	require.Equal(t, previous, octrace.DefaultTracer, "the hook of OpenCensus is taken back")
	require.NotPanics(t, func() { scrape() })
}

func TestASpanHasRoomForTheFeaturesOfAModel(t *testing.T) {
	for name, test := range map[string]struct {
		variable string
		dropped  int
	}{
		"unless the environment says less":           {"", 0},
		"the environment limits spans":               {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", 490},
		"the environment limits all that has some":   {"OTEL_ATTRIBUTE_COUNT_LIMIT", 490},
		"the environment limits something different": {"OTEL_SPAN_EVENT_COUNT_LIMIT", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", newReceiver(t).URL)
			if test.variable != "" {
				t.Setenv(test.variable, "10")
			}
			tel, _ := start(t)
			_, span := tel.Tracers.Tracer("toy").Start(t.Context(), "inference")
			defer span.End()
			for i := range 500 {
				span.SetAttributes(attribute.Int("ml.feature."+strconv.Itoa(i), i))
			}
			recorded, ok := span.(sdktrace.ReadOnlySpan)
			require.True(t, ok)
			require.Equal(t, test.dropped, recorded.DroppedAttributes())
		})
	}
}

func TestServiceNameOfTheEnvironmentWins(t *testing.T) {
	r := newReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", r.URL+"/v1/metrics")
	t.Setenv("OTEL_SERVICE_NAME", "gpu-fleet")
	tel, _ := start(t)
	_, traced := tel.Tracers.Tracer("x").Start(t.Context(), "x")
	require.False(t, traced.SpanContext().IsValid(), "only metrics have an endpoint")
	require.NoError(t, tel.Shutdown(t.Context()))
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Equal(t, "gpu-fleet", r.resources["service.name"])
	require.Empty(t, r.spans)
}

func TestOTELSDKDisabledTurnsEverythingOff(t *testing.T) {
	r := newReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.URL)
	t.Setenv("OTEL_SDK_DISABLED", "true")
	tel, scrape := start(t)
	requests, err := tel.Meters.Meter("toy").Int64Counter("toy.requests")
	require.NoError(t, err)
	requests.Add(t.Context(), 1)
	_, span := tel.Tracers.Tracer("toy").Start(t.Context(), "collect")
	span.End()
	require.NoError(t, tel.Shutdown(t.Context()))
	require.NotContains(t, scrape(), "toy_requests")
	require.Contains(t, scrape(), "sightglass_collector_success 1", "the alerts on the process itself go on")
	require.Empty(t, r.metrics)
	require.Empty(t, r.spans)
}

func TestWhatIsExportedFollowsTheEnvironment(t *testing.T) {
	for name, tc := range map[string]struct {
		env  map[string]string
		want bool
	}{
		"nothing is set":                     {nil, false},
		"an endpoint for all signals":        {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, true},
		"an endpoint for this signal":        {map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x"}, true},
		"an endpoint for another signal":     {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, false},
		"an exporter by name":                {map[string]string{"OTEL_METRICS_EXPORTER": "otlp"}, true},
		"no exporter in spite of an address": {map[string]string{"OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, false},
		"the page that is already there":     {map[string]string{"OTEL_METRICS_EXPORTER": "prometheus"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range tc.env {
				t.Setenv(k, v)
			}
			require.Equal(t, tc.want, exports("METRICS"))
		})
	}
}

func TestInvalidSettingStopsTheStart(t *testing.T) {
	for _, env := range []string{"OTEL_METRICS_EXPORTER", "OTEL_TRACES_EXPORTER"} {
		t.Run(env, func(t *testing.T) {
			t.Setenv(env, "carrier-pigeon")
			_, err := Start(t.Context(), Options{Registerer: prometheus.NewRegistry(), Self: prometheus.NewRegistry(), Logger: promslog.NewNopLogger()})
			require.ErrorContains(t, err, "as OTEL_* says: ")
		})
	}
}

func TestShutdownGivesUpAtItsDeadline(t *testing.T) {
	entered, release := make(chan struct{}, 10), make(chan struct{})
	blocked := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-release
	}))
	defer blocked.Close()
	defer close(release)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", blocked.URL)
	tel, _ := start(t)
	_, span := tel.Tracers.Tracer("toy").Start(t.Context(), "collect")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, tel.Shutdown(ctx), "shut telemetry down: ")
	require.NotEmpty(t, entered)
}

func TestErrorsOfTelemetryAreLoggedAndNotPrinted(t *testing.T) {
	var log strings.Builder
	tel, err := Start(t.Context(), Options{
		Service: "toy", Logger: slog.New(slog.NewTextHandler(&log, nil)), Registerer: prometheus.NewRegistry(), Self: prometheus.NewRegistry(),
	})
	require.NoError(t, err)
	otel.Handle(io.ErrUnexpectedEOF)
	require.NoError(t, tel.Shutdown(t.Context()))
	require.Contains(t, log.String(), `msg="Telemetry could not be processed or sent" err="unexpected EOF"`)
}
