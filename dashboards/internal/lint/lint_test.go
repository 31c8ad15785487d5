package lint

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

type object = map[string]any

// parts gives the changeable parts of testdata/good.json by the names the table uses.
type parts struct{ dashboard, datasource, job, link, series, seriesTarget, stat, statTarget object }

func changed(t *testing.T, change func(parts)) Dashboard {
	t.Helper()
	body, err := os.ReadFile("testdata/good.json")
	require.NoError(t, err)
	var d object
	require.NoError(t, json.Unmarshal(body, &d))
	at := func(list any, i int) object { return list.([]any)[i].(object) }
	variables := d["templating"].(object)["list"]
	series, stat := at(d["panels"], 1), at(d["panels"], 2)
	change(parts{
		dashboard: d, datasource: at(variables, 0), job: at(variables, 1), link: at(d["links"], 0),
		series: series, seriesTarget: at(series["targets"], 0), stat: stat, statTarget: at(stat["targets"], 0),
	})
	body, err = json.MarshalIndent(d, "", "  ")
	require.NoError(t, err)
	parsed, err := Parse(body)
	require.NoError(t, err)
	return parsed
}

// one adds a selection of exactly one widget.
func (p parts) one(query, regex string, sort int) {
	list := p.dashboard["templating"].(object)
	list["list"] = append(list["list"].([]any), object{
		"name": "widget", "type": "query", "query": query, "regex": regex, "sort": sort, "refresh": 2, "datasource": p.datasourceRef(),
	})
}

func (p parts) datasourceRef() object { return object{"type": "prometheus", "uid": templated} }

func (p parts) defaults() object { return p.series["fieldConfig"].(object)["defaults"].(object) }

func (p parts) color(color object) { p.defaults()["color"] = color }

const scope = `cluster=~"$cluster", namespace=~"$namespace", job=~"$job", instance=~"$instance"`

// faults are changes of a good dashboard by a sentence that says what of it is refused, and the rules that refuse it.
type faults map[string]struct {
	change func(parts)
	rules  []string
}

func (f faults) check(t *testing.T) {
	t.Helper()
	for sentence, c := range f {
		t.Run(sentence, func(t *testing.T) {
			var rules []string
			for _, f := range Check(changed(t, c.change)) {
				rules = append(rules, f.Rule)
			}
			require.ElementsMatch(t, c.rules, rules)
		})
	}
}

func TestCheck(t *testing.T) {
	faults{
		"a good dashboard has no findings": {func(parts) {}, nil},
		"the data source variable has one name": {
			func(p parts) { p.datasource["name"] = "prometheus" },
			[]string{"template-datasource-rule"},
		},
		"Prometheus is the first data source": {
			func(p parts) { p.datasource["query"] = "tempo" },
			[]string{"template-datasource-rule"},
		},
		"a job variable that takes one value only is refused": {
			func(p parts) { p.job["multi"] = false },
			[]string{"template-job-rule", "sightglass-detail"},
		},
		"a job variable that matches the empty string is refused": {
			func(p parts) { p.job["allValue"] = ".*" },
			[]string{"template-job-rule"},
		},
		"a dashboard without an instance variable is refused": {
			func(p parts) {
				list := p.dashboard["templating"].(object)
				list["list"] = list["list"].([]any)[:2]
			},
			[]string{"template-instance-rule"},
		},
		"a variable's selector must parse": {
			func(p parts) { p.job["query"] = "label_values(widgets_up{, job)" },
			[]string{"template-label-promql-rule"},
		},
		"a variable is a list of label values": {
			func(p parts) { p.job["query"] = "query_result(widgets_up)" },
			[]string{"template-label-promql-rule", "sightglass-variables"},
		},
		"a variable is not drawn from what every target has": {
			func(p parts) { p.job["query"] = "label_values(up, job)" },
			[]string{"sightglass-variables"},
		},
		"a variable follows the time range": {
			func(p parts) { p.job["refresh"] = 1 },
			[]string{"template-on-time-change-reload-rule"},
		},
		"a dashboard that can be edited is refused": {
			func(p parts) { p.dashboard["editable"] = true },
			[]string{"uneditable-dashboard"},
		},
		"a panel's data source is the variable": {
			func(p parts) { p.series["datasource"].(object)["uid"] = "P1809F7CD0C75ACF3" },
			[]string{"panel-datasource-rule"},
		},
		"a query's data source is the variable": {
			func(p parts) { p.seriesTarget["datasource"].(object)["uid"] = "P1809F7CD0C75ACF3" },
			[]string{"sightglass-scope"},
		},
		"a panel says what it shows": {
			func(p parts) { p.series["description"] = "" },
			[]string{"panel-title-description-rule"},
		},
		"a panel has a unit": {
			func(p parts) { delete(p.defaults(), "unit") },
			[]string{"panel-units-rule"},
		},
		"a unit that Grafana does not know is refused": {
			func(p parts) { p.defaults()["unit"] = "furlongs" },
			[]string{"panel-units-rule"},
		},
		"a panel without a query is refused": {
			func(p parts) { p.series["targets"] = []any{} },
			[]string{"panel-no-targets-rule"},
		},
		"LogQL is refused, since nothing checks it": {
			func(p parts) { p.seriesTarget["datasource"].(object)["type"] = "loki" },
			[]string{"target-logql-rule", "target-logql-auto-rule"},
		},
		"a query must parse": {
			func(p parts) { p.seriesTarget["expr"] = "sum(" },
			[]string{"target-promql-rule"},
		},
		"a rate over a fixed range is refused": {
			func(p parts) { p.seriesTarget["expr"] = "sum(rate(widgets_total{" + scope + "}[5m]))" },
			[]string{"target-rate-interval-rule"},
		},
		"a counter outside a rate is refused": {
			func(p parts) { p.seriesTarget["expr"] = "sum(widgets_total{" + scope + "})" },
			[]string{"target-counter-agg-rule"},
		},
		"an increase over the whole time range is fine": {
			func(p parts) { p.seriesTarget["expr"] = "sum(increase(widgets_total{" + scope + "}[$__range]))" },
			nil,
		},
		"a query that no variable narrows is refused": {
			func(p parts) { p.statTarget["expr"] = "widgets_up" },
			[]string{"target-job-rule", "target-instance-rule", "sightglass-scope", "sightglass-scope", "sightglass-scope", "sightglass-scope"},
		},
		"a fixed job is no selection": {
			func(p parts) {
				p.statTarget["expr"] = `widgets_up{cluster=~"$cluster", namespace=~"$namespace", job="widgets", instance=~"$instance"}`
			},
			[]string{"target-job-rule", "sightglass-scope"},
		},
		"a recorded series needs no job, and an exclusion says so": {
			func(p parts) {
				p.statTarget["expr"] = `job:widgets:rate5m{cluster=~"$cluster", namespace=~"$namespace"}`
			},
			[]string{"target-job-rule", "target-instance-rule"},
		},
		"a threshold is for everybody": {
			func(p parts) {
				p.statTarget["expr"] = "ml:threshold:widgets and on () group(widgets_up{" + scope + "})"
			},
			[]string{"target-job-rule", "target-instance-rule"},
		},
		"a limit without what it limits is refused": {
			func(p parts) { p.statTarget["expr"] = "ml:threshold:widgets" },
			[]string{"target-job-rule", "target-instance-rule", "sightglass-limits"},
		},
		"a selection of one object opens on the worst": {
			func(p parts) { p.one("query_result(sort_desc(widgets_up))", `/widget="(?<value>[^"]*)"/`, 0) },
			nil,
		},
		"a selection that opens on the first name of the alphabet is refused": {
			func(p parts) { p.one("label_values(widgets_up, widget)", "", 1) },
			[]string{"sightglass-detail"},
		},
		"a selection that Grafana sorts anew is refused": {
			func(p parts) { p.one("query_result(sort_desc(widgets_up))", `/widget="(?<value>[^"]*)"/`, 1) },
			[]string{"sightglass-detail"},
		},
		"a data source that is not the default is refused": {
			func(p parts) { p.datasource["current"] = object{"value": "prometheus-7"} },
			[]string{"sightglass-detail"},
		},
		"an annotation that marks every step is refused": {
			func(p parts) {
				p.dashboard["annotations"] = object{"list": []any{object{"name": "Alerts", "expr": "ALERTS"}}}
			},
			[]string{"sightglass-marks"},
		},
		"text for no value in a table is refused": {
			func(p parts) {
				p.table(nil, nil)
				p.stat["fieldConfig"].(object)["defaults"].(object)["noValue"] = "No alert fires"
			},
			[]string{"sightglass-no-value"},
		},
		"a palette that contains red is refused": {
			func(p parts) { p.color(object{"mode": "palette-classic"}) },
			[]string{"sightglass-colors"},
		},
		"a scale from green to red is refused": {
			func(p parts) { p.color(object{"mode": "continuous-GrYlRd"}) },
			[]string{"sightglass-colors"},
		},
		"data in the colour of a severity is refused": {
			func(p parts) { p.override("made", "color", object{"mode": "fixed", "fixedColor": "semi-dark-orange"}) },
			[]string{"sightglass-colors"},
		},
		"a limit is red": {
			func(p parts) { p.override("limit", "color", object{"mode": "fixed", "fixedColor": "red"}) },
			nil,
		},
		"a gauge in Grafana's colours is refused": {
			func(p parts) { p.override("Share", "custom.cellOptions", object{"type": "gauge"}) },
			[]string{"sightglass-gauges"},
		},
		"a stack of several models is refused": {
			func(p parts) {
				p.defaults()["custom"] = object{"stacking": object{"mode": "normal"}, "axisSoftMax": 1}
				p.seriesTarget["expr"] = "sum(model:widgets:mean{" + scope + `, model=~"$model"})`
			},
			[]string{"sightglass-stacks"},
		},
		"money without a currency is refused": {
			func(p parts) { p.statTarget["expr"] = "widgets_price_cad{" + scope + "}" },
			[]string{"sightglass-money"},
		},
		"money in Canadian dollars has a unit that dashboard-linter does not know": {
			func(p parts) {
				p.statTarget["expr"] = "widgets_price_cad{" + scope + "}"
				p.stat["fieldConfig"].(object)["defaults"] = object{"unit": "currency:C$"}
			},
			[]string{"panel-units-rule"},
		},
		"exemplars of chosen series are in the unit of their chart": {
			func(p parts) {
				p.seriesTarget["expr"] = "widgets_seconds{" + scope + "}\nand\ntopk(3, max_over_time(widgets_seconds{" + scope + "}[$__range] @ end()))"
				p.seriesTarget["exemplar"] = true
			},
			nil,
		},
		"exemplars in another unit than their chart are refused": {
			func(p parts) {
				p.seriesTarget["expr"] = "1000 * sum(widgets_seconds{" + scope + "})"
				p.seriesTarget["exemplar"] = true
			},
			[]string{"sightglass-exemplars"},
		},
		"panels side by side end together": {
			func(p parts) { p.stat["gridPos"].(object)["h"] = 5 },
			[]string{"sightglass-lines"},
		},
		"a line is filled": {
			func(p parts) { p.stat["gridPos"].(object)["w"] = 6 },
			[]string{"sightglass-lines"},
		},
		"a dashboard that sends many queries as it opens is refused": {
			func(p parts) {
				var many []any
				for i := range openQueries {
					many = append(many, object{"refId": fmt.Sprint(i), "expr": "widgets_up{" + scope + "}", "datasource": p.datasourceRef()})
				}
				p.stat["targets"] = many
			},
			[]string{"sightglass-load"},
		},
		"a question is no title": {
			func(p parts) { p.stat["title"] = "How old it is" },
			[]string{"sightglass-title"},
		},
		"a dashboard does not repeat the name of its folder": {
			func(p parts) { p.dashboard["title"] = "Sightglass / Widgets" },
			[]string{"sightglass-title"},
		},
		"two panels with one title are refused": {
			func(p parts) { p.stat["title"] = p.series["title"] },
			[]string{"sightglass-title"},
		},
		"a dashboard exported for sharing is refused": {
			func(p parts) { p.dashboard["__inputs"], p.dashboard["id"] = []any{}, 7 },
			[]string{"sightglass-import", "sightglass-import"},
		},
		"a data source that only an import fills in is refused": {
			func(p parts) { p.dashboard["description"] = "${DS_PROMETHEUS}" },
			[]string{"sightglass-import"},
		},
		"a uid longer than Grafana keeps is refused": {
			func(p parts) { p.dashboard["uid"] = "a-uid-of-more-than-forty-characters-is-cut" },
			[]string{"sightglass-import"},
		},
		"a link that the SDK has moved into a menu is refused": {
			func(p parts) { p.link["placement"] = "inControlsMenu" },
			[]string{"sightglass-import"},
		},
		"the way to the other dashboards keeps the time": {
			func(p parts) { p.link["keepTime"] = false },
			[]string{"sightglass-navigation"},
		},
		"two panels never share an id": {
			func(p parts) { p.stat["id"] = 2 },
			[]string{"sightglass-layout"},
		},
		"two panels never overlap": {
			func(p parts) { p.stat["gridPos"].(object)["x"] = 11 },
			[]string{"sightglass-layout"},
		},
		"two queries of a panel never share a refId": {
			func(p parts) { p.series["targets"] = []any{p.seriesTarget, p.seriesTarget} },
			[]string{"sightglass-layout"},
		},
	}.check(t)
}

func TestFindingsSayWhere(t *testing.T) {
	findings := Check(changed(t, func(p parts) { p.seriesTarget["expr"] = "sum(rate(widgets_total{" + scope + "}[5m]))" }))
	require.Len(t, findings, 1)
	require.Equal(t, `target-rate-interval-rule: dashboard "Good", panel "Widgets made", query 0: rate must range over $__rate_interval`,
		findings[0].String())
}

func TestExclusions(t *testing.T) {
	d := changed(t, func(p parts) {
		p.statTarget["expr"] = `job:widgets:rate5m{cluster=~"$cluster", namespace=~"$namespace"}`
		p.seriesTarget["expr"] = "sum(rate(widgets_total[$__rate_interval]))"
	})
	body, err := Exclusions([]Dashboard{d})
	require.NoError(t, err)
	config, err := ParseConfig(body)
	require.NoError(t, err)
	for _, f := range Check(d) {
		excused := f.Panel == "State" && (f.Rule == "target-job-rule" || f.Rule == "target-instance-rule")
		require.Equal(t, excused, config.Excludes(f), "only a panel of recorded series is excused: %s", f)
	}
	require.Empty(t, config.Unused(Check(d)))
	require.Equal(t, []string{"target-instance-rule: Good / State", "target-job-rule: Good / State"}, config.Unused(nil))
}

func TestParseConfigRefusesWhatTheLinterWouldIgnore(t *testing.T) {
	for sentence, c := range map[string]struct{ body, message string }{
		"an unknown key":             {"exclusions:\n  x:\n    because: y\n", "field because not found"},
		"an exclusion with no panel": {"exclusions:\n  x:\n    reason: y\n", "x needs a reason and the panels it is for"},
		"an exclusion of everything": {"exclusions:\n  x:\n", "x needs a reason and the panels it is for"},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := ParseConfig([]byte(c.body))
			require.ErrorContains(t, err, c.message)
		})
	}
}
