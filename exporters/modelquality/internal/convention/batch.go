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
	Outcomes // how many there are
)

// String is the value of the label outcome.
func (o Outcome) String() string {
	return [Outcomes]string{"ok", "error", "timeout", "fallback", "rejected"}[o]
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

	Duration                              float64 // seconds, as the next three
	QueueWait, ForwardPass, TimeToFirst   float64
	Exception                             string
	Prediction                            otlp.Value
	Confidence, InputTokens, OutputTokens float64
	Features                              []Feature
	FeatureTimes                          []FeatureTime
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
	// Ignored are spans and records about other things than inferences.
	Ignored int
	// Refused are items that make no sense, and Reason is what is wrong with the first.
	Refused int
	Reason  string

	features []Feature
	times    []FeatureTime
}

// Reset empties the batch and keeps its memory. What is in there still refers to the request until it is written over.
func (b *Batch) Reset() {
	*b = Batch{Observations: b.Observations[:0], Evaluations: b.Evaluations[:0], features: b.features[:0], times: b.times[:0]}
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
