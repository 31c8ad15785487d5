package modelquality

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/outbox"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/receiver"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
	"github.com/sightglass-ml/sightglass/internal/review"
)

// at is when the test's inferences happen.
var at = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// attributes of a span or a record.
type attributes map[string]any

// span describes one span; ids are small numbers.
type span struct {
	trace, id, parent byte
	name              string
	start             time.Duration // after at
	took              time.Duration
	failed            bool
	attrs             attributes
	events            []event
}

type event struct {
	name  string
	after time.Duration
	attrs attributes
}

func traces(t testing.TB, resource attributes, spans ...span) []byte {
	t.Helper()
	out := ptrace.NewTraces()
	rs := out.ResourceSpans().AppendEmpty()
	require.NoError(t, rs.Resource().Attributes().FromRaw(resource))
	list := rs.ScopeSpans().AppendEmpty().Spans()
	for _, s := range spans {
		to := list.AppendEmpty()
		if s.name == "" {
			s.name = "predict"
		}
		to.SetName(s.name)
		to.SetTraceID([16]byte{0: 0xaa, 15: s.trace})
		to.SetSpanID([8]byte{0: 0xbb, 7: s.id})
		if s.parent != 0 {
			to.SetParentSpanID([8]byte{0: 0xbb, 7: s.parent})
		}
		to.SetStartTimestamp(timestamp(at.Add(s.start)))
		to.SetEndTimestamp(timestamp(at.Add(s.start + s.took)))
		if s.failed {
			to.Status().SetCode(ptrace.StatusCodeError)
		}
		require.NoError(t, to.Attributes().FromRaw(s.attrs))
		for _, e := range s.events {
			ev := to.Events().AppendEmpty()
			ev.SetName(e.name)
			ev.SetTimestamp(timestamp(at.Add(s.start + e.after)))
			require.NoError(t, ev.Attributes().FromRaw(e.attrs))
		}
	}
	body, err := ptraceotlp.NewExportRequestFromTraces(out).MarshalProto()
	require.NoError(t, err)
	return body
}

// record describes one log record.
type record struct {
	trace, span byte
	event       string
	attrs       attributes
}

func logs(t testing.TB, records ...record) []byte {
	t.Helper()
	out := plog.NewLogs()
	list := out.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for _, r := range records {
		to := list.AppendEmpty()
		if r.trace != 0 {
			to.SetTraceID([16]byte{0: 0xaa, 15: r.trace})
			to.SetSpanID([8]byte{0: 0xbb, 7: r.span})
		}
		to.SetTimestamp(timestamp(at))
		to.SetEventName(r.event)
		require.NoError(t, to.Attributes().FromRaw(r.attrs))
	}
	body, err := plogotlp.NewExportRequestFromLogs(out).MarshalProto()
	require.NoError(t, err)
	return body
}

// world is an exporter that a test feeds.
type world struct {
	*Exporter
	t testing.TB
}

// newWorld starts an exporter with the configuration, on any free ports.
func newWorld(t testing.TB, text string) *world {
	t.Helper()
	e, err := start(exportertest.Env(t), parse(t, text), "")
	require.NoError(t, err)
	w := &world{Exporter: e.(*Exporter), t: t}
	t.Cleanup(func() { require.NoError(t, w.Stop(context.Background())) })
	return w
}

// parse reads a configuration that begins with the ports of a test.
func parse(t testing.TB, text string) Config {
	t.Helper()
	var cfg Config
	text = "otlp: {grpc: '127.0.0.1:0', http: '127.0.0.1:0'}\n" + text
	require.NoError(t, config.Decode(filepath.Join(t.TempDir(), "modelquality.yaml"), []byte(text), &cfg))
	return cfg
}

func (w *world) spans(resource attributes, spans ...span) receiver.Answer {
	w.t.Helper()
	return w.send(receiver.Traces, traces(w.t, resource, spans...))
}

func (w *world) records(records ...record) receiver.Answer {
	w.t.Helper()
	return w.send(receiver.Logs, logs(w.t, records...))
}

// send exports a request and scribbles over it: nothing may have been kept without a copy.
func (w *world) send(signal receiver.Signal, body []byte) receiver.Answer {
	w.t.Helper()
	answer, err := w.pipeline.Export(w.t.Context(), signal, body)
	require.NoError(w.t, err)
	for i := range body {
		body[i] = 'x'
	}
	return answer
}

// metrics are the lines of a scrape that begin with one of the prefixes.
func (w *world) metrics(prefixes ...string) string {
	w.t.Helper()
	var kept strings.Builder
	for line := range strings.Lines(exportertest.Gather(w.t, w.Exporter)) {
		for _, p := range prefixes {
			if strings.HasPrefix(line, p) {
				kept.WriteString(line)
			}
		}
	}
	return kept.String()
}

func (w *world) requireMetric(line string) {
	w.t.Helper()
	require.Contains(w.t, "\n"+exportertest.Gather(w.t, w.Exporter), "\n"+line+"\n")
}

// reviews keeps what is to be reviewed.
type reviews struct {
	mu    sync.Mutex
	items []review.Item
	err   error
	// capacity is how many items it takes; 0 is any number.
	capacity, dropped int
}

func (r *reviews) Drop(_ error, items ...review.Item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropped += len(items)
}

func (r *reviews) Add(items ...review.Item) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	if r.capacity > 0 && len(r.items)+len(items) > r.capacity {
		return outbox.ErrFull
	}
	r.items = append(r.items, items...)
	return nil
}

const evaluationResult = "gen_ai.evaluation.result"

func fraud(attrs attributes) attributes {
	all := attributes{"ml.model.name": "fraud", "ml.model.version": "3"}
	for k, v := range attrs {
		all[k] = v
	}
	return all
}

func TestTheMetricsPage(t *testing.T) {
	w := newWorld(t, `
models:
  - name: fraud
    owner: payments
    labels: {tier: gold}
    thresholds: {failure_ratio: 0.02, fields: {amount: {drift_psi: 0.5}}}
`)
	w.spans(attributes{"service.name": "scorer"},
		span{trace: 1, id: 1, took: 80 * time.Millisecond, attrs: fraud(attributes{
			"mlflow.run_id": "5c1b", "queue_wait_ms": 20, "forward_pass_ms": 55.5, "ml.prediction": "fraud", "ml.prediction.confidence": 0.93,
			"ml.feature.amount": 12.5, "ml.feature.country": "CA", "ml.feature_time.amount": at.Add(-time.Hour).Format(time.RFC3339),
		}), events: []event{{evaluationResult, time.Millisecond, attributes{"gen_ai.evaluation.name": "Groundedness", "gen_ai.evaluation.score.value": 0.9}}}},
		span{trace: 2, id: 2, took: 2 * time.Second, failed: true, attrs: fraud(attributes{"error.type": "DEADLINE_EXCEEDED", "ml.confidence": 0.2})},
		span{trace: 3, id: 3, took: time.Second, attrs: attributes{
			"gen_ai.operation.name": "chat", "gen_ai.request.model": "llm", "gen_ai.usage.input_tokens": 100, "gen_ai.usage.prompt_tokens": 1,
			"gen_ai.usage.output_tokens": 7, "gen_ai.usage.cache_read.input_tokens": 90, "gen_ai.usage.reasoning.output_tokens": 5,
		}, events: []event{{"first_token", 250 * time.Millisecond, nil}}},
		span{trace: 4, id: 4, name: "GET /", took: time.Second},
	)
	text := exportertest.Gather(t, w.Exporter)
	exportertest.Lint(t, text)
	exportertest.Golden(t, "testdata/metrics.prom", text)
}

func TestAnEmptyConfigurationReceives(t *testing.T) {
	s := exportertest.Start(t, Spec(), "--config.file="+write(t, "otlp: {grpc: '127.0.0.1:0', http: '127.0.0.1:0'}\n"))
	s.AwaitReady()
	address := s.AwaitLog(`msg="Receiving OTLP" tls=false protocol=http address=`)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Post("http://"+address+"/v1/traces", "application/x-protobuf", bytes.NewReader(
		traces(t, nil, span{trace: 1, id: 1, took: time.Second, attrs: fraud(nil)})))
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s", body)
	s.AwaitMetric(`ml_inference_requests_total{model="fraud",outcome="ok",version="3"} 1`)
	s.AwaitMetric(`sightglass_otlp_requests_total{protocol="http",result="ok",signal="traces"} 1`)
}

func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "modelquality.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// sums are the seconds of queue and forward pass.
func (w *world) sums() string {
	return w.metrics("ml_inference_queue_wait_seconds_sum", "ml_inference_queue_wait_seconds_count", "ml_inference_forward_pass_seconds_sum", "ml_inference_forward_pass_seconds_count")
}

func TestChildSpansGiveQueueWaitAndForwardPass(t *testing.T) {
	parent := span{trace: 1, id: 1, took: 100 * time.Millisecond, attrs: fraud(nil)}
	queue := span{trace: 1, id: 2, parent: 1, name: "queue_wait", took: 30 * time.Millisecond}
	forward := span{trace: 1, id: 3, parent: 1, name: "forward_pass", took: 60 * time.Millisecond}
	const want = `ml_inference_forward_pass_seconds_sum{model="fraud",version="3"} 0.06
ml_inference_forward_pass_seconds_count{model="fraud",version="3"} 1
ml_inference_queue_wait_seconds_sum{model="fraud",version="3"} 0.03
ml_inference_queue_wait_seconds_count{model="fraud",version="3"} 1
`
	for name, requests := range map[string][][]span{
		"parent first, in one request":   {{parent, queue, forward}},
		"children first, in one request": {{queue, forward, parent}},
		"parent in an earlier request":   {{parent}, {forward}, {queue}},
		"parent in a later request":      {{queue}, {forward}, {parent}},
		"parent in between":              {{queue}, {parent}, {forward}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			for _, spans := range requests {
				w.spans(nil, spans...)
			}
			require.Equal(t, want, w.sums())
			w.requireMetric(`ml_inference_requests_total{model="fraud",outcome="ok",version="3"} 1`)
		})
	}
	t.Run("the parent's own number counts", func(t *testing.T) {
		for _, own := range [][][]span{{{queue}, {parent}}, {{parent, queue}}, {{parent}, {queue}}} {
			w := newWorld(t, "")
			for _, spans := range own {
				for i := range spans {
					if spans[i].id == 1 {
						spans[i].attrs = fraud(attributes{"queue_wait_ms": 5})
					}
				}
				w.spans(nil, spans...)
			}
			require.Contains(t, w.sums(), `ml_inference_queue_wait_seconds_sum{model="fraud",version="3"} 0.005`)
		}
	})
	t.Run("one without a parent counts for nothing", func(t *testing.T) {
		w := newWorld(t, "join: {wait: 1ms}\n")
		w.spans(nil, queue)
		time.Sleep(2 * time.Millisecond)
		w.pipeline.expire(time.Millisecond)
		w.spans(nil, parent)
		require.Empty(t, w.sums())
	})
}

func TestNestedSpansOfAModelAreOneInference(t *testing.T) {
	w := newWorld(t, "")
	w.spans(nil,
		span{trace: 1, id: 2, parent: 1, took: time.Second, attrs: attributes{"gen_ai.request.model": "llm", "gen_ai.usage.output_tokens": 5}},
		span{trace: 1, id: 1, took: time.Second, attrs: attributes{"llm.model_name": "llm", "openinference.span.kind": "LLM"}},
		span{trace: 1, id: 3, parent: 1, took: time.Second, attrs: fraud(nil)},
	)
	w.requireMetric(`ml_inference_requests_total{model="llm",outcome="ok",version=""} 1`)
	w.requireMetric(`ml_inference_requests_total{model="fraud",outcome="ok",version="3"} 1`)
	w.requireMetric(`ml_inference_tokens_total{direction="output",model="llm",version=""} 5`)
}

func TestAnEvaluationFindsItsInference(t *testing.T) {
	answer := span{trace: 1, id: 1, took: time.Second, attrs: fraud(attributes{"gen_ai.response.id": "r1"})}
	score := attributes{"gen_ai.evaluation.name": "groundedness", "gen_ai.evaluation.score.value": 0.5}
	with := func(more attributes) attributes {
		all := attributes{}
		for _, m := range []attributes{score, more} {
			for k, v := range m {
				all[k] = v
			}
		}
		return all
	}
	for name, tc := range map[string]struct {
		feed   func(w *world)
		model  string
		review review.Item
	}{
		"an event of the span": {func(w *world) {
			s := answer
			s.events = []event{{evaluationResult, 0, score}}
			w.spans(nil, s)
		}, "fraud", review.Item{}},
		"a log record after the span": {func(w *world) {
			w.spans(nil, answer)
			w.records(record{trace: 1, span: 1, event: evaluationResult, attrs: score})
		}, "fraud", review.Item{}},
		"a log record before the span": {func(w *world) {
			w.records(record{trace: 1, span: 1, attrs: with(attributes{"event.name": evaluationResult})})
			w.spans(nil, answer)
		}, "fraud", review.Item{}},
		"a log record with the response's id": {func(w *world) {
			w.spans(nil, answer)
			w.records(record{event: evaluationResult, attrs: with(attributes{"gen_ai.response.id": "r1"})})
		}, "fraud", review.Item{}},
		"a log record that names the model": {func(w *world) {
			w.records(record{trace: 9, span: 9, event: evaluationResult, attrs: fraud(score)})
		}, "fraud", review.Item{}},
		"a child span of an evaluator": {func(w *world) {
			w.spans(nil, answer, span{trace: 1, id: 2, parent: 1, attrs: attributes{
				"openinference.span.kind": "EVALUATOR", "annotation.name": "groundedness", "annotation.score": 0.5,
			}})
		}, "fraud", review.Item{}},
		"none at all": {func(w *world) {
			w.records(record{trace: 9, span: 9, event: evaluationResult, attrs: score})
			time.Sleep(2 * time.Millisecond)
			w.pipeline.expire(time.Millisecond)
		}, "unknown", review.Item{}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			tc.feed(w)
			version := "3"
			if tc.model == unknown {
				version = ""
			}
			w.requireMetric(`ml_model_evaluations_total{evaluation="groundedness",model="` + tc.model + `",result="below_gate",version="` + version + `"} 1`)
			w.requireMetric(`ml_model_evaluation_score_sum{evaluation="groundedness",model="` + tc.model + `",version="` + version + `"} 0.5`)
		})
	}
}

func TestResponsesBelowTheirGateAreReviewed(t *testing.T) {
	w := newWorld(t, `
evaluations:
  toxicity: {gate: 0.2, higher_is_better: false}
  hallucination: {gate: 0.5}
  relevance: {gate: 0.5, review: false}
`)
	box := &reviews{}
	w.pipeline.reviews = box
	w.spans(nil, span{trace: 1, id: 1, took: time.Second, attrs: fraud(attributes{"mlflow.run_id": "5c1b"})})
	judge := func(name string, more attributes) {
		t.Helper()
		attrs := attributes{"gen_ai.evaluation.name": name}
		for k, v := range more {
			attrs[k] = v
		}
		w.records(record{trace: 1, span: 1, event: evaluationResult, attrs: attrs})
	}
	score := func(v float64) attributes { return attributes{"gen_ai.evaluation.score.value": v} }
	judge("groundedness", score(0.9))
	judge("groundedness", score(float64(float32(0.9))))
	judge("toxicity", score(0.2))
	judge("hallucination", attributes{"gen_ai.evaluation.score.label": "factual"})
	judge("relevance", score(0.1))
	judge("style", score(0))
	judge("groundedness", attributes{"error.type": "timeout"})
	require.Empty(t, box.items)

	judge("groundedness", attributes{"gen_ai.evaluation.score.value": 0.89, "gen_ai.evaluation.score.label": "bad", "gen_ai.evaluation.explanation": "not in the sources"})
	judge("toxicity", score(0.21))
	judge("hallucination", attributes{"gen_ai.evaluation.score.label": "Hallucinated"})
	require.Len(t, box.items, 3)
	trace, spanID := "aa000000000000000000000000000001", "bb00000000000001"
	require.Equal(t, review.Item{
		ID: review.NewID(trace, spanID, "", "groundedness"), Time: at, Model: "fraud", Version: "3", TraceID: trace, SpanID: spanID,
		Evaluation: "groundedness", Score: 0.89, Gate: 0.9, Label: "bad", Explanation: "not in the sources",
	}, box.items[0])
	require.Equal(t, `ml_model_evaluations_total{evaluation="groundedness",model="fraud",result="below_gate",version="3"} 1
ml_model_evaluations_total{evaluation="groundedness",model="fraud",result="error",version="3"} 1
ml_model_evaluations_total{evaluation="groundedness",model="fraud",result="pass",version="3"} 2
ml_model_evaluations_total{evaluation="hallucination",model="fraud",result="below_gate",version="3"} 1
ml_model_evaluations_total{evaluation="hallucination",model="fraud",result="error",version="3"} 0
ml_model_evaluations_total{evaluation="hallucination",model="fraud",result="pass",version="3"} 1
ml_model_evaluations_total{evaluation="relevance",model="fraud",result="below_gate",version="3"} 1
ml_model_evaluations_total{evaluation="relevance",model="fraud",result="error",version="3"} 0
ml_model_evaluations_total{evaluation="relevance",model="fraud",result="pass",version="3"} 0
ml_model_evaluations_total{evaluation="toxicity",model="fraud",result="below_gate",version="3"} 1
ml_model_evaluations_total{evaluation="toxicity",model="fraud",result="error",version="3"} 0
ml_model_evaluations_total{evaluation="toxicity",model="fraud",result="pass",version="3"} 1
`, w.metrics("ml_model_evaluations_total"), "an evaluation without a gate passes none")
}

func TestSpansAreCountedWhenTheReviewOutboxIsFull(t *testing.T) {
	w := newWorld(t, "")
	request := func(from, to byte) []byte {
		var spans []span
		for id := from; id < to; id++ {
			spans = append(spans, span{trace: id, id: 1, took: time.Second, attrs: fraud(nil), events: []event{
				{evaluationResult, 0, attributes{"gen_ai.evaluation.name": "groundedness", "gen_ai.evaluation.score.value": 0.5}},
			}})
		}
		return traces(t, nil, spans...)
	}
	box := &reviews{err: errors.New("disk full")}
	w.pipeline.reviews = box
	w.send(receiver.Traces, request(1, 4))
	w.requireMetric(`ml_inference_requests_total{model="fraud",outcome="ok",version="3"} 3`)
	w.requireMetric(`ml_model_evaluations_total{evaluation="groundedness",model="fraud",result="below_gate",version="3"} 3`)
	require.Equal(t, 3, box.dropped)

	box.err, box.capacity = nil, 2
	w.send(receiver.Traces, request(4, 9))
	require.Len(t, box.items, 2, "those that fit are kept")
	require.Equal(t, 3+3, box.dropped)
	w.requireMetric(`ml_inference_requests_total{model="fraud",outcome="ok",version="3"} 8`)
}

func TestShareOfResponsesBelowTheirGateIsReviewed(t *testing.T) {
	chosen := func() map[string]bool {
		w := newWorld(t, "evaluations: {groundedness: {gate: 0.9, review_ratio: 0.25}}")
		box := &reviews{}
		w.pipeline.reviews = box
		for pass := range 2 { // Sent again, it is chosen again.
			for id := range 200 {
				w.spans(nil, span{trace: byte(id), id: 1, took: time.Second, attrs: fraud(nil), events: []event{
					{evaluationResult, 0, attributes{"gen_ai.evaluation.name": "groundedness", "gen_ai.evaluation.score.value": 0.5}},
				}})
			}
			if pass == 0 {
				w.requireMetric(`ml_model_evaluations_total{evaluation="groundedness",model="fraud",result="below_gate",version="3"} 200`)
			}
		}
		ids := make(map[string]bool)
		for _, item := range box.items {
			ids[item.ID] = true
		}
		return ids
	}
	first := chosen()
	require.InDelta(t, 50, len(first), 20)
	require.Equal(t, first, chosen(), "a replica chooses the same")
}

func TestReloadKeepsCounters(t *testing.T) {
	w := newWorld(t, "")
	feed := func() {
		w.spans(nil, span{trace: 1, id: 1, took: time.Second, attrs: attributes{"ml.model.name": "a", "our.model": "b"}})
	}
	feed()
	cfg := *w.cfg.Load()
	cfg.Attributes.Model = []string{"our.model"}
	cfg.Models = []ModelConfig{{Name: "b", Thresholds: ThresholdsConfig{FailureRatio: new(float64)}}}
	require.NoError(t, w.Reload(t.Context(), cfg))
	feed()
	require.Equal(t, `ml_inference_requests_total{model="a",outcome="ok",version=""} 1
ml_inference_requests_total{model="b",outcome="ok",version=""} 1
ml_model_threshold{field="",model="b",signal="failure_ratio"} 0
`, w.metrics(`ml_inference_requests_total{model="a",outcome="ok"`, `ml_inference_requests_total{model="b",outcome="ok"`, "ml_model_threshold"))

	cfg.Limits.Models++
	require.ErrorContains(t, w.Reload(t.Context(), cfg), "modelquality.yaml:1: limits: has changed; restart the exporter, or undo the change")
}

func TestMemoryIsBoundedWhateverIsSent(t *testing.T) {
	w := newWorld(t, "limits: {models: 5, versions: 8, exception_types: 4, features: 3, evaluations: 2, details: 30}\n")
	for n := range 300 {
		name := strings.Repeat("long ", n) + string(rune('a'+n))
		w.spans(nil,
			span{trace: 1, id: 1, attrs: attributes{"ml.model.name": name}},
			span{trace: 1, id: 2, attrs: attributes{"ml.model.name": "m", "ml.model.version": name}},
			span{trace: 1, id: 3, attrs: attributes{"ml.model.name": "m", "error.type": name, "ml.feature_time." + name: at.Unix()}, events: []event{
				{evaluationResult, 0, attributes{"gen_ai.evaluation.name": name, "gen_ai.evaluation.score.value": 1.0}},
			}},
		)
	}
	lines := strings.Split(exportertest.Gather(t, w.Exporter), "\n")
	count := func(prefix string) (n int) {
		for _, l := range lines {
			if strings.HasPrefix(l, prefix) {
				n++
			}
		}
		return n
	}
	// Five models and "other", their versions, "other" of m; each with six outcomes.
	require.LessOrEqual(t, count("ml_inference_requests_total{"), (5+1+8+1)*6)
	require.LessOrEqual(t, count("ml_inference_exceptions_total{"), 5)
	require.LessOrEqual(t, count("ml_model_feature_age_seconds_count{"), 4)
	require.LessOrEqual(t, count("ml_model_evaluation_score_count{"), 3)
	require.Contains(t, strings.Join(lines, "\n"), `ml_inference_exceptions_total{model="m",type="other",version=""}`)
}

func TestUnservedVersionExpiresAndFreesItsPlace(t *testing.T) {
	w := newWorld(t, "limits: {models: 1}\n")
	feed := func(model string) {
		w.spans(nil, span{trace: 1, id: 1, took: time.Second, attrs: attributes{"ml.model.name": model, "error.type": "E"}})
	}
	feed("old")
	feed("new")
	require.Contains(t, w.metrics("ml_inference_duration_seconds_count"), `model="other"`)
	require.Len(t, w.meter.Forget(time.Now().Add(time.Hour)), 2)
	require.Empty(t, w.metrics("ml_"))
	feed("new")
	require.Equal(t, `ml_inference_duration_seconds_count{model="new",version=""} 1
ml_inference_exceptions_total{model="new",type="E",version=""} 1
`, w.metrics("ml_inference_duration_seconds_count", "ml_inference_exceptions_total"))
}

func TestInvalidItemsAreRefusedAndTheRestIsCounted(t *testing.T) {
	w := newWorld(t, "")
	answer := w.spans(nil,
		span{trace: 1, id: 1, took: -time.Second, attrs: fraud(nil)},
		span{trace: 1, id: 2, took: time.Second, attrs: fraud(nil), events: []event{{evaluationResult, 0, attributes{"gen_ai.evaluation.score.value": 1.0}}}},
	)
	require.Equal(t, receiver.Answer{Refused: 2, Reason: "a span ends before it starts, or has no times"}, answer)
	w.requireMetric(`ml_inference_requests_total{model="fraud",outcome="ok",version="3"} 1`)
	w.requireMetric(`sightglass_otlp_items_total{result="refused",signal="traces"} 2`)
	_, err := w.pipeline.Export(t.Context(), receiver.Traces, []byte("hello"))
	require.Error(t, err)
}
