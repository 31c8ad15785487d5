// Package testtools starts the real programs that tests use.
//
// Input: the names of tools that `make tools` built and of servers that `make test-deps` installed. Output: the path of a tool, or the
// address of a server started for one test. State: the processes and folders made for a test. They are removed when the test ends, or
// when the test binary dies.
//
// If a program is missing, the test is skipped. With CI=true it fails instead, because a check that CI skips never runs.
package testtools

import (
	"os"
	"path/filepath"
	"testing"
)

// Path returns the absolute path of a tool built by `make tools`, such as promtool.
// The environment variable SIGHTGLASS_TOOLS replaces the folder bin/tools at the root of the repository.
func Path(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(toolsDir(t), name)
	if _, err := os.Stat(path); err != nil {
		missing(t, "%s is not built: run `make bin/tools/%s` (%v)", name, name, err)
	}
	return path
}

// Root returns the absolute path of the repository: the closest folder with a go.mod above the running test.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("find the repository: %v", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatalf("find the repository: no go.mod above the test")
		}
		dir = parent
	}
}

func toolsDir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("SIGHTGLASS_TOOLS"); dir != "" {
		return dir
	}
	return filepath.Join(Root(t), "bin", "tools")
}

// missing skips the test because of a missing program, or fails it in CI.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
