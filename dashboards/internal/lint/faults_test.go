package lint

import (
	"maps"
	"slices"
	"testing"
)

// limit adds the queries "limit" and "limits" and how they are drawn.
func (p parts) limit(legend string, overrides ...any) {
	for _, ref := range []string{"limit", "limits"} {
		p.series["targets"] = append(p.series["targets"].([]any), object{
			"refId": ref, "datasource": p.datasourceRef(), "legendFormat": legend, "expr": "min(job:widgets:limit{" + scope + "})",
		})
	}
	p.series["fieldConfig"].(object)["overrides"] = overrides
}

func line(of string, hidden bool) object {
	properties := []any{object{"id": "custom.lineStyle", "value": object{"fill": "dash"}}}
	if hidden {
		properties = append(properties, object{"id": "custom.hideFrom", "value": object{"legend": true}})
	}
	return object{"matcher": object{"id": "byFrameRefID", "options": of}, "properties": properties}
}

// table makes the second panel a table with these columns.
func (p parts) table(titles, properties object, sortBy ...any) {
	all := object{"cluster": "Cluster", "namespace": "Namespace"}
	maps.Copy(all, titles)
	p.stat["type"] = "table"
	p.stat["options"] = object{"footer": object{"enablePagination": true}, "enablePagination": true, "sortBy": sortBy}
	p.stat["transformations"] = []any{object{"id": "organize", "options": object{
		"renameByName": all, "excludeByName": object{"__name__": true, "Time": true},
	}}}
	var overrides []any
	for _, title := range slices.Sorted(maps.Keys(properties)) {
		var list []any
		for id, value := range properties[title].(object) {
			list = append(list, object{"id": id, "value": value})
		}
		overrides = append(overrides, object{"matcher": object{"id": "byName", "options": title}, "properties": list})
	}
	p.stat["fieldConfig"].(object)["overrides"] = overrides
}

var (
	alertColumns = object{"Value #severity": "Severity", "Value #since": "Since", "alertname": "Alert"}
	alertCells   = object{"Alert": object{"links": []any{object{"url": "/"}}, "custom.width": 280}}
	worstFirst   = object{"displayName": "Severity", "desc": true}
	oldestFirst  = object{"displayName": "Since", "desc": false}
)

func (p parts) override(of, property string, value any) {
	p.series["fieldConfig"].(object)["overrides"] = []any{object{
		"matcher": object{"id": "byFrameRefID", "options": of}, "properties": []any{object{"id": property, "value": value}},
	}}
}

// Each of these was once seen in a dashboard of this bundle.
func TestKnownFaultsAreRefused(t *testing.T) {
	faults{
		"a limit that the legend names once is fine": {
			func(p parts) { p.limit("limit", line("limit", false), line("limits", true)) },
			nil,
		},
		"a limit that the legend does not name is refused": {
			func(p parts) { p.limit("", line("limit", false), line("limits", true)) },
			[]string{"sightglass-limit-named"},
		},
		"a limit that the legend names for every object is refused": {
			func(p parts) { p.limit("limit of {{model}}", line("limit", false), line("limits", true)) },
			[]string{"sightglass-limit-named"},
		},
		"limits of single objects in the legend are refused": {
			func(p parts) { p.limit("limit", line("limit", false), line("limits", false)) },
			[]string{"sightglass-limit-named"},
		},
		"a limit that is left out of the legend is refused": {
			func(p parts) { p.limit("limit", line("limit", true), line("limits", true)) },
			[]string{"sightglass-limit-named"},
		},
		"a limit that is drawn like data is refused": {
			func(p parts) { p.limit("limit") },
			[]string{"sightglass-limit-named", "sightglass-limit-named", "sightglass-limit-named"},
		},
		"a limit that passes for a measurement is refused": {
			func(p parts) { p.seriesTarget["expr"] = "max(job:widgets:limit{" + scope + "})" },
			[]string{"sightglass-limit-named"},
		},
		"a value over its limit is a measurement": {
			func(p parts) {
				p.seriesTarget["expr"] = "sum(widgets_size{" + scope + "}) / sum(job:widgets:limit{" + scope + "})"
			},
			nil,
		},
		"a dashed line that is not there is not promised": {
			func(p parts) { p.series["description"] = "Widgets. Dashed: the limit." },
			[]string{"sightglass-limit-named"},
		},
		"a line of zeros on an axis up to 100 is refused": {
			func(p parts) { delete(p.defaults(), "custom") },
			[]string{"sightglass-axis"},
		},
		"an axis of shares on which one per cent looks like zero is refused": {
			func(p parts) { p.defaults()["unit"] = "percentunit" },
			[]string{"sightglass-axis"},
		},
		"an axis with an end of its own is fine": {
			func(p parts) { p.defaults()["unit"], p.defaults()["max"] = "percentunit", 1 },
			nil,
		},
		"a chart that only says No data is refused": {
			func(p parts) { delete(p.defaults(), "noValue") },
			[]string{"sightglass-needs"},
		},
		"a number that is green before any limit is refused": {
			func(p parts) {
				p.stat["fieldConfig"].(object)["defaults"] = object{"unit": "short", "thresholds": object{"steps": []any{object{"color": "green"}, object{"color": "red", "value": 1}}}}
			},
			[]string{"sightglass-verdicts"},
		},
		"a chart whose healthy values are red is refused": {
			func(p parts) {
				p.color(object{"mode": "thresholds"})
				p.defaults()["thresholds"] = object{"steps": []any{object{"color": "text"}, object{"color": "red", "value": 0.9}}}
			},
			[]string{"sightglass-verdicts"},
		},
		"a legend that takes the chart's place is refused": {
			func(p parts) {
				p.series["options"] = object{"legend": object{"displayMode": "table", "placement": "bottom", "calcs": []any{"last"}}}
			},
			[]string{"sightglass-legends"},
		},
		"drift beyond chance that can be negative is refused": {
			func(p parts) {
				p.seriesTarget["expr"] = "sum(a:ml_drift:psi{" + scope + "}) - sum(a:ml_drift:psi_noise{" + scope + "})"
			},
			[]string{"sightglass-chance"},
		},
		"drift beyond chance that ends at zero is fine": {
			func(p parts) {
				p.seriesTarget["expr"] = "clamp_min(sum(a:ml_drift:psi{" + scope + "}) - sum(a:ml_drift:psi_noise{" + scope + "}), 0)"
			},
			nil,
		},
		"a GPU by its UUID in a legend is refused": {
			func(p parts) { p.seriesTarget["legendFormat"] = "{{uuid}}" },
			[]string{"sightglass-named"},
		},
		"a GPU by its UUID in a selection is refused": {
			func(p parts) { p.one("query_result(sort_desc(widgets_up))", `/uuid="(?<value>[^"]*)"/`, 0) },
			[]string{"sightglass-named"},
		},
		"a GPU by its host and number in a selection is fine": {
			func(p parts) {
				p.one("query_result(sort_desc(widgets_up))", `/device="(?<text>[^"]*)".*,uuid="(?<value>[^"]*)"/`, 0)
			},
			nil,
		},
		"a table whose models lead nowhere is refused": {
			func(p parts) { p.table(object{"model": "Model"}, nil) },
			[]string{"sightglass-cells"},
		},
		"a table whose models and GPUs lead to them is fine": {
			func(p parts) {
				link := object{"links": []any{object{"url": "/d/models"}}}
				p.table(object{"model": "Model", "gpu": "GPU"}, object{"Model": link, "GPU": link})
			},
			nil,
		},
		"a table that the names of series split is refused": {
			func(p parts) { p.table(nil, nil); p.stat["transformations"] = []any{} },
			[]string{"sightglass-columns", "sightglass-columns", "sightglass-columns", "sightglass-columns"},
		},
		"a table of alerts, critical first and oldest first, is fine": {
			func(p parts) { p.table(alertColumns, alertCells, worstFirst, oldestFirst) },
			nil,
		},
		"a table of alerts with the newest first is refused": {
			func(p parts) { p.table(alertColumns, alertCells, object{"displayName": "Since", "desc": true}) },
			[]string{"sightglass-firing"},
		},
		"a table of alerts that does not say since when is refused": {
			func(p parts) {
				p.table(object{"Value #severity": "Severity", "alertname": "Alert"}, alertCells, worstFirst, oldestFirst)
			},
			[]string{"sightglass-firing", "sightglass-firing"},
		},
		"a table that cuts the names of alerts off is refused": {
			func(p parts) {
				p.table(alertColumns, object{"Alert": object{"links": []any{object{"url": "/"}}, "custom.width": 120}}, worstFirst, oldestFirst)
			},
			[]string{"sightglass-firing"},
		},
		"a table without pages is refused": {
			func(p parts) { p.table(nil, nil); delete(p.stat, "options") },
			[]string{"sightglass-rows", "sightglass-rows"},
		},
		"a table whose pages only old versions of Grafana find is refused": {
			func(p parts) { p.table(nil, nil); delete(p.stat["options"].(object), "enablePagination") },
			[]string{"sightglass-rows"},
		},
		"a table whose pages only new versions of Grafana find is refused": {
			func(p parts) { p.table(nil, nil); delete(p.stat["options"].(object), "footer") },
			[]string{"sightglass-rows"},
		},
		"a column that only old versions of Grafana hide is refused": {
			func(p parts) { p.table(object{"run": "Run"}, object{"Run": object{"custom.hidden": true}}) },
			[]string{"sightglass-hidden"},
		},
		"a column that every version hides is fine": {
			func(p parts) {
				p.table(object{"run": "Run"}, object{"Run": object{"custom.hidden": true, "custom.hideFrom": object{"viz": true}}})
			},
			nil,
		},
		"an option that is an empty text is refused": {
			func(p parts) { p.stat["options"] = object{"orientation": "", "tooltip": object{"mode": ""}} },
			[]string{"sightglass-options", "sightglass-options"},
		},
		"a table of more than twelve rows before its pager is refused": {
			func(p parts) {
				p.table(nil, nil)
				p.stat["gridPos"].(object)["h"], p.series["gridPos"].(object)["h"] = 16, 16
			},
			[]string{"sightglass-rows"},
		},
	}.check(t)
}
