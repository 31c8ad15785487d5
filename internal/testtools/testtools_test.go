package testtools

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/ClickHouse/clickhouse-go/v2"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "github.com/trinodb/trino-go-client/trino"
)

// outcome records how a helper ended a test instead of ending this one.
type outcome struct {
	testing.TB
	failed, skipped string
}

func (o *outcome) Helper() {}

func (o *outcome) Fatalf(format string, args ...any) {
	o.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (o *outcome) Skipf(format string, args ...any) {
	o.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestPath(t *testing.T) {
	tools := t.TempDir()
	t.Setenv("SIGHTGLASS_TOOLS", tools)
	require.NoError(t, os.WriteFile(filepath.Join(tools, "promtool"), nil, 0o755))

	for _, test := range []struct {
		name, ci, tool  string
		failed, skipped string
		path            string
	}{
		{name: "a built tool is found", tool: "promtool", path: filepath.Join(tools, "promtool")},
		{name: "a missing tool skips the test on a developer's machine", tool: "pint", skipped: "pint is not built: run `make bin/tools/pint`"},
		{name: "a missing tool fails the test in CI", ci: "true", tool: "pint", failed: "pint is not built: run `make bin/tools/pint`"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("CI", test.ci)
			got := &outcome{TB: t}
			var path string
			done := make(chan struct{})
			go func() {
				defer close(done)
				path = Path(got, test.tool)
			}()
			<-done
			require.Equal(t, test.path, path)
			require.Contains(t, got.failed, test.failed)
			require.Contains(t, got.skipped, test.skipped)
			require.Equal(t, test.failed == "", got.failed == "")
			require.Equal(t, test.skipped == "", got.skipped == "")
		})
	}
}

func TestToolsAreFoundInTheRepository(t *testing.T) {
	t.Setenv("SIGHTGLASS_TOOLS", "")
	require.Equal(t, filepath.Join(Root(t), "bin", "tools"), toolsDir(t))
	require.FileExists(t, filepath.Join(Root(t), "internal", "testtools", "testtools.go"))
}

// The servers are asked for things that only the real product answers, through the drivers that the exporter uses.
func TestTestServersAnswerTheirDrivers(t *testing.T) {
	for _, test := range []struct {
		name, driver string
		start        func(testing.TB) string
		setup        []string
		query        string
		args         []any
	}{
		{
			name: "PostgreSQL", driver: "pgx", start: Postgres,
			setup: []string{`CREATE TABLE t (x double precision)`, `INSERT INTO t SELECT generate_series(1, 100)`},
			query: `SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x) FILTER (WHERE x > $1) FROM t`, args: []any{50},
		},
		{
			name: "ClickHouse", driver: "clickhouse", start: ClickHouse,
			setup: []string{`CREATE TABLE t (x Nullable(Float64)) ENGINE = MergeTree ORDER BY tuple()`, `INSERT INTO t SELECT number + 1 FROM numbers(100)`},
			query: `SELECT quantileExactInclusiveIf(0.5)(x, x > ?) FROM t`, args: []any{50},
		},
		{
			name: "Trino", driver: "trino", start: Trino,
			setup: []string{`CREATE TABLE t AS SELECT CAST(x AS double) x FROM UNNEST(sequence(1, 100)) AS s (x)`},
			query: `SELECT approx_percentile(x, 0.5) FILTER (WHERE x > ?) FROM t`, args: []any{50},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			db, err := sql.Open(test.driver, test.start(t))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			for _, statement := range test.setup {
				_, err := db.ExecContext(t.Context(), statement)
				require.NoError(t, err, statement)
			}
			var got string
			require.NoError(t, db.QueryRowContext(t.Context(), test.query, test.args...).Scan(&got))
			require.Equal(t, "75.5", got)

			_, err = db.ExecContext(t.Context(), "SELECT * FROM no_such_table")
			require.ErrorContains(t, err, "no_such_table")
		})
	}
}

// A test binary that is killed runs no cleanup: go test does that to one that ran out of time.
func TestServersEndWithATestBinaryThatIsKilled(t *testing.T) {
	if pidFile := os.Getenv("TESTTOOLS_PID_FILE"); pidFile != "" {
		server := exec.Command("sleep", "600")
		startServer(t, server, func(context.Context) error {
			return os.WriteFile(pidFile, []byte(strconv.Itoa(server.Process.Pid)), 0o600)
		})
		require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGKILL))
	}

	pidFile := filepath.Join(t.TempDir(), "pid")
	binary := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	binary.Env = append(os.Environ(), "TESTTOOLS_PID_FILE="+pidFile)
	require.ErrorContains(t, binary.Run(), "killed")

	content, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	pid, err := strconv.Atoi(string(content))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(state), ") Z ") // A zombie is dead; its new parent may leave it so.
	}, 10*time.Second, 10*time.Millisecond)
}

func TestServerThatExitsFailsItsTestWithItsOutput(t *testing.T) {
	got := &outcome{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		startServer(got, exec.Command("sh", "-c", "echo no space left; exit 1"), func(context.Context) error {
			return errors.New("connection refused")
		})
	}()
	<-done
	require.Equal(t, "start sh: it exited: connection refused\nno space left\n", got.failed)
}
