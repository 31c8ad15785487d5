// Package prices has the prices of usage that is not on a bill: the hour of a GPU, a request, a token.
//
// Input: entries of the configuration, and price lists in LiteLLM's JSON format.
//
// Output: prices in Canadian dollars at an instant. A missing price is reported as missing and never as zero.
//
// State: none. A Book is immutable.
package prices

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"time"
)

// Unit is the unit that a price is for.
type Unit string

// The units of prices. The name of a kind of input or output token ends like that of its total.
const (
	GPUHour         Unit = "gpu_hour"
	Request         Unit = "request"
	InputToken      Unit = "input_token"
	CachedToken     Unit = "cached_input_token"      //nolint:gosec // A token that was read from a cache.
	CacheWriteToken Unit = "cache_write_input_token" //nolint:gosec // No credential.
	AudioInToken    Unit = "audio_input_token"       //nolint:gosec // No credential.
	ImageInToken    Unit = "image_input_token"
	OutputToken     Unit = "output_token"
	ReasoningToken  Unit = "reasoning_output_token"
	AudioOutToken   Unit = "audio_output_token"
	ImageOutToken   Unit = "image_output_token"
	Image           Unit = "image" // a generated image
)

// Entry is a price.
type Entry struct {
	Unit Unit
	// Resource is a glob of the GPU or model that has the price.
	Resource string
	// Node is a glob of the host. It is for GPUs, and empty for any host.
	Node string
	// Tier is a class of requests with its own price, such as batch or above_200k. It is empty for all others.
	Tier string
	// Price is in Currency, for one unit.
	Price    float64
	Currency string
	// From is the time from which the price is valid. The entry with the latest one counts. Zero is always valid.
	From time.Time
	// Listed means that the price comes from a list. Most models of a list are not used here.
	Listed bool
}

// Validate returns the error of an invalid entry.
func (e Entry) Validate() error {
	switch {
	case e.Resource == "":
		return fmt.Errorf("%s: no resource, expected the name of a GPU or model, or a glob such as *", e.Unit)
	case math.IsNaN(e.Price) || math.IsInf(e.Price, 0) || e.Price < 0:
		return fmt.Errorf("%s of %s: price is %v, expected a number of 0 or more", e.Unit, e.Resource, e.Price)
	}
	for _, glob := range []string{e.Resource, e.Node} {
		if _, err := path.Match(escape(glob), ""); err != nil {
			return fmt.Errorf("%s of %s: %q is no glob", e.Unit, e.Resource, glob)
		}
	}
	return nil
}

// Rate converts one unit of a currency into Canadian dollars at an instant.
type Rate func(currency string, at time.Time) (cad float64, ok bool)

// Book has all prices.
type Book struct {
	// configured are the entries that are not from a price list, in their order.
	configured []Entry
	// exact are the entries for one model name, of which price lists have thousands. patterns are the others.
	exact    map[named][]Entry
	patterns []Entry
	aliases  map[string]string
	rate     Rate
}

// named is a unit of one model, in lower case, in a tier.
type named struct {
	unit       Unit
	tier, name string
}

// WithAliases returns the book with aliases: the name of a model in a gateway, and the model whose price applies.
func (b Book) WithAliases(aliases map[string]string) Book {
	b.aliases = aliases
	return b
}

// NewBook returns a book. If several entries match, the more exact one counts, then the one with the latest From, then
// the last one in the list.
func NewBook(entries []Entry, rate Rate) (Book, error) {
	for _, e := range entries {
		if err := e.Validate(); err != nil {
			return Book{}, err
		}
	}
	sorted := slices.Clone(entries)
	slices.Reverse(sorted)
	slices.SortStableFunc(sorted, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.exactness(), a.exactness()), b.From.Compare(a.From))
	})
	b := Book{exact: make(map[named][]Entry), rate: rate}
	for _, e := range sorted {
		if !e.Listed {
			b.configured = append(b.configured, e)
		}
		if e.Unit != GPUHour && !strings.ContainsAny(e.Resource, `*?[\`) {
			key := named{e.Unit, e.Tier, strings.ToLower(e.Resource)}
			b.exact[key] = append(b.exact[key], e)
		} else {
			b.patterns = append(b.patterns, e)
		}
	}
	return b, nil
}

// exactness orders globs: a name before a pattern, and a pattern with more literal characters before one with fewer.
func (e Entry) exactness() int {
	score := 0
	for _, glob := range []string{e.Resource, e.Node} {
		if glob != "" && !strings.ContainsAny(glob, "*?[") {
			score += 1 << 16
		}
		score += len(strings.Trim(glob, "*"))
	}
	return score
}

// escape replaces the slashes of model names. In a glob they are separators, which * does not match.
func escape(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

func matches(glob, s string) bool {
	ok, err := path.Match(escape(strings.ToLower(glob)), escape(strings.ToLower(s)))
	return err == nil && ok
}

// Price is the price of one unit of a resource in Canadian dollars at an instant. It returns false if there is no entry
// or no exchange rate.
func (b Book) Price(unit Unit, resource, node string, at time.Time) (float64, bool) {
	return b.price(unit, "", resource, node, at)
}

// InTier is the price of one unit of a model in a tier. If the tier has no price of its own, it is the price without a
// tier.
func (b Book) InTier(unit Unit, tier, model string, at time.Time) (float64, bool) {
	if tier != "" {
		if price, ok := b.price(unit, tier, model, "", at); ok {
			return price, true
		}
	}
	return b.price(unit, "", model, "", at)
}

// Configured reports whether a model has a price in the configuration, not only in a list.
func (b Book) Configured(model string, at time.Time) bool {
	return slices.ContainsFunc(PerUse, func(unit Unit) bool {
		e, ok := b.find(unit, "", model, "", at)
		return ok && !e.Listed
	})
}

func (b Book) price(unit Unit, tier, resource, node string, at time.Time) (float64, bool) {
	e, ok := b.find(unit, tier, resource, node, at)
	if !ok {
		return 0, false
	}
	rate, ok := b.rate(e.Currency, at)
	return e.Price * rate, ok
}

// find returns the entry of a resource. A model is looked up by its name, then by the model of its alias, then without
// the provider names in front of it: azure/eu/gpt-4o, eu/gpt-4o, gpt-4o.
func (b Book) find(unit Unit, tier, resource, node string, at time.Time) (Entry, bool) {
	names := []string{resource}
	if unit != GPUHour {
		rest := resource
		if base, ok := b.aliases[resource]; ok {
			names, rest = append(names, base), base
		}
		for found := true; found; {
			if _, rest, found = strings.Cut(rest, "/"); found {
				names = append(names, rest)
			}
		}
	}
	for _, name := range names {
		for _, e := range b.exact[named{unit, tier, strings.ToLower(name)}] {
			if !e.From.After(at) {
				return e, true
			}
		}
		for _, e := range b.patterns {
			if e.Unit == unit && e.Tier == tier && !e.From.After(at) && matches(e.Resource, name) && (e.Node == "" || matches(e.Node, node)) {
				return e, true
			}
		}
	}
	return Entry{}, false
}

// Listed is a current price.
type Listed struct {
	Resource string
	Unit     Unit
	CAD      float64
}

// List returns the prices that are valid at an instant, ordered by name, without tiers and without prices that cannot
// be converted. From price lists it has only the models that are used, because the list in use has thousands.
func (b Book) List(at time.Time, used []string) []Listed {
	entries := slices.Clone(b.configured)
	for _, model := range used {
		for _, unit := range PerUse {
			if e, ok := b.find(unit, "", model, "", at); ok && e.Listed {
				entries = append(entries, e)
			}
		}
	}
	type key struct {
		unit           Unit
		resource, node string
	}
	seen := make(map[key]bool)
	var all []Listed
	for _, e := range entries {
		k := key{e.Unit, e.Resource, e.Node}
		if seen[k] || e.From.After(at) || e.Tier != "" {
			continue
		}
		seen[k] = true
		rate, ok := b.rate(e.Currency, at)
		if !ok {
			continue
		}
		name := e.Resource
		if e.Node != "" {
			name += "@" + e.Node
		}
		all = append(all, Listed{name, e.Unit, e.Price * rate})
	}
	slices.SortFunc(all, func(a, b Listed) int { return cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Unit, b.Unit)) })
	return all
}
