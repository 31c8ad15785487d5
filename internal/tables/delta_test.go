package tables_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// DuckDB reads Delta Lake without Trino where its extension is installed: DUCKDB_DELTA is the path of the file
// delta.duckdb_extension, of the very version of DuckDB that is linked in.
func TestDeltaLakeByDuckDBsExtension(t *testing.T) {
	extension := os.Getenv("DUCKDB_DELTA")
	if extension == "" {
		t.Skip("DUCKDB_DELTA names no extension; it would have to be downloaded")
	}
	dir := t.TempDir()
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	write := func(version int, actions ...map[string]any) {
		var log []byte
		for _, a := range actions {
			line, err := json.Marshal(a)
			require.NoError(t, err)
			log = append(append(log, line...), '\n')
		}
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "_delta_log"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "_delta_log", fmt.Sprintf("%020d.json", version)), log, 0o600))
	}
	part := func(name, query string) map[string]any {
		path := filepath.Join(dir, name)
		_, err := db.Exec("COPY (" + query + ") TO '" + path + "' (FORMAT parquet)")
		require.NoError(t, err)
		info, err := os.Stat(path)
		require.NoError(t, err)
		return map[string]any{"add": map[string]any{"path": name, "partitionValues": map[string]string{}, "size": info.Size(), "modificationTime": 1795518123000, "dataChange": true}}
	}
	field := func(name, typ string) map[string]any {
		return map[string]any{"name": name, "type": typ, "nullable": true, "metadata": map[string]any{}}
	}
	schema, err := json.Marshal(map[string]any{"type": "struct", "fields": []any{field("at", "timestamp"), field("amount", "double"), field("country", "string")}})
	require.NoError(t, err)
	const rows = "SELECT TIMESTAMPTZ '2026-11-24 05:00:00+00' AS at, CASE WHEN i %% 10 = 0 THEN 'nan'::DOUBLE ELSE i END AS amount, '%s' AS country FROM range(%d) AS r(i)"
	write(0, map[string]any{"protocol": map[string]int{"minReaderVersion": 1, "minWriterVersion": 2}},
		map[string]any{"metaData": map[string]any{
			"id": "5b3d9d2a-1d2c-4f0a-9b60-3a1f6c0d9e11", "format": map[string]any{"provider": "parquet", "options": map[string]any{}},
			"schemaString": string(schema), "partitionColumns": []string{}, "configuration": map[string]any{}, "createdTime": 1795518123000,
		}},
		part("a.parquet", fmt.Sprintf(rows, "CA", 100)), part("b.parquet", fmt.Sprintf(rows, "US", 50)))
	// The next version has another file in place of one: what was removed is not read.
	write(1, map[string]any{"remove": map[string]any{"path": "b.parquet", "deletionTimestamp": 1795518123001, "dataChange": true}}, part("c.parquet", fmt.Sprintf(rows, "FR", 30)))

	s := open(t, tables.Options{Type: tables.DuckDB, Init: []string{"LOAD '" + extension + "'"}})
	missing := true
	r := s.Query("SELECT * FROM delta_scan('"+dir+"')", "at").ReadAs(tables.Reading{NaNIsMissing: &missing}, s)
	columns, err := s.Schema(t.Context(), r)
	require.NoError(t, err)
	p, err := s.Count(t.Context(), r, columns, tables.Window{}, tables.Fields{"amount": nil, "country": new(binning.NewCategorical([]string{"CA", "FR"}, 2, false))}, asOf)
	require.NoError(t, err)
	require.EqualValues(t, 130, p.Rows)
	require.EqualValues(t, 13, p.Nulls["amount"], "NaN, where the dataset says that it is missing")
	require.Equal(t, map[string]int64{"null": 0, "unseen": 0, "CA": 100, "FR": 30}, p.Values["country"])
}
