package labels

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// Results of a prediction for a class.
const (
	right = iota
	wrong
	missed
	results
)

// Values of the labels result and part.
var (
	resultNames = [results]string{"right", "wrong", "missed"}
	partNames   = [2]string{Earlier, Later}
)

// cell is a bin in one half of the window.
type cell struct {
	bin  string
	part int
}

// byBin returns the counts of every bin, for each class or for the errors. A class has all bins of its segment, including empty ones,
// because a rule cannot add series that are absent.
func (t *Table) byBin(groups []tables.Labelled) (m exporter.Metrics) {
	if t.Columns.Numeric {
		return t.errorsByBin(groups)
	}
	type class struct {
		segment
		class string
	}
	counts, bins := make(map[class]map[cell]*[results]int64), make(map[segment][]string)
	count := func(c class, g *tables.Labelled, result int) {
		if counts[c] == nil {
			counts[c] = make(map[cell]*[results]int64)
		}
		at := cellOf(g)
		if counts[c][at] == nil {
			counts[c][at] = new([results]int64)
		}
		counts[c][at][result] += g.Rows
		if !slices.Contains(bins[c.segment], g.Bin) {
			bins[c.segment] = append(bins[c.segment], g.Bin)
		}
	}
	for i := range groups {
		g := &groups[i]
		if g.Rows == 0 || g.Bin == "" {
			continue
		}
		in := func(name string) class {
			s, name := t.segment(*g), t.Classes.Fold(className(name))
			if t.Binned.Fold(s.model+"\x1f"+s.version.version+"\x1f"+s.name+"\x1f"+name) == limit.Other {
				s.name, name = foldedSegment(s.name), limit.Other
			}
			return class{s, name}
		}
		predicted := in(g.Predicted)
		if g.Predicted == g.Actual {
			count(predicted, g, right)
			continue
		}
		count(predicted, g, wrong)
		// A missed prediction of the class "other" is unknown: it combines several classes.
		if actual := in(g.Actual); actual.class != limit.Other {
			count(actual, g, missed)
		}
	}
	for c, cells := range counts {
		for _, bin := range bins[c.segment] {
			for part, partName := range partNames {
				n := cells[cell{bin, part}]
				for result, name := range resultNames {
					rows := int64(0)
					if n != nil {
						rows = n[result]
					}
					m.Gauge(t.descs.calibration, float64(rows), c.model, c.version.version, c.name, c.class, bin, name, partName)
				}
			}
		}
	}
	return m
}

// className returns the name that spans use for a class: 1 for a database that writes integers as 1.0.
func className(name string) string {
	whole, ok := strings.CutSuffix(name, ".0")
	if _, err := strconv.ParseInt(whole, 10, 64); ok && err == nil {
		return whole
	}
	return name
}

// foldedSegment returns the segment for values beyond the limit; a table without segments has none.
func foldedSegment(name string) string {
	if name == "" {
		return ""
	}
	return limit.Other
}

func (t *Table) errorsByBin(groups []tables.Labelled) (m exporter.Metrics) {
	type binned struct {
		segment
		cell
	}
	counts := make(map[binned]sums)
	for i := range groups {
		g := &groups[i]
		if g.Rows == 0 {
			continue
		}
		s := t.segment(*g)
		if t.Binned.Fold(s.model+"\x1f"+s.version.version+"\x1f"+s.name) == limit.Other {
			s.name = foldedSegment(s.name)
		}
		at := binned{s, cellOf(g)}
		n := counts[at]
		counts[at] = sums{n.rows + g.Rows, n.absolute + g.AbsoluteError, n.squared + g.SquaredError}
	}
	for b, n := range counts {
		of := []string{b.model, b.version.version, b.name, b.bin, partNames[b.part]}
		m.Gauge(t.descs.binRows, float64(n.rows), of...)
		m.Gauge(t.descs.binAbsolute, n.absolute, of...)
		m.Gauge(t.descs.binSquared, n.squared, of...)
	}
	return m
}

func cellOf(g *tables.Labelled) cell {
	if g.Later {
		return cell{g.Bin, 1}
	}
	return cell{g.Bin, 0}
}
