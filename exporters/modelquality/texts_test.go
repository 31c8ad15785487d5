package modelquality

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const measured = "texts: {enabled: true, refusals: [Je ne peux pas]}\n"

// answer is a chat as GenAI's conventions have it.
func answer(text string, more attributes) attributes {
	all := chat("m", attributes{
		"gen_ai.input.messages":  `[{"role":"user","parts":[{"type":"text","content":"Where?"}]}]`,
		"gen_ai.output.messages": fmt.Sprintf(`[{"role":"assistant","parts":[{"type":"text","content":%q}]}]`, text),
	})
	maps.Copy(all, more)
	return all
}

// shares are the values of the fields of texts, once there are bins.
func (w *world) shares(field string) map[string]string {
	got := make(map[string]string)
	for line := range strings.Lines(w.metrics(`ml_model_field_values_total{`)) {
		if !strings.Contains(line, fmt.Sprintf("field=%q", field)) || strings.HasSuffix(line, " 0\n") {
			continue
		}
		bin := strings.SplitN(line, `"`, 3)[1]
		got[bin] = strings.TrimSpace(line[strings.LastIndex(line, " "):])
	}
	return got
}

func TestTextsAreMeasuredAsFields(t *testing.T) {
	w := newWorld(t, "baseline_store: {type: FILESYSTEM, config: {directory: "+t.TempDir()+"}}\nbaselines: {sample: 14}\n"+measured)
	long := "Toronto is the capital of Ontario."
	structured := attributes{"role": "assistant", "content": "Montréal lies in Québec, on an island."}
	calls := []call{
		{id: 1, attrs: answer(long, nil)},
		{id: 2, attrs: answer(long, nil)},
		{id: 3, attrs: answer("yes", nil)},
		{id: 4, attrs: answer("yes", nil)},
		{id: 5, attrs: answer("I'm sorry, but I can't help.", nil)},
		{id: 6, attrs: answer("Je ne peux pas vous aider.", nil)},
		{id: 7, attrs: answer("Hm.", attributes{"gen_ai.response.finish_reasons": []string{"content_filter"}})},
		{id: 8, attrs: answer("", nil)},
		{id: 9, attrs: answer(`{"city": "Ottawa"}`, attributes{"gen_ai.output.type": "json"})},
		{id: 10, attrs: answer(`{"city": "Ott`, attributes{"gen_ai.output.type": "json"})},
		{id: 11, attrs: chat("m", attributes{"llm.invocation_parameters": `{"response_format": {"type": "json_schema"}}`, "input.value": "Where?", "output.value": "in Ottawa"})},
		{id: 12, attrs: attributes{"mlflow.spanType": `"CHAT_MODEL"`, "mlflow.llm.model": `"m"`, "mlflow.spanInputs": `{"messages": [{"role": "user", "content": "Where?"}]}`, "mlflow.spanOutputs": `{"choices": [{"message": {"role": "assistant", "content": null, "tool_calls": [{"type": "function"}]}}]}`}},
		{id: 13, attrs: chat("m", attributes{"ai.prompt.messages": `[{"role":"user","content":[{"type":"text","text":"Where?"}]}]`, "ai.response.text": "Москва"})},
		{id: 14, attrs: chat("m", attributes{"gen_ai.input.messages": attributes{"role": "user", "content": "Where?"}, "gen_ai.output.messages": structured, "gen_ai.usage.output_tokens": 9})},
	}
	for _, c := range calls {
		w.postSpans(nil, c)
	}
	// What failed has no answer, and what is no language model has no texts.
	failed := answer(long, nil)
	w.postSpans(nil, call{id: 15, attrs: failed, failed: true}, call{id: 16, attrs: fraud(attributes{"gen_ai.output.messages": "x"})},
		call{id: 17, attrs: attributes{"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "m", "input.value": "x"}})
	require.NoError(t, w.keeper.Cycle(t.Context()))
	require.Equal(t, map[string]string{"text": "8", "repeated": "1", "refused": "3", "empty": "1", "tool_calls": "1"}, w.shares("text.answer"))
	require.Equal(t, map[string]string{"valid": "1", "invalid": "2", "null": "11"}, w.shares("text.json"))
	require.Equal(t, map[string]string{"latin": "11", "cyrillic": "1", "null": "2"}, w.shares("text.script"))
	require.Equal(t, map[string]string{"und": "12", "null": "2"}, w.shares("text.language"), "short texts")
	require.Len(t, w.shares("text.output_tokens"), 2, "one value, and missing ones")
	total := 0
	for _, n := range w.shares("text.input_characters") {
		var v int
		_, err := fmt.Sscan(n, &v)
		require.NoError(t, err)
		total += v
	}
	require.Equal(t, 14, total)
	for _, part := range []string{"Toronto", "Ottawa", "Where", "Москва", "Québec"} {
		require.NotContains(t, w.metrics(""), part, "no text is a label")
	}
}

func TestTheLanguageOfAnswersIsAField(t *testing.T) {
	w := newWorld(t, "baseline_store: {type: FILESYSTEM, config: {directory: "+t.TempDir()+"}}\nbaselines: {sample: 20}\n"+measured)
	english := "You can return the item within 30 days. The quick brown fox jumps over the lazy dog and runs away from the hunters who follow it through the forest."
	french := "La distribution des températures dépend fortement de la saison et de l'altitude. Les mesures que nous avons relevées cette année montrent une hausse."
	german := "Sie können den Artikel innerhalb von 30 Tagen zurückgeben. Öffnen Sie dazu Ihre Bestellungen und wählen Sie die Bestellung aus."
	for i := range 20 {
		w.postSpans(nil, call{id: i + 1, attrs: answer([]string{english, french}[i%2], nil)})
	}
	require.NoError(t, w.keeper.Cycle(t.Context()))
	require.Equal(t, map[string]string{"en": "10", "fr": "10"}, w.shares("text.language"))
	for i := range 5 {
		w.postSpans(nil, call{id: i + 100, attrs: answer(german, nil)})
	}
	require.Equal(t, map[string]string{"en": "10", "fr": "10", "unseen": "5"}, w.shares("text.language"), "a language that the baseline never had")
	require.NotContains(t, w.metrics(""), "temp")
}

func TestTextsInEventsAreMeasured(t *testing.T) {
	w := newWorld(t, "baseline_store: {type: FILESYSTEM, config: {directory: "+t.TempDir()+"}}\nbaselines: {sample: 10}\n"+measured)
	for i := range 12 {
		w.spans(nil, span{trace: byte(i + 1), id: byte(i + 1), took: 1e6, attrs: chat("m", nil), events: []event{{"gen_ai.client.inference.operation.details", 1000, attributes{
			"gen_ai.output.messages": fmt.Sprintf(`[{"role":"assistant","parts":[{"type":"text","content":"This is answer number %d."}]}]`, i),
		}}}})
	}
	require.NoError(t, w.keeper.Cycle(t.Context()))
	require.Equal(t, map[string]string{"text": "12"}, w.shares("text.answer"))
}

func TestTextsAreReadOnlyWhenConfigured(t *testing.T) {
	w := newWorld(t, "baseline_store: {type: FILESYSTEM, config: {directory: "+t.TempDir()+"}}\nbaselines: {sample: 10}\n")
	for i := range 12 {
		w.postSpans(nil, call{id: i + 1, attrs: answer("Toronto", attributes{"gen_ai.usage.output_tokens": 9})})
	}
	require.NoError(t, w.keeper.Cycle(t.Context()))
	require.NotContains(t, w.metrics(""), "text.")
	require.Empty(t, w.metrics("ml_model_field_values_total"))
}

func TestReviewsHaveExcerptsWhenConfigured(t *testing.T) {
	judged := attributes{"gen_ai.evaluation.name": "groundedness", "gen_ai.evaluation.score.value": 0.2}
	for what, c := range map[string]struct{ config, want string }{
		"by default they have none":  {measured, ""},
		"at most so many characters": {measured + "reviews: {url: 'http://127.0.0.1:1', file: FILE, excerpts: {characters: 20}}\n", "Write to [redacted] …"},
		"and without redacted text":  {measured + "reviews: {url: 'http://127.0.0.1:1', file: FILE, excerpts: {characters: 200, redact: ['\\bOttawa\\b']}}\n", "Write to [redacted] in [redacted]."},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, strings.ReplaceAll(c.config, "FILE", t.TempDir()+"/reviews.db"))
			box := &reviews{}
			w.pipeline.reviews = box
			text := attributes{"gen_ai.output.messages": `[{"role":"assistant","parts":[{"type":"text","content":"Write to ada@example.com in Ottawa."}]}]`}
			w.spans(nil, span{trace: 1, id: 1, took: 1e6, attrs: chat("m", text), events: []event{{evaluationResult, 1000, judged}}})
			require.Len(t, box.items, 1)
			require.Equal(t, c.want, box.items[0].Excerpt)
			// A judge below the inference, in the same request.
			w.spans(nil, span{trace: 2, id: 2, took: 1e6, attrs: chat("m", text)},
				span{trace: 2, id: 3, parent: 2, took: 1e6, attrs: attributes{"openinference.span.kind": "EVALUATOR", "evaluation.name": "groundedness", "evaluation.score": 0.1}})
			require.Len(t, box.items, 2)
			require.Equal(t, c.want, box.items[1].Excerpt)
			// The answer is not kept for a judgement that comes later.
			w.spans(nil, span{trace: 3, id: 4, took: 1e6, attrs: chat("m", text)})
			w.records(record{trace: 3, span: 4, event: evaluationResult, attrs: judged})
			require.Len(t, box.items, 3)
			require.Empty(t, box.items[2].Excerpt)
		})
	}
}
