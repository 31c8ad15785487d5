package startup

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// nobody is a user that owns nothing and has no entry in /etc/passwd.
const nobody = 65534

// accepting takes connections and never answers.
func accepting(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var mu sync.Mutex
	var held []net.Conn
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			held = append(held, conn)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range held {
			_ = conn.Close() // The other side may have closed it.
		}
	})
	return l.Addr().String()
}

// logs has the output of a process.
type logs struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// hosted is a configuration whose only writable folder is STATE, named by STATE_DIRECTORY, with the objects that the log must list as
// watched.
type hosted struct {
	binary, config string
	args           []string
	watches        string
	hangs          bool // a source does: then the program need not be ready
	// wrote are files below STATE that the program makes without a word in its configuration.
	wrote []string
	// before is a file of an earlier version beside the configuration.
	before string
}

func hostedPrograms() map[string]hosted {
	return map[string]hosted{
		"dataquality": {
			binary:  "dataquality-exporter",
			config:  "sources: {files: {type: duckdb}}\nbaseline_store: {type: FILESYSTEM, config: {directory: STATE/elsewhere}}\ndatasets: [{name: good, source: files, files: good.csv}]\n",
			watches: "datasets=good",
		},
		"dataquality without a path": {
			binary:  "dataquality-exporter",
			config:  "sources: {files: {type: duckdb}}\ndatasets: [{name: good, source: files, files: good.csv}]\n",
			watches: "datasets=good", wrote: []string{"baselines"},
		},
		"modelquality": {
			binary:  "modelquality-exporter",
			config:  "otlp: {grpc: '127.0.0.1:0', http: 'off'}\nbaseline_store: {type: FILESYSTEM, config: {directory: STATE/elsewhere}}\nreviews: {url: 'http://127.0.0.1:1', file: STATE/out.db}\n",
			watches: "otlp",
		},
		"modelquality without a path": {
			binary:  "modelquality-exporter",
			config:  "otlp: {grpc: '127.0.0.1:0', http: 'off'}\nbaseline_store: {type: FILESYSTEM}\nreviews: {url: 'http://127.0.0.1:1'}\n",
			watches: "otlp", wrote: []string{"baselines", "reviews.db"},
		},
		"gpu": {
			binary: "gpu-exporter", config: "interval: 1s\ntimeout: 1s\n", args: []string{"--nvml.library=/nonexistent/libnvidia-ml.so"},
			watches: "library=/nonexistent/libnvidia-ml.so",
		},
		"cost": {
			binary: "cost-exporter", config: "state: STATE/elsewhere\nexchange: {online: false}\nbills: {sources: [{name: cloud, folder: bills}]}\n",
			watches: "bills=cloud",
		},
		"cost without a path": {
			binary: "cost-exporter", config: "exchange: {online: false}\nbills: {sources: [{name: cloud, folder: bills}]}\n",
			watches: "bills=cloud", wrote: []string{"state"},
		},
		"responder": {
			binary: "responder", config: "webhook: {token: {file: token}}\nstore: {path: STATE/elsewhere.db}\nactions: []\n",
			watches: "store=STATE/elsewhere.db",
		},
		"responder without a path": {
			binary: "responder", config: "webhook: {token: {file: token}}\nactions: []\n",
			watches: "store=STATE/responder.db", wrote: []string{"responder.db"},
		},
		"dataquality with a database that hangs": {
			binary: "dataquality-exporter", config: "sources: {db: {type: postgres, dsn: {file: dsn}}}\ndatasets: [{name: far, source: db, table: t}]\n",
			watches: "datasets=far", hangs: true,
		},
		"modelquality with a registry that hangs": {
			binary: "modelquality-exporter",
			config: "otlp: {grpc: '127.0.0.1:0', http: 'off'}\nsources: {db: {type: postgres, dsn: {file: dsn}}}\nmlflow: {url: 'http://HANGS', assessments: {experiments: [{id: '1'}]}}\n" +
				"labels: [{name: l, source: db, table: t, timestamp_column: at, prediction_column: p, label_column: l, model: m}]\nreviews: {url: 'http://HANGS'}\n",
			watches: "otlp", hangs: true, wrote: []string{"reviews.db"},
		},
		"cost with a Prometheus that hangs": {
			binary: "cost-exporter", config: "exchange: {valet_url: 'http://HANGS', ecb_url: 'http://HANGS'}\nmetering: {prometheus: 'http://HANGS', step: 1s, lag: 0s}\n",
			watches: "prometheus=http://HANGS", hangs: true,
		},
		"responder with a database that hangs": {
			binary: "responder", config: "webhook: {token: {file: token}}\nstore: {postgresql: {file: dsn}}\nactions: []\n", hangs: true,
		},
	}
}

func TestEveryProgramRunsOnAHostThatAllowsLittle(t *testing.T) {
	testtools.RequireHostile(t)
	bin := t.TempDir()
	require.NoError(t, os.Chmod(bin, 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(bin), 0o755))
	args := []string{"build", "-ldflags=-extldflags=-Wl,-z,lazy", "-o", bin}
	for _, name := range []string{"dataquality-exporter", "modelquality-exporter", "gpu-exporter", "cost-exporter", "responder"} {
		args = append(args, "./cmd/"+name)
	}
	build := exec.Command("go", args...)
	build.Dir = testtools.Root(t)
	output, err := build.CombinedOutput()
	require.NoError(t, err, string(output))
	requireLibrariesOfTheImage(t, bin)
	hangs := accepting(t)

	for name, p := range hostedPrograms() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runHosted(t, bin, hangs, p)
		})
	}
}

func runHosted(t *testing.T, bin, hangs string, p hosted) (log string) {
	t.Helper()
	dir := prepare(t)
	state := filepath.Join(dir, "writable")
	require.NoError(t, os.Mkdir(state, 0o700))
	require.NoError(t, os.Chown(state, nobody, nobody))
	fill := strings.NewReplacer("STATE", state, "HANGS", hangs)
	file := filepath.Join(dir, "config.yaml")
	for name, text := range map[string]string{"config.yaml": fill.Replace(p.config), "token": "secret", "dsn": "postgres://u:p@" + hangs + "/d?sslmode=disable"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	if p.before != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, p.before), []byte("kept"), 0o600))
	}
	require.NoError(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || path == state {
			return err
		}
		if info.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return os.Chmod(path, 0o644)
	}))
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))

	address := testtools.FreeAddress(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out logs
	cmd := testtools.Hostile(ctx, state, filepath.Join(bin, p.binary), append([]string{"--config.file=" + file, "--web.listen-address=" + address}, p.args...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	await := func(what string, condition func() bool) {
		t.Helper()
		for !condition() {
			select {
			case err := <-ended:
				t.Fatalf("%s: it ended: %v\n%s", what, err, out.String())
			case <-ctx.Done():
				t.Fatalf("%s: %v\n%s", what, ctx.Err(), out.String())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	if p.hangs && p.watches == "" {
		// The start itself hangs: the store is not open yet.
		await("runs", func() bool {
			name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid))
			return err == nil && strings.TrimSpace(string(name)) == p.binary
		})
		time.Sleep(2 * time.Second)
		require.NotContains(t, out.String(), "msg=Serving")
		requireRestricted(t, cmd.Process.Pid, dir, state)
	} else {
		await("logs what it serves", func() bool { return strings.Contains(out.String(), "msg=Serving") })
		require.Regexp(t, `msg=Serving .*addresses=\S*`+address+`.* metrics=/metrics`, out.String())
		require.Regexp(t, `msg=Watching .*`+fill.Replace(p.watches), out.String())
		await("answers /-/ready", func() bool {
			status := get(ctx, "http://"+address+"/-/ready")
			return status == http.StatusOK || p.hangs && status == http.StatusServiceUnavailable
		})
		requireRestricted(t, cmd.Process.Pid, dir, state)
		for _, file := range p.wrote {
			_, err := os.Stat(filepath.Join(state, file))
			require.NoError(t, err)
		}
	}
	began := time.Now()
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-ended:
		if p.watches != "" {
			require.NoError(t, err, out.String())
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("it runs 10 seconds after SIGTERM:\n%s", out.String())
	}
	t.Logf("ended %s after SIGTERM", time.Since(began).Round(time.Millisecond))
	requireNoPanic(t, out.String())
	require.NotContains(t, out.String(), "permission denied")
	require.NotContains(t, out.String(), "read-only file system")
	return out.String()
}

// requireRestricted checks from outside that the process has the restrictions with which it was started.
func requireRestricted(t *testing.T, pid int, dir, state string) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", pid)
	status, err := os.ReadFile(proc + "status")
	require.NoError(t, err)
	require.Contains(t, string(status), "Uid:\t65534\t65534\t65534\t65534\n")
	environment, err := os.ReadFile(proc + "environ")
	require.NoError(t, err)
	require.Equal(t, "STATE_DIRECTORY="+state+"\x00", string(environment))
	for _, set := range []string{"CapEff", "CapBnd", "CapPrm"} {
		require.Regexp(t, `(?m)^`+set+`:\t0+$`, string(status))
	}
	require.Regexp(t, `(?m)^NoNewPrivs:\t1$`, string(status))
	cwd, err := os.Readlink(proc + "cwd")
	require.NoError(t, err)
	require.Equal(t, "/", cwd)
	mounts, err := os.ReadFile(proc + "mounts")
	require.NoError(t, err)
	require.Regexp(t, `(?m)^\S+ / \S+ ro[, ]`, string(mounts))
	require.ErrorIs(t, os.WriteFile(filepath.Join(proc+"root", dir, "probe"), nil, 0o600), syscall.EROFS, "its root is read-only")
}

func get(ctx context.Context, url string) int {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

// An earlier version kept state beside a configuration that is read-only now. The log must say what to do.
func TestStateBesideAReadOnlyConfigurationIsReported(t *testing.T) {
	testtools.RequireHostile(t)
	bin := t.TempDir()
	require.NoError(t, os.Chmod(bin, 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(bin), 0o755))
	build := exec.Command("go", "build", "-ldflags=-extldflags=-Wl,-z,lazy", "-o", bin, "./cmd/responder")
	build.Dir = testtools.Root(t)
	output, err := build.CombinedOutput()
	require.NoError(t, err, string(output))
	log := runHosted(t, bin, "", hosted{
		binary: "responder", config: "webhook: {token: {file: token}}\nactions: []\n", watches: "store=STATE/responder.db",
		wrote: []string{"responder.db"}, before: "responder.db",
	})
	require.Regexp(t, `level=WARN .*responder.db.* from an earlier start cannot be written by this process and is ignored; to use it, stop the program, move it to .*writable/responder.db.*, owned by user 65534, and start again`, log)
}
