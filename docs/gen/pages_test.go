package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/sightglass-ml/sightglass/exporters/dataquality"
)

const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return string(text)
}

func TestLinksBetweenPagesLeadSomewhere(t *testing.T) {
	pages := []string{"README.md", "CHANGELOG.md"}
	require.NoError(t, filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			name, relErr := filepath.Rel(root, path)
			require.NoError(t, relErr)
			pages = append(pages, name)
		}
		return err
	}))
	for _, page := range pages {
		for _, link := range regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`).FindAllStringSubmatch(read(t, page), -1) {
			_, err := os.Stat(filepath.Join(root, filepath.Dir(page), link[1]))
			require.NoError(t, err, "%s links to %s", page, link[1])
		}
	}
}

func TestTheGuideExplainsEveryKeyOfTheConfiguration(t *testing.T) {
	t.Run("data quality", func(t *testing.T) {
		explains(t, "docs/data-quality.md", "exporters/dataquality/testdata/full.good.yaml", ".sources", ".datasets[].thresholds.columns", ".baseline_store.config")
	})
	t.Run("cost", func(t *testing.T) {
		explains(t, "docs/cost.md", "exporters/cost/testdata/full.good.yaml",
			".bills.sources[].bucket.config", ".bills.departments[].tags", ".bills.observability[].tags", ".exchange.rates")
	})
}

// explains compares a guide with a file that has every key. Below free stand names that the user makes up, or settings of
// the object store's own library.
func explains(t *testing.T, page, settings string, free ...string) {
	t.Helper()
	guide := read(t, page)
	var complete yaml.Node
	require.NoError(t, yaml.Unmarshal([]byte(read(t, settings)), &complete))
	var visit func(n *yaml.Node, path string)
	visit = func(n *yaml.Node, path string) {
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i < len(n.Content); i += 2 {
				key := n.Content[i].Value
				if !slices.Contains(free, path) {
					require.Regexp(t, `\W`+regexp.QuoteMeta(key)+`\W`, guide, "%s.%s", path, key)
				}
				visit(n.Content[i+1], path+"."+key)
			}
		case yaml.SequenceNode:
			for _, child := range n.Content {
				visit(child, path+"[]")
			}
		}
	}
	visit(complete.Content[0], "")
}

func TestTheExamplesAreValid(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "examples/dataquality/*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		_, err := dataquality.Load(file)
		require.NoError(t, err)
	}
	require.True(t, strings.HasPrefix(read(t, "examples/dataquality/orders.csv"), "order_id,ordered_at,"))
}
