// Package startup starts every program with configurations that cannot work, and on a host that allows little.
package startup

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/cost"
	"github.com/sightglass-ml/sightglass/exporters/dataquality"
	"github.com/sightglass-ml/sightglass/exporters/gpu"
	"github.com/sightglass-ml/sightglass/exporters/modelquality"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
	"github.com/sightglass-ml/sightglass/responder"
)

// program is a binary's main without its process.
type program struct {
	run   func(ctx context.Context, args []string, stdout, stderr *bytes.Buffer) int
	start func(t *testing.T, args ...string) *exportertest.Server
	good  string   // a configuration that works
	args  []string // further flags
}

func programOf[C any](spec func() exporter.Spec[C], good string, args ...string) program {
	return program{
		run: func(ctx context.Context, args []string, stdout, stderr *bytes.Buffer) int {
			return exporter.RunContext(ctx, spec(), args, stdout, stderr)
		},
		start: func(t *testing.T, args ...string) *exportertest.Server {
			t.Helper()
			return exportertest.Start(t, spec(), args...)
		},
		good: good, args: args,
	}
}

// hook is what every configuration of a responder needs.
const hook = "webhook: {token: {env: PATH}}\n"

// programs are all of them. DIR is a folder of the test, which has the files of prepare.
func programs() map[string]program {
	return map[string]program{
		"dataquality":  programOf(dataquality.Spec, "sources: {files: {type: duckdb}}\ndatasets: [{name: good, source: files, files: good.csv}]\n"),
		"modelquality": programOf(modelquality.Spec, "otlp: {grpc: '127.0.0.1:0', http: 'off'}\n"),
		"gpu":          programOf(gpu.Spec, "interval: 10s\n", "--nvml.library=/nonexistent/libnvidia-ml.so"),
		"cost":         programOf(cost.Spec, "exchange: {online: false}\nbills: {sources: [{name: good, folder: bills, settle: 0s}]}\n"),
		"responder":    programOf(responder.Spec, hook+"actions: []\n"),
	}
}

// prepare makes the files that configurations name: each bad thing is there as it is in life.
func prepare(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, folder := range []string{"bills", "empty", "folder.csv", "orders/day=2026-11-01", "orders/day=2026-11-02", "mixed"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, folder), 0o700))
	}
	for name, text := range map[string]string{
		"bills/a.csv": "BilledCost,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargeCategory,ChargePeriodStart,ChargePeriodEnd,EffectiveCost,ServiceName,ServiceCategory\n" +
			"1.5,CAD,2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,Usage,2026-11-02T00:00:00Z,2026-11-03T00:00:00Z,1.5,GPU,Compute\n",
		"good.csv": "id,country\n1,CA\n2,US\n", "good.parquet.gzip": "PAR1", "file": "", "mixed/a.csv": "a\n1\n", "mixed/b.json": "{}",
		"orders/day=2026-11-01/a.csv": "id\n1\n", "orders/day=2026-11-02/b.csv": "id\n2\n3\n", "orders/_SUCCESS": "", "orders/day=2026-11-02/.b.csv.crc": "x",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

// badStart is a configuration that fails completely or in part.
type badStart struct {
	program string
	config  string
	// want is how the error begins after the name of the file: its line and key.
	want string
	// says is part of the remaining message: the finding or the remedy.
	says string
	// runs means that the process starts nevertheless, because the other parts work.
	runs bool
	// later is whether time may mend it: then --config.check and a reload only warn.
	later bool
}

var badStarts = map[string]badStart{
	"a folder of bills that is not there, the input of the panic": {
		program: "cost", config: `bills: {sources: [{name: a, folder: /nonexistent}]}`, want: `:1: bills.sources[0].folder: "/nonexistent": does not exist`, says: "want the path of a folder", runs: true,
	},
	"a file in the place of the folder of bills":    {program: "cost", config: "bills: {sources: [{name: a, folder: file}]}", want: ":1: bills.sources[0].folder:", says: "is a file; want a folder", runs: true},
	"a bucket of bills without keys":                {program: "cost", config: "bills:\n  sources:\n  - name: a\n    bucket: {type: S3, config: {bucket: b}}", want: ":4: bills.sources[0].bucket.config.endpoint: missing", says: "type S3 needs"},
	"a bucket of a provider that does not exist":    {program: "cost", config: "bills: {sources: [{name: a, bucket: {type: S4, config: {}}}]}", want: `:1: bills.sources[0].bucket.type: "S4"`, says: "S3, SWIFT"},
	"a Prometheus without a scheme":                 {program: "cost", config: "exchange: {online: false}\nmetering:\n  prometheus: \"localhost:9090\"", want: `:3: metering.prometheus: "localhost:9090" has no scheme`, says: `such as "http://localhost:9090"`},
	"an exchange of rates at no URL":                {program: "cost", config: "bills: {sources: [{name: a, folder: bills}]}\nexchange: {valet_url: '://'}", want: ":2: exchange.valet_url:", says: "want an http or https URL"},
	"a glob of holders that does not close":         {program: "cost", config: "exchange: {online: false}\nmetering:\n  prometheus: http://localhost:9090\n  holders: [{pod: 'a['}]", want: `:4: metering.holders[0]: "a["`, says: "closed by a ]"},
	"a file in the place of the folder of state":    {program: "cost", config: "exchange: {online: false}\nstate: file\nbills: {sources: [{name: a, folder: bills}]}", want: ":2: state: make the folder", says: "this process can write to"},
	"a token of Prometheus that is not there":       {program: "cost", config: "exchange: {online: false}\nmetering:\n  prometheus: http://localhost:1\n  bearer_token: {file: token}", want: ":4: metering.bearer_token.file:", says: "does not exist", runs: true},
	"a dataset whose file does not exist":           {program: "dataquality", config: "sources: {files: {type: duckdb}}\ndatasets:\n- {name: bad, source: files, files: nowhere.csv}\n- {name: good, source: files, files: good.csv}", want: ":3: datasets[0].files:", says: "does not exist", runs: true, later: true},
	"a dataset whose glob matches nothing":          {program: "dataquality", config: "sources: {files: {type: duckdb}}\ndatasets:\n- {name: bad, source: files, files: 'day-*.csv'}\n- {name: good, source: files, files: good.csv}", want: ":3: datasets[0].files:", says: "matches no file", runs: true, later: true},
	"a dataset whose glob does not close":           {program: "dataquality", config: "sources: {files: {type: duckdb}}\ndatasets:\n- {name: bad, source: files, files: 'day-[.csv'}\n- {name: good, source: files, files: good.csv}", want: ":3: datasets[0].files:", says: "is not a valid glob", runs: true},
	"a dataset whose name does not say its format":  {program: "dataquality", config: "sources: {files: {type: duckdb}}\ndatasets:\n- {name: bad, source: files, files: good.parquet.gzip}\n- {name: good, source: files, files: good.csv}", want: ":3: datasets[0].files:", says: "want a folder, or a file or glob", runs: true},
	"a dataset whose folder is empty":               {program: "dataquality", config: "sources: {files: {type: duckdb}}\ndatasets:\n- {name: bad, source: files, files: empty}\n- {name: good, source: files, files: good.csv}", want: ":3: datasets[0].files:", says: "no data file yet", runs: true, later: true},
	"a dataset whose folder has two formats":        {program: "dataquality", config: "sources: {files: {type: duckdb}}\ndatasets:\n- {name: bad, source: files, files: mixed}\n- {name: good, source: files, files: good.csv}", want: ":3: datasets[0].files:", says: "different formats", runs: true, later: true},
	"a source whose connection string is not there": {program: "dataquality", config: "sources:\n  files: {type: duckdb}\n  db: {type: postgres, dsn: {file: dsn}}\ndatasets:\n- {name: bad, source: db, table: t}\n- {name: good, source: files, files: good.csv}", want: ":3: sources.db.dsn.file:", says: "does not exist", runs: true},
	"a folder in the place of a connection string":  {program: "dataquality", config: "sources:\n  files: {type: duckdb}\n  db: {type: postgres, dsn: {file: empty}}\ndatasets:\n- {name: bad, source: db, table: t}\n- {name: good, source: files, files: good.csv}", want: ":3: sources.db.dsn.file:", says: "is a folder; want a file", runs: true},
	"a database file that is not there":             {program: "dataquality", config: "sources:\n  files: {type: duckdb}\n  db: {type: duckdb, database: no.db}\ndatasets:\n- {name: bad, source: db, table: t}\n- {name: good, source: files, files: good.csv}", want: ":3: sources.db.database:", says: "does not exist", runs: true},
	"a file in the place of the baseline store":     {program: "dataquality", config: "sources: {files: {type: duckdb}}\nbaseline_store: {type: FILESYSTEM, config: {directory: file}}\ndatasets: [{name: good, source: files, files: good.csv}]", want: ":2: baseline_store: make the folder", says: "this process can write to"},
	"a baseline store without a bucket":             {program: "dataquality", config: "sources: {files: {type: duckdb}}\nbaseline_store: {type: GCS, config: {}}\ndatasets: [{name: good, source: files, files: good.csv}]", want: ":2: baseline_store.config.bucket: missing", says: "GCS needs"},
	"an OTLP port in use":                           {program: "modelquality", config: "otlp: {grpc: 'off', http: 'USED'}", want: ":1: otlp.http: receive OTLP", says: "address already in use"},
	"an OTLP address without a port":                {program: "modelquality", config: "otlp: {grpc: '4317', http: 'off'}", want: `:1: otlp.grpc: "4317"`, says: "want an address to listen on"},
	"reviews in a folder that cannot be written":    {program: "modelquality", config: "otlp: {grpc: '127.0.0.1:0', http: 'off'}\nreviews: {url: 'http://localhost:1', file: file/reviews.db}", want: ":2: reviews.file: reviews: open outbox", says: "this process can write to"},
	"reviews at no URL":                             {program: "modelquality", config: "otlp: {grpc: '127.0.0.1:0', http: 'off'}\nreviews: {url: 'localhost:10914'}", want: ":2: reviews.url: \"localhost:10914\" has no scheme", says: "http://localhost:10914"},
	"training data that is not there":               {program: "modelquality", config: "otlp: {grpc: '127.0.0.1:0', http: 'off'}\nsources: {files: {type: duckdb}}\nbaseline_store: {type: FILESYSTEM, config: {directory: state}}\nmodels: [{name: m, training: {source: files, files: no.parquet}}]", want: ":4: models[0].training.files:", says: "does not exist", runs: true, later: true},
	"labels whose name does not say their format":   {program: "modelquality", config: "otlp: {grpc: '127.0.0.1:0', http: 'off'}\nsources: {files: {type: duckdb}}\nlabels: [{name: l, source: files, files: good.parquet.gzip, timestamp_column: at, prediction_column: p, label_column: l, model: m}]", want: ":3: labels[0].files:", says: "want a folder, or a file or glob", runs: true},
	"a folder of training data that is not there":   {program: "modelquality", config: "otlp: {grpc: '127.0.0.1:0', http: 'off'}\nbaseline_store: {type: FILESYSTEM, config: {directory: state}}\nmlflow: {url: 'http://127.0.0.1:1', datasets: {folders: [nowhere]}}", want: ":3: mlflow.datasets.folders[0]:", says: "does not exist", runs: true},
	"a bucket of training data without keys":        {program: "modelquality", config: "otlp: {grpc: '127.0.0.1:0', http: 'off'}\nmlflow: {url: 'http://127.0.0.1:1', datasets: {buckets: [{uri: 's3://b', type: AZURE, config: {container: c}}]}}", want: ":2: mlflow.datasets.buckets[0].config.storage_account: missing", says: "AZURE needs"},
	"a folder of jobs that is not there":            {program: "gpu", config: "holders: {job_directory: nowhere}", want: ":1: holders.job_directory:", says: "does not exist", runs: true},
	"a socket of the kubelet that is not there":     {program: "gpu", config: "holders:\n  kubelet_socket: /nonexistent/kubelet.sock", want: ":2: holders.kubelet_socket:", says: "pod-resources socket", runs: true, later: true},
	"a file in the place of the responder's folder": {program: "responder", config: hook + "store: {path: file/responder.db}", want: ":2: store: open the store", says: "not a directory"},
	"a folder in the place of the responder's file": {program: "responder", config: hook + "store: {path: empty}", want: ":2: store: open the store", says: "is a directory"},
	"users of the review page that are not there":   {program: "responder", config: hook + "page: {users_file: users.yml}", want: ":2: page.users_file:", says: "no such file"},
	"a token of senders that is not there":          {program: "responder", config: hook + "reviews: {token: {file: token}}", want: ":2: reviews.token.file:", says: "does not exist", runs: true},
	"a target at no URL":                            {program: "responder", config: hook + "actions:\n- name: retrain\n  response: retrain\n  target: {webhook: {url: 'localhost:80'}}", want: ":5: actions[0].target.webhook: url:", says: "is no address of a service"},
	"a configuration that is a folder":              {program: "gpu", config: "", want: "read config: read", says: "is a directory"},
}

func TestStartErrorsDoNotPanicAndBadReloadsDoNotStop(t *testing.T) {
	used, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, used.Close()) }) // after the parallel tests
	for name, c := range badStarts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := programs()[c.program]
			dir := prepare(t)
			file := filepath.Join(dir, c.program+".yaml")
			bad := strings.ReplaceAll(c.config, "USED", used.Addr().String()) + "\n"
			want := file + c.want
			if c.config == "" {
				want = c.want
			}
			put := func(text string) {
				require.NoError(t, os.RemoveAll(file))
				if text == "\n" {
					require.NoError(t, os.Mkdir(file, 0o700))
					return
				}
				require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			}
			put(bad)
			args := append([]string{"--config.file=" + file}, p.args...)

			t.Run("check", func(t *testing.T) {
				if !strings.Contains(c.says, "in use") && !strings.Contains(want, "make the folder") && !strings.Contains(want, "open the store") && !strings.Contains(want, "open outbox") {
					var stdout, stderr bytes.Buffer
					code := p.run(t.Context(), append(args, "--config.check"), &stdout, &stderr)
					require.Contains(t, stderr.String(), strings.Split(want, ": read")[0])
					if c.later {
						require.Zero(t, code, stderr.String())
						require.Contains(t, stderr.String(), "warning: ")
					} else {
						require.Equal(t, 1, code)
					}
				}
			})
			t.Run("start", func(t *testing.T) {
				if c.runs {
					s := p.start(t, args...)
					s.AwaitReady()
					requireOneLine(t, s.Logs(), want, c.says)
					require.Contains(t, s.Metrics(), "sightglass_config_last_reload_successful 1\n")
					if c.program == "dataquality" {
						s.AwaitMetric(`ml_dataset_profile_success{dataset="good"} 1`)
						s.AwaitMetric(`ml_dataset_profile_success{dataset="bad"} 0`)
					}
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				var stdout, stderr bytes.Buffer
				require.Equal(t, 1, p.run(ctx, append(args, "--web.listen-address=127.0.0.1:0"), &stdout, &stderr), stderr.String())
				requireOneLine(t, stderr.String(), want, c.says)
			})
			t.Run("reload", func(t *testing.T) {
				put(p.good)
				s := p.start(t, args...)
				s.AwaitReady()
				put(bad)
				status, body := s.Do(http.MethodPost, "/-/reload")
				metrics := s.Metrics()
				if c.later && c.program != "modelquality" {
					require.Equal(t, http.StatusOK, status, body)
					return
				}
				require.Equal(t, http.StatusInternalServerError, status)
				require.Contains(t, metrics, "sightglass_config_last_reload_successful 0\n")
				requireNoPanic(t, s.Logs())
				require.NotContains(t, metrics, `sightglass_panics_total{part="reload"} 1`)
				switch c.program {
				case "dataquality":
					require.Contains(t, metrics, `ml_dataset_profile_success{dataset="good"} 1`)
				case "cost":
					s.AwaitMetric(`sightglass_collector_success{collector="bills"} 1`)
				}
				if c.program != "modelquality" && c.program != "responder" {
					// These two have what cannot change without a restart, and say so first.
					require.Contains(t, body, want)
				}
				require.Contains(t, body, strings.TrimSuffix(file, "/"))
				put(p.good)
				status, body = s.Do(http.MethodPost, "/-/reload")
				require.Equal(t, http.StatusOK, status, body)
				require.Contains(t, s.Metrics(), "sightglass_config_last_reload_successful 1\n")
				require.Zero(t, s.Stop())
			})
		})
	}
}

// requireOneLine finds the line of the log that has both texts.
func requireOneLine(t *testing.T, logs, want, says string) {
	t.Helper()
	requireNoPanic(t, logs)
	plain := strings.ReplaceAll(logs, `\"`, `"`)
	for line := range strings.Lines(plain) {
		if strings.Contains(line, want) && strings.Contains(line, says) {
			require.NotContains(t, line, `\n`, "one line, for one problem")
			return
		}
	}
	t.Fatalf("no line says %q and %q:\n%s", want, says, logs)
}

func requireNoPanic(t *testing.T, logs string) {
	t.Helper()
	require.NotContains(t, logs, "panic")
	require.NotContains(t, logs, "goroutine ")
}

func TestAddressInUseErrorNamesTheFlag(t *testing.T) {
	used, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, used.Close()) }) // after the parallel tests
	for name, p := range programs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(prepare(t), name+".yaml")
			require.NoError(t, os.WriteFile(file, []byte(p.good), 0o600))
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var stdout, stderr bytes.Buffer
			args := append([]string{"--config.file=" + file, "--web.listen-address=" + used.Addr().String()}, p.args...)
			require.Equal(t, 1, p.run(ctx, args, &stdout, &stderr))
			requireOneLine(t, stderr.String(), "--web.listen-address="+used.Addr().String(), "address already in use")
		})
	}
}

func TestFolderIsADataset(t *testing.T) {
	dir := prepare(t)
	file := filepath.Join(dir, "dataquality.yaml")
	require.NoError(t, os.WriteFile(file, []byte("sources: {files: {type: duckdb}}\ndefaults: {interval: 100ms}\ndatasets: [{name: orders, source: files, files: orders}]\n"), 0o600))
	s := exportertest.Start(t, dataquality.Spec(), "--config.file="+file)
	s.AwaitMetric(`ml_dataset_rows{dataset="orders"} 3`)
	s.AwaitMetric(`ml_dataset_column_nulls{column="day",dataset="orders"} 0`) // of the hive partitions
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "orders", "day=2026-11-03"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "orders", "day=2026-11-03", "c.csv"), []byte("id\n4\n"), 0o600))
	s.AwaitMetric(`ml_dataset_rows{dataset="orders"} 4`) // A folder has new files each day.
}
