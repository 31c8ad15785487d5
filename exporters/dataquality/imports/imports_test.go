package imports

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/dataquality"
)

var update = flag.Bool("update", false, "write the golden files")

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return data
}

// The golden file has the imported datasets for review. They are a valid configuration.
func golden(t *testing.T, name string, datasets []Dataset) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, Write(&b, datasets))
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	}
	require.Equal(t, string(read(t, name)), b.String())

	whole := filepath.Join(t.TempDir(), "dataquality.yaml")
	require.NoError(t, os.WriteFile(whole, append([]byte("sources: {warehouse: {type: postgres, dsn: {env: DSN}}}\n"), b.Bytes()...), 0o600))
	_, err := dataquality.Load(whole)
	require.NoError(t, err)
}

func TestTheTestsOfADBTProjectAreImported(t *testing.T) {
	datasets, err := DBT("schema.yml", read(t, "schema.yml"), Options{Source: "warehouse", Schema: "analytics"})
	require.NoError(t, err)
	golden(t, "schema.imported.yaml", datasets)
}

func TestTheCommonExpectationsOfASuiteAreImported(t *testing.T) {
	datasets, err := GX("suite.json", read(t, "suite.json"), "", Options{Source: "warehouse"})
	require.NoError(t, err)
	golden(t, "suite.imported.yaml", datasets)
}

func TestImportReportsEverythingThatItLeavesOut(t *testing.T) {
	datasets, err := GX("suite.json", read(t, "suite.json"), "shop_orders", Options{})
	require.NoError(t, err)
	d := datasets[0]
	require.Equal(t, "shop_orders", d.Name)
	require.Equal(t, strings.Count(string(read(t, "suite.json")), `"kwargs"`), len(d.Keys)+len(d.Checks)+len(d.Notes))
}

func TestInvalidImportFilesAreExplained(t *testing.T) {
	for name, tc := range map[string]struct {
		dbt, gx string
		want    string
	}{
		"a list":                   {dbt: "[1]", want: "a.yml: not a dbt properties file"},
		"a project file":           {dbt: "name: shop\nversion: 1", want: "a.yml: no tests"},
		"a test that is a list":    {dbt: "models: [{name: m, tests: [[1]]}]", want: "a.yml:1: m: a test is neither a name nor a map"},
		"a test with two names":    {dbt: "models: [{name: m, tests: [{unique: {}, not_null: {}}]}]", want: "a test with two names"},
		"YAML for a suite":         {gx: "expectations: []", want: "a.json: not JSON"},
		"JSON without expectation": {gx: "{}", want: "a.json: no expectations"},
		"a suite without a name":   {gx: `{"expectations":[{"type":"x","kwargs":{}}]}`, want: "a.json: the suite has no name; want --dataset"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if tc.dbt != "" {
				_, err = DBT("a.yml", []byte(tc.dbt), Options{})
			} else {
				_, err = GX("a.json", []byte(tc.gx), "", Options{})
			}
			require.ErrorContains(t, err, tc.want)
		})
	}
}

// Reading any file ends with datasets or an error.
func FuzzImports(f *testing.F) {
	for _, name := range []string{"testdata/schema.yml", "testdata/suite.json"} {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = DBT("a.yml", data, Options{})
		_, _ = GX("a.json", data, "", Options{})
	})
}
