package dataquality

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const reportYAML = `
sources: {files: {type: duckdb, memory_limit: 512MiB}}
datasets:
  - name: orders
    source: files
    files: orders.parquet
    timestamp_column: at
    columns: {exclude: [note]}
    keys: [[id]]
    checks: [{column: amount, at_most: 5}, {column: missing, not_null: true}]
    baselines: {training: {files: training.parquet}, production: {days: 0}}
`

func TestIntervalsInReportsAreShortened(t *testing.T) {
	for bin, want := range map[string]string{
		"(0.09931110250791897,0.19498320143259407]": "(0.09931,0.195]", "(-Inf,4.3944210853852354e-05]": "(-Inf,4.394e-05]",
		"(0,12.5]": "(0,12.5]", "(-123456.7890123,+Inf)": "(-1.235e+05,+Inf)", "v1.234567890": "v1.234567890", "": "",
	} {
		require.Equal(t, want, shortened(bin))
	}
}

func TestReportOfAProfile(t *testing.T) {
	w := newWorld(t, reportYAML)
	w.file("training.parquet", "SELECT i AS id, (i % 4)::DOUBLE AS amount, '<b>CA</b>' AS country, 'x' AS note, TIMESTAMP '2025-11-24 11:00:00' AS at FROM range(200) AS r(i)")
	w.file("orders.parquet", `SELECT i % 199 AS id, (i % 8)::DOUBLE AS amount, '<b>CA</b>' AS country, 'x' AS note,
		CASE WHEN i < 10 THEN NULL ELSE TIMESTAMP '2026-11-24 11:00:00' END AS at FROM range(210) AS r(i)`)
	b, err := OpenBaselines(w.cfg, slog.New(slog.DiscardHandler), func() time.Time { return w.now })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })

	r, err := b.Report(t.Context(), w.cfg.Datasets[0])
	require.NoError(t, err)
	require.Empty(t, r.Baselines, "nothing is stored yet, and a report stores nothing")
	status, err := b.Status(t.Context(), w.cfg.Datasets[0])
	require.NoError(t, err)
	require.Empty(t, status.Definition.ID)

	require.NoError(t, b.Build(t.Context(), w.cfg.Datasets[0]))
	r, err = b.Report(t.Context(), w.cfg.Datasets[0])
	require.NoError(t, err)
	require.EqualValues(t, 200, r.Rows)
	require.EqualValues(t, 10, r.Unread)
	require.Equal(t, []string{"training"}, r.Baselines)
	require.Equal(t, []ReportKey{{"id", 1, 1.0 / 200, 0, false, true}}, r.Keys)
	require.Equal(t, ReportCheck{Name: "amount at_most", Severity: "warning", Broken: 50, Share: 0.25, Bad: true}, r.Checks[0])
	require.Contains(t, r.Checks[1].Failure, `column "missing": no such column`)
	columns := make(map[string]ReportColumn)
	for _, c := range r.Columns {
		columns[c.Name] = c
	}
	require.True(t, columns["amount"].Drifts[0].Drifted)
	require.Contains(t, columns["id"].Without, "identifier")
	require.Contains(t, columns["note"].Without, "excluded by the configuration")
	require.Contains(t, columns["at"].Without, "timestamp column")

	var page strings.Builder
	require.NoError(t, r.WriteHTML(&page))
	for _, want := range []string{"<title>orders · data quality</title>", "PSI", "&lt;b&gt;CA&lt;/b&gt;", "25.00 %", "unique id", "Columns without bins", "looks like an identifier", "min 0 · max 7"} {
		require.Contains(t, page.String(), want)
	}
	require.NotContains(t, page.String(), "<b>CA</b>", "values are text, never markup")
	for _, outside := range []string{"http://", "https://", "<script", "<link"} {
		require.NotContains(t, page.String(), outside, "the page needs nothing else")
	}
}
