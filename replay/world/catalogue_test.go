package world

import (
	"os"
	"regexp"
	"testing"
	"time"

	prommodel "github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/replay/scenario"
	"github.com/sightglass-ml/sightglass/rules"
)

// TestSimulatedSeriesAreDeclared holds the names of the series that are made here, and not by an exporter's code, to the reference
// of metrics, which is generated from the exporters' catalogues.
func TestSimulatedSeriesAreDeclared(t *testing.T) {
	reference, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	for _, file := range []string{"node.go", "costs.go"} {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		names := regexp.MustCompile(`"((?:gpu|ml_cost|sightglass)_[a-z_]+)"`).FindAllStringSubmatch(string(source), -1)
		require.NotEmpty(t, names)
		for _, name := range names {
			require.Contains(t, string(reference), name[1], file)
		}
	}
}

// TestEventFilesAreReplayed plays the committed flights as a dataset and as a model.
func TestEventFilesAreReplayed(t *testing.T) {
	s, err := scenario.LoadFile("../scenarios/flights-sample.yaml")
	require.NoError(t, err)
	w, err := Open(t.Context(), s, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	loaded, err := engine.LoadRules(rules.FS)
	require.NoError(t, err)
	e, err := engine.New(engine.Options{Rules: loaded})
	require.NoError(t, err)
	seen := map[string]float64{}
	_, err = e.Run(t.Context(), engine.Replay{
		From: s.From(), To: s.From().Add(26 * time.Hour), Targets: w.Targets(),
		Stored: func(ls labels.Labels, _ time.Time, v float64) {
			seen[ls.Get(prommodel.MetricNameLabel)+" "+ls.Get("outcome")] = v
		},
		Record: []string{"ml_dataset_rows", "ml_inference_requests_total"},
	})
	require.NoError(t, err)
	require.Greater(t, seen["ml_dataset_rows "], 5000.0, "rows of the first day")
	require.Greater(t, seen["ml_inference_requests_total ok"], seen["ml_dataset_rows "], "requests since the start, two hours more than a day")
}
