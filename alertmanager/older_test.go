package alertmanager

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/demo/stack"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

func writeOlder(t *testing.T) string {
	t.Helper()
	files, err := Older(Hours{})
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "templates"), 0o700))
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	return dir
}

func TestAlertmanagerOfDebian12AcceptsOnlyItsVariant(t *testing.T) {
	amtool := testtools.Path(t, "oldest/amtool")
	out, err := exec.CommandContext(t.Context(), amtool, "check-config", "alertmanager.yaml").CombinedOutput()
	require.Error(t, err, "then no variant is needed any more: %s", out)

	file := filepath.Join(writeOlder(t), "alertmanager.yaml")
	for _, tool := range []string{"oldest/amtool", "amtool"} {
		out, err = exec.CommandContext(t.Context(), testtools.Path(t, tool), "check-config", file).CombinedOutput()
		require.NoError(t, err, "%s: %s", tool, out)
	}
	out, err = exec.CommandContext(t.Context(), amtool, "config", "routes", "test", "--config.file="+file,
		"--verify.receivers=responder,ml-oncall", "alertname=MLModelDrift", "severity=critical", "layer=model").CombinedOutput()
	require.NoError(t, err, string(out))
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(content), "  # broken-feature\n  - source_matchers:")
}

func TestTheAlertmanagerOfDebian12DeliversInhibitsAndResolves(t *testing.T) {
	s := startTool(t, testtools.Path(t, "oldest/alertmanager"), os.DirFS(writeOlder(t)))
	critical := newAlert("alertname=MLDatasetStale severity=critical layer=data dataset=orders")
	s.post(t, critical, newAlert("alertname=MLDatasetNullRatioHigh severity=warning layer=data dataset=orders column=c"))
	s.message(t, `^\[CRITICAL\] MLDatasetStale: orders`)
	s.status(t, func(a stack.AlertStatus) bool { return len(a.Status.InhibitedBy) == 1 }, `alertname="MLDatasetNullRatioHigh"`)

	for text, since := range map[string]time.Duration{"12m": 12 * time.Minute, "1h30m": 90 * time.Minute, "2h": 2 * time.Hour, "1m40s": 100 * time.Second} {
		resolved := newAlert(fmt.Sprintf("alertname=MLDatasetStale severity=critical layer=data dataset=for-%s", text))
		resolved.StartsAt = time.Now().Add(-since)
		s.post(t, resolved)
		s.message(t, `^\[CRITICAL\] MLDatasetStale: for-`+text)
		resolved.EndsAt = resolved.StartsAt.Add(since)
		s.post(t, resolved)
		s.message(t, `^\[RESOLVED after `+text+`\] MLDatasetStale: for-`+text)
	}
}
