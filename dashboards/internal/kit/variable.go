package kit

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// RunbookBase is where the bundle's runbooks are published, one file per alert.
const RunbookBase = "https://github.com/sightglass-ml/sightglass/blob/main/docs/runbooks"

// Header returns the variables every dashboard starts with: the data source, the scrape's job and
// instance, and where the observed thing runs. present is a series that exists for every instance.
func Header(present string) []cog.Builder[dashboard.VariableModel] {
	return []cog.Builder[dashboard.VariableModel]{
		dashboard.NewDatasourceVariableBuilder("datasource").
			Label("Data source").
			Description("The Prometheus-compatible data source that evaluates the Sightglass rules.").
			Type("prometheus").
			Current(option("default")),
		Many("job", "Job", present),
		Many("instance", "Instance", present+`{job=~"$job"}`),
		Optional("cluster", "Cluster", present+`{job=~"$job", instance=~"$instance"}`),
		Optional("namespace", "Namespace", present+`{job=~"$job", instance=~"$instance", cluster=~"$cluster"}`),
		runbooks(),
	}
}

// Many is a selection of any number of a label's values, all of them by default.
func Many(name, label, selector string) cog.Builder[dashboard.VariableModel] {
	return many(name, label, selector, ".+")
}

// Optional is Many for a label that not every team has: "All" also matches series without it.
func Optional(name, label, selector string) cog.Builder[dashboard.VariableModel] {
	return many(name, label, selector, ".*")
}

func many(name, label, selector, all string) cog.Builder[dashboard.VariableModel] {
	return choice(name, label, name, selector).
		Multi(true).
		IncludeAll(true).
		AllValue(all).
		Current(dashboard.VariableOption{
			Selected: cog.ToPtr(true),
			Text:     dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
			Value:    dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
		})
}

// One is a selection of exactly one object: the value of the label of, and what is shown for it in the label text. The objects
// are the series of expr, which puts the worst first: Grafana takes the first until told otherwise.
func One(name, label, text, of, expr string) cog.Builder[dashboard.VariableModel] {
	query := "query_result(" + clean(expr) + ")"
	pattern := `/(?:^|[{,])` + of + `="(?<value>[^"]*)"/`
	if text != of {
		// Prometheus lists labels in alphabetical order.
		pattern = `/(?:^|[{,])` + text + `="(?<text>[^"]*)".*,` + of + `="(?<value>[^"]*)"/`
	}
	return dashboard.NewQueryVariableBuilder(name).
		Label(label).
		Datasource(datasource()).
		Query(dashboard.StringOrMap{String: &query}).
		Definition(query).
		Regex(pattern).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
		Sort(dashboard.VariableSortDisabled)
}

func option(value string) dashboard.VariableOption {
	text := dashboard.StringOrArrayOfString{String: &value}
	return dashboard.VariableOption{Selected: cog.ToPtr(true), Text: text, Value: text}
}

func choice(name, label, of, selector string) *dashboard.QueryVariableBuilder {
	query := fmt.Sprintf("label_values(%s, %s)", selector, of)
	return dashboard.NewQueryVariableBuilder(name).
		Label(label).
		Datasource(datasource()).
		Query(dashboard.StringOrMap{String: &query}).
		Definition(query).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
		Sort(dashboard.VariableSortAlphabeticalAsc)
}

// runbooks is a hidden variable, so that a team with runbooks of its own changes one value.
func runbooks() cog.Builder[dashboard.VariableModel] {
	return Hidden("runbooks", "Runbooks", "Where the runbooks are, one file per alert.", RunbookBase)
}

// Hidden is a value that links need and that a team changes once, in the file.
func Hidden(name, label, description, value string) cog.Builder[dashboard.VariableModel] {
	return dashboard.NewConstantVariableBuilder(name).
		Label(label).
		Description(description).
		Value(dashboard.StringOrMap{String: &value})
}
