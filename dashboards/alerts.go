package dashboards

import (
	"strings"

	"github.com/sightglass-ml/sightglass/dashboards/internal/kit"
)

// firing selects the firing alerts of a layer, without the watchdog, which always fires.
func firing(scope kit.Scope, layer string, matchers ...string) string {
	return scope.Recorded("ALERTS", append([]string{`alertname!="SightglassWatchdog"`, `alertstate="firing"`, `layer=~"` + layer + `"`}, matchers...)...)
}

// since is the start time of each firing alert of a layer, in Unix milliseconds.
func since(scope kit.Scope, layer string) string {
	return "1000 * (\n" + scope.Recorded("ALERTS_FOR_STATE", `layer=~"`+layer+`"`) +
		"\nand ignoring (alertstate)\n" + firing(scope, layer) + "\n)"
}

// severity is the rank of the worst firing alert, by some labels: 3 critical, 2 warning, 1 info.
func severity(by string, alerts func(matchers ...string) string) string {
	return "max by (" + by + ") (\n  3 * " + alerts(`severity="critical"`) +
		"\n  or 2 * " + alerts(`severity="warning"`) + "\n  or " + alerts(`severity="info"`) + "\n)"
}

// severityOf is severity for the objects of a series; 0 for objects without an alert.
func severityOf(objects, by string, alerts func(matchers ...string) string) string {
	each := "max by (" + by + ") (" + objects + ")"
	return "(\n" + severity(by, alerts) + "\nand on (" + by + ")\n" + each + "\nor on (" + by + ")\n0 * " + each + "\n)"
}

// alertMarks marks the start of each firing alert of a layer on every chart.
func alertMarks(name, text, tags string, scope kit.Scope, layer string) []kit.Annotation {
	return []kit.Annotation{{
		Name:  name,
		Expr:  since(scope, layer),
		Title: "{{alertname}}",
		Text:  text,
		Tags:  "severity," + tags,
		Color: "red",
	}}
}

// alertTable lists the firing alerts of a layer: critical ones first, and the oldest first among equals. objects are the columns of the
// labels that name the object.
func alertTable(id uint32, scope kit.Scope, layer string, objects ...kit.Column) kit.Panel {
	names := []string{"alertname", "cluster", "namespace"}
	for _, object := range objects {
		names = append(names, object.From)
	}
	labels := strings.Join(names, ", ")
	panel := kit.Table(kit.Text{
		ID: id, Title: "Firing alerts", Unit: "short",
		Description: "Every firing alert of the layer and the selected objects, the worst and oldest first. Empty: no alert fires. Click an alert for its runbook.",
	}).SortBy(kit.WorstFirst("Severity", "Since")).
		WithTarget(kit.Instant("severity", severity(labels, func(matchers ...string) string { return firing(scope, layer, matchers...) }))).
		WithTarget(kit.Instant("since", "min by ("+labels+") (\n"+since(scope, layer)+"\n)"))
	return kit.Columns(panel, append([]kit.Column{
		kit.Col("Value #severity", "Severity", kit.Colored(), kit.Mapped(kit.Severities()), kit.Width(90)),
		kit.Col("Value #since", "Since", kit.Unit("dateTimeFromNow"), kit.Width(130)),
		kit.Col("alertname", "Alert", kit.Width(280), kit.LinkProperty("Runbook", "${runbooks:raw}/${__data.fields.Alert}.md", true)),
	}, objects...))
}

// countStat shows a number of objects that should be zero. From one on it has a colour.
func countStat(id uint32, title, description, expr, color string) kit.Panel {
	return kit.Stat(kit.Text{ID: id, Title: title, Description: description, Unit: "short"}).
		Thresholds(kit.Steps("text", kit.Step(1, color))).
		WithTarget(kit.Now("count", expr, ""))
}

// Links from a cell that names an object to a dashboard for that object.
func modelLink(uid string) kit.Property {
	return kit.LinkProperty("Show this model", kit.LinkAcross(uid, "model", "${__data.fields.Model:percentencode}", "detail", "${__data.fields.Model:percentencode}"), false)
}

func gpuLink() kit.Property {
	return kit.LinkProperty("Show this GPU", kit.LinkAcross(gpuUID, "detail", "${__data.fields.UUID:percentencode}"), false)
}

func departmentLink() kit.Property {
	return kit.LinkProperty("Show this department", kit.LinkAcross(costUID, "department", "${__data.fields.Department:percentencode}"), false)
}
