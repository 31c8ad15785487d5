package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// expected matches series that the tests of the adapters expect. The coverage tables are made from them, so that each cell has a passing
// test.
var expected = regexp.MustCompile(`series="((?:model|gpu):[^"]+)".*\bsource="([^"]+)".*\bsource_kind="([^"]+)"`)

// outcomeOf matches the outcome of a failure.
var outcomeOf = regexp.MustCompile(`\boutcome="([^"]+)"`)

// column is one column of a coverage table: its heading, and its canonical series with or without the last part of the name.
type column struct{ head, series string }

var modelColumns = []column{
	{"requests", "model:ml_inference_requests:rate5m"},
	{"failures", "model:ml_inference_failures:ratio_rate5m"},
	{"cancelled", "model:ml_inference_cancelled:ratio_rate5m"},
	{"duration", "model:ml_inference_duration_seconds"},
	{"queue", "model:ml_inference_queue_wait_seconds"},
	{"computation", "model:ml_inference_forward_pass_seconds"},
	{"first token", "model:ml_inference_time_to_first_token_seconds"},
	{"between tokens", "model:ml_inference_inter_token_seconds"},
	{"tokens", "model:ml_inference_tokens:rate5m"},
	{"memory", "model:ml_inference_memory_pressure:ratio"},
}

var gpuColumns = []column{
	{"utilisation", "gpu:gpu_utilization:ratio"},
	{"memory", "gpu:gpu_memory_used:ratio"},
	{"temperature", "gpu:gpu_temperature:celsius"},
	{"power", "gpu:gpu_power:watts"},
	{"throttling", "gpu:gpu_throttled:ratio5m"},
	{"XID errors", "gpu:gpu_xid_errors:increase10m"},
	{"memory errors", "gpu:gpu_ecc_uncorrected:increase10m"},
	{"holders", "gpu:gpu_holders:count"},
}

const (
	coverageBegin = "<!-- Written by go generate ./rules from rules/tests/adapters/. Do not edit. -->\n"
	coverageEnd   = "<!-- End of what is generated. -->\n"
)

// coverage returns docs/adapters.md with its coverage tables, from the tests in root.
func coverage(root string) (string, error) {
	page, err := os.ReadFile(filepath.Join(root, "..", "docs", "adapters.md"))
	if err != nil {
		return "", fmt.Errorf("read the page of the adapters: %w", err)
	}
	before, rest, found := strings.Cut(string(page), coverageBegin)
	_, after, closed := strings.Cut(rest, coverageEnd)
	if !found || !closed {
		return "", fmt.Errorf("docs/adapters.md lacks the lines %q and %q, between which its tables are written", coverageBegin, coverageEnd)
	}
	filled, err := filledSeries(root)
	if err != nil {
		return "", err
	}
	return before + coverageBegin + "\n" + table(filled, "model:", modelColumns) + "\n" + table(filled, "gpu:", gpuColumns) + "\n" + coverageEnd + after, nil
}

// filledSeries returns the canonical series that the tests expect from each source, with their outcomes or kinds.
func filledSeries(root string) (map[string]map[string][]string, error) {
	paths, err := filepath.Glob(filepath.Join(root, "tests", "adapters", "*_test.yaml"))
	if err != nil {
		return nil, fmt.Errorf("list the tests of adapters: %w", err)
	}
	filled := map[string]map[string][]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read a test: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			match := expected.FindStringSubmatch(line)
			if match == nil {
				continue
			}
			series, source, what := match[1], match[2], match[3]
			if outcome := outcomeOf.FindStringSubmatch(line); outcome != nil {
				what = outcome[1]
			}
			if filled[source] == nil {
				filled[source] = map[string][]string{}
			}
			if !slices.Contains(filled[source][series], what) {
				filled[source][series] = append(filled[source][series], what)
			}
		}
	}
	return filled, nil
}

func table(filled map[string]map[string][]string, prefix string, columns []column) string {
	var b strings.Builder
	b.WriteString("| source |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.head)
	}
	b.WriteString("\n|" + strings.Repeat("---|", len(columns)+1) + "\n")
	for _, source := range slices.Sorted(maps.Keys(filled)) {
		var cells []string
		for _, c := range columns {
			cells = append(cells, cell(filled[source], c.series))
		}
		if source == "sightglass" || !slices.ContainsFunc(cells, func(cell string) bool { return cell != "–" }) {
			continue
		}
		if slices.ContainsFunc(slices.Collect(maps.Keys(filled[source])), func(series string) bool { return strings.HasPrefix(series, prefix) }) {
			fmt.Fprintf(&b, "| `%s` | %s |\n", source, strings.Join(cells, " | "))
		}
	}
	return b.String()
}

// cell describes how a source fills a canonical series: with percentiles, with the mean only, with which outcomes, or not at all.
func cell(filled map[string][]string, series string) string {
	var quantiles []string
	for _, quantile := range []string{"p50", "p95", "p99"} {
		if filled[series+":"+quantile+"_5m"] != nil {
			quantiles = append(quantiles, quantile)
		}
	}
	switch what := filled[series]; {
	case quantiles != nil:
		return strings.Join(quantiles, ", ")
	case filled[series+":mean_5m"] != nil:
		return "mean only"
	case what == nil:
		return "–"
	case strings.Contains(series, "failures"):
		slices.Sort(what)
		return strings.Join(what, ", ")
	case slices.Contains(what, "estimate"):
		return "estimate"
	default:
		return "yes"
	}
}
