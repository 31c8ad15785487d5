package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
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

// notRules are folders whose YAML files are not rules.
var notRules = []string{"tests", "testdata", "gen"}

// LoadRules reads the rule files of a folder and its subfolders, except tests. The names of the files in rules.FS sort in the
// order in which their groups depend on each other.
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

// Alerts returns the names of the alerts, sorted.
func (r Rules) Alerts() []string {
	var names []string
	for _, g := range r.groups {
		for _, rule := range g.Rules {
			if rule.Alert != "" && !slices.Contains(names, rule.Alert) {
				names = append(names, rule.Alert)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Thresholds returns the names that Override accepts, sorted.
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

// Override returns the rules with other default thresholds. The names are those of thresholds.yaml, such as drift_psi.
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

// Raw returns the metric names and matchers that the rules read and no rule records. A history has to contain them.
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
				continue // LoadRules has parsed it before.
			}
			for _, sel := range selectors(expr) {
				if sel.name != "" && !recorded[sel.name] {
					names[sel.name] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func newParser() parser.Parser { return parser.NewParser(parser.Options{}) }

// A rule is a recording or alerting rule, prepared for evaluation.
type rule struct {
	index    int // position in file order
	name     string
	record   string
	expr     parser.Expr
	text     string
	labels   labels.Labels
	alert    *promrules.AlertingRule
	interval int64 // milliseconds between two evaluations

	reads []selector
	// pure expressions depend only on samples of the instant: no range, no offset, no time().
	pure bool
	// columnar expressions may be calculated in columns; see columnar.
	columnar bool
	// stepwise rules depend on their own results: each step needs the one before.
	stepwise bool

	// plain alerts have no templates in their labels. The labels are added to the results, and Prometheus expands no template
	// at each step.
	plain bool

	// live are the series that the last evaluation recorded, touched those recorded at any step of the last block.
	live, touched map[*Series]bool

	// states are the last reported states of alerts, by the hash of their labels.
	states map[uint64]Transition
}

func (r *rule) outputs() []string {
	if r.record != "" {
		return []string{r.record}
	}
	return []string{"ALERTS", "ALERTS_FOR_STATE"}
}

// due returns when the next pending alert starts to fire. Until then an evaluation with the same result changes nothing and
// can be skipped, provided that each alert has a result (an alert that is kept firing has none). Each evaluation expands the
// templates of all labels.
func (r *rule) due() int64 {
	due := int64(math.MaxInt64)
	for _, s := range r.states {
		if s.State == Pending {
			due = min(due, s.ActiveAt.Add(r.alert.HoldDuration()).UnixMilli())
		}
	}
	return due
}

// selector is a vector selector and how far back it reads.
type selector struct {
	name     string // empty without an equality matcher for the name
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

// selectors returns all vector selectors of an expression. reach excludes the lookback.
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

// isPure reports whether an expression depends only on samples of the instant.
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

// isEmpty reports whether an expression certainly has no result if only the present metrics have samples. It may return false
// for an expression without a result.
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

// compile prepares the rules and orders them so that each follows the rules that it reads.
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
				continue // Skip watchdogs: they always fire.
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
				// The engine evaluates the expression itself. Prometheus's rule would format it as text at every evaluation,
				// so it gets a short one.
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
