package fields

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// sample keeps the first inferences of a version until there are bins to count them by. Then it counts them: nothing is
// lost, and what replicas count adds up to what one would have.
type sample struct {
	names []string
	index map[string]int
	rows  [][]cell
	cells int
	// texts has each text once.
	texts map[string]string
}

type cell struct {
	field int
	value otlp.Value
}

// Limits of a sample's memory, beside the number of cells.
const (
	maxText  = 256  // bytes; a longer text is no category
	maxTexts = 5000 // different ones
)

func newSample() *sample { return &sample{index: make(map[string]int), texts: make(map[string]string)} }

// cellBytes are those of a value, by which embeddings count for as many as they take the memory of.
const cellBytes = 40

// add keeps one inference, of at most room values, and returns how many it has. One whose embedding there is no room for is not
// kept: without it the embedding would be missing.
func (s *sample) add(features []convention.Feature, p otlp.Value, conf float64, room int) int {
	row, cells := make([]cell, 0, len(features)+2), 0
	for i := range features {
		if features[i].Value.Kind == otlp.Vector {
			room -= features[i].Value.Size() / cellBytes
			cells += features[i].Value.Size() / cellBytes
		}
	}
	if room < 0 {
		return 0
	}
	put := func(name, prefix string, v otlp.Value) {
		if len(row) < room {
			if n, ok := s.number(name, prefix); ok {
				row = append(row, cell{n, s.own(v)})
			}
		}
	}
	for i := range features {
		put(features[i].Name, input, features[i].Value)
	}
	if p.Kind != otlp.Empty {
		put(prediction, "", p)
	}
	if !math.IsNaN(conf) {
		put(confidence, "", otlp.DoubleValue(conf))
	}
	if len(row) == 0 {
		return 0
	}
	cells += len(row)
	s.rows = append(s.rows, slices.Clip(row))
	s.cells += cells
	return cells
}

func (s *sample) number(name, prefix string) (int, bool) {
	if len(name) > maxText {
		return 0, false
	}
	name = strings.ToValidUTF8(prefix+name, "\uFFFD")
	n, ok := s.index[name]
	if !ok && len(s.names) < maxFields {
		n, ok = len(s.names), true
		s.names = append(s.names, name)
		s.index[name] = n
	}
	return n, ok
}

// own makes a value that does not keep its request.
func (s *sample) own(v otlp.Value) otlp.Value {
	switch v.Kind {
	case otlp.String:
	case otlp.List, otlp.Map, otlp.Bytes:
		return otlp.Value{Kind: v.Kind} // no field of such has bins, and it may be large
	default:
		return v.Clone()
	}
	text := v.Text()
	if len(text) > maxText {
		// Two long texts that begin alike are the same to the sample; a field of such has no bins.
		return otlp.StringValue(s.text(text[:maxText+1]))
	}
	return otlp.StringValue(s.text(text))
}

func (s *sample) text(text string) string {
	known, ok := s.texts[text]
	if ok {
		return known
	}
	text = strings.Clone(text)
	if len(s.texts) < maxTexts {
		s.texts[text] = text
	}
	return text
}

// replay counts what was kept.
func (s *sample) replay(c *counters) {
	var features []convention.Feature
	for _, row := range s.rows {
		features = features[:0]
		p, conf := otlp.Value{}, math.NaN()
		for _, x := range row {
			switch name := s.names[x.field]; name {
			case prediction:
				p = x.value
			case confidence:
				conf, _ = x.value.Number()
			default:
				features = append(features, convention.Feature{Name: name[len(input):], Value: x.value})
			}
		}
		c.count(features, p, conf, false)
	}
}

// cut chooses bins for each field that was seen, by the same rules as package tables does for columns.
func (s *sample) cut(choice tables.Choice) map[string]binning.Layout {
	values := make([][]otlp.Value, len(s.names))
	for _, row := range s.rows {
		for _, x := range row {
			values[x.field] = append(values[x.field], x.value)
		}
	}
	layouts := make(map[string]binning.Layout)
	for n, name := range s.names {
		if len(layouts) == choice.MaxColumns || tables.MatchesAny(choice.Exclude, strings.TrimPrefix(name, input)) {
			continue
		}
		if l, ok := layoutOf(strings.TrimPrefix(name, input), values[n], choice); ok {
			layouts[name] = l
		}
	}
	return layouts
}

// fewValues is the number of values below which it says nothing that all of them differ.
const fewValues = 100

func layoutOf(name string, values []otlp.Value, choice tables.Choice) (binning.Layout, bool) {
	if slices.ContainsFunc(values, func(v otlp.Value) bool { return v.Kind == otlp.Vector }) {
		return embeddingLayout(values, choice)
	}
	number, whole := true, true
	frequency := make(map[string]int)
	var numbers []float64
	for _, v := range values {
		switch v.Kind {
		case otlp.Int:
			numbers = append(numbers, float64(v.Int()))
		case otlp.Double:
			f, _ := v.Number()
			numbers = append(numbers, f)
			whole = false
		case otlp.String, otlp.Bool:
			number, whole = false, false
		default:
			return binning.Layout{}, false
		}
		text := string(v.Append(nil))
		if len(text) > maxText || strings.ContainsRune(text, 0) {
			return binning.Layout{}, false
		}
		frequency[text]++
	}
	included := tables.MatchesAny(choice.Include, name)
	unique := len(values) >= fewValues && len(frequency)*4 >= len(values)*3
	switch {
	case number && (!whole || len(frequency) > choice.Top):
		if whole && unique && !included && identifies(name) {
			return binning.Layout{}, false
		}
		numbers = slices.DeleteFunc(numbers, func(f float64) bool { return math.IsNaN(f) || math.IsInf(f, 0) })
		return withRange(binning.NewNumeric(quantiles(numbers, choice.Bins), true), numbers), true
	case unique && !included:
		return binning.Layout{}, false
	}
	categories := sortedKeys(frequency)
	slices.SortStableFunc(categories, func(a, b string) int { return cmp.Compare(frequency[b], frequency[a]) })
	once := 0
	for _, n := range frequency {
		if n == 1 {
			once++
		}
	}
	// The share of values that the sample has once estimates the share that it has not (Good, "The population
	// frequencies of species", 1953). Where that is not little, a category that is new to the sample is not news.
	open := once*500 > len(values) || len(categories) > binning.MaxKnown
	return binning.NewCategorical(categories, choice.Top, open), true
}

// identifies tells a key from a measurement, which only its name can where all values differ.
func identifies(name string) bool {
	name = strings.ToLower(name)
	return name == "id" || strings.HasSuffix(name, "_id") || strings.HasSuffix(name, "_key") || strings.HasSuffix(name, "_uuid")
}

// withRange adds an interval beyond the range of the values, which are in order, on either side. What falls there was not
// learned. A sample does not have the extremes of all there is: the range is as far beyond its own as those are from the
// median, where hardly anything lies, whatever the tails.
func withRange(l binning.Layout, values []float64) binning.Layout {
	if len(values) == 0 || len(l.Edges) == 0 || len(l.Edges)+2 > binning.MaxEdges {
		return l
	}
	least, median, most := values[0], values[len(values)/2], values[len(values)-1]
	if under := least - (median - least); under < l.Edges[0] {
		l.Edges = slices.Insert(l.Edges, 0, under)
	}
	if above := most + (most - median); above > l.Edges[len(l.Edges)-1] {
		l.Edges = append(l.Edges, above)
	}
	return l
}
