package modelquality

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// post is one request of OTLP/JSON to the exporter's own handler.
func (w *world) post(path string, body any) *httptest.ResponseRecorder {
	w.t.Helper()
	text, err := json.Marshal(body)
	require.NoError(w.t, err)
	request := httptest.NewRequestWithContext(w.t.Context(), http.MethodPost, path, bytes.NewReader(text))
	request.Header.Set("Content-Type", "application/json")
	response := httptest.NewRecorder()
	w.OTLP().ServeHTTP(response, request)
	require.Equal(w.t, http.StatusOK, response.Code, response.Body.String())
	return response
}

type object = map[string]any

// anyValue writes a value as OTLP/JSON does.
func anyValue(v any) object {
	switch v := v.(type) {
	case string:
		return object{"stringValue": v}
	case int:
		return object{"intValue": fmt.Sprint(v)}
	case float64:
		return object{"doubleValue": v}
	case bool:
		return object{"boolValue": v}
	case []string:
		list := []object{}
		for _, item := range v {
			list = append(list, anyValue(item))
		}
		return object{"arrayValue": object{"values": list}}
	case []any:
		list := []object{}
		for _, item := range v {
			list = append(list, anyValue(item))
		}
		return object{"arrayValue": object{"values": list}}
	case attributes:
		return object{"kvlistValue": object{"values": keyValues(v)}}
	}
	panic(fmt.Sprintf("%T", v))
}

func keyValues(a attributes) []object {
	list := []object{}
	for k, v := range a {
		list = append(list, object{"key": k, "value": anyValue(v)})
	}
	return list
}

// call is a span of 100 ms.
type call struct {
	id, parent int
	name       string
	attrs      attributes
	failed     bool
	exception  string
	first      string // an event 25 ms after the start
	event      attributes
	state      string
	dropped    int
}

func (w *world) postSpans(resource attributes, calls ...call) {
	w.t.Helper()
	list := []object{}
	for _, c := range calls {
		start := at.UnixNano()
		name := c.name
		if name == "" {
			name = "call"
		}
		s := object{
			"traceId": "5b8efff798038103d269b633813fc60c", "spanId": fmt.Sprintf("%016x", c.id), "name": name, "kind": 3,
			"startTimeUnixNano": fmt.Sprint(start), "endTimeUnixNano": fmt.Sprint(start + 100e6), "attributes": keyValues(c.attrs),
			"traceState": c.state, "droppedAttributesCount": c.dropped,
		}
		if c.parent != 0 {
			s["parentSpanId"] = fmt.Sprintf("%016x", c.parent)
		}
		if c.failed || c.exception != "" {
			s["status"] = object{"code": 2}
		}
		events := []object{}
		if c.exception != "" {
			events = append(events, object{"name": "exception", "timeUnixNano": fmt.Sprint(start), "attributes": keyValues(attributes{"exception.type": c.exception})})
		}
		if c.first != "" {
			events = append(events, object{"name": c.first, "timeUnixNano": fmt.Sprint(start + 25e6)})
		}
		if c.event != nil {
			events = append(events, object{"name": evaluationResult, "timeUnixNano": fmt.Sprint(start), "attributes": keyValues(c.event)})
		}
		s["events"] = events
		list = append(list, s)
	}
	w.post("/v1/traces", object{"resourceSpans": []object{{"resource": object{"attributes": keyValues(resource)}, "scopeSpans": []object{{"spans": list}}}}})
}

func (w *world) postRecord(id int, body any, attrs attributes) {
	w.t.Helper()
	r := object{"timeUnixNano": fmt.Sprint(at.UnixNano()), "traceId": "5b8efff798038103d269b633813fc60c", "spanId": fmt.Sprintf("%016x", id), "eventName": evaluationResult, "attributes": keyValues(attrs)}
	if body != nil {
		r["body"] = anyValue(body)
	}
	w.post("/v1/logs", object{"resourceLogs": []object{{"scopeLogs": []object{{"logRecords": []object{r}}}}}})
}

func chat(model string, more attributes) attributes {
	all := attributes{"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
	for k, v := range more {
		all[k] = v
	}
	return all
}

// requests is a line of ml_inference_requests_total.
func requests(model, version, outcome string, n int) string {
	return fmt.Sprintf("ml_inference_requests_total{model=%q,outcome=%q,version=%q} %d", model, outcome, version, n)
}

func finished(reason string, n int) string {
	return fmt.Sprintf(`ml_inference_finishes_total{model="m",reason=%q,version=""} %d`, reason, n)
}

func stepped(kind, name, outcome string, n int) string {
	return fmt.Sprintf("ml_agent_steps_total{kind=%q,name=%q,outcome=%q} %d", kind, name, outcome, n)
}

func evaluated(model, result string, n int) string {
	return fmt.Sprintf(`ml_model_evaluations_total{evaluation="groundedness",model=%q,result=%q,version=""} %d`, model, result, n)
}

func TestRecordedRequestsOfClientsAreCounted(t *testing.T) {
	tokens := func(n int) attributes { return attributes{"gen_ai.usage.input_tokens": n} }
	verdict := func(more attributes) attributes {
		all := attributes{"gen_ai.evaluation.name": "groundedness"}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	label := func(l string) attributes { return verdict(attributes{"gen_ai.evaluation.score.label": l}) }
	score := func(v float64) attributes { return verdict(attributes{"gen_ai.evaluation.score.value": v}) }
	post := func(calls ...call) func(*world) {
		return func(w *world) { w.postSpans(nil, calls...) }
	}
	apart := func(calls ...call) func(*world) {
		return func(w *world) {
			for _, c := range calls {
				w.postSpans(nil, c)
			}
		}
	}
	outer, inner := call{id: 1, attrs: chat("gpt-4o", tokens(100))}, call{id: 2, parent: 1, attrs: chat("gpt-4o", tokens(100))}
	once := []string{requests("gpt-4o", "", "ok", 1), `ml_inference_tokens_total{direction="input",model="gpt-4o",version=""} 100`}
	type row struct {
		config string
		feed   func(*world)
		want   []string
	}
	table := map[string]row{
		"a failed call of OpenInference has the model of the request's parameters": {feed: post(call{id: 1, exception: "openai.RateLimitError", attrs: attributes{
			"openinference.span.kind": "LLM", "llm.invocation_parameters": `{"model": "gpt-4o", "temperature": 0}`,
		}}), want: []string{requests("gpt-4o", "", "rejected", 1), `ml_inference_exceptions_total{model="gpt-4o",type="openai.RateLimitError",version=""} 1`}},
		"a failed call of LangChain names it model_name": {feed: post(call{id: 1, failed: true, attrs: attributes{
			"openinference.span.kind": "LLM", "llm.invocation_parameters": `{"model_name": "gpt-4o"}`,
		}}), want: []string{requests("gpt-4o", "", "error", 1)}},
		"a failed call of MLflow has its plain attribute model": {feed: post(call{id: 1, exception: "RateLimitError", attrs: attributes{
			"mlflow.spanType": `"CHAT_MODEL"`, "model": `"gpt-4o"`,
		}}), want: []string{requests("gpt-4o", "", "rejected", 1)}},
		"a failed call without any name is unknown": {
			feed: post(call{id: 1, failed: true, attrs: attributes{"openinference.span.kind": "LLM"}}),
			want: []string{requests("unknown", "", "error", 1)},
		},
		"an attribute model of some other span means nothing": {
			feed: post(call{id: 1, attrs: attributes{"model": "Volvo"}}),
			want: []string{`sightglass_otlp_ignored_items_total{reason="no_model",signal="traces"} 1`},
		},

		"the same call of two libraries in one request":  {feed: post(outer, inner), want: once},
		"the child first in one request":                 {feed: post(inner, outer), want: once},
		"the parent in an earlier request":               {feed: apart(outer, inner), want: once},
		"the child in an earlier request":                {feed: apart(inner, outer), want: once},
		"with a span of HTTP between":                    {feed: post(outer, call{id: 3, parent: 1, attrs: attributes{"http.route": "/"}}, call{id: 2, parent: 3, attrs: chat("gpt-4o", tokens(100))}), want: once},
		"with a chain between, all in separate requests": {feed: apart(call{id: 2, parent: 3, attrs: chat("gpt-4o", tokens(100))}, call{id: 3, parent: 1, attrs: attributes{"openinference.span.kind": "CHAIN"}}, outer), want: once},
		"with a span between that comes last in pairs": {feed: func(w *world) {
			w.postSpans(nil, call{id: 2, parent: 3, attrs: chat("gpt-4o", tokens(100))})
			w.postSpans(nil, call{id: 3, parent: 1}, outer)
		}, want: once},
		"with the name of the answer below":           {feed: post(outer, call{id: 2, parent: 1, attrs: chat("gpt-4o-2024-08-06", tokens(100))}), want: once},
		"three deep":                                  {feed: post(outer, inner, call{id: 3, parent: 2, attrs: chat("gpt-4o", tokens(100))}), want: once},
		"a parent that lacks tokens gets its child's": {feed: apart(call{id: 2, parent: 1, attrs: chat("gpt-4o", tokens(100))}, call{id: 1, attrs: chat("gpt-4o", nil)}), want: once},
		"a span that is its own parent":               {feed: post(call{id: 1, parent: 1, attrs: chat("gpt-4o", tokens(100))}), want: once},
		"a ring of spans does no harm": {
			feed: post(call{id: 1, parent: 2, attrs: chat("gpt-4o", nil)}, call{id: 2, parent: 3, attrs: chat("gpt-4o", nil)}, call{id: 3, parent: 2, attrs: chat("gpt-4o", nil)}, call{id: 4, attrs: chat("gpt-4o", nil)}),
			want: []string{requests("gpt-4o", "", "ok", 1)},
		},
		"children of two models in earlier requests": {
			feed: apart(inner, call{id: 3, parent: 1, attrs: chat("text-embedding-3-small", nil)}, outer),
			want: append([]string{requests("text-embedding-3-small", "", "ok", 1)}, once...),
		},
		"another model below is another call": {
			feed: post(outer, call{id: 2, parent: 1, attrs: chat("text-embedding-3-small", nil)}),
			want: []string{requests("gpt-4o", "", "ok", 1), requests("text-embedding-3-small", "", "ok", 1)},
		},

		"a label that fails beats a score on another scale": {
			feed: post(call{id: 1, attrs: chat("m", nil), event: verdict(attributes{"gen_ai.evaluation.score.value": 2.0, "gen_ai.evaluation.score.label": "fail"})}),
			want: []string{evaluated("m", "below_gate", 1), `sightglass_otlp_refused_values_total{value="evaluation_score"} 1`},
		},
		"a score above 1 under a gate up to 1 is refused": {
			feed: post(call{id: 1, attrs: chat("m", nil), event: score(2)}),
			want: []string{evaluated("m", "error", 1), evaluated("m", "pass", 0)},
		},
		"a score is scaled by the configuration": {
			config: "evaluations: {groundedness: {gate: 0.9, scale: {min: 1, max: 5}}}\n",
			feed:   post(call{id: 1, attrs: chat("m", nil), event: score(2)}, call{id: 2, attrs: chat("m", nil), event: score(5)}),
			want:   []string{evaluated("m", "below_gate", 1), evaluated("m", "pass", 1), `ml_model_evaluation_score_sum{evaluation="groundedness",model="m",version=""} 1.25`},
		},
		"the label no":           {feed: post(call{id: 1, attrs: chat("m", nil), event: label("no")}), want: []string{evaluated("m", "below_gate", 1)}},
		"the label Not Grounded": {feed: post(call{id: 1, attrs: chat("m", nil), event: label("Not Grounded")}), want: []string{evaluated("m", "below_gate", 1)}},
		"the label yes":          {feed: post(call{id: 1, attrs: chat("m", nil), event: label("Yes")}), want: []string{evaluated("m", "pass", 1)}},
		"no toxicity": {
			config: "evaluations: {groundedness: {gate: 0.9, higher_is_better: false}}\n",
			feed:   post(call{id: 1, attrs: chat("m", nil), event: label("no")}), want: []string{evaluated("m", "pass", 1)},
		},

		"the version is the answer's name, and a failed call has the model that was asked": {feed: post(
			call{id: 1, attrs: chat("gpt-4o", attributes{"gen_ai.response.model": "gpt-4o-2024-08-06"})}, call{id: 2, failed: true, attrs: chat("gpt-4o", nil)},
		), want: []string{requests("gpt-4o", "gpt-4o-2024-08-06", "ok", 1), requests("gpt-4o", "gpt-4o-2024-08-06", "error", 1)}},
		"MLflow's name is the answer's": {feed: post(
			call{id: 1, attrs: attributes{"mlflow.spanType": `"CHAT_MODEL"`, "model": `"gpt-4o"`, "mlflow.llm.model": `"gpt-4o-2024-08-06"`}},
			call{id: 2, exception: "RateLimitError", attrs: attributes{"mlflow.spanType": `"CHAT_MODEL"`, "model": `"gpt-4o"`}},
		), want: []string{requests("gpt-4o", "gpt-4o-2024-08-06", "ok", 1), requests("gpt-4o", "gpt-4o-2024-08-06", "rejected", 1)}},
		"or the only one there is": {
			feed: post(call{id: 1, attrs: attributes{"mlflow.spanType": `"LLM"`, "mlflow.llm.model": `"llama"`}}), want: []string{requests("llama", "", "ok", 1)},
		},
		"a call gets the version of its nested span": {feed: post(
			call{id: 1, attrs: chat("gpt-4o", nil)}, call{id: 2, parent: 1},
			call{id: 3, parent: 2, attrs: chat("gpt-4o", attributes{"gen_ai.response.model": "gpt-4o-2024-08-06", "gen_ai.usage.input_tokens": 10})},
		), want: []string{requests("gpt-4o", "gpt-4o-2024-08-06", "ok", 1), `ml_inference_tokens_total{direction="input",model="gpt-4o",version="gpt-4o-2024-08-06"} 10`}},
		"also one in another request, before it": {feed: apart(
			call{id: 3, parent: 1, attrs: chat("gpt-4o", attributes{"gen_ai.response.model": "gpt-4o-2024-08-06"})}, call{id: 1, attrs: chat("gpt-4o", nil)},
		), want: []string{requests("gpt-4o", "gpt-4o-2024-08-06", "ok", 1)}},
		"not one of another model, or of another call": {feed: post(
			call{id: 1, attrs: chat("gpt-4o", nil)}, call{id: 2, parent: 1, attrs: chat("gpt-4o-mini", attributes{"gen_ai.response.model": "gpt-4o-mini-2024-07-18"})},
			call{id: 3, attrs: chat("gpt-4o", nil)},
		), want: []string{requests("gpt-4o", "", "ok", 2), requests("gpt-4o-mini", "gpt-4o-mini-2024-07-18", "ok", 1)}},
		"OpenInference's name is the answer's": {feed: post(call{id: 1, attrs: attributes{
			"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o-2024-08-06", "llm.invocation_parameters": `{"model": "gpt-4o"}`,
		}}), want: []string{requests("gpt-4o", "gpt-4o-2024-08-06", "ok", 1)}},
		"an evaluation of the root counts for the trace's model": {
			feed: apart(call{id: 2, parent: 1, attrs: chat("m", nil)}, call{id: 1, attrs: attributes{"openinference.span.kind": "CHAIN"}, event: score(0.5)}),
			want: []string{evaluated("m", "below_gate", 1)},
		},
		"not for that of its embeddings": {
			feed: apart(call{id: 2, parent: 1, attrs: chat("m", nil)}, call{id: 3, parent: 1, attrs: attributes{"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "e"}}, call{id: 1, event: score(0.5)}),
			want: []string{evaluated("m", "below_gate", 1)},
		},
		"an evaluation of the root that comes first waits for the trace": {feed: func(w *world) {
			w.postSpans(nil, call{id: 1, event: score(0.5)})
			w.postSpans(nil, call{id: 2, parent: 1, attrs: chat("m", nil)})
			w.pipeline.expire(-time.Minute)
		}, want: []string{evaluated("m", "below_gate", 1)}},

		"a hosted model has no version of the service's own": {feed: func(w *world) {
			w.postSpans(attributes{"ml.model.name": "fraud", "ml.model.version": "7", "mlflow.run_id": "abc"}, call{id: 1, attrs: chat("gpt-4o", nil)}, call{id: 2, attrs: attributes{"ml.prediction": "x"}})
		}, want: []string{requests("gpt-4o", "", "ok", 1), requests("fraud", "7", "ok", 1), `ml_model_exemplar_trace_info{mlflow_run_id="",model="gpt-4o",reason="slow",trace_id="5b8efff798038103d269b633813fc60c",version=""} 1`}},

		"who serves a model, under every library's name, and the version of the prompt that it was asked with": {feed: post(
			call{id: 1, attrs: chat("m", attributes{"gen_ai.provider.name": "Azure.AI.openai", "gen_ai.prompt.name": "triage", "gen_ai.prompt.version": "v2"})},
			call{id: 2, attrs: chat("m", attributes{"gen_ai.system": "openai", "traceloop.prompt.key": "triage", "traceloop.prompt.version": 3})},
			call{id: 3, attrs: chat("m", attributes{"llm.provider": "openai", "langfuse.observation.prompt.name": "triage", "langfuse.observation.prompt.version": 3})},
			call{id: 4, attrs: chat("m", attributes{"ai.model.provider": "openai.chat", "llm.prompt_template.version": "v1.0"})},
			call{id: 5, attrs: attributes{"mlflow.spanType": `"CHAT_MODEL"`, "mlflow.llm.model": `"m"`, "mlflow.llm.provider": `"openai"`}},
			call{id: 6, parent: 1, attrs: chat("m", attributes{"gen_ai.system": "openai", "gen_ai.prompt.name": "triage"})},
		), want: []string{
			`ml_inference_provider_requests_total{model="m",provider="azure.ai.openai",version=""} 1`, `ml_inference_provider_requests_total{model="m",provider="openai",version=""} 3`,
			`ml_inference_provider_requests_total{model="m",provider="openai.chat",version=""} 1`,
			`ml_inference_prompt_requests_total{model="m",prompt="triage",prompt_version="v2",version=""} 1`, `ml_inference_prompt_requests_total{model="m",prompt="triage",prompt_version="3",version=""} 2`,
			`ml_inference_prompt_requests_total{model="m",prompt="",prompt_version="v1.0",version=""} 1`,
		}},

		"prompts and providers are bounded": {feed: func(w *world) {
			for i := range 600 {
				w.postSpans(nil, call{id: i + 1, attrs: chat("m", attributes{"gen_ai.prompt.name": fmt.Sprint("prompt ", i), "gen_ai.prompt.version": "1", "gen_ai.provider.name": fmt.Sprint("provider ", i)})})
			}
		}, want: []string{
			`ml_inference_provider_requests_total{model="m",provider="other",version=""} 550`, `ml_inference_prompt_requests_total{model="m",prompt="other",prompt_version="other",version=""} 100`,
		}},

		"a retrieval is called as what it searches": {feed: post(
			call{id: 1, name: "retrieval", attrs: attributes{"gen_ai.operation.name": "retrieval", "gen_ai.data_source.id": "handbook"}},
			call{id: 2, name: "VectorStoreRetriever", attrs: attributes{"openinference.span.kind": "RETRIEVER"}},
		), want: []string{stepped("retrieval", "handbook", "ok", 1), stepped("retrieval", "VectorStoreRetriever", "ok", 1)}},

		"why answers end, whatever providers call it": {feed: post(
			call{id: 1, attrs: chat("m", attributes{"gen_ai.response.finish_reasons": []string{"stop", "length"}})},
			call{id: 2, attrs: chat("m", attributes{"gen_ai.response.finish_reasons": `["end_turn"]`})},
			call{id: 3, attrs: chat("m", attributes{"ai.response.finishReason": "content-filter"})},
			call{id: 4, attrs: chat("m", attributes{"gen_ai.response.finish_reason": "SAFETY"})},
			call{id: 5, attrs: chat("m", attributes{"llm.finish_reason": "MAX_TOKENS"})},
			call{id: 6, attrs: chat("m", attributes{"gen_ai.response.finish_reasons": []string{"tool_calls"}})},
			call{id: 7, attrs: chat("m", attributes{"gen_ai.response.finish_reasons": []string{"bored"}})},
			call{id: 8, attrs: chat("m", attributes{"gen_ai.response.finish_reasons": []string{}})},
			call{id: 9, parent: 1, attrs: chat("m", attributes{"gen_ai.response.finish_reasons": []string{"stop"}})},
		), want: []string{finished("stop", 2), finished("content_filter", 2), finished("length", 1), finished("tool_calls", 1), finished("other", 1), requests("m", "", "ok", 8)}},
		"calls of tools, agents and retrievers": {feed: post(
			call{id: 1, name: "execute_tool weather", attrs: attributes{"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "weather"}},
			call{id: 2, name: "weather", failed: true, attrs: attributes{"openinference.span.kind": "TOOL", "tool.name": "weather"}},
			call{id: 3, name: "ai.toolCall", attrs: attributes{"ai.toolCall.name": "weather"}},
			call{id: 4, name: "search", exception: "TimeoutError", attrs: attributes{"mlflow.spanType": `"TOOL"`}},
			call{id: 5, name: "invoke_agent planner", attrs: attributes{"gen_ai.operation.name": "invoke_agent"}},
			call{id: 6, name: "vector store", attrs: attributes{"openinference.span.kind": "RETRIEVER"}},
			call{id: 7, name: "chain", attrs: attributes{"openinference.span.kind": "CHAIN"}},
			call{id: 8, attrs: chat("m", attributes{"gen_ai.tool.name": "weather"})},
		), want: []string{
			stepped("tool", "weather", "ok", 2), stepped("tool", "weather", "error", 1), stepped("tool", "search", "error", 1),
			stepped("agent", "planner", "ok", 1), stepped("retrieval", "vector store", "ok", 1), requests("m", "", "ok", 1),
		}},
		"more tools than there is room for": {config: "limits: {steps: 2}\n", feed: func(w *world) {
			for i := range 5 {
				w.postSpans(nil, call{id: i + 1, attrs: attributes{"ai.toolCall.name": fmt.Sprint("tool ", i)}})
			}
		}, want: []string{stepped("tool", "tool 1", "ok", 1), stepped("tool", "other", "ok", 3)}},

		"vLLM": {feed: post(call{id: 1, name: "llm_request", attrs: attributes{
			"gen_ai.response.model": "llama", "gen_ai.latency.time_in_queue": 0.5, "gen_ai.latency.time_to_first_token": 0.25, "gen_ai.latency.time_in_model_inference": 2.0, "gen_ai.usage.prompt_tokens": 3, "gen_ai.usage.completion_tokens": 4,
		}}), want: []string{
			requests("llama", "", "ok", 1), `ml_inference_queue_wait_seconds_sum{model="llama",version=""} 0.5`,
			`ml_inference_time_to_first_token_seconds_sum{model="llama",version=""} 0.25`, `ml_inference_forward_pass_seconds_sum{model="llama",version=""} 2`,
			`ml_inference_tokens_total{direction="output",model="llama",version=""} 4`,
		}},
		"Vercel's AI SDK, both of its spans": {feed: post(
			call{id: 1, name: "ai.streamText", attrs: attributes{"ai.model.id": "gpt-4o", "ai.usage.promptTokens": 10, "ai.usage.completionTokens": 5}},
			call{id: 2, parent: 1, name: "ai.streamText.doStream", attrs: attributes{"ai.model.id": "gpt-4o", "gen_ai.request.model": "gpt-4o", "ai.response.msToFirstChunk": 25.0, "gen_ai.usage.input_tokens": 10}},
		), want: []string{requests("gpt-4o", "", "ok", 1), `ml_inference_time_to_first_token_seconds_sum{model="gpt-4o",version=""} 0.025`, `ml_inference_tokens_total{direction="input",model="gpt-4o",version=""} 10`}},
		"Triton": {feed: post(
			call{id: 1, name: "InferRequest", attrs: attributes{"triton.model_name": "resnet", "triton.model_version": 3, "triton.request_id": "7"}},
			call{id: 2, parent: 1, name: "compute", attrs: nil},
		), want: []string{requests("resnet", "3", "ok", 1)}},
		"Ray Serve, a deployment of several models": {feed: post(
			call{id: 1, name: "proxy_http_request", attrs: attributes{"deployment": "Ranker", "app": "default", "request_type": "http"}},
			call{id: 2, parent: 1, name: "replica_handle_request Ranker __call__", attrs: attributes{"deployment": "Ranker", "app": "default", "replica_id": "rba21irc", "multiplexed_model_id": "ranker-7"}},
		), want: []string{requests("ranker-7", "", "ok", 1)}},
		"Ray Serve, where deployments are models": {config: "attributes: {model: [ml.model.name, deployment]}\n", feed: post(
			call{id: 1, name: "proxy_http_request", attrs: attributes{"deployment": "Ranker", "app": "default", "request_type": "http"}},
			call{id: 2, parent: 1, name: "replica_handle_request Ranker __call__", attrs: attributes{"deployment": "Ranker", "app": "default", "replica_id": "rba21irc", "multiplexed_model_id": ""}},
		), want: []string{requests("ranker", "", "ok", 1)}},
		"Langfuse": {feed: post(call{id: 1, attrs: attributes{
			"langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4o", "langfuse.observation.completion_start_time": `"` + at.Add(50*time.Millisecond).Format(time.RFC3339Nano) + `"`,
		}}), want: []string{requests("gpt-4o", "", "ok", 1), `ml_inference_time_to_first_token_seconds_count{model="gpt-4o",version=""} 1`}},
		"a tool of OpenLLMetry": {
			feed: post(call{id: 1, attrs: attributes{"traceloop.span.kind": "tool", "gen_ai.request.model": "gpt-4o"}}),
			want: []string{`sightglass_otlp_ignored_items_total{reason="other_operation",signal="traces"} 1`},
		},

		"an invalid outcome is refused by name": {
			feed: post(call{id: 1, attrs: fraud(attributes{"ml.outcome": "failed"})}),
			want: []string{`sightglass_otlp_refused_values_total{value="outcome"} 1`},
		},
		"a confidence of 93": {
			feed: post(call{id: 1, attrs: fraud(attributes{"ml.confidence": 93.0})}, call{id: 2, attrs: fraud(attributes{"ml.confidence": -1})}),
			want: []string{`sightglass_otlp_refused_values_total{value="confidence"} 2`, requests("fraud", "3", "ok", 2)},
		},
		"a sampled trace represents others": {
			feed: post(call{id: 1, attrs: chat("m", nil), state: "ot=th:e6666666666668"}, call{id: 2, attrs: chat("m", nil), state: "x=1,ot=p:3;r:5"}, call{id: 3, attrs: chat("m", nil), state: "ot=th:0"}),
			want: []string{requests("m", "", "ok", 3), `ml_inference_sampled_total{model="m",version=""} 2`, `ml_inference_represented_total{model="m",version=""} 18`},
		},
		"an evaluation in the body of a log record": {feed: func(w *world) {
			w.postSpans(nil, call{id: 1, attrs: chat("m", nil)})
			w.postRecord(1, score(0.5), nil)
		}, want: []string{evaluated("m", "below_gate", 1)}},
		"an evaluation in a body of JSON": {feed: func(w *world) {
			w.postSpans(nil, call{id: 1, attrs: chat("m", nil)})
			w.postRecord(1, `{"gen_ai.evaluation.name": "groundedness", "gen_ai.evaluation.score.value": 0.5}`, nil)
		}, want: []string{evaluated("m", "below_gate", 1)}},
		"the same evaluation as an event and as a log record": {feed: func(w *world) {
			w.postSpans(nil, call{id: 1, attrs: chat("m", nil), event: score(0.5)})
			w.postRecord(1, nil, score(0.5))
		}, want: []string{evaluated("m", "below_gate", 1)}},
		"two log records are two evaluations": {feed: func(w *world) {
			w.postSpans(nil, call{id: 1, attrs: chat("m", nil)})
			w.postRecord(1, nil, score(0.5))
			w.postRecord(1, nil, score(0.5))
		}, want: []string{evaluated("m", "below_gate", 2)}},
		"one model in three spellings": {
			feed: post(call{id: 1, attrs: chat("GPT-4o", nil)}, call{id: 2, attrs: chat("openai/gpt-4o", nil)}, call{id: 3, attrs: chat("gpt-4o", nil)}),
			want: []string{requests("gpt-4o", "", "ok", 3)},
		},
		"exact names, and an alias": {
			config: "attributes: {exact_model_names: true, model_aliases: {prod-4o: gpt-4o}}\n",
			feed:   post(call{id: 1, attrs: chat("GPT-4o", nil)}, call{id: 2, attrs: chat("prod-4o", nil)}),
			want:   []string{requests("GPT-4o", "", "ok", 1), requests("gpt-4o", "", "ok", 1)},
		},
		"a name of ours is never changed": {feed: post(call{id: 1, attrs: attributes{"ml.model.name": "Team/Fraud"}}), want: []string{requests("Team/Fraud", "", "ok", 1)}},
		"tokens that are parts of others": {feed: post(call{id: 1, attrs: chat("m", attributes{
			"gen_ai.usage.input_tokens": 100, "gen_ai.usage.cache_read.input_tokens": 60, "gen_ai.usage.cache_creation.input_tokens": 20, "gen_ai.usage.output_tokens": 50, "gen_ai.usage.reasoning.output_tokens": 30,
		})}), want: []string{
			`ml_inference_tokens_total{direction="input",model="m",version=""} 100`, `ml_inference_tokens_total{direction="cached",model="m",version=""} 60`,
			`ml_inference_tokens_total{direction="cache_write",model="m",version=""} 20`, `ml_inference_tokens_total{direction="output",model="m",version=""} 50`,
			`ml_inference_tokens_total{direction="reasoning",model="m",version=""} 30`,
		}},
	}
	for _, operation := range []string{"responses", "chat.completions", "completion", "generate", "rerank", "my_own"} {
		table["the operation "+operation] = row{feed: post(call{id: 1, attrs: attributes{"gen_ai.operation.name": operation, "gen_ai.request.model": "m"}}), want: []string{requests("m", "", "ok", 1)}}
	}
	for event, client := range map[string]string{"First Token Stream Event": "OpenInference", "llm.content.completion.chunk": "OpenLLMetry", "mlflow.chunk.item.0": "MLflow", "ai.stream.firstChunk": "Vercel"} {
		table["the first token of "+client] = row{feed: post(call{id: 1, attrs: chat("m", nil), first: event}), want: []string{`ml_inference_time_to_first_token_seconds_sum{model="m",version=""} 0.025`}}
	}
	for name, tc := range map[string]struct {
		attrs     attributes
		exception string
		want      string
	}{
		"429 as a number":       {attributes{"error.type": 429}, "", "rejected"},
		"throttling of Bedrock": {attributes{"error.type": "ThrottlingException"}, "", "rejected"},
		"no quota":              {attributes{"error.type": "insufficient_quota"}, "", "rejected"},
		"a status of HTTP":      {attributes{"http.response.status_code": 429}, "", "rejected"},
		"a status of gRPC":      {attributes{"rpc.grpc.status_code": 8}, "x", "rejected"},
		"504 as a number":       {attributes{"error.type": 504}, "", "timeout"},
		"asyncio":               {nil, "asyncio.exceptions.CancelledError", "cancelled"},
		"JavaScript":            {nil, "AbortError", "cancelled"},
		"an outcome":            {attributes{"ml.outcome": "cancelled"}, "", "cancelled"},
	} {
		table["failed: "+name] = row{feed: post(call{id: 1, exception: tc.exception, attrs: chat("m", tc.attrs)}), want: []string{requests("m", "", tc.want, 1)}}
	}
	for name, tc := range table {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.config)
			tc.feed(w)
			page := w.metrics("ml_", "sightglass_otlp_")
			for _, line := range tc.want {
				require.Contains(t, "\n"+page, "\n"+line+"\n")
			}
		})
	}
}

func TestEvaluationWithAnUnknownLabelIsNotCounted(t *testing.T) {
	w := newWorld(t, "")
	w.postSpans(nil, call{id: 1, attrs: chat("m", nil), event: attributes{"gen_ai.evaluation.name": "groundedness", "gen_ai.evaluation.score.label": "splendid"}})
	require.Empty(t, w.metrics("ml_model_evaluations_total"))
}

func TestManyAndLongAttributes(t *testing.T) {
	w := newWorld(t, "")
	long := chat("m", nil)
	for i := range 618 {
		long[fmt.Sprintf("llm.input_messages.%d.message.content", i)] = "hello"
	}
	texts := attributes{"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "m"}
	for i := range 1210 {
		texts[fmt.Sprintf("embedding.embeddings.%d.embedding.text", i)] = "hello"
	}
	w.postSpans(nil, call{id: 1, attrs: long}, call{id: 2, attrs: texts})
	w.postSpans(nil, call{id: 3, attrs: chat("m", attributes{"input.value": strings.Repeat("x", 17<<20)})})
	w.requireMetric(requests("m", "", "ok", 3))
	w.requireMetric(`sightglass_otlp_items_total{result="refused",signal="traces"} 0`)
}

func TestAttributesDroppedByTheSDKAreNotNulls(t *testing.T) {
	w := newWorld(t, "baseline_store: {type: FILESYSTEM, config: {directory: "+t.TempDir()+"}}\nbaselines: {sample: 10}\n")
	for i := range 12 {
		w.postSpans(nil, call{id: i + 1, attrs: fraud(attributes{"ml.feature.a": i % 3, "ml.feature.b": i % 2})})
	}
	require.NoError(t, w.keeper.Cycle(t.Context()))
	null := w.metrics(`ml_model_field_values_total{bin="null",field="b"`)
	require.Contains(t, null, " 0\n")
	w.postSpans(nil, call{id: 20, attrs: fraud(attributes{"ml.feature.a": 1}), dropped: 1})
	require.Equal(t, null, w.metrics(`ml_model_field_values_total{bin="null",field="b"`))
	w.requireMetric("sightglass_otlp_truncated_spans_total 1")
	w.postSpans(nil, call{id: 21, attrs: fraud(attributes{"ml.feature.a": 1})})
	require.NotEqual(t, null, w.metrics(`ml_model_field_values_total{bin="null",field="b"`))
}

func TestMetricsAreAcceptedAndIgnored(t *testing.T) {
	w := newWorld(t, "")
	require.JSONEq(t, "{}", w.post("/v1/metrics", object{"resourceMetrics": []object{}}).Body.String())
	w.requireMetric(`sightglass_otlp_requests_total{protocol="http",result="ok",signal="metrics"} 1`)
}

func TestRequestsWithoutInferencesAreLoggedOnce(t *testing.T) {
	other := func(from, n int, attrs attributes) (calls []call) {
		for i := range n {
			calls = append(calls, call{id: from + i, attrs: attrs})
		}
		return calls
	}
	observed := func(w *world) *testtools.Log {
		log := new(testtools.Log)
		w.pipeline.logger = slog.New(slog.NewTextHandler(log, nil))
		return log
	}
	t.Run("no inference among 100 spans and records", func(t *testing.T) {
		w := newWorld(t, "")
		log := observed(w)
		w.postSpans(nil, other(1, 90, attributes{"http.route": "/"})...)
		w.postSpans(nil, other(100, 9, attributes{"gen_ai.operation.name": "execute_tool", "gen_ai.request.model": "m"})...)
		require.Empty(t, log.String())
		w.records(record{event: "startup"})
		require.Contains(t, log.String(), `level=INFO msg="No span or log record counts yet: none is an inference or an evaluation" items=100 no_model=90 other_operation=9 no_evaluation=1 help=`+instrumentation)
		w.postSpans(nil, other(200, 200, nil)...)
		require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
		w.requireMetric(`sightglass_otlp_ignored_items_total{reason="no_model",signal="traces"} 290`)
	})
	t.Run("one inference among 201 spans", func(t *testing.T) {
		w := newWorld(t, "")
		log := observed(w)
		w.postSpans(nil, append(other(1, 200, nil), call{id: 300, attrs: chat("m", nil)})...)
		require.Empty(t, log.String())
	})
}
