package modelquality

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPredictionsAreCountedByBinForEstimates(t *testing.T) {
	w := newWorld(t, `
sources: {files: {type: duckdb}}
labels:
  - {name: chargebacks, source: files, files: x.csv, timestamp_column: at, prediction_column: p, label_column: l, model: fraud, confidence_column: c, segment_column: s, segment_feature: country}
  - {name: prices, source: files, files: x.csv, timestamp_column: at, prediction_column: p, label_column: l, model: price, numeric: true, prediction_bins: [10, 100]}
`)
	predicted := func(model string, prediction any, more attributes) attributes {
		all := attributes{"ml.model.name": model, "ml.model.version": "3", "ml.prediction": prediction}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	for i, s := range []attributes{
		predicted("fraud", "fraud", attributes{"ml.confidence": 0.93, "ml.feature.country": "CA"}),
		predicted("fraud", "fraud", attributes{"ml.confidence": 0.95, "ml.feature.country": "CA"}),
		predicted("fraud", "fair", attributes{"ml.confidence": 0.96, "ml.feature.country": "CA"}),
		predicted("fraud", 1, attributes{"ml.confidence": 0.0, "ml.feature.country": "US"}),
		predicted("fraud", 1.0, attributes{"ml.confidence": 0.1}),
		predicted("fraud", "fraud", nil),
		predicted("price", 10.0, nil), predicted("price", 11, nil), predicted("price", 1e9, nil), predicted("price", "dear", nil),
		predicted("churn", "stays", attributes{"ml.confidence": 0.9}),
	} {
		w.spans(nil, span{trace: byte(i + 1), id: byte(i + 1), took: time.Millisecond, attrs: s})
	}
	counted := func(prefix string) string {
		var lines []string
		for line := range strings.Lines(w.metrics(prefix)) {
			if !strings.HasSuffix(line, " 0\n") {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "")
	}
	require.Equal(t, `ml_model_confidence_predictions_total{bin="0.1",class="1",model="fraud",segment="",version="3"} 1
ml_model_confidence_predictions_total{bin="0.1",class="1",model="fraud",segment="US",version="3"} 1
ml_model_confidence_predictions_total{bin="0.95",class="fraud",model="fraud",segment="CA",version="3"} 2
ml_model_confidence_predictions_total{bin="0.99",class="fair",model="fraud",segment="CA",version="3"} 1
`, counted("ml_model_confidence_predictions_total"), "a bin has its upper bound; what has no confidence, and models without labels, do not count")
	require.Equal(t, `ml_model_binned_predictions_total{bin="+Inf",model="price",segment="",version="3"} 1
ml_model_binned_predictions_total{bin="10",model="price",segment="",version="3"} 1
ml_model_binned_predictions_total{bin="100",model="price",segment="",version="3"} 1
`, counted("ml_model_binned_predictions_total"))
}

func TestSeriesOfPredictionsByBinAreBounded(t *testing.T) {
	w := newWorld(t, `
sources: {files: {type: duckdb}}
labels:
  - {name: a, source: files, files: x.csv, timestamp_column: at, prediction_column: p, label_column: l, model_column: m, confidence_column: c}
`)
	var spans []span
	for i := range 3000 {
		spans = append(spans, span{trace: byte(i/200 + 1), id: byte(i%200 + 1), took: time.Millisecond, attrs: attributes{
			"ml.model.name": "fraud", "ml.confidence": 0.93, "ml.prediction": strings.Repeat("x", 400) + time.Duration(i).String(),
		}})
	}
	w.spans(nil, spans...)
	require.Equal(t, 1001*12, strings.Count(w.metrics("ml_model_confidence_predictions_total"), "\n"), "a thousand classes, and other")
	w.requireMetric(`ml_model_confidence_predictions_total{bin="0.95",class="other",model="fraud",segment="",version=""} 2000`)
}
