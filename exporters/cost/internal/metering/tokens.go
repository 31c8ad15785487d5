package metering

import (
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/prices"
)

// use is something with a price for each use, at so much for one second.
type use struct {
	model, tier string
	unit        prices.Unit
	perSecond   float64
}

// directions are the wholes that tokens are counted by, with their parts in the order in which a token belongs to one of them.
var directions = []struct {
	direction string
	unit      prices.Unit
	parts     []part
}{
	{"input", prices.InputToken, []part{
		{"cached", prices.CachedToken}, {"cache_write", prices.CacheWriteToken}, {"audio_input", prices.AudioInToken}, {"image_input", prices.ImageInToken},
	}},
	{"output", prices.OutputToken, []part{
		{"reasoning", prices.ReasoningToken}, {"audio_output", prices.AudioOutToken}, {"image_output", prices.ImageOutToken},
	}},
}

type part struct {
	direction string
	unit      prices.Unit
}

// uses are what was used that can have a price for each use. Every token is in one of them: a part of the input or the output
// that has a price of its own is taken out of the whole, and one that has none costs what the whole does.
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

// talks says which models have tokens.
func (u Usage) talks() map[string]bool {
	all := map[string]bool{}
	for key, rate := range u.Tokens {
		if rate > 0 {
			all[key.Model] = true
		}
	}
	return all
}
