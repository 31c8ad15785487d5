package prices

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// PerUse are the units of usage that is priced by unit.
var PerUse = []Unit{
	Request, InputToken, CachedToken, CacheWriteToken, AudioInToken, ImageInToken, OutputToken, ReasoningToken, AudioOutToken, ImageOutToken, Image,
}

// MaxListBytes bounds a price list. The largest list in use has 2 MB.
const MaxListBytes = 64 << 20

// keys are the keys of LiteLLM's model_prices_and_context_window.json, without the tier that may follow. The type
// ModelInfoBase in its litellm/types/utils.py has all of them. Longer keys come first, because shorter ones are their
// prefixes.
var keys = []struct {
	key  string
	unit Unit
}{
	{"output_cost_per_reasoning_token", ReasoningToken},
	{"input_cost_per_audio_token", AudioInToken},
	{"output_cost_per_audio_token", AudioOutToken},
	{"input_cost_per_image_token", ImageInToken},
	{"output_cost_per_image_token", ImageOutToken},
	{"cache_read_input_token_cost", CachedToken},
	{"cache_creation_input_token_cost", CacheWriteToken},
	{"input_cost_per_token", InputToken},
	{"output_cost_per_token", OutputToken},
	{"input_cost_per_request", Request},
	{"input_cost_per_query", Request}, // for models that rank documents
	{"output_cost_per_image", Image},
}

// unitOf returns the unit and the tier of a key. The key input_cost_per_token_batches, …_priority or
// …_above_200k_tokens has the tier batch, priority or above_200k.
func unitOf(key string) (unit Unit, tier string, ok bool) {
	for _, k := range keys {
		rest, found := strings.CutPrefix(key, k.key)
		if !found || rest != "" && rest[0] != '_' {
			continue
		}
		tier = strings.ReplaceAll(strings.TrimPrefix(rest, "_"), "_tokens", "")
		if base, batches := strings.CutSuffix(tier, "batches"); batches {
			tier = base + "batch"
		}
		return k.unit, tier, true
	}
	return "", "", false
}

// ParseList reads a price list: an object from model to an object with prices, as in LiteLLM. All other keys are
// ignored. The list has neither a currency nor a date.
func ParseList(data []byte, currency string, from time.Time) ([]Entry, error) {
	var models map[string]json.RawMessage
	if err := json.Unmarshal(data, &models); err != nil {
		return nil, fmt.Errorf("expected a JSON object from model to prices: %w", err)
	}
	names := make([]string, 0, len(models))
	for name := range models {
		// sample_spec describes the other entries in words.
		if name != "sample_spec" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var entries []Entry
	for _, name := range names {
		var values map[string]json.RawMessage
		if err := json.Unmarshal(models[name], &values); err != nil {
			return nil, fmt.Errorf("%s: expected an object of prices: %w", name, err)
		}
		of, err := parseModel(name, values)
		if err != nil {
			return nil, err
		}
		for _, e := range of {
			e.Currency, e.From, e.Listed = currency, from, true
			entries = append(entries, e)
		}
	}
	return entries, nil
}

func parseModel(name string, values map[string]json.RawMessage) ([]Entry, error) {
	found := make([]string, 0, len(values))
	for key := range values {
		if _, _, ok := unitOf(key); ok && string(values[key]) != "null" {
			found = append(found, key)
		}
	}
	slices.Sort(found)
	elsewhere := pricedOtherwise(values)
	var entries []Entry
	for _, key := range found {
		unit, tier, _ := unitOf(key)
		e := Entry{Unit: unit, Resource: literal(name), Tier: tier}
		if err := json.Unmarshal(values[key], &e.Price); err != nil {
			return nil, fmt.Errorf("%s.%s: is %s, expected a number", name, key, values[key])
		}
		if err := e.Validate(); err != nil {
			return nil, fmt.Errorf("%s.%s: %w", name, key, err)
		}
		if e.Price == 0 && elsewhere {
			continue // It is priced by the second, the character or the image, and is not free.
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// pricedOtherwise reports whether a model has a price by a unit that counters of requests and tokens do not measure.
func pricedOtherwise(values map[string]json.RawMessage) bool {
	for key, raw := range values {
		if unit, _, ok := unitOf(key); ok && unit != Image {
			continue
		}
		var price float64
		if strings.Contains(key, "cost_per") && json.Unmarshal(raw, &price) == nil && price > 0 {
			return true
		}
	}
	return false
}

// literal is a glob that matches one name.
func literal(name string) string {
	var b strings.Builder
	for _, c := range name {
		if strings.ContainsRune(`*?[\`, c) {
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String()
}
