package main

import (
	"cmp"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// bill has the columns that every export in the FOCUS format has.
const bill = "BilledCost,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargeCategory,ChargePeriodStart,ChargePeriodEnd,EffectiveCost,ServiceName,ServiceCategory\n" +
	"1.5,CAD,2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,Usage,2026-11-02T00:00:00Z,2026-11-03T00:00:00Z,1.5,GPU,Compute\n"

// silent accepts connections and never answers.
func silent(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
		}
	}()
	return l.Addr().String()
}

func TestCheckConnectReportsEachConnection(t *testing.T) {
	posts := new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/denied/"):
			http.Error(w, `{"error_code": "PERMISSION_DENIED", "message": "no"}`, http.StatusForbidden)
		case r.URL.Path == "/api/v1/query" && strings.Contains(r.FormValue("query"), "broken"):
			http.Error(w, `{"status": "error", "errorType": "bad_data", "error": "parse error"}`, http.StatusBadRequest)
		case r.URL.Path == "/api/v1/query":
			_, _ = w.Write([]byte(`{"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"model": "m", "snapshot": "s"}, "value": [1, "1"]}]}}`))
		case strings.HasPrefix(r.URL.Path, "/api/2.0/mlflow/registered-models/search"):
			_, _ = w.Write([]byte(`{}`))
		case r.URL.Path == "/api/v1/reviews":
			if r.Method == http.MethodPost {
				posts.Add(1)
			}
			w.WriteHeader(http.StatusMethodNotAllowed)
		case r.URL.Path == "/fire":
			posts.Add(1)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	hangs := silent(t)
	used := strings.TrimPrefix(server.URL, "http://")
	dead := testtools.FreeAddress(t)
	t.Setenv("SILENT_DSN", "postgres://u:hunter2@"+hangs+"/d?sslmode=disable")
	t.Setenv("TOKEN", "secret-token")

	for name, tc := range map[string]struct {
		program, config string
		timeout         string   // of a connection that never answers; 1m by default
		fails           int      // rows
		rows            []string // PART CHECK RESULT FOUND, blanks as one
	}{
		"dataquality: a table with its columns and bins": {
			program: "dataquality",
			config:  "sources: {files: {type: duckdb}}\ndatasets:\n- {name: orders, source: files, files: orders.csv, timestamp_column: at, window: 0s, columns: {exclude: [secret]}, upstream: [{name: before, files: orders.csv}], snapshot_query: \"SELECT 'v1'\", comparisons: [{against: online, query: 'SELECT 5 AS compared_rows, 1 AS mismatched_rows'}], baselines: {production: {days: 0}}}\n",
			rows: []string{
				"baseline_store writable ok", "source files reachable ok duckdb answers", "dataset orders rights ok may be read, 5 columns",
				"dataset orders bins ok 2 of 5 columns get bins, cut from 200 rows", "dataset orders column amount - DOUBLE: numeric, 14 bins", "dataset orders column country - VARCHAR: categorical",
				"dataset orders column order_id - VARCHAR: no bins, looks like an identifier", "dataset orders column secret - VARCHAR: no bins, excluded by the configuration", "dataset orders column at - TIMESTAMP: no bins, the timestamp column",
				"dataset orders upstream before ok", "dataset orders snapshot_query ok the snapshot is v1", "dataset orders comparison with online ok 5 rows compared, 1 mismatched",
			},
		},
		"dataquality: the training data decides": {
			program: "dataquality",
			config:  "sources: {files: {type: duckdb}}\ndatasets:\n- {name: orders, source: files, files: orders.csv, baselines: {training: {files: trained.csv}}}\n",
			rows: []string{
				"dataset orders rights of training ok may be read, 3 columns", "dataset orders column target - BIGINT: no bins, only the training data has it",
				"dataset orders column country - VARCHAR: categorical", "dataset orders column amount - DOUBLE: numeric",
			},
		},
		"dataquality: a database that never answers fails, and the other datasets do not": {
			program: "dataquality", fails: 3, timeout: "5s",
			config: "sources: {files: {type: duckdb}, db: {type: postgres, dsn: {env: SILENT_DSN}}}\ndatasets:\n- {name: far, source: db, table: t}\n- {name: gone, source: files, files: nowhere.csv}\n- {name: orders, source: files, files: orders.csv}\n",
			rows: []string{
				"source db reachable FAILED no answer within 5s", "dataset far rights FAILED its source db does not answer", "dataset gone rights FAILED read schema: IO Error: No files found", "dataset orders rights ok",
				"configuration warning - CONFIG:4: datasets[1].files:",
			},
		},
		"dataquality: a missing timestamp column": {
			program: "dataquality", fails: 1,
			config: "sources: {files: {type: duckdb}}\ndatasets: [{name: orders, source: files, files: orders.csv, timestamp_column: when}]\n",
			rows:   []string{`dataset orders rights FAILED timestamp column "when": no such column`},
		},
		"modelquality: all that it needs": {
			program: "modelquality",
			config: "otlp: {grpc: '127.0.0.1:0', http: 'off'}\nsources: {files: {type: duckdb}}\nbaseline_store: {type: FILESYSTEM, config: {directory: state}}\nmlflow: {url: 'URL'}\nreviews: {url: 'URL', token: {env: TOKEN}}\n" +
				"models: [{name: m, training: {source: files, files: trained.csv}}]\nlabels: [{name: l, source: files, files: labels.csv, timestamp_column: at, prediction_column: p, label_column: y, model: m}]\n",
			rows: []string{
				"otlp grpc address free ok 127.0.0.1:0", "baseline_store writable ok", "mlflow reachable ok URL answers", "reviews reachable ok URL answers", "reviews writable ok",
				"model m rights of training ok may be read, 3 columns", "model m column country - VARCHAR: categorical", "labels l rights ok may be read, 3 columns", "labels l column y - BIGINT",
			},
		},
		"modelquality: none of that": {
			program: "modelquality", fails: 7,
			config: "otlp: {grpc: 'off', http: 'USED'}\nsources: {files: {type: duckdb}}\nbaseline_store: {type: FILESYSTEM, config: {directory: file}}\nmlflow: {url: 'URL/denied'}\nreviews: {url: 'http://DEAD', file: file/reviews.db}\n" +
				"models: [{name: m, training: {source: files, files: nowhere.csv}}]\nlabels: [{name: l, source: files, files: labels.csv, timestamp_column: at, prediction_column: gone, label_column: y, model: m}]\n",
			rows: []string{
				"otlp http address free FAILED listen tcp USED: bind: address already in use", "baseline_store writable FAILED", "mlflow reachable FAILED MLflow registered-models/search: 403 Forbidden",
				"reviews reachable FAILED", "reviews writable FAILED", "model m rights of training FAILED read schema: IO Error: No files found", "labels l column gone FAILED no such column",
			},
		},
		"cost: bills and Prometheus": {
			program: "cost",
			config:  "exchange: {online: false}\nbills: {sources: [{name: cloud, folder: bills, settle: 0s}, {name: new, folder: empty}]}\nmetering: {prometheus: 'URL'}\n",
			rows: []string{
				"state writable ok", "bills cloud reachable ok 1 bills in 1 deliveries", "bills cloud readable ok 1 bills, 1 rows of 1 departments in CAD", "bills new reachable ok 0 bills", "metering reachable ok URL answers",
				"metering queries ok they work",
			},
		},
		"cost: a bill without its columns, a missing folder and an invalid query": {
			program: "cost", fails: 4,
			config: "exchange: {online: false}\nbills:\n  sources:\n  - {name: cloud, folder: badbills, settle: 0s}\n  - {name: gone, folder: nowhere}\nmetering: {prometheus: 'URL', queries: {requests: 'broken('}}\n",
			rows: []string{
				"configuration valid here FAILED CONFIG:5: bills.sources[1].folder:", "bills cloud readable FAILED CONFIG:4: bills.sources[0].folder: read bill", "bills gone reachable FAILED CONFIG:5: bills.sources[1].folder:",
				"metering queries FAILED query broken(",
			},
		},
		"cost: a Prometheus that never answers": {
			program: "cost", fails: 1, timeout: "5s",
			config: "exchange: {online: false}\nmetering: {prometheus: 'http://HANGS'}\n",
			rows:   []string{"metering reachable FAILED no answer within 5s"},
		},
		"gpu: no driver": {
			program: "gpu", fails: 1, config: "holders: {job_directory: empty}\n",
			rows: []string{"nvml found FAILED initialise NVML:", "holders job_directory ok", "holders kubelet_socket - there is none"},
		},
		"responder: a store, and a target that is not called": {
			program: "responder",
			config:  "webhook: {token: {env: TOKEN}}\nprometheus: {url: 'URL'}\nactions:\n- {name: retrain, response: retrain, target: {webhook: {url: 'URL/fire', body: {}}}}\n",
			rows: []string{
				"store writable ok", "webhook token ok can be read, 12 characters", "prometheus reachable ok", "action retrain reachable ok USED takes connections; nothing was sent", "action retrain dry_run - true",
			},
		},
		"responder: neither": {
			program: "responder", fails: 4,
			config: "webhook: {token: {file: nowhere}}\nstore: {path: empty}\nactions:\n- {name: retrain, response: retrain, target: {webhook: {url: 'http://DEAD/fire', body: {}}}}\n",
			rows:   []string{"configuration valid here FAILED CONFIG:1: webhook.token.file:", "store writable FAILED", "webhook token FAILED", "action retrain reachable FAILED dial tcp DEAD: connect: connection refused"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, folder := range []string{"bills", "badbills", "empty"} {
				require.NoError(t, os.Mkdir(filepath.Join(dir, folder), 0o700))
			}
			var orders strings.Builder
			orders.WriteString("order_id,amount,country,secret,at\n")
			for i := range 200 {
				_, _ = strings.NewReplacer("N", strings.Repeat("x", i+1), "A", []string{"1.5", "2.25"}[i%2]+strings.Repeat("1", i%11), "C", []string{"CA", "US"}[i%2]).WriteString(&orders, "oN,A,C,s,2026-11-01 00:00:00\n")
			}
			for file, text := range map[string]string{
				"orders.csv": orders.String(), "trained.csv": "country,amount,target\nCA,1.5,1\nUS,2.5,0\n", "labels.csv": "at,p,y\n2026-11-01 00:00:00,1,1\n", "file": "",
				"bills/a.csv": bill, "badbills/a.csv": "a,b\n1,2\n",
			} {
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
			}
			file := filepath.Join(dir, "config.yaml")
			fill := strings.NewReplacer("URL", server.URL, "USED", used, "DEAD", dead, "HANGS", hangs, "CONFIG", file)
			require.NoError(t, os.WriteFile(file, []byte(fill.Replace(tc.config)), 0o600))
			before, err := os.ReadDir(dir)
			require.NoError(t, err)

			status, stdout, stderr := call("check", "--connect", "--timeout="+cmp.Or(tc.timeout, "1m"), tc.program, file)
			t.Log("\n" + stdout + stderr)
			table := regexp.MustCompile(" +").ReplaceAllString(stdout, " ")
			for _, row := range tc.rows {
				require.Contains(t, "\n"+table, "\n"+fill.Replace(row))
			}
			require.Equal(t, tc.fails, strings.Count(table, " FAILED "), table)
			require.Equal(t, min(tc.fails, 1), status, stderr)
			require.NotContains(t, stdout+stderr, "hunter2")
			require.NotContains(t, stdout+stderr, "secret-token")
			after, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Len(t, after, len(before), "nothing is left behind")
			require.Zero(t, posts.Load(), "nothing is fired")
		})
	}
}

func TestCheckConnectFindsGPUs(t *testing.T) {
	dir := t.TempDir()
	library, file := filepath.Join(dir, "libnvidia-ml.so"), filepath.Join(dir, "gpu.yaml")
	testtools.FakeNVML(t, library)
	require.NoError(t, os.WriteFile(file, []byte("holders: {enabled: false}\n"), 0o600))
	status, stdout, stderr := call("check", "--connect", "--nvml.library="+library, "gpu", file)
	require.Zero(t, status, stdout+stderr)
	require.Regexp(t, `nvml +found +ok +driver [0-9.]+, CUDA`, stdout)
	require.Regexp(t, `nvml +devices +ok +[1-9][0-9]* GPUs`, stdout)
	require.Regexp(t, `gpu 0 +answers +ok +.*GPU-`, stdout)

	require.NoError(t, os.WriteFile(file, []byte("expected: 99\nholders: {enabled: false}\n"), 0o600))
	status, stdout, stderr = call("check", "--connect", "--nvml.library="+library, "gpu", file)
	require.Equal(t, 1, status, stdout+stderr)
	require.Contains(t, stdout, "the configuration expects 99")
}
