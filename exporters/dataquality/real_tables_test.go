package dataquality

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// table is a dataset of files in the world's folder, with settings of its own.
func table(files, settings string) string {
	return "sources: {files: {type: duckdb, memory_limit: 512MiB}}\ndatasets:\n  - {name: t, source: files, files: '" + files + "', baselines: {production: {days: 0}}" + settings + "}\n"
}

func (w *world) write(name, content string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	require.NoError(w.t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(w.t, os.WriteFile(path, []byte(content), 0o600))
}

// arrow puts an Arrow file of pandas and pyarrow into the world's folder.
func (w *world) arrow(from, to string) {
	w.t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "internal", "tables", "testdata", "arrow", from))
	require.NoError(w.t, err)
	w.write(to, string(content))
}

// scrape returns the metrics of one run of the first dataset.
func (w *world) scrape() string {
	w.t.Helper()
	d := w.dataset(0)
	c, err := d.run(w.t.Context())
	require.NoError(w.t, err)
	return metrics(w.t, d, c, err)
}

func (w *world) expect(exposition string, lines ...string) {
	w.t.Helper()
	for _, l := range lines {
		require.Contains(w.t, exposition, l+"\n")
	}
}

// Properties of real tables, each with its expected metrics.
func TestRealTables(t *testing.T) {
	const schemaUnchanged = `ml_dataset_schema_changes{change="type_changed",dataset="t"} 0`
	for name, test := range map[string]func(*testing.T){
		"records without a time are its nulls, and those of the future are counted": func(t *testing.T) {
			w := newWorld(t, table("t.parquet", ", timestamp_column: at"))
			w.file("t.parquet", `SELECT CASE WHEN i < 400 THEN NULL WHEN i < 500 THEN TIMESTAMP '2026-11-24 12:00:00' + INTERVAL 300 DAY
				ELSE TIMESTAMP '2026-11-24 11:00:00' END AS at, i AS v FROM range(1000) AS r(i)`)
			w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 500`, `ml_dataset_column_nulls{column="at",dataset="t"} 400`,
				`ml_dataset_column_nulls{column="v",dataset="t"} 0`, `ml_dataset_future_rows{dataset="t"} 100`)
		},
		"a table without a window has neither": func(t *testing.T) {
			w := newWorld(t, table("t.parquet", ""))
			w.file("t.parquet", "SELECT NULL::TIMESTAMP AS at FROM range(3)")
			m := w.scrape()
			w.expect(m, `ml_dataset_column_nulls{column="at",dataset="t"} 3`)
			require.NotContains(t, m, "ml_dataset_future_rows")
		},
		"NaN in a file is missing": func(t *testing.T) {
			w := newWorld(t, table("t.parquet", ""))
			w.file("t.parquet", "SELECT 'nan'::DOUBLE AS lost, i::FLOAT AS kept, CASE WHEN i % 2 = 0 THEN 'nan'::FLOAT ELSE i END AS half FROM range(200) AS r(i)")
			m := w.scrape()
			w.expect(m, `ml_dataset_column_nulls{column="lost",dataset="t"} 200`, `ml_dataset_column_nulls{column="kept",dataset="t"} 0`,
				`ml_dataset_column_nulls{column="half",dataset="t"} 100`, `ml_dataset_column_values{bin="null",column="half",dataset="t"} 100`)
			require.NotContains(t, m, `bin="nan"`, "what is missing has no bin of its own, here and in the spans of a model with this training data")
		},
		"NaN is a value where the dataset says so": func(t *testing.T) {
			w := newWorld(t, table("t.parquet", ", nan_is_missing: false"))
			w.file("t.parquet", "SELECT 'nan'::DOUBLE AS v FROM range(200)")
			w.expect(w.scrape(), `ml_dataset_column_nulls{column="v",dataset="t"} 0`, `ml_dataset_column_values{bin="nan",column="v",dataset="t"} 200`)
		},
		"values that look like names become a rank and a hash; codes stay": func(t *testing.T) {
			w := newWorld(t, table("t.parquet", ", timestamp_column: at"))
			w.file("t.parquet", "SELECT TIMESTAMP '2026-11-24 11:59:00' AS at, CASE i % 4 WHEN 0 THEN 'Alice' WHEN 1 THEN 'bob@example.ca' WHEN 2 THEN '514-555-0199' ELSE 'guest_3' END AS customer, CASE i % 2 WHEN 0 THEN 'CA' ELSE 'US' END AS country FROM range(1200) AS r(i)")
			m := w.scrape()
			for _, secret := range []string{"Alice", "bob", "0199"} {
				require.NotContains(t, m, secret)
			}
			w.expect(m, `ml_dataset_column_values{bin="CA",column="country",dataset="t"} 600`, `ml_dataset_column_values{bin="guest_3",column="customer",dataset="t"} 300`)
			require.Regexp(t, `ml_dataset_column_values\{bin="#1~[0-9a-f]{6}",column="customer",dataset="t"\} 300`, m)
			w = newWorld(t, table("t.parquet", ", columns: {reveal: [cust*]}"))
			w.file("t.parquet", "SELECT CASE i % 2 WHEN 0 THEN 'Alice' ELSE 'Bob' END AS customer FROM range(200) AS r(i)")
			w.expect(w.scrape(), `ml_dataset_column_values{bin="Alice",column="customer",dataset="t"} 100`)
		},
		"NaN in an Arrow file is missing": func(t *testing.T) {
			w := newWorld(t, table("d/*.arrow", ""))
			w.arrow("nan.arrow", "d/1.arrow")
			w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 200`, `ml_dataset_column_nulls{column="lost",dataset="t"} 200`,
				`ml_dataset_column_values{bin="null",column="half",dataset="t"} 100`)
		},
		"NaN in an Arrow file is a value where the dataset says so": func(t *testing.T) {
			w := newWorld(t, table("t.arrow", ", nan_is_missing: false"))
			w.arrow("nan.arrow", "t.arrow")
			w.expect(w.scrape(), `ml_dataset_column_nulls{column="lost",dataset="t"} 0`, `ml_dataset_column_values{bin="nan",column="lost",dataset="t"} 200`)
		},
		"an Arrow column of None only has any type": func(t *testing.T) {
			w := newWorld(t, table("t.feather", ""))
			w.arrow("typed.feather", "t.feather")
			w.scrape()
			w.arrow("null.feather", "t.feather")
			w.expect(w.scrape(), schemaUnchanged, `ml_dataset_column_nulls{column="qty",dataset="t"} 2`)
		},
		"a Parquet column of None only has any type, as pandas writes it": func(t *testing.T) {
			w := newWorld(t, table("t.parquet", ""))
			w.file("t.parquet", "SELECT i AS qty FROM range(2) AS r(i)")
			w.scrape()
			w.arrow("null.parquet", "t.parquet")
			w.expect(w.scrape(), schemaUnchanged, `ml_dataset_column_nulls{column="qty",dataset="t"} 2`)
		},
		"a column of other whole numbers is a new type": func(t *testing.T) {
			w := newWorld(t, table("t.parquet", ""))
			w.file("t.parquet", "SELECT i AS qty FROM range(2) AS r(i)")
			w.scrape()
			w.file("t.parquet", "SELECT i::INTEGER AS qty FROM range(2) AS r(i)")
			w.expect(w.scrape(), `ml_dataset_schema_changes{change="type_changed",dataset="t"} 1`)
		},
		"an Arrow column that first has None only is learned when it has values": func(t *testing.T) {
			w := newWorld(t, table("t.feather", ""))
			w.arrow("null.feather", "t.feather")
			w.scrape()
			w.arrow("typed.feather", "t.feather")
			w.expect(w.scrape(), schemaUnchanged, `ml_dataset_column_nulls{column="qty",dataset="t"} 0`)
		},
		"a truncated Arrow file among good ones is skipped and counted": func(t *testing.T) {
			w := newWorld(t, table("d/*.feather", ", on_unreadable: skip"))
			w.arrow("nan.feather", "d/1.feather")
			good, err := os.ReadFile(filepath.Join(w.dir, "d/1.feather"))
			require.NoError(t, err)
			w.write("d/2.feather", string(good[:len(good)/2]))
			w.write("d/3.feather", "")
			w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 200`, `ml_dataset_unreadable_files{dataset="t"} 2`, `ml_dataset_profile_success{dataset="t"} 1`)
		},
		"a file with a header only has no rows and its columns have no type": func(t *testing.T) {
			w := newWorld(t, table("t.csv", ", timestamp_column: at"))
			w.write("t.csv", "at,qty,amount\n2026-11-24 11:00:00,1,2.5\n")
			w.scrape()
			w.write("t.csv", "at,qty,amount\n")
			w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 0`, schemaUnchanged, `ml_dataset_schema_changes{change="removed",dataset="t"} 0`, `ml_dataset_profile_success{dataset="t"} 1`)
		},
		"a header that lacks a column lacks a column": func(t *testing.T) {
			w := newWorld(t, table("t.csv", ", timestamp_column: at"))
			w.write("t.csv", "at,qty,amount\n2026-11-24 11:00:00,1,2.5\n")
			w.scrape()
			w.write("t.csv", "at,qty\n")
			w.expect(w.scrape(), `ml_dataset_schema_changes{change="removed",dataset="t"} 1`, schemaUnchanged)
		},
		"a file without a byte has no rows, and its schema is unknown": func(t *testing.T) {
			for _, file := range []string{"t.csv", "t.json"} {
				w := newWorld(t, table(file, ", timestamp_column: at"))
				w.write(file, map[string]string{"t.csv": "at,qty\n2026-11-24 11:00:00,1\n", "t.json": `{"at":"2026-11-24 11:00:00","qty":1}`}[file])
				w.scrape()
				w.write(file, "")
				m := w.scrape()
				w.expect(m, `ml_dataset_rows{dataset="t"} 0`, `ml_dataset_profile_success{dataset="t"} 1`)
				require.NotContains(t, m, "ml_dataset_schema_changes", "unknown is not unchanged")
			}
		},
		"a file without a byte among others adds no column": func(t *testing.T) {
			w := newWorld(t, table("d/*.csv", ", timestamp_column: at"))
			w.write("d/1.csv", "at,qty\n2026-11-24 11:00:00,1\n")
			w.scrape()
			w.write("d/2.csv", "")
			w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 1`, `ml_dataset_schema_changes{change="added",dataset="t"} 0`)
		},
		"the first file is empty: bins are cut when there are rows": func(t *testing.T) {
			w := newWorld(t, table("t.csv", ", timestamp_column: at"))
			w.write("t.csv", "")
			w.scrape()
			w.write("t.csv", "at,qty\n")
			w.scrape()
			w.write("t.csv", "at,qty\n2026-11-24 11:00:00,1\n")
			w.expect(w.scrape(), `ml_dataset_column_values{bin="1",column="qty",dataset="t"} 1`, schemaUnchanged)
		},
		"a CSV column without values has any type": func(t *testing.T) {
			w := newWorld(t, table("t.csv", ", timestamp_column: at"))
			w.write("t.csv", "at,qty,note\n2026-11-24 11:00:00,1,\n")
			w.scrape()
			w.write("t.csv", "at,qty,note\n2026-11-24 11:00:00,,7\n")
			w.expect(w.scrape(), schemaUnchanged, `ml_dataset_column_nulls{column="qty",dataset="t"} 1`, `ml_dataset_column_values{bin="null",column="qty",dataset="t"} 1`)
		},
		"a JSON field that is always null has any type": func(t *testing.T) {
			w := newWorld(t, table("t.json", ""))
			w.write("t.json", `{"qty":1,"city":"Laval"}`)
			w.scrape()
			w.write("t.json", `{"qty":null,"city":null}`)
			w.expect(w.scrape(), schemaUnchanged, `ml_dataset_column_nulls{column="qty",dataset="t"} 1`)
		},
		"a day of whole amounts, of midnights, or of codes without letters is no new type": func(t *testing.T) {
			w := newWorld(t, table("t.csv", ""))
			w.write("t.csv", "amount,due,code\n2.5,2026-11-24 11:00:00,A7\n3,2026-11-24 11:00:00,007\n")
			w.scrape()
			w.write("t.csv", "amount,due,code\n2,2026-11-24,007\n")
			w.expect(w.scrape(), schemaUnchanged, `ml_dataset_column_values{bin="007",column="code",dataset="t"} 1`)
		},
		"text where there were numbers is a new type": func(t *testing.T) {
			w := newWorld(t, table("t.csv", ""))
			w.write("t.csv", "qty\n1\n")
			w.scrape()
			w.write("t.csv", "qty\none\n")
			w.expect(w.scrape(), `ml_dataset_schema_changes{change="type_changed",dataset="t"} 1`)
		},
		"a truncated file among good ones is skipped and counted": func(t *testing.T) {
			w := newWorld(t, table("d/*.parquet", ", timestamp_column: at, on_unreadable: skip"))
			w.write("d/.keep", "")
			w.file("d/1.parquet", "SELECT TIMESTAMP '2026-11-24 11:00:00' AS at FROM range(7)")
			w.expect(w.scrape(), `ml_dataset_unreadable_files{dataset="t"} 0`)
			good, err := os.ReadFile(filepath.Join(w.dir, "d/1.parquet"))
			require.NoError(t, err)
			w.write("d/2.parquet", string(good[:len(good)/2]))
			w.write("d/3.parquet", "")
			w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 7`, `ml_dataset_unreadable_files{dataset="t"} 2`, `ml_dataset_profile_success{dataset="t"} 1`)
			require.Contains(t, w.logs.String(), "2.parquet", "the log names the files")
		},
		"a truncated file fails the profile where it is not to be skipped": func(t *testing.T) {
			w := newWorld(t, table("d/*.parquet", ""))
			w.write("d/2.parquet", "PAR1")
			_, err := w.dataset(0).run(t.Context())
			require.ErrorContains(t, err, "2.parquet")
		},
		"a folder is all its data files, and its partitions are columns without bins": func(t *testing.T) {
			w := newWorld(t, table("d/", ", timestamp_column: at"))
			for _, day := range []string{"2026-11-23", "2026-11-24"} {
				w.write("d/day="+day+"/part=7/.keep", "")
				w.write("d/day="+day+"/_SUCCESS", "")
				w.file("d/day="+day+"/part=7/1.parquet", "SELECT TIMESTAMP '"+day+" 11:30:00' AS at, 'CA' AS country FROM range(5)")
			}
			m := w.scrape()
			w.expect(m, `ml_dataset_rows{dataset="t"} 5`, `ml_dataset_column_values{bin="CA",column="country",dataset="t"} 5`, `ml_dataset_column_nulls{column="day",dataset="t"} 0`)
			require.NotContains(t, m, `ml_dataset_column_values{bin="null",column="day"`)
			require.NotContains(t, m, `ml_dataset_column_values{bin="null",column="part"`)
			w = newWorld(t, table("d/*/*/*.parquet", ", timestamp_column: at, columns: {include: [part]}"))
			w.write("d/day=2026-11-24/part=7/.keep", "")
			w.file("d/day=2026-11-24/part=7/1.parquet", "SELECT TIMESTAMP '2026-11-24 11:30:00' AS at FROM range(5)")
			m = w.scrape()
			w.expect(m, `ml_dataset_rows{dataset="t"} 5`, `ml_dataset_column_values{bin="7",column="part",dataset="t"} 5`)
			require.NotContains(t, m, `ml_dataset_column_values{bin="null",column="day"`)
		},
		"decimal comma, semicolon, latin-1 and N/A are options": func(t *testing.T) {
			w := newWorld(t, table("t.csv", `, timestamp_column: at, timestamp_format: '%d/%m/%Y %H:%M', missing_values: ["", "NA", "N/A", "-", "None"], csv: {delimiter: ";", decimal: ",", encoding: latin-1}, columns: {reveal: [name]}`))
			var b strings.Builder
			b.WriteString("at;name;amount\n")
			for i := range 30_010 {
				amount := fmt.Sprintf("%d,5", i%7)
				if i >= 30_000 {
					amount = "N/A"
				}
				b.WriteString("24/11/2026 11:02;Caf\xe9;" + amount + "\n")
			}
			b.WriteString("24/11/2026 11:02;None;1,5\n")
			w.write("t.csv", b.String())
			w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 30011`, `ml_dataset_column_nulls{column="amount",dataset="t"} 10`, `ml_dataset_column_nulls{column="name",dataset="t"} 1`,
				`ml_dataset_column_values{bin="Café",column="name",dataset="t"} 30010`, `ml_dataset_column_values{bin="inf",column="amount",dataset="t"} 0`)
		},
		"a CSV that cannot be read as guessed says which settings help": func(t *testing.T) {
			w := newWorld(t, table("t.csv", ""))
			w.write("t.csv", "amount\n"+strings.Repeat("1\n", 30_000)+"N/A\n")
			_, err := w.dataset(0).run(t.Context())
			require.ErrorContains(t, err, "N/A")
			require.ErrorContains(t, err, "give this dataset missing_values")
			require.NotContains(t, err.Error(), "ignore_errors", "a setting of DuckDB's that there is not here")
			w = newWorld(t, table("t.csv", ""))
			w.write("t.csv", "at;name\n1;Caf\xe9\n")
			_, err = w.dataset(0).run(t.Context())
			require.ErrorContains(t, err, "encoding")
		},
		"a missing value of JSON and Parquet is missing too": func(t *testing.T) {
			w := newWorld(t, table("t.json", ", missing_values: [N/A, '-'], columns: {reveal: [city]}"))
			w.write("t.json", `[{"city":"N/A"},{"city":"-"},{"city":"Laval"}]`)
			w.expect(w.scrape(), `ml_dataset_column_nulls{column="city",dataset="t"} 2`, `ml_dataset_column_values{bin="Laval",column="city",dataset="t"} 1`)
		},
		"a misspelt timestamp column is reported with the similar column": func(t *testing.T) {
			w := newWorld(t, table("t.csv", ", timestamp_column: At"))
			w.write("t.csv", "at,qty\n2026-11-24 11:00:00,1\n")
			_, err := w.dataset(0).run(t.Context())
			require.ErrorContains(t, err, `timestamp column "At": no such column; did you mean "at"?; the columns are ["at" "qty"]`)
		},
		"of 401 columns the last one is left out, once": func(t *testing.T) {
			w := newWorld(t, table("t.parquet", ""))
			columns := make([]string, 401)
			for i := range columns {
				columns[i] = fmt.Sprintf("%d AS c%03d", i, i)
			}
			w.file("t.parquet", "SELECT "+strings.Join(columns, ", "))
			dropped := limit.NewDropped()
			d := w.connections.dataset(w.cfg.Datasets[0], limit.New("columns", 2*w.cfg.Datasets[0].Columns.Max, dropped), func() time.Time { return w.now })
			require.NoError(t, w.connections.resolve(d))
			for range 3 {
				_, err := d.run(t.Context())
				require.NoError(t, err)
			}
			require.InDelta(t, 1, testutil.ToFloat64(dropped), 0)
			require.Equal(t, 1, strings.Count(w.logs.String(), "past columns.max"))
			require.Contains(t, w.logs.String(), "column=c400")
		},
		"columns past the limit are counted and logged once": func(t *testing.T) {
			w := newWorld(t, table("t.parquet", ", columns: {max: 2}"))
			w.file("t.parquet", "SELECT 1 AS a, 2 AS b, 3 AS c, 4 AS d, 5 AS e, 6 AS f")
			dropped := limit.NewDropped()
			d := w.connections.dataset(w.cfg.Datasets[0], limit.New("columns", 4, dropped), func() time.Time { return w.now })
			require.NoError(t, w.connections.resolve(d))
			for range 5 {
				_, err := d.run(t.Context())
				require.NoError(t, err)
			}
			require.InDelta(t, 2, testutil.ToFloat64(dropped), 0, "e and f")
			require.Equal(t, 2, strings.Count(w.logs.String(), "past columns.max"))
			require.Contains(t, w.logs.String(), "column=f")
		},
	} {
		t.Run(name, test)
	}
}

// 2026-11-24T11:02:03.5 in every form that a file may hold it.
func TestFormatsOfTimestamps(t *testing.T) {
	want := time.Date(2026, 11, 24, 11, 2, 3, 0, time.UTC)
	for name, test := range map[string]struct{ json, settings string }{
		"ISO text with microseconds":    {`"2026-11-24T11:02:03.000000"`, ""},
		"ISO text in UTC":               {`"2026-11-24T11:02:03Z"`, ""},
		"ISO text with an offset":       {`"2026-11-24T06:02:03-05:00"`, ""},
		"seconds":                       {fmt.Sprint(want.Unix()), ""},
		"seconds with a fraction":       {fmt.Sprint(want.Unix()) + ".0", ""},
		"milliseconds":                  {fmt.Sprint(want.UnixMilli()), ""},
		"microseconds":                  {fmt.Sprint(want.UnixMicro()), ", timestamp_unit: auto"},
		"nanoseconds":                   {fmt.Sprint(want.UnixNano()), ""},
		"milliseconds, and it is said":  {fmt.Sprint(want.UnixMilli()), ", timestamp_unit: ms"},
		"a format":                      {`"24/11/2026 11:02:03"`, ", timestamp_format: '%d/%m/%Y %H:%M:%S'"},
		"a format with a half of a day": {`"Nov 24 26, 11h02:03 AM"`, ", timestamp_format: '%b %d %y, %Ih%M:%S %p'"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, table("t.ndjson", ", timestamp_column: at"+test.settings))
			w.write("t.ndjson", fmt.Sprintf("{\"at\":%s,\"v\":1}\n{\"at\":null,\"v\":2}\n", test.json))
			w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 1`, `ml_dataset_column_nulls{column="at",dataset="t"} 1`,
				fmt.Sprintf(`ml_dataset_latest_record_timestamp_seconds{dataset="t"} %v`, float64(want.Unix())))
		})
	}
	t.Run("ISO text without a zone, to the microsecond", func(t *testing.T) {
		w := newWorld(t, table("t.ndjson", ", timestamp_column: at"))
		w.now = time.Date(2026, 11, 28, 6, 0, 0, 0, time.UTC)
		w.write("t.ndjson", `{"at":"2026-11-28T01:02:03.123456"}`)
		w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 1`, `ml_dataset_latest_record_timestamp_seconds{dataset="t"} 1.795827723123456e+09`)
	})
	t.Run("28/11/2026 01:02 by its format", func(t *testing.T) {
		w := newWorld(t, table("t.ndjson", ", timestamp_column: at, timestamp_format: '%d/%m/%Y %H:%M'"))
		w.now = time.Date(2026, 11, 28, 6, 0, 0, 0, time.UTC)
		w.write("t.ndjson", `{"at":"28/11/2026 01:02"}`)
		w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 1`, `ml_dataset_latest_record_timestamp_seconds{dataset="t"} 1.79582772e+09`)
	})
	t.Run("text that is no time says what to give", func(t *testing.T) {
		w := newWorld(t, table("t.ndjson", ", timestamp_column: at"))
		w.write("t.ndjson", `{"at":"28/11/2026 01:02"}`)
		_, err := w.dataset(0).run(t.Context())
		require.ErrorContains(t, err, `none of the 1 values of timestamp column "at" is a time, such as "28/11/2026 01:02"`)
		require.ErrorContains(t, err, "timestamp_format")
	})
	t.Run("numbers that no timestamp holds are missing", func(t *testing.T) {
		w := newWorld(t, table("t.ndjson", ", timestamp_column: at, timestamp_unit: s"))
		w.write("t.ndjson", fmt.Sprintf("{\"at\":%d}\n{\"at\":%d}\n", want.Unix(), int64(1)<<62))
		w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 1`, `ml_dataset_column_nulls{column="at",dataset="t"} 1`)
	})
}

// A real PostgreSQL with user-defined and rare types.
func TestRealPostgreSQLTables(t *testing.T) {
	dsn := testtools.Postgres(t)
	t.Setenv("DSN", dsn)
	db, err := sql.Open("pgx", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	exec := func(statements ...string) {
		t.Helper()
		for _, s := range statements {
			_, err := db.ExecContext(context.Background(), s)
			require.NoError(t, err, s)
		}
	}
	of := func(relation string) string {
		return "sources: {pg: {type: postgres, dsn: {env: DSN}}}\ndatasets:\n  - {name: t, source: pg, table: " + relation + ", timestamp_column: at, baselines: {production: {days: 0}}}\n"
	}
	exec("CREATE EXTENSION citext", "CREATE TYPE s AS ENUM ('new', 'paid')", "CREATE DOMAIN postal AS TEXT CHECK (VALUE <> '')", "CREATE DOMAIN state AS s")

	t.Run("enums, citext, domains, money and char have bins, and their types have names", func(t *testing.T) {
		exec(`CREATE TABLE o (at timestamptz, status s, channel citext, zip postal, state state, price money, flag "char", tags s[])`,
			`INSERT INTO o SELECT '2026-11-24 11:00+00', 'new', CASE WHEN i % 2 = 0 THEN 'Web' ELSE 'WEB' END, 'H2X', 'paid', (i % 10)::numeric::money, 'a', '{new}' FROM generate_series(1, 200) AS g(i)`)
		w := newWorld(t, of("o"))
		w.expect(w.scrape(), `ml_dataset_column_values{bin="new",column="status",dataset="t"} 200`, `ml_dataset_column_values{bin="web",column="channel",dataset="t"} 200`,
			`ml_dataset_column_values{bin="#1~68de7c",column="zip",dataset="t"} 200`, `ml_dataset_column_values{bin="paid",column="state",dataset="t"} 200`,
			`ml_dataset_column_values{bin="a",column="flag",dataset="t"} 200`, `ml_dataset_column_values{bin="null",column="price",dataset="t"} 0`, `ml_dataset_column_nulls{column="tags",dataset="t"} 0`)

		exec("ALTER TYPE s ADD VALUE 'lost'", "TRUNCATE o", `INSERT INTO o SELECT '2026-11-24 11:00+00', 'lost', 'fax', 'H3A', 'lost', 1, 'b', '{}' FROM generate_series(1, 200)`)
		w.expect(w.scrape(), `ml_dataset_column_values{bin="unseen",column="status",dataset="t"} 200`, `ml_dataset_column_values{bin="unseen",column="channel",dataset="t"} 200`,
			`ml_dataset_column_values{bin="unseen",column="state",dataset="t"} 200`, `ml_dataset_column_values{bin="unseen",column="flag",dataset="t"} 200`)

		// A restore makes the type again, with another number.
		exec("CREATE TYPE s2 AS ENUM ('new', 'paid')", "ALTER TABLE o ALTER status TYPE s2 USING 'new'::s2", "ALTER TYPE s RENAME TO old", "ALTER TYPE s2 RENAME TO s")
		m := w.scrape()
		require.NotContains(t, m, `column="status",dataset="t",expected=`)
		exec("ALTER TABLE o ALTER status TYPE text")
		w.expect(w.scrape(), `ml_dataset_schema_change_info{actual="TEXT",change="type_changed",column="status",dataset="t",expected="s"} 1`)
	})

	t.Run("a number that no double holds is out of range, and the rest is profiled", func(t *testing.T) {
		exec("CREATE TABLE n (at timestamptz, v numeric, small numeric(10,2))", "INSERT INTO n SELECT '2026-11-24 11:00+00', i, i FROM generate_series(1, 200) AS g(i)")
		w := newWorld(t, of("n"))
		w.scrape()
		exec("INSERT INTO n VALUES ('2026-11-24 11:00+00', 1e400, 1), ('2026-11-24 11:00+00', -1e400, 1), ('2026-11-24 11:00+00', 1e-400, 1), ('2026-11-24 11:00+00', 'NaN', 1)")
		w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 204`, `ml_dataset_column_values{bin="inf",column="v",dataset="t"} 2`, `ml_dataset_column_values{bin="nan",column="v",dataset="t"} 1`)
		w = newWorld(t, of("n"))
		w.expect(w.scrape(), `ml_dataset_column_values{bin="inf",column="v",dataset="t"} 2`)
	})

	t.Run("infinite times are before and after everything", func(t *testing.T) {
		exec("CREATE TABLE i (at timestamptz, seen timestamp)", "INSERT INTO i VALUES ('infinity', 'infinity'), ('-infinity', '-infinity'), ('2026-11-24 11:00+00', 'infinity'), (NULL, NULL)")
		w := newWorld(t, of("i"))
		w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 1`, `ml_dataset_future_rows{dataset="t"} 1`, `ml_dataset_column_nulls{column="at",dataset="t"} 1`, `ml_dataset_column_values{bin="future",column="seen",dataset="t"} 1`)
		exec("DELETE FROM i WHERE at > '-infinity' OR at IS NULL")
		m := w.scrape()
		w.expect(m, `ml_dataset_rows{dataset="t"} 0`)
		exec("TRUNCATE i", "INSERT INTO i VALUES ('-infinity', NULL)")
		w = newWorld(t, strings.Replace(of("i"), "timestamp_column: at", "timestamp_column: at, window: 0s", 1))
		w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 1`)
	})

	t.Run("infinite times in the training data are no failure", func(t *testing.T) {
		exec("CREATE TABLE tr (at timestamptz, v int)", "INSERT INTO tr VALUES ('infinity', 1), ('-infinity', 2)")
		exec("CREATE TABLE ts (at timestamptz, v int)", "INSERT INTO ts VALUES ('2026-11-24 11:00+00', 1)")
		w := newWorld(t, strings.Replace(of("ts"), "production: {days: 0}", "training: {table: tr}, production: {days: 0}", 1))
		w.expect(w.scrape(), `ml_dataset_column_baseline_rows{baseline="training",column="v",dataset="t"} 2`)
	})

	t.Run("partitions are one table", func(t *testing.T) {
		exec("CREATE TABLE p (at timestamptz NOT NULL, v int) PARTITION BY RANGE (at)",
			"CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2026-11-24 00:00+00') TO ('2026-11-24 06:00+00')",
			"CREATE TABLE p2 PARTITION OF p DEFAULT",
			"INSERT INTO p SELECT '2026-11-24 00:00+00'::timestamptz + make_interval(hours => i), i FROM generate_series(0, 11) AS g(i)")
		w := newWorld(t, of("p"))
		w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 12`, `ml_dataset_column_values{bin="11",column="v",dataset="t"} 1`)
	})

	t.Run("a time may be a number or a text here too", func(t *testing.T) {
		for name, c := range map[string]struct{ typ, value string }{
			"seconds": {"bigint", "1795518123"}, "milliseconds": {"numeric", "1795518123000"}, "ISO text": {"text", "'2026-11-24T11:02:03Z'"}, "text without a zone": {"varchar(30)", "'2026-11-24 11:02:03'"},
		} {
			exec("DROP TABLE IF EXISTS e", "CREATE TABLE e (at "+c.typ+")", "INSERT INTO e VALUES ("+c.value+"), (NULL)")
			w := newWorld(t, of("e"))
			w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 1`, `ml_dataset_latest_record_timestamp_seconds{dataset="t"} 1.795518123e+09`)
			_ = name
		}
		exec("DROP TABLE e", "CREATE TABLE e (at text)", "INSERT INTO e VALUES ('24/11/2026 11:02'), ('soon'), ('2026-11-24')")
		w := newWorld(t, strings.Replace(of("e"), "timestamp_column: at", "timestamp_column: at, timestamp_format: '%d/%m/%Y %H:%M'", 1))
		w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 1`, `ml_dataset_column_nulls{column="at",dataset="t"} 2`)
	})
}
