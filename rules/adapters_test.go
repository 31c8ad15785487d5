package rules_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// eachAdapted runs a check on every rule that reads series of other exporters.
func eachAdapted(t *testing.T, check func(t *testing.T, rule rulefmt.Rule)) {
	t.Helper()
	for _, f := range load(t).Files {
		for _, group := range f.Groups {
			for _, rule := range group.Rules {
				if strings.HasPrefix(f.Name, "adapters/") && rule.Labels["source"] != "" && rule.Labels["source"] != "sightglass" {
					t.Run(rule.Labels["source"]+"/"+rule.Record, func(t *testing.T) { check(t, rule) })
				}
			}
		}
	}
}

// A rule that no scrape was held against knows its server from hearsay.
func TestEveryAdapterIsTestedWithAScrape(t *testing.T) {
	files, err := filepath.Glob("tests/adapters/*_test.yaml")
	require.NoError(t, err)
	var tests strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		tests.Write(text)
	}
	eachAdapted(t, func(t *testing.T, rule rulefmt.Rule) {
		if strings.HasPrefix(rule.Record, "instance:ml_alert_data:") || strings.HasPrefix(rule.Record, "ml:adapter:") {
			return // made of other records, and tested in gpu_shapes_test.yaml and server_shapes_test.yaml
		}
		require.Regexp(t, `series="`+rule.Record+`".*,source="`+rule.Labels["source"]+`",`, tests.String())
	})
	scrapes, err := filepath.Glob("testdata/scrapes/*.prom")
	require.NoError(t, err)
	require.NotEmpty(t, scrapes)
	for _, scrape := range scrapes {
		require.Contains(t, tests.String(), "# scrape: "+filepath.Base(scrape)+" {", "nothing is made of it")
	}
}

// Without its origin, a scrape file could be a guess instead of a capture or a copy from source code.
func TestEveryScrapeFileNamesItsOrigin(t *testing.T) {
	scrapes, err := filepath.Glob("testdata/scrapes/*.prom")
	require.NoError(t, err)
	require.NotEmpty(t, scrapes)
	for _, scrape := range scrapes {
		text, err := os.ReadFile(scrape)
		require.NoError(t, err)
		require.Regexp(t, `^# server: \S.*\n# defined in: \S.*\n# origin: (written from the source|real capture, .*|captures of others, .*)\n`, string(text),
			"%s: its first lines name the server and its version, the file that defines the metrics, and whether it was captured", scrape)
		captured := strings.Contains(string(text), "\n# origin: real capture, ")
		require.Equal(t, strings.HasSuffix(scrape, "-real.prom"), captured, "%s: a capture, and nothing else, is named -real.prom", scrape)
	}
}

// AMD's exporter has names that begin as ours do. One that is the same would mix two exporters' GPUs.
func TestAMDExporterSharesNoMetricName(t *testing.T) {
	ours, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	require.Contains(t, string(ours), "| `gpu_utilization_ratio` |")
	eachAdapted(t, func(t *testing.T, rule rulefmt.Rule) {
		if rule.Labels["source"] != "amd-device-metrics-exporter" {
			return
		}
		expr, err := newParser().ParseExpr(rule.Expr)
		require.NoError(t, err)
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			if selector, ok := node.(*parser.VectorSelector); ok {
				require.NotContains(t, string(ours), "| `"+selector.Name+"` |")
			}
			return nil
		})
	})
}

// Two sources of one model would count it twice. The order is that of docs/adapters.md. What a better source does not
// publish is left to the next: tokens, the first token, the time between tokens, memory. All else is of the source that
// counts the requests, since it is divided by them.
func TestModelIsCountedByItsFirstSource(t *testing.T) {
	const requests = "model:ml_inference_requests:rate5m"
	wrappers := []string{"triton", "kserve", "seldon-1", "seldon-2", "ray", "bentoml", "otel-server"}
	gateways := []string{"dynamo", "inference-extension", "envoy-ai-gateway", "litellm", "otel-client"}
	// The record that shows that a better source has a signal, and the one that shows that spans have it.
	alone := map[string][2]string{
		"model:ml_inference_tokens:rate5m":                      {"model:ml_inference_tokens:rate5m", "ml_inference_tokens_total"},
		"model:ml_inference_time_to_first_token_seconds:p95_5m": {"model:ml_inference_time_to_first_token_seconds:p95_5m", `model:ml_inference_time_to_first_token_seconds:p95_5m{source="sightglass"}`},
		"model:ml_inference_inter_token_seconds:mean_5m":        {"model:ml_inference_inter_token_seconds:mean_5m", ""},
		"model:ml_inference_inter_token_seconds:p95_5m":         {"model:ml_inference_inter_token_seconds:mean_5m", ""},
		"model:ml_inference_memory_pressure:ratio":              {"model:ml_inference_memory_pressure:ratio", ""},
	}
	engines := map[string]bool{}
	eachAdapted(t, func(t *testing.T, rule rulefmt.Rule) {
		source := rule.Labels["source"]
		if strings.HasPrefix(rule.Record, "model:") && !slices.Contains(wrappers, source) && !slices.Contains(gateways, source) {
			engines[source] = true
		}
	})
	better := regexp.MustCompile(`unless on \(cluster, model\) ([^\s{]+)\{source(=~|!=|!~)"([^"]+)"\}\s*$`)
	eachAdapted(t, func(t *testing.T, rule rulefmt.Rule) {
		source := rule.Labels["source"]
		if !strings.HasPrefix(rule.Record, "model:") {
			return
		}
		tells := [2]string{requests, "ml_inference_requests_total"}
		if own, ok := alone[rule.Record]; ok {
			tells = own
		}
		gateway := slices.Index(gateways, source)
		if gateway < 0 && !slices.Contains(wrappers, source) {
			_, after, found := strings.Cut(rule.Expr, "unless on (cluster, model) ")
			require.Equal(t, tells[1] != "", found, "spans come first in what they have: %s", rule.Expr)
			require.Equal(t, tells[1], strings.TrimSpace(after))
			return
		}
		match := better.FindStringSubmatch(rule.Expr)
		require.NotNil(t, match, rule.Expr)
		require.Equal(t, tells[0], match[1])
		if gateway >= 0 {
			require.Equal(t, "!", match[2][:1], "all others are better")
			require.ElementsMatch(t, gateways[gateway:], strings.Split(match[3], "|"))
			return
		}
		require.Equal(t, "=~", match[2])
		require.ElementsMatch(t, append(slices.Collect(maps.Keys(engines)), "sightglass"), strings.Split(match[3], "|"))
	})
}

// For every server, quantiles come only from histograms, and the label of a mean says whether the server has quantiles too.
func TestQuantilesNeedAHistogram(t *testing.T) {
	quantile := regexp.MustCompile(`:p\d+_5m$`)
	hasQuantile := map[string]bool{}
	eachAdapted(t, func(t *testing.T, rule rulefmt.Rule) {
		if !quantile.MatchString(rule.Record) {
			return
		}
		hasQuantile[rule.Labels["source"]+quantile.ReplaceAllString(rule.Record, "")] = true
		require.Equal(t, "histogram", rule.Labels["source_kind"])
		expr, err := newParser().ParseExpr(rule.Expr)
		require.NoError(t, err)
		calls, buckets := 0, 0
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			if call, ok := node.(*parser.Call); ok && call.Func.Name == "histogram_quantile" {
				calls++
			}
			if selector, ok := node.(*parser.VectorSelector); ok && strings.HasSuffix(selector.Name, "_bucket") {
				buckets++
			}
			return nil
		})
		require.Equal(t, 1, calls)
		require.Positive(t, buckets, "a quantile is one of buckets, by their old name or their new one")
	})
	eachAdapted(t, func(t *testing.T, rule rulefmt.Rule) {
		of, mean := strings.CutSuffix(rule.Record, ":mean_5m")
		switch {
		case mean && hasQuantile[rule.Labels["source"]+of]:
			require.Equal(t, "histogram", rule.Labels["source_kind"])
		case mean:
			require.Equal(t, "mean_only", rule.Labels["source_kind"])
		default:
			require.NotEqual(t, "mean_only", rule.Labels["source_kind"])
		}
	})
}
