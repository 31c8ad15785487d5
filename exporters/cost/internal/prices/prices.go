// Package prices knows what is not on a bill: what an hour of a GPU, a request or a token costs.
//
// In flow entries of the configuration and price lists in the JSON shape that gateways for language models use. Out flow
// prices in Canadian dollars at an instant. What has no price is said to have none, and is never free. A Book is not
// changed after it was made.
package prices

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"time"
)

// Unit is what a price is for.
type Unit string

// The units of prices.
const (
	GPUHour     Unit = "gpu_hour"
	Request     Unit = "request"
	InputToken  Unit = "input_token"
	OutputToken Unit = "output_token"
	CachedToken Unit = "cached_input_token" //nolint:gosec // An input token that was read from a cache.
)

// Entry is a price.
type Entry struct {
	Unit Unit
	// Resource is a glob of what has the price: the name of a GPU, or of a model.
	Resource string
	// Node is a glob of the machine; it is for GPUs, and empty for any machine.
	Node string
	// Price is in Currency, for one unit.
	Price    float64
	Currency string
	// From is when the price begins to hold; the entry that began last counts. Zero holds always.
	From time.Time
	// Listed says that it comes from a price list, most of whose models nobody here uses.
	Listed bool
}

// Validate says what is wrong with the entry.
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
	entries []Entry
	// exact are the entries for a model's name, which price lists have thousands of; patterns are the others.
	exact    map[named][]Entry
	patterns []Entry
	aliases  map[string]string
	rate     Rate
}

// named is a unit of one model, in lower case.
type named struct {
	unit Unit
	name string
}

// WithAliases returns the book with other names of models: what a gateway calls a model, and what the model is.
func (b Book) WithAliases(aliases map[string]string) Book {
	b.aliases = aliases
	return b
}

// NewBook makes a book. Of the entries for a thing the more exact one counts, then the one that began last, then the one
// that stands last.
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
	b := Book{entries: sorted, exact: make(map[named][]Entry), rate: rate}
	for _, e := range sorted {
		if e.Unit != GPUHour && !strings.ContainsAny(e.Resource, `*?[\`) {
			key := named{e.Unit, strings.ToLower(e.Resource)}
			b.exact[key] = append(b.exact[key], e)
		} else {
			b.patterns = append(b.patterns, e)
		}
	}
	return b, nil
}

// exactness orders globs: a name before a pattern, a pattern with more letters before one with fewer.
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

// escape keeps the slashes of model names from being separators, which * does not match.
func escape(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

func matches(glob, s string) bool {
	ok, err := path.Match(escape(strings.ToLower(glob)), escape(strings.ToLower(s)))
	return err == nil && ok
}

// Price is what one unit of a resource costs in Canadian dollars at an instant. It is false where nothing is known: no
// entry, or no exchange rate.
func (b Book) Price(unit Unit, resource, node string, at time.Time) (float64, bool) {
	e, ok := b.find(unit, resource, node, at)
	if !ok {
		return 0, false
	}
	rate, ok := b.rate(e.Currency, at)
	return e.Price * rate, ok
}

// find is the entry of a resource. A model is looked up by its name, then by what it is an alias of, then without the
// names of providers before it: azure/eu/gpt-4o, eu/gpt-4o, gpt-4o.
func (b Book) find(unit Unit, resource, node string, at time.Time) (Entry, bool) {
	names := []string{resource}
	if unit != GPUHour {
		if base, ok := b.aliases[resource]; ok {
			names = append(names, base)
		}
		for rest, found := resource, true; found; {
			if base, ok := b.aliases[resource]; ok && rest == resource {
				rest = base
			}
			if _, rest, found = strings.Cut(rest, "/"); found {
				names = append(names, rest)
			}
		}
	}
	for _, name := range names {
		for _, e := range b.exact[named{unit, strings.ToLower(name)}] {
			if !e.From.After(at) {
				return e, true
			}
		}
		for _, e := range b.patterns {
			if e.Unit == unit && !e.From.After(at) && matches(e.Resource, name) && (e.Node == "" || matches(e.Node, node)) {
				return e, true
			}
		}
	}
	return Entry{}, false
}

// Listed is a price as it is now.
type Listed struct {
	Resource string
	Unit     Unit
	CAD      float64
}

// List returns the prices that hold at an instant, without those that cannot be converted, in the order of their names. Of
// price lists it has those of models that are used: the list in use has prices of thousands.
func (b Book) List(at time.Time, used []string) []Listed {
	inUse := make(map[Entry]bool)
	for _, model := range used {
		for _, unit := range []Unit{Request, InputToken, OutputToken, CachedToken} {
			if e, ok := b.find(unit, model, "", at); ok {
				inUse[e] = true
			}
		}
	}
	type key struct {
		unit           Unit
		resource, node string
	}
	seen := make(map[key]bool)
	var all []Listed
	for _, e := range b.entries {
		k := key{e.Unit, e.Resource, e.Node}
		if seen[k] || e.From.After(at) || e.Listed && !inUse[e] {
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

// MaxListBytes bounds a price list. The largest one in use has 2 MB.
const MaxListBytes = 64 << 20

// ParseList reads a price list: an object from model to object, in which input_cost_per_token, output_cost_per_token and
// cache_read_input_token_cost are prices of one token. Other keys do not matter here, such as prices that depend on the
// length of one request, which counters of tokens do not tell. The list says neither a currency nor a date.
func ParseList(data []byte, currency string, from time.Time) ([]Entry, error) {
	var models map[string]json.RawMessage
	if err := json.Unmarshal(data, &models); err != nil {
		return nil, fmt.Errorf("expected a JSON object from model to prices: %w", err)
	}
	names := make([]string, 0, len(models))
	for name := range models {
		// sample_spec describes the others, in words.
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
		for _, k := range []struct {
			key  string
			unit Unit
		}{
			{"input_cost_per_token", InputToken}, {"output_cost_per_token", OutputToken}, {"cache_read_input_token_cost", CachedToken},
		} {
			raw, ok := values[k.key]
			if !ok || string(raw) == "null" {
				continue
			}
			e := Entry{Unit: k.unit, Resource: literal(name), Currency: currency, From: from, Listed: true}
			if err := json.Unmarshal(raw, &e.Price); err != nil {
				return nil, fmt.Errorf("%s.%s: is %s, expected a number", name, k.key, raw)
			}
			if err := e.Validate(); err != nil {
				return nil, fmt.Errorf("%s.%s: %w", name, k.key, err)
			}
			if e.Price == 0 && pricedOtherwise(values) {
				continue // It is sold by the second, the character or the image, and not given away.
			}
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// pricedOtherwise says that a model costs something by another unit than those that are read.
func pricedOtherwise(values map[string]json.RawMessage) bool {
	for key, raw := range values {
		var price float64
		if strings.Contains(key, "cost_per") && !strings.Contains(key, "per_token") && json.Unmarshal(raw, &price) == nil && price > 0 {
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
