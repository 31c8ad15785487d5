package content

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

func TestAnswersAreMeasured(t *testing.T) {
	r := New([]string{"Je ne peux pas"})
	for what, c := range map[string]struct {
		text string
		want Measures
	}{
		"a text":                                         {"Größe 7", Measures{Characters: 7, Script: "latin"}},
		"GenAI's messages":                               {`[{"role":"assistant","parts":[{"type":"text","content":"Toronto "},{"type":"text","content":"it is"}],"finish_reason":"stop"}]`, Measures{Characters: 13, Script: "latin"}},
		"reasoning is no answer":                         {`[{"role":"assistant","parts":[{"type":"reasoning","content":"hm"},{"type":"text","content":"42"}]}]`, Measures{Characters: 2, JSON: true}},
		"a call of a tool":                               {`[{"role":"assistant","parts":[{"type":"tool_call","name":"weather","arguments":{"content":"Toronto"}}]}]`, Measures{Kind: ToolCalls}},
		"an OpenAI answer with a call of a tool":         {`{"choices":[{"message":{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}}]}`, Measures{Kind: ToolCalls}},
		"an OpenAI answer that is a refusal":             {`{"choices":[{"message":{"role":"assistant","content":null,"refusal":"No."}}]}`, Measures{Kind: Refusal}},
		"a refusal in words":                             {"I’m sorry, but I can’t help with that.", Measures{Characters: 38, Kind: Refusal, Script: "latin"}},
		"a refusal that the configuration names":         {"je ne peux pas.", Measures{Characters: 15, Kind: Refusal, Script: "latin"}},
		"a text that only mentions a refusal is not one": {"He said: I can't.", Measures{Characters: 17, Script: "latin"}},
		"nothing":                            {"", Measures{Kind: Nothing}},
		"blanks":                             {" \n", Measures{Characters: 2, Kind: Nothing}},
		"no content in messages":             {`[{"role":"assistant","parts":[]}]`, Measures{Kind: Nothing}},
		"JSON that is the answer itself":     {`{"city": "Toronto"}`, Measures{Characters: 19, Script: "latin", JSON: true}},
		"JSON in a message":                  {`[{"role":"assistant","content":"{\"city\": 1}"}]`, Measures{Characters: 11, Script: "latin", JSON: true}},
		"JSON that is cut off":               {`{"city": "Tor`, Measures{Characters: 13, Script: "latin"}},
		"a text as MLflow writes it":         {`"Toronto"`, Measures{Characters: 7, Script: "latin"}},
		"Russian":                            {"Москва 2024", Measures{Characters: 11, Script: "cyrillic"}},
		"Japanese, with Chinese characters":  {"東京は首都", Measures{Characters: 5, Script: "kana"}},
		"Chinese":                            {"北京", Measures{Characters: 2, Script: "han"}},
		"a script without a name":            {"ამბავი", Measures{Characters: 6, Script: "other"}},
		"digits alone have no script":        {"- 12 -", Measures{Characters: 6}},
		"deeper than anybody writes is text": {strings.Repeat("[", 100) + strings.Repeat("]", 100), Measures{Characters: 200, JSON: true}},
	} {
		t.Run(what, func(t *testing.T) {
			got := r.Answer(otlp.StringValue(c.text), true)
			got.Hash, got.Language = 0, ""
			require.Equal(t, c.want, got)
		})
	}
	require.NotEqual(t, 1, r.Answer(otlp.StringValue(`"x"`), false).Characters, "what is no message is not parsed")
	a, b := r.Answer(otlp.StringValue("Toronto"), true), r.Answer(otlp.StringValue(`[{"content":"Toronto"}]`), true)
	require.Equal(t, a.Hash, b.Hash, "the same answer, however it is written")
	require.NotEqual(t, a.Hash, r.Answer(otlp.StringValue("Ottawa"), true).Hash)
	require.Equal(t, 10, r.Length(otlp.StringValue(`[{"role":"system","content":"Be short."},{"role":"user","content":[{"type":"text","text":"?"}]}]`), true))
}

func TestLanguageOfAnAnswerIsDetected(t *testing.T) {
	r := New(nil)
	for text, want := range map[string]string{
		"The quick brown fox jumps over the lazy dog and runs away from the hunters who follow it through the forest.":                              "en",
		"La distribution des températures dépend fortement de la saison et de l'altitude.":                                                          "fr",
		"Sie können den Artikel innerhalb von 30 Tagen zurückgeben. Öffnen Sie dazu Ihre Bestellungen und wählen Sie die Bestellung aus.":           "de",
		"Puede devolver el artículo en un plazo de 30 días. Para empezar, abra la página de sus pedidos y seleccione el pedido que desea devolver.": "es",
		"Você pode devolver o item em até 30 dias. Para começar, abra a página de seus pedidos e escolha o pedido que deseja devolver.":             "pt",
		"Możesz zwrócić przedmiot w ciągu 30 dni. Aby rozpocząć, otwórz stronę swoich zamówień i wybierz zamówienie, które chcesz zwrócić.":         "pl",
		"Ви можете повернути товар протягом 30 днів. Для початку відкрийте сторінку своїх замовлень і виберіть замовлення, яке хочете повернути.":   "uk",
		"您可以在三十天内退货。请打开您的订单页面，然后选择要退回的订单。":                                                                                                          "zh",
		"三十日以内に商品を返品できます。まず注文ページを開いて、返品したい注文を選んでください。":                                                                                              "ja",
		"東京都庁第一本庁舎は新宿区にある。":                                                                                                                         "ja", // more Chinese signs than kana
		"삼십 일 이내에 상품을 반품할 수 있습니다.":                                                                                                                  "ko",
		"yes":         Undetermined,
		"xqz jkw vvv": Undetermined,
		"- 12 -":      "",
		"":            "",
		strings.Repeat("Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью и должны поступать в отношении друг друга в духе братства. ", 1000): "ru",
	} {
		require.Equal(t, want, r.Answer(otlp.StringValue(text), false).Language, text[:min(len(text), 40)])
	}
}

func BenchmarkAnswer(b *testing.B) {
	r := New(nil)
	text := otlp.StringValue(strings.Repeat("La distribution des températures dépend fortement de la saison et de l'altitude. ", 20))
	b.ReportAllocs()
	for b.Loop() {
		r.Answer(text, false)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(`[{"role":"assistant","parts":[{"type":"text","content":"x"}]}]`)
	f.Add("I’m sorry, but I can’t\xff")
	r := New(nil)
	f.Fuzz(func(t *testing.T, text string) {
		m := r.Answer(otlp.StringValue(text), true)
		require.GreaterOrEqual(t, m.Characters, 0)
		require.LessOrEqual(t, m.Characters, len(text))
		require.Equal(t, m, r.Answer(otlp.StringValue(text), true))
	})
}
