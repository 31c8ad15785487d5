package lint

import (
	"fmt"
	"math"
	"strconv"

	"github.com/prometheus/prometheus/promql/parser"
)

// mostLines is the number of lines of a chart that a reader can distinguish.
const mostLines = 10

// enumerations are the labels with a fixed set of values, and the number of them.
var enumerations = map[string]int{"severity": 3, "layer": 4, "le": 1}

// unbounded is the value for an unlimited number of series.
const unbounded = math.MaxInt32

// bounded checks that a chart shows at most ten lines, whatever is selected and however many objects there are. Lines of limits do not count:
// one of them is in the legend.
func bounded(_ Dashboard, p Panel) []string {
	if p.Type != "timeseries" {
		return nil
	}
	var out []string
	lines := 0
	for _, t := range p.Targets {
		expr, err := promQL.ParseExpr(Expand(t.Expr))
		if err != nil || t.RefID == "limit" || t.RefID == "limits" {
			continue
		}
		most := most(expr)
		if most >= unbounded {
			out = append(out, fmt.Sprintf("query %s draws any number of lines: select them once for the whole time range, by topk(10, … @ end())", t.RefID))
			continue
		}
		lines += most
	}
	if lines > mostLines {
		out = append(out, fmt.Sprintf("draws up to %d lines, at most %d", lines, mostLines))
	}
	return out
}

// most is the number of series that an expression can have over a time range.
func most(expr parser.Expr) int {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return most(e.Expr)
	case *parser.StepInvariantExpr:
		return most(e.Expr)
	case *parser.UnaryExpr:
		return most(e.Expr)
	case *parser.NumberLiteral:
		return 1
	case *parser.Call:
		return mostOfCall(e)
	case *parser.AggregateExpr:
		return mostOfAggregate(e)
	case *parser.BinaryExpr:
		return mostOfBinary(e)
	}
	return unbounded
}

func mostOfCall(c *parser.Call) int {
	for _, arg := range c.Args {
		if t := arg.Type(); t == parser.ValueTypeVector || t == parser.ValueTypeMatrix {
			return most(arg)
		}
	}
	return 1
}

// mostOfAggregate knows that topk at every step can have other series at each: only one choice for the whole range limits them.
func mostOfAggregate(a *parser.AggregateExpr) int {
	if a.Op == parser.TOPK || a.Op == parser.BOTTOMK {
		k, err := strconv.Atoi(a.Param.String())
		if err != nil || len(a.Grouping) > 0 || !atEnd(a.Expr) {
			return most(a.Expr)
		}
		return min(k, most(a.Expr))
	}
	if a.Without {
		return most(a.Expr)
	}
	groups := 1
	for _, label := range a.Grouping {
		values, ok := enumerations[label]
		if !ok {
			return most(a.Expr)
		}
		groups *= values
	}
	return min(groups, most(a.Expr))
}

func mostOfBinary(b *parser.BinaryExpr) int {
	left, right := most(b.LHS), most(b.RHS)
	switch {
	case b.Op == parser.LOR:
		return min(left+right, unbounded)
	case b.Op == parser.LUNLESS:
		return left
	case b.LHS.Type() == parser.ValueTypeScalar:
		return right
	case b.RHS.Type() == parser.ValueTypeScalar:
		return left
	case b.VectorMatching != nil && b.VectorMatching.Card == parser.CardManyToOne:
		return left
	case b.VectorMatching != nil && b.VectorMatching.Card == parser.CardOneToMany:
		return right
	}
	return min(left, right) // One to one, or a selection of objects by what they are identified by.
}

// atEnd reports whether an expression is evaluated once, at the end of the time range.
func atEnd(expr parser.Expr) bool {
	found, all := false, true
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			found = true
			all = all && s.StartOrEnd == parser.END
		}
		return nil
	})
	return found && all
}
