package convention

import (
	"fmt"
	"math"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/binning"
)

// embedding is the field for embeddings in an attribute that names no feature.
const embedding = "embedding.distance"

// vector converts an embedding. One without a computable distance is counted as a bad value and becomes a vector without numbers. The
// message never contains its content.
func (b *Batch) vector(v otlp.Value) otlp.Value {
	begin := len(b.vectors)
	all, n, ok := v.AppendVector(b.vectors, binning.MaxDimensions)
	made := otlp.VectorOf(all[begin:])
	refuse := func(what string, args ...any) otlp.Value {
		b.Bad(BadEmbedding, fmt.Sprintf(what, args...))
		b.vectors = all[:begin]
		return otlp.VectorOf(nil)
	}
	switch {
	case v.Kind != otlp.List:
		return refuse("not an array")
	case !ok:
		return refuse("an array with something in it that is no number")
	case n > binning.MaxDimensions:
		return refuse("an array of more than %d numbers", binning.MaxDimensions)
	}
	zeros := true
	for i := range n {
		x := float64(made.At(i))
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return refuse("an array of %d numbers, of which number %d is %v", n, i, x)
		}
		zeros = zeros && x == 0
	}
	if zeros {
		return refuse("an array of %d numbers without one that is not 0", n)
	}
	b.vectors = all
	return made
}
