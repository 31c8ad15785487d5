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
	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/exporters/dataquality"
	"github.com/sightglass-ml/sightglass/exporters/modelquality"
)

const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return string(text)
}

func TestLinksBetweenPagesWork(t *testing.T) {
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

func TestPicturesAreSmall(t *testing.T) {
	pictures, err := filepath.Glob(filepath.Join(root, "docs/pictures/*"))
	require.NoError(t, err)
	require.NotEmpty(t, pictures)
	var total int64
	for _, picture := range pictures {
		info, err := os.Stat(picture)
		require.NoError(t, err)
		total += info.Size()
	}
	require.Less(t, total, int64(300_000))
}

func TestTheGuidesExplainEveryKeyOfTheConfiguration(t *testing.T) {
	target := ".actions[].target."
	// Keys below the free ones are names that the user chooses, or settings of another program's library.
	for program, c := range map[string]struct{ guides, free []string }{
		"exporters/dataquality": {[]string{"docs/data-quality.md"}, []string{".sources", ".datasets[].thresholds.columns", ".baseline_store.config"}},
		"exporters/modelquality": {
			[]string{"docs/model-quality.md", "docs/instrumentation.md", "docs/data-quality.md"},
			[]string{".sources", ".evaluations", ".clients", ".models[].thresholds.fields", ".baseline_store.config", ".mlflow.http_client", ".reviews.http_client"},
		},
		"exporters/cost": {[]string{"docs/cost.md"}, []string{
			".bills.sources[].bucket.config", ".bills.departments[].tags", ".bills.observability[].tags", ".exchange.rates",
		}},
		"responder": {[]string{"docs/responder.md", "docs/review.md", "docs/incidents.md"}, []string{
			".prometheus.http_client", ".incidents.slack.http_client", ".actions[].match", target + "http_client", target + "airflow.conf", target + "argo_workflows.parameters",
			target + "argo_events.body", target + "kubeflow_pipelines.parameters", target + "github_actions.inputs", target + "webhook.body",
		}},
	} {
		t.Run(program, func(t *testing.T) { requireExplained(t, program, c.guides, c.free) })
	}
}

func requireExplained(t *testing.T, program string, pages, free []string) {
	t.Helper()
	var guide string
	for _, page := range pages {
		guide += read(t, page)
	}
	var complete yaml.Node
	require.NoError(t, yaml.Unmarshal([]byte(read(t, program+"/testdata/full.good.yaml")), &complete))
	var visit func(n *yaml.Node, path string)
	visit = func(n *yaml.Node, path string) {
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i < len(n.Content); i += 2 {
				key := n.Content[i].Value
				if !slices.ContainsFunc(free, func(f string) bool {
					return path == f || strings.HasSuffix(f, "http_client") && strings.HasPrefix(path, f+".")
				}) {
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
	files, err = filepath.Glob(filepath.Join(root, "examples/modelquality/*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		_, err := modelquality.Load(file)
		require.NoError(t, err)
	}
	require.True(t, strings.HasPrefix(read(t, "examples/dataquality/orders.csv"), "order_id,ordered_at,"))
}
