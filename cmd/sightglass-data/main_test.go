package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/alecthomas/kingpin/v2"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
	"github.com/sightglass-ml/sightglass/internal/tool"
)

// call runs the tool as a shell would.
func call(args ...string) (status int, stdout, stderr string) {
	var out, err bytes.Buffer
	status = run(args, &out, &err)
	return status, out.String(), err.String()
}

func TestSightglassKnowsEveryCommandOfSightglassData(t *testing.T) {
	app := kingpin.New("test", "")
	var declared []string
	for _, add := range all {
		add(app, io.Discard)
	}
	for _, c := range app.Model().Commands {
		declared = append(declared, c.Name)
	}
	require.ElementsMatch(t, tool.DataCommands(), declared)
}

func TestTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	require.NoError(t, os.WriteFile(good, []byte("sources: {files: {type: duckdb}}\ndatasets: [{name: a, source: files, files: a.csv}]\n"), 0o600))
	require.NoError(t, os.WriteFile(bad, []byte("sources: {files: {type: duckdb}}\ndatasets:\n  - {name: a, source: fils, files: a.csv}\n"), 0o600))

	for name, tc := range map[string]struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		"help is no error":                   {[]string{"--help"}, 0, "usage: sightglass", ""},
		"the version is printed":             {[]string{"--version"}, 0, "sightglass, version", ""},
		"an unknown word is a usage error":   {[]string{"dema"}, 2, "", `expected command but got "dema"`},
		"a valid configuration is confirmed": {[]string{"check", "dataquality", good}, 0, "OK: " + good + " is valid", ""},
		"an invalid one is explained":        {[]string{"check", "dataquality", bad}, 1, "", bad + ":3: datasets[0].source: unknown source \"fils\""},
		"an unknown exporter is refused":     {[]string{"check", "weather", good}, 2, "", "dataquality"},
		"a demo names the missing tool":      {[]string{"demo", "--tools-dir", dir}, 1, "", "build them with `make tools`"},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := call(tc.args...)
			require.Equal(t, tc.status, status, stderr)
			require.Contains(t, stdout+stderr, tc.stdout)
			require.Contains(t, stderr, tc.stderr)
		})
	}
}

func TestBaselinesAreBuiltWhenAnotherDatasetFails(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "dataquality.yaml")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "good.csv"), []byte("v\n1\n2\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bad.parquet"), []byte("PAR1"), 0o600))
	require.NoError(t, os.WriteFile(file, []byte(`sources: {files: {type: duckdb}}
datasets:
  - {name: bad, source: files, files: bad.parquet}
  - {name: good, source: files, files: good.csv}
`), 0o600))
	status, stdout, stderr := call("baseline", "--config.file="+file, "build")
	require.Equal(t, 1, status, "one could not be built")
	require.Contains(t, stdout, "good: 1 columns with bins")
	require.Contains(t, stderr, `dataset "bad"`)
}

func TestImportPrintsDatasets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "schema.yml")
	require.NoError(t, os.WriteFile(file, []byte("models: [{name: orders, columns: [{name: id, tests: [unique]}]}]"), 0o600))
	status, stdout, stderr := call("import", "--schema=shop", "dbt", file)
	require.Zero(t, status, stderr)
	require.Equal(t, "datasets:\n  - name: orders\n    source: warehouse\n    table: shop.orders\n    keys: [[id]]\n", stdout)
	status, _, stderr = call("import", "gx", file)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "not JSON")
}

func TestColumnIsAccepted(t *testing.T) {
	dir := t.TempDir()
	file, table := filepath.Join(dir, "dataquality.yaml"), filepath.Join(dir, "orders.csv")
	require.NoError(t, os.WriteFile(table, []byte("v\n1\n2\n"), 0o600))
	require.NoError(t, os.WriteFile(file, []byte("sources: {files: {type: duckdb}}\ndatasets:\n  - {name: orders, source: files, files: orders.csv}\n"), 0o600))
	status, _, stderr := call("baseline", "--config.file="+file, "build")
	require.Zero(t, status, stderr)
	require.NoError(t, os.WriteFile(table, []byte("v,tender\n1,card\n2,cash\n"), 0o600))
	status, stdout, stderr := call("baseline", "--config.file="+file, "accept", "orders", "tender")
	require.Zero(t, status, stderr)
	require.Equal(t, "orders: column tender is expected as VARCHAR, with 4 bins and a baseline of 2 values\n", stdout)
	status, _, stderr = call("baseline", "--config.file="+file, "accept", "orders", "tendr")
	require.Equal(t, 1, status)
	require.Contains(t, stderr, `the table has no column "tendr"`)
}

func TestBaselineOfVersion01SaysWhatItLacks(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "dataquality.yaml")
	require.NoError(t, os.WriteFile(file, []byte("sources: {files: {type: duckdb}}\nbaseline_store: {type: FILESYSTEM, config: {directory: store}}\ndatasets:\n  - {name: orders, source: files, files: orders.csv, timestamp_column: at}\n"), 0o600))
	require.NoError(t, os.CopyFS(filepath.Join(dir, "store", "dataset", "orders"), os.DirFS("../../exporters/dataquality/testdata/store-0.1/frozen")))
	status, stdout, stderr := call("baseline", "--config.file="+file, "show")
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "orders: version 0.1 cut the bins of amount, without a minimum, maximum and mean: MLDatasetValuesOutOfRange and MLDatasetMeanShifted cannot fire for them. "+
		"To cut them again, run 'sightglass baseline reset --part definition orders' and 'sightglass baseline build orders'.\n")
}

// TestMain lets the test's own binary be the tool, for what needs a process.
func TestMain(m *testing.M) {
	if os.Getenv("BE_SIGHTGLASS") != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestReportRunsInARestrictedContainer(t *testing.T) {
	testtools.RequireHostile(t)
	self, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	program, state := filepath.Join(dir, "sightglass-data"), filepath.Join(dir, "state")
	require.NoError(t, os.Link(self, program))
	require.NoError(t, os.Chmod(program, 0o755))
	require.NoError(t, os.Mkdir(state, 0o700))
	require.NoError(t, os.Chown(state, 65534, 65534))
	file, page := filepath.Join(dir, "dataquality.yaml"), filepath.Join(state, "orders.html")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "orders.csv"), []byte("v\n1\n2\n"), 0o644))
	require.NoError(t, os.WriteFile(file, []byte("sources: {files: {type: duckdb}}\ndatasets: [{name: orders, source: files, files: orders.csv}]\n"), 0o644))
	out, err := testtools.Hostile(t.Context(), state, "/usr/bin/env", "BE_SIGHTGLASS=1", program, "report", "--config.file="+file, "--output="+page, "orders").CombinedOutput()
	require.NoError(t, err, string(out))
	require.FileExists(t, page)
}
