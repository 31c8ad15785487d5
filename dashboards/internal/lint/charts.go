package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// drawings are the panel types that show data over time or over bins.
var drawings = []string{"timeseries", "barchart", "heatmap", "state-timeline"}

// axis checks that the axis of a chart with only zeros does not end at 100, which is Grafana's default: a first value of one per cent would
// look like zero.
func axis(_ Dashboard, p Panel) []string {
	d := p.FieldConfig.Defaults
	if p.Type != "timeseries" || d.Max != nil {
		return nil
	}
	soft := d.Custom.AxisSoftMax
	switch {
	case soft <= 0:
		return []string{"draws a line of zeros on an axis up to 100: it has no soft maximum"}
	case d.Unit == "percentunit" && soft > 0.05, soft > 1:
		return []string{fmt.Sprintf("its soft maximum of %v hides small values", soft)}
	}
	return nil
}

// needs checks that a chart without data shows what it needs instead of "No data", which looks like a fault of the dashboard.
func needs(_ Dashboard, p Panel) []string {
	if !slices.Contains(drawings, p.Type) {
		return nil
	}
	if text := p.FieldConfig.Defaults.NoValue; !strings.HasPrefix(text, "No data. Needs ") || !strings.HasSuffix(text, ".") {
		return []string{fmt.Sprintf("says %q where it has no data, and not what it needs", text)}
	}
	return nil
}

// verdicts checks that small or large values are never coloured as good: a severity colour starts at a limit, and below the limit there is
// no colour.
func verdicts(_ Dashboard, p Panel) []string {
	d := p.FieldConfig.Defaults
	steps := d.Thresholds.Steps
	if len(steps) == 0 || d.Color.Mode != "" && d.Color.Mode != "thresholds" {
		return nil
	}
	if p.Type != "stat" && len(steps) > 1 {
		return []string{"colours its data by fixed values"}
	}
	if len(d.Mappings) == 0 && severityColors.MatchString(steps[0].Color) {
		return []string{"is " + steps[0].Color + " before any limit"}
	}
	return nil
}

// named checks that a legend identifies objects by names that people know: a GPU by host and number, not by its UUID.
func named(t Target) []problem {
	if strings.Contains(t.LegendFormat, "{{uuid}}") {
		return []problem{{message: "its legend shows a GPU as a UUID"}}
	}
	return nil
}

var uuidText = regexp.MustCompile(`^/.*\(\?<text>`)

// named checks that a selection uses such names too.
func namedSelections(d Dashboard) []string {
	var out []string
	for _, v := range d.Templating.List {
		if v.Type == "query" && strings.Contains(v.Regex, `uuid="(?<value>`) && !uuidText.MatchString(v.Regex) {
			out = append(out, "variable "+v.Name+" shows a GPU as a UUID")
		}
	}
	return out
}

// legends limits the space of a legend: two numbers a line, in a chart that is high enough.
func legends(_ Dashboard, p Panel) []string {
	l := p.Options.Legend
	if p.Type != "timeseries" || l.DisplayMode != "table" {
		return nil
	}
	if len(l.Calcs) > 2 || (l.Placement == "bottom" && p.GridPos.H < 9) {
		return []string{"its legend takes the chart's place"}
	}
	return nil
}
