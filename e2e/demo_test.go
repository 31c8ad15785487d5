package e2e

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/demo"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

var update = flag.Bool("update", false, "keep what the demo's exporters publish in dashboards/testdata/<job>.prom")

// logWriter sends the timeline to the test's log, which shows it when the test fails or -v is given.
type logWriter struct{ t *testing.T }

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

func TestDemoDetectsEveryIncident(t *testing.T) {
	bin := t.TempDir()
	buildCommands(t, bin, "dataquality-exporter", "modelquality-exporter", "gpu-exporter", "cost-exporter", "responder")
	testtools.FakeNVML(t, filepath.Join(bin, "libnvidia-ml-simulated.so"))
	cfg := demo.Config{
		ToolsDir: toolsDir(t), BinDir: bin, Dir: t.TempDir(), Out: logWriter{t},
		// Slower than by hand: this test shares the machine with others.
		Speedup: 15,
	}
	if *update {
		cfg.SaveScrapes = filepath.Join(testtools.Root(t), "dashboards", "testdata")
	}
	result, err := demo.Run(testContext(t), cfg)
	require.NoError(t, err)

	type detection struct{ object, column, alert string }
	var detected []detection
	for _, o := range result.Outcomes {
		require.True(t, o.Detected(), "%s: %s", o.Incident, o.Alert)
		require.False(t, !o.Early && o.Pending.Before(o.Injected), o.Alert)
		require.False(t, o.Firing.Before(o.Pending), o.Alert)
		detected = append(detected, detection{o.Object, o.Labels["column"], o.Alert})
	}
	want := []detection{
		{"clickstream", "", "MLDatasetStale"},
		{"payments", "merchant_category", "MLDatasetBroken"},
		{"payments", "merchant_category", "MLDatasetDrift"},
		{"payments", "merchant_category", "MLDatasetUnseenCategories"},
		{"customers", "household_income", "MLDatasetNullRatioHigh"},
		{"orders_daily_fact", "", "MLDatasetVolumeAnomaly"},
		{"shipments", "", "MLDatasetSchemaChanged"},
		{"training_features", "", "MLDatasetFeatureMismatch"},
		{"GPU 3", "", "MLGPUIdle"},
		{"GPU 1", "", "MLGPULost"},
		{"GPU 1", "", "MLGPUXidError"},
		{"recommender", "", "MLModelDrift"},       // More customers by phone.
		{"recommender", "", "MLModelInputBroken"}, // Amounts in cents.
		{"recommender", "", "MLModelDrift"},
		{"payment-risk", "", "MLModelInputBroken"}, // The provider that nobody mapped reaches the model.
		{"payment-risk", "", "MLModelDrift"},
		{"support-bot", "", "MLModelGroundednessLow"},
		{"support-bot", "", "MLModelHallucinationRateHigh"},
		{"support-bot", "", "MLInferenceQueueDominates"},
		{"research", "", "MLCostIdleGPUWaste"},
		{"recommender", "", "MLCostPerInferenceTrend"},
	}
	if result.Start.Day() > 4 { // In its first days a month is too young to be judged.
		want = append(want, detection{"research", "", "MLCostMonthEndOverBudget"})
	}
	require.ElementsMatch(t, want, detected)
	require.Len(t, result.Trainings, 1)
	require.NotZero(t, result.Reviews)
	require.Len(t, result.Provider, 1, "the table and the model are one incident")
	require.Equal(t, "payment_provider = newpay in dataset payments", result.Provider[0].Cause)
	require.Empty(t, result.Unexpected)
	require.NotZero(t, result.Healthy, "it was quiet before the first incident")
}
