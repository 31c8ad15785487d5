// Package bundle renders the rules, dashboards and Alertmanager configuration in the forms in which they are deployed.
//
// Input: the embedded files of the packages rules, dashboards and alertmanager, and options. Output: files by their path in
// the target folder. State: none. It never changes a rule: every form has the same groups.
package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/rulefmt"
	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/alertmanager"
	"github.com/sightglass-ml/sightglass/dashboards"
	"github.com/sightglass-ml/sightglass/internal/owner"
	"github.com/sightglass-ml/sightglass/rules"
	"github.com/sightglass-ml/sightglass/rules/ruleset"
)

// Options select what is rendered and how. The zero value renders everything as plain files.
type Options struct {
	// Rules is the form of the rules, one of RuleForms. Empty is "files".
	Rules string
	// Dashboards is the form of the dashboards, one of DashboardForms. Empty is "files".
	Dashboards string
	// Alertmanager is the oldest version that has to read the plain configuration, one of Alertmanagers. Empty is the first.
	Alertmanager string
	// TimeZone and WorkingHours, such as America/Toronto and 08:00-18:00, set the interval off-hours. Empty keeps the
	// defaults.
	TimeZone, WorkingHours string
	// Adapters are the names of the adapters to include, such as "dcgm" and "vllm". Empty includes all.
	Adapters []string
	// ObjectLabels are free labels of datasets and models that alerts get in addition to owner.
	ObjectLabels []string
	// Namespace is the namespace of Kubernetes objects. Empty leaves it to kubectl.
	Namespace string
	// Labels are added to the Kubernetes objects of the rules, for the ruleSelector of a Prometheus.
	Labels map[string]string
}

// Files maps slash-separated paths to contents.
type Files map[string][]byte

// RuleForms are the forms of rules: plain files, objects of the Prometheus Operator, of the VictoriaMetrics operator, and rule
// namespaces for the rulers of Mimir and Cortex.
func RuleForms() []string {
	return []string{"files", "prometheus-operator", "victoriametrics", "mimir"}
}

// DashboardForms are the forms of dashboards: files to import, with a provider for Grafana's provisioning, ConfigMaps for the
// sidecar of Grafana's Helm chart, and objects of the Grafana operator.
func DashboardForms() []string {
	return []string{"files", "provisioning", "sidecar", "grafana-operator"}
}

// Alertmanagers are the oldest versions that the plain configuration can be rendered for. Debian 12 has 0.25.
func Alertmanagers() []string { return []string{"0.31", "0.25"} }

// always are adapters that every installation needs: those of Sightglass's own exporters, and coverage, which reports missing
// sources.
var always = []string{"gpu", "modelquality", "coverage"}

// Adapters returns the names for Options.Adapters.
func Adapters() ([]string, error) {
	names, err := fs.Glob(rules.FS, "adapters/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list the adapters: %w", err)
	}
	var out []string
	for _, name := range names {
		if adapter := adapterOf(name); !slices.Contains(always, adapter) {
			out = append(out, adapter)
		}
	}
	return out, nil
}

func adapterOf(name string) string { return strings.TrimSuffix(path.Base(name), ".yaml") }

// ruleFile is a rule file as in the repository, with its comments, and parsed.
type ruleFile struct {
	name   string
	text   []byte
	groups []rulefmt.RuleGroup
}

// Render renders the bundle. For an unknown form or adapter, the error lists the known ones.
func Render(o Options) (Files, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	list, err := o.ruleFiles()
	if err != nil {
		return nil, err
	}
	out := Files{}
	switch o.Rules {
	case "", "files":
		out.plainRules(list)
		err = out.plainAlertmanager(o)
	case "prometheus-operator":
		err = errors.Join(out.prometheusOperator(o, list), out.alertmanagerConfig(o))
	case "victoriametrics":
		err = errors.Join(out.ruleObjects(o, "operator.victoriametrics.com/v1beta1", "VMRule", list), out.plainAlertmanager(o))
	case "mimir":
		err = errors.Join(out.mimir(list), out.plainAlertmanager(o))
	}
	if err != nil {
		return nil, err
	}
	return out, out.dashboards(o)
}

func (o Options) check() error {
	var errs []error
	for _, c := range []struct {
		what, value string
		known       []string
	}{{"form of rules", o.Rules, RuleForms()}, {"form of dashboards", o.Dashboards, DashboardForms()}, {"version of Alertmanager", o.Alertmanager, Alertmanagers()}} {
		if c.value != "" && !slices.Contains(c.known, c.value) {
			errs = append(errs, fmt.Errorf("unknown %s %q: it is one of %s", c.what, c.value, strings.Join(c.known, ", ")))
		}
	}
	_, err := o.hours()
	errs = append(errs, err)
	known, err := Adapters()
	errs = append(errs, err)
	for _, adapter := range o.Adapters {
		if !slices.Contains(known, adapter) && !slices.Contains(always, adapter) {
			errs = append(errs, fmt.Errorf("unknown adapter %q: the adapters are %s", adapter, strings.Join(known, ", ")))
		}
	}
	for _, label := range o.ObjectLabels {
		if err := owner.CheckLabel(label); err != nil {
			errs = append(errs, fmt.Errorf("label of objects: %w", err))
		}
	}
	if o.Namespace != "" && !dnsLabel.MatchString(o.Namespace) {
		errs = append(errs, fmt.Errorf("namespace %q is no name of a Kubernetes namespace: lower-case letters, digits and hyphens, at most 63", o.Namespace))
	}
	return errors.Join(errs...)
}

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (o Options) ruleFiles() ([]ruleFile, error) {
	loaded, err := ruleset.Load()
	if err != nil {
		return nil, err
	}
	var out []ruleFile
	for _, f := range loaded.Files {
		adapter := adapterOf(f.Name)
		if o.Rules == "victoriametrics" && strings.HasPrefix(f.Name, "native/") {
			continue // MetricsQL lacks the functions for native histograms, and vmalert would not start with them.
		}
		if strings.HasPrefix(f.Name, "adapters/") && len(o.Adapters) > 0 && !slices.Contains(o.Adapters, adapter) && !slices.Contains(always, adapter) {
			continue
		}
		text, err := fs.ReadFile(rules.FS, f.Name)
		if err != nil {
			return nil, fmt.Errorf("read the rules: %w", err)
		}
		for _, g := range f.Groups {
			for i := range g.Rules {
				g.Rules[i].Expr = rules.Carry(g.Rules[i].Expr, o.ObjectLabels)
			}
		}
		out = append(out, ruleFile{f.Name, []byte(rules.Carry(string(text), o.ObjectLabels)), f.Groups})
	}
	return out, nil
}

// plainRules renders the rule files, and the lines of prometheus.yml that load them in the order of their dependencies.
func (out Files) plainRules(list []ruleFile) {
	var snippet strings.Builder
	snippet.WriteString("# Add these lines to prometheus.yml, with the path of this folder.\nrule_files:\n")
	var folders []string
	for _, f := range list {
		out["rules/"+f.name] = f.text
		if entry := path.Join("rules", path.Dir(f.name), "*.yaml"); !slices.Contains(folders, entry) {
			folders = append(folders, entry)
			fmt.Fprintf(&snippet, "  - %s\n", entry)
		}
	}
	out["prometheus-rule-files.yaml"] = []byte(snippet.String())
}

func (o Options) hours() (alertmanager.Hours, error) {
	return alertmanager.ParseHours(o.TimeZone, o.WorkingHours)
}

func (out Files) plainAlertmanager(o Options) error {
	hours, err := o.hours()
	if err != nil {
		return err
	}
	read := alertmanager.Current
	if o.Alertmanager == "0.25" {
		read = alertmanager.Older
	}
	files, err := read(hours)
	for name, content := range files {
		out["alertmanager/"+name] = content
	}
	return err
}

// mimir writes one rule namespace per file, in the format of mimirtool and cortextool.
func (out Files) mimir(list []ruleFile) error {
	for _, f := range list {
		if err := out.yaml("mimir/"+objectName(f.name)+".yaml", map[string]any{"namespace": objectName(f.name), "groups": f.groups}); err != nil {
			return err
		}
	}
	return nil
}

// ruleObjects renders one Kubernetes object for each rule file. The operators of Prometheus and VictoriaMetrics read the same
// groups.
func (out Files) ruleObjects(o Options, version, kind string, list []ruleFile) error {
	for _, f := range list {
		object := o.object(version, kind, objectName(f.name), o.Labels)
		object["spec"] = map[string]any{"groups": f.groups}
		if err := out.yaml("rules/"+objectName(f.name)+".yaml", object); err != nil {
			return err
		}
	}
	return nil
}

// objectName converts "alerts/data.yaml" to "sightglass-alerts-data".
func objectName(file string) string {
	return "sightglass-" + strings.NewReplacer("/", "-", "_", "-").Replace(strings.TrimSuffix(file, ".yaml"))
}

// object is a Kubernetes object without a spec.
func (o Options) object(version, kind, name string, labels map[string]string) map[string]any {
	all := map[string]string{"app.kubernetes.io/part-of": "sightglass"}
	for key, value := range labels {
		all[key] = value
	}
	metadata := map[string]any{"name": name, "labels": all}
	if o.Namespace != "" {
		metadata["namespace"] = o.Namespace
	}
	return map[string]any{"apiVersion": version, "kind": kind, "metadata": metadata}
}

func (out Files) yaml(name string, object any) error {
	var text strings.Builder
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(object); err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	out[name] = []byte(text.String())
	return nil
}

// dashboards renders the dashboards, each as the same JSON.
func (out Files) dashboards(o Options) error {
	files, err := dashboards.Files()
	if err != nil {
		return err
	}
	for name, content := range files {
		uid, ok := strings.CutPrefix(name, "json/")
		if !ok {
			continue // It is only used in the repository.
		}
		uid = strings.TrimSuffix(uid, ".json")
		switch o.Dashboards {
		case "", "files", "provisioning":
			out["dashboards/json/"+uid+".json"] = content
		case "sidecar":
			object := o.object("v1", "ConfigMap", uid, map[string]string{"grafana_dashboard": "1"})
			object["metadata"].(map[string]any)["annotations"] = map[string]string{"grafana_folder": "Sightglass"}
			object["data"] = map[string]string{uid + ".json": string(content)}
			err = out.yaml("dashboards/"+uid+".yaml", object)
		case "grafana-operator":
			object := o.object("grafana.integreatly.org/v1beta1", "GrafanaDashboard", uid, nil)
			object["spec"] = map[string]any{
				"folder":           "Sightglass",
				"instanceSelector": map[string]any{"matchLabels": map[string]string{"dashboards": "grafana"}},
				"json":             string(content),
			}
			err = out.yaml("dashboards/"+uid+".yaml", object)
		}
		if err != nil {
			return err
		}
	}
	if o.Dashboards == "provisioning" {
		out["dashboards/provisioning/sightglass.yaml"] = []byte(`# Copy to provisioning/dashboards/ of Grafana, and json/ to the path below.
apiVersion: 1
providers:
  - name: sightglass
    folder: Sightglass
    type: file
    options:
      path: /var/lib/grafana/dashboards/sightglass
`)
	}
	return nil
}
