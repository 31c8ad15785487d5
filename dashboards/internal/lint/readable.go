package lint

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

// The rules in this file keep dashboards readable during an incident. Each rule was violated once.

// openQueries is the largest number of queries that a dashboard sends at each refresh in its initial state. Collapsed rows send none.
const openQueries = 50

func text(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s)
	return s
}

// lines checks that the panels of a row fill its lines without gaps.
func lines(d Dashboard) []string {
	out := unfilled(d.Panels)
	for _, p := range d.Panels {
		out = append(out, unfilled(p.Panels)...)
	}
	return out
}

func unfilled(panels []Panel) []string {
	var out []string
	lines := map[int][]Panel{}
	for _, p := range panels {
		if p.Type != "row" {
			lines[p.GridPos.Y] = append(lines[p.GridPos.Y], p)
		}
	}
	for _, y := range slices.Sorted(maps.Keys(lines)) {
		line, width := lines[y], 0
		for _, p := range line {
			width += p.GridPos.W
			if p.GridPos.H != line[0].GridPos.H {
				out = append(out, fmt.Sprintf("panel %q is %d high beside panels of %d", p.Title, p.GridPos.H, line[0].GridPos.H))
			}
		}
		if width != 24 {
			out = append(out, fmt.Sprintf("the line that ends with panel %q is %d of 24 wide", line[len(line)-1].Title, width))
		}
	}
	return out
}

// load limits the queries of an open dashboard.
func load(d Dashboard) []string {
	count := 0
	for _, p := range d.Panels {
		count += len(p.Targets)
	}
	if count > openQueries {
		return []string{fmt.Sprintf("sends %d queries as it opens, at most %d: close rows of details", count, openQueries)}
	}
	return nil
}

// marks checks that an annotation marks points in time. The series of a firing alert exists at every step, so marking its existence would
// cover the chart.
func marks(d Dashboard) []string {
	var out []string
	for _, a := range d.Annotations.List {
		if !a.UseValueForTime {
			out = append(out, "annotation "+a.Name+" marks every step at which its series exists, not the time in its value")
		}
	}
	return out
}

// opensOnWorst checks that a dashboard opens with the default data source and, if it shows one object, with the worst.
func opensOnWorst(d Dashboard) []string {
	var out []string
	for _, v := range d.Templating.List {
		switch {
		case v.Type == "datasource" && v.Current.Value != "default":
			out = append(out, "variable "+v.Name+" does not open on the default data source")
		case v.Type == "query" && !v.Multi:
			if expr, _, ok := v.Objects(); !ok || !strings.HasPrefix(expr, "sort_desc(") || v.Sort != 0 {
				out = append(out, "variable "+v.Name+" opens on the first name of the alphabet and not on the worst object")
			}
		}
	}
	return out
}

// question matches titles that are questions or sentences, because they cannot be found quickly.
var question = regexp.MustCompile(`^(How|What|Why|Who|Where|When|Does|Is|Are|More) |\?$|C\$`)

func dashboardTitle(d Dashboard) []string {
	if strings.HasPrefix(d.Title, "Sightglass") {
		return []string{"repeats the name of its folder"}
	}
	var out []string
	seen := map[string]bool{}
	for _, p := range d.AllPanels() {
		if p.Type == "row" {
			continue
		}
		if seen[p.Title] {
			out = append(out, fmt.Sprintf("has two panels with the title %q", p.Title))
		}
		seen[p.Title] = true
	}
	return out
}

func panelTitle(_ Dashboard, p Panel) []string {
	if question.MatchString(p.Title) || len(p.Title) > 60 {
		return []string{"its title is a sentence, a question or a unit, or longer than 60 characters"}
	}
	return nil
}

// noValue checks that a table has no text for "no value". Grafana writes it into every empty cell of rows that have values.
func noValue(_ Dashboard, p Panel) []string {
	if p.Type == "table" && p.FieldConfig.Defaults.NoValue != "" {
		return []string{fmt.Sprintf("prints %q into every empty cell", p.FieldConfig.Defaults.NoValue)}
	}
	return nil
}

// severityColors are reserved for severities and limits.
var severityColors = regexp.MustCompile(`(?i)red|orange|yellow|green`)

// colors checks that data never has a colour that means good or bad.
func colors(_ Dashboard, p Panel) []string {
	var out []string
	check := func(of string, c Color) {
		if strings.HasPrefix(c.Mode, "palette") || (strings.HasPrefix(c.Mode, "continuous") && severityColors.MatchString(strings.NewReplacer("Gr", "green", "Rd", "red", "Yl", "yellow").Replace(c.Mode))) {
			out = append(out, of+" is drawn in a palette that contains red")
		}
		if (c.Mode == "fixed" || c.Mode == "shades") && severityColors.MatchString(c.FixedColor) {
			out = append(out, of+" is drawn in the colour of a severity")
		}
	}
	check("data", p.FieldConfig.Defaults.Color)
	for _, override := range p.FieldConfig.Overrides {
		if of := fmt.Sprint(override.Matcher.Options); of != "limit" && of != "limits" {
			for _, property := range override.Properties {
				var c Color
				if property.ID == "color" && json.Unmarshal(property.Value, &c) == nil {
					check(of, c)
				}
			}
		}
	}
	return out
}

// gauges checks that a bar in a cell has a colour. Grafana's default is green below 80, for any unit.
func gauges(_ Dashboard, p Panel) []string {
	var out []string
	for _, override := range p.FieldConfig.Overrides {
		gauge, colored := false, false
		for _, property := range override.Properties {
			gauge = gauge || (property.ID == "custom.cellOptions" && strings.Contains(string(property.Value), `"gauge"`))
			colored = colored || property.ID == "color" || property.ID == "thresholds"
		}
		if gauge && !colored {
			out = append(out, fmt.Sprintf("the gauge %v is green without a limit", override.Matcher.Options))
		}
	}
	return out
}

// stacks checks that only parts of a total are stacked.
func stacks(_ Dashboard, p Panel) []string {
	if p.FieldConfig.Defaults.Custom.Stacking.Mode != "normal" {
		return nil
	}
	for _, t := range p.Targets {
		if strings.Contains(t.Expr, `model=~"$model"`) {
			return []string{"stacks several models to a sum that exists nowhere"}
		}
	}
	return nil
}

var dollarSeries = regexp.MustCompile(`(_cad|:cad\w*)$`)

// money checks that amounts of money have a currency.
func money(_ Dashboard, p Panel) []string {
	units := []string{p.FieldConfig.Defaults.Unit}
	for _, override := range p.FieldConfig.Overrides {
		for _, property := range override.Properties {
			if property.ID == "unit" {
				units = append(units, text(property.Value))
			}
		}
	}
	if slices.ContainsFunc(units, func(unit string) bool { return strings.HasPrefix(unit, customCurrency) }) {
		return nil
	}
	var out []string
	for _, t := range p.Targets {
		selectors(t, func(s *parser.VectorSelector, path []parser.Node) {
			if slices.ContainsFunc(path, divides) {
				return // A ratio of amounts is a share.
			}
			if name := metricName(s); dollarSeries.MatchString(name) && !strings.HasPrefix(name, "ml:threshold:") {
				out = append(out, name+" is an amount of money in a panel without a currency")
			}
		})
	}
	return out
}

func divides(node parser.Node) bool {
	binary, ok := node.(*parser.BinaryExpr)
	return ok && binary.Op == parser.DIV
}

// exemplars checks the unit of exemplars: Grafana draws their values, in seconds, on the axis of the query.
func exemplars(t Target) []problem {
	if !t.Exemplar {
		return nil
	}
	if expr, err := promQL.ParseExpr(Expand(t.Expr)); err == nil {
		if b, ok := expr.(*parser.BinaryExpr); ok && !b.Op.IsSetOperator() {
			return []problem{{message: "its exemplars are in another unit than its result"}}
		}
	}
	return nil
}

// limitsAlone checks that a limit of all objects is shown only together with its series. Alone it would look like a measurement.
func limitsAlone(t Target) []problem {
	expr, err := promQL.ParseExpr(Expand(t.Expr))
	if err != nil {
		return nil
	}
	if s, ok := expr.(*parser.VectorSelector); ok && strings.HasPrefix(metricName(s), "ml:threshold:") {
		return []problem{{message: metricName(s) + " is drawn where nothing is measured"}}
	}
	return nil
}
