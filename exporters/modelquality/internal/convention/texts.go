package convention

import (
	"math"
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/content"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

// detailsEvent is GenAI's event with the messages of an inference.
const detailsEvent = "gen_ai.client.inference.operation.details"

// Fields of text measurements.
const (
	inputTokens      = "text.input_tokens"
	outputTokens     = "text.output_tokens" //nolint:gosec // Of a language model.
	inputCharacters  = "text.input_characters"
	outputCharacters = "text.output_characters"
	answerKind       = "text.answer"
	answerScript     = "text.script"
	answerLanguage   = "text.language"
	answerJSON       = "text.json"
)

// shortAnswer is the length in characters up to which an answer is never called repeated, because answers such as yes are common.
const shortAnswer = 20

// measure adds the measurements of the texts of a successful inference of a hosted model.
func (r *Reader) measure(o *Observation, in *reading) {
	if !o.Hosted || o.Embeds || o.Outcome != OK {
		return
	}
	if in.has(roleOutputText) {
		r.Batch.hostedCallOf(o).Output = in.values[roleOutputText]
	}
	begin := len(r.Batch.features) - len(o.Features) // the last features of the batch
	features := r.Batch.features
	add := func(name string, v otlp.Value) { features = append(features, Feature{name, v}) }
	for i, name := range [2]string{inputTokens, outputTokens} {
		if o.Tokens != nil && !math.IsNaN(o.Tokens[i]) {
			add(name, otlp.DoubleValue(o.Tokens[i]))
		}
	}
	texts := r.Convention.texts
	if in.has(roleInputText) {
		add(inputCharacters, otlp.IntValue(int64(texts.Length(in.values[roleInputText], true))))
	}
	if in.has(roleOutputText) {
		m := texts.Answer(in.values[roleOutputText], true)
		if o.Finish == ContentFilter {
			m.Kind = content.Refusal
		}
		add(outputCharacters, otlp.IntValue(int64(m.Characters)))
		if m.Kind == content.Text && m.Characters > shortAnswer {
			a := r.Batch.hostedCallOf(o)
			a.Answer, a.Hash = len(features)-begin+1, m.Hash
		}
		add(answerKind, otlp.StringValue(m.Kind.String()))
		if m.Script != "" {
			add(answerScript, otlp.StringValue(m.Script))
			add(answerLanguage, otlp.StringValue(m.Language))
		}
		if m.Kind == content.Text && asksJSON(in) {
			add(answerJSON, otlp.StringValue(map[bool]string{true: "valid", false: "invalid"}[m.JSON]))
		}
	}
	r.Batch.features, o.Features = features, slices.Clip(features[begin:])
}

// asksJSON reports whether the request asked for JSON: by an output type, a schema, or the request parameters.
func asksJSON(in *reading) bool {
	t := in.text(roleOutputType)
	return strings.HasPrefix(t, "json") || strings.HasPrefix(t, "{") || strings.Contains(in.text(roleParameters), `"json_`)
}
