package lint

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

// The query "limit" shows a limit as one dashed line with a legend entry. The query "limits" shows the limits of single objects as lines
// without legend entries.

var limitSeries = regexp.MustCompile(`:limit(5m|1d)?$|^ml:threshold:`)

// limitNamed checks that the legend of a chart names its limit exactly once, and that a limit does not look like a measurement.
func limitNamed(_ Dashboard, p Panel) []string {
	if p.Type != "timeseries" {
		return nil
	}
	var out []string
	one, many := p.target("limit"), p.target("limits")
	switch {
	case one == nil && many == nil:
		if strings.Contains(p.Description, "Dashed") {
			out = append(out, "promises a dashed line and draws no limit")
		}
	case one == nil:
		out = append(out, "draws the limits of single objects, and its legend names no limit")
	case !strings.Contains(one.LegendFormat, "limit") || strings.Contains(strings.ReplaceAll(one.LegendFormat, "{{limit}}", ""), "{{"):
		out = append(out, "its legend does not name the limit once")
	case p.hidden("limit"):
		out = append(out, "its legend leaves the limit out")
	case !p.dashed("limit"):
		out = append(out, "its limit is not dashed")
	}
	if many != nil && !p.hidden("limits") {
		out = append(out, "its legend names the limit of every object")
	}
	if many != nil && !p.dashed("limits") {
		out = append(out, "the limits of its objects are not dashed")
	}
	for _, t := range p.Targets {
		if name := drawn(t); name != "" && t.RefID != "limit" && t.RefID != "limits" {
			out = append(out, "query "+t.RefID+" draws the limit "+name+" as if it were measured")
		}
	}
	return out
}

func (p Panel) target(refID string) *Target {
	if i := slices.IndexFunc(p.Targets, func(t Target) bool { return t.RefID == refID }); i >= 0 {
		return &p.Targets[i]
	}
	return nil
}

// property returns an option of the series of one query, or of one column.
func (p Panel) property(of, id string) json.RawMessage {
	for _, override := range p.FieldConfig.Overrides {
		if override.Matcher.Options != of {
			continue
		}
		for _, property := range override.Properties {
			if property.ID == id {
				return property.Value
			}
		}
	}
	return nil
}

func (p Panel) dashed(refID string) bool {
	return strings.Contains(string(p.property(refID, "custom.lineStyle")), `"dash"`)
}

func (p Panel) hidden(refID string) bool {
	var from struct{ Legend bool }
	return json.Unmarshal(p.property(refID, "custom.hideFrom"), &from) == nil && from.Legend
}

// drawn returns the limit whose value a query shows, in contrast to limits that it compares with or divides by.
func drawn(t Target) string {
	expr, err := promQL.ParseExpr(Expand(t.Expr))
	if err != nil {
		return ""
	}
	return formatLimit(expr)
}

func formatLimit(node parser.Expr) string {
	switch node := node.(type) {
	case *parser.VectorSelector:
		if name := metricName(node); limitSeries.MatchString(name) {
			return name
		}
	case *parser.ParenExpr:
		return formatLimit(node.Expr)
	case *parser.AggregateExpr:
		return formatLimit(node.Expr)
	case *parser.BinaryExpr:
		if node.Op == parser.LOR {
			if name := formatLimit(node.RHS); name != "" {
				return name
			}
		}
		if node.Op != parser.DIV {
			return formatLimit(node.LHS)
		}
	}
	return ""
}

// chance checks that drift less its error margin is never shown below zero, because negative drift has no meaning. A query that only ranks
// may have negative values.
func chance(t Target) []problem {
	var out []problem
	inspect(t, func(node parser.Node, path []parser.Node) {
		sub, ok := node.(*parser.BinaryExpr)
		if !ok || sub.Op != parser.SUB || !readsNoise(sub.RHS) || slices.ContainsFunc(path, clamps) {
			return
		}
		out = append(out, problem{message: "drift beyond chance can be negative: clamp it at 0"})
	})
	return out
}

func readsNoise(node parser.Expr) bool {
	found := false
	parser.Inspect(node, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok && strings.Contains(metricName(s), ":psi_noise") {
			found = true
		}
		return nil
	})
	return found
}

func clamps(node parser.Node) bool {
	switch node := node.(type) {
	case *parser.Call:
		return node.Func.Name == "clamp_min"
	case *parser.AggregateExpr:
		return node.Op == parser.TOPK
	}
	return false
}
