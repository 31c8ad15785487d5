package bundle

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/prometheus/alertmanager/matcher/parse"
	"github.com/prometheus/alertmanager/pkg/labels"
	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/alertmanager"
)

// monitored are the programs to scrape, by how Kubernetes runs them: one on each node, or behind a Service.
var monitored = []struct {
	name   string
	onNode bool
}{
	{"gpu-exporter", true},
	{"dataquality-exporter", false},
	{"modelquality-exporter", false},
	{"cost-exporter", false},
	{"responder", false},
}

// prometheusOperator renders a PrometheusRule for each rule file, monitors for the exporters in the cluster, and a
// ScrapeConfig for those outside.
func (out Files) prometheusOperator(o Options, list []ruleFile) error {
	if err := out.ruleObjects(o, "monitoring.coreos.com/v1", "PrometheusRule", list); err != nil {
		return err
	}
	// honorLabels keeps the labels of an exporter: the namespace and pod of a GPU's holder differ from those of the exporter.
	endpoint := map[string]any{"port": "metrics", "interval": "30s", "honorLabels": true}
	for _, m := range monitored {
		selector := map[string]any{"matchLabels": map[string]string{"app.kubernetes.io/name": m.name, "app.kubernetes.io/part-of": "sightglass"}}
		kind, endpoints := "ServiceMonitor", "endpoints"
		if m.onNode {
			kind, endpoints = "PodMonitor", "podMetricsEndpoints"
		}
		object := o.object("monitoring.coreos.com/v1", kind, "sightglass-"+m.name, o.Labels)
		object["spec"] = map[string]any{"selector": selector, endpoints: []any{endpoint}}
		if err := out.yaml("scrape/"+m.name+".yaml", object); err != nil {
			return err
		}
	}
	outside := o.object("monitoring.coreos.com/v1alpha1", "ScrapeConfig", "sightglass-outside", o.Labels)
	outside["spec"] = map[string]any{
		"scrapeInterval": "30s",
		"honorLabels":    true,
		"staticConfigs": []any{map[string]any{
			"targets": []string{"gpu-host.example.com:10910"},
			"labels":  map[string]string{"cluster": "outside"},
		}},
	}
	return out.yaml("scrape/outside.yaml", outside)
}

// alertmanagerConfig renders routes, inhibitions and receivers as an AlertmanagerConfig, and the templates as a ConfigMap for
// spec.configMaps of the Alertmanager. The kind has no time zone: its times are UTC.
func (out Files) alertmanagerConfig(o Options) error {
	hours, err := o.hours()
	if err != nil {
		return err
	}
	files, err := alertmanager.Current(hours)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := yaml.Unmarshal(files["alertmanager.yaml"], &config); err != nil {
		return fmt.Errorf("read the Alertmanager configuration: %w", err)
	}
	spec, err := operatorSpec(config)
	if err != nil {
		return fmt.Errorf("render the Alertmanager configuration: %w", err)
	}
	object := o.object("monitoring.coreos.com/v1beta1", "AlertmanagerConfig", "sightglass", nil)
	object["spec"] = spec
	if err := out.yaml("alertmanager/alertmanagerconfig.yaml", object); err != nil {
		return err
	}
	templates := o.object("v1", "ConfigMap", "sightglass-templates", nil)
	data := map[string]string{}
	names, err := fs.Glob(alertmanager.Files, "templates/*.tmpl")
	if err != nil {
		return fmt.Errorf("list the templates: %w", err)
	}
	for _, name := range names {
		content, err := fs.ReadFile(alertmanager.Files, name)
		if err != nil {
			return fmt.Errorf("read the templates: %w", err)
		}
		data[path.Base(name)] = string(content)
	}
	templates["data"] = data
	return out.yaml("alertmanager/templates.yaml", templates)
}

// operatorSpec converts alertmanager.yaml to the spec of an AlertmanagerConfig.
func operatorSpec(config map[string]any) (map[string]any, error) {
	route, err := operatorRoute(config["route"].(map[string]any))
	if err != nil {
		return nil, err
	}
	spec := map[string]any{"route": route}
	var inhibitions, intervals, receivers []any
	for _, entry := range list(config["inhibit_rules"]) {
		source, err := operatorMatchers(entry["source_matchers"])
		if err != nil {
			return nil, err
		}
		target, err := operatorMatchers(entry["target_matchers"])
		if err != nil {
			return nil, err
		}
		inhibitions = append(inhibitions, map[string]any{"sourceMatch": source, "targetMatch": target, "equal": entry["equal"]})
	}
	for _, entry := range list(config["time_intervals"]) {
		var periods []any
		for _, period := range list(entry["time_intervals"]) {
			delete(period, "location")
			periods = append(periods, camelCase(period))
		}
		intervals = append(intervals, map[string]any{"name": entry["name"], "timeIntervals": periods})
	}
	for _, entry := range list(config["receivers"]) {
		receivers = append(receivers, operatorReceiver(entry))
	}
	spec["inhibitRules"], spec["timeIntervals"], spec["receivers"] = inhibitions, intervals, receivers
	return spec, nil
}

func operatorRoute(route map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for key, value := range route {
		switch key {
		case "matchers":
			matchers, err := operatorMatchers(value)
			if err != nil {
				return nil, err
			}
			out[key] = matchers
		case "routes":
			var children []any
			for _, child := range list(value) {
				rendered, err := operatorRoute(child)
				if err != nil {
					return nil, err
				}
				children = append(children, rendered)
			}
			out[key] = children
		default:
			out[camel(key)] = value
		}
	}
	return out, nil
}

// operatorMatchers parses matchers in Alertmanager's syntax.
func operatorMatchers(value any) ([]any, error) {
	var out []any
	for _, text := range value.([]any) {
		matcher, err := parse.Matcher(text.(string))
		if err != nil {
			return nil, fmt.Errorf("matcher %q: %w", text, err)
		}
		kinds := map[labels.MatchType]string{labels.MatchEqual: "=", labels.MatchNotEqual: "!=", labels.MatchRegexp: "=~", labels.MatchNotRegexp: "!~"}
		out = append(out, map[string]any{"name": matcher.Name, "value": matcher.Value, "matchType": kinds[matcher.Type]})
	}
	return out, nil
}

// operatorReceiver converts secret files to keys of a Secret: /etc/alertmanager/secrets/slack-ml-alerts is the key
// slack-ml-alerts of the Secret sightglass-alertmanager.
func operatorReceiver(receiver map[string]any) map[string]any {
	out := map[string]any{"name": receiver["name"]}
	for key, value := range receiver {
		if key == "name" {
			continue
		}
		var configs []any
		for _, entry := range list(value) {
			if file, ok := entry["api_url_file"].(string); ok {
				delete(entry, "api_url_file")
				entry["apiURL"] = secretKey(file)
			}
			if client, ok := entry["http_config"].(map[string]any); ok {
				if authorization, ok := client["authorization"].(map[string]any); ok {
					client["authorization"] = map[string]any{"credentials": secretKey(authorization["credentials_file"].(string))}
				}
			}
			configs = append(configs, camelCase(entry))
		}
		out[camel(key)] = configs
	}
	return out
}

func secretKey(file string) map[string]any {
	return map[string]any{"name": "sightglass-alertmanager", "key": path.Base(file)}
}

func list(value any) []map[string]any {
	var out []map[string]any
	entries, _ := value.([]any)
	for _, entry := range entries {
		out = append(out, entry.(map[string]any))
	}
	return out
}

// camelCase renames all keys of a value to camel case, recursively.
func camelCase(value any) any {
	switch value := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, child := range value {
			out[camel(key)] = camelCase(child)
		}
		return out
	case []any:
		out := slices.Clone(value)
		for i := range out {
			out[i] = camelCase(out[i])
		}
		return out
	}
	return value
}

func camel(key string) string {
	parts := strings.Split(key, "_")
	for i := 1; i < len(parts); i++ {
		parts[i] = strings.ToUpper(parts[i][:1]) + parts[i][1:]
	}
	return strings.Join(parts, "")
}
