package tables

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// sampleRows is the number of rows above which the outline of a virtual table is computed from a sample. The estimates of a database
// for a large table are no more accurate.
const sampleRows = 200_000

// virtualOutline computes the outline of a virtual table: exactly what Outline queries from a database.
func virtualOutline(r Relation, schema []Column, w Window, choice Choice) (Outline, error) {
	candidates, _ := choice.candidates(schema, r.Time)
	values, err := r.virtual.Sample(w, candidates, sampleRows)
	if err != nil {
		return Outline{}, err
	}
	o := Outline{Columns: make(map[string]ColumnOutline, len(candidates))}
	for i, c := range candidates {
		o.Rows = int64(len(values[i].Null))
		o.Columns[c.Name] = OutlineOf(c, values[i], choice)
	}
	return o, nil
}

// OutlineOf computes the outline of one column from values that the program has in memory.
func OutlineOf(c Column, v VirtualValues, choice Choice) ColumnOutline {
	if v.Names != nil {
		return outlineOfTexts(c, v, choice)
	}
	return outlineOfNumbers(c, v, choice)
}

func outlineOfTexts(c Column, v VirtualValues, choice Choice) ColumnOutline {
	counts := make([]int64, len(v.Names))
	for i, id := range v.Texts {
		if !v.Null[i] {
			counts[id]++
		}
	}
	categories := make(map[string]int64)
	var o ColumnOutline
	for id, n := range counts {
		name := v.Names[id]
		if c.Class == Boolean {
			name = strconv.FormatBool(name == "true")
		}
		if n > 0 {
			categories[name] += n
			o.Values += n
		}
	}
	o.Distinct = int64(len(categories))
	if c.Class != Text || MatchesAny(choice.Include, c.Name) || !o.Unique() && o.Distinct <= binning.MaxKnown {
		o.count(categories)
	}
	return o
}

func outlineOfNumbers(c Column, v VirtualValues, choice Choice) ColumnOutline {
	values := make([]float64, 0, len(v.Numbers))
	for i, x := range v.Numbers {
		if !v.Null[i] {
			values = append(values, x)
		}
	}
	sortFloats(values)
	o := ColumnOutline{Values: int64(len(values))}
	for i, x := range values {
		if i == 0 || x != values[i-1] && !math.IsNaN(x) {
			o.Distinct++
		}
	}
	if !c.Class.isNumber() {
		return o
	}
	if c.Class == Integer && o.Distinct <= int64(choice.Top) {
		categories := make(map[string]int64, o.Distinct)
		for _, x := range values {
			categories[strconv.FormatInt(int64(x), 10)]++
		}
		o.count(categories)
	}
	finite := slices.DeleteFunc(values, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) })
	if len(finite) == 0 {
		return o
	}
	o.Moments = momentsOfSorted(finite)
	for _, p := range probabilities() {
		o.Quantiles = append(o.Quantiles, finite[int(float64(len(finite)-1)*p)])
	}
	return o
}

// count sets the most frequent categories, like Source.categories.
func (o *ColumnOutline) count(categories map[string]int64) {
	names := slices.Sorted(maps.Keys(categories))
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(categories[b], categories[a]) })
	o.Categories = make(map[string]int64)
	for _, name := range names[:min(len(names), binning.MaxKnown+1)] {
		if valid := strings.ToValidUTF8(name, "\uFFFD"); len(o.Categories) == binning.MaxKnown || strings.ContainsRune(name, 0) || valid != name {
			o.More = true
			continue
		}
		o.Categories[name] = categories[name]
	}
}

// momentsOfSorted returns the moments of the values below measurableFloat, or nil if there are none.
func momentsOfSorted(values []float64) *Moments {
	var m Moments
	sum := 0.0
	for _, x := range values {
		if math.Abs(x) < measurableFloat {
			if m.Values == 0 {
				m.Min = x
			}
			m.Max = x
			m.Values++
			sum += x
		}
	}
	if m.Values == 0 {
		return nil
	}
	m.Mean = sum / float64(m.Values)
	squares := 0.0
	for _, x := range values {
		if math.Abs(x) < measurableFloat {
			squares += (x - m.Mean) * (x - m.Mean)
		}
	}
	m.Stddev = math.Sqrt(squares / float64(m.Values))
	return &m
}

// sortFloats sorts like slices.Sort, NaN first, in a fifth of the time. It is a radix sort by sixteen bits, the lowest first.
func sortFloats(v []float64) {
	if len(v) < 1<<12 {
		slices.Sort(v)
		return
	}
	const sign = 1 << 63
	keys, other := make([]uint64, len(v)), make([]uint64, len(v))
	for i, x := range v {
		switch bits := math.Float64bits(x + 0); { // -0 becomes 0.
		case math.IsNaN(x):
			keys[i] = 0
		case bits&sign != 0:
			keys[i] = ^bits
		default:
			keys[i] = bits | sign
		}
	}
	var ends [1 << 16]int32
	for shift := 0; shift < 64; shift += 16 {
		clear(ends[:])
		for _, k := range keys {
			ends[k>>shift&0xffff]++
		}
		if ends[keys[0]>>shift&0xffff] == int32(len(keys)) {
			continue
		}
		at := int32(0)
		for d, n := range ends {
			ends[d] = at
			at += n
		}
		for _, k := range keys {
			d := k >> shift & 0xffff
			other[ends[d]] = k
			ends[d]++
		}
		keys, other = other, keys
	}
	for i, k := range keys {
		switch {
		case k == 0:
			v[i] = math.NaN()
		case k&sign != 0:
			v[i] = math.Float64frombits(k &^ sign)
		default:
			v[i] = math.Float64frombits(^k)
		}
	}
}
