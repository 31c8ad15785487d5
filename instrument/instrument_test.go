package instrument_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"
	"go.opencensus.io/stats"
	"go.opencensus.io/stats/view"
	octrace "go.opencensus.io/trace"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/sightglass-ml/sightglass/instrument"
)

// record makes a model whose spans can be read.
func record(t *testing.T, o instrument.ModelOptions) (*instrument.Model, *tracetest.SpanRecorder) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	o.Tracers = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	m, err := instrument.NewModel(o)
	require.NoError(t, err)
	return m, spans
}

func attributesOf(kvs []attribute.KeyValue) map[string]any {
	m := make(map[string]any)
	for _, kv := range kvs {
		m[string(kv.Key)] = kv.Value.AsInterface()
	}
	return m
}

func TestSpanHasTheAttributesOfTheInference(t *testing.T) {
	m, spans := record(t, instrument.ModelOptions{Name: "fraud", Version: "7", RunID: "0ff1ce"})
	start := time.Now().Add(-time.Second)
	ctx, i := m.Start(t.Context(), trace.WithTimestamp(start), trace.WithSpanKind(trace.SpanKindServer))
	i.QueueWait(1500 * time.Microsecond)
	i.ForwardPass(20 * time.Millisecond)
	i.Features(attribute.Float64("amount", 12.5), attribute.String("country", "CA"))
	i.FeatureTime("amount", time.Date(2026, 11, 24, 6, 0, 0, 5e8, time.FixedZone("", 3600)))
	i.Prediction(attribute.StringValue("legitimate"))
	i.Confidence(0.97)
	i.Tokens(100, 20)
	i.ResponseID("r-1")
	i.Evaluate(instrument.Evaluation{Name: "groundedness", Score: 0.89, Label: "fail", Explanation: "no source"})
	i.End()
	m.Evaluate(ctx, instrument.Evaluation{Name: "toxicity", Score: 0.1})

	require.Len(t, spans.Ended(), 2)
	span, judged := spans.Ended()[0], spans.Ended()[1]
	require.Equal(t, "inference", span.Name())
	require.Equal(t, trace.SpanKindServer, span.SpanKind())
	require.True(t, start.Equal(span.StartTime()))
	require.Equal(t, codes.Unset, span.Status().Code)
	require.Equal(t, map[string]any{
		"ml.model.name": "fraud", "ml.model.version": "7", "mlflow.run_id": "0ff1ce",
		"ml.inference.queue_wait_ms": 1.5, "ml.inference.forward_pass_ms": 20.0,
		"ml.feature.amount": 12.5, "ml.feature.country": "CA", "ml.feature_time.amount": "2026-11-24T05:00:00.5Z",
		"ml.prediction": "legitimate", "ml.prediction.confidence": 0.97,
		"gen_ai.usage.input_tokens": int64(100), "gen_ai.usage.output_tokens": int64(20), "gen_ai.response.id": "r-1",
	}, attributesOf(span.Attributes()))
	require.Len(t, span.Events(), 1)
	require.Equal(t, "gen_ai.evaluation.result", span.Events()[0].Name)
	require.Equal(t, map[string]any{
		"gen_ai.evaluation.name": "groundedness", "gen_ai.evaluation.score.value": 0.89,
		"gen_ai.evaluation.score.label": "fail", "gen_ai.evaluation.explanation": "no source",
	}, attributesOf(span.Events()[0].Attributes))

	require.Equal(t, span.SpanContext().SpanID(), judged.Parent().SpanID())
	require.Equal(t, map[string]any{
		"ml.model.name": "fraud", "ml.model.version": "7", "mlflow.run_id": "0ff1ce",
		"gen_ai.evaluation.name": "toxicity", "gen_ai.evaluation.score.value": 0.1,
	}, attributesOf(judged.Attributes()))
}

func TestTimesAreMeasuredFromTheStart(t *testing.T) {
	m, spans := record(t, instrument.ModelOptions{Name: "fraud"})
	_, i := m.Start(t.Context(), trace.WithTimestamp(time.Now().Add(-time.Minute)))
	i.Dequeued()
	i.FirstToken()
	i.End()
	said := attributesOf(spans.Ended()[0].Attributes())
	require.GreaterOrEqual(t, said["ml.inference.queue_wait_ms"], 60_000.0)
	require.GreaterOrEqual(t, said["ml.inference.time_to_first_token_ms"], said["ml.inference.queue_wait_ms"])
	require.NotContains(t, said, "ml.model.version")
	require.NotContains(t, said, "mlflow.run_id")
}

func TestFailures(t *testing.T) {
	broken := errors.New("the weights are broken")
	for name, test := range map[string]struct {
		do                 func(*instrument.Inference)
		outcome, exception any
		code               codes.Code
	}{
		"an error":                        {func(i *instrument.Inference) { i.Fail(broken) }, "error", broken.Error(), codes.Error},
		"an error that is not known":      {func(i *instrument.Inference) { i.Fail(nil) }, "error", nil, codes.Error},
		"a deadline that passed":          {func(i *instrument.Inference) { i.Fail(context.DeadlineExceeded) }, "timeout", "context deadline exceeded", codes.Error},
		"a connection that timed out":     {func(i *instrument.Inference) { i.Fail(os.ErrDeadlineExceeded) }, "timeout", "i/o timeout", codes.Error},
		"a queue that is full":            {func(i *instrument.Inference) { i.Reject(errors.New("full")) }, "rejected", "full", codes.Error},
		"a fallback is an answer":         {func(i *instrument.Inference) { i.Fallback(broken) }, nil, broken.Error(), codes.Unset},
		"a fallback may have no reason":   {func(i *instrument.Inference) { i.Fallback(nil) }, nil, nil, codes.Unset},
		"a success is what did not fail ": {func(*instrument.Inference) {}, nil, nil, codes.Unset},
	} {
		t.Run(name, func(t *testing.T) {
			m, spans := record(t, instrument.ModelOptions{Name: "fraud"})
			_, i := m.Start(t.Context())
			test.do(i)
			i.End()
			span := spans.Ended()[0]
			said := attributesOf(span.Attributes())
			require.Equal(t, test.outcome, said["ml.outcome"])
			require.Equal(t, test.code, span.Status().Code)
			if strings.HasPrefix(name, "a fallback") {
				require.Equal(t, true, said["ml.fallback"])
			}
			var exception any
			for _, e := range span.Events() {
				exception = attributesOf(e.Attributes)["exception.message"]
			}
			require.Equal(t, test.exception, exception)
		})
	}
}

func TestInvalidOptionsAreRefused(t *testing.T) {
	_, err := instrument.NewModel(instrument.ModelOptions{})
	require.EqualError(t, err, "instrument: a model needs a name")
	_, err = instrument.NewModel(instrument.ModelOptions{Name: "m", RunID: "r", FindRun: func(context.Context) (string, error) { return "", nil }})
	require.EqualError(t, err, "instrument: a model has a run or a way to find it, not both")
	_, err = instrument.Setup(t.Context(), instrument.SetupOptions{Service: "s"})
	require.EqualError(t, err, "instrument: telemetry needs the name of a service and a logger")
}

// registry is an MLflow server that delays its answer until release is called.
func registry(t *testing.T, answer string) (find instrument.FindRun, release func(), asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var urls []string
	gate := make(chan struct{})
	release = sync.OnceFunc(func() { close(gate) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		urls = append(urls, r.URL.String())
		mu.Unlock()
		<-gate
		if answer == "" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(func() { release(); server.Close() })
	return instrument.RunFromMLflow(nil, server.URL+"/", "credit risk", "3"), release, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(urls)
	}
}

func TestRunIsLookedUpOnceWithoutDelayingInferences(t *testing.T) {
	find, release, asked := registry(t, `{"model_version": {"name": "credit risk", "version": "3", "run_id": "0ff1ce"}}`)
	m, spans := record(t, instrument.ModelOptions{Name: "credit risk", Version: "3", FindRun: find})
	run := func() any {
		// The end of the question must not end the search.
		ctx, cancel := context.WithCancel(t.Context())
		_, i := m.Start(ctx)
		i.End()
		cancel()
		ended := spans.Ended()
		return attributesOf(ended[len(ended)-1].Attributes())["mlflow.run_id"]
	}
	require.Nil(t, run())
	require.Eventually(t, func() bool { return len(asked()) == 1 }, 30*time.Second, time.Millisecond)
	require.Nil(t, run(), "the server has not answered")
	release()
	require.Eventually(t, func() bool { return run() == "0ff1ce" }, 30*time.Second, time.Millisecond)
	require.Equal(t, []string{"/api/2.0/mlflow/model-versions/get?name=credit+risk&version=3"}, asked())
}

func TestMissingRunIsLeftOut(t *testing.T) {
	find, release, asked := registry(t, "")
	release()
	_, err := find(t.Context())
	require.EqualError(t, err, `instrument: ask MLflow for a run: model "credit risk", version "3": 404 Not Found`)
	m, spans := record(t, instrument.ModelOptions{Name: "credit risk", Version: "3", FindRun: find})
	for range 100 {
		_, i := m.Start(t.Context())
		i.End()
	}
	require.Eventually(t, func() bool { return len(asked()) == 2 }, 30*time.Second, time.Millisecond)
	require.NotContains(t, attributesOf(spans.Ended()[99].Attributes()), "mlflow.run_id")
	require.Len(t, asked(), 2, "a failure is not repeated at once")
}

func TestAttributesAreThoseOfTheDocumentation(t *testing.T) {
	root := ".."
	source, err := os.ReadFile(filepath.Join(root, "instrument", "instrument.go"))
	require.NoError(t, err)
	page, err := os.ReadFile(filepath.Join(root, "docs", "instrumentation.md"))
	require.NoError(t, err)
	reference, _, ok := strings.Cut(string(page), "## From Go")
	require.True(t, ok)
	names := 0
	for _, literal := range strings.Split(string(source), `"`) {
		if strings.HasPrefix(literal, "ml.") || strings.HasPrefix(literal, "mlflow.") || strings.HasPrefix(literal, "gen_ai.") {
			names++
			if strings.HasSuffix(literal, ".") {
				literal += "<name>"
			}
			require.Contains(t, reference, "`"+literal+"`")
		}
	}
	require.Greater(t, names, 15)
}

func TestOpenCensusIsExportedOverOTLP(t *testing.T) {
	var mu sync.Mutex
	var metrics, spans []string
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/v1/traces" {
			request := ptraceotlp.NewExportRequest()
			if err = errors.Join(err, request.UnmarshalProto(body)); err != nil {
				t.Errorf("decode spans: %v", err)
				return
			}
			for _, resource := range request.Traces().ResourceSpans().All() {
				for _, scope := range resource.ScopeSpans().All() {
					for _, span := range scope.Spans().All() {
						spans = append(spans, span.Name())
					}
				}
			}
			return
		}
		request := pmetricotlp.NewExportRequest()
		if err = errors.Join(err, request.UnmarshalProto(body)); err != nil {
			t.Errorf("decode metrics: %v", err)
			return
		}
		for _, resource := range request.Metrics().ResourceMetrics().All() {
			for _, scope := range resource.ScopeMetrics().All() {
				for _, metric := range scope.Metrics().All() {
					metrics = append(metrics, metric.Name())
				}
			}
		}
	}))
	t.Cleanup(collector.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	registry := prometheus.NewRegistry()
	shutdown, err := instrument.Setup(t.Context(), instrument.SetupOptions{Service: "scorer", Logger: promslog.NewNopLogger(), Registerer: registry})
	require.NoError(t, err)

	// A dependency from the time before OpenTelemetry.
	questions := stats.Int64("example.com/questions", "Questions", stats.UnitDimensionless)
	v := &view.View{Name: "example.com/questions", Measure: questions, Aggregation: view.Count()}
	require.NoError(t, view.Register(v))
	t.Cleanup(func() { view.Unregister(v) })
	m, err := instrument.NewModel(instrument.ModelOptions{Name: "fraud"})
	require.NoError(t, err)
	ctx, i := m.Start(t.Context())
	_, old := octrace.StartSpan(ctx, "old library")
	old.End()
	i.End()
	stats.Record(ctx, questions.M(1))
	_, err = view.RetrieveData(v.Name)
	require.NoError(t, err)

	families, err := registry.Gather()
	require.NoError(t, err)
	require.Len(t, families, 1)
	require.Contains(t, families[0].GetName(), "example_com_questions")
	require.NoError(t, shutdown(context.Background()))
	mu.Lock()
	defer mu.Unlock()
	require.ElementsMatch(t, []string{"inference", "old library"}, spans)
	require.Contains(t, metrics, "example.com/questions")
}
