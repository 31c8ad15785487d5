package bill

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// flags is a set of conditions.
type flags []uint64

func newFlags(n int) flags { return make(flags, (n+63)/64) }

func (b flags) set(i int) { b[i/64] |= 1 << (i % 64) }
func (b flags) clear()    { clear(b) }
func (b flags) or(o flags) {
	for i := range o {
		b[i] |= o[i]
	}
}

func (b flags) all(o flags) bool {
	for i := range o {
		if b[i]&o[i] != o[i] {
			return false
		}
	}
	return true
}

// ruleSet has the conditions of all rules. Each condition has a bit, which the value of a column sets. A rule matches
// if all of its bits are set. So the bits of a value are computed once, whatever the values of other columns are.
type ruleSet struct {
	conditions int
	rules      []compiled
	watching   []flags
	metered    []flags
	gpus       []flags
	gpusOf     []float64
	// invoiceRates means that rows may have their own exchange rate.
	invoiceRates bool
	// keys are the tag keys that rules use, in lower case.
	keys [][]byte
	// tags are the bits by key and value. present are the bits that a tag sets with any value, -1 for none.
	tags    []map[string]int
	present []int
	// Bits of the other texts, by the text in lower case.
	subAccounts, services, providers map[string]int
	resources, descriptions          []resourceGlob
	namedSubAccount                  int
}

type compiled struct {
	need flags
	// department is the name, unless tag is the index of a key or subAccount is set.
	department string
	tag        int
	subAccount bool
}

type resourceGlob struct {
	pattern *regexp.Regexp
	bit     int
}

func compile(o Options) *ruleSet {
	s := &ruleSet{
		subAccounts: map[string]int{}, services: map[string]int{}, providers: map[string]int{}, namedSubAccount: -1, invoiceRates: o.InvoiceRates,
	}
	needs := make([][]int, 0, len(o.Rules)+len(o.Observability)+len(o.Metered)+len(o.GPUs))
	for _, r := range o.Rules {
		need := s.conditionsOf(r)
		c := compiled{department: r.Department, tag: -1}
		switch {
		case r.FromTag != "":
			c.tag = s.key(r.FromTag)
			if s.present[c.tag] < 0 {
				s.present[c.tag] = s.bit()
			}
			need = append(need, s.present[c.tag])
		case r.FromSubAccount:
			c.subAccount = true
			if s.namedSubAccount < 0 {
				s.namedSubAccount = s.bit()
			}
			need = append(need, s.namedSubAccount)
		}
		needs = append(needs, need)
		s.rules = append(s.rules, c)
	}
	for _, r := range slices.Concat(o.Observability, o.Metered) {
		needs = append(needs, s.conditionsOf(r))
	}
	for _, r := range o.GPUs {
		needs = append(needs, s.conditionsOf(r.Rule))
		s.gpusOf = append(s.gpusOf, r.GPUs)
	}
	for i, need := range needs {
		set := newFlags(s.conditions)
		for _, bit := range need {
			set.set(bit)
		}
		switch {
		case i < len(s.rules):
			s.rules[i].need = set
		case len(s.watching) < len(o.Observability):
			s.watching = append(s.watching, set)
		case len(s.metered) < len(o.Metered):
			s.metered = append(s.metered, set)
		default:
			s.gpus = append(s.gpus, set)
		}
	}
	return s
}

func (s *ruleSet) bit() int {
	s.conditions++
	return s.conditions - 1
}

// key returns the index of a tag key.
func (s *ruleSet) key(key string) int {
	wanted := []byte(strings.ToLower(strings.TrimSpace(key)))
	if i := slices.IndexFunc(s.keys, func(k []byte) bool { return bytes.Equal(k, wanted) }); i >= 0 {
		return i
	}
	s.keys, s.tags, s.present = append(s.keys, wanted), append(s.tags, map[string]int{}), append(s.present, -1)
	return len(s.keys) - 1
}

func (s *ruleSet) conditionsOf(r Rule) []int {
	var need []int
	same := func(all map[string]int, value string) {
		value = strings.ToLower(value)
		if _, ok := all[value]; !ok {
			all[value] = s.bit()
		}
		need = append(need, all[value])
	}
	for _, key := range slices.Sorted(maps.Keys(r.Tags)) {
		same(s.tags[s.key(key)], r.Tags[key])
	}
	if r.SubAccount != "" {
		same(s.subAccounts, r.SubAccount)
	}
	if r.Service != "" {
		same(s.services, r.Service)
	}
	if r.Provider != "" {
		same(s.providers, r.Provider)
	}
	for _, g := range []struct {
		pattern string
		into    *[]resourceGlob
	}{{r.Resource, &s.resources}, {r.Description, &s.descriptions}} {
		if g.pattern != "" {
			bit := s.bit()
			*g.into = append(*g.into, resourceGlob{glob(g.pattern), bit})
			need = append(need, bit)
		}
	}
	return need
}

// reads reports whether the rules use a column that is not always read.
func (s *ruleSet) reads(c column) bool {
	switch c { //nolint:exhaustive // The others are read always.
	case colSubAccountName:
		return len(s.subAccounts) > 0 || s.namedSubAccount >= 0
	case colProvider, colProviderName:
		return len(s.providers) > 0
	case colResource:
		return len(s.resources) > 0
	case colTags:
		return len(s.keys) > 0
	case colDescription:
		return len(s.descriptions) > 0
	case colQuantity, colUnit:
		return len(s.gpus) > 0
	case colBillingAccountType:
		return false // It is only read if a file has running totals.
	case colPricingCurrency, colExchangeRate:
		return s.invoiceRates
	}
	return true
}

// setText sets the bit of a text.
func setText(b flags, all map[string]int, text string) {
	if len(all) == 0 || text == "" {
		return
	}
	if bit, ok := all[strings.ToLower(text)]; ok {
		b.set(bit)
	}
}

// setTag sets the bit of a tag's value. Nearly every row may have another value, so it allocates nothing.
func setTag(b flags, all map[string]int, value []byte) {
	if len(all) == 0 {
		return
	}
	var space [64]byte
	lower := space[:0]
	for _, c := range value {
		if c >= utf8.RuneSelf {
			setText(b, all, string(value))
			return
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower = append(lower, c)
	}
	if bit, ok := all[string(lower)]; ok {
		b.set(bit)
	}
}

// tagsOf sets the bits of tags and returns the values of the keys. It reports whether the text could be read. decode
// returns the text of the field.
func (s *ruleSet) tagsOf(field []byte, decode func([]byte) []byte, b flags, values [][]byte) bool {
	clear(values)
	found := func(key, value []byte) {
		key = bytes.TrimSpace(key)
		for i, wanted := range s.keys {
			if values[i] == nil && bytes.EqualFold(wanted, key) {
				if value = bytes.TrimSpace(value); len(value) > 0 {
					values[i] = value
				}
			}
		}
	}
	read := readEscaped(field, found)
	if !read {
		clear(values)
		if read = readTags(decode(field), found); !read {
			clear(values) // A text that was read only partly is not trusted.
		}
	}
	for i, value := range values {
		if value == nil {
			continue
		}
		if s.present[i] >= 0 {
			b.set(s.present[i])
		}
		setTag(b, s.tags[i], value)
	}
	return read
}

// glob is the regular expression of a glob, in which * matches any text and ? one character.
func glob(pattern string) *regexp.Regexp {
	quoted := regexp.QuoteMeta(pattern)
	quoted = strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(quoted)
	return regexp.MustCompile(`(?is)^(?:` + quoted + `)$`)
}
