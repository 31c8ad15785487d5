package engine_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/replay/engine"
)

func TestAlertsWithoutInputAreNamedWithWhatIsAbsent(t *testing.T) {
	loaded, err := engine.LoadRules(fstest.MapFS{"rules.yaml": {Data: []byte(`
groups:
- name: g
  rules:
  - {record: "job:rows:limit", expr: vector(5)}
  - {record: "job:rows:rate", expr: "rate(rows_total[5m])"}
  - {record: "job:rows:either", expr: "job:rows:rate or other_rows"}
  - {record: "job:rows:circle", expr: "job:rows:circle + rows_total"}
  - {alert: Low, expr: "job:rows:rate < on () group_left () job:rows:limit"}
  - {alert: Either, expr: "job:rows:either > 1"}
  - {alert: Gone, expr: "absent(rows_total)"}
  - {alert: Circle, expr: "job:rows:circle > 1"}
  - {alert: Twice, expr: "job:rows:rate > 1"}
  - {alert: Twice, expr: "other_rows > 1"}
`)}})
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		exist []string
		want  []engine.AlertsWithoutInputs
	}{
		"nothing exists": {nil, []engine.AlertsWithoutInputs{
			{Alert: "Circle", Absent: []string{"rows_total"}},
			{Alert: "Either", Absent: []string{"other_rows", "rows_total"}},
			{Alert: "Low", Absent: []string{"rows_total"}},
			{Alert: "Twice", Absent: []string{"other_rows", "rows_total"}},
		}},
		"one of two rules of an alert has input": {[]string{"other_rows"}, []engine.AlertsWithoutInputs{
			{Alert: "Circle", Absent: []string{"rows_total"}}, {Alert: "Low", Absent: []string{"rows_total"}},
		}},
		// A rule that only adds to its own record begins with nothing.
		"a rule that reads its own record": {[]string{"other_rows", "rows_total"}, []engine.AlertsWithoutInputs{{Alert: "Circle", Absent: []string{}}}},
	} {
		t.Run(name, func(t *testing.T) {
			unfed, err := loaded.Unfed(tc.exist)
			require.NoError(t, err)
			for i := range unfed {
				unfed[i].Absent = append([]string{}, unfed[i].Absent...)
			}
			require.Equal(t, tc.want, unfed)
		})
	}
}
