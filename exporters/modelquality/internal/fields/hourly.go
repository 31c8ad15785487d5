package fields

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// Limits of the sample of an hour: inferences, and their values. 400 inferences an hour are 288 000 in 30 days, and 8 800 in the same hour of
// 22 weekdays.
const (
	hourRows  = 400
	hourCells = 6000
)

// hourly is a uniform sample of the inferences of a version since it was last taken, from which refined bins are cut. The keeper takes it
// every hour. Once it is full, it is algorithm L of Li, "Reservoir-Sampling Algorithms of Time Complexity O(n(1+log(N/n)))" (ACM
// Transactions on Mathematical Software 20, 1994): next is the number of the inference that replaces another one.
type hourly struct {
	sample
	most       int // cells
	size       int
	seen, next int64
	weight     float64
	random     *rand.Rand
}

func newHourly(most int) *hourly {
	return &hourly{sample: sample{withoutVectors: true}, most: most, weight: 1, random: rand.New(rand.NewPCG(1, 2))} //nolint:gosec // A sample needs no secret.
}

// see adds an inference if its turn has come.
func (h *hourly) see(features []convention.Feature, p otlp.Value, conf float64) {
	h.seen++
	if h.seen < h.next {
		return
	}
	if h.size == 0 {
		h.size = min(hourRows, max(h.most/(len(features)+2), 1))
	}
	if h.add(features, p, conf, 2*h.most-h.cells) == 0 {
		return
	}
	last := len(h.rows) - 1
	if last >= h.size {
		replaced := h.random.IntN(h.size)
		h.cells -= len(h.rows[replaced])
		h.rows[replaced] = h.rows[last]
		h.rows = h.rows[:last]
	}
	if len(h.rows) == h.size {
		h.weight *= math.Exp(math.Log(1-h.random.Float64()) / float64(h.size))
		skipped := math.Log(1-h.random.Float64()) / math.Log1p(-h.weight)
		h.next = h.seen + 1 + int64(min(skipped, math.MaxInt32))
	}
}

// take returns the sampled values of each field and starts a new sample, of at most so many cells. counted are the counts of the same time.
func (h *hourly) take(counted baseline.Counts, most int) map[string]marginal {
	marginals := make(map[string]marginal, len(h.names))
	values, withFeatures := h.byField(), 0
	for _, row := range h.rows {
		if slices.ContainsFunc(row, func(x cell) bool { return isInput(h.names[x.field]) }) {
			withFeatures++
		}
	}
	for n, name := range h.names {
		of := counted.Rows
		if bins, ok := counted.Fields[name]; ok {
			of = total(bins)
		}
		m := marginalOf(values[n])
		if isInput(name) {
			m.Nulls += int64(withFeatures - len(values[n]))
		}
		if m.Of = of; of > 0 {
			marginals[name] = m
		}
	}
	*h = hourly{sample: sample{withoutVectors: true}, most: most, weight: 1, random: h.random}
	return marginals
}

// marginal has the sampled values of one field in an hour, without their order: it does not tell which values belong to one inference.
type marginal struct {
	// Of is the number of values, missing ones included, that the sample stands for.
	Of    int64     `json:"of"`
	Class valueKind `json:"class"`
	Nulls int64     `json:"nulls,omitempty"`
	NaN   int64     `json:"nan,omitempty"`
	Inf   int64     `json:"inf,omitempty"`
	// Numbers are the finite values in ascending order.
	Numbers []float64 `json:"numbers,omitempty"`
	// Texts are texts and booleans with their frequencies, without long texts. If they look like identifiers, there are none. Values are all
	// of them, Long the long ones.
	Texts    map[string]int64 `json:"texts,omitempty"`
	Distinct int64            `json:"distinct,omitempty"`
	Values   int64            `json:"values,omitempty"`
	Long     int64            `json:"long,omitempty"`
}

// valueKind is the kind of a field's values in a sample.
type valueKind string

const (
	noValues valueKind = ""
	integers valueKind = "integer"
	floats   valueKind = "float"
	truths   valueKind = "boolean"
	texts    valueKind = "text"
	opaque   valueKind = "opaque"
)

// kindOf returns the kind of a value; missing values have none.
func kindOf(v otlp.Value) valueKind {
	switch v.Kind {
	case otlp.Empty:
		return noValues
	case otlp.Int:
		return integers
	case otlp.Double:
		return floats
	case otlp.Bool:
		return truths
	case otlp.String:
		return texts
	}
	return opaque
}

// and returns the kind of values of both kinds together.
func (k valueKind) and(o valueKind) valueKind {
	switch {
	case k == o || o == noValues:
		return k
	case k == noValues:
		return o
	case k == opaque || o == opaque:
		return opaque
	case k.isNumber() && o.isNumber():
		return floats
	}
	return texts
}

func (k valueKind) isNumber() bool { return k == integers || k == floats }

func (k valueKind) column(name string) tables.Column {
	class := map[valueKind]tables.Class{integers: tables.Integer, floats: tables.Float, truths: tables.Boolean, texts: tables.Text}[k]
	return tables.Column{Name: name, Type: string(k), Class: class}
}

func marginalOf(values []otlp.Value) (m marginal) {
	for _, v := range values {
		m.Class = m.Class.and(kindOf(v))
	}
	if m.Class == opaque {
		return m
	}
	for _, v := range values {
		f, _ := v.Number()
		switch {
		case v.Kind == otlp.Empty:
			m.Nulls++
		case !m.Class.isNumber():
			m.Values++
			text := strings.ToValidUTF8(string(v.Append(nil)), "\uFFFD")
			if len(text) > maxText || strings.ContainsRune(text, 0) {
				m.Long++
				continue
			}
			if m.Texts == nil {
				m.Texts = make(map[string]int64)
			}
			m.Texts[text]++
		case math.IsNaN(f):
			m.NaN++
		case math.IsInf(f, 0):
			m.Inf++
		default:
			m.Numbers = append(m.Numbers, f)
		}
	}
	slices.Sort(m.Numbers)
	m.Distinct = int64(len(m.Texts)) + m.Long
	if (tables.ColumnOutline{Values: m.Values, Distinct: m.Distinct}).Unique() {
		m.Texts = nil
	}
	return m
}

// asTexts returns numbers as texts, for a field that has both.
func (m marginal) asTexts() marginal {
	if !m.Class.isNumber() {
		return m
	}
	m.Texts = make(map[string]int64)
	for _, f := range m.Numbers {
		m.Texts[string(otlp.DoubleValue(f).Append(nil))]++
	}
	m.Nulls += m.NaN + m.Inf
	m.Distinct, m.Values = int64(len(m.Texts)), int64(len(m.Numbers))
	m.Class, m.Numbers, m.NaN, m.Inf = texts, nil, 0, 0
	return m
}

// cells is the memory of the values, in numbers of eight bytes.
func (m marginal) cells() int { return len(m.Numbers) + 8*len(m.Texts) + 8 }

// count counts the values by the bins of a field, and scales the counts to the values that the sample stands for.
func (m marginal) count(f *field) map[string]int64 {
	sampled := make([]int64, len(f.bins))
	sampled[0] = m.Nulls
	add := func(v otlp.Value, n int64) {
		if n > 0 {
			sampled[f.bin(v)] += n
		}
	}
	add(otlp.DoubleValue(math.NaN()), m.NaN)
	add(otlp.DoubleValue(math.Inf(1)), m.Inf)
	for _, number := range m.Numbers {
		if m.Class == integers {
			add(otlp.IntValue(int64(number)), 1)
		} else {
			add(otlp.DoubleValue(number), 1)
		}
	}
	for text, n := range m.Texts {
		add(otlp.StringValue(text), n)
	}
	if f.categorical {
		sampled[f.unseen] += m.Values - total(m.Texts)
	}
	var all int64
	for _, n := range sampled {
		all += n
	}
	counts := make(map[string]int64, len(f.bins))
	var below, counted int64 // Rounding the sums keeps the total.
	for i, bin := range f.bins {
		below += sampled[i]
		upTo := int64(math.Round(float64(below) / float64(max(all, 1)) * float64(m.Of)))
		counts[bin], counted = upTo-counted, upTo
	}
	return counts
}

// total returns the sum of counts.
func total(bins map[string]int64) (sum int64) {
	for _, n := range bins {
		sum += n
	}
	return sum
}

// outline is the sample of one day. An hour in which two versions served has an element for each.
type outline []hourOutline

type hourOutline struct {
	Hour   int                 `json:"hour"` // 0 to 23, UTC
	Fields map[string]marginal `json:"fields"`
}

// kindsOf returns the kinds of the fields. A field with more than one long text in a hundred has no categories.
func kindsOf(days []outline) map[string]valueKind {
	kinds, values, long := make(map[string]valueKind), make(map[string]int64), make(map[string]int64)
	for _, o := range days {
		for _, h := range o {
			for name, m := range h.Fields {
				kinds[name] = kinds[name].and(m.Class)
				values[name] += m.Values
				long[name] += m.Long
			}
		}
	}
	for name := range kinds {
		if long[name]*100 > values[name] {
			kinds[name] = opaque
		}
	}
	return kinds
}

// columns returns the input for choosing bins, by the fields' names without their role. Numbers in a field that has texts too are texts.
func (o outline) columns(kinds map[string]valueKind, choice tables.Choice) tables.Outline {
	numbers, merged := make(map[string][]float64), make(map[string]tables.ColumnOutline)
	for _, h := range o {
		for name, m := range h.Fields {
			switch {
			case kinds[name] == opaque:
			case kinds[name].isNumber():
				numbers[name] = append(numbers[name], m.Numbers...)
			default:
				merged[name] = m.asTexts().addTo(merged[name])
			}
		}
	}
	out := tables.Outline{Columns: make(map[string]tables.ColumnOutline)}
	for name, all := range numbers {
		column, _ := labels(name)
		out.Columns[column] = tables.OutlineOf(kinds[name].column(column), tables.VirtualValues{Null: make([]bool, len(all)), Numbers: all}, choice)
	}
	for name, c := range merged {
		if c.Categories != nil && !c.More {
			c.Distinct = int64(len(c.Categories))
		}
		column, _ := labels(name)
		out.Columns[column] = c
	}
	for _, c := range out.Columns {
		out.Rows = max(out.Rows, c.Values)
	}
	return out
}

// addTo adds the texts of an hour to the outline of a day.
func (m marginal) addTo(c tables.ColumnOutline) tables.ColumnOutline {
	c.Values += m.Values
	c.Distinct += m.Distinct
	c.More = c.More || total(m.Texts) < m.Values
	if c.Categories == nil {
		c.Categories = make(map[string]int64)
	}
	for text, n := range m.Texts {
		if len(c.Categories) >= maxTexts && c.Categories[text] == 0 {
			c.More = true
			continue
		}
		c.Categories[text] += n
	}
	return c
}
