package dataquality

import (
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// SegmentConfig names parts of a dataset by the values of a column.
type SegmentConfig struct {
	Column string    `yaml:"column"`
	Values []Literal `yaml:"values"`
}

// segment is the part of a table whose rows have a value in a column.
type segment struct{ column, value string }

// maxSegments bounds the datasets that one dataset can become: each has the series of a dataset and is profiled by itself.
const maxSegments = 50

func (d *DatasetConfig) validateSegments(at config.At) {
	n := 0
	for i, s := range d.Segments {
		if s.Column == "" || len(s.Values) == 0 {
			at.Errorf(field("segments", i, "column"), "%q with %d values; want a column and the values to tell apart, as in {column: country, values: [CA, US]}", s.Column, len(s.Values))
		}
		n += len(s.Values)
	}
	if n > maxSegments {
		at.Errorf("segments", "%d values; want %d or fewer: each is profiled as a dataset of its own", n, maxSegments)
	}
}

// addSegments adds a dataset for each segment. It has all settings of the whole but those that compare it with other tables,
// whose rows are not of the segment alone.
func (c *Config) addSegments(at config.At, names map[string]int) {
	for i := range c.Datasets {
		whole := c.Datasets[i]
		for _, s := range whole.Segments {
			for _, v := range s.Values {
				part := whole
				part.segment = &segment{s.Column, string(v)}
				part.Name = whole.Name + "/" + s.Column + "=" + string(v)
				part.Segments, part.Upstream, part.Comparisons = nil, nil, nil
				if j, twice := names[part.Name]; twice {
					at.Errorf(field("datasets", i, "segments"), "segment %q is also datasets[%d]; want each value once", part.Name, j)
					continue
				}
				names[part.Name] = len(c.Datasets)
				c.Datasets = append(c.Datasets, part)
			}
		}
	}
}

// of is the part of the relation that belongs to the segment.
func (s *segment) of(source *tables.Source, r tables.Relation) tables.Relation {
	if s == nil {
		return r
	}
	return r.Segment(source, s.column, s.value)
}
