package rules

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// Time compression lets a demonstration or a test simulate weeks in minutes with the production rules. All durations are scaled: ranges,
// offsets, subqueries, numbers written as durations, `for`, `keep_firing_for`, intervals, and thresholds whose name ends in _seconds.
// Points in time (@) are not.

// Duration compresses a duration. The result is at least a millisecond, the shortest duration in Prometheus; the same applies to negative
// ones. 0, which means "none", stays 0.
func (o Options) Duration(d time.Duration) time.Duration {
	if !o.compresses() || d == 0 {
		return d
	}
	compressed := time.Duration(math.Round(float64(d)/o.Speedup/float64(time.Millisecond))) * time.Millisecond
	if compressed == 0 {
		compressed = time.Millisecond
		if d < 0 {
			compressed = -compressed
		}
	}
	return compressed
}

func (o Options) compresses() bool { return o.Speedup != 0 && o.Speedup != 1 }

func (o Options) validate() error {
	if o.Speedup != 0 && !(o.Speedup >= 1) || math.IsInf(o.Speedup, 0) {
		return fmt.Errorf("speedup is %v, expected 1 or more", o.Speedup)
	}
	return nil
}

// usualInterval is the interval of the groups that do not set a longer one.
const usualInterval = model.Duration(30 * time.Second)

func (o Options) compress(groups []rulefmt.RuleGroup) error {
	if !o.compresses() {
		return nil
	}
	short := func(d *model.Duration) {
		if d != nil {
			*d = model.Duration(o.Duration(time.Duration(*d)))
		}
	}
	for i := range groups {
		if groups[i].Interval <= usualInterval {
			groups[i].Interval = 0 // The user of a compressed bundle also sets Prometheus's evaluation interval.
		}
		short(&groups[i].Interval)
		short(groups[i].QueryOffset)
		for j := range groups[i].Rules {
			rule := &groups[i].Rules[j]
			short(&rule.For)
			short(&rule.KeepFiringFor)
			var err error
			if isThreshold(*rule) {
				rule.Expr, err = o.compressThreshold(*rule)
			} else {
				rule.Expr, err = o.compressExpr(rule.Expr)
			}
			if err != nil {
				return fmt.Errorf("%s%s: %w", rule.Record, rule.Alert, err)
			}
		}
	}
	return nil
}

// compressThreshold scales a threshold that is a duration. Only its name tells that it is one, because a vector has no unit.
func (o Options) compressThreshold(rule rulefmt.Rule) (string, error) {
	if !strings.HasSuffix(rule.Record, "_seconds") {
		return rule.Expr, nil
	}
	number, err := thresholdNumber(rule)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("vector(%v)", number.Val/o.Speedup), nil
}

func (o Options) compressExpr(text string) (string, error) {
	expr, err := newParser().ParseExpr(text)
	if err != nil {
		return "", err
	}
	var calculated *parser.DurationExpr
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			n.OriginalOffset = o.Duration(n.OriginalOffset)
			calculated = firstOf(calculated, n.OriginalOffsetExpr)
		case *parser.MatrixSelector:
			n.Range = o.Duration(n.Range)
			calculated = firstOf(calculated, n.RangeExpr)
		case *parser.SubqueryExpr:
			n.Range, n.Step, n.OriginalOffset = o.Duration(n.Range), o.Duration(n.Step), o.Duration(n.OriginalOffset)
			calculated = firstOf(calculated, n.RangeExpr, n.StepExpr, n.OriginalOffsetExpr)
		case *parser.NumberLiteral:
			if n.Duration {
				n.Val = o.Duration(time.Duration(n.Val * float64(time.Second))).Seconds()
			}
		}
		return nil
	})
	if calculated != nil {
		return "", fmt.Errorf("the calculated duration %s cannot be compressed; write its result", calculated)
	}
	return expr.String(), nil
}

func firstOf(exprs ...*parser.DurationExpr) *parser.DurationExpr {
	for _, e := range exprs {
		if e != nil {
			return e
		}
	}
	return nil
}
