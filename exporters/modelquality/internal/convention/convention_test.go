package convention

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

const second = uint64(time.Second)

// read reads one span of the attributes.
func read(t *testing.T, resource []otlp.Attribute, s otlp.Span) *Batch {
	t.Helper()
	var n Names
	n.SetDefaults()
	c, err := New(n, 20, nil)
	require.NoError(t, err)
	r := Reader{Convention: c, Batch: new(Batch)}
	if s.Start == 0 {
		s.Start, s.End = 1_795_000_000*second, 1_795_000_001*second
	}
	r.Resource(resource)
	r.Span(&s)
	return r.Batch
}

// attrs lists attributes given as name, value and so on.
func attrs(pairs ...any) []otlp.Attribute {
	var list []otlp.Attribute
	for i := 0; i < len(pairs); i += 2 {
		a := otlp.Attribute{Key: pairs[i].(string)}
		switch v := pairs[i+1].(type) {
		case string:
			a.Value = otlp.StringValue(v)
		case int:
			a.Value = otlp.IntValue(int64(v))
		case float64:
			a.Value = otlp.DoubleValue(v)
		case bool:
			a.Value = otlp.BoolValue(v)
		}
		list = append(list, a)
	}
	return list
}

func TestWhichSpansAreInferences(t *testing.T) {
	ours := attrs("ml.model.name", "fraud")
	for name, tc := range map[string]struct {
		resource, span []otlp.Attribute
		want           string // the model, or empty
	}{
		"ours":                                  {nil, ours, "fraud"},
		"ours, of whatever kind":                {nil, attrs("ml.model.name", "fraud", "openinference.span.kind", "TOOL"), "fraud"},
		"a judge that names the judged":         {nil, attrs("ml.model.name", "fraud", "evaluation.name", "x", "evaluation.score", 1.0), ""},
		"one that judges itself":                {nil, attrs("ml.model.name", "fraud", "evaluation.name", "x", "ml.feature.a", 1), "fraud"},
		"a web server of a model's service":     {ours, attrs("http.route", "/"), ""},
		"a failed request of a model's service": {ours, attrs("error.type", "500"), ""},
		"an inference of a model's service":     {ours, attrs("ml.prediction", 1), "fraud"},
		"a feature in a model's service":        {ours, attrs("ml.feature.a", 1), "fraud"},
		"the span beats the resource":           {ours, attrs("gen_ai.request.model", "llm"), "llm"},
		"a chat":                                {nil, attrs("gen_ai.operation.name", "chat", "gen_ai.request.model", "llm", "gen_ai.response.model", "llm-1"), "llm"},
		"a chat before there were operations":   {nil, attrs("gen_ai.request.model", "llm"), "llm"},
		"a tool":                                {nil, attrs("gen_ai.operation.name", "execute_tool", "gen_ai.request.model", "llm"), ""},
		"an agent":                              {nil, attrs("gen_ai.operation.name", "invoke_agent", "gen_ai.request.model", "llm"), ""},
		"an LLM of OpenInference":               {nil, attrs("openinference.span.kind", "LLM", "llm.model_name", "llm"), "llm"},
		"a chain of OpenInference":              {nil, attrs("openinference.span.kind", "CHAIN", "llm.model_name", "llm"), ""},
		"a chat model of MLflow, quoted":        {nil, attrs("mlflow.spanType", `"CHAT_MODEL"`, "mlflow.llm.model", `"llm"`), "llm"},
		"a retriever of MLflow":                 {nil, attrs("mlflow.spanType", `"RETRIEVER"`, "mlflow.llm.model", `"llm"`), ""},
		"a model without a name":                {nil, attrs("ml.model.name", ""), ""},
		"a model whose name is a number":        {nil, attrs("ml.model.name", 3), ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := read(t, tc.resource, otlp.Span{Attributes: tc.span})
			if tc.want == "" {
				require.Empty(t, b.Observations)
				return
			}
			require.Len(t, b.Observations, 1)
			require.Equal(t, tc.want, b.Observations[0].Model)
		})
	}
}

func TestOutcomes(t *testing.T) {
	for name, tc := range map[string]struct {
		status int32
		attrs  []otlp.Attribute
		event  string
		want   Outcome
	}{
		"nothing said":                     {want: OK},
		"an error":                         {status: otlp.StatusError, want: Error},
		"a type without a status":          {attrs: attrs("error.type", "ValueError"), want: Error},
		"a timeout":                        {attrs: attrs("error.type", "TimeoutError"), want: Timeout},
		"a deadline of gRPC":               {attrs: attrs("error.type", "DEADLINE_EXCEEDED"), want: Timeout},
		"a timeout of HTTP":                {attrs: attrs("error.type", "504"), want: Timeout},
		"too many requests":                {attrs: attrs("error.type", "429"), want: Rejected},
		"a full queue":                     {status: otlp.StatusError, event: "queue.QueueFull", want: Rejected},
		"an exception that timed out":      {status: otlp.StatusError, event: "asyncio.exceptions.TimeoutError", want: Timeout},
		"an exception that was survived":   {event: "ValueError", want: OK},
		"a fallback":                       {attrs: attrs("ml.fallback", true), status: otlp.StatusError, want: Fallback},
		"no fallback":                      {attrs: attrs("ml.fallback", false), want: OK},
		"what the service says":            {attrs: attrs("ml.outcome", "REJECTED", "error.type", "Timeout"), want: Rejected},
		"what nobody knows":                {attrs: attrs("ml.outcome", "splendid", "error.type", "Timeout"), want: Timeout},
		"an error that the service denies": {attrs: attrs("ml.outcome", "ok"), status: otlp.StatusError, event: "TimeoutError", want: OK},
	} {
		t.Run(name, func(t *testing.T) {
			s := otlp.Span{Status: tc.status, Attributes: append(attrs("ml.model.name", "m"), tc.attrs...)}
			if tc.event != "" {
				s.Events = []otlp.Event{{Name: "exception", Attributes: attrs("exception.type", tc.event)}}
			}
			o := read(t, nil, s).Observations[0]
			require.Equal(t, tc.want, o.Outcome, "%s", o.Outcome)
			if tc.event != "" {
				require.Equal(t, tc.event, o.Exception)
			}
		})
	}
}

func TestNumbersAreReadUnderEveryAttributeName(t *testing.T) {
	b := read(t, nil, otlp.Span{
		Attributes: attrs("ml.model.name", "m", "ml.model.version", 7, "queue_wait_ms", 12, "ml.inference.forward_pass_ms", 30.5, "ml.confidence", 0.4, "ml.prediction.confidence", "0.9",
			"gen_ai.usage.prompt_tokens", 3, "gen_ai.usage.input_tokens", 5, "llm.token_count.completion", 8, "gen_ai.usage.cache_read.input_tokens", 4),
		Events: []otlp.Event{{Name: "first_token", Time: 1_795_000_000*second + second/4}, {Name: "first_token", Time: 1_795_000_000*second + second/2}},
	})
	o := b.Observations[0]
	require.Equal(t, "7", o.Version)
	require.InDelta(t, 0.012, o.QueueWait, 1e-12)
	require.InDelta(t, 0.0305, o.ForwardPass, 1e-12)
	require.InDelta(t, 0.25, o.TimeToFirst, 1e-12, "the first one")
	require.Equal(t, 0.9, o.Confidence, "the preferred name, and a number written as text")
	require.Equal(t, 5.0, o.Tokens[Input], "the new name, and without the cached ones")
	require.Equal(t, 8.0, o.Tokens[Output])
	require.Equal(t, 1.0, o.Duration)

	o = read(t, nil, otlp.Span{Attributes: attrs("mlflow.spanType", `"LLM"`, "mlflow.llm.model", `"m"`, "mlflow.chat.tokenUsage", `{"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}`)}).Observations[0]
	require.Equal(t, []float64{10, 2}, []float64{o.Tokens[Input], o.Tokens[Output]})
	for name, v := range map[string]float64{"queue": o.QueueWait, "forward": o.ForwardPass, "first": o.TimeToFirst, "confidence": o.Confidence} {
		require.True(t, math.IsNaN(v), "%s was not said", name)
	}
	o = read(t, nil, otlp.Span{Attributes: attrs("ml.model.name", "m", "queue_wait_ms", -1, "ml.confidence", "high", "forward_pass_ms", math.Inf(1), "gen_ai.usage.input_tokens", -5)}).Observations[0]
	for name, v := range map[string]float64{"queue": o.QueueWait, "forward": o.ForwardPass, "confidence": o.Confidence, "tokens": o.Tokens[Input]} {
		require.True(t, math.IsNaN(v), "%s makes no sense", name)
	}
}

func TestAgesOfFeatures(t *testing.T) {
	start := time.Unix(1_795_000_000, 0)
	before := start.Add(-90 * time.Second)
	for name, v := range map[string]any{
		"text": before.UTC().Format(time.RFC3339), "seconds": int(before.Unix()), "fractions": float64(before.Unix()),
		"milliseconds": int(before.UnixMilli()), "microseconds": int(before.UnixMicro()), "nanoseconds": int(before.UnixNano()),
	} {
		t.Run(name, func(t *testing.T) {
			o := read(t, nil, otlp.Span{Attributes: attrs("ml.model.name", "m", "ml.feature_time.amount", v)}).Observations[0]
			require.Len(t, o.FeatureTimes, 1)
			require.Equal(t, "amount", o.FeatureTimes[0].Name)
			require.InDelta(t, 90, o.FeatureTimes[0].Age, 1e-3)
		})
	}
	for _, v := range []any{"yesterday", -5, true, math.NaN()} {
		require.Empty(t, read(t, nil, otlp.Span{Attributes: attrs("ml.model.name", "m", "ml.feature_time.amount", v)}).Observations[0].FeatureTimes)
	}
}

func TestSpanWithTooManyFeaturesIsRefused(t *testing.T) {
	s := otlp.Span{Attributes: attrs("ml.model.name", "m")}
	for i := range 21 {
		s.Attributes = append(s.Attributes, attrs(fmt.Sprint("x", i), 1)...)
	}
	require.Len(t, read(t, nil, s).Observations, 1, "attributes that mean nothing are skipped")
	for i := range 21 {
		s.Attributes = append(s.Attributes, attrs(fmt.Sprint("ml.feature.x", i), 1)...)
	}
	b := read(t, nil, s)
	require.Equal(t, 1, b.Refused)
	require.Empty(t, b.Observations)
}

func TestContradictoryAttributeNamesAreRefused(t *testing.T) {
	for want, change := range map[string]func(*Names){
		`attribute "ml.model.name" is named twice or empty; want each once`:                          func(n *Names) { n.Version = n.Model[:1] },
		`attribute "" is named twice or empty; want each once`:                                       func(n *Names) { n.Run = []string{""} },
		`spans named "queue" cannot be both queue_wait_spans and forward_pass_spans`:                 func(n *Names) { n.ForwardSpans = []string{"queue"} },
		"feature_prefix and feature_time_prefix cannot be empty: every attribute would be a feature": func(n *Names) { n.FeaturePrefix = "" },
	} {
		var n Names
		n.SetDefaults()
		change(&n)
		_, err := New(n, 10, nil)
		require.EqualError(t, err, want)
	}
}
