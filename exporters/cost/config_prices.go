package cost

import (
	"fmt"
	"os"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/fx"
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/prices"
	"github.com/sightglass-ml/sightglass/internal/config"
)

// PricesConfig are prices of usage that is not on a bill.
type PricesConfig struct {
	// Lists are files of prices by token.
	Lists []ListConfig `yaml:"lists,omitempty"`
	// The entries below override the lists.
	GPUHours []PriceConfig `yaml:"gpu_hours,omitempty"`
	Requests []PriceConfig `yaml:"requests,omitempty"`
	Images   []PriceConfig `yaml:"images,omitempty"`
	Tokens   []TokenConfig `yaml:"tokens,omitempty"`
}

// ListConfig is a price list.
type ListConfig struct {
	File     config.Path `yaml:"file"`
	Currency string      `yaml:"currency"`
	From     time.Time   `yaml:"valid_from,omitempty"`
}

// SetDefaults implements config.Defaulter. Price lists of models are in US dollars by default.
func (l *ListConfig) SetDefaults() { l.Currency = "USD" }

// PriceConfig is the price of one unit.
type PriceConfig struct {
	// GPU and Node, or Model, are globs.
	GPU   string `yaml:"gpu,omitempty"`
	Node  string `yaml:"node,omitempty"`
	Model string `yaml:"model,omitempty"`

	Price    float64   `yaml:"price"`
	Currency string    `yaml:"currency"`
	From     time.Time `yaml:"valid_from,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (p *PriceConfig) SetDefaults() { p.Currency = fx.CAD }

// TokenConfig are the prices of a million tokens. A kind of input or output token without its own price costs as much
// as the other tokens of its direction.
type TokenConfig struct {
	Model      string   `yaml:"model"`
	Input      *float64 `yaml:"input_per_million,omitempty"`
	Cached     *float64 `yaml:"cached_input_per_million,omitempty"`
	CacheWrite *float64 `yaml:"cache_write_input_per_million,omitempty"`
	AudioIn    *float64 `yaml:"audio_input_per_million,omitempty"`
	ImageIn    *float64 `yaml:"image_input_per_million,omitempty"`
	Output     *float64 `yaml:"output_per_million,omitempty"`
	Reasoning  *float64 `yaml:"reasoning_output_per_million,omitempty"`
	AudioOut   *float64 `yaml:"audio_output_per_million,omitempty"`
	ImageOut   *float64 `yaml:"image_output_per_million,omitempty"`
	// Tier is the class of requests that these prices are for, such as batch.
	Tier string `yaml:"tier,omitempty"`

	Currency string    `yaml:"currency"`
	From     time.Time `yaml:"valid_from,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (t *TokenConfig) SetDefaults() { t.Currency = fx.CAD }

func (t TokenConfig) entries() []prices.Entry {
	var all []prices.Entry
	for _, p := range []struct {
		unit  prices.Unit
		price *float64
	}{
		{prices.InputToken, t.Input},
		{prices.CachedToken, t.Cached},
		{prices.CacheWriteToken, t.CacheWrite},
		{prices.AudioInToken, t.AudioIn},
		{prices.ImageInToken, t.ImageIn},
		{prices.OutputToken, t.Output},
		{prices.ReasoningToken, t.Reasoning},
		{prices.AudioOutToken, t.AudioOut},
		{prices.ImageOutToken, t.ImageOut},
	} {
		if p.price != nil {
			all = append(all, prices.Entry{Unit: p.unit, Resource: t.Model, Tier: t.Tier, Price: *p.price / million, Currency: t.Currency, From: t.From})
		}
	}
	return all
}

// million is the number of tokens that one price is for.
const million = 1e6

func (p PricesConfig) entries() ([]prices.Entry, error) {
	var all []prices.Entry
	for _, l := range p.Lists {
		entries, err := l.read()
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
	}
	for _, e := range p.GPUHours {
		all = append(all, prices.Entry{Unit: prices.GPUHour, Resource: e.GPU, Node: e.Node, Price: e.Price, Currency: e.Currency, From: e.From})
	}
	for _, e := range p.Requests {
		all = append(all, prices.Entry{Unit: prices.Request, Resource: e.Model, Price: e.Price, Currency: e.Currency, From: e.From})
	}
	for _, e := range p.Images {
		all = append(all, prices.Entry{Unit: prices.Image, Resource: e.Model, Price: e.Price, Currency: e.Currency, From: e.From})
	}
	for _, t := range p.Tokens {
		all = append(all, t.entries()...)
	}
	for _, e := range all {
		if !fx.ISO(e.Currency) {
			return nil, fmt.Errorf("%s of %s: currency %q: expected an ISO 4217 code", e.Unit, e.Resource, e.Currency)
		}
		if err := e.Validate(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (l ListConfig) read() ([]prices.Entry, error) {
	info, err := os.Stat(string(l.File))
	if err != nil {
		return nil, fmt.Errorf("price list: %w", err)
	}
	if info.Size() > prices.MaxListBytes {
		return nil, fmt.Errorf("price list %s: larger than %d bytes", l.File, prices.MaxListBytes)
	}
	data, err := os.ReadFile(string(l.File))
	if err != nil {
		return nil, fmt.Errorf("price list: %w", err)
	}
	entries, err := prices.ParseList(data, l.Currency, l.From)
	if err != nil {
		return nil, fmt.Errorf("price list %s: %w", l.File, err)
	}
	return entries, nil
}
