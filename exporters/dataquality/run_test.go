package dataquality

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

func golden(t *testing.T, path, got string) {
	t.Helper()
	if flag.Lookup("update").Value.String() == "true" { // The flag is that of package exportertest.
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// asExporter turns the test binary into the exporter, for tests that kill it.
const asExporter = "SIGHTGLASS_TEST_AS_EXPORTER"

func TestMain(m *testing.M) {
	if path := os.Getenv(asExporter); path != "" {
		os.Exit(exporter.Run(Spec(), []string{"--config.file", path, "--web.listen-address", os.Getenv(asExporter + "_ADDRESS")}, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// startExporter runs the exporter within the test and returns what scrapes it.
// When the test ends, so does the exporter, without an error.
func startExporter(t *testing.T, config string) (scrape func() string) {
	t.Helper()
	address := testtools.FreeAddress(t)
	ctx, cancel := context.WithCancel(context.Background())
	var logs bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- exporter.RunContext(ctx, Spec(), []string{"--config.file", config, "--web.listen-address", address}, &logs, &logs)
	}()
	t.Cleanup(func() {
		cancel()
		require.Zero(t, <-code, "%s", &logs)
	})
	return func() string {
		response, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return ""
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode, "%s", body)
		return string(body)
	}
}

// However often the exporter is killed while it writes baselines, what is in
// the store can be read, and each day is in it once with the right counts.
func TestKilledWhileLearning(t *testing.T) {
	kills := 100
	if testing.Short() {
		kills = 20
	}
	const days = 366
	w := newWorld(t, fmt.Sprintf(`
sources: {files: {type: duckdb, threads: 1}}
defaults: {interval: 20ms}
datasets:
  - name: orders
    source: files
    files: orders.parquet
    timestamp_column: at
    columns: {bins: 4}
    baselines:
      training: {files: orders.parquet}
      production: {days: %d, first_day: 2025-11-01}
`, days))
	// On day i there are i+1 rows.
	w.file("orders.parquet", fmt.Sprintf(`
		SELECT TIMESTAMP '2025-11-01 12:00:00' + to_days(d::INT) AS at, (i %% 7)::DOUBLE AS amount, ['CA', 'US'][1 + i %% 2] AS country
		FROM range(%d) AS days(d), range(%d) AS rows(i) WHERE i <= d`, days, days))
	self, err := os.Executable()
	require.NoError(t, err)
	config := filepath.Join(w.dir, "dataquality.yaml")

	readStore := func() baseline.Production {
		view, err := w.connections.store.Subject(kind, "orders").View(t.Context())
		require.NoError(t, err)
		_, err = view.Training(t.Context())
		if err != nil {
			require.ErrorIs(t, err, baseline.ErrNotFound)
		}
		p, err := view.Production(t.Context(), 0)
		if err != nil {
			require.ErrorIs(t, err, baseline.ErrNotFound)
		}
		return p
	}
	live := func(alive func()) {
		child := exec.Command(self)
		child.Env = append(os.Environ(), asExporter+"="+config, asExporter+"_ADDRESS="+testtools.FreeAddress(t))
		require.NoError(t, child.Start())
		alive()
		require.NoError(t, child.Process.Kill())
		_ = child.Wait()
	}
	// The bins are cut once, which takes longer than every other start.
	l, err := w.connections.learner(w.cfg.Datasets[0], time.Now)
	require.NoError(t, err)
	schema, err := l.source.Schema(t.Context(), l.relation)
	require.NoError(t, err)
	_, _, err = l.define(t.Context(), schema, w.cfg.Datasets[0].at(w.now))
	require.NoError(t, err)
	// How long it takes to its first write depends on the machine.
	var startup time.Duration
	live(func() {
		begun := time.Now()
		require.Eventually(t, func() bool { return len(readStore().Days) > 0 }, 60*time.Second, 2*time.Millisecond)
		startup = time.Since(begun)
	})
	learning := 0
	for i := range kills {
		// From before its first write to well after some, also on a slow machine.
		live(func() { time.Sleep(startup * time.Duration(75+(i*37)%110) / 100) })
		p := readStore()
		require.True(t, slices.IsSorted(p.Days))
		require.Len(t, slices.Compact(slices.Clone(p.Days)), len(p.Days))
		if len(p.Days) > 0 && !p.Frozen() {
			learning++
		}
	}
	require.Greater(t, learning, kills/4, "most kills should find the exporter learning")

	// Left alone, the exporter completes what the killed ones began.
	startExporter(t, config)
	var p baseline.Production
	require.Eventually(t, func() bool { p = readStore(); return p.Frozen() }, 60*time.Second, 100*time.Millisecond)
	require.Len(t, p.Days, days)
	require.EqualValues(t, days*(days+1)/2, p.Counts.Rows)
	var sum int64
	for _, n := range p.Counts.Fields["country"] {
		sum += n
	}
	require.EqualValues(t, days*(days+1)/2, sum)
}
