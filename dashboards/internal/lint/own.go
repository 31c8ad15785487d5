package lint

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var uidPattern = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// importable checks that the file can be imported manually, provisioned, and used in the mixin.
func importable(d Dashboard) []string {
	var out []string
	if !uidPattern.MatchString(d.UID) {
		out = append(out, fmt.Sprintf("uid %q must be 1 to 40 of a-z, 0-9 and hyphen", d.UID))
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(d.body, &top); err != nil {
		return append(out, err.Error())
	}
	for _, key := range []string{"id", "__inputs", "__requires", "__elements"} {
		if _, ok := top[key]; ok {
			out = append(out, "must not have the key "+key)
		}
	}
	if strings.Contains(string(d.body), "${DS_") {
		out = append(out, "refers to a data source that only an import dialog would fill in")
	}
	if strings.Contains(string(d.body), `"placement": "inControlsMenu"`) {
		out = append(out, "places something in a menu that not every Grafana has")
	}
	return out
}

// emptyOptions checks that no option of a panel is an empty text: Grafana's lists of values have none, and it takes its default only for an
// option that is missing.
func emptyOptions(_ Dashboard, p Panel) []string {
	var options map[string]any
	if json.Unmarshal(p.options, &options) != nil {
		return nil
	}
	var out []string
	var visit func(path string, options map[string]any)
	visit = func(path string, options map[string]any) {
		for _, name := range slices.Sorted(maps.Keys(options)) {
			switch value := options[name].(type) {
			case string:
				if value == "" {
					out = append(out, "its option "+path+name+" is an empty text")
				}
			case map[string]any:
				visit(path+name+".", value)
			}
		}
	}
	visit("", options)
	return out
}

// navigation checks the links between the dashboards of the bundle.
func navigation(d Dashboard) []string {
	var out []string
	if !slices.Contains(d.Tags, "sightglass") {
		out = append(out, "lacks the tag sightglass")
	}
	if !slices.ContainsFunc(d.Links, func(l Link) bool {
		return l.Type == "dashboards" && l.KeepTime && l.IncludeVars && slices.Contains(l.Tags, "sightglass")
	}) {
		out = append(out, "lacks the link to the other dashboards that keeps time and variables")
	}
	return out
}

// variables checks the series of variables. A series that every target has would offer jobs without data for this dashboard.
func variables(d Dashboard) []string {
	var out []string
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		if v.Datasource.UID != templated {
			out = append(out, "variable "+v.Name+" does not use the data source variable")
		}
		if _, _, ok := v.Objects(); ok {
			continue
		}
		selector, _, _ := LabelValues(v.Query)
		if metric, _, _ := strings.Cut(selector, "{"); metric == "up" || metric == "" {
			out = append(out, fmt.Sprintf("variable %s lists the labels of %q, which every target has", v.Name, metric))
		}
	}
	return out
}

// layout checks that every panel is visible and has its own ID.
func layout(d Dashboard) []string {
	var out []string
	seen := map[int]string{}
	for _, p := range d.AllPanels() {
		if other, taken := seen[p.ID]; taken || p.ID == 0 {
			out = append(out, fmt.Sprintf("panel %q has id 0 or the id of %q", p.Title, other))
		}
		seen[p.ID] = p.Title
		if p.GridPos.W < 1 || p.GridPos.H < 1 || p.GridPos.X+p.GridPos.W > 24 {
			out = append(out, fmt.Sprintf("panel %q lies outside the grid", p.Title))
		}
		refs := map[string]bool{}
		for _, t := range p.Targets {
			if t.RefID == "" || refs[t.RefID] {
				out = append(out, fmt.Sprintf("panel %q has two queries of refId %q", p.Title, t.RefID))
			}
			refs[t.RefID] = true
		}
		out = append(out, overlaps(p.Panels)...)
	}
	return append(out, overlaps(d.Panels)...)
}

func overlaps(panels []Panel) []string {
	var out []string
	for i, a := range panels {
		for _, b := range panels[i+1:] {
			p, q := a.GridPos, b.GridPos
			if p.X < q.X+q.W && q.X < p.X+p.W && p.Y < q.Y+q.H && q.Y < p.Y+p.H {
				out = append(out, fmt.Sprintf("panels %q and %q overlap", a.Title, b.Title))
			}
		}
	}
	return out
}
