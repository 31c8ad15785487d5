// Package content measures the prompts and answers of language models.
//
// Input: the value of an attribute: a text, or messages as JSON or as OTLP values. Output: length, script, language, kind of answer (text,
// empty, refused, tool calls, repeated), whether it is valid JSON, and a hash that distinguishes answers. State: none. The package never
// keeps a text or a part of one.
package content

import (
	"encoding/json"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

// maxBytes limits the messages that are parsed. Longer ones are not parsed; all their characters count. maxDepth limits the nesting.
const (
	maxBytes = 1 << 20
	maxDepth = 16
)

// Kind is the kind of an answer.
type Kind uint8

// Kinds of answers.
const (
	Text Kind = iota
	Nothing
	Refusal
	ToolCalls
	Repeated
	kinds
)

// String returns the bin of the field text.answer.
func (k Kind) String() string {
	return [kinds]string{"text", "empty", "refused", "tool_calls", "repeated"}[k]
}

// Measures are the measurements of a text.
type Measures struct {
	// Characters are Unicode code points.
	Characters int
	Kind       Kind
	// Script is the script of most of the first letters; empty without letters.
	Script string
	// Language is the language code of the beginning; empty without letters.
	Language string
	// JSON means that the text is valid JSON.
	JSON bool
	// Hash is the hash of the text.
	Hash uint64
}

// Reader measures texts. It is immutable.
type Reader struct {
	refusals []string
	seed     maphash.Seed
}

// Refusals are the built-in beginnings of refusals, in lower case and in English.
var Refusals = []string{
	"i can't", "i cannot", "i can not", "i'm sorry, but i can", "i am sorry, but i can", "sorry, but i can", "sorry, i can't", "i'm unable to", "i am unable to",
	"i'm not able to", "i am not able to", "i won't be able to", "i must decline", "i apologize, but i can", "as an ai language model, i can", "i'm sorry, i can't",
}

// New returns a Reader that recognizes more in addition to Refusals.
func New(more []string) *Reader {
	r := &Reader{seed: maphash.MakeSeed()}
	for _, s := range append(append([]string(nil), Refusals...), more...) {
		r.refusals = append(r.refusals, plain(s))
	}
	return r
}

// Length returns the number of characters of messages.
func (r *Reader) Length(v otlp.Value, messages bool) int {
	t := texts{}
	t.read(v, messages)
	return t.characters
}

// Answer measures an answer. messages means that the value may be messages instead of the text itself.
func (r *Reader) Answer(v otlp.Value, messages bool) Measures {
	t := texts{keep: true}
	t.read(v, messages)
	text := t.text()
	m := Measures{Characters: t.characters, Script: script(text), Hash: maphash.String(r.seed, text)}
	m.Language = language(text, m.Script)
	trimmed := strings.TrimSpace(text)
	switch {
	case t.refused || r.refuses(trimmed):
		m.Kind = Refusal
	case trimmed == "" && t.tools:
		m.Kind = ToolCalls
	case trimmed == "":
		m.Kind = Nothing
	}
	m.JSON = trimmed != "" && json.Valid([]byte(trimmed))
	return m
}

// plain converts to lower case and replaces typographic apostrophes.
func plain(s string) string { return strings.ReplaceAll(strings.ToLower(s), "’", "'") }

// MaxRefusal is the number of bytes at the beginning of an answer that are compared with refusals.
const MaxRefusal = 96

func (r *Reader) refuses(text string) bool {
	begin := plain(strings.ToValidUTF8(text[:min(len(text), MaxRefusal)], ""))
	for _, p := range r.refusals {
		if strings.HasPrefix(begin, p) {
			return true
		}
	}
	return false
}

// texts collects the texts of messages.
type texts struct {
	characters     int
	refused, tools bool
	keep           bool // false: only count characters
	first          string
	rest           strings.Builder
}

func (t *texts) add(s string) {
	t.characters += utf8.RuneCountInString(s)
	switch {
	case !t.keep || s == "":
	case t.first == "" && t.rest.Len() == 0:
		t.first = s
	default:
		if t.rest.Len() == 0 {
			t.rest.WriteString(t.first)
		}
		t.rest.WriteString(s)
	}
}

func (t *texts) text() string {
	if t.rest.Len() > 0 {
		return t.rest.String()
	}
	return t.first
}

func (t *texts) read(v otlp.Value, messages bool) {
	text := v.Text()
	switch {
	case v.Kind == otlp.List || v.Kind == otlp.Map:
		t.value("", v, 0)
		return
	case messages && len(text) <= maxBytes && strings.ContainsAny(strings.TrimLeft(text, " \t\r\n")[:min(1, len(strings.TrimLeft(text, " \t\r\n")))], `[{"`):
		var parsed any
		if json.Unmarshal([]byte(text), &parsed) == nil {
			if s, ok := parsed.(string); ok { // MLflow writes a text as JSON
				t.add(s)
				return
			}
			if t.walk("", parsed, 0) {
				return
			}
		}
	}
	t.add(text)
}

// isText matches keys of texts, isOther keys whose content is not a text.
func isText(key string) bool { return key == "content" || key == "text" || key == "output_text" }

func isOther(key string) bool {
	switch key {
	case "arguments", "tools", "metadata", "response", "input_schema", "parameters", "reasoning", "reasoning_content", "thinking", "logprobs":
		return true
	}
	return false
}

// readKey evaluates a key that describes the answer. It reports whether the key belongs to a message.
func (t *texts) readKey(key, value string) bool {
	switch {
	case key == "refusal" && value != "":
		t.refused = true
	case key == "type" && (value == "tool_call" || value == "tool_use" || value == "function_call"):
		t.tools = true
	case isText(key):
		t.add(value)
	default:
		return key == "role" || key == "finish_reason"
	}
	return true
}

// walk reads parsed JSON. It reports whether it found messages.
func (t *texts) walk(key string, v any, depth int) (found bool) {
	if depth > maxDepth {
		return false
	}
	switch v := v.(type) {
	case string:
		return t.readKey(key, v)
	case []any:
		if key == "tool_calls" && len(v) > 0 {
			t.tools = true
			return true
		}
		for _, item := range v {
			found = t.walk(key, item, depth+1) || found
		}
	case map[string]any:
		if v["type"] == "reasoning" || v["type"] == "thinking" {
			return true
		}
		for _, k := range slices.Sorted(maps.Keys(v)) { // sorted: equal answers must have equal hashes
			if !isOther(k) {
				found = t.walk(k, v[k], depth+1) || found
			}
		}
	}
	return found
}

// value is walk for an OTLP value.
func (t *texts) value(key string, v otlp.Value, depth int) {
	if depth > maxDepth {
		return
	}
	switch v.Kind {
	case otlp.String:
		t.readKey(key, v.Text())
	case otlp.List:
		v.Each(func(_ string, item otlp.Value) {
			t.tools = t.tools || key == "tool_calls"
			t.value(key, item, depth+1)
		})
	case otlp.Map:
		reasoning := false
		v.Each(func(k string, item otlp.Value) {
			reasoning = reasoning || k == "type" && (item.Text() == "reasoning" || item.Text() == "thinking")
		})
		if reasoning || key == "tool_calls" {
			return
		}
		v.Each(func(k string, item otlp.Value) {
			if !isOther(k) {
				t.value(k, item, depth+1)
			}
		})
	}
}

// scripts are the scripts by their bin.
var scripts = []struct {
	name  string
	table *unicode.RangeTable
}{
	{"latin", unicode.Latin},
	{"han", unicode.Han},
	{"cyrillic", unicode.Cyrillic},
	{"arabic", unicode.Arabic},
	{"devanagari", unicode.Devanagari},
	{"kana", unicode.Hiragana},
	{"kana", unicode.Katakana},
	{"hangul", unicode.Hangul},
	{"greek", unicode.Greek},
	{"hebrew", unicode.Hebrew},
	{"thai", unicode.Thai},
}

// maxLetters is the number of letters that decide the script.
const maxLetters = 200

// script returns the most frequent script of the first letters. Any kana means Japanese, whose bin is kana.
func script(text string) string {
	var counts [16]int
	letters, other, best := 0, 0, 0
	for _, c := range text {
		if letters == maxLetters {
			break
		}
		if !unicode.IsLetter(c) {
			continue
		}
		letters++
		known := false
		for i := range scripts {
			if unicode.Is(scripts[i].table, c) {
				counts[i]++
				known = true
				break
			}
		}
		if !known {
			other++
		}
	}
	if letters == 0 {
		return ""
	}
	for i := range scripts {
		if scripts[i].name == "kana" && counts[i] > 0 {
			return "kana"
		}
		if counts[i] > counts[best] {
			best = i
		}
	}
	if other > counts[best] {
		return "other"
	}
	return scripts[best].name
}
