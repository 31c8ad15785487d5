package kit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/barchart"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// Panel is a panel that is being built.
type Panel = cog.Builder[dashboard.Panel]

// Panels are the panels of a row.
type Panels = []Panel

// Text has the texts of a panel. All fields are required: without a description or a unit, a panel cannot be understood.
type Text struct {
	ID          uint32
	Title       string
	Description string
	Unit        string
}

// Timeseries is a line chart with its legend as a table below.
func Timeseries(t Text) *timeseries.PanelBuilder {
	return timeseries.NewPanelBuilder().
		Id(t.ID).Title(t.Title).Description(t.Description).Unit(t.Unit).
		Datasource(datasource()).
		Span(12).Height(9).
		ColorScheme(shades(families[0])).
		AxisSoftMax(softMax(t.Unit)).
		LineWidth(1).
		FillOpacity(0).
		ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().
			ShowLegend(true).
			DisplayMode(common.LegendDisplayModeTable).
			Placement(common.LegendPlacementBottom).
			Calcs([]string{"lastNotNull", "max"}).
			SortBy("Max").SortDesc(true)).
		Tooltip(common.NewVizTooltipOptionsBuilder().
			Mode(common.TooltipDisplayModeMulti).
			Sort(common.SortOrderDescending))
}

// families are the colours of a chart's queries in order. The series of a query have shades of its colour. Red, orange and green are for
// severities and grey for baselines, so data has none of these.
var families = []string{"blue", "purple", "#2CA6A4", "#A0785A"}

// baselineColor is the colour of every baseline.
const baselineColor = "#8E8E8E"

func shades(color string) cog.Builder[dashboard.FieldColor] {
	return dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdShades).FixedColor(color)
}

// softMax is the top of an axis if all values are zero. Without it, Grafana shows the axis up to 100, and the first small values look
// like zero. It is 1 for counts and for units in which less than 1 does not matter, and 0.01 for others.
func softMax(unit string) float64 {
	switch unit {
	case "short", "ms", "bytes", "Bps", "hertz", "watt", "celsius":
		return 1
	}
	return 0.01
}

// Stat shows one large number per series, coloured by thresholds.
func Stat(t Text) *stat.PanelBuilder {
	return stat.NewPanelBuilder().
		Id(t.ID).Title(t.Title).Description(t.Description).Unit(t.Unit).
		Datasource(datasource()).
		Span(4).Height(4).
		GraphMode(common.BigValueGraphModeNone).
		ColorMode(common.BigValueColorModeValue).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
}

// Table shows instant queries, one row per combination of labels, with several pages if necessary. It has no text for "no value", because
// Grafana writes it into every empty cell.
func Table(t Text) *table.PanelBuilder {
	return table.NewPanelBuilder().
		Id(t.ID).Title(t.Title).Description(t.Description).Unit(t.Unit).
		Datasource(datasource()).
		Span(24).Height(9).
		CellHeight(common.TableCellHeightSm).
		Footer(common.NewTableFooterOptionsBuilder().EnablePagination(true)).
		Filterable(true)
}

// StateTimeline shows one band per series. Its colour is the state.
func StateTimeline(t Text) *statetimeline.PanelBuilder {
	return statetimeline.NewPanelBuilder().
		Id(t.ID).Title(t.Title).Description(t.Description).Unit(t.Unit).
		Datasource(datasource()).
		Span(24).Height(9).
		ShowValue(common.VisibilityModeNever).
		MergeValues(true).
		PerPage(12).
		FillOpacity(80).
		LineWidth(0).
		Legend(common.NewVizLegendOptionsBuilder().
			ShowLegend(true).
			DisplayMode(common.LegendDisplayModeList).
			Placement(common.LegendPlacementBottom)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeSingle).Sort(common.SortOrderNone))
}

// BarChart shows one group of bars per row of a table.
func BarChart(t Text) *barchart.PanelBuilder {
	return barchart.NewPanelBuilder().
		Id(t.ID).Title(t.Title).Description(t.Description).Unit(t.Unit).
		Datasource(datasource()).
		Span(24).Height(10).
		ColorScheme(shades(families[0])).
		ShowValue(common.VisibilityModeNever).
		XTickLabelMaxLength(24).
		GroupWidth(0.8).
		FillOpacity(70).
		Legend(common.NewVizLegendOptionsBuilder().
			ShowLegend(true).
			DisplayMode(common.LegendDisplayModeList).
			Placement(common.LegendPlacementBottom)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderNone))
}

// Heatmap shows the buckets of a histogram over time. Darker means more values. Its queries are of type Buckets.
func Heatmap(t Text) *heatmap.PanelBuilder {
	return heatmap.NewPanelBuilder().
		Id(t.ID).Title(t.Title).Description(t.Description).Unit(t.Unit).
		Datasource(datasource()).
		Span(12).Height(9).
		Calculate(false).
		Color(heatmap.NewHeatmapColorOptionsBuilder().
			Mode(heatmap.HeatmapColorModeScheme).
			Scheme("Blues").
			Fill("blue"). // The schema requires it. The scheme is used instead.
			Steps(32)).
		YAxis(heatmap.NewYAxisConfigBuilder().Unit(t.Unit).AxisPlacement(common.AxisPlacementLeft)).
		Tooltip(heatmap.NewHeatmapTooltipBuilder().Mode(common.TooltipDisplayModeSingle).YHistogram(true))
}

// Property overrides one option of one field.
type Property = dashboard.DynamicConfigValue

// Properties are the overridden options of one field.
type Properties = []Property

// Column defines how a table shows one label or value of its queries.
type Column struct {
	From       string // A label, "Value #" and a refId, or "Value" if the table has a single query.
	title      string
	properties Properties
}

// Col returns a Column.
func Col(from, title string, properties ...Property) Column {
	return Column{From: from, title: title, properties: properties}
}

// HiddenColumn keeps a column for links and does not show it: by the option of Grafana before 12.2, and by that of later versions.
func HiddenColumn() Properties {
	return Properties{
		{Id: "custom.hidden", Value: true},
		{Id: "custom.hideFrom", Value: map[string]any{"viz": true, "legend": true, "tooltip": true}},
	}
}

// Columns joins a table's queries on their common labels, then names, orders and formats the columns. Cluster and namespace come last and
// are shown only if they have values. The columns in hidden are removed, as are the evaluation time and the name of the series.
func Columns(panel *table.PanelBuilder, columns []Column, hidden ...string) *table.PanelBuilder {
	order, names, excluded := map[string]any{}, map[string]any{}, map[string]any{"Time": true, "__name__": true}
	for _, name := range hidden {
		excluded[name] = true
	}
	for i, column := range append(slices.Clone(columns), Col("namespace", "Namespace"), Col("cluster", "Cluster")) {
		if _, named := names[column.From]; named {
			continue
		}
		order[column.From], names[column.From] = i, column.title
		if len(column.properties) > 0 {
			panel.OverrideByName(column.title, column.properties)
		}
	}
	return panel.
		WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: map[string]any{}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
			"excludeByName": excluded,
			"indexByName":   order,
			"renameByName":  names,
		}})
}

// WorstFirst sorts by the column of severities, and by the oldest first among equals.
func WorstFirst(severity, since string) []cog.Builder[common.TableSortByFieldState] {
	return slices.Concat(LargestFirst(severity), SmallestFirst(since))
}

// LargestFirst sorts a table by the column with this title, in descending order.
func LargestFirst(title string) []cog.Builder[common.TableSortByFieldState] {
	return []cog.Builder[common.TableSortByFieldState]{common.NewTableSortByFieldStateBuilder().DisplayName(title).Desc(true)}
}

// SmallestFirst sorts a table by the column with this title, in ascending order.
func SmallestFirst(title string) []cog.Builder[common.TableSortByFieldState] {
	return []cog.Builder[common.TableSortByFieldState]{common.NewTableSortByFieldStateBuilder().DisplayName(title).Desc(false)}
}

// State is a value with a name and a colour.
type State struct {
	Value int
	Text  string
	Color string
}

// Mappings names the states of a value.
func Mappings(states ...State) []dashboard.ValueMapping {
	options := map[string]dashboard.ValueMappingResult{}
	for i, s := range states {
		options[fmt.Sprint(s.Value)] = dashboard.ValueMappingResult{
			Text: cog.ToPtr(s.Text), Color: cog.ToPtr(s.Color), Index: cog.ToPtr(int32(i)),
		}
	}
	return []dashboard.ValueMapping{{ValueMap: &dashboard.ValueMap{
		Type: dashboard.MappingTypeValueToText, Options: options,
	}}}
}

// Severities names the severities of alerts by their rank.
func Severities() []dashboard.ValueMapping {
	return Mappings(
		State{Value: 3, Text: "Critical", Color: "red"},
		State{Value: 2, Text: "Warning", Color: "orange"},
		State{Value: 1, Text: "Info", Color: "blue"},
		State{Value: 0, Text: "OK", Color: "green"},
	)
}

// Steps colours values: base below the first step, then each step's colour from its value upwards.
func Steps(base string, steps ...dashboard.Threshold) cog.Builder[dashboard.ThresholdsConfig] {
	return dashboard.NewThresholdsConfigBuilder().
		Mode(dashboard.ThresholdsModeAbsolute).
		Steps(append([]dashboard.Threshold{{Color: base}}, steps...))
}

// Step is one step of Steps.
func Step(value float64, color string) dashboard.Threshold {
	return dashboard.Threshold{Value: &value, Color: color}
}

// Unit is the unit of a field.
func Unit(unit string) Property { return Property{Id: "unit", Value: unit} }

// Decimals is how many decimals a field shows.
func Decimals(n int) Property { return Property{Id: "decimals", Value: n} }

// Mapped names the states of a field.
func Mapped(mappings []dashboard.ValueMapping) Property {
	return Property{Id: "mappings", Value: mappings}
}

// Color gives a field a fixed colour.
func Color(name string) Property {
	return Property{Id: "color", Value: map[string]any{"mode": "fixed", "fixedColor": name}}
}

// Colored fills a table cell with the colour of its value.
func Colored() Property {
	return Property{Id: "custom.cellOptions", Value: map[string]any{"type": "color-background", "mode": "basic"}}
}

// Gauge shows a table cell as a bar between two values. The bar has one colour, because only the limit tells whether a value is good.
func Gauge(low, high float64) Properties {
	return Properties{
		{Id: "custom.cellOptions", Value: map[string]any{"type": "gauge", "mode": "basic"}},
		{Id: "min", Value: low},
		{Id: "max", Value: high},
		Color(families[0]),
	}
}

// OfLimit shows a value divided by its limit. Its colour tells whether it is near or beyond the limit.
func OfLimit() Properties {
	return Properties{
		Unit("percentunit"),
		Decimals(0),
		Colored(),
		{Id: "color", Value: map[string]any{"mode": "thresholds"}},
		{Id: "thresholds", Value: map[string]any{"mode": "absolute", "steps": []map[string]any{
			{"color": "transparent", "value": nil}, {"color": "orange", "value": 0.8}, {"color": "red", "value": 1},
		}}},
	}
}

// Width is the width of a column in pixels.
func Width(pixels int) Property { return Property{Id: "custom.width", Value: pixels} }

// Limit shows the query "limit" as a dashed red line with a legend entry. It shows the query "limits", the limits of single objects, as
// dashed red lines without one. An alert compares the other lines with these limits.
func Limit(panel *timeseries.PanelBuilder) *timeseries.PanelBuilder {
	dashed := Properties{
		Color("red"),
		{Id: "custom.lineStyle", Value: map[string]any{"fill": "dash", "dash": []int{10, 10}}},
	}
	hidden := Property{Id: "custom.hideFrom", Value: map[string]any{"legend": true, "tooltip": false, "viz": false}}
	return panel.
		OverrideByQuery("limit", dashed).
		OverrideByQuery("limits", append(slices.Clone(dashed), hidden))
}

// Baseline shows a field in the colour of baselines.
func Baseline() Property { return Color(baselineColor) }

// Link is a link from a value, a cell or a panel.
func Link(title, url string) *dashboard.DashboardLinkBuilder {
	return dashboard.NewDashboardLinkBuilder(title).
		Type(dashboard.DashboardLinkTypeLink).
		Url(url)
}

// Runbook links a panel to the runbook of the alert on the same numbers.
func Runbook(alert string) []cog.Builder[dashboard.DashboardLink] {
	return []cog.Builder[dashboard.DashboardLink]{
		Link("Runbook of "+alert, "${runbooks:raw}/"+alert+".md").TargetBlank(true),
	}
}

// LinkTo is the URL of a dashboard of the bundle. It keeps the time range, the selections of the header and the variables in keep, and sets
// the variables in set, which has names and values in turn.
func LinkTo(uid string, keep []string, set ...string) string {
	query := []string{"${__url_time_range}"}
	for _, name := range append([]string{"datasource", "job", "instance", "cluster", "namespace"}, keep...) {
		query = append(query, "${"+name+":queryparam}")
	}
	for i := 0; i+1 < len(set); i += 2 {
		query = append(query, "var-"+set[i]+"="+set[i+1])
	}
	return "/d/" + uid + "?" + strings.Join(query, "&")
}

// LinkAcross is the URL of a dashboard for another kind of object. It keeps the time range, the data source and the cluster, and sets the
// variables in set. Jobs, instances and namespaces differ there.
func LinkAcross(uid string, set ...string) string {
	query := []string{"${__url_time_range}", "${datasource:queryparam}", "${cluster:queryparam}"}
	for i := 0; i+1 < len(set); i += 2 {
		query = append(query, "var-"+set[i]+"="+set[i+1])
	}
	return "/d/" + uid + "?" + strings.Join(query, "&")
}

// LinkProperty adds a link to the cells of one table column.
func LinkProperty(title, url string, newTab bool) Property {
	return Property{Id: "links", Value: []map[string]any{
		{"title": title, "url": url, "targetBlank": newTab},
	}}
}
