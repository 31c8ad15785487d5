// Package convention understands what spans and log records say about inferences.
//
// In flow spans and log records under whichever names a service uses: our ml.* attributes, OpenTelemetry's GenAI
// conventions, OpenInference's, MLflow's. Out flows a Batch of observations and evaluations under one set of names.
// Nothing is judged and nothing kept: strings in a Batch are parts of the request they came in.
package convention

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/names"
)

// role is what an attribute says.
type role uint8

const (
	roleModel role = iota
	roleVersion
	roleRun
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
	// The last three say what kind of operation a span is.
	roleOperation
	roleSpanKind
	roleSpanType
	roles
)

// Names says where to look. Lists are in order of preference: what a span says under the first name counts.
type Names struct {
	Model       []string `yaml:"model"`
	Version     []string `yaml:"version"`
	Run         []string `yaml:"run"`
	QueueWait   []string `yaml:"queue_wait"`
	ForwardPass []string `yaml:"forward_pass"`
	FirstToken  []string `yaml:"time_to_first_token"`
	Outcome     []string `yaml:"outcome"`
	Fallback    []string `yaml:"fallback"`
	ErrorType   []string `yaml:"error_type"`
	Prediction  []string `yaml:"prediction"`
	Confidence  []string `yaml:"confidence"`
	// Cached tokens are a part of the input and reasoning tokens one of the output, so neither has a name here.
	InputTokens  []string `yaml:"input_tokens"`
	OutputTokens []string `yaml:"output_tokens"`
	ResponseID   []string `yaml:"response_id"`
	Evaluation   []string `yaml:"evaluation"`
	Score        []string `yaml:"evaluation_score"`
	Label        []string `yaml:"evaluation_label"`
	Explanation  []string `yaml:"evaluation_explanation"`

	// FeaturePrefix and FeatureTimePrefix stand before the name of a feature.
	FeaturePrefix     string `yaml:"feature_prefix"`
	FeatureTimePrefix string `yaml:"feature_time_prefix"`

	// QueueSpans and ForwardSpans are the names of child spans that are the wait and the computation of their parent.
	QueueSpans   []string `yaml:"queue_wait_spans"`
	ForwardSpans []string `yaml:"forward_pass_spans"`
	// FirstTokenEvents are the names of events at the first token.
	FirstTokenEvents []string `yaml:"first_token_events"`
}

// SetDefaults implements config.Defaulter.
func (n *Names) SetDefaults() {
	*n = Names{
		Model:       []string{"ml.model.name", "gen_ai.request.model", "gen_ai.response.model", "llm.model_name", "embedding.model_name", "mlflow.llm.model"},
		Version:     []string{"ml.model.version"},
		Run:         []string{"mlflow.run_id", "mlflow.runId"},
		QueueWait:   []string{"ml.inference.queue_wait_ms", "queue_wait_ms"},
		ForwardPass: []string{"ml.inference.forward_pass_ms", "forward_pass_ms"},
		FirstToken:  []string{"ml.inference.time_to_first_token_ms", "gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token"},
		Outcome:     []string{"ml.outcome"},
		Fallback:    []string{"ml.fallback"},
		ErrorType:   []string{"error.type"},
		Prediction:  []string{"ml.prediction"},
		Confidence:  []string{"ml.prediction.confidence", "ml.confidence"},

		InputTokens:  []string{"gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"},
		OutputTokens: []string{"gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"},
		ResponseID:   []string{"gen_ai.response.id"},
		Evaluation:   []string{"gen_ai.evaluation.name", "evaluation.name", "annotation.name"},
		Score:        []string{"gen_ai.evaluation.score.value", "evaluation.score", "annotation.score"},
		Label:        []string{"gen_ai.evaluation.score.label", "evaluation.label", "annotation.label"},
		Explanation:  []string{"gen_ai.evaluation.explanation", "evaluation.explanation", "annotation.explanation"},

		FeaturePrefix:     "ml.feature.",
		FeatureTimePrefix: "ml.feature_time.",

		QueueSpans:       []string{"queue_wait", "queue"},
		ForwardSpans:     []string{"forward_pass", "forward"},
		FirstTokenEvents: []string{"first_token", "ml.first_token"},
	}
}

// byRole are the lists of names in the order of the roles.
func (n *Names) byRole() map[role][]string {
	return map[role][]string{
		roleModel: n.Model, roleVersion: n.Version, roleRun: n.Run, roleQueueWait: n.QueueWait, roleForwardPass: n.ForwardPass,
		roleFirstToken: n.FirstToken, roleOutcome: n.Outcome, roleFallback: n.Fallback, roleErrorType: n.ErrorType,
		rolePrediction: n.Prediction, roleConfidence: n.Confidence, roleInputTokens: n.InputTokens, roleOutputTokens: n.OutputTokens,
		roleResponseID: n.ResponseID, roleEvaluation: n.Evaluation, roleScore: n.Score, roleLabel: n.Label, roleExplanation: n.Explanation,
		// These are what they are called; another name would be another thing.
		roleTokenUsage: {"mlflow.chat.tokenUsage"}, roleExceptionType: {"exception.type"},
		roleOperation: {"gen_ai.operation.name"}, roleSpanKind: {"openinference.span.kind"}, roleSpanType: {"mlflow.spanType"},
	}
}

// inferences are the kinds of operation that ask a model, in lower case, by all three conventions.
var inferences = []string{"chat", "text_completion", "generate_content", "embeddings", "llm", "chat_model", "embedding"}

// evaluationEvent is the name of GenAI's event, in a span or as a log record.
const evaluationEvent = "gen_ai.evaluation.result"

// slot says what one attribute means.
type slot struct {
	role role
	rank uint8   // 0 is preferred
	unit float64 // seconds in one of it
	// quoted says that a text is in JSON, as MLflow writes all of them.
	quoted bool
}

// Convention is the names in force. It does not change once it is made.
type Convention struct {
	slots         names.Table[slot]
	feature, time string
	phases        names.Table[Phase]
	firstToken    []string
	maxAttributes int
}

// New makes a Convention. A span with more attributes than maxAttributes is refused.
func New(n Names, maxAttributes int) (*Convention, error) {
	c := &Convention{
		feature: n.FeaturePrefix, time: n.FeatureTimePrefix, firstToken: n.FirstTokenEvents, maxAttributes: maxAttributes,
	}
	slots := make(map[string]slot)
	for r, preferred := range n.byRole() {
		for i, name := range preferred {
			if _, twice := slots[name]; twice || name == "" {
				return nil, fmt.Errorf("attribute %q is named twice or empty; want each once", name)
			}
			slots[name] = slot{role: r, rank: uint8(min(i, 255)), unit: unitOf(name), quoted: strings.HasPrefix(name, "mlflow.")}
		}
	}
	c.slots = names.New(slots)
	phases := make(map[string]Phase)
	for _, name := range n.QueueSpans {
		phases[name] = QueueWait
	}
	for _, name := range n.ForwardSpans {
		if phases[name] != Whole {
			return nil, fmt.Errorf("spans named %q cannot be both queue_wait_spans and forward_pass_spans", name)
		}
		phases[name] = ForwardPass
	}
	c.phases = names.New(phases)
	for _, prefix := range []string{n.FeaturePrefix, n.FeatureTimePrefix} {
		if prefix == "" {
			return nil, fmt.Errorf("feature_prefix and feature_time_prefix cannot be empty: every attribute would be a feature")
		}
	}
	return c, nil
}

// unitOf tells a unit by the end of a name. Without one it is seconds, as everywhere in OpenTelemetry.
func unitOf(name string) float64 {
	for suffix, unit := range map[string]float64{"_ms": 1e-3, "_us": 1e-6, "_ns": 1e-9} {
		if strings.HasSuffix(name, suffix) {
			return unit
		}
	}
	return 1
}

// asksModel reports whether a kind of operation is an inference.
func asksModel(kind string) bool {
	kind = strings.Trim(kind, `"`)
	return slices.ContainsFunc(inferences, func(i string) bool { return strings.EqualFold(i, kind) })
}
