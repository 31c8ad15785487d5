package exporters_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// A reader who knows one exporter knows where to look in the others.
func TestExportersHaveTheSameFiles(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	exporters := 0
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		exporters++
		t.Run(entry.Name(), func(t *testing.T) {
			t.Parallel()
			for file, declares := range map[string]string{
				"config.go":   "\ntype Config struct {",
				"exporter.go": "\nfunc Spec() exporter.Spec[Config] {",
				"metrics.go":  "\nfunc Catalogue() *catalogue.Catalogue {",
				"connect.go":  "\nfunc Connect(ctx context.Context, report *connect.Report, cfg Config",
			} {
				text, err := os.ReadFile(filepath.Join(entry.Name(), file))
				require.NoError(t, err)
				require.Contains(t, string(text), declares, file)
			}
			collectors, err := filepath.Glob(filepath.Join(entry.Name(), "collector_*.go"))
			require.NoError(t, err)
			require.NotEmpty(t, collectors, "each collector has a file of its own: collector_<name>.go")
		})
	}
	require.Equal(t, 4, exporters)
}

// The page names files and identifiers in them. It must follow their renames.
func TestPathsOfTheArchitecturePageExist(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/architecture.md")
	require.NoError(t, err)
	paths := regexp.MustCompile("`([^`]+)` in `([^`]+\\.[a-z]+)`").FindAllStringSubmatch(string(page), -1)
	require.Greater(t, len(paths), 25)
	for _, path := range paths {
		text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(path[2])))
		require.NoError(t, err)
		require.Regexp(t, `\b`+regexp.QuoteMeta(path[1])+`\b`, string(text), path[2])
	}
	shared, err := os.ReadDir("../internal")
	require.NoError(t, err)
	for _, entry := range shared {
		require.Contains(t, string(page), "\n  "+entry.Name()+"/ ", "the list of folders lacks internal/%s", entry.Name())
	}
}
