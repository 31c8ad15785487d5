package kit

import "github.com/grafana/grafana-foundation-sdk/go/dashboard"

// suitEveryGrafana changes what the SDK writes for one version of Grafana only:
//   - it places links in a menu that some versions do not have;
//   - it writes options that are not set as empty texts, which are no value of theirs: without them Grafana takes its default;
//   - it has the pages of a table in its footer, where Grafana 12.2 and later do not look.
func suitEveryGrafana(node any) {
	switch node := node.(type) {
	case map[string]any:
		if node["placement"] == string(dashboard.DashboardLinkPlacementInControlsMenu) {
			delete(node, "placement")
		}
		if options, ok := node["options"].(map[string]any); ok && node["gridPos"] != nil {
			dropEmpty(options)
			if footer, ok := options["footer"].(map[string]any); ok && node["type"] == "table" {
				options["enablePagination"] = footer["enablePagination"]
			}
		}
		for _, child := range node {
			suitEveryGrafana(child)
		}
	case []any:
		for _, child := range node {
			suitEveryGrafana(child)
		}
	}
}

func dropEmpty(options map[string]any) {
	for key, value := range options {
		switch value := value.(type) {
		case string:
			if value == "" {
				delete(options, key)
			}
		case map[string]any:
			dropEmpty(value)
		}
	}
}
