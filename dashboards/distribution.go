package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/barchart"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/sightglass-ml/sightglass/dashboards/internal/kit"
)

// distribution shows shares by bin: now, and in the baselines. The queries must return the labels cluster, namespace and bin.
func distribution(text kit.Text, now, training, production string) *barchart.PanelBuilder {
	return kit.BarChart(text).Span(14).XField("Bin").
		// Order: numeric bins by their lower edge, other bins by their share, reserved bins last.
		WithTarget(kit.Instant("now", `sort_desc(
			label_replace(label_replace(label_replace(
			`+now+`,
			"edge", "$1", "bin", "[(]([^,]+),.+"), "edge", "-1e308", "edge", "-Inf"),
			"edge", "1e308", "bin", "null|unseen|other|nan|inf|future")
			)`)).
		WithTarget(kit.Instant("training", training)).
		WithTarget(kit.Instant("production", production)).
		WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: map[string]any{}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "convertFieldType", Options: map[string]any{
			"conversions": []map[string]any{{"targetField": "edge", "destinationType": "number"}},
		}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "sortBy", Options: map[string]any{
			"sort": []map[string]any{{"field": "edge", "desc": false}},
		}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
			"excludeByName": map[string]any{"Time": true, "edge": true, "cluster": true, "namespace": true},
			"renameByName": map[string]any{
				"bin": "Bin", "Value #now": "Now", "Value #training": "Training", "Value #production": "Production",
			},
		}})
}
