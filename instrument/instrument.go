// Package instrument is what an inference service in Go says about its inferences.
//
// Input: the model, the answer and the times that the service knows. Output: OpenTelemetry spans with the attributes of
// docs/instrumentation.md, which modelquality-exporter reads. The spans belong to whichever TracerProvider the service
// has; Setup makes one for a service that has none. A Model owns the one thing that is remembered: its training run.
package instrument

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// The attributes, as the exporter expects them unless its configuration says otherwise.
const (
	modelKey       = attribute.Key("ml.model.name")
	versionKey     = attribute.Key("ml.model.version")
	runKey         = attribute.Key("mlflow.run_id")
	queueKey       = attribute.Key("ml.inference.queue_wait_ms")
	forwardKey     = attribute.Key("ml.inference.forward_pass_ms")
	firstTokenKey  = attribute.Key("ml.inference.time_to_first_token_ms")
	outcomeKey     = attribute.Key("ml.outcome")
	fallbackKey    = attribute.Key("ml.fallback")
	predictionKey  = attribute.Key("ml.prediction")
	confidenceKey  = attribute.Key("ml.prediction.confidence")
	inputKey       = attribute.Key("gen_ai.usage.input_tokens")
	outputKey      = attribute.Key("gen_ai.usage.output_tokens")
	responseKey    = attribute.Key("gen_ai.response.id")
	evaluationKey  = attribute.Key("gen_ai.evaluation.name")
	scoreKey       = attribute.Key("gen_ai.evaluation.score.value")
	labelKey       = attribute.Key("gen_ai.evaluation.score.label")
	explanationKey = attribute.Key("gen_ai.evaluation.explanation")

	featurePrefix     = "ml.feature."
	featureTimePrefix = "ml.feature_time."
	evaluationEvent   = "gen_ai.evaluation.result"
)

// scope names the instrumentation library.
const scope = "github.com/sightglass-ml/sightglass/instrument"

// ModelOptions say which model a service serves.
type ModelOptions struct {
	Name    string
	Version string
	// RunID is the MLflow run that trained the version. Where the service does not know it, FindRun is asked, and
	// without either the exporter asks MLflow.
	RunID   string
	FindRun FindRun
	// Tracers make the spans; by default OpenTelemetry's global ones do.
	Tracers trace.TracerProvider
}

// Model is one version of a model that a service serves. It is safe for concurrent use.
type Model struct {
	tracer     trace.Tracer
	attributes []attribute.KeyValue
	run        run
}

// NewModel makes a Model.
func NewModel(o ModelOptions) (*Model, error) {
	switch {
	case o.Name == "":
		return nil, errors.New("instrument: a model needs a name")
	case o.RunID != "" && o.FindRun != nil:
		return nil, errors.New("instrument: a model has a run or a way to find it, not both")
	}
	if o.Tracers == nil {
		o.Tracers = otel.GetTracerProvider()
	}
	m := &Model{tracer: o.Tracers.Tracer(scope), attributes: []attribute.KeyValue{modelKey.String(o.Name)}, run: run{find: o.FindRun}}
	if o.Version != "" {
		m.attributes = append(m.attributes, versionKey.String(o.Version))
	}
	if o.RunID != "" {
		m.attributes = append(m.attributes, runKey.String(o.RunID))
	}
	return m, nil
}

func (m *Model) start(ctx context.Context, name string, o []trace.SpanStartOption) (context.Context, trace.Span) {
	attributes := m.attributes
	if id := m.run.id(ctx); id != "" {
		attributes = append(attributes[:len(attributes):len(attributes)], runKey.String(id))
	}
	return m.tracer.Start(ctx, name, append(o[:len(o):len(o)], trace.WithAttributes(attributes...))...)
}

// Inference is one question to a model, from its arrival to its answer. It is safe for concurrent use.
type Inference struct {
	// Span is the span itself, for whatever else the service wants to say.
	Span  trace.Span
	start time.Time
}

// Start begins an inference; End must be called. The context carries the span, so that calls below it are its children.
func (m *Model) Start(ctx context.Context, o ...trace.SpanStartOption) (context.Context, *Inference) {
	config := trace.NewSpanStartConfig(o...)
	start := config.Timestamp()
	if start.IsZero() {
		start = time.Now()
	}
	ctx, span := m.start(ctx, "inference", append(o[:len(o):len(o)], trace.WithTimestamp(start)))
	return ctx, &Inference{Span: span, start: start}
}

// End ends the inference. An inference that did not fail is a success.
func (i *Inference) End(o ...trace.SpanEndOption) { i.Span.End(o...) }

// Dequeued says that the wait since the start is over and the computation begins.
func (i *Inference) Dequeued() { i.QueueWait(time.Since(i.start)) }

// QueueWait says how long the inference waited for the computation.
func (i *Inference) QueueWait(d time.Duration) { i.Span.SetAttributes(queueKey.Float64(ms(d))) }

// ForwardPass says how long the computation took.
func (i *Inference) ForwardPass(d time.Duration) { i.Span.SetAttributes(forwardKey.Float64(ms(d))) }

// FirstToken says that the first token of the answer is there.
func (i *Inference) FirstToken() {
	i.Span.SetAttributes(firstTokenKey.Float64(ms(time.Since(i.start))))
}

// Prediction is the answer: a class as text, truth or whole number, or a number.
func (i *Inference) Prediction(v attribute.Value) {
	i.Span.SetAttributes(attribute.KeyValue{Key: predictionKey, Value: v})
}

// Confidence is how sure the model is of its answer, from 0 to 1.
func (i *Inference) Confidence(v float64) { i.Span.SetAttributes(confidenceKey.Float64(v)) }

// Features are what the model saw, under the names of the columns that it was trained on.
func (i *Inference) Features(features ...attribute.KeyValue) {
	named := make([]attribute.KeyValue, len(features))
	for n, f := range features {
		named[n] = attribute.KeyValue{Key: featurePrefix + f.Key, Value: f.Value}
	}
	i.Span.SetAttributes(named...)
}

// FeatureTime is when a feature was computed.
func (i *Inference) FeatureTime(feature string, at time.Time) {
	i.Span.SetAttributes(attribute.String(featureTimePrefix+feature, at.UTC().Format(time.RFC3339Nano)))
}

// Tokens are those of the question and the answer. Cached tokens are among the first and reasoning tokens among the second.
func (i *Inference) Tokens(input, output int) {
	i.Span.SetAttributes(inputKey.Int(input), outputKey.Int(output))
}

// ResponseID is the service's own name of the answer, by which a later evaluation finds it.
func (i *Inference) ResponseID(id string) { i.Span.SetAttributes(responseKey.String(id)) }

// Fallback says that something simpler than the model answered, and why where that is known.
func (i *Inference) Fallback(why error) {
	i.Span.SetAttributes(fallbackKey.Bool(true))
	if why != nil {
		i.Span.RecordError(why)
	}
}

// Fail says that there is no answer. An error that is a timeout makes the outcome one.
func (i *Inference) Fail(err error) {
	outcome := "error"
	if timeout := (interface{ Timeout() bool })(nil); errors.As(err, &timeout) && timeout.Timeout() {
		outcome = "timeout"
	}
	i.fail(err, outcome)
}

// Reject says that the service did not try: too many others wait.
func (i *Inference) Reject(err error) { i.fail(err, "rejected") }

func (i *Inference) fail(err error, outcome string) {
	i.Span.SetAttributes(outcomeKey.String(outcome))
	if err == nil {
		i.Span.SetStatus(codes.Error, outcome)
		return
	}
	i.Span.RecordError(err)
	i.Span.SetStatus(codes.Error, err.Error())
}

// Evaluation is what an evaluator made of an answer.
type Evaluation struct {
	// Name of what was judged, such as groundedness.
	Name  string
	Score float64
	// Label is the verdict in a word, Explanation in a sentence. Both may be empty.
	Label, Explanation string
}

func (e Evaluation) attributes() []attribute.KeyValue {
	attributes := []attribute.KeyValue{evaluationKey.String(e.Name), scoreKey.Float64(e.Score)}
	if e.Label != "" {
		attributes = append(attributes, labelKey.String(e.Label))
	}
	if e.Explanation != "" {
		attributes = append(attributes, explanationKey.String(e.Explanation))
	}
	return attributes
}

// Evaluate says what an evaluator made of the answer while the inference lasts.
func (i *Inference) Evaluate(e Evaluation) {
	i.Span.AddEvent(evaluationEvent, trace.WithAttributes(e.attributes()...))
}

// Evaluate says what an evaluator made of an answer when the inference is over. The context is that of the inference, or
// one with its remote span.
func (m *Model) Evaluate(ctx context.Context, e Evaluation) {
	_, span := m.start(ctx, "evaluation", []trace.SpanStartOption{trace.WithAttributes(e.attributes()...)})
	span.End()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
