package exporters_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A reader who knows one exporter knows where to look in the others.
func TestTheExportersHaveOneShape(t *testing.T) {
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
