package fields

import (
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/recent"
	"github.com/sightglass-ml/sightglass/internal/binning"
)

// The names of what is known of the origin of an inference.
const (
	fieldRegion   = "region"
	fieldClient   = "client"
	fieldInstance = "instance"
)

// sampledField is a field of a row of the sample: one with bins, or one of the origin, of which each value is kept.
type sampledField struct {
	name  string // of the definition; of the origin as it is
	field *field // nil for those of the origin
}

// label is the name under which it is published.
func (f sampledField) label() string {
	if f.field == nil {
		return f.name
	}
	name, _ := labels(f.name)
	return name
}

// sampleRecent begins a sample of what is counted.
func (c *counters) sampleRecent(room *recent.Room, window time.Duration, now func() time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, f := range c.inputs {
		c.sampled = append(c.sampled, sampledField{input + c.names[i], f})
	}
	c.firstOutput = len(c.sampled)
	c.sampled = append(c.sampled, sampledField{prediction, c.prediction}, sampledField{confidence, c.confidence})
	for _, name := range [3]string{fieldRegion, fieldClient, fieldInstance} {
		c.sampled = append(c.sampled, sampledField{name: name})
	}
	c.recent, c.now = recent.New(room, len(c.sampled), window), now
	c.recent.Turn(now().UnixNano(), c.rows)
}

// keep puts an inference into the sample. The counters are locked.
func (c *counters) keep(o *convention.Observation) {
	if o.Dropped || len(o.Features) == 0 && o.Prediction.Kind == otlp.Empty {
		return // The next one will do.
	}
	row := c.recent.Keep(c.now().UnixNano())
	if row == nil {
		return
	}
	clear(row) // Bin 0 is a missing value.
	for i := range o.Features {
		if n := c.byName.Find(o.Features[i].Name); n != nil && row[*n] == 0 {
			row[*n] = c.code(*n, o.Features[i].Value)
		}
	}
	out := row[c.firstOutput:]
	if c.prediction != nil {
		out[0] = c.code(c.firstOutput, o.Prediction)
	}
	if c.confidence != nil {
		out[1] = uint16(c.confidence.bin(otlp.DoubleValue(o.Confidence)))
	}
	if o.Origin != nil {
		for i, value := range [3]string{o.Origin.Region, o.Origin.Client, o.Origin.Instance} {
			out[2+i] = c.recent.Code(c.firstOutput+2+i, 0, value)
		}
	}
}

// code is that of a value of a field: its bin or, of a category without one of its own, the value.
func (c *counters) code(n int, v otlp.Value) uint16 {
	f := c.sampled[n].field
	bin := f.bin(v)
	if !f.categorical || bin == 0 || bin != f.other && bin != f.strange {
		return uint16(bin)
	}
	var space [recent.MaxText]byte
	return c.recent.Code(n, bin, string(v.Append(space[:0])))
}

// bins are the names of the bins of a field.
func (f sampledField) bins() []string {
	if f.field == nil {
		return []string{binning.Null}
	}
	return f.field.bins
}
