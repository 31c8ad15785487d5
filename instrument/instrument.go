// Package instrument records the inferences of a Go service as OpenTelemetry spans.
//
// Input: the model, and for each inference its answer and timings. Output: spans with the attributes of
// docs/instrumentation.md, which modelquality-exporter reads. The service's TracerProvider creates the spans; Setup installs
// one for a service without its own. State: a Model keeps only the ID of its training run. The package never delays or fails
// an inference.
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

// The attributes that the exporter expects by default.
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

// scope is the name of the instrumentation scope.
const scope = "github.com/sightglass-ml/sightglass/instrument"

// ModelOptions describe the model that a service serves.
type ModelOptions struct {
	Name    string
	Version string
	// RunID is the MLflow run that trained the version. If the service does not know it, FindRun looks it up. Without both,
	// the exporter asks MLflow.
	RunID   string
	FindRun FindRun
	// Tracers creates the spans; the default is OpenTelemetry's global provider.
	Tracers trace.TracerProvider
}

// Model is one served version of a model. It is safe for concurrent use.
type Model struct {
	tracer     trace.Tracer
	attributes []attribute.KeyValue
	run        run
}

// NewModel returns a Model.
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

// Inference is one request to a model and its answer. It is safe for concurrent use.
type Inference struct {
	// Span is the span of the inference. The service may add attributes and events to it.
	Span  trace.Span
	start time.Time
}

// Start starts an inference; the caller must call End. The returned context carries the span, so that spans of nested calls
// are its children.
func (m *Model) Start(ctx context.Context, o ...trace.SpanStartOption) (context.Context, *Inference) {
	config := trace.NewSpanStartConfig(o...)
	start := config.Timestamp()
	if start.IsZero() {
		start = time.Now()
	}
	ctx, span := m.start(ctx, "inference", append(o[:len(o):len(o)], trace.WithTimestamp(start)))
	return ctx, &Inference{Span: span, start: start}
}

// End ends the inference. Without Fail, Reject or Fallback before it, the outcome is success.
func (i *Inference) End(o ...trace.SpanEndOption) { i.Span.End(o...) }

// Dequeued sets the queue wait to the time since the start. Call it when the computation begins.
func (i *Inference) Dequeued() { i.QueueWait(time.Since(i.start)) }

// QueueWait sets how long the inference waited before the computation.
func (i *Inference) QueueWait(d time.Duration) { i.Span.SetAttributes(queueKey.Float64(ms(d))) }

// ForwardPass sets how long the computation took.
func (i *Inference) ForwardPass(d time.Duration) { i.Span.SetAttributes(forwardKey.Float64(ms(d))) }

// FirstToken sets the time to the first token. Call it when the first token of the answer is available.
func (i *Inference) FirstToken() {
	i.Span.SetAttributes(firstTokenKey.Float64(ms(time.Since(i.start))))
}

// Prediction sets the prediction: a class as string, bool or integer, or a number.
func (i *Inference) Prediction(v attribute.Value) {
	i.Span.SetAttributes(attribute.KeyValue{Key: predictionKey, Value: v})
}

// Confidence sets the model's confidence in its prediction, from 0 to 1.
func (i *Inference) Confidence(v float64) { i.Span.SetAttributes(confidenceKey.Float64(v)) }

// Features sets the input features, under the column names of the training data.
func (i *Inference) Features(features ...attribute.KeyValue) {
	named := make([]attribute.KeyValue, len(features))
	for n, f := range features {
		named[n] = attribute.KeyValue{Key: featurePrefix + f.Key, Value: f.Value}
	}
	i.Span.SetAttributes(named...)
}

// FeatureTime sets when a feature was computed.
func (i *Inference) FeatureTime(feature string, at time.Time) {
	i.Span.SetAttributes(attribute.String(featureTimePrefix+feature, at.UTC().Format(time.RFC3339Nano)))
}

// Tokens sets the number of input and output tokens. Input includes cached tokens, and output includes reasoning tokens.
func (i *Inference) Tokens(input, output int) {
	i.Span.SetAttributes(inputKey.Int(input), outputKey.Int(output))
}

// ResponseID sets the service's ID of the answer. A later evaluation refers to it.
func (i *Inference) ResponseID(id string) { i.Span.SetAttributes(responseKey.String(id)) }

// Fallback records that a simpler fallback answered instead of the model, and the reason if it is known.
func (i *Inference) Fallback(why error) {
	i.Span.SetAttributes(fallbackKey.Bool(true))
	if why != nil {
		i.Span.RecordError(why)
	}
}

// Fail records that the inference failed. The outcome is timeout if the error is a timeout, and error otherwise.
func (i *Inference) Fail(err error) {
	outcome := "error"
	if timeout := (interface{ Timeout() bool })(nil); errors.As(err, &timeout) && timeout.Timeout() {
		outcome = "timeout"
	}
	i.fail(err, outcome)
}

// Reject records that the service rejected the request, for instance because its queue is full.
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

// Evaluation is an evaluator's score of an answer.
type Evaluation struct {
	// Name is the name of the metric, such as groundedness.
	Name  string
	Score float64
	// Label is the verdict in one word, Explanation in a sentence. Both may be empty.
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

// Evaluate adds an evaluation to an inference that has not ended.
func (i *Inference) Evaluate(e Evaluation) {
	i.Span.AddEvent(evaluationEvent, trace.WithAttributes(e.attributes()...))
}

// Evaluate records an evaluation after the inference has ended. The context is that of the inference, or one with its remote
// span.
func (m *Model) Evaluate(ctx context.Context, e Evaluation) {
	_, span := m.start(ctx, "evaluation", []trace.SpanStartOption{trace.WithAttributes(e.attributes()...)})
	span.End()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
