package metering

import (
	"math"
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// maxEstimated limits the combinations of version, segment and class that are counted by bins.
const maxEstimated = 1000

// Estimated is a model whose performance is estimated before its labels arrive. Its predictions are counted by the same bins as its
// labelled predictions.
type Estimated struct {
	// Model is empty for all models.
	Model string
	// Segment is the feature that has the segment; it may be empty.
	Segment string
	// Numeric means that predictions are quantities, which are counted by Bins: upper bounds in ascending order. Otherwise predictions are
	// classes, which are counted by their confidence.
	Numeric bool
	Bins    []float64
}

// estimates has the predictions of a version by bins.
type estimates struct {
	of     *Estimated
	bounds []float64
	groups map[string]*group // by segment and class
	key    []byte
}

// group is a segment and a class.
type group struct {
	segment, class string
	bins           []int64
}

// newEstimates returns nil if the model's performance is not estimated.
func newEstimates(all []Estimated, model string) *estimates {
	if i := slices.IndexFunc(all, func(e Estimated) bool { return e.Model == "" || e.Model == model }); i >= 0 && model != limit.Other {
		e := &estimates{of: &all[i], bounds: ratioBuckets, groups: make(map[string]*group)}
		if all[i].Numeric {
			e.bounds = append(slices.Clone(all[i].Bins), math.Inf(1))
		}
		return e
	}
	return nil
}

// count counts a prediction, unless it lacks the number for the bin.
func (e *estimates) count(s *Series, o *convention.Observation) {
	v := o.Confidence
	if e.of.Numeric {
		n, ok := o.Prediction.Number()
		if v = n; !ok {
			return
		}
	}
	if math.IsNaN(v) {
		return
	}
	bin, _ := slices.BinarySearch(e.bounds, v)
	e.group(s, o).bins[bin]++
}

func (e *estimates) group(s *Series, o *convention.Observation) *group {
	e.key = e.key[:0]
	if e.of.Segment != "" {
		for i := range o.Features {
			if o.Features[i].Name == e.of.Segment {
				e.key = o.Features[i].Value.Append(e.key)
				break
			}
		}
	}
	at := len(e.key)
	e.key = append(e.key, '\x1f')
	switch {
	case e.of.Numeric:
	case o.Prediction.Kind == otlp.Empty:
		e.key = append(e.key, binning.Null...)
	default:
		e.key = o.Prediction.Append(e.key)
	}
	if g, ok := e.groups[string(e.key)]; ok {
		return g
	}
	segment, class := limit.Valid(string(e.key[:at])), limit.Valid(string(e.key[at+1:]))
	if !s.meter.bounds.Load().groups(s, segment, class) {
		segment, class = folded(segment), folded(class)
	}
	// Values with a changed name, or beyond the limit, are stored here.
	key := segment + "\x1f" + class
	g, ok := e.groups[key]
	if !ok {
		g = &group{segment, class, make([]int64, len(e.bounds))}
		e.groups[key] = g
	}
	return g
}

// folded returns the name for values beyond the limit. An empty name stays empty.
func folded(name string) string {
	if name == "" {
		return ""
	}
	return limit.Other
}

// groups reports whether the limit admits a segment and class of a version.
func (b *bounds) groups(s *Series, segment, class string) bool {
	return b.estimated.Fold(strings.Join([]string{s.Model, s.Version, segment, class}, "\x1f")) != limit.Other
}

func (e *estimates) readmit(s *Series, b *bounds) {
	for _, g := range e.groups {
		b.groups(s, g.segment, g.class)
	}
}

func (e *estimates) collect(s *Series, d *descs, out *exporter.Metrics) {
	for _, g := range e.groups {
		for i, n := range g.bins {
			if e.of.Numeric {
				out.Counter(d.predictionBins, float64(n), s.Model, s.Version, g.segment, binning.UpTo(e.bounds[i]))
			} else {
				out.Counter(d.confidenceBins, float64(n), s.Model, s.Version, g.segment, g.class, binning.UpTo(e.bounds[i]))
			}
		}
	}
}
