package kit

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// RunbookBase is the URL of the bundle's runbooks, one file per alert.
const RunbookBase = "https://github.com/sightglass-ml/sightglass/blob/main/docs/runbooks"

// Header returns the variables that every dashboard starts with: data source, job, instance, cluster and namespace. present is a series
// that exists for every instance.
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

// Many is a selection of any number of a label's values; by default all.
func Many(name, label, selector string) cog.Builder[dashboard.VariableModel] {
	return many(name, label, selector, ".+")
}

// Optional is Many for a label that may be absent: "All" also matches series without it.
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

// One is a selection of exactly one object. Its value is the label of; the label text is displayed. The objects are the series of expr,
// which must return the worst first, because Grafana selects the first by default.
func One(name, label, text, of, expr string) cog.Builder[dashboard.VariableModel] {
	query := "query_result(" + clean(expr) + ")"
	pattern := `/(?:^|[{,])` + of + `="(?<value>[^"]*)"/`
	if text != of {
		// Prometheus sorts labels by name.
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

// runbooks is a hidden variable. A team with its own runbooks changes its value.
func runbooks() cog.Builder[dashboard.VariableModel] {
	return Hidden("runbooks", "Runbooks", "Where the runbooks are, one file per alert.", RunbookBase)
}

// Hidden is a constant that links need. A team changes it in the file.
func Hidden(name, label, description, value string) cog.Builder[dashboard.VariableModel] {
	return dashboard.NewConstantVariableBuilder(name).
		Label(label).
		Description(description).
		Value(dashboard.StringOrMap{String: &value})
}
