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

// The rules of this file hold that a dashboard can be read when something is wrong. Each was broken once.

// openQueries is how many queries a dashboard may send at each refresh as it opens. Closed rows send none.
const openQueries = 50

func text(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s)
	return s
}

// lines holds that the panels of a row fill its lines: panels side by side end together, and nothing is left empty.
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

// load bounds what an open dashboard asks of Prometheus.
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

// marks holds that an annotation marks moments. The series of a firing alert exists at every step, and marked by its existence it
// would paint the whole chart.
func marks(d Dashboard) []string {
	var out []string
	for _, a := range d.Annotations.List {
		if !a.UseValueForTime {
			out = append(out, "annotation "+a.Name+" marks every step at which its series exists, not the time in its value")
		}
	}
	return out
}

// opensOnWorst holds that a dashboard opens on the default data source, and where one object is shown, on the worst.
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

// question matches titles that have to be read to their end, where one has to be found at a glance.
var question = regexp.MustCompile(`^(How|What|Why|Who|Where|When|Does|Is|Are|More) |\?$|C\$`)

func dashboardTitle(d Dashboard) []string {
	if strings.HasPrefix(d.Title, "Sightglass") {
		return []string{"repeats the name of its folder"}
	}
	return nil
}

func panelTitle(_ Dashboard, p Panel) []string {
	if question.MatchString(p.Title) || len(p.Title) > 60 {
		return []string{"its title is a sentence, a question or a unit, or longer than 60 characters"}
	}
	return nil
}

// noValue holds that a table has no text for "no value": Grafana prints it into every empty cell of rows that have values.
func noValue(_ Dashboard, p Panel) []string {
	if p.Type == "table" && p.FieldConfig.Defaults.NoValue != "" {
		return []string{fmt.Sprintf("prints %q into every empty cell", p.FieldConfig.Defaults.NoValue)}
	}
	return nil
}

// severityColors are kept for severities and for limits.
var severityColors = regexp.MustCompile(`(?i)red|orange|yellow|green`)

// colors holds that data is never drawn in a colour that means something is wrong or well.
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

// gauges holds that a bar in a cell has a colour: Grafana's default is green below 80, whatever the value means.
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

// stacks holds that only parts of one whole are stacked.
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

// money holds that amounts of money have a currency.
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
				return // An amount over another is a share.
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

// selection matches a selection of any number of objects. Selections of clusters, namespaces, jobs and instances narrow, they do
// not list.
var selection = regexp.MustCompile(`\b(dataset|model|department)=~"\$(dataset|model|department)"`)

// bounded holds that a chart of selected objects draws the worst few and not all. The query "limit" is one line.
func bounded(_ Dashboard, p Panel) []string {
	if p.Type != "timeseries" {
		return nil
	}
	var out []string
	for _, t := range p.Targets {
		expr, err := promQL.ParseExpr(Expand(t.Expr))
		match := selection.FindStringSubmatch(t.Expr)
		if err != nil || match == nil || t.RefID == "limit" || strings.Contains(t.Expr, "topk(") || strings.Contains(t.Expr, "bottomk(") {
			continue
		}
		if total, ok := expr.(*parser.AggregateExpr); ok && !slices.Contains(total.Grouping, match[1]) {
			continue
		}
		out = append(out, fmt.Sprintf("query %s draws every %s that is selected", t.RefID, match[1]))
	}
	return out
}

// exemplars holds that exemplars are drawn where they belong: Grafana draws their values, in seconds, on the axis of the query.
func exemplars(t Target) []problem {
	if !t.Exemplar {
		return nil
	}
	if expr, err := promQL.ParseExpr(Expand(t.Expr)); err == nil {
		if _, scaled := expr.(*parser.BinaryExpr); scaled {
			return []problem{{message: "its exemplars are in another unit than its result"}}
		}
	}
	return nil
}

// limitsAlone holds that a limit for everybody is drawn only beside what it limits: alone it looks like a measurement.
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
