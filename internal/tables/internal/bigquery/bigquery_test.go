package bigquery

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const schema = `"schema": {"fields": [
	{"name": "n", "type": "INTEGER", "mode": "NULLABLE"}, {"name": "f", "type": "FLOAT"}, {"name": "b", "type": "BOOLEAN"}, {"name": "s", "type": "STRING"},
	{"name": "at", "type": "TIMESTAMP"}, {"name": "d", "type": "DATETIME"}, {"name": "day", "type": "DATE"}, {"name": "counts", "type": "INTEGER", "mode": "REPEATED"}]}`

func row(n int) string {
	return fmt.Sprintf(`{"f": [{"v": "%d"}, {"v": "NaN"}, {"v": "true"}, {"v": null}, {"v": "1795498200500000"}, {"v": "2026-11-24T05:30:00.5"}, {"v": "2026-11-24"}, {"v": [{"v": "1"}, {"v": "2"}]}]}`, n)
}

// service answers as the REST API does: a job that takes a while, in two pages.
func service(t *testing.T, cancelled *atomic.Int32, requests chan<- map[string]any) *httptest.Server {
	t.Helper()
	var asked atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("POST /projects/shop/queries", func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		requests <- body
		query, _ := body["query"].(string)
		switch {
		case body["dryRun"] == true:
			_, _ = fmt.Fprintf(w, `{"kind": "bigquery#queryResponse", %s, "jobComplete": true}`, schema)
		case strings.Contains(query, "wrong"):
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprint(w, `{"error": {"code": 400, "message": "Unrecognized name: wrong at [1:8]", "errors": [{"reason": "invalidQuery"}]}}`)
		default:
			_, _ = fmt.Fprint(w, `{"jobComplete": false, "jobReference": {"projectId": "shop", "jobId": "job1", "location": "EU"}}`)
		}
	})
	mux.HandleFunc("GET /projects/shop/queries/job1", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("location") != "EU" || r.URL.Query().Get("formatOptions.useInt64Timestamp") != "true" {
			t.Errorf("asked with %s", r.URL.RawQuery)
		}
		switch n := asked.Add(1); {
		case n < 3:
			_, _ = fmt.Fprint(w, `{"jobComplete": false, "jobReference": {"projectId": "shop", "jobId": "job1", "location": "EU"}}`)
		case r.URL.Query().Get("pageToken") == "":
			_, _ = fmt.Fprintf(w, `{"jobComplete": true, %s, "pageToken": "second", "rows": [%s, %s]}`, schema, row(1), row(2))
		default:
			_, _ = fmt.Fprintf(w, `{"jobComplete": true, %s, "rows": [%s]}`, schema, row(3))
		}
	})
	mux.HandleFunc("POST /projects/shop/jobs/job1/cancel", func(w http.ResponseWriter, _ *http.Request) {
		cancelled.Add(1)
		_, _ = fmt.Fprint(w, `{}`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

func TestQueries(t *testing.T) {
	var cancelled atomic.Int32
	requests := make(chan map[string]any, 10)
	server := service(t, &cancelled, requests)
	connector, err := NewConnector("bigquery://shop?location=EU&max_bytes_billed=1000000&endpoint=" + server.URL + "/")
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { require.NoError(t, db.Close()) })

	rows, err := db.QueryContext(t.Context(), "SELECT * FROM `orders` AS t LIMIT 0")
	require.NoError(t, err)
	defer rows.Close()
	types, err := rows.ColumnTypes()
	require.NoError(t, err)
	require.Equal(t, "TIMESTAMP", types[4].DatabaseTypeName())
	require.Equal(t, "ARRAY<INTEGER>", types[7].DatabaseTypeName())
	require.False(t, rows.Next())
	require.NoError(t, rows.Err())
	require.Equal(t, true, (<-requests)["dryRun"], "asking for the columns costs nothing")

	answers, err := db.QueryContext(t.Context(), "SELECT * FROM `orders` AS t")
	require.NoError(t, err)
	defer answers.Close()
	var seen []string
	for answers.Next() {
		values, pointers := make([]any, 8), make([]any, 8)
		for i := range values {
			pointers[i] = &values[i]
		}
		require.NoError(t, answers.Scan(pointers...))
		seen = append(seen, fmt.Sprint(values...))
	}
	require.NoError(t, answers.Err())
	half := time.Date(2026, 11, 24, 5, 30, 0, 5e8, time.UTC)
	var want []string
	for i := range int64(3) {
		want = append(want, fmt.Sprint(i+1, "NaN", true, nil, half, half, half.Truncate(24*time.Hour), []any{int64(1), int64(2)}))
	}
	require.Equal(t, strings.ReplaceAll(fmt.Sprint(want), " ", ""), strings.ReplaceAll(fmt.Sprint(seen), " ", ""))
	request := <-requests
	require.Equal(t, false, request["useLegacySql"])
	require.Equal(t, "1000000", request["maximumBytesBilled"])

	_, err = db.QueryContext(t.Context(), "SELECT wrong") //nolint:rowserrcheck,sqlclosecheck // There are none.
	require.ErrorContains(t, err, "Unrecognized name: wrong")
	require.Zero(t, cancelled.Load())
}

func TestACancelledQueryEndsItsJob(t *testing.T) {
	var cancelled atomic.Int32
	server := service(t, &cancelled, make(chan map[string]any, 10))
	ctx, cancel := context.WithCancel(t.Context())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /projects/shop/queries/job1", func(http.ResponseWriter, *http.Request) { cancel(); <-t.Context().Done() })
	mux.Handle("/", server.Config.Handler)
	hanging := httptest.NewServer(mux)
	t.Cleanup(hanging.CloseClientConnections)
	connector, err := NewConnector("bigquery://shop?endpoint=" + hanging.URL + "/")
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.QueryContext(ctx, "SELECT 1") //nolint:rowserrcheck,sqlclosecheck // There are none.
	require.ErrorIs(t, err, context.Canceled)
	require.EqualValues(t, 1, cancelled.Load())
}

func TestAddresses(t *testing.T) {
	got, err := Parse("bigquery://my-shop?location=EU&credentials=/etc/key.json&max_bytes_billed=10")
	require.NoError(t, err)
	require.Equal(t, Config{Project: "my-shop", Location: "EU", Credentials: "/etc/key.json", MaxBytesBilled: 10}, got)
	for dsn, want := range map[string]string{
		"":                                     "not a BigQuery DSN",
		"postgres://x":                         "not a BigQuery DSN",
		"bigquery://":                          "not a BigQuery DSN",
		"bigquery://shop/dataset":              "not a BigQuery DSN",
		"bigquery://shop?region=EU":            `unknown setting "region"; want bigquery://PROJECT`,
		"bigquery://shop?max_bytes_billed=1GB": `max_bytes_billed "1GB": want a number of bytes above 0`,
	} {
		_, err := Parse(dsn)
		require.ErrorContains(t, err, want, dsn)
	}
}
