package bill

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Bounds of the memory that one file can use. Real bills have some thousands of groups by day, department and service.
// There are more if a rule takes the department from a tag that differs in every row.
const (
	maxNames   = 20_000  // different departments, services and categories
	maxGroups  = 100_000 // different sums
	maxMoments = 1 << 14 // different times that are remembered
	maxValue   = 200     // bytes of a value in a report
)

// Other is the department and the service of rows above those bounds.
const Other = "other"

// tally adds up records. The meaning of each different text is computed once.
type tally struct {
	reader *Reader
	rules  *ruleSet
	layout layout
	file   string
	// decode returns the text of a field. For CSV it removes the quotes.
	decode func([]byte) []byte

	instants                                                    *memo[instant]
	currencies, services, codes, categories, subcategories      *memo[word]
	subAccounts, subAccountNames, billingAccounts, accountTypes *memo[word]
	providers, providerNames, ids                               *memo[word]
	kinds, classes, descriptions, units, pricing                *memo[word]
	rates                                                       *memo[ownRate]
	tags                                                        *memo[tagged]

	names   map[string]uint32
	byTag   map[string]uint32
	texts   []string
	moments map[moment]*booking
	groups  map[group]*sum
	covered map[int64]*covered // by billing period
	// accounts are the numbers of accounts. They do not count as names, whose number is bounded.
	accounts map[string]uint32
	bits     flags
	none     flags // no bit set
	values   [][]byte
	absent   []byte

	// unallocated and ruled are the numbers of the departments: of rows without a rule, and of each rule.
	unallocated uint32
	ruled       []uint32
	through     int64
	sheet       Sheet
}

// word is a text with the number of its name and the bits that it sets in the rules.
type word struct {
	text string
	id   uint32
	// number is the number of an account.
	number uint32
	bits   flags
	// watches means that the text is FOCUS's subcategory Observability.
	watches bool
}

// tagged is the result of the rules for tags.
type tagged struct {
	bits   flags
	ids    []uint32 // department numbers of the values of the keys
	unread bool
}

// group has the fields that are equal in rows that are added up. It has no padding, so that hashing it is fast.
type group struct {
	period                                  int64 // Unix nanoseconds
	day, rateDay                            int32 // days since 1970
	currency, department, service, category uint32
	rate                                    uint32 // number of the invoice's own rate, by its text
	kind                                    uint32 // bits: watching, running, metered
	total                                   uint64 // the number of a running total, 0 for none
}

// Kinds of groups.
const (
	watching = 1 << iota
	running
	metered
)

type sum struct {
	amount amount
	rows   int64
	// charges means that there are rows other than corrections and credits.
	charges  bool
	gpuHours float64
}

// noName is the number of the empty text.
const noName = 0

func newTally(r *Reader, file string, l layout, decode func([]byte) []byte) *tally {
	t := &tally{
		reader: r, rules: r.rules, layout: l, file: file, decode: decode, names: map[string]uint32{"": noName}, byTag: map[string]uint32{}, texts: []string{""},
		moments: map[moment]*booking{}, groups: map[group]*sum{}, covered: map[int64]*covered{}, accounts: map[string]uint32{},
		bits: newFlags(r.rules.conditions), none: newFlags(r.rules.conditions), values: make([][]byte, len(r.rules.keys)),
	}
	t.unallocated = t.name(Unallocated)
	for _, rule := range r.rules.rules {
		t.ruled = append(t.ruled, t.department(rule.department))
	}
	t.instants = newMemo(func(raw []byte, m *instant) {
		*m = parseInstant(t.value(raw))
	})
	words := func(all map[string]int) *memo[word] {
		return newMemo(func(raw []byte, w *word) {
			w.text = strings.ToValidUTF8(string(t.value(raw)), "�")
			w.id = t.name(w.text)
			w.watches = strings.EqualFold(w.text, "Observability")
			w.bits = append(w.bits[:0], t.none...)
			setText(w.bits, all, w.text)
		})
	}
	t.services, t.codes, t.categories, t.subcategories = words(t.rules.services), words(t.rules.services), words(nil), words(nil)
	t.kinds, t.classes = words(nil), words(nil)
	t.providers, t.providerNames = words(t.rules.providers), words(t.rules.providers)
	t.currencies = newMemo(func(raw []byte, w *word) {
		w.text = strings.ToUpper(string(t.value(raw)))
		w.id = noName
		if isCurrency(w.text) {
			w.id = t.name(w.text)
		}
	})
	accounts := func(numbered bool) *memo[word] {
		return newMemo(func(raw []byte, w *word) {
			w.text = strings.ToValidUTF8(string(t.value(raw)), "�")
			w.bits = append(w.bits[:0], t.none...)
			setText(w.bits, t.rules.subAccounts, w.text)
			w.id = noName
			if numbered {
				w.number = t.accountNumber(w.text)
			}
			if w.text != "" && t.rules.namedSubAccount >= 0 {
				w.bits.set(t.rules.namedSubAccount)
				w.id = t.department(w.text)
			}
		})
	}
	t.subAccounts, t.subAccountNames, t.billingAccounts = accounts(true), accounts(false), accounts(true)
	globs := func(all []resourceGlob) *memo[word] {
		return newMemo(func(raw []byte, w *word) {
			text := t.value(raw)
			w.bits = append(w.bits[:0], t.none...)
			for _, g := range all {
				if g.pattern.Match(text) {
					w.bits.set(g.bit)
				}
			}
		})
	}
	t.ids, t.descriptions = globs(t.rules.resources), globs(t.rules.descriptions)
	t.units, t.pricing, t.accountTypes = words(nil), words(nil), words(nil)
	t.rates = newMemo(t.readRate)
	t.tags = newMemo(func(raw []byte, m *tagged) {
		m.bits = append(m.bits[:0], t.none...)
		m.ids = m.ids[:0]
		m.unread = !t.rules.tagsOf(raw, t.value, m.bits, t.values)
		for i, value := range t.values {
			id := uint32(noName)
			if value != nil && t.rules.present[i] >= 0 {
				id = t.tagged(value)
			}
			m.ids = append(m.ids, id)
		}
	})
	return t
}

// isCurrency reports whether a text has the form of an ISO 4217 code.
func isCurrency(code string) bool {
	return len(code) == 3 && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// value is the text of a field, empty for NULL.
func (t *tally) value(raw []byte) []byte {
	v := bytes.TrimSpace(t.decode(raw))
	if len(v) == 4 && bytes.EqualFold(v, []byte("NULL")) {
		return nil
	}
	return v
}

// name returns the number of a text.
func (t *tally) name(text string) uint32 {
	if id, ok := t.names[text]; ok {
		return id
	}
	if len(t.texts) >= maxNames {
		text = Other
		if id, ok := t.names[text]; ok {
			return id
		}
	}
	t.texts = append(t.texts, text)
	t.names[text] = uint32(len(t.texts) - 1)
	return uint32(len(t.texts) - 1)
}

// department returns the number of a department, with the spelling of the configuration.
func (t *tally) department(name string) uint32 {
	name = strings.ToValidUTF8(name, "�")
	return t.name(t.reader.spell(name))
}

// tagged returns the number of the department of a tag's value. There are few values, even if the tags of all rows
// differ.
func (t *tally) tagged(value []byte) uint32 {
	id, ok := t.byTag[string(value)]
	if !ok {
		id = t.department(string(value))
		if len(t.byTag) < maxNames {
			t.byTag[string(value)] = id
		}
	}
	return id
}

// field is a column of a record. It is empty if the file lacks the column.
func (t *tally) field(fields [][]byte, c column) []byte {
	if i := t.layout[c]; i >= 0 {
		return fields[i]
	}
	return t.absent
}

// line adds a record of a CSV file.
func (t *tally) line(fields [][]byte, line int64) {
	raw := t.field(fields, colCost)
	if len(raw) > 0 && raw[0] == '"' {
		raw = t.decode(raw)
	}
	cost, ok := parseAmount(raw)
	t.add(fields, line, cost, ok, 1)
}

// add adds rows that are equal in all fields except their cost.
func (t *tally) add(fields [][]byte, line int64, cost amount, readable bool, rows int64) {
	t.sheet.Rows += rows
	if !readable {
		t.reject(rows, t.problem(fields, line, colCost, "a decimal number"))
		return
	}
	currency := t.currencies.get(t.field(fields, colCurrency)).id
	if currency == noName {
		t.reject(rows, t.problem(fields, line, colCurrency, "an ISO 4217 code"))
		return
	}
	m := moment{kind: t.kinds.get(t.field(fields, colChargeCategory)).id, class: t.classes.get(t.field(fields, colChargeClass)).id}
	slashed := false
	var times [3]instant
	for i, c := range [...]column{colPeriod, colStart, colEnd} {
		times[i] = *t.instants.get(t.field(fields, c))
		if !times[i].ok() {
			t.reject(rows, t.problem(fields, line, c, "a time such as 2026-01-31T00:00:00Z"))
			return
		}
		slashed = slashed || times[i].slashed
	}
	m.period, m.start, m.end = times[0].at, times[1].at, times[2].at
	if slashed {
		first, sure := monthFirst(times[0], times[1], times[2])
		if !sure {
			t.reject(rows, t.problem(fields, line, colStart, "a date of which its billing period tells which number is the month, or one such as 2026-01-31"))
			return
		}
		m.period, _ = times[0].in(first)
		m.start, _ = times[1].in(first)
		m.end, _ = times[2].in(first)
	}
	b, ok := t.moments[m]
	if !ok {
		if len(t.moments) >= maxMoments {
			t.forgetMoments()
		}
		b = t.book(m)
		t.moments[m] = b
	}
	if b.problem != nil {
		p := *b.problem
		p.File, p.Line = t.file, line
		t.reject(rows, p)
		return
	}
	g := group{period: b.period, day: b.day, rateDay: b.rateDay, currency: currency}
	if t.rules.invoiceRates {
		if g.rate, ok = t.rateOf(fields, currency); !ok {
			t.reject(rows, t.problem(fields, line, colExchangeRate, "a number above 0"))
			return
		}
	}
	if b.running {
		g.kind |= running
		t.through = max(t.through, m.end)
	}
	t.attribute(fields, rows, &g)
	hours, ok := t.gpuHours(fields, m)
	if !ok {
		t.reject(rows, t.problem(fields, line, colQuantity, "a decimal number"))
		return
	}
	if t.isTotal(fields) {
		g.total = t.identity(fields)
	}
	s := t.groups[g]
	if s == nil {
		if len(t.groups) >= maxGroups && g.total != 0 {
			t.reject(rows, t.problem(fields, line, colBillingAccountType, fmt.Sprintf("at most %d running totals in a file", maxGroups)))
			return
		}
		if len(t.groups) >= maxGroups {
			g.department, g.service, g.category = t.name(Other), t.name(Other), t.name(Other)
			s = t.groups[g]
		}
		if s == nil {
			s = &sum{}
			t.groups[g] = s
		}
	}
	s.amount.add(cost)
	s.rows += rows
	s.gpuHours += hours * float64(rows)
	s.charges = s.charges || !b.delta && cost.high >= 0
	if g.total == 0 {
		t.cover(b, fields, rows)
	}
}

// attribute determines which department pays for a record, and for what.
func (t *tally) attribute(fields [][]byte, rows int64, g *group) {
	t.bits.clear()
	service := t.services.get(t.field(fields, colService))
	if service.text == "" {
		service = t.codes.get(t.field(fields, colServiceCode))
	}
	g.service = service.id
	t.bits.or(service.bits)
	g.category = t.categories.get(t.field(fields, colCategory)).id
	var ids []uint32
	if t.rules.reads(colTags) {
		tags := t.tags.get(t.field(fields, colTags))
		t.bits.or(tags.bits)
		ids = tags.ids
		if tags.unread {
			t.sheet.UnreadTags += rows
		}
	}
	account := uint32(noName)
	if t.rules.reads(colSubAccountName) {
		id, name := t.subAccounts.get(t.field(fields, colSubAccount)), t.subAccountNames.get(t.field(fields, colSubAccountName))
		t.bits.or(id.bits)
		t.bits.or(name.bits)
		if account = name.id; name.text == "" {
			account = id.id
		}
	}
	if t.rules.reads(colProvider) {
		provider := t.providers.get(t.field(fields, colProvider))
		if provider.text == "" {
			provider = t.providerNames.get(t.field(fields, colProviderName))
		}
		t.bits.or(provider.bits)
	}
	if t.rules.reads(colResource) {
		t.bits.or(t.ids.get(t.field(fields, colResource)).bits)
	}
	if t.rules.reads(colDescription) {
		t.bits.or(t.descriptions.get(t.field(fields, colDescription)).bits)
	}
	g.department = t.unallocated
	for i := range t.rules.rules {
		if r := &t.rules.rules[i]; t.bits.all(r.need) {
			switch {
			case r.tag >= 0:
				g.department = ids[r.tag]
			case r.subAccount:
				g.department = account
			default:
				g.department = t.ruled[i]
			}
			break
		}
	}
	if t.subcategories.get(t.field(fields, colSubcategory)).watches || slices.ContainsFunc(t.rules.watching, t.bits.all) {
		g.kind |= watching
	}
	if len(t.rules.metered) == 0 || slices.ContainsFunc(t.rules.metered, t.bits.all) {
		g.kind |= metered
	}
}

// problem returns the report of a value.
func (t *tally) problem(fields [][]byte, line int64, c column, want string) Problem {
	value := t.value(t.field(fields, c))
	if c == colCurrency {
		value = bytes.ToUpper(value)
	}
	return Problem{File: t.file, Line: line, Column: t.reader.name(c), Value: string(value[:min(len(value), maxValue)]), Want: want}
}

// reject counts rows, and reports the first ones.
func (t *tally) reject(rows int64, p Problem) {
	t.sheet.Rejected += rows
	problems := t.sheet.Problems
	at, _ := slices.BinarySearchFunc(problems, p.Line, func(p Problem, line int64) int { return int(p.Line - line) })
	if at >= maxProblems {
		return
	}
	problems = slices.Insert(problems, at, p)
	t.sheet.Problems = problems[:min(len(problems), maxProblems)]
}

// noneName is the name of a missing service or category.
const noneName = "(none)"

// result is the sheet of all records.
func (t *tally) result() Sheet {
	groups := t.sorted()
	t.sheet.Periods = t.coverage()
	t.sheet.Lines = make([]Line, 0, len(groups))
	text := func(id uint32) string {
		if id == noName {
			return noneName
		}
		return t.texts[id]
	}
	for _, g := range groups {
		s := t.groups[g]
		period := time.Unix(0, g.period).UTC()
		t.sheet.Lines = append(t.sheet.Lines, Line{
			Period: period, Day: dateFrom(g.day), RateDay: dateFrom(g.rateDay), Currency: t.texts[g.currency], Department: t.texts[g.department],
			Service: text(g.service), Category: text(g.category), Observability: g.kind&watching != 0, Running: g.kind&running != 0,
			Metered: g.kind&metered != 0, Rate: rateFrom(t.texts[g.rate]), GPUHours: s.gpuHours,
			Amount: s.amount.decimal(), Rows: s.rows, Total: g.total,
		})
		if g.total != 0 {
			continue // A running total does not depend on the coverage of its file.
		}
		c := t.sheet.Periods[period]
		c.Charges = c.Charges || s.charges
		t.sheet.Periods[period] = c
	}
	if t.through > 0 {
		t.sheet.Through = time.Unix(0, t.through).UTC()
	}
	return t.sheet
}

// sorted are the groups ordered by name and not by their order in the file.
func (t *tally) sorted() []group {
	byName := make([]uint32, len(t.texts))
	for i := range byName {
		byName[i] = uint32(i)
	}
	slices.SortFunc(byName, func(a, b uint32) int { return strings.Compare(t.texts[a], t.texts[b]) })
	rank := make([]uint32, len(t.texts))
	for i, id := range byName {
		rank[id] = uint32(i)
	}
	return slices.SortedFunc(maps.Keys(t.groups), func(a, b group) int {
		return cmp.Or(cmp.Compare(a.period, b.period), cmp.Compare(a.day, b.day), cmp.Compare(a.rateDay, b.rateDay),
			cmp.Compare(rank[a.currency], rank[b.currency]), cmp.Compare(rank[a.department], rank[b.department]),
			cmp.Compare(rank[a.service], rank[b.service]), cmp.Compare(rank[a.category], rank[b.category]), cmp.Compare(rank[a.rate], rank[b.rate]), cmp.Compare(a.kind, b.kind), cmp.Compare(a.total, b.total))
	})
}
