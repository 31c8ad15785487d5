package tables_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/tables"
)

// labelled is a table of predictions whose truth is known for some.
func labelled(e engine, s *tables.Source) tables.Relation {
	at := map[string]string{
		"duckdb": "TIMESTAMP '%s'", "postgres": "TIMESTAMP '%s'", "clickhouse": "toDateTime64('%s', 6, 'UTC')", "trino": "TIMESTAMP '%s'", "mysql": "TIMESTAMP '%s'",
	}[e.name]
	text, number := "VARCHAR", "DOUBLE"
	switch e.name {
	case "clickhouse":
		text, number = "Nullable(String)", "Nullable(Float64)"
	case "mysql":
		text = "CHAR"
	case "postgres":
		number = "DOUBLE PRECISION"
	}
	var selects []string
	for _, row := range []struct {
		model, class, label, country, quantity, sure string
		truth                                        int
		ago, known                                   time.Duration
	}{
		{"fraud", "'spam'", "'spam'", "'CA'", "1.5", "0.1", 1, 0, time.Hour},
		{"fraud", "'spam'", "'ham'", "'CA'", "3", "0.95", 1, 0, 2 * time.Hour},
		{"fraud", "'spam'", "'spam'", "'US'", "NULL", "0.951", 1, 0, time.Hour},
		{"fraud", "NULL", "'ham'", "NULL", "1", "NULL", 3, 0, time.Hour},
		{"fraud", "'ham'", "NULL", "'CA'", "2", "0.5", 2, 0, time.Hour},
		{"fraud", "'it''s'", "'it''s'", "'CA'", "2", "0.2", 2, 0, time.Hour},
		{"fraud", "'ham'", "'ham'", "'CA'", "9", "0.3", 9, 48 * time.Hour, time.Hour}, // before the window
		{"churn", "'a'", "'a'", "'CA'", "4", "1.2", 8, 0, time.Hour},
	} {
		when := asOf.Add(-time.Minute - row.ago)
		literal := func(t time.Time) string { return fmt.Sprintf(at, t.Format("2006-01-02 15:04:05")) }
		selects = append(selects, fmt.Sprintf("SELECT '%s' AS model, 7 AS version, CAST(%s AS %s) AS class, CAST(%s AS %s) AS label, CAST(%s AS %s) AS country, CAST(%s AS %s) AS quantity, CAST(%s AS %s) AS sure, %d AS truth, %s AS at, %s AS known",
			row.model, row.class, text, row.label, text, row.country, text, row.quantity, number, row.sure, number, row.truth, literal(when), literal(when.Add(row.known))))
	}
	return s.Query(strings.Join(selects, "\nUNION ALL "), "at")
}

func labelsAreCounted(t *testing.T, e engine, s *tables.Source) {
	r := labelled(e, s)
	w := tables.Window{From: asOf.Add(-24 * time.Hour), To: asOf}
	count := func(l tables.Labels) []tables.Labelled {
		t.Helper()
		got, err := s.Labelled(t.Context(), r, w, l, 100)
		require.NoError(t, err)
		slices.SortFunc(got, func(a, b tables.Labelled) int {
			return cmp.Or(strings.Compare(a.Model, b.Model), strings.Compare(a.Segment, b.Segment), strings.Compare(a.Predicted, b.Predicted), strings.Compare(a.Actual, b.Actual))
		})
		return got
	}
	class := tables.Labels{Prediction: "class", Label: "label", Model: "model", Version: "version", Segment: "country", LabelTime: "known"}
	require.Equal(t, []tables.Labelled{
		{Model: "churn", Version: "7", Segment: "CA", Predicted: "a", Actual: "a", Rows: 1, DelayRows: 1, Delay: 3600},
		{Model: "fraud", Version: "7", Predicted: "null", Actual: "ham", Rows: 1, DelayRows: 1, Delay: 3600},
		{Model: "fraud", Version: "7", Segment: "CA", Predicted: "it's", Actual: "it's", Rows: 1, DelayRows: 1, Delay: 3600},
		{Model: "fraud", Version: "7", Segment: "CA", Predicted: "spam", Actual: "ham", Rows: 1, DelayRows: 1, Delay: 7200},
		{Model: "fraud", Version: "7", Segment: "CA", Predicted: "spam", Actual: "spam", Rows: 1, DelayRows: 1, Delay: 3600},
		{Model: "fraud", Version: "7", Segment: "US", Predicted: "spam", Actual: "spam", Rows: 1, DelayRows: 1, Delay: 3600},
	}, count(class))
	require.Equal(t, []tables.Labelled{
		{Model: "churn", Rows: 1, AbsoluteError: 4, SquaredError: 16},
		{Model: "fraud", Rows: 5, AbsoluteError: 0.5 + 2 + 2, SquaredError: 0.25 + 4 + 4},
	}, count(tables.Labels{Prediction: "quantity", Label: "truth", Model: "model", Numeric: true}))
	require.Equal(t, []tables.Labelled{{Rows: 6, AbsoluteError: 8.5, SquaredError: 24.25}}, count(tables.Labels{Prediction: "quantity", Label: "truth", Numeric: true}))

	// A whole number and a number with a fraction are the same class where they are the same number.
	same := 0
	for _, g := range count(tables.Labels{Prediction: "quantity", Label: "truth", Model: "model"}) {
		if g.Predicted == g.Actual {
			same++
		}
	}
	require.Equal(t, 1, same, "2 and 2")

	class.Segment, class.LabelTime = "", ""
	class.Confidence, class.Bins, class.Middle = "sure", []float64{0.1, 0.5, 0.95, 1}, asOf.Add(-30*time.Second)
	require.ElementsMatch(t, []tables.Labelled{
		{Model: "churn", Version: "7", Predicted: "a", Actual: "a", Rows: 1},
		{Model: "fraud", Version: "7", Predicted: "null", Actual: "ham", Rows: 1},
		{Model: "fraud", Version: "7", Predicted: "spam", Actual: "spam", Bin: "0.1", Rows: 1},
		{Model: "fraud", Version: "7", Predicted: "it's", Actual: "it's", Bin: "0.5", Rows: 1},
		{Model: "fraud", Version: "7", Predicted: "spam", Actual: "ham", Bin: "0.95", Rows: 1},
		{Model: "fraud", Version: "7", Predicted: "spam", Actual: "spam", Bin: "1", Rows: 1},
	}, count(class), "a bin has its upper bound, and a row without a confidence from 0 to 1 none")
	class.Middle = asOf.Add(-time.Minute)
	for _, g := range count(class) {
		require.True(t, g.Later, "%+v", g)
	}
	quantity := tables.Labels{Prediction: "quantity", Label: "truth", Model: "model", Numeric: true, Bins: []float64{1, 2}, Middle: asOf}
	require.ElementsMatch(t, []tables.Labelled{
		{Model: "churn", Bin: "+Inf", Rows: 1, AbsoluteError: 4, SquaredError: 16},
		{Model: "fraud", Bin: "1", Rows: 1, AbsoluteError: 2, SquaredError: 4},
		{Model: "fraud", Bin: "2", Rows: 3, AbsoluteError: 0.5, SquaredError: 0.25},
		{Model: "fraud", Bin: "+Inf", Rows: 1, AbsoluteError: 2, SquaredError: 4},
	}, count(quantity), "the last bin has no bound")
	class.Confidence = "class"
	_, err := s.Labelled(t.Context(), r, w, class, 100)
	require.ErrorContains(t, err, `column "class" has type`)
	class.Confidence, class.Bins, class.Segment = "", nil, "country"

	_, err = s.Labelled(t.Context(), r, w, class, 5)
	require.EqualError(t, err, "count labels: more than 5 combinations of model, version, segment, prediction, label and bin, expected fewer")
	class.Label = "none"
	_, err = s.Labelled(t.Context(), r, w, class, 5)
	require.ErrorIs(t, err, tables.ErrNoColumn)
	_, err = s.Labelled(t.Context(), r, w, tables.Labels{Prediction: "class", Label: "truth", Numeric: true}, 5)
	require.ErrorContains(t, err, `column "class" has type`)
}
