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

// ruleSet is what rules say, by condition: each has a bit, which the value of a column sets. A rule holds where all of its
// bits are set, so that what a value means is worked out once, whatever the values of the other columns.
type ruleSet struct {
	conditions int
	rules      []compiled
	watching   []flags
	metered    []flags
	gpus       []flags
	gpusOf     []float64
	// invoiceRates says that lines may have their own exchange rate.
	invoiceRates bool
	// keys are those of the tags that matter, in lower case.
	keys [][]byte
	// tags are the bits by key and value; present those that a tag with any value sets, -1 for none.
	tags    []map[string]int
	present []int
	// The others by text in lower case.
	subAccounts, services, providers map[string]int
	resources, descriptions          []resourceGlob
	namedSubAccount                  int
}

type compiled struct {
	need flags
	// department is the name, unless tag is the index of a key, or subAccount is set.
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

// key is the index of a tag's key.
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

// reads are the columns, beside those that are always read, that the rules look at.
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
		return false // It is looked at where a file has running totals.
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

// setTag does so for the value of a tag, of which nearly every line may have another: nothing is made of it.
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

// tagsOf sets the bits of tags, and returns the values of the keys; it says whether the text could be read. The text is what
// decode makes of the field.
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
			clear(values) // Half of what it says is not what it says.
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

// glob is a regular expression of a glob, in which * stands for any text and ? for one character.
func glob(pattern string) *regexp.Regexp {
	quoted := regexp.QuoteMeta(pattern)
	quoted = strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(quoted)
	return regexp.MustCompile(`(?is)^(?:` + quoted + `)$`)
}
