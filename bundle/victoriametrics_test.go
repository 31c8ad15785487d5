package bundle_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/bundle"
)

// vmRule has the fields of a VMRule that the operator of VictoriaMetrics knows and that rules here may use. It refuses others, durations
// that are not texts, groups of one name, and more than half of what a Secret holds. Its Go types are not to be had as a module.
type vmRule struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name, Namespace string
		Labels          map[string]string
	}
	Spec struct {
		Groups []struct {
			Name, Interval string
			Limit          int
			Labels         map[string]string
			Rules          []struct {
				Record, Alert, Expr, For string
				KeepFiringFor            string `yaml:"keep_firing_for"`
				Labels, Annotations      map[string]string
			}
		}
	}
}

const vmRuleLimit = 512 << 10

func TestVMRulesHaveOnlyFieldsOfTheOperator(t *testing.T) {
	t.Parallel()
	objects := 0
	for name, body := range render(t, bundle.Options{Rules: "victoriametrics", Namespace: "monitoring"}) {
		if !strings.HasPrefix(name, "rules/") {
			continue
		}
		objects++
		var object vmRule
		decoder := yaml.NewDecoder(bytes.NewReader(body))
		decoder.KnownFields(true)
		require.NoError(t, decoder.Decode(&object), name)
		require.Equal(t, "operator.victoriametrics.com/v1beta1", object.APIVersion)
		require.Equal(t, "VMRule", object.Kind)
		require.Less(t, len(body), vmRuleLimit, name)
		names := map[string]bool{}
		for _, group := range object.Spec.Groups {
			require.False(t, names[group.Name], "%s has two groups %s", name, group.Name)
			names[group.Name] = true
			require.NotEmpty(t, group.Rules, name)
			for _, rule := range group.Rules {
				require.NotEmpty(t, rule.Expr, name)
				require.NotEqual(t, rule.Record == "", rule.Alert == "", "%s: %s", name, rule.Expr)
			}
		}
	}
	require.Greater(t, objects, 10)
}
