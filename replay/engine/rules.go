package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	promrules "github.com/prometheus/prometheus/rules"

	"github.com/sightglass-ml/sightglass/rules"
)

// Rules are rule groups as Prometheus loads them.
type Rules struct {
	groups []rulefmt.RuleGroup
}

// notRules are folders beside rules that hold YAML files of another kind.
var notRules = []string{"tests", "testdata", "gen"}

// LoadRules reads the rule files of a folder and its subfolders, except those of tests. Of the bundle, rules.FS, the
// files come in the order in which one needs the other.
func LoadRules(fsys fs.FS) (Rules, error) {
	var names []string
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(notRules, d.Name()):
			return fs.SkipDir
		case !d.IsDir() && slices.Contains([]string{".yaml", ".yml"}, path.Ext(name)):
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return Rules{}, fmt.Errorf("list the rule files: %w", err)
	}
	if len(names) == 0 {
		return Rules{}, errors.New("no rule files: expected .yaml or .yml files in the folder or below")
	}
	slices.Sort(names)
	var out Rules
	seen := map[string]bool{}
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return Rules{}, fmt.Errorf("read rule file: %w", err)
		}
		file, errs := rulefmt.Parse(text, false, model.UTF8Validation, newParser(), slog.New(slog.DiscardHandler))
		if len(errs) > 0 {
			return Rules{}, fmt.Errorf("rule file %s: %w", name, errors.Join(errs...))
		}
		for _, g := range file.Groups {
			if seen[g.Name] && strings.HasPrefix(g.Name, "sightglass.") {
				return Rules{}, fmt.Errorf("rule file %s: group %s is in another file too; give the folder of one version of the rules", name, g.Name)
			}
			seen[g.Name] = true
			out.groups = append(out.groups, g)
		}
	}
	return out, nil
}

// Thresholds lists the names that Override takes, sorted.
func (r Rules) Thresholds() []string {
	var names []string
	for _, g := range r.groups {
		for _, rule := range g.Rules {
			if name, ok := strings.CutPrefix(rule.Record, rules.ThresholdPrefix); ok && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Override returns the rules with other defaults of thresholds, by the names of thresholds.yaml, such as drift_psi.
func (r Rules) Override(thresholds map[string]float64) (Rules, error) {
	known := r.Thresholds()
	for name, v := range thresholds {
		if !slices.Contains(known, name) {
			return Rules{}, fmt.Errorf("threshold %q does not exist, expected one of %s", name, strings.Join(known, ", "))
		}
		if math.IsNaN(v) {
			return Rules{}, fmt.Errorf("threshold %s is NaN, expected a number", name)
		}
	}
	out := Rules{groups: slices.Clone(r.groups)}
	for i, g := range out.groups {
		out.groups[i].Rules = slices.Clone(g.Rules)
		for j, rule := range g.Rules {
			if v, ok := thresholds[strings.TrimPrefix(rule.Record, rules.ThresholdPrefix)]; ok && strings.HasPrefix(rule.Record, rules.ThresholdPrefix) {
				out.groups[i].Rules[j].Expr = fmt.Sprintf("vector(%v)", v)
			}
		}
	}
	return out, nil
}

// Raw lists the metric names and matchers that the rules read and none of them records: what a history must hold.
func (r Rules) Raw() []string {
	recorded := map[string]bool{"ALERTS": true, "ALERTS_FOR_STATE": true}
	for _, g := range r.groups {
		for _, rule := range g.Rules {
			recorded[rule.Record] = true
		}
	}
	names := map[string]bool{}
	for _, g := range r.groups {
		for _, rule := range g.Rules {
			expr, err := newParser().ParseExpr(rule.Expr)
			if err != nil {
				continue // Parsed before, by LoadRules.
			}
			for _, sel := range selectors(expr) {
				if sel.name != "" && !recorded[sel.name] {
					names[sel.name] = true
				}
			}
		}
	}
	return sortedKeys(names)
}

func newParser() parser.Parser { return parser.NewParser(parser.Options{}) }

// A rule is a recording or alerting rule with what evaluation needs to know of its expression.
type rule struct {
	index    int // In file order.
	name     string
	record   string
	expr     parser.Expr
	text     string
	labels   labels.Labels
	alert    *promrules.AlertingRule
	interval int64 // Milliseconds between two evaluations.

	reads []selector
	// pure expressions depend on the instant's samples alone: no range, no offset, no time.
	pure bool
	// columnar expressions may be calculated in columns; see there.
	columnar bool
	// stepwise rules read what they or their readers record: each step needs the one before.
	stepwise bool

	// plain alerts have no templates in their labels: the labels join the results, and Prometheus expands nothing at every step.
	plain bool

	// live are the series that the last evaluation recorded, touched all that were recorded in the last block.
	live, touched map[*Series]bool

	// states of an alert that were told last, by the hash of its labels.
	states map[uint64]Transition
}

func (r *rule) outputs() []string {
	if r.record != "" {
		return []string{r.record}
	}
	return []string{"ALERTS", "ALERTS_FOR_STATE"}
}

// due is when the next alert has been pending for long enough. Until then, as long as the expression has the same result, and
// one for every alert (none is kept firing without), another evaluation changes nothing, and costs the templates of all labels.
func (r *rule) due() int64 {
	due := int64(math.MaxInt64)
	for _, s := range r.states {
		if s.State == Pending {
			due = min(due, s.ActiveAt.Add(r.alert.HoldDuration()).UnixMilli())
		}
	}
	return due
}

// selector is what one vector selector reads, and how far back.
type selector struct {
	name     string // Empty where the name is no plain equality.
	matchers []*labels.Matcher
	reach    time.Duration
}

func (s selector) mayRead(name string) bool {
	if s.name != "" {
		return s.name == name
	}
	for _, m := range s.matchers {
		if m.Name == model.MetricNameLabel && !m.Matches(name) {
			return false
		}
	}
	return true
}

// selectors returns all vector selectors of an expression. The reach is without the lookback.
func selectors(expr parser.Expr) []selector {
	var out []selector
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		vs, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		s := selector{matchers: vs.LabelMatchers, reach: vs.OriginalOffset}
		for _, m := range vs.LabelMatchers {
			if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
				s.name = m.Value
			}
		}
		for _, parent := range path {
			switch p := parent.(type) {
			case *parser.MatrixSelector:
				s.reach += p.Range
			case *parser.SubqueryExpr:
				s.reach += p.Range + p.OriginalOffset + p.Step
			}
		}
		out = append(out, s)
		return nil
	})
	return out
}

// isPure tells whether an expression is a function of the instant's samples alone.
func isPure(expr parser.Expr) bool {
	pure := true
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.MatrixSelector, *parser.SubqueryExpr, *parser.StepInvariantExpr:
			pure = false
		case *parser.VectorSelector:
			if n.OriginalOffset != 0 || n.Offset != 0 || n.Timestamp != nil || n.StartOrEnd != 0 || n.OriginalOffsetExpr != nil {
				pure = false
			}
		case *parser.Call:
			switch n.Func.Name {
			case "time", "timestamp", "info":
				pure = false
			case "day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year":
				pure = pure && len(n.Args) > 0
			}
		}
		return nil
	})
	return pure
}

// isEmpty tells whether an expression has no result for sure when the metrics that are not present have no samples. It
// may say no where the answer is yes.
func isEmpty(expr parser.Expr, present func(name string) bool) bool {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return e.Name != "" && !present(e.Name)
	case *parser.MatrixSelector:
		return isEmpty(e.VectorSelector, present)
	case *parser.SubqueryExpr:
		return isEmpty(e.Expr, present)
	case *parser.ParenExpr:
		return isEmpty(e.Expr, present)
	case *parser.UnaryExpr:
		return isEmpty(e.Expr, present)
	case *parser.StepInvariantExpr:
		return isEmpty(e.Expr, present)
	case *parser.AggregateExpr:
		return isEmpty(e.Expr, present)
	case *parser.BinaryExpr:
		left, right := isEmpty(e.LHS, present), isEmpty(e.RHS, present)
		if m := e.VectorMatching; m != nil && (m.FillValues.LHS != nil || m.FillValues.RHS != nil) {
			return left && right
		}
		switch e.Op {
		case parser.LOR:
			return left && right
		case parser.LUNLESS:
			return left
		default:
			return left || right
		}
	case *parser.Call:
		switch e.Func.Name {
		case "absent", "absent_over_time", "scalar", "vector", "info":
			return false
		}
		return slices.ContainsFunc(e.Args, func(arg parser.Expr) bool { return isEmpty(arg, present) })
	}
	return false
}

// compile makes the rules ready, in an order in which each comes after those that it reads.
func compile(in Rules, interval time.Duration) ([]unit, error) {
	var all []*rule
	for _, g := range in.groups {
		every := interval
		if g.Interval != 0 {
			every = max(interval, time.Duration(g.Interval).Truncate(interval))
		}
		for _, r := range g.Rules {
			expr, err := newParser().ParseExpr(r.Expr)
			if err != nil {
				return nil, fmt.Errorf("group %s: %s%s: %w", g.Name, r.Record, r.Alert, err)
			}
			if r.Alert != "" && len(selectors(expr)) == 0 {
				continue // A watchdog fires whatever the data says, so it says nothing of the world.
			}
			compiled := &rule{
				index: len(all), name: r.Record + r.Alert, record: r.Record, expr: expr, text: expr.String(),
				labels: groupLabels(g, r), interval: every.Milliseconds(),
				reads: selectors(expr), pure: isPure(expr), columnar: columnar(expr),
				live: map[*Series]bool{}, touched: map[*Series]bool{}, states: map[uint64]Transition{},
			}
			if r.Alert != "" {
				templates := compiled.labels
				compiled.plain = true
				compiled.labels.Range(func(l labels.Label) { compiled.plain = compiled.plain && !strings.Contains(l.Value, "{{") })
				if compiled.plain {
					templates = labels.EmptyLabels()
				}
				// The expression is evaluated here; Prometheus's rule writes it as text at every evaluation.
				compiled.alert = promrules.NewAlertingRule(r.Alert, &parser.NumberLiteral{}, time.Duration(r.For), time.Duration(r.KeepFiringFor), templates,
					labels.EmptyLabels(), labels.EmptyLabels(), "", true, slog.New(slog.DiscardHandler))
			}
			all = append(all, compiled)
		}
	}
	return order(all), nil
}

func groupLabels(g rulefmt.RuleGroup, r rulefmt.Rule) labels.Labels {
	merged := map[string]string{}
	for name, v := range g.Labels {
		merged[name] = v
	}
	for name, v := range r.Labels {
		merged[name] = v
	}
	return labels.FromMap(merged)
}
