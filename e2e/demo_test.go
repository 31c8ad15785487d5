package e2e

import (
	"flag"
	"os"
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

// .ci/run has just run make demo, which fails on all that this test looks at.
func TestDemoDetectsEveryIncident(t *testing.T) {
	if os.Getenv("SIGHTGLASS_DEMO_PASSED") != "" && !*update {
		t.Skip("make demo has just passed")
	}
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

	require.NoError(t, result.Err())
	require.NotZero(t, result.Healthy, "it was quiet before the first incident")
}
