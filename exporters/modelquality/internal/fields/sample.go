package fields

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/keep"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// sample holds the first inferences of a version until bins exist. Then it counts them, so that none is lost and the counts of several
// replicas have the same sum as those of one.
type sample struct {
	names []string
	index keep.Map[keep.Name, int]
	rows  [][]cell
	cells int
	// texts interns the texts.
	texts keep.Map[keep.Name, string]
	// withoutVectors stores an embedding as a value without a distribution.
	withoutVectors bool
}

type cell struct {
	field int
	value otlp.Value
}

// Memory limits of a sample, in addition to the number of cells.
const (
	maxText  = 256  // bytes; a longer text is not a category
	maxTexts = 5000 // distinct texts
)

func newSample() *sample { return &sample{} }

// cellBytes is the memory of a value. An embedding counts as its size in cells.
const cellBytes = 40

// add stores one inference if its values fit into free cells, and returns the cells that it uses. An inference whose embedding does not fit
// is not stored, because it would count as an inference without an embedding.
func (s *sample) add(features []convention.Feature, p otlp.Value, conf float64, free int) int {
	row, cells := make([]cell, 0, len(features)+2), 0
	for i := range features {
		if features[i].Value.Kind == otlp.Vector && !s.withoutVectors {
			free -= features[i].Value.Size() / cellBytes
			cells += features[i].Value.Size() / cellBytes
		}
	}
	if free < 0 {
		return 0
	}
	put := func(name, prefix string, v otlp.Value) {
		if len(row) < free {
			if n, ok := s.number(name, prefix); ok {
				row = append(row, cell{n, s.copyValue(v)})
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
	n, ok := s.index.Get(keep.Name(name))
	if !ok && len(s.names) < maxFields {
		return s.index.Put(keep.Name(name), func(kept keep.Name) int {
			s.names = append(s.names, string(kept))
			return len(s.names) - 1
		}), true
	}
	return n, ok
}

// copyValue copies a value, so that it does not keep the request in memory.
func (s *sample) copyValue(v otlp.Value) otlp.Value {
	switch {
	case v.Kind == otlp.String:
	case v.Kind == otlp.List, v.Kind == otlp.Map, v.Kind == otlp.Bytes, v.Kind == otlp.Vector && s.withoutVectors:
		return otlp.Value{Kind: v.Kind} // fields of these kinds have no bins, and the value may be large
	default:
		return v.Clone()
	}
	text := v.Text()
	if len(text) > maxText {
		// Two long texts with the same beginning are equal here; a field with such texts has no bins.
		return otlp.StringValue(s.text(text[:maxText+1]))
	}
	return otlp.StringValue(s.text(text))
}

func (s *sample) text(text string) string {
	known, ok := s.texts.Get(keep.Name(text))
	switch {
	case ok:
		return known
	case s.texts.Len() < maxTexts:
		return s.texts.Put(keep.Name(text), func(kept keep.Name) string { return string(kept) })
	}
	return keep.Copy(text).String()
}

// replay counts the stored inferences.
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

// cut chooses bins for each field in the sample, by the rules that package tables applies to columns. left has the reasons of the fields
// without bins.
func (s *sample) cut(choice tables.Choice) (layouts map[string]binning.Layout, left map[string]string) {
	values := s.byField()
	embeddings, withoutCentroid := make(map[string]binning.Layout), make(map[string]string)
	others := hourOutline{Fields: make(map[string]marginal)}
	for n, name := range s.names {
		if !slices.ContainsFunc(values[n], func(v otlp.Value) bool { return v.Dimensions() > 0 }) {
			others.Fields[name] = marginalOf(values[n])
		} else if l, ok := embeddingLayout(values[n], choice); ok {
			embeddings[name] = l
		} else {
			withoutCentroid[name] = leftEmbedding
		}
	}
	layouts, left = cutDays([]outline{{others}}, baseline.Definition{Edges: baseline.EdgesProduction, Fields: embeddings}, choice)
	for name, l := range layouts {
		if l.Ranged {
			layouts[name] = widen(l, others.Fields[name].Numbers)
		}
	}
	maps.Copy(left, withoutCentroid)
	return layouts, left
}

// byField returns the values of each field, in the order of the names.
func (s *sample) byField() [][]otlp.Value {
	values := make([][]otlp.Value, len(s.names))
	for _, row := range s.rows {
		for _, x := range row {
			values[x.field] = append(values[x.field], x.value)
		}
	}
	return values
}

// widen widens the range of intervals that were cut from a sample of numbers in ascending order. A sample rarely has the extremes of all
// data, so the range ends as far beyond each extreme of the sample as this is from the median.
func widen(l binning.Layout, numbers []float64) binning.Layout {
	least, median, most := numbers[0], numbers[len(numbers)/2], numbers[len(numbers)-1]
	first, last := &l.Edges[0], &l.Edges[len(l.Edges)-1]
	*first, *last = max(min(*first, least-(median-least)), -math.MaxFloat64), min(max(*last, most+(most-median)), math.MaxFloat64)
	return l
}
