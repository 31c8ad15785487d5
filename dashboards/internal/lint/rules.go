package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// The three kinds of rules, each in the order of dashboard-linter's list. Our own rules come last, with the project's name as prefix.
var (
	dashboardRules = []struct {
		name  string
		check func(Dashboard) []string
	}{
		{"template-datasource-rule", templateDatasource},
		{"template-job-rule", templateOf("job", "Job")},
		{"template-instance-rule", templateOf("instance", "Instance")},
		{"template-label-promql-rule", templateLabelPromQL},
		{"template-on-time-change-reload-rule", templateReload},
		{"uneditable-dashboard", uneditable},
		{"sightglass-import", importable},
		{"sightglass-navigation", navigation},
		{"sightglass-variables", variables},
		{"sightglass-layout", layout},
		{"sightglass-lines", lines},
		{"sightglass-load", load},
		{"sightglass-marks", marks},
		{"sightglass-detail", opensOnWorst},
		{"sightglass-named", namedSelections},
		{"sightglass-title", dashboardTitle},
	}
	panelRules = []struct {
		name  string
		check func(Dashboard, Panel) []string
	}{
		{"panel-datasource-rule", panelDatasource},
		{"panel-title-description-rule", panelTitleDescription},
		{"panel-units-rule", panelUnits},
		{"panel-no-targets-rule", panelNoTargets},
		{"sightglass-no-value", noValue},
		{"sightglass-colors", colors},
		{"sightglass-gauges", gauges},
		{"sightglass-stacks", stacks},
		{"sightglass-money", money},
		{"sightglass-title", panelTitle},
		{"sightglass-bounded", bounded},
		{"sightglass-limit-named", limitNamed},
		{"sightglass-axis", axis},
		{"sightglass-needs", needs},
		{"sightglass-verdicts", verdicts},
		{"sightglass-legends", legends},
		{"sightglass-cells", cells},
		{"sightglass-columns", columns},
		{"sightglass-hidden", hidden},
		{"sightglass-firing", firing},
		{"sightglass-rows", rows},
		{"sightglass-bands", bands},
		{"sightglass-options", emptyOptions},
	}
	targetRules = []struct {
		name  string
		check func(Target) []problem
	}{
		{"target-logql-rule", targetLogQL},
		{"target-logql-auto-rule", targetLogQL},
		{"target-promql-rule", targetPromQL},
		{"target-rate-interval-rule", targetRateInterval},
		{"target-job-rule", targetMatcher("job")},
		{"target-instance-rule", targetMatcher("instance")},
		{"target-counter-agg-rule", targetCounterAgg},
		{"sightglass-scope", targetScope},
		{"sightglass-exemplars", exemplars},
		{"sightglass-limits", limitsAlone},
		{"sightglass-chance", chance},
		{"sightglass-named", named},
	}
)

const templated = "${datasource}"

// problem is a finding about one query, with its series if there is one.
type problem struct{ metric, message string }

var promQL = parser.NewParser(parser.Options{})

func (d Dashboard) variable(name string) (Variable, bool) {
	i := slices.IndexFunc(d.Templating.List, func(v Variable) bool { return v.Name == name })
	if i < 0 {
		return Variable{}, false
	}
	return d.Templating.List[i], true
}

func templateDatasource(d Dashboard) []string {
	var sources []Variable
	for _, v := range d.Templating.List {
		if v.Type == "datasource" {
			sources = append(sources, v)
		}
	}
	switch {
	case len(sources) == 0:
		return []string{"has no data source variable"}
	case sources[0].Query != "prometheus":
		return []string{"its first data source is not Prometheus, so dashboard-linter would skip half its rules"}
	case len(sources) == 1:
		if sources[0].Name != "datasource" || sources[0].Label != "Data source" {
			return []string{`the only data source variable must be "datasource", labelled "Data source"`}
		}
		return nil
	}
	var out []string
	for _, v := range sources {
		label := strings.ToUpper(v.Query[:1]) + v.Query[1:] + " data source"
		if v.Name != v.Query+"_datasource" || v.Label != label {
			out = append(out, fmt.Sprintf("of several data source variables, %q must be %q, labelled %q", v.Name, v.Query+"_datasource", label))
		}
	}
	return out
}

func templateOf(name, label string) func(Dashboard) []string {
	return func(d Dashboard) []string {
		v, ok := d.variable(name)
		if !ok {
			return []string{"has no variable " + name}
		}
		if v.Type != "query" || v.Datasource.UID != templated || v.Label != label || !v.Multi || v.AllValue != ".+" {
			return []string{fmt.Sprintf("variable %s must be a multi-value query on %s, labelled %s, with allValue .+", name, templated, label)}
		}
		return nil
	}
}

// The two forms of query variables in the bundle: any number of a label's values, or one object of an ordered list.
var (
	labelValues = regexp.MustCompile(`^label_values\((.+), ([a-z_]+)\)$`)
	queryResult = regexp.MustCompile(`(?s)^query_result\((.+)\)$`)
	objectLabel = regexp.MustCompile(`([a-z_]+)="\(\?<value>`)
)

// LabelValues returns the selector and label in the query of a variable.
func LabelValues(query string) (selector, label string, ok bool) {
	match := labelValues.FindStringSubmatch(query)
	if match == nil {
		return "", "", false
	}
	return match[1], match[2], true
}

// Objects returns the expression and the value label of a variable that lists series.
func (v Variable) Objects() (expr, label string, ok bool) {
	query, of := queryResult.FindStringSubmatch(v.Query), objectLabel.FindStringSubmatch(v.Regex)
	if query == nil || of == nil {
		return "", "", false
	}
	return query[1], of[1], true
}

func templateLabelPromQL(d Dashboard) []string {
	var out []string
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		selector, _, ok := LabelValues(v.Query)
		if !ok {
			selector, _, ok = v.Objects()
		}
		if !ok {
			out = append(out, fmt.Sprintf("variable %s: %q is neither label_values(selector, label) nor query_result(expression) with a regex that names the value", v.Name, v.Query))
			continue
		}
		if _, err := promQL.ParseExpr(Expand(selector)); err != nil {
			out = append(out, fmt.Sprintf("variable %s: %v", v.Name, err))
		}
	}
	return out
}

func templateReload(d Dashboard) []string {
	var out []string
	for _, v := range d.Templating.List {
		if v.Type == "query" && v.Refresh != 2 {
			out = append(out, "variable "+v.Name+" must refresh when the time range changes")
		}
	}
	return out
}

func uneditable(d Dashboard) []string {
	if d.Editable == nil || *d.Editable {
		return []string{"must not be editable"}
	}
	return nil
}

func panelDatasource(_ Dashboard, p Panel) []string {
	if p.Type == "row" || p.Type == "text" || p.Datasource.UID == templated {
		return nil
	}
	return []string{fmt.Sprintf("data source %q is not the variable", p.Datasource.UID)}
}

func panelTitleDescription(_ Dashboard, p Panel) []string {
	if p.Title == "" || (p.Type != "row" && p.Description == "") {
		return []string{"needs a title and a description"}
	}
	return nil
}

func panelUnits(_ Dashboard, p Panel) []string {
	if p.Type == "row" || p.Type == "text" || len(p.FieldConfig.Defaults.Mappings) > 0 {
		return nil
	}
	used := []string{p.FieldConfig.Defaults.Unit}
	for _, override := range p.FieldConfig.Overrides {
		for _, property := range override.Properties {
			if property.ID == "unit" {
				used = append(used, text(property.Value))
			}
		}
	}
	for _, unit := range used {
		if !slices.Contains(units, unit) {
			if strings.HasPrefix(unit, customCurrency) {
				return []string{fmt.Sprintf("unit %q is custom", unit)}
			}
			return []string{fmt.Sprintf("unit %q is missing or unknown", unit)}
		}
	}
	return nil
}

// units are the units from Grafana's and dashboard-linter's common list that suit an ML pipeline.
var units = []string{
	"none", "string", "short", "sci", "percent", "percentunit",
	"s", "ms", "d", "dtdurations", "dateTimeAsIso", "dateTimeFromNow",
	"bytes", "Bps", "celsius", "watt", "joule", "hertz",
	"cps", "ops", "reqps", "rps", "currencyUSD", "bool_yes_no", "bool_on_off",
}

// customCurrency is the prefix of Grafana's custom currency units, which dashboard-linter does not know.
const customCurrency = "currency:"

func panelNoTargets(_ Dashboard, p Panel) []string {
	if p.Type == "row" || p.Type == "text" || len(p.Targets) > 0 {
		return nil
	}
	return []string{"has no query"}
}

// targetLogQL rejects Loki queries, because the project has no parser to check them.
func targetLogQL(t Target) []problem {
	if t.Datasource.Type == "loki" {
		return []problem{{message: "a LogQL query cannot be checked here"}}
	}
	return nil
}

func targetPromQL(t Target) []problem {
	if _, err := promQL.ParseExpr(Expand(t.Expr)); err != nil {
		return []problem{{message: err.Error()}}
	}
	return nil
}

func targetRateInterval(t Target) []problem {
	var out []problem
	inspect(t, func(node parser.Node, path []parser.Node) {
		matrix, ok := node.(*parser.MatrixSelector)
		if !ok || len(path) == 0 {
			return
		}
		call, ok := path[len(path)-1].(*parser.Call)
		if ok && (call.Func.Name == "rate" || call.Func.Name == "irate") && matrix.Range.String() != rateInterval {
			out = append(out, problem{message: call.Func.Name + " must range over $__rate_interval"})
		}
	})
	return out
}

func targetMatcher(label string) func(Target) []problem {
	return func(t Target) []problem {
		var out []problem
		selectors(t, func(s *parser.VectorSelector, _ []parser.Node) {
			if !matches(s, label) {
				out = append(out, problem{metricName(s), fmt.Sprintf("%s lacks %s=~\"$%s\"", metricName(s), label, label)})
			}
		})
		return out
	}
}

func targetCounterAgg(t Target) []problem {
	var out []problem
	selectors(t, func(s *parser.VectorSelector, path []parser.Node) {
		if !strings.HasSuffix(metricName(s), "_total") {
			return
		}
		if len(path) >= 2 {
			call, ok := path[len(path)-2].(*parser.Call)
			if ok && slices.Contains([]string{"rate", "irate", "increase"}, call.Func.Name) {
				return
			}
		}
		out = append(out, problem{metricName(s), "counter " + metricName(s) + " is not inside rate, irate or increase"})
	})
	return out
}

// targetScope checks what an exclusion in .lint would hide, because exclusions apply to whole panels: only recorded series may lack job and
// instance, and every variable of the header must filter every query except default thresholds.
func targetScope(t Target) []problem {
	var out []problem
	if t.Datasource.UID != templated {
		out = append(out, problem{message: fmt.Sprintf("data source %q is not the variable", t.Datasource.UID)})
	}
	selectors(t, func(s *parser.VectorSelector, _ []parser.Node) {
		name := metricName(s)
		if strings.HasPrefix(name, "ml:threshold:") {
			return
		}
		wanted := []string{"cluster", "namespace"}
		if !Aggregated(name) {
			wanted = append(wanted, "job", "instance")
		}
		for _, label := range wanted {
			if !matches(s, label) {
				out = append(out, problem{name, fmt.Sprintf("%s lacks %s=~\"$%s\"", name, label, label)})
			}
		}
	})
	return out
}

func inspect(t Target, visit func(parser.Node, []parser.Node)) {
	expr, err := promQL.ParseExpr(Expand(t.Expr))
	if err != nil {
		return // target-promql-rule reports it.
	}
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		visit(node, path)
		return nil
	})
}

func selectors(t Target, visit func(*parser.VectorSelector, []parser.Node)) {
	inspect(t, func(node parser.Node, path []parser.Node) {
		if s, ok := node.(*parser.VectorSelector); ok {
			visit(s, path)
		}
	})
}

// metricName returns the metric name of a selector, which can also be a matcher.
func metricName(s *parser.VectorSelector) string {
	for _, m := range s.LabelMatchers {
		if m.Name == model.MetricNameLabel {
			return m.Value
		}
	}
	return s.Name
}

func matches(s *parser.VectorSelector, label string) bool {
	return slices.ContainsFunc(s.LabelMatchers, func(m *labels.Matcher) bool {
		return m.Name == label && m.Type == labels.MatchRegexp && m.Value == "$"+label
	})
}
