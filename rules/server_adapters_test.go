package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

// served returns what the adapters make of a server's scrape whose counters grow by their value every five minutes: 300
// requests are one a second.
func served(t *testing.T, file string, more ...sample) []string {
	t.Helper()
	samples, counters := scrapeTypes(t, file, "job", strings.TrimSuffix(file, ".prom"), "instance", "server-1", "cluster", "east", "namespace", "ml")
	return adapted(t, append(samples, more...), func(s sample) float64 {
		if counters[s.labels.Get(model.MetricNameLabel)] {
			return s.value / 300
		}
		return 0
	})
}

// Beside each scrape stands what it becomes: seconds, shares from 0 to 1, failures of all requests by outcome, quantiles
// from histograms alone.
func TestServersFillTheCanonicalSeries(t *testing.T) {
	for _, server := range []string{
		"triton", "vllm", "vllm-old", "sglang", "sglang-unfilled", "tgi", "torchserve", "tfserving", "kserve", "mlserver",
		"seldon-1", "seldon-2", "rayserve", "bentoml", "litellm",
	} {
		t.Run(server, func(t *testing.T) {
			got := strings.Join(served(t, server+".prom"), "\n") + "\n"
			golden := filepath.Join("testdata", "scrapes", server+".golden")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
}

// A model that is seen by spans and natively is counted once, and the spans win; of the same name elsewhere, nothing is
// known by spans.
func TestSpansGoFirst(t *testing.T) {
	spans := func(cluster string) sample {
		return sample{labels.FromStrings(model.MetricNameLabel, "ml_inference_requests_total", "cluster", cluster,
			"namespace", "observability", "model", "llama-3-8b", "version", "2", "outcome", "ok"), 10}
	}
	sources := func(lines []string) map[string]bool {
		out := map[string]bool{}
		for _, line := range lines {
			if strings.Contains(line, `model="llama-3-8b"`) {
				out[strings.Split(strings.Split(line, `source="`)[1], `"`)[0]] = true
			}
		}
		return out
	}
	require.Equal(t, map[string]bool{"sightglass": true}, sources(served(t, "vllm.prom", spans("east"))))
	require.Equal(t, map[string]bool{"sightglass": true, "vllm": true}, sources(served(t, "vllm.prom", spans("west"))))
}

// Whatever a server calls its numbers, no adapter may make a quantile where there is no histogram.
func TestMeansHaveNoQuantiles(t *testing.T) {
	for _, server := range []string{"triton", "torchserve", "mlserver"} {
		for _, line := range served(t, server+".prom") {
			require.NotRegexp(t, `(duration|queue_wait|forward_pass)_seconds:p\d\d`, line, server)
			if strings.Contains(line, "_seconds:mean") {
				require.Contains(t, line, `source_kind="mean_only"`, server)
			}
		}
	}
}
