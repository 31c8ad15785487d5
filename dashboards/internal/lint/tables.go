package lint

import (
	"encoding/json"
	"fmt"
	"slices"
)

// linked are the labels that name an object with its own dashboard, or an unwatched object.
var linked = []string{"dataset", "model", "department", "gpu", "gap"}

// organize has the new names and the hidden columns of a table.
func (p Panel) organize() (titles map[string]string, hidden map[string]bool) {
	for _, t := range p.Transformations {
		if t.ID == "organize" {
			return t.Options.RenameByName, t.Options.ExcludeByName
		}
	}
	return nil, nil
}

// cells checks that a cell that names an object has a link to it.
func cells(_ Dashboard, p Panel) []string {
	if p.Type != "table" {
		return nil
	}
	var out []string
	titles, _ := p.organize()
	for _, label := range linked {
		title, shown := titles[label]
		if shown && len(p.property(title, "links")) == 0 {
			out = append(out, fmt.Sprintf("the cells %q lead nowhere", title))
		}
	}
	return out
}

// columns checks that a table joins its queries to one row for each object, and that no column has the name of a Prometheus label.
func columns(_ Dashboard, p Panel) []string {
	if p.Type != "table" {
		return nil
	}
	var out []string
	titles, hidden := p.organize()
	for _, name := range []string{"__name__", "Time"} {
		if !hidden[name] {
			out = append(out, "does not hide "+name)
		}
	}
	for _, name := range []string{"cluster", "namespace"} {
		if title := titles[name]; title == name || (title == "" && !hidden[name]) {
			out = append(out, "shows the label "+name+" as it is")
		}
	}
	return out
}

// hidden checks that a hidden column is hidden in every version of Grafana, which read different options.
func hidden(_ Dashboard, p Panel) []string {
	if p.Type != "table" {
		return nil
	}
	var out []string
	for _, override := range p.FieldConfig.Overrides {
		old := slices.ContainsFunc(override.Properties, func(q Property) bool { return q.ID == "custom.hidden" })
		later := slices.ContainsFunc(override.Properties, func(q Property) bool { return q.ID == "custom.hideFrom" })
		if old != later {
			out = append(out, fmt.Sprintf("the column %v is hidden before Grafana 12.2 or after it, but not both", override.Matcher.Options))
		}
	}
	return out
}

// alertWidth is the width of the longest alert names.
const alertWidth = 260

// firing checks that a table of firing alerts sorts critical ones first and then the oldest first, shows the start time, and does not cut
// off alert names.
func firing(_ Dashboard, p Panel) []string {
	titles, _ := p.organize()
	alert, severity := titles["alertname"], titles["Value #severity"]
	if p.Type != "table" || alert == "" || severity == "" {
		return nil
	}
	var out []string
	since := titles["Value #since"]
	if since == "" {
		out = append(out, "does not say since when the alerts fire")
	}
	want := []SortBy{{DisplayName: severity, Desc: true}, {DisplayName: since}}
	if !slices.Equal(p.Options.SortBy, want) {
		out = append(out, "does not put the critical alerts on top, the oldest first")
	}
	var width int
	if json.Unmarshal(p.property(alert, "custom.width"), &width) != nil || width < alertWidth {
		out = append(out, fmt.Sprintf("cuts the names of alerts off: the column %q is narrower than %d", alert, alertWidth))
	}
	if len(p.property(alert, "links")) == 0 {
		out = append(out, "alerts lead to no runbook")
	}
	return out
}

// bands checks that a state timeline has pages of at most twelve bands, since the names of narrower ones cannot be read.
func bands(_ Dashboard, p Panel) []string {
	if n := p.Options.PerPage; p.Type == "state-timeline" && (n < 1 || n > 12) {
		return []string{fmt.Sprintf("shows %d bands before its pager, at most 12", n)}
	}
	return nil
}

// rows checks that a table has pages, so that it is as high as its panel, and that the panel is not higher than twelve rows need.
func rows(_ Dashboard, p Panel) []string {
	if p.Type != "table" {
		return nil
	}
	var out []string
	if !p.Options.Footer.EnablePagination {
		out = append(out, "has no pages before Grafana 12.2, which look in the footer")
	}
	if !p.Options.EnablePagination {
		out = append(out, "has no pages from Grafana 12.2 on, which do not look in the footer")
	}
	// A unit of the grid is 30 pixels with 8 between units; title, header and pager take 110, a small row 36.
	if visible := (38*p.GridPos.H - 8 - 110) / 36; visible > 12 {
		out = append(out, fmt.Sprintf("shows %d rows before its pager, at most 12", visible))
	}
	return out
}
