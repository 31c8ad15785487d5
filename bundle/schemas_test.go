package bundle_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	k8s "sigs.k8s.io/yaml"

	"github.com/sightglass-ml/sightglass/bundle"
)

// grafanaDashboard has the fields of a GrafanaDashboard that the Grafana operator's v1beta1 knows and that we write.
type grafanaDashboard struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name, Namespace string
		Labels          map[string]string
	}
	Spec struct {
		Folder           string
		JSON             string
		InstanceSelector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		} `yaml:"instanceSelector"`
	}
}

// mimirNamespace is a file of mimirtool and cortextool: the groups of one namespace of rules.
type mimirNamespace struct {
	Namespace string
	Groups    []rulefmt.RuleGroup
}

// provider is a file of Grafana's provisioning.
type provider struct {
	APIVersion int `yaml:"apiVersion"`
	Providers  []struct {
		Name, Folder, Type string
		Options            struct{ Path string }
	}
}

// strictly decodes a file and refuses fields that its reader does not know.
func strictly(t *testing.T, name string, content []byte, into any) {
	t.Helper()
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(into), name)
}

func TestDashboardFormsHaveOnlyFieldsOfTheirReader(t *testing.T) {
	t.Parallel()
	read := map[string]func(name string, content []byte){
		"grafana-operator": func(name string, content []byte) {
			var object grafanaDashboard
			strictly(t, name, content, &object)
			require.Equal(t, "grafana.integreatly.org/v1beta1", object.APIVersion, name)
			require.Equal(t, "GrafanaDashboard", object.Kind, name)
			require.Equal(t, "monitoring", object.Metadata.Namespace, name)
			require.NotEmpty(t, object.Spec.InstanceSelector.MatchLabels, "%s: without a selector it is in no Grafana", name)
			require.NotEmpty(t, object.Spec.JSON, name)
		},
		"sidecar": func(name string, content []byte) {
			var object corev1.ConfigMap
			require.NoError(t, k8s.UnmarshalStrict(content, &object), name)
			require.Equal(t, "monitoring", object.Namespace, name)
			require.Equal(t, "1", object.Labels["grafana_dashboard"], "%s: the label that the sidecar looks for by default", name)
			require.Len(t, object.Data, 1, name)
		},
		"provisioning": func(name string, content []byte) {
			var file provider
			strictly(t, name, content, &file)
			require.Equal(t, 1, file.APIVersion, name)
			require.Len(t, file.Providers, 1, name)
			require.Equal(t, "file", file.Providers[0].Type, name)
			require.NotEmpty(t, file.Providers[0].Options.Path, name)
		},
	}
	for form, check := range read {
		checked := 0
		for name, content := range render(t, bundle.Options{Dashboards: form, Namespace: "monitoring"}) {
			require.Less(t, len(content), mebibyte, name)
			if strings.HasPrefix(name, "dashboards/") && strings.HasSuffix(name, ".yaml") {
				checked++
				check(name, content)
			}
		}
		require.NotZero(t, checked, form)
	}
}

func TestMimirFileIsOneNamespaceOfRules(t *testing.T) {
	t.Parallel()
	namespaces := map[string]bool{}
	for name, content := range render(t, bundle.Options{Rules: "mimir"}) {
		if !strings.HasPrefix(name, "mimir/") {
			continue
		}
		var file mimirNamespace
		strictly(t, name, content, &file)
		require.NotEmpty(t, file.Namespace, name)
		require.False(t, namespaces[file.Namespace], "%s: two files of the namespace %s overwrite each other", name, file.Namespace)
		namespaces[file.Namespace] = true
		groups := map[string]bool{}
		for _, group := range file.Groups {
			require.False(t, groups[group.Name], "%s has two groups %s", name, group.Name)
			groups[group.Name] = true
		}
	}
	require.NotEmpty(t, namespaces)
}
