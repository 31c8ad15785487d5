// Package speedup compresses the time of rules: weeks pass in minutes under the production rules, in the demo and in end-to-end tests.
//
// Input: rule files and a factor. Output: the same rules with shorter durations: ranges, offsets, subqueries, numbers written as durations,
// `for`, `keep_firing_for`, intervals, and thresholds whose name ends in _seconds. Points in time (@) and templates stay as they are.
// State: none.
package speedup

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/sightglass-ml/sightglass/rules"
	"github.com/sightglass-ml/sightglass/rules/ruleset"
)

// Factor is by how much time is compressed: with 60, an hour of the rules lasts a minute. 0 and 1 do not change time.
type Factor float64

// Duration compresses a duration. The result is at least a millisecond, the shortest duration in Prometheus; the same applies to negative
// ones. 0, which means "none", stays 0.
func (f Factor) Duration(d time.Duration) time.Duration {
	if !f.compresses() || d == 0 {
		return d
	}
	compressed := time.Duration(math.Round(float64(d)/float64(f)/float64(time.Millisecond))) * time.Millisecond
	if compressed == 0 {
		compressed = time.Millisecond
		if d < 0 {
			compressed = -compressed
		}
	}
	return compressed
}

// Rules loads the rules and compresses their time.
func (f Factor) Rules() (ruleset.Set, error) {
	if f != 0 && !(f >= 1) || math.IsInf(float64(f), 0) {
		return ruleset.Set{}, fmt.Errorf("speedup is %v, expected 1 or more", float64(f))
	}
	set, err := ruleset.Load()
	if err != nil || !f.compresses() {
		return set, err
	}
	for _, file := range set.Files {
		if err := f.compress(file.Groups); err != nil {
			return ruleset.Set{}, fmt.Errorf("compress time in %s: %w", file.Name, err)
		}
	}
	return set, nil
}

func (f Factor) compresses() bool { return f != 0 && f != 1 }

// defaultInterval is the interval of the groups that do not set a longer one.
const defaultInterval = model.Duration(30 * time.Second)

func (f Factor) compress(groups []rulefmt.RuleGroup) error {
	short := func(d *model.Duration) {
		if d != nil {
			*d = model.Duration(f.Duration(time.Duration(*d)))
		}
	}
	thresholds, err := rules.Thresholds()
	if err != nil {
		return err
	}
	for i := range groups {
		if groups[i].Interval <= defaultInterval {
			groups[i].Interval = 0 // The caller also sets Prometheus's evaluation interval.
		}
		short(&groups[i].Interval)
		short(groups[i].QueryOffset)
		for j := range groups[i].Rules {
			rule := &groups[i].Rules[j]
			short(&rule.For)
			short(&rule.KeepFiringFor)
			// Only the name of a threshold shows that it is a duration, because a vector has no unit.
			signal, isThreshold := strings.CutPrefix(rule.Record, rules.ThresholdPrefix)
			if k := slices.IndexFunc(thresholds, func(t rules.Threshold) bool { return t.Signal == signal }); isThreshold && k >= 0 {
				if strings.HasSuffix(signal, "_seconds") {
					rule.Expr = fmt.Sprintf("vector(%v)", thresholds[k].Value/float64(f))
				}
				continue
			}
			var err error
			if rule.Expr, err = f.compressExpr(rule.Expr); err != nil {
				return fmt.Errorf("%s%s: %w", rule.Record, rule.Alert, err)
			}
		}
	}
	return nil
}

func (f Factor) compressExpr(text string) (string, error) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return "", err
	}
	var calculated *parser.DurationExpr
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			n.OriginalOffset = f.Duration(n.OriginalOffset)
			calculated = firstOf(calculated, n.OriginalOffsetExpr)
		case *parser.MatrixSelector:
			n.Range = f.Duration(n.Range)
			calculated = firstOf(calculated, n.RangeExpr)
		case *parser.SubqueryExpr:
			n.Range, n.Step, n.OriginalOffset = f.Duration(n.Range), f.Duration(n.Step), f.Duration(n.OriginalOffset)
			calculated = firstOf(calculated, n.RangeExpr, n.StepExpr, n.OriginalOffsetExpr)
		case *parser.NumberLiteral:
			if n.Duration {
				n.Val = f.Duration(time.Duration(n.Val * float64(time.Second))).Seconds()
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
