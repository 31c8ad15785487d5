package dashboards

import (
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/dashboards/internal/lint"
)

// Two ways to run the exporters: the plainest, without cluster or namespace, and two replicas in a cluster.
var (
	bareInstances     = []string{"ml-1:10911"}
	replicaInstances  = []string{"replica-a:10911", "replica-b:10911"}
	noTargetLabels    = labels.EmptyLabels()
	withinKubernetes  = labels.FromStrings("cluster", "prod-1", "namespace", "ml")
	intervalVariables = strings.NewReplacer("$__rate_interval", "4m", "$__interval", "1m", "$__range", timeRange.String())
)

// selection maps a variable to what Grafana would put in its place.
type selection map[string]string

var variablePattern = regexp.MustCompile(`\$([a-z_]\w*)`)

func (s selection) fill(t *testing.T, text string) string {
	t.Helper()
	return variablePattern.ReplaceAllStringFunc(intervalVariables.Replace(text), func(name string) string {
		value, ok := s[name[1:]]
		require.True(t, ok, "%s refers to a variable that the dashboard lacks: %s", text, name)
		return value
	})
}

// selections returns every way to fill a dashboard's variables: "All" where there is one, and each value of the
// others in turn. It fails on a variable that offers nothing.
func selections(t *testing.T, r *replay, d lint.Dashboard) []selection {
	t.Helper()
	out := []selection{{}}
	for _, v := range d.Templating.List {
		var next []selection
		for _, chosen := range out {
			values := []string{v.Query}
			if v.Type == "query" {
				found := options(t, r, v, chosen)
				// Clusters are optional, and a dataset whose profiles fail has no columns to show.
				if values = []string{v.AllValue}; v.AllValue == "" {
					values = found
				} else if v.AllValue == ".+" {
					require.NotEmpty(t, found, "variable %s offers nothing", v.Name)
				}
			}
			for _, value := range values {
				with := selection{v.Name: value}
				for name, other := range chosen {
					with[name] = other
				}
				next = append(next, with)
			}
		}
		out = next
	}
	require.NotEmpty(t, out, "some variable of %s offers nothing", d.UID)
	return out
}

// options lists the options of a variable in order.
func options(t *testing.T, r *replay, v lint.Variable, chosen selection) []string {
	t.Helper()
	if selector, label, ok := lint.LabelValues(v.Query); ok {
		found, err := r.labelValues(t, chosen.fill(t, selector), label)
		require.NoError(t, err, "variable %s", v.Name)
		return found
	}
	expr, label, ok := v.Objects()
	require.True(t, ok, v.Query)
	found, err := r.instant(t, chosen.fill(t, expr))
	require.NoError(t, err, "variable %s", v.Name)
	var out []string
	for _, s := range found {
		require.NotEmpty(t, s.Metric.Get(label), "variable %s: %s", v.Name, s.Metric)
		out = append(out, s.Metric.Get(label))
	}
	return out
}

// series evaluates one query the way its panel does.
func series(t *testing.T, r *replay, target lint.Target, s selection) []labels.Labels {
	t.Helper()
	expr := s.fill(t, target.Expr)
	if !target.Instant {
		found, err := r.over(t, expr)
		require.NoError(t, err, expr)
		return found
	}
	vector, err := r.instant(t, expr)
	require.NoError(t, err, expr)
	var out []labels.Labels
	for _, s := range vector {
		out = append(out, s.Metric)
	}
	return out
}

// eachQuery finds for every query of every panel the first selection that shows something, and hands over what
// it shows.
func eachQuery(t *testing.T, r *replay, d lint.Dashboard, visit func(panel lint.Panel, target lint.Target, found []labels.Labels)) {
	t.Helper()
	choices := selections(t, r, d)
	for _, panel := range d.AllPanels() {
		for _, target := range panel.Targets {
			var found []labels.Labels
			for _, choice := range choices {
				if found = series(t, r, target, choice); len(found) > 0 {
					break
				}
			}
			visit(panel, target, found)
		}
	}
}

func TestEveryQueryShowsSomething(t *testing.T) {
	bare := newReplay(t, bareInstances, noTargetLabels)
	replicas := newReplay(t, replicaInstances, withinKubernetes)
	for _, d := range committed(t) {
		t.Run(d.UID, func(t *testing.T) {
			shown := map[string]int{}
			key := func(panel lint.Panel, target lint.Target) string { return panel.Title + " / " + target.RefID }

			t.Run("every query shows something where nobody has clusters or namespaces", func(t *testing.T) {
				eachQuery(t, bare, d, func(panel lint.Panel, target lint.Target, found []labels.Labels) {
					if len(found) == 0 {
						t.Errorf("panel %q, query %s is empty:\n%s", panel.Title, target.RefID, target.Expr)
					}
					shown[key(panel, target)] = len(found)
				})
			})
			t.Run("every annotation marks something", func(t *testing.T) {
				for _, annotation := range d.Annotations.List {
					found, err := bare.over(t, selections(t, bare, d)[0].fill(t, annotation.Expr))
					require.NoError(t, err, annotation.Expr)
					require.NotEmpty(t, found, annotation.Name)
				}
			})
			// Replicas publish the same thing twice, and labels that a scrape adds break joins that forget them.
			t.Run("replicas in a cluster show what one exporter shows, but for themselves", func(t *testing.T) {
				eachQuery(t, replicas, d, func(panel lint.Panel, target lint.Target, found []labels.Labels) {
					if len(found) == 0 || !namesInstance(found) {
						require.Len(t, found, shown[key(panel, target)], key(panel, target))
					}
					if panel.Type == "table" {
						requireTitles(t, panel, target, found)
					}
				})
			})
		})
	}
	t.Run("a dashboard of one object opens on one with the worst alert", func(t *testing.T) {
		d, _ := find(t, dataQualityUID, "State of every dataset")
		worst, err := bare.instant(t, selections(t, bare, d)[0].fill(t, severity("dataset", dataAlerts)))
		require.NoError(t, err)
		ranks, top := map[string]float64{}, 0.0
		for _, s := range worst {
			ranks[s.Metric.Get("dataset")] = s.F
			top = max(top, s.F)
		}
		require.NotZero(t, top)
		require.InDelta(t, top, ranks[selections(t, bare, d)[0]["detail"]], 0)
	})
	t.Run("the state of every dataset has one row per dataset", func(t *testing.T) {
		datasets, err := replicas.labelValues(t, "ml_dataset_profile_success", "dataset")
		require.NoError(t, err)
		d, panel := find(t, dataQualityUID, "State of every dataset")
		for _, target := range panel.Targets {
			rows := map[string]int{}
			for _, found := range series(t, replicas, target, selections(t, replicas, d)[0]) {
				rows[found.Get("dataset")]++
				require.Equal(t, 1, rows[found.Get("dataset")], "%s: two rows for %s", target.RefID, found)
			}
			if target.RefID == "state" {
				require.Len(t, rows, len(datasets), "a dataset is missing from the table")
			}
		}
	})
}

// namesInstance tells whether the series are of single instances, by a label of that name or within the name of an object.
func namesInstance(found []labels.Labels) bool {
	for _, series := range found {
		for _, instance := range replicaInstances {
			if series.Get("instance") != "" || strings.HasPrefix(series.Get("object"), instance) {
				return true
			}
		}
	}
	return false
}

// requireTitles requires that every label of a table's rows is hidden or a column with a title.
func requireTitles(t *testing.T, panel lint.Panel, target lint.Target, found []labels.Labels) {
	t.Helper()
	named := panel.Organized()
	for _, series := range found {
		series.Range(func(l labels.Label) {
			require.True(t, named[l.Name], "panel %q, query %s: label %s has no title", panel.Title, target.RefID, l.Name)
		})
	}
}

func find(t *testing.T, uid, title string) (lint.Dashboard, lint.Panel) {
	t.Helper()
	for _, d := range committed(t) {
		for _, panel := range d.AllPanels() {
			if d.UID == uid && panel.Title == title {
				return d, panel
			}
		}
	}
	t.Fatalf("%s has no panel %q", uid, title)
	return lint.Dashboard{}, lint.Panel{}
}
