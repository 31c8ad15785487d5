package rules_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/owner"
	"github.com/sightglass-ml/sightglass/internal/testtools"
	"github.com/sightglass-ml/sightglass/rules"
)

// base are the metrics without which the expression has no result: those whose labels its results have.
func base(t *testing.T, expr parser.Expr) []string {
	t.Helper()
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return []string{e.Name}
	case *parser.ParenExpr:
		return base(t, e.Expr)
	case *parser.AggregateExpr:
		return base(t, e.Expr)
	case *parser.Call:
		return base(t, e.Args[0])
	case *parser.BinaryExpr:
		names := base(t, e.LHS)
		if e.Op == parser.LOR {
			names = append(names, base(t, e.RHS)...)
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	t.Fatalf("%T is no expression that an alert begins with", expr)
	return nil
}

// An alert must fire whether somebody owns its object or not. So what its label is taken from has every object that the
// expression can be about: those of the owners, or else of the expression's own metrics.
func TestEveryAlertAboutDataOrAModelHasItsOwner(t *testing.T) {
	eachAlert(t, func(t *testing.T, alert rulefmt.Rule) {
		object := map[string]string{"data": "dataset", "model": "model"}[alert.Labels["layer"]]
		if object == "" || strings.HasPrefix(alert.Alert, "Sightglass") {
			return
		}
		expr, err := newParser().ParseExpr(alert.Expr)
		require.NoError(t, err)
		join, ok := expr.(*parser.BinaryExpr)
		require.True(t, ok)
		key := []string{"cluster", "namespace", object}
		require.Equal(t, parser.ItemType(parser.MUL), join.Op)
		require.Equal(t, parser.CardManyToOne, join.VectorMatching.Card)
		require.Equal(t, key, join.VectorMatching.MatchingLabels)
		require.Equal(t, []string{"owner"}, join.VectorMatching.Include)

		owners, ok := join.RHS.(*parser.ParenExpr).Expr.(*parser.BinaryExpr)
		require.True(t, ok)
		require.Equal(t, parser.ItemType(parser.LOR), owners.Op)
		require.Equal(t, key, owners.VectorMatching.MatchingLabels)
		// The newest: after a restart of Prometheus there may be two for some minutes.
		require.Equal(t, fmt.Sprintf("group by (cluster, namespace, %[1]s, owner) (topk by (cluster, namespace, %[1]s) (1, timestamp(%[1]s:ml_owner:info)))", object), owners.LHS.String())
		objects, ok := owners.RHS.(*parser.AggregateExpr)
		require.True(t, ok)
		require.Equal(t, parser.ItemType(parser.GROUP), objects.Op)
		require.Equal(t, key, objects.Grouping)
		require.Equal(t, base(t, join.LHS), base(t, objects.Expr))
		require.NotContains(t, objects.Expr.String(), "{", "a matcher would leave objects out")
	})
}

// The text of a file and its expressions are changed alike: what ends in "owner)" is such a list and nothing else.
func TestAlertsCarryFurtherLabels(t *testing.T) {
	tests, err := os.ReadFile("tests/owner_test.yaml")
	require.NoError(t, err)
	dir := t.TempDir()
	for _, f := range load(t).Files {
		text, err := rules.FS.ReadFile(f.Name)
		require.NoError(t, err)
		for _, line := range strings.Split(string(text), "\n") {
			if strings.Contains(line, "owner)") {
				require.Regexp(t, `(by|group_left) \(([a-z]+, )*owner\)`, line, f.Name)
			}
		}
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(rules.Carry(string(text), []string{"tier", "product"})), 0o600))
	}
	carriedToo := strings.ReplaceAll(string(tests), "count by (alertname, owner)", "count by (alertname, owner, tier)")
	carriedToo = strings.ReplaceAll(carriedToo, `",owner="payments"}', value: 1}`, `",owner="payments",tier="gold"}', value: 1}`)
	require.NotEqual(t, string(tests), carriedToo)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "tests"), 0o755))
	file := filepath.Join(dir, "tests", "owner_test.yaml")
	require.NoError(t, os.WriteFile(file, []byte(carriedToo), 0o600))
	out, err := exec.CommandContext(t.Context(), testtools.Path(t, "promtool"), "test", "rules", file).CombinedOutput()
	require.NoError(t, err, string(out))
}

// A free label that rules group by, join on or match would be lost, or change what they count.
func TestFreeLabelsAreNoLabelsOfTheRules(t *testing.T) {
	for _, group := range load(t).Groups() {
		for _, rule := range group.Rules {
			expr, err := newParser().ParseExpr(rule.Expr)
			require.NoError(t, err)
			names := slices.Collect(maps.Keys(rule.Labels))
			parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
				switch n := node.(type) {
				case *parser.AggregateExpr:
					names = append(names, n.Grouping...)
				case *parser.BinaryExpr:
					if n.VectorMatching != nil {
						names = append(append(names, n.VectorMatching.MatchingLabels...), n.VectorMatching.Include...)
					}
				}
				return nil
			})
			if !strings.HasPrefix(group.Name, "sightglass.adapters.") {
				for _, name := range names {
					require.Error(t, owner.CheckLabel(name), "%s%s uses the label %s", rule.Record, rule.Alert, name)
				}
			}
		}
	}
}
