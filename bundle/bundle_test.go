package bundle_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	monitoringv1alpha1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
	monitoringv1beta1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1beta1"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	k8s "sigs.k8s.io/yaml"

	"github.com/sightglass-ml/sightglass/bundle"
	"github.com/sightglass-ml/sightglass/internal/testtools"
	"github.com/sightglass-ml/sightglass/rules"
	"github.com/sightglass-ml/sightglass/rules/ruleset"
)

// mebibyte is the largest object that Kubernetes stores.
const mebibyte = 1 << 20

func render(t *testing.T, o bundle.Options) bundle.Files {
	t.Helper()
	files, err := bundle.Render(o)
	require.NoError(t, err)
	return files
}

func load(t *testing.T) []rulefmt.RuleGroup {
	t.Helper()
	b, err := ruleset.Load()
	require.NoError(t, err)
	return b.Groups()
}

// groups reads the rule groups of every form.
func groups(t *testing.T, files bundle.Files) []rulefmt.RuleGroup {
	t.Helper()
	var out []rulefmt.RuleGroup
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasPrefix(name, "rules/") && !strings.HasPrefix(name, "mimir/") {
			continue
		}
		var file struct {
			Groups []rulefmt.RuleGroup `yaml:"groups"`
			Spec   struct {
				Groups []rulefmt.RuleGroup `yaml:"groups"`
			} `yaml:"spec"`
		}
		require.NoError(t, yaml.Unmarshal(files[name], &file), name)
		out = append(append(out, file.Groups...), file.Spec.Groups...)
	}
	return out
}

func TestEveryFormHoldsTheSameRules(t *testing.T) {
	for _, form := range bundle.RuleForms() {
		t.Run(form, func(t *testing.T) {
			want := load(t)
			if form == "victoriametrics" {
				want = slices.DeleteFunc(want, func(g rulefmt.RuleGroup) bool { return strings.HasPrefix(g.Name, "sightglass.native.") })
			}
			require.ElementsMatch(t, want, groups(t, render(t, bundle.Options{Rules: form})))
		})
	}
}

func TestEveryFormCarriesFreeLabels(t *testing.T) {
	want := load(t)
	changed := 0
	for _, g := range want {
		for i, r := range g.Rules {
			g.Rules[i].Expr = rules.Carry(r.Expr, []string{"tier", "product"})
			if g.Rules[i].Expr != r.Expr {
				changed++
			}
		}
	}
	require.Greater(t, changed, 30)
	for _, form := range []string{"files", "prometheus-operator", "mimir"} {
		require.ElementsMatch(t, want, groups(t, render(t, bundle.Options{Rules: form, ObjectLabels: []string{"tier", "product"}})), form)
	}
	_, err := bundle.Render(bundle.Options{ObjectLabels: []string{"severity", "a b"}})
	require.EqualError(t, err, "label of objects: \"severity\" is a label that Sightglass or Prometheus sets itself; want another name, such as \"team_severity\"\n"+
		"label of objects: \"a b\" is not the name of a label; want a letter, then letters, digits and underscores, 40 characters at most")
}

func TestEveryFormHoldsTheSameDashboards(t *testing.T) {
	plain := render(t, bundle.Options{})
	for _, form := range bundle.DashboardForms() {
		files := render(t, bundle.Options{Dashboards: form})
		for name, want := range plain {
			uid, ok := strings.CutPrefix(name, "dashboards/json/")
			if !ok {
				continue
			}
			switch form {
			case "files", "provisioning":
				require.Equal(t, string(want), string(files[name]))
				continue
			}
			var object struct {
				Data map[string]string
				Spec struct{ JSON string }
			}
			require.NoError(t, yaml.Unmarshal(files["dashboards/"+strings.TrimSuffix(uid, ".json")+".yaml"], &object))
			require.Equal(t, string(want), object.Data[uid]+object.Spec.JSON, "%s as %s", uid, form)
		}
	}
}

func TestOnlyRequestedAdaptersAreIncluded(t *testing.T) {
	files := render(t, bundle.Options{Adapters: []string{"dcgm", "vllm", "node"}})
	var adapters []string
	for name := range files {
		if adapter, ok := strings.CutPrefix(name, "rules/adapters/"); ok {
			adapters = append(adapters, strings.TrimSuffix(adapter, ".yaml"))
		}
	}
	require.ElementsMatch(t, []string{"coverage", "dcgm", "gpu", "modelquality", "node", "vllm"}, adapters)
	require.Contains(t, files, "rules/alerts/data.yaml")
}

func TestUnknownOptionsAreRefusedWithTheKnownOnes(t *testing.T) {
	for sentence, c := range map[string]struct {
		options bundle.Options
		message string
	}{
		"a form of rules":      {bundle.Options{Rules: "helm"}, `unknown form of rules "helm": it is one of files, prometheus-operator, victoriametrics, mimir`},
		"a form of dashboards": {bundle.Options{Dashboards: "pdf"}, `unknown form of dashboards "pdf"`},
		"an adapter":           {bundle.Options{Adapters: []string{"vlm"}}, `unknown adapter "vlm": the adapters are accelerators, `},
		"a namespace":          {bundle.Options{Namespace: "ML team"}, `namespace "ML team" is no name of a Kubernetes namespace`},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := bundle.Render(c.options)
			require.ErrorContains(t, err, c.message)
		})
	}
}

// The Prometheus Operator's own types read every object, and know every field of it.
func TestThePrometheusOperatorReadsItsObjects(t *testing.T) {
	files := render(t, bundle.Options{Rules: "prometheus-operator", Dashboards: "sidecar", Namespace: "monitoring", Labels: map[string]string{"release": "prometheus"}})
	kinds := map[string]int{}
	for name, content := range files {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		require.Less(t, len(content), mebibyte, name)
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Metadata   struct {
				Namespace string            `json:"namespace"`
				Labels    map[string]string `json:"labels"`
			} `json:"metadata"`
		}
		require.NoError(t, k8s.Unmarshal(content, &head), name)
		require.Equal(t, "monitoring", head.Metadata.Namespace, name)
		kinds[head.Kind]++
		object := map[string]any{
			"PrometheusRule":     &monitoringv1.PrometheusRule{},
			"ServiceMonitor":     &monitoringv1.ServiceMonitor{},
			"PodMonitor":         &monitoringv1.PodMonitor{},
			"ScrapeConfig":       &monitoringv1alpha1.ScrapeConfig{},
			"AlertmanagerConfig": &monitoringv1beta1.AlertmanagerConfig{},
		}[head.Kind]
		if object == nil {
			require.Equal(t, "ConfigMap", head.Kind, name)
			continue
		}
		require.NoError(t, k8s.UnmarshalStrict(content, object), name)
		if config, ok := object.(*monitoringv1beta1.AlertmanagerConfig); ok {
			requireValid(t, config)
			continue
		}
		require.Equal(t, "prometheus", head.Metadata.Labels["release"], name)
	}
	require.Equal(t, 4, kinds["ServiceMonitor"])
	require.Equal(t, 1, kinds["PodMonitor"])
	require.Equal(t, 1, kinds["ScrapeConfig"])
	require.Equal(t, 1, kinds["AlertmanagerConfig"])
	require.NotZero(t, kinds["PrometheusRule"])
}

// requireValid checks what the operator's admission checks, routes within routes included.
func requireValid(t *testing.T, config *monitoringv1beta1.AlertmanagerConfig) {
	t.Helper()
	receivers := map[string]bool{}
	for _, receiver := range config.Spec.Receivers {
		receivers[receiver.Name] = true
		for _, slack := range receiver.SlackConfigs {
			require.NoError(t, slack.Validate())
			require.Equal(t, "sightglass-alertmanager", slack.APIURL.Name)
		}
		for _, webhook := range receiver.WebhookConfigs {
			require.NoError(t, webhook.HTTPConfig.Validate())
		}
	}
	for _, interval := range config.Spec.TimeIntervals {
		require.NoError(t, interval.Validate())
	}
	require.NotEmpty(t, config.Spec.InhibitRules)
	var visit func(route monitoringv1beta1.Route)
	visit = func(route monitoringv1beta1.Route) {
		require.True(t, route.Receiver == "" || receivers[route.Receiver], route.Receiver)
		children, err := route.ChildRoutes()
		require.NoError(t, err)
		for _, child := range children {
			visit(child)
		}
	}
	visit(*config.Spec.Route)
}

func TestPrometheusLoadsThePlainForm(t *testing.T) {
	promtool := testtools.Path(t, "promtool")
	dir := t.TempDir()
	for name, content := range render(t, bundle.Options{Adapters: []string{"dcgm", "vllm", "node"}}) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, content, 0o600))
	}
	output, err := exec.CommandContext(t.Context(), promtool, "check", "config", filepath.Join(dir, "prometheus-rule-files.yaml")).CombinedOutput()
	require.NoError(t, err, string(output))
	require.Contains(t, string(output), "rule files found")
}
