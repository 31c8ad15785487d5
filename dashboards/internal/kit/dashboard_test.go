package kit

import (
	"encoding/json"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/stretchr/testify/require"
)

type panels = []cog.Builder[dashboard.Panel]

func text(id uint32, title string) Text {
	return Text{ID: id, Title: title, Description: "Something.", Unit: "short"}
}

func render(t *testing.T, rows ...Row) map[string]any {
	t.Helper()
	body, err := Dashboard{UID: "test", Title: "Test", From: "now-1h", Rows: rows}.JSON()
	require.NoError(t, err)
	var model map[string]any
	require.NoError(t, json.Unmarshal(body, &model))
	return model
}

// places returns x, y, w, h of every panel by title, those in closed rows included.
func places(model map[string]any) map[string][4]int {
	out := map[string][4]int{}
	var walk func(list any)
	walk = func(list any) {
		items, _ := list.([]any)
		for _, item := range items {
			panel := item.(map[string]any)
			at := panel["gridPos"].(map[string]any)
			n := func(key string) int { return int(at[key].(float64)) }
			out[panel["title"].(string)] = [4]int{n("x"), n("y"), n("w"), n("h")}
			walk(panel["panels"])
		}
	}
	walk(model["panels"])
	return out
}

func TestPanelsFlowLeftToRightAndWrapBelowTheTallest(t *testing.T) {
	model := render(t,
		Row{ID: 10, Title: "first", Panels: panels{
			Timeseries(text(11, "tall")).Span(12).Height(9).WithTarget(Range("a", "x", "")),
			Timeseries(text(12, "short")).Span(12).Height(4).WithTarget(Range("a", "x", "")),
			Timeseries(text(13, "wrapped")).Span(8).Height(5).WithTarget(Range("a", "x", "")),
		}},
		Row{ID: 20, Title: "closed", Collapsed: true, Panels: panels{
			Stat(text(21, "hidden")).WithTarget(Now("a", "x", "")),
		}},
		Row{ID: 30, Title: "last", Panels: panels{Table(text(31, "table")).WithTarget(Instant("a", "x"))}},
	)
	require.Equal(t, map[string][4]int{
		"first":   {0, 0, 24, 1},
		"tall":    {0, 1, 12, 9},
		"short":   {12, 1, 12, 4},
		"wrapped": {0, 10, 8, 5},
		"closed":  {0, 15, 24, 1},
		"hidden":  {0, 16, 4, 4},
		"last":    {0, 16, 24, 1},
		"table":   {0, 17, 24, 9},
	}, places(model))
}

func TestDashboardThatWouldLosePanelsIsRefused(t *testing.T) {
	one := func(p cog.Builder[dashboard.Panel]) []Row {
		return []Row{{ID: 10, Title: "row", Panels: panels{p}}}
	}
	for sentence, c := range map[string]struct {
		rows    []Row
		message string
	}{
		"a panel without an id": {
			one(Stat(text(0, "nameless"))),
			`panel "nameless": id 0 is zero or belongs to ""`,
		},
		"a panel with the id of its row": {
			one(Stat(text(10, "twin"))),
			`panel "twin": id 10 is zero or belongs to "row"`,
		},
		"two queries of one refId": {
			one(Stat(text(11, "stat")).WithTarget(Now("a", "x", "")).WithTarget(Now("a", "y", ""))),
			`row "row": panel "stat": every query needs a refId of its own`,
		},
		"a panel made without this package": {
			one(dashboard.NewPanelBuilder().Type("stat")),
			`row "row": a panel was not made by this package's constructors`,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := Dashboard{UID: "test", Title: "Test", Rows: c.rows}.JSON()
			require.ErrorContains(t, err, "dashboard test: ")
			require.ErrorContains(t, err, c.message)
		})
	}
}

func TestAnnotationsKeepTheirWording(t *testing.T) {
	body, err := Dashboard{UID: "test", Title: "Test", Annotations: []Annotation{{
		Name: "Alerts", Expr: "\n\t\tALERTS{\n\t\t  a=\"b\"}", Title: "{{alertname}}", Text: "{{dataset}}", Tags: "severity", Color: "red",
	}}}.JSON()
	require.NoError(t, err)
	var model struct {
		Annotations struct{ List []map[string]any }
	}
	require.NoError(t, json.Unmarshal(body, &model))
	require.Equal(t, []map[string]any{{
		"name": "Alerts", "enable": true, "hide": false, "iconColor": "red",
		"datasource":  map[string]any{"type": "prometheus", "uid": "${datasource}"},
		"expr":        "ALERTS{\n  a=\"b\"}",
		"target":      map[string]any{"refId": "Annotation", "expr": "ALERTS{\n  a=\"b\"}"},
		"titleFormat": "{{alertname}}", "textFormat": "{{dataset}}", "tagKeys": "severity", "useValueForTime": true,
	}}, model.Annotations.List)
}

func TestSelectors(t *testing.T) {
	require.Equal(t, `x{cluster=~"$cluster", namespace=~"$namespace", job=~"$job", instance=~"$instance", a="b"}`, Raw("x", `a="b"`))
	require.Equal(t, `a:x:sum{cluster=~"$cluster", namespace=~"$namespace"}`, Recorded("a:x:sum"))
}
