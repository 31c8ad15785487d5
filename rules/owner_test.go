package rules

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
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
		require.Equal(t, object+":ml_owner:info", owners.LHS.String())
		objects, ok := owners.RHS.(*parser.AggregateExpr)
		require.True(t, ok)
		require.Equal(t, parser.ItemType(parser.GROUP), objects.Op)
		require.Equal(t, key, objects.Grouping)
		require.Equal(t, base(t, join.LHS), base(t, objects.Expr))
		require.NotContains(t, objects.Expr.String(), "{", "a matcher would leave objects out")
	})
}
