package kit

import (
	"slices"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// datasource refers to the variable, never to the data source of one installation.
func datasource() common.DataSourceRef {
	kind, uid := "prometheus", "${datasource}"
	return common.DataSourceRef{Type: &kind, Uid: &uid}
}

// Range is a query over the dashboard's time range. Overrides refer to the refId, which is a short word.
func Range(refID, expr, legend string) *prometheus.DataqueryBuilder {
	return query(refID, expr).Range().LegendFormat(legend)
}

// Instant is a query at the end of the time range. Its labels become the columns of a table, and its value becomes the column "Value #" +
// refID.
func Instant(refID, expr string) *prometheus.DataqueryBuilder {
	return query(refID, expr).Instant().Format(prometheus.PromQueryFormatTable)
}

// Buckets is a query of a histogram's buckets over the time range, for a heatmap.
func Buckets(refID, expr string) *prometheus.DataqueryBuilder {
	return query(refID, expr).Range().Format(prometheus.PromQueryFormatHeatmap).LegendFormat("{{le}}")
}

// Now is a query at the end of the time range, for panels that show single values.
func Now(refID, expr, legend string) *prometheus.DataqueryBuilder {
	return query(refID, expr).Instant().LegendFormat(legend)
}

func query(refID, expr string) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().
		Datasource(datasource()).
		EditorMode(prometheus.QueryEditorModeCode).
		RefId(refID).
		Expr(clean(expr))
}

// clean removes the indentation of PromQL in a declaration.
func clean(expr string) string {
	lines := strings.Split(strings.TrimSpace(expr), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(strings.TrimLeft(line, "\t"), " \t")
	}
	return strings.Join(lines, "\n")
}

// Raw selects a series of an exporter, filtered by every variable of the header.
func Raw(metric string, matchers ...string) string {
	return Recorded(metric, append([]string{`job=~"$job"`, `instance=~"$instance"`}, matchers...)...)
}

// Recorded selects a recorded series, which has no job and instance.
func Recorded(metric string, matchers ...string) string {
	all := slices.DeleteFunc(append([]string{`cluster=~"$cluster"`, `namespace=~"$namespace"`}, matchers...), func(m string) bool { return m == "" })
	return metric + "{" + strings.Join(all, ", ") + "}"
}

// Scope is a matcher that selects the objects of a query, such as `dataset=~"$dataset"`. An empty one selects all.
type Scope string

// Raw is Raw within the scope.
func (s Scope) Raw(metric string, matchers ...string) string {
	return Raw(metric, append([]string{string(s)}, matchers...)...)
}

// Recorded is Recorded within the scope.
func (s Scope) Recorded(metric string, matchers ...string) string {
	return Recorded(metric, append([]string{string(s)}, matchers...)...)
}

// Highest selects the ten recorded series with the highest maximum in the time range.
func (s Scope) Highest(metric string, matchers ...string) string {
	return Top(10, func(r Read) string { return r.Value(s.Recorded(metric, matchers...)) })
}

// Lowest is Highest for series whose low values are bad.
func (s Scope) Lowest(metric string, matchers ...string) string {
	return Bottom(10, func(r Read) string { return r.Value(s.Recorded(metric, matchers...)) })
}

// MaxBy combines replicas. They publish the same values, so a sum would count them twice.
func MaxBy(labels, series string) string {
	return "max by (" + labels + ") (" + series + ")"
}
