package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql/parser"
)

// scrapeLine matches a line in a test of an adapter that names a recorded scrape and its target labels. The generator writes the series
// below that line.
var scrapeLine = regexp.MustCompile(`^( *)# scrape: (\S+\.prom) (\{.*\})$`)

// scrapesPerWindow is the number of scrapes in the five minutes in which a counter grows by its value in the scrape. A quarter of an
// integer is exact in binary, so that no test fails because of rounding.
const scrapesPerWindow = 4

// samples is the number of samples of a series after its first: 25 minutes.
const samples = 5 * scrapesPerWindow

// adapterTests returns the tests of the adapters by path, with the series of their scrapes. root is the rules folder.
func adapterTests(root string) (map[string]string, error) {
	paths, err := filepath.Glob(filepath.Join(root, "tests", "adapters", "*_test.yaml"))
	if err != nil {
		return nil, fmt.Errorf("list the tests of adapters: %w", err)
	}
	out := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read a test: %w", err)
		}
		if out[path], err = fill(string(text), filepath.Join(root, "testdata", "scrapes")); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return out, nil
}

// fill replaces the series below every line that names a scrape.
func fill(test, scrapes string) (string, error) {
	var out strings.Builder
	below := "" // prefix of the series to replace
	for line := range strings.Lines(test) {
		if below != "" && strings.HasPrefix(line, below) {
			continue
		}
		below = ""
		out.WriteString(line)
		m := scrapeLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			continue
		}
		target, err := parser.NewParser(parser.Options{}).ParseMetric(m[3])
		if err != nil {
			return "", fmt.Errorf("%s: %w", m[3], err)
		}
		text, err := os.ReadFile(filepath.Join(scrapes, m[2]))
		if err != nil {
			return "", fmt.Errorf("read a scrape: %w", err)
		}
		below = m[1] + "- {series: "
		if err := writeSeries(&out, m[1], text, target); err != nil {
			return "", fmt.Errorf("%s: %w", m[2], err)
		}
	}
	return out.String(), nil
}

// writeSeries writes a scrape as input series for promtool. Counters, and the counts of histograms and summaries, grow by their value in
// five minutes. All other series are constant.
func writeSeries(out *strings.Builder, indent string, scrape []byte, target labels.Labels) error {
	p := textparse.NewPromParser(scrape, labels.NewSymbolTable(), false)
	var kind model.MetricType
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("parse the scrape: %w", err)
		}
		switch entry {
		case textparse.EntryType:
			_, kind = p.Type()
		case textparse.EntrySeries:
			_, _, value := p.Series()
			var ls labels.Labels
			p.Labels(&ls)
			counts := kind == model.MetricTypeCounter || kind == model.MetricTypeHistogram ||
				kind == model.MetricTypeSummary && !ls.Has(model.QuantileLabel)
			values := number(value)
			if counts && value != 0 {
				values += "+" + number(value/scrapesPerWindow)
			}
			fmt.Fprintf(out, "%s- {series: '%s', values: '%sx%d'}\n", indent, selector(ls, target), values, samples)
		}
	}
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// selector formats a series with the labels of its target, for YAML in single quotes.
func selector(own, target labels.Labels) string {
	b := labels.NewBuilder(own).Del(model.MetricNameLabel)
	target.Range(func(l labels.Label) { b.Set(l.Name, l.Value) })
	var pairs []string
	b.Labels().Range(func(l labels.Label) { pairs = append(pairs, l.Name+"="+strconv.Quote(l.Value)) })
	return strings.ReplaceAll(own.Get(model.MetricNameLabel)+"{"+strings.Join(pairs, ",")+"}", "'", "''")
}
