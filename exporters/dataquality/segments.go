package dataquality

import (
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// SegmentConfig names parts of a dataset by the values of a column, or of two.
type SegmentConfig struct {
	SegmentColumn `yaml:",inline"`
	// By crosses the values with those of another column: a segment for each pair.
	By *SegmentColumn `yaml:"by,omitempty"`
}

// SegmentColumn is a column and those of its values that are told apart.
type SegmentColumn struct {
	Column string    `yaml:"column"`
	Values []Literal `yaml:"values"`
}

// segment is the part of a table whose rows have certain values.
type segment []cell

// cell is the value of a column.
type cell struct{ column, value string }

// name is how the segment is told apart in the label dataset.
func (s segment) name() string {
	parts := make([]string, len(s))
	for i, c := range s {
		parts[i] = c.column + "=" + c.value
	}
	return strings.Join(parts, ",")
}

// maxSegments bounds the datasets that one dataset can become: each has the series of a dataset and is profiled by itself.
const maxSegments = 50

// Validate implements config.Validator.
func (s *SegmentColumn) Validate(at config.At) {
	if s.Column == "" || len(s.Values) == 0 {
		at.Errorf("column", "%q with %d values; want a column and the values to tell apart, as in {column: country, values: [CA, US]}", s.Column, len(s.Values))
	}
}

// Validate implements config.Validator.
func (s *SegmentConfig) Validate(at config.At) {
	s.SegmentColumn.Validate(at)
	if s.By != nil && s.By.Column == s.Column {
		at.Errorf("by.column", "%q is also the column that is crossed with it; want another one", s.Column)
	}
}

// parts are the segments: one for each value, or for each pair of values.
func (s *SegmentConfig) parts() []segment {
	var parts []segment
	for _, v := range s.Values {
		one := segment{{s.Column, string(v)}}
		if s.By == nil {
			parts = append(parts, one)
			continue
		}
		for _, w := range s.By.Values {
			parts = append(parts, append(slices.Clone(one), cell{s.By.Column, string(w)}))
		}
	}
	return parts
}

func (d *DatasetConfig) validateSegments(at config.At) {
	n := 0
	for _, s := range d.Segments {
		n += len(s.Values)
		if s.By != nil {
			n += len(s.Values) * (len(s.By.Values) - 1)
		}
	}
	if n > maxSegments {
		at.Errorf("segments", "%d segments; want %d or fewer: each is profiled as a dataset of its own", n, maxSegments)
	}
}

// addSegments adds a dataset for each segment. It has all settings of the whole but those that compare it with other tables,
// whose rows are not of the segment alone.
func (c *Config) addSegments(at config.At, names map[string]int) {
	for i := range c.Datasets {
		whole := c.Datasets[i]
		for j := range whole.Segments {
			for _, s := range whole.Segments[j].parts() {
				part := whole
				part.segment = s
				part.Name = whole.Name + "/" + s.name()
				part.Segments, part.Upstream, part.Comparisons = nil, nil, nil
				if k, twice := names[part.Name]; twice {
					at.Errorf(field("datasets", i, "segments"), "segment %q is also datasets[%d]; want each value once", part.Name, k)
					continue
				}
				names[part.Name] = len(c.Datasets)
				c.Datasets = append(c.Datasets, part)
			}
		}
	}
}

// of is the part of the relation that belongs to the segment.
func (s segment) of(source *tables.Source, r tables.Relation) tables.Relation {
	for _, c := range s {
		r = r.Segment(source, c.column, c.value)
	}
	return r
}
