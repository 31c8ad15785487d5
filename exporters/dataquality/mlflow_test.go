package dataquality

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// trainingScript is the training job of docs/data-quality.md: it writes the snapshot that it trains on, and beside it the digest
// that MLflow computes of it. It prints the digest that the run has.
const trainingScript = `
import sys, mlflow, pandas
df = pandas.read_parquet("source.parquet")
df.to_parquet("training.parquet", index=False)
dataset = mlflow.data.from_pandas(df, source="training.parquet", name="training")
pandas.DataFrame({"digest": [dataset.digest]}).to_csv("training.digest.csv", index=False)
mlflow.set_tracking_uri("sqlite:///mlflow.db")
with mlflow.start_run() as run:
    mlflow.log_input(dataset, context="training")
print(mlflow.get_run(run.info.run_id).inputs.dataset_inputs[0].dataset.digest)
`

func TestMLflowDigestOfAPassedSnapshotIsPublished(t *testing.T) {
	python := testtools.Path(t, "python/bin/python")
	w := newWorld(t, `
sources: {files: {type: duckdb}}
datasets:
  - name: training
    source: files
    files: training.parquet
    snapshot_query: SELECT digest FROM read_csv('DIR/training.digest.csv', all_varchar = true)
    baselines: {production: {days: 0}}
`)
	text, err := os.ReadFile(w.dir + "/dataquality.yaml")
	require.NoError(t, err)
	w.load(strings.ReplaceAll(string(text), "DIR", w.dir))
	train := func(rows int) string {
		w.file("source.parquet", fmt.Sprintf("SELECT i::DOUBLE AS amount, ['CA', 'FR'][1 + i %% 2] AS country FROM range(%d) AS t(i)", rows))
		job := exec.CommandContext(t.Context(), python, "-W", "ignore", "-c", trainingScript)
		job.Dir, job.Env = w.dir, append(os.Environ(), testtools.MLflowEnv...)
		output, err := job.Output()
		require.NoError(t, err)
		return strings.TrimSpace(string(output))
	}
	first := train(1000)
	d := w.dataset(0)
	published := func() []string {
		c := w.run(d)
		return series(metrics(t, d, c, nil), "ml_dataset_passed_snapshot_info")
	}
	require.Len(t, published(), 1)
	require.Contains(t, published()[0], `snapshot="`+first+`"`)

	second := train(1100)
	require.NotEqual(t, first, second)
	w.now = w.now.Add(time.Hour)
	both := published()
	require.Len(t, both, 2)
	require.Contains(t, strings.Join(both, "\n"), `snapshot="`+first+`"`)
	require.Contains(t, strings.Join(both, "\n"), `snapshot="`+second+`"`)
}

// A digest depends only on the content, not on the exporter or the time of the profile.
func TestDigestsOfSnapshots(t *testing.T) {
	const yaml = `
sources: {files: {type: duckdb}}
datasets:
  - name: training
    source: files
    files: training.parquet
    baselines: {production: {days: 2}}
`
	const rows = `SELECT i::DOUBLE / 7 AS amount, i % 5 AS items, 'c' || (i % 30) AS country, TIMESTAMP '2026-11-01' + to_minutes(i::BIGINT) AS seen FROM range(20000) AS t(i)`
	w := newWorld(t, yaml)
	w.file("training.parquet", rows)
	d := w.dataset(0)
	first := w.run(d).snapshot
	for _, later := range []time.Duration{5 * time.Minute, 24 * time.Hour, 60 * 24 * time.Hour} {
		w.now = noon.Add(later)
		c := w.run(d)
		require.Equal(t, first, c.snapshot, later)
		require.Len(t, c.good.Passed, 1, "it passed once")
	}
	w.file("training.parquet", rows+" ORDER BY hash(i)")
	require.Equal(t, first, w.run(d).snapshot, "the order of the rows says nothing")
	w.file("training.parquet", strings.Replace(rows, "i::DOUBLE / 7", "i::DOUBLE / 7 + (i = 777)::INT", 1))
	require.NotEqual(t, first, w.run(d).snapshot, "one value changed")

	t.Run("the snapshots that passed are the last hundred", func(t *testing.T) {
		var g lastGood
		for i := range 250 {
			g.pass(snapshot{Name: fmt.Sprint("v", i), Digest: "d"}, noon)
			g.pass(snapshot{Name: fmt.Sprint("v", i), Digest: "d"}, noon)
		}
		require.Len(t, g.Passed, maxPassed)
		require.Equal(t, "v150", g.Passed[0].Snapshot.Name)
	})
	t.Run("a store of an older release has a version once for each digest", func(t *testing.T) {
		g := lastGood{Passed: []passed{{snapshot{"v1", "a"}, noon}, {snapshot{"v1", "b"}, noon.Add(time.Hour)}, {snapshot{"v2", "c"}, noon}}}
		require.True(t, g.watch(noon.Add(2*time.Hour)))
		require.False(t, g.watch(noon.Add(3*time.Hour)))
		require.Equal(t, noon, g.Watched)
		g.pass(snapshot{"v2", "d"}, noon)
		require.Equal(t, []passed{{snapshot{"v1", "a"}, noon}, {snapshot{"v2", "c"}, noon}}, g.Passed)
	})
	t.Run("a store of version 0.1 has its last good snapshot only, which passed", func(t *testing.T) {
		g := lastGood{Snapshot: snapshot{"sha256:old", "sha256:old"}, Time: noon}
		require.True(t, g.watch(noon.Add(time.Hour)))
		require.Equal(t, noon.Add(time.Hour), g.Watched, "models made before are not judged")
		g.accept(snapshot{"sha256:new", "sha256:new"}, noon.Add(time.Hour))
		g.pass(g.Snapshot, g.Time)
		require.Equal(t, []passed{{snapshot{"sha256:old", "sha256:old"}, noon}, {snapshot{"sha256:new", "sha256:new"}, noon.Add(time.Hour)}}, g.Passed)
		var empty lastGood
		require.True(t, empty.watch(noon))
		require.Empty(t, empty.Passed)
	})
	sliding := strings.Replace(yaml, "    files: training.parquet", "    files: training.parquet\n    timestamp_column: seen\n    window: 48h\n    thresholds: {freshness: 10000h}", 1)
	t.Run("a window that slides has none", func(t *testing.T) {
		w := newWorld(t, sliding)
		w.file("training.parquet", rows)
		w.now = time.Date(2026, 11, 14, 0, 0, 0, 0, time.UTC)
		d := w.dataset(0)
		c := w.run(d)
		require.NotEmpty(t, c.good.Snapshot.Name)
		require.Empty(t, c.good.Passed)
		require.Empty(t, series(metrics(t, d, c, nil), "ml_dataset_snapshots_watched_timestamp_seconds"))
	})
	t.Run("a version has one, although its window slides", func(t *testing.T) {
		w := newWorld(t, strings.Replace(sliding, "    thresholds:", "    snapshot_query: SELECT 'v1'\n    thresholds:", 1))
		w.file("training.parquet", rows)
		w.now = time.Date(2026, 11, 14, 0, 0, 0, 0, time.UTC)
		d := w.dataset(0)
		first := w.run(d)
		w.now = w.now.Add(5 * time.Minute)
		second := w.run(d)
		require.NotEqual(t, first.snapshot.Digest, second.snapshot.Digest)
		require.Equal(t, []passed{{first.snapshot, first.now}}, second.good.Passed)
		require.Equal(t, []string{`ml_dataset_snapshots_watched_timestamp_seconds{dataset="training"} 1.7946144e+09`},
			series(metrics(t, d, second, nil), "ml_dataset_snapshots_watched_timestamp_seconds"))
	})
}
