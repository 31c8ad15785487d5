// Package e2e runs what ships as it ships: the real exporter binary, Prometheus, Alertmanager and PostgreSQL, from the
// broken table to the message in Slack. Nothing here is replaced but Slack itself.
package e2e

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// buildCommand builds a command of the repository and returns its path.
func buildCommand(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	buildCommands(t, dir, name)
	return filepath.Join(dir, name)
}

// buildCommands builds commands of the repository into a folder, as `make build` does.
func buildCommands(t *testing.T, dir string, names ...string) {
	t.Helper()
	args := []string{"build", "-ldflags=-extldflags=-Wl,-z,lazy", "-o", dir}
	for _, name := range names {
		args = append(args, "./cmd/"+name)
	}
	build := exec.Command("go", args...)
	build.Dir = testtools.Root(t)
	output, err := build.CombinedOutput()
	require.NoError(t, err, string(output))
}

// toolsDir returns the folder of the tools. All of them must exist.
func toolsDir(t *testing.T) string {
	t.Helper()
	var path string
	for _, tool := range []string{"prometheus", "promtool", "alertmanager"} {
		path = testtools.Path(t, tool)
	}
	return filepath.Dir(path)
}

// testContext ends before the test binary's own limit, so that a failure has a reason.
func testContext(t *testing.T) context.Context {
	t.Helper()
	const limit = 12 * time.Minute
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errors.New("the test took over "+limit.String()))
	t.Cleanup(cancel)
	return ctx
}

// eventually polls a real server until the condition holds.
func eventually(ctx context.Context, t *testing.T, what string, condition func() bool) {
	t.Helper()
	for !condition() {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, context.Cause(ctx))
		}
	}
}
