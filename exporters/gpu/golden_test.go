package gpu_test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/gpu"
	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

var update = flag.Bool("update", false, "rewrite testdata/metrics.prom")

const golden = "testdata/metrics.prom"

// TestMetricsPage is what a GPU with everything and a GPU with MIG look like to
// Prometheus. Only what the machine of the test decides is left out.
func TestMetricsPage(t *testing.T) {
	f := newFake(t, "count 2", "mig 1", "process 0 100 1000").compile()
	p := f.start(fast)
	p.has(`gpu_up{gpu="1"} 1`, `gpu_sm_active_ratio{gpu="1",gpu_instance="9"} 0.74`, `gpu_process_utilization_ratio{gpu="0"} 0.3`)
	body, err := p.raw()
	require.NoError(t, err)
	own := regexp.MustCompile(`(?m)^(# (HELP|TYPE) )?gpu_[a-z_]+[{ ].*\n`)
	page := []byte(strings.Join(own.FindAllString(string(body), -1), ""))
	page = regexp.MustCompile(`(?m)^.*gpu_exporter_build_info.*\n`).ReplaceAll(page, nil)
	if *update {
		require.NoError(t, os.WriteFile(golden, page, 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(page))

	check := exec.Command(testtools.Path(t, "promtool"), "check", "metrics")
	check.Stdin = bytes.NewReader(page)
	out, err := check.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out))
}

// A metric that the reference lacks would be undocumented.
func TestEveryMetricOfThePageIsInTheCatalogue(t *testing.T) {
	page, err := os.ReadFile(golden)
	require.NoError(t, err)
	known := map[string]string{}
	for _, c := range []*catalogue.Catalogue{gpu.Catalogue(), gpu.DCGMCatalogue()} {
		for _, m := range c.Metrics {
			require.NotContains(t, known, m.Name)
			known[m.Name] = m.Type
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(string(page), -1) {
		require.Equal(t, m[2], known[m[1]], m[1])
	}
}
