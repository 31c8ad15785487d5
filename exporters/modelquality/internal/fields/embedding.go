package fields

import (
	"log/slog"
	"maps"
	"math"
	"slices"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// fewestEmbeddings is the smallest number of embeddings for a centroid. The centroid of fewer would be close to a single embedding, from
// which its text can be reconstructed (Morris et al., "Text Embeddings Reveal (Almost) As Much As Text", EMNLP 2023).
const fewestEmbeddings = 30

// cosine returns the cosine distance of an embedding from a centroid: 0 for the same direction, 1 for a right angle, 2 for the opposite. ok
// is false if their dimensions differ. The distance is rounded to the precision of 32-bit numbers, so that equal embeddings have equal
// distances.
func cosine(v otlp.Value, centroid []float32) (distance float64, ok bool) {
	if v.Dimensions() != len(centroid) || len(centroid) == 0 {
		return 0, false
	}
	var product, length, other float64
	for i, c := range centroid {
		x, c := float64(v.At(i)), float64(c)
		product += x * c
		length += x * x
		other += c * c
	}
	const digits = 1e6
	distance = 1 - product/math.Sqrt(length)/math.Sqrt(other)
	return math.Round(min(max(distance, 0), 2)*digits) / digits, true
}

// embeddingLayout cuts bins for embeddings. It uses the most frequent number of dimensions, because others come from another embedding
// model. ok is false if there are too few values, or if they cancel each other out.
func embeddingLayout(values []otlp.Value, choice tables.Choice) (binning.Layout, bool) {
	frequency := make(map[int]int)
	for _, v := range values {
		frequency[v.Dimensions()]++
	}
	delete(frequency, 0)
	dimensions := 0
	for n, times := range frequency {
		if times > frequency[dimensions] || times == frequency[dimensions] && n < dimensions {
			dimensions = n
		}
	}
	if frequency[dimensions] < fewestEmbeddings {
		return binning.Layout{}, false
	}
	centroid, ok := meanDirection(values, dimensions)
	if !ok {
		return binning.Layout{}, false
	}
	var distances []float64
	for _, v := range values {
		if d, ok := cosine(v, centroid); ok {
			distances = append(distances, d)
		}
	}
	// A distance beyond the learned ones means another topic, not a broken value. It has no bin of its own.
	l := binning.NewNumeric(quantiles(distances, choice.Bins), true)
	l.Centroid = centroid
	return l, true
}

// meanDirection returns the normalized mean of the normalized values with this number of dimensions. It is the centroid of spherical
// k-means (Dhillon and Modha, Machine Learning 42, 2001).
func meanDirection(values []otlp.Value, dimensions int) ([]float32, bool) {
	mean := make([]float64, dimensions)
	for _, v := range values {
		if v.Dimensions() != dimensions {
			continue
		}
		squares := 0.0
		for i := range mean {
			squares += float64(v.At(i)) * float64(v.At(i))
		}
		for i := range mean {
			mean[i] += float64(v.At(i)) / math.Sqrt(squares) / float64(len(values))
		}
	}
	squares := 0.0
	for _, x := range mean {
		squares += x * x
	}
	length := math.Sqrt(squares)
	if length < 1e-6 { // rounding errors only
		return nil, false
	}
	centroid := make([]float32, dimensions)
	for i, x := range mean {
		centroid[i] = float32(x / length)
	}
	return centroid, true
}

// quantiles sorts numbers and returns n of them at equal distances, starting with the first.
func quantiles(numbers []float64, n int) (all []float64) {
	slices.Sort(numbers)
	for i := 0; i < n && len(numbers) > 0; i++ {
		all = append(all, numbers[i*len(numbers)/n])
	}
	return all
}

// embedded returns the bin of an embedding. One without a distance has the bin of NaN.
func (f *field) embedded(v otlp.Value) int {
	distance, ok := cosine(v, f.centroid)
	if ok {
		return f.interval(otlp.DoubleValue(distance))
	}
	return f.nan
}

// mismatched counts an embedding of other dimensions than the baseline's.
func (f *field) mismatched(v otlp.Value) {
	if n := v.Dimensions(); n > 0 && n != len(f.centroid) {
		f.mismatches++
		f.mismatch = n
	}
}

// mismatches calls each for every field of embeddings: the number of values with other dimensions, the last such number of dimensions, and
// that of the baseline.
func (c *counters) mismatches(each func(name string, n int64, last, want int)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range c.sortedNames() {
		if f := c.all[name]; f.centroid != nil {
			each(name, f.mismatches, f.mismatch, len(f.centroid))
		}
	}
}

// logMismatches logs once for a version that its embeddings have other dimensions than the baseline.
func (t *Tracker) logMismatches(c *counters, logger *slog.Logger) {
	c.mismatches(func(name string, n int64, last, want int) {
		if n == 0 || t.mismatchLogged {
			return
		}
		t.mismatchLogged = true
		field, _ := labels(name)
		logger.Warn("Embeddings have other dimensions than the baseline and count as nan; learn those of a new embedding model with 'sightglass baseline accept MODEL FIELD'",
			"model", t.model, "version", t.version, "field", field, "dimensions", last, "baseline_dimensions", want)
	})
}

// leftEmbedding is why an embedding has no bins.
const leftEmbedding = "too few embeddings of one number of dimensions, or they cancel each other out"

// logWithoutBins logs which embeddings of a sample have no bins.
func (k *Keeper) logWithoutBins(t *Tracker, left map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(left)) {
		if left[name] == leftEmbedding {
			field, _ := labels(name)
			k.Logger.Warn("An embedding has no baseline: a centroid needs more of one number of dimensions, which do not cancel each other out; raise baselines.sample or sample_wait and learn it with 'sightglass baseline reset MODEL --part definition'",
				"model", t.model, "version", t.version, "field", field, "want", fewestEmbeddings)
		}
	}
}
