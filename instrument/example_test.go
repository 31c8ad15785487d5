package instrument_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/sightglass-ml/sightglass/instrument"
)

func Example() {
	spans := tracetest.NewInMemoryExporter() // A service has its own exporter, or calls Setup.
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))

	model, err := instrument.NewModel(instrument.ModelOptions{Name: "fraud", Version: "7", RunID: "0ff1ce", Tracers: tracers})
	if err != nil {
		panic(err)
	}
	_, inference := model.Start(context.Background())
	inference.Features(attribute.Float64("amount", 12.5), attribute.String("country", "CA"))
	inference.QueueWait(3 * time.Millisecond)
	inference.ForwardPass(20 * time.Millisecond)
	inference.Prediction(attribute.StringValue("legitimate"))
	inference.Confidence(0.97)
	inference.End()

	for _, a := range spans.GetSpans()[0].Attributes {
		fmt.Printf("%s=%s\n", a.Key, a.Value.String())
	}
	// Output:
	// ml.model.name=fraud
	// ml.model.version=7
	// mlflow.run_id=0ff1ce
	// ml.feature.amount=12.5
	// ml.feature.country=CA
	// ml.inference.queue_wait_ms=3
	// ml.inference.forward_pass_ms=20
	// ml.prediction=legitimate
	// ml.prediction.confidence=0.97
}

func ExampleSetup() {
	ctx := context.Background()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	shutdown, err := instrument.Setup(ctx, instrument.SetupOptions{Service: "scorer", Version: "1.4.0", Logger: logger})
	if err != nil {
		panic(err)
	}
	defer func() {
		if err := shutdown(ctx); err != nil {
			logger.Warn("Telemetry was not sent to the end", "err", err)
		}
	}()

	// Spans of this model go where OTEL_EXPORTER_OTLP_ENDPOINT says, and those of OpenCensus with them.
	model, err := instrument.NewModel(instrument.ModelOptions{
		Name: "fraud", Version: "7",
		FindRun: instrument.RunFromMLflow(nil, "http://mlflow:5000", "fraud", "7"),
	})
	if err != nil {
		panic(err)
	}
	_, inference := model.Start(ctx)
	defer inference.End()
	inference.Fail(context.DeadlineExceeded) // counts as a timeout
	fmt.Println("ok")
	// Output: ok
}

func ExampleModel_Evaluate() {
	spans := tracetest.NewInMemoryExporter()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	model, err := instrument.NewModel(instrument.ModelOptions{Name: "assistant", Tracers: tracers})
	if err != nil {
		panic(err)
	}
	ctx, inference := model.Start(context.Background())
	inference.Tokens(812, 96)
	inference.End()

	// A judge may take its time: the context still says which answer is meant.
	model.Evaluate(ctx, instrument.Evaluation{Name: "groundedness", Score: 0.89, Explanation: "The date is in no source."})

	answer, judgement := spans.GetSpans()[0], spans.GetSpans()[1]
	fmt.Println(judgement.Parent.SpanID() == answer.SpanContext.SpanID())
	// Output: true
}
