package convention

import (
	"math"
	"slices"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

// Phase is the role of a span within an inference: its root, its queue wait or its forward pass.
type Phase uint8

// Phases.
const (
	InferencePhase Phase = iota
	QueueWait
	ForwardPass
)

// Outcome is how an inference ended.
type Outcome uint8

// Outcomes.
const (
	OK Outcome = iota
	Error
	Timeout
	Fallback
	Rejected
	Cancelled
	Outcomes // number of outcomes
)

// String is the value of the label outcome.
func (o Outcome) String() string {
	return [Outcomes]string{"ok", "error", "timeout", "fallback", "rejected", "cancelled"}[o]
}

// Direction is the kind of tokens.
type Direction uint8

// Directions. Those after Output are included in the first two.
const (
	Input Direction = iota
	Output
	Cached
	CacheWrite
	Reasoning
	Directions // number of directions
)

// String is the value of the label direction.
func (d Direction) String() string {
	return [Directions]string{"input", "output", "cached", "cache_write", "reasoning"}[d]
}

// Observation is the data of one span about an inference. A missing number is NaN, a missing value Empty.
type Observation struct {
	// The values that connect spans come first, because they are read once more before the others.
	Trace        otlp.TraceID
	Span, Parent otlp.SpanID

	Phase   Phase
	Outcome Outcome
	// Hosted means that the model is hosted: its name is the provider's, and no registry has it.
	Hosted bool
	// Embeds means that the model returns embeddings instead of text.
	Embeds bool
	// Finish is the reason why a language model stopped.
	Finish Finish
	// Dropped means that the SDK dropped attributes, so that a missing feature may be one of them.
	Dropped bool
	// Has are the bits of the values that the span has.
	Has            uint16
	Model, Version string
	ResponseID     string
	Run            string // MLflow run

	Duration                            float64 // seconds, as the next three
	QueueWait, ForwardPass, TimeToFirst float64
	Exception                           string
	Prediction                          otlp.Value
	Confidence                          float64
	// Tokens by direction; nil if there are none.
	Tokens *[Directions]float64
	// HostedCall has further data of a call of a hosted model; nil if there is none.
	HostedCall *HostedCall
	// Origin identifies the caller and the replica that answered; nil if neither is known.
	Origin *Origin
	// Weight is the number of inferences that a sampled span represents; 0 if the span was not sampled.
	Weight       float64
	Features     []Feature
	FeatureTimes []FeatureTime
}

// HostedCall has the data that only spans of hosted models have.
type HostedCall struct {
	// Provider serves the model. Prompt and PromptVersion identify the prompt template.
	Provider, Prompt, PromptVersion string
	// Answer is one more than the index of the feature with the kind of answer. It is 0 if the answer cannot be a repeated one. Hash is
	// equal for equal answers.
	Answer int
	Hash   uint64
	// Output is the answer, if texts are read.
	Output otlp.Value
}

// Bits of Observation.Has. Tokens follow by direction.
const (
	HasQueueWait uint16 = 1 << iota
	HasForwardPass
	HasFirstToken
	HasConfidence
	HasFields
	hasTokens
)

// HasFinish is the bit of the finish reason.
const HasFinish = hasTokens << Directions

// HasTokens returns the bit of the tokens of a direction.
func HasTokens(d Direction) uint16 { return hasTokens << d }

// has returns the bits of the values that the span has.
func (o *Observation) has() uint16 {
	var has uint16
	for i, v := range [4]float64{o.QueueWait, o.ForwardPass, o.TimeToFirst, o.Confidence} {
		if !math.IsNaN(v) {
			has |= HasQueueWait << i
		}
	}
	if len(o.Features) > 0 || o.Prediction.Kind != otlp.Empty {
		has |= HasFields
	}
	if o.Finish != NoFinish {
		has |= HasFinish
	}
	if o.Tokens != nil {
		for d, n := range o.Tokens {
			if n >= 0 {
				has |= HasTokens(Direction(d))
			}
		}
	}
	return has
}

// Feature is an input of the model.
type Feature struct {
	Name  string
	Value otlp.Value
}

// FeatureTime is the age of a feature at the start of the inference.
type FeatureTime struct {
	Name string
	Age  float64 // seconds
}

// Evaluation is an evaluator's result for a response.
type Evaluation struct {
	// Of is the index in the batch of the evaluated observation, or -1.
	Of int
	// Trace and Span identify the span that has the evaluation: the evaluated span, or a span nested in it.
	Trace        otlp.TraceID
	Span, Parent otlp.SpanID

	// Inside means that the span is not an inference. Logged means that the evaluation was a log record. Pulled means that it comes from
	// MLflow.
	Inside, Logged, Pulled bool
	// Otherwise is the model to use if nothing else gives it.
	Otherwise string

	Model, Version, Run, ResponseID string

	Name, Label, Explanation string
	Error                    string  // why there is no score
	Score                    float64 // NaN without a score
	Time                     int64   // Unix time in nanoseconds
}

// Batch is the data of one request.
type Batch struct {
	Observations []Observation
	Evaluations  []Evaluation
	// NestedSpans is the number of observations that are nested spans.
	NestedSpans int
	// Links are spans that are not inferences but can be between two nested inferences.
	Links []Link
	// Steps are agent spans that call no model themselves.
	Steps []Step
	// Ignored is the number of ignored spans and records, by reason.
	Ignored [Reasons]int
	// DroppedAttributes is the number of spans whose SDK dropped attributes.
	DroppedAttributes int
	// BadValues is the number of invalid values, and BadValue the first of them.
	BadValues [BadKinds]int
	BadValue  [BadKinds]string
	// Unversioned is the number of calls of hosted models whose span has no response model.
	Unversioned int
	// Refused is the number of invalid items, and Reason is the error of the first.
	Refused int
	Reason  string

	features    []Feature
	times       []FeatureTime
	hostedCalls []HostedCall
	tokens      [][Directions]float64
	origins     []Origin
	// vectors holds the numbers of embeddings.
	vectors []byte
}

// Reset empties the batch and keeps its memory. Its contents refer to the request until they are overwritten.
func (b *Batch) Reset() {
	*b = Batch{Observations: b.Observations[:0], Evaluations: b.Evaluations[:0], Links: b.Links[:0], Steps: b.Steps[:0], features: b.features[:0], times: b.times[:0], hostedCalls: b.hostedCalls[:0], tokens: b.tokens[:0], origins: b.origins[:0], vectors: b.vectors[:0]}
}

// Link is a span that is not an inference.
type Link struct {
	Trace        otlp.TraceID
	Span, Parent otlp.SpanID
}

// Reason is why a span or record is ignored.
type Reason uint8

// Reasons.
const (
	NoModel Reason = iota
	OtherOperation
	NoEvaluation
	Reasons // number of reasons
)

// String is the value of the label reason.
func (r Reason) String() string {
	return [Reasons]string{"no_model", "other_operation", "no_evaluation"}[r]
}

// BadKind is the kind of an invalid value.
type BadKind uint8

// Kinds of invalid values.
const (
	BadOutcome BadKind = iota
	BadConfidence
	BadScore
	BadEmbedding
	BadKinds // number of kinds
)

// String is the value of the label value.
func (k BadKind) String() string {
	return [BadKinds]string{"outcome", "confidence", "evaluation_score", "embedding"}[k]
}

func (b *Batch) bad(k BadKind, v otlp.Value) {
	if b.BadValues[k] == 0 {
		text := v.Append(nil)
		b.BadValue[k] = string(text[:min(len(text), 64)])
	}
	b.BadValues[k]++
}

// Bad counts an invalid value.
func (b *Batch) Bad(k BadKind, v string) { b.bad(k, otlp.StringValue(v)) }

// hostedCallOf returns the observation's HostedCall and creates it if necessary.
func (b *Batch) hostedCallOf(o *Observation) *HostedCall {
	if o.HostedCall == nil {
		b.hostedCalls = append(b.hostedCalls, HostedCall{})
		o.HostedCall = &b.hostedCalls[len(b.hostedCalls)-1] // It stays valid when the slice grows.
	}
	return o.HostedCall
}

// tokensOf returns the observation's tokens and creates them if necessary.
func (b *Batch) tokensOf(o *Observation) *[Directions]float64 {
	if o.Tokens == nil {
		b.tokens = append(b.tokens, [Directions]float64{nan, nan, nan, nan, nan})
		o.Tokens = &b.tokens[len(b.tokens)-1] // It stays valid when the slice grows.
	}
	return o.Tokens
}

// add appends an observation and returns it.
func (b *Batch) add() *Observation {
	n := len(b.Observations)
	b.Observations = slices.Grow(b.Observations, 1)[:n+1]
	o := &b.Observations[n]
	*o = Observation{}
	return o
}

func (b *Batch) refuse(reason string) {
	if b.Refused == 0 {
		b.Reason = reason
	}
	b.Refused++
}

var nan = math.NaN()
