package fields

import (
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/recent"
	"github.com/sightglass-ml/sightglass/internal/binning"
)

// Names of the fields of an inference's origin.
const (
	fieldRegion   = "region"
	fieldClient   = "client"
	fieldInstance = "instance"
)

// sampledField is a field in a row of the sample: a field with bins, or a field of the origin, whose values are stored directly.
type sampledField struct {
	name  string // as in the definition; without prefix for the origin
	field *field // nil for the origin
}

// label returns the published name of the field.
func (f sampledField) label() string {
	if f.field == nil {
		return f.name
	}
	name, _ := labels(f.name)
	return name
}

// openSample starts a sample of the counted inferences.
func (c *counters) openSample(memory *recent.Memory, window time.Duration, now func() time.Time) {
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
	c.recent, c.now = recent.New(memory, len(c.sampled), window), now
	c.recent.Rotate(now().UnixNano(), c.rows)
}

// keep adds an inference to the sample. The caller holds the lock.
func (c *counters) keep(o *convention.Observation) {
	if o.Dropped || len(o.Features) == 0 && o.Prediction.Kind == otlp.Empty {
		return // The next inference is added instead.
	}
	row := c.recent.Keep(c.now().UnixNano())
	if row == nil {
		return
	}
	clear(row) // Bin 0 is null.
	for i := range o.Features {
		if n, ok := c.byName[o.Features[i].Name]; ok && row[n] == 0 {
			row[n] = c.code(n, o.Features[i].Value)
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

// code returns the code of a value: its bin, or the value itself for a category without its own bin.
func (c *counters) code(n int, v otlp.Value) uint16 {
	f := c.sampled[n].field
	bin := f.bin(v)
	if !f.categorical || bin == 0 || bin != f.other && bin != f.unseen {
		return uint16(bin)
	}
	var space [recent.MaxText]byte
	return c.recent.Code(n, bin, string(v.Append(space[:0])))
}

// bins returns the names of the field's bins.
func (f sampledField) bins() []string {
	if f.field == nil {
		return []string{binning.Null}
	}
	return f.field.bins
}
