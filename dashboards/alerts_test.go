package dashboards

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/dashboards/internal/lint"
)

type alert struct {
	Name        string            `yaml:"alert"`
	Annotations map[string]string `yaml:"annotations"`
}

// alerts reads the alerting rules of the bundle.
func alerts(t *testing.T) []alert {
	t.Helper()
	paths, err := filepath.Glob("../rules/alerts/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	var out []alert
	for _, path := range paths {
		body, err := os.ReadFile(path)
		require.NoError(t, err)
		var file struct {
			Groups []struct {
				Rules []alert `yaml:"rules"`
			} `yaml:"groups"`
		}
		require.NoError(t, yaml.Unmarshal(body, &file), path)
		for _, group := range file.Groups {
			out = append(out, group.Rules...)
		}
	}
	return out
}

func TestEveryRunbookLinkIsToAnAlertThatExists(t *testing.T) {
	known := map[string]bool{}
	for _, a := range alerts(t) {
		known[a.Name] = true
	}
	link := regexp.MustCompile(`\$\{runbooks:raw\}/(\w+)\.md`)
	for _, d := range committed(t) {
		body, err := os.ReadFile(filepath.Join("json", d.UID+".json"))
		require.NoError(t, err)
		found := link.FindAllStringSubmatch(string(body), -1)
		require.Contains(t, string(body), "${runbooks:raw}/", d.UID)
		for _, match := range found {
			require.True(t, known[match[1]], "%s links to the runbook of %s", d.UID, match[1])
		}
	}
}

func TestTheOverviewComparesAlertsThatExistWithTheirLimits(t *testing.T) {
	known := map[string]bool{}
	for _, a := range alerts(t) {
		known[a.Name] = true
	}
	for _, o := range overLimits() {
		require.True(t, known[o.alert], o.alert)
	}
}

// An alert opens a dashboard with its variables set; a name that the dashboard lacks would be ignored in silence.
func TestEveryAlertOpensADashboardThatKnowsItsVariables(t *testing.T) {
	dashboards := map[string]lint.Dashboard{}
	for _, d := range committed(t) {
		dashboards[d.UID] = d
	}
	action := regexp.MustCompile(`\{\{[^}]*\}\}`)
	for _, a := range alerts(t) {
		target := a.Annotations["dashboard"]
		if target == "" {
			continue
		}
		path, err := url.Parse(action.ReplaceAllString(target, "x"))
		require.NoError(t, err, a.Name)
		d, ok := dashboards[strings.TrimPrefix(path.Path, "/d/")]
		require.True(t, ok, "%s opens %s", a.Name, path.Path)
		for name := range path.Query() {
			variable, isVariable := strings.CutPrefix(name, "var-")
			require.True(t, isVariable, "%s sets %s", a.Name, name)
			found := false
			for _, v := range d.Templating.List {
				found = found || v.Name == variable
			}
			require.True(t, found, "%s sets %s, which %s lacks", a.Name, name, d.UID)
		}
	}
}
