package convention

import (
	"math"
	"slices"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

// Phase is which part of an inference a span is.
type Phase uint8

// The phases.
const (
	Whole Phase = iota
	QueueWait
	ForwardPass
)

// Outcome is how an inference ended.
type Outcome uint8

// The outcomes.
const (
	OK Outcome = iota
	Error
	Timeout
	Fallback
	Rejected
	Cancelled
	Outcomes // how many there are
)

// String is the value of the label outcome.
func (o Outcome) String() string {
	return [Outcomes]string{"ok", "error", "timeout", "fallback", "rejected", "cancelled"}[o]
}

// Direction tells tokens apart.
type Direction uint8

// The directions. Those after Output are parts of the first two.
const (
	Input Direction = iota
	Output
	Cached
	CacheWrite
	Reasoning
	Directions // how many there are
)

// String is the value of the label direction.
func (d Direction) String() string {
	return [Directions]string{"input", "output", "cached", "cache_write", "reasoning"}[d]
}

// Observation is what one span says about an inference. A number that it does not say is NaN, a value Empty.
type Observation struct {
	Trace        otlp.TraceID
	Span, Parent otlp.SpanID

	Phase          Phase
	Outcome        Outcome
	Model, Version string
	Run            string // of MLflow
	ResponseID     string

	Duration                            float64 // seconds, as the next three
	QueueWait, ForwardPass, TimeToFirst float64
	Exception                           string
	Prediction                          otlp.Value
	Confidence                          float64
	// Tokens are by direction.
	Tokens [Directions]float64
	// Hosted says that the model is known by the name that its provider gives it, and no registry's.
	Hosted bool
	// Finish is why a language model stopped.
	Finish Finish
	// Embeds says that the model answers with no text.
	Embeds bool
	// Asked is what else is known of a call of a hosted model; nil if nothing is.
	Asked *Asked
	// Origin is where it comes from and who answered it; nil if nothing is known.
	Origin *Origin
	// Dropped says that the SDK dropped attributes: a feature that is not there may be one of them.
	Dropped bool
	// Weight is how many inferences a sampled one stands for; 0 where it is not sampled.
	Weight       float64
	Features     []Feature
	FeatureTimes []FeatureTime
}

// Asked is what spans of hosted models say beside what all spans do.
type Asked struct {
	// Provider serves the model. Prompt and PromptVersion are the template that it was asked with.
	Provider, Prompt, PromptVersion string
	// Answer is one more than the index of the feature that says what kind of answer it is, and 0 where it may not be a
	// repeated one. Hash is the same of the same answers.
	Answer int
	Hash   uint64
	// Output is what was answered, where texts are read.
	Output otlp.Value
}

// What Has tells apart; tokens follow by direction.
const (
	HasQueueWait uint16 = 1 << iota
	HasForwardPass
	HasFirstToken
	HasConfidence
	HasFields
	hasTokens
)

// HasFinish is the part of Has for the reason of the end.
const HasFinish = hasTokens << Directions

// HasTokens is the part of Has for the tokens of a direction.
func HasTokens(d Direction) uint16 { return hasTokens << d }

// Has are the numbers that the span brought.
func (o *Observation) Has() uint16 {
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
	for d, n := range o.Tokens {
		if n >= 0 {
			has |= HasTokens(Direction(d))
		}
	}
	return has
}

// Feature is an input of the model.
type Feature struct {
	Name  string
	Value otlp.Value
}

// FeatureTime is how old a feature was at the start of the inference.
type FeatureTime struct {
	Name string
	Age  float64 // seconds
}

// Evaluation is somebody's judgement of a response.
type Evaluation struct {
	// Of is the index of the observation in the batch that it judges, or -1.
	Of int
	// Trace and Span are those that the evaluation was found at: the judged span, or one below it.
	Trace        otlp.TraceID
	Span, Parent otlp.SpanID

	// Inside says that it was found at a span that is no inference, Logged that it was a log record, Pulled that it is MLflow's.
	Inside, Logged, Pulled bool
	// Otherwise is the model where nothing else says it.
	Otherwise string

	Model, Version, Run, ResponseID string

	Name, Label, Explanation string
	Error                    string  // why there is no score
	Score                    float64 // NaN if there is none
	Time                     int64   // nanoseconds since 1970
}

// Batch is what one request says.
type Batch struct {
	Observations []Observation
	Evaluations  []Evaluation
	// Parts are how many observations are child spans.
	Parts int
	// Links are spans that are no inference: an inference and the one above it may have them between.
	Links []Link
	// Steps are spans of agents that ask no model themselves.
	Steps []Step
	// Ignored are spans and records about other things than inferences, by reason.
	Ignored [Reasons]int
	// DroppedAttributes is how many spans lost some of theirs in the SDK.
	DroppedAttributes int
	// BadValues are values that make no sense, and BadValue is the first.
	BadValues [BadKinds]int
	BadValue  [BadKinds]string
	// Unversioned is how many calls of hosted models do not say which version answered.
	Unversioned int
	// Refused are items that make no sense, and Reason is what is wrong with the first.
	Refused int
	Reason  string

	features []Feature
	times    []FeatureTime
	asked    []Asked
	origins  []Origin
	// vectors are the numbers of embeddings.
	vectors []byte
}

// Reset empties the batch and keeps its memory. What is in there still refers to the request until it is written over.
func (b *Batch) Reset() {
	*b = Batch{Observations: b.Observations[:0], Evaluations: b.Evaluations[:0], Links: b.Links[:0], Steps: b.Steps[:0], features: b.features[:0], times: b.times[:0], asked: b.asked[:0], origins: b.origins[:0], vectors: b.vectors[:0]}
}

// Link is a span that is no inference.
type Link struct {
	Trace        otlp.TraceID
	Span, Parent otlp.SpanID
}

// Reason is why a span or record is ignored.
type Reason uint8

// The reasons.
const (
	NoModel Reason = iota
	OtherOperation
	NoEvaluation
	Reasons // how many there are
)

// String is the value of the label reason.
func (r Reason) String() string {
	return [Reasons]string{"no_model", "other_operation", "no_evaluation"}[r]
}

// BadKind is what a value that makes no sense was to be.
type BadKind uint8

// The kinds.
const (
	BadOutcome BadKind = iota
	BadConfidence
	BadScore
	BadEmbedding
	BadKinds // how many there are
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

// Bad counts a value that makes no sense.
func (b *Batch) Bad(k BadKind, v string) { b.bad(k, otlp.StringValue(v)) }

// askedOf returns what else is known of a call.
func (b *Batch) askedOf(o *Observation) *Asked {
	if o.Asked == nil {
		b.asked = append(b.asked, Asked{})
		o.Asked = &b.asked[len(b.asked)-1] // It stays where it is when the slice moves.
	}
	return o.Asked
}

// add returns a new observation at the end of the batch.
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
