// Package convention interprets the attributes of spans and log records about inferences.
//
// Input: spans and log records with any supported attribute names: our ml.* attributes, OpenTelemetry's GenAI conventions, OpenInference's,
// MLflow's. Output: a Batch of observations and evaluations with one set of names. State: none. The package counts nothing and copies
// nothing: strings in a Batch are parts of the request.
package convention

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/content"
)

// role is the meaning of an attribute.
type role uint8

const (
	roleModel role = iota
	roleVersion
	roleRun
	// The next three identify the caller of an inference and the replica that answers.
	roleRegion
	roleClient
	roleInstance
	roleQueueWait
	roleForwardPass
	roleFirstToken
	roleOutcome
	roleFallback
	roleErrorType
	rolePrediction
	roleConfidence
	roleInputTokens
	roleOutputTokens
	roleTokenUsage
	roleResponseID
	roleEvaluation
	roleScore
	roleLabel
	roleExplanation
	roleExceptionType
	roleResponseModel
	roleParameters
	roleStatusCode
	roleGRPCCode
	roleFirstTokenAt
	roleCached
	roleCacheWrite
	roleReasoning
	roleFinish
	roleTool
	roleAgent
	roleProvider
	rolePrompt
	rolePromptVersion
	roleDataSource
	roleInputText
	roleOutputText
	roleOutputType
	roleEmbedding
	// The last five give the kind of operation of a span.
	roleOperation
	roleSpanKind
	roleSpanType
	roleWorkflow
	roleObservation
	roles
)

// Names are the attribute names to read. A list is in order of preference: the first name that a span has is used.
type Names struct {
	Model []string `yaml:"model"`
	// ResponseModel is the model name in the response: the version of a hosted model.
	ResponseModel []string `yaml:"response_model"`
	Version       []string `yaml:"version"`
	Run           []string `yaml:"run"`
	// Region and Client are the region and the client of the caller, Instance is the replica that answered.
	Region       []string `yaml:"region"`
	Client       []string `yaml:"client"`
	Instance     []string `yaml:"instance"`
	QueueWait    []string `yaml:"queue_wait"`
	ForwardPass  []string `yaml:"forward_pass"`
	FirstToken   []string `yaml:"time_to_first_token"`
	Outcome      []string `yaml:"outcome"`
	Fallback     []string `yaml:"fallback"`
	ErrorType    []string `yaml:"error_type"`
	Prediction   []string `yaml:"prediction"`
	Confidence   []string `yaml:"confidence"`
	InputTokens  []string `yaml:"input_tokens"`
	OutputTokens []string `yaml:"output_tokens"`
	// Cached and cache-write tokens are included in the input tokens, reasoning tokens in the output tokens.
	CachedTokens     []string `yaml:"cached_tokens"`
	CacheWriteTokens []string `yaml:"cache_write_tokens"`
	ReasoningTokens  []string `yaml:"reasoning_tokens"`
	// FinishReason is why a language model stopped. Tool and Agent are the names of steps that call no model.
	FinishReason []string `yaml:"finish_reason"`
	Tool         []string `yaml:"tool"`
	Agent        []string `yaml:"agent"`
	// Provider serves a hosted model. Prompt and PromptVersion identify the prompt template. DataSource is what a retrieval searches.
	Provider      []string `yaml:"provider"`
	Prompt        []string `yaml:"prompt"`
	PromptVersion []string `yaml:"prompt_version"`
	DataSource    []string `yaml:"data_source"`
	// InputText and OutputText are the prompt and answer of a language model, OutputType the requested format. They are read only if texts
	// are measured.
	InputText  []string `yaml:"input_text"`
	OutputText []string `yaml:"output_text"`
	OutputType []string `yaml:"output_type"`
	// Embedding is an array of numbers.
	Embedding []string `yaml:"embedding"`
	// StatusCode is an HTTP status code.
	StatusCode  []string `yaml:"status_code"`
	ResponseID  []string `yaml:"response_id"`
	Evaluation  []string `yaml:"evaluation"`
	Score       []string `yaml:"evaluation_score"`
	Label       []string `yaml:"evaluation_label"`
	Explanation []string `yaml:"evaluation_explanation"`

	// FeaturePrefix and FeatureTimePrefix precede the name of a feature.
	FeaturePrefix     string `yaml:"feature_prefix"`
	FeatureTimePrefix string `yaml:"feature_time_prefix"`

	// QueueSpans and ForwardSpans are names of nested spans that measure the queue wait and the forward pass of their parent.
	QueueSpans   []string `yaml:"queue_wait_spans"`
	ForwardSpans []string `yaml:"forward_pass_spans"`
	// FirstTokenEvents are the names of events at the first token.
	FirstTokenEvents []string `yaml:"first_token_events"`

	// ModelPrefixes are prefixes that routers add to the name of a hosted model. They are removed, and the name is converted to lower case,
	// unless ExactModelNames is set. Names in ml.model.name are never changed.
	ModelPrefixes   []string          `yaml:"model_prefixes"`
	ExactModelNames bool              `yaml:"exact_model_names"`
	ModelAliases    map[string]string `yaml:"model_aliases,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (n *Names) SetDefaults() {
	*n = Names{
		Model: []string{
			"ml.model.name", "gen_ai.request.model", "ai.model.id", "langfuse.observation.model.name",
			"triton.model_name", "multiplexed_model_id", "model",
		},
		ResponseModel: []string{"gen_ai.response.model", "ai.response.model", "mlflow.llm.model", "llm.model_name", "embedding.model_name", "reranker.model_name"},
		Version:       []string{"ml.model.version", "triton.model_version"},
		Run:           []string{"mlflow.run_id", "mlflow.runId"},
		Region:        []string{"ml.region", "cloud.region"},
		Client:        []string{"ml.client"},
		Instance:      []string{"ml.instance", "k8s.pod.name", "service.instance.id", "host.name"},
		QueueWait:     []string{"ml.inference.queue_wait_ms", "queue_wait_ms", "gen_ai.latency.time_in_queue"},
		ForwardPass:   []string{"ml.inference.forward_pass_ms", "forward_pass_ms", "gen_ai.latency.time_in_model_inference"},
		FirstToken:    []string{"ml.inference.time_to_first_token_ms", "gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token", "gen_ai.latency.time_to_first_token", "ai.response.msToFirstChunk", "ai.stream.msToFirstChunk"},
		Outcome:       []string{"ml.outcome"},
		Fallback:      []string{"ml.fallback"},
		ErrorType:     []string{"error.type"},
		Prediction:    []string{"ml.prediction"},
		Confidence:    []string{"ml.prediction.confidence", "ml.confidence"},

		InputTokens:      []string{"gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt", "ai.usage.inputTokens", "ai.usage.promptTokens"},
		OutputTokens:     []string{"gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion", "ai.usage.outputTokens", "ai.usage.completionTokens"},
		CachedTokens:     []string{"gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens", "llm.token_count.prompt_details.cache_read", "ai.usage.cachedInputTokens"},
		CacheWriteTokens: []string{"gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens", "llm.token_count.prompt_details.cache_write"},
		ReasoningTokens:  []string{"gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens", "llm.token_count.completion_details.reasoning", "ai.usage.reasoningTokens"},
		FinishReason:     []string{"gen_ai.response.finish_reasons", "gen_ai.response.finish_reason", "llm.finish_reason", "llm.response.finish_reason", "ai.response.finishReason"},
		Tool:             []string{"gen_ai.tool.name", "tool.name", "ai.toolCall.name"},
		Agent:            []string{"gen_ai.agent.name", "agent.name"},
		Provider:         []string{"gen_ai.provider.name", "gen_ai.system", "llm.provider", "ai.model.provider", "mlflow.llm.provider"},
		Prompt:           []string{"gen_ai.prompt.name", "traceloop.prompt.key", "langfuse.observation.prompt.name"},
		PromptVersion:    []string{"gen_ai.prompt.version", "traceloop.prompt.version", "langfuse.observation.prompt.version", "llm.prompt_template.version"},
		DataSource:       []string{"gen_ai.data_source.id"},
		// GenAI's, OpenInference's, Vercel's, MLflow's, Langfuse's, and the older names of OpenLLMetry.
		InputText:  []string{"gen_ai.input.messages", "input.value", "ai.prompt.messages", "ai.prompt", "mlflow.spanInputs", "langfuse.observation.input", "gen_ai.prompt.0.content"},
		OutputText: []string{"gen_ai.output.messages", "llm.output_messages.0.message.content", "output.value", "ai.response.text", "mlflow.spanOutputs", "langfuse.observation.output", "gen_ai.completion.0.content"},
		OutputType: []string{"gen_ai.output.type", "gen_ai.openai.request.response_format", "gen_ai.request.structured_output_schema"},
		// Ours, and OpenInference's for the first text of a batch.
		Embedding:   []string{"ml.embedding", "embedding.embeddings.0.embedding.vector"},
		StatusCode:  []string{"http.response.status_code", "http.status_code"},
		ResponseID:  []string{"gen_ai.response.id"},
		Evaluation:  []string{"gen_ai.evaluation.name", "evaluation.name", "annotation.name"},
		Score:       []string{"gen_ai.evaluation.score.value", "evaluation.score", "annotation.score"},
		Label:       []string{"gen_ai.evaluation.score.label", "evaluation.label", "annotation.label"},
		Explanation: []string{"gen_ai.evaluation.explanation", "evaluation.explanation", "annotation.explanation"},

		FeaturePrefix:     "ml.feature.",
		FeatureTimePrefix: "ml.feature_time.",

		QueueSpans:   []string{"queue_wait", "queue"},
		ForwardSpans: []string{"forward_pass", "forward"},
		// OpenInference's, OpenLLMetry's two, MLflow's first chunk and Vercel's.
		FirstTokenEvents: []string{
			"first_token", "ml.first_token", "First Token Stream Event", "llm.content.completion.chunk",
			"gen_ai.content.completion.chunk", "mlflow.chunk.item.0", "ai.stream.firstChunk",
		},
		ModelPrefixes: []string{
			"openai/", "azure/", "azure_ai/", "anthropic/", "bedrock/", "vertex_ai/", "gemini/", "google/", "mistral/", "cohere/",
			"groq/", "ollama/", "openrouter/", "hosted_vllm/", "litellm_proxy/", "models/",
		},
	}
}

// byRole returns the lists of names by role.
func (n *Names) byRole() map[role][]string {
	return map[role][]string{
		roleModel: n.Model, roleVersion: n.Version, roleRun: n.Run, roleRegion: n.Region, roleClient: n.Client, roleInstance: n.Instance, roleQueueWait: n.QueueWait, roleForwardPass: n.ForwardPass,
		roleFirstToken: n.FirstToken, roleOutcome: n.Outcome, roleFallback: n.Fallback, roleErrorType: n.ErrorType,
		rolePrediction: n.Prediction, roleConfidence: n.Confidence, roleInputTokens: n.InputTokens, roleOutputTokens: n.OutputTokens,
		roleResponseID: n.ResponseID, roleEvaluation: n.Evaluation, roleScore: n.Score, roleLabel: n.Label, roleExplanation: n.Explanation,
		// These names are fixed by their conventions.
		roleTokenUsage: {"mlflow.chat.tokenUsage"}, roleExceptionType: {"exception.type"},
		roleOperation: {"gen_ai.operation.name"}, roleSpanKind: {"openinference.span.kind"}, roleSpanType: {"mlflow.spanType"},
		roleWorkflow: {"traceloop.span.kind"}, roleObservation: {"langfuse.observation.type"},
		roleResponseModel: n.ResponseModel, roleParameters: {"llm.invocation_parameters"},
		roleStatusCode: n.StatusCode, roleGRPCCode: {"rpc.grpc.status_code"},
		roleFirstTokenAt: {"langfuse.observation.completion_start_time"},
		roleCached:       n.CachedTokens, roleCacheWrite: n.CacheWriteTokens, roleReasoning: n.ReasoningTokens,
		roleFinish: n.FinishReason, roleTool: n.Tool, roleAgent: n.Agent,
		roleProvider: n.Provider, rolePrompt: n.Prompt, rolePromptVersion: n.PromptVersion, roleDataSource: n.DataSource,
		roleInputText: n.InputText, roleOutputText: n.OutputText, roleOutputType: n.OutputType,
		roleEmbedding: n.Embedding,
	}
}

// Kinds of operations, in lower case. A span of one of inferences is an inference even if it names no model; a span of one of others never
// is. Any other kind, such as a new or custom operation, is an inference if the span names a model.
var (
	inferences = []string{
		"chat", "text_completion", "generate_content", "embeddings", "llm", "chat_model", "embedding", "responses", "chat.completions",
		"completion", "completions", "generate", "rerank", "reranker", "generation",
	}
	others = []string{
		"execute_tool", "invoke_agent", "create_agent", "invoke_workflow", "retrieval", "tool", "agent", "chain", "retriever",
		"evaluator", "guardrail", "prompt", "workflow", "task", "parser", "memory", "span", "event", "unknown", "evaluate",
	}
)

// evaluationEvent is the name of GenAI's evaluation event, on a span or as a log record.
const evaluationEvent = "gen_ai.evaluation.result"

// slot is the meaning of one attribute name.
type slot struct {
	role role
	rank uint8   // 0 is preferred
	unit float64 // seconds in one of it
	// quoted means that a text is JSON, as in all MLflow attributes.
	quoted bool
}

// Convention is the configured set of names. It is immutable.
type Convention struct {
	slots         map[string]*slot // by name
	feature, time string
	phases        map[string]Phase // by name of a span
	firstToken    []string
	maxAttributes int
	hosted        hosted
	texts         *content.Reader // nil if texts are not measured
	// plain is the rank of names, such as model, that name a model only if the span also has a kind of operation.
	plain uint8
}

// New returns a Convention. It refuses spans with more features than maxAttributes. texts may be nil, which disables texts.
func New(n Names, maxAttributes int, texts *content.Reader) (*Convention, error) {
	c := &Convention{
		feature: n.FeaturePrefix, time: n.FeatureTimePrefix, firstToken: n.FirstTokenEvents, maxAttributes: maxAttributes,
		hosted: hosted{n.ModelPrefixes, n.ModelAliases, n.ExactModelNames}, texts: texts,
	}
	c.slots = make(map[string]*slot)
	for r, preferred := range n.byRole() {
		if texts == nil && (r == roleInputText || r == roleOutputText || r == roleOutputType) {
			continue
		}
		for i, name := range preferred {
			if _, twice := c.slots[name]; twice || name == "" {
				return nil, fmt.Errorf("attribute %q is named twice or empty; want each once", name)
			}
			c.slots[name] = &slot{role: r, rank: uint8(min(i, 255)), unit: unitOf(name), quoted: name == "model" || strings.HasPrefix(name, "mlflow.") && r != roleInputText && r != roleOutputText}
		}
	}
	c.plain = math.MaxUint8
	if i := slices.Index(n.Model, "model"); i >= 0 {
		c.plain = uint8(min(i, 255))
	}
	c.phases = make(map[string]Phase)
	for _, name := range n.QueueSpans {
		c.phases[name] = QueueWait
	}
	for _, name := range n.ForwardSpans {
		if c.phases[name] != InferencePhase {
			return nil, fmt.Errorf("spans named %q cannot be both queue_wait_spans and forward_pass_spans", name)
		}
		c.phases[name] = ForwardPass
	}
	for _, prefix := range []string{n.FeaturePrefix, n.FeatureTimePrefix} {
		if prefix == "" {
			return nil, fmt.Errorf("feature_prefix and feature_time_prefix cannot be empty: every attribute would be a feature")
		}
	}
	return c, nil
}

// unitOf returns the unit that the suffix of a name gives. The default is seconds, as in OpenTelemetry.
func unitOf(name string) float64 {
	for suffix, unit := range map[string]float64{"_ms": 1e-3, ".msToFirstChunk": 1e-3, "_us": 1e-6, "_ns": 1e-9} {
		if strings.HasSuffix(name, suffix) {
			return unit
		}
	}
	return 1
}

// isA reports whether a list contains a kind of operation.
func isA(kind string, list []string) bool {
	kind = strings.Trim(kind, `"`)
	return slices.ContainsFunc(list, func(i string) bool { return strings.EqualFold(i, kind) })
}
