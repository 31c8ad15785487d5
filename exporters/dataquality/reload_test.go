package dataquality

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2" // The driver registers itself.
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
)

// profiled are the times of the profiles of a scrape, by dataset.
func profiled(metrics string) map[string]string {
	times := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^ml_dataset_profile_timestamp_seconds\{dataset="([^"]+)"\} (.+)$`).FindAllStringSubmatch(metrics, -1) {
		times[m[1]] = m[2]
	}
	return times
}

func TestAReloadTouchesOnlyWhatHasChanged(t *testing.T) {
	dir := t.TempDir()
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	write := func(name, query string) {
		_, err := db.Exec("COPY (" + query + ") TO '" + filepath.Join(dir, name) + "' (FORMAT parquet)")
		require.NoError(t, err)
	}
	write("t.parquet", "SELECT i AS v FROM range(10) AS r(i)")
	require.NoError(t, db.Close())
	const unchanged = 100
	file := filepath.Join(dir, "dataquality.yaml")
	configure := func(head string, more ...string) {
		text := head + "sources: {files: {type: duckdb, threads: 1}, others: {type: duckdb, threads: 1}}\nbaseline_store: {type: FILESYSTEM, config: {directory: state}}\ndefaults: {interval: 1h}\ndatasets:\n"
		for i := range unchanged {
			text += fmt.Sprintf("  - {name: d%d, source: files, files: t.parquet, baselines: {production: {days: 0}}}\n", i)
		}
		require.NoError(t, os.WriteFile(file, []byte(text+strings.Join(more, "")), 0o600))
	}
	dataset := func(name, source, more string) string {
		return "  - {name: " + name + ", source: " + source + ", files: t.parquet, baselines: {production: {days: 0}}" + more + "}\n"
	}
	configure("", dataset("goes", "files", ""), dataset("changes", "files", ""), dataset("elsewhere", "others", ""))
	s := exportertest.Start(t, Spec(), "--config.file="+file)
	s.AwaitReady()
	before := profiled(s.Metrics())
	require.Len(t, before, unchanged+3)

	// Every line is another one than before; one source has changed.
	configure("# moved\n", dataset("changes", "files", ", thresholds: {null_ratio: 0.5}"), dataset("elsewhere", "others", ""), dataset("comes", "files", ""))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(text), "others: {type: duckdb, threads: 1}", "others: {type: duckdb, threads: 2}", 1)), 0o600))
	status, body := s.Do(http.MethodPost, "/-/reload")
	require.Equal(t, http.StatusOK, status, body)
	at := profiled(s.Metrics())
	require.NotContains(t, at, "goes", "what is not configured any more is gone at once")
	for _, name := range []string{"changes", "elsewhere"} {
		require.Contains(t, at, name, "its series stay until the new profile")
	}
	status, body = s.Do(http.MethodGet, "/-/ready")
	require.Equal(t, http.StatusOK, status, body)
	s.AwaitMetric(`ml_dataset_rows{dataset="comes"} 10`)
	s.AwaitMetric(`ml_dataset_threshold{column="",dataset="changes",signal="null_ratio"} 0.5`)
	s.AwaitMetric(`sightglass_collector_success{collector="dataset/elsewhere"} 1`)
	after := profiled(s.Metrics())
	for i := range unchanged {
		name := fmt.Sprintf("d%d", i)
		require.Equal(t, before[name], at[name])
		require.Equal(t, before[name], after[name], "it was not profiled again")
	}
	require.Contains(t, s.Logs(), `msg="Datasets that a reload has not touched go on" unchanged=100 started="[changes elsewhere comes]" ended=[goes]`)
	require.NotContains(t, s.Metrics(), `collector="dataset/goes"`)

	// What all datasets share takes a new instance.
	configure("max_concurrent_profiles: 3\n")
	status, body = s.Do(http.MethodPost, "/-/reload")
	require.Equal(t, http.StatusOK, status, body)
	metrics := s.Metrics()
	require.Len(t, profiled(metrics), unchanged)
	require.NotEqual(t, before, profiled(metrics))

	// A mistake changes nothing.
	require.NoError(t, os.WriteFile(file, []byte("datasets: 3\n"), 0o600))
	status, _ = s.Do(http.MethodPost, "/-/reload")
	require.Equal(t, http.StatusInternalServerError, status)
	require.Len(t, profiled(s.Metrics()), unchanged)
}
