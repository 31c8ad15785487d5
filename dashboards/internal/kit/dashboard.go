// Package kit converts the declarations in package dashboards to classic Grafana dashboards.
//
// Input: a Dashboard: variables, annotations and rows of panels made with the Foundation SDK. Output: the JSON that a user imports, with
// layout and IDs checked. State: none. The same declaration always gives the same bytes.
package kit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// Tag is on every dashboard of the bundle. The link in the header lists the dashboards with this tag.
const Tag = "sightglass"

// gridWidth is the number of columns in Grafana's layout grid.
const gridWidth = 24

// Dashboard declares one dashboard. Panels are placed from left to right and wrap at the grid's width.
type Dashboard struct {
	UID         string // Must never change: alerts and bookmarks link to it.
	Title       string
	Description string
	Tags        []string // In addition to Tag.
	From        string   // Start of the default time range; the end is now.
	Variables   []cog.Builder[dashboard.VariableModel]
	Annotations []Annotation
	Rows        []Row
	// NeededBy returns what must run, or must have happened, for a query to have a result. A chart without data shows this text instead of
	// "No data".
	NeededBy func(expr string) string
}

// Row is a titled row of panels. Its ID and the IDs of its panels are fixed and never reused, because links to a panel contain them.
type Row struct {
	ID        uint32
	Title     string
	Collapsed bool
	Panels    Panels
}

// Annotation marks points in time from a query on every chart. The SDK's type lacks the fields for the text of a mark.
type Annotation struct {
	Name  string
	Expr  string // Its values are the marked times, in Unix milliseconds.
	Title string // Label names in double braces are replaced, as in legends.
	Text  string
	Tags  string // Label names, separated by commas.
	Color string
}

// JSON renders the dashboard as the file that a user imports.
func (d Dashboard) JSON() ([]byte, error) {
	built, err := d.build()
	if err != nil {
		return nil, fmt.Errorf("dashboard %s: %w", d.UID, err)
	}
	raw, err := json.Marshal(built)
	if err != nil {
		return nil, fmt.Errorf("dashboard %s: %w", d.UID, err)
	}
	var model map[string]any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&model); err != nil {
		return nil, fmt.Errorf("dashboard %s: %w", d.UID, err)
	}
	suitEveryGrafana(model)
	model["annotations"] = map[string]any{"list": annotationModels(d.Annotations)}

	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(model); err != nil {
		return nil, fmt.Errorf("dashboard %s: %w", d.UID, err)
	}
	return out.Bytes(), nil
}

func (d Dashboard) build() (dashboard.Dashboard, error) {
	builder := dashboard.NewDashboardBuilder(d.Title).
		Uid(d.UID).
		Description(d.Description).
		Tags(append([]string{Tag}, d.Tags...)).
		Readonly().
		Timezone("browser").
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Time(d.From, "now").
		Refresh("1m").
		Link(dashboard.NewDashboardLinkBuilder("Sightglass").
			Type(dashboard.DashboardLinkTypeDashboards).
			Tags([]string{Tag}).
			AsDropdown(true).
			IncludeVars(true).
			KeepTime(true))
	for _, variable := range d.Variables {
		builder.WithVariable(variable)
	}
	built, err := builder.Build()
	if err != nil {
		return built, err
	}
	built.Panels, err = layOut(d.Rows, d.NeededBy)
	return built, err
}

// layOut places rows and panels itself, because the SDK misplaces panels of different heights and loses the positions of panels in a
// collapsed row.
func layOut(rows []Row, neededBy func(string) string) ([]dashboard.PanelOrRowPanel, error) {
	var (
		out  []dashboard.PanelOrRowPanel
		errs []error
		top  uint32
		seen = map[uint32]string{}
	)
	claim := func(id uint32, title string) {
		if other, taken := seen[id]; taken || id == 0 {
			errs = append(errs, fmt.Errorf("panel %q: id %d is zero or belongs to %q", title, id, other))
		}
		seen[id] = title
	}
	for _, row := range rows {
		claim(row.ID, row.Title)
		panels, bottom, err := layOutRow(row, top+1, claim)
		if err != nil {
			errs = append(errs, fmt.Errorf("row %q: %w", row.Title, err))
			continue
		}
		for i := range panels {
			describeNeeds(&panels[i], neededBy)
		}
		header := dashboard.NewRowPanel()
		header.Id, header.Title, header.Collapsed = row.ID, &row.Title, row.Collapsed
		header.GridPos = &dashboard.GridPos{H: 1, W: gridWidth, X: 0, Y: top}
		out = append(out, dashboard.PanelOrRowPanel{RowPanel: header})
		if row.Collapsed {
			// Grafana stores the panels of a collapsed row in the row, and the next row directly below.
			header.Panels = panels
			top++
			continue
		}
		for i := range panels {
			out = append(out, dashboard.PanelOrRowPanel{Panel: &panels[i]})
		}
		top = bottom
	}
	return out, errors.Join(errs...)
}

// layOutRow places the panels of one row from line top downwards and returns the first free line.
func layOutRow(row Row, top uint32, claim func(uint32, string)) ([]dashboard.Panel, uint32, error) {
	var panels []dashboard.Panel
	x, y, tallest := uint32(0), top, uint32(0)
	for _, builder := range row.Panels {
		panel, err := builder.Build()
		if err != nil {
			return nil, 0, err
		}
		if panel.Id == nil || panel.Title == nil || panel.GridPos == nil {
			return nil, 0, errors.New("a panel was not made by this package's constructors")
		}
		claim(*panel.Id, *panel.Title)
		colorQueries(&panel)
		if err := uniqueRefIDs(panel); err != nil {
			return nil, 0, fmt.Errorf("panel %q: %w", *panel.Title, err)
		}
		if x+panel.GridPos.W > gridWidth {
			x, y, tallest = 0, y+tallest, 0
		}
		panel.GridPos.X, panel.GridPos.Y = x, y
		x += panel.GridPos.W
		tallest = max(tallest, panel.GridPos.H)
		panels = append(panels, panel)
	}
	return panels, y + tallest, nil
}

// colorQueries gives each further query of a chart its own colour, unless it already has one.
func colorQueries(panel *dashboard.Panel) {
	if panel.Type != "timeseries" || panel.FieldConfig == nil {
		return
	}
	taken := map[any]bool{}
	for _, override := range panel.FieldConfig.Overrides {
		taken[override.Matcher.Options] = true
	}
	next := 0
	for _, target := range panel.Targets {
		query, ok := target.(prometheus.Dataquery)
		if !ok || query.RefId == nil || taken[*query.RefId] {
			continue
		}
		if next > 0 {
			panel.FieldConfig.Overrides = append(panel.FieldConfig.Overrides, dashboard.DashboardFieldConfigSourceOverrides{
				Matcher: dashboard.MatcherConfig{Id: "byFrameRefID", Options: *query.RefId},
				Properties: Properties{{Id: "color", Value: map[string]any{
					"mode": "shades", "fixedColor": families[next%len(families)],
				}}},
			})
		}
		next++
	}
}

// describeNeeds sets the "no data" text of a chart to what its first query needs. Tables are excluded, because Grafana writes the text into
// every empty cell, and stats, because they have no space for it.
func describeNeeds(panel *dashboard.Panel, neededBy func(string) string) {
	if neededBy == nil || panel.Type == "table" || panel.Type == "stat" || panel.FieldConfig == nil || len(panel.Targets) == 0 {
		return
	}
	if query, ok := panel.Targets[0].(prometheus.Dataquery); ok {
		panel.FieldConfig.Defaults.NoValue = cog.ToPtr("No data. Needs " + neededBy(query.Expr) + ".")
	}
}

// uniqueRefIDs rejects a panel whose queries share a refId, because Grafana shows only one of them.
func uniqueRefIDs(panel dashboard.Panel) error {
	seen := map[string]bool{}
	for _, target := range panel.Targets {
		query, ok := target.(prometheus.Dataquery)
		if !ok || query.RefId == nil || seen[*query.RefId] {
			return errors.New("every query needs a refId of its own")
		}
		seen[*query.RefId] = true
	}
	return nil
}

func annotationModels(annotations []Annotation) []any {
	models := make([]any, 0, len(annotations))
	for _, a := range annotations {
		models = append(models, map[string]any{
			"name":        a.Name,
			"enable":      true,
			"hide":        false,
			"iconColor":   a.Color,
			"datasource":  datasource(),
			"expr":        clean(a.Expr),
			"target":      map[string]any{"refId": "Annotation", "expr": clean(a.Expr)},
			"titleFormat": a.Title,
			"textFormat":  a.Text,
			"tagKeys":     a.Tags,
			// Grafana marks the time in the value. Otherwise it marks each step at which the series exists, and an alert that fires for
			// hours covers the chart.
			"useValueForTime": true,
		})
	}
	return models
}
