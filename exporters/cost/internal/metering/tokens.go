package metering

import (
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/prices"
)

// use is usage that is priced by unit, per second.
type use struct {
	model, tier string
	unit        prices.Unit
	perSecond   float64
}

// directions are the totals by which tokens are counted. Their parts are in the order in which a token is assigned to
// one of them.
var directions = []struct {
	direction string
	unit      prices.Unit
	parts     []tokenKind
}{
	{"input", prices.InputToken, []tokenKind{
		{"cached", prices.CachedToken}, {"cache_write", prices.CacheWriteToken}, {"audio_input", prices.AudioInToken}, {"image_input", prices.ImageInToken},
	}},
	{"output", prices.OutputToken, []tokenKind{
		{"reasoning", prices.ReasoningToken}, {"audio_output", prices.AudioOutToken}, {"image_output", prices.ImageOutToken},
	}},
}

type tokenKind struct {
	direction string
	unit      prices.Unit
}

// uses returns all usage that can be priced by unit. Every token is in exactly one use. A kind of token with its own
// price is subtracted from the total of its direction. A kind without a price stays in the total.
func (u Usage) uses(priced func(prices.Unit, string, string) bool) []use {
	var all []use
	for model, rate := range u.Requests {
		all = append(all, use{model: model, unit: prices.Request, perSecond: rate})
	}
	for model, rate := range u.Images {
		all = append(all, use{model: model, unit: prices.Image, perSecond: rate})
	}
	for key, rest := range u.Tokens {
		for _, whole := range directions {
			if key.Direction != whole.direction {
				continue
			}
			for _, p := range whole.parts {
				rate := min(u.Tokens[TokenUse{key.Model, p.direction, key.Tier}], rest)
				if rate > 0 && priced(p.unit, key.Tier, key.Model) {
					all = append(all, use{key.Model, key.Tier, p.unit, rate})
					rest -= rate
				}
			}
			all = append(all, use{key.Model, key.Tier, whole.unit, rest})
		}
	}
	return all
}

// modelsWithTokens returns the models that have tokens.
func (u Usage) modelsWithTokens() map[string]bool {
	all := map[string]bool{}
	for key, rate := range u.Tokens {
		if rate > 0 {
			all[key.Model] = true
		}
	}
	return all
}
