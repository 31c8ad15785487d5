package testtools

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

//go:embed clickhouse.py
var clickhouseServer string

// ClickHouse starts an empty ClickHouse and returns its DSN for a user with a password. It is ClickHouse's own engine, loaded as a
// library behind a small HTTP server. ClickHouse itself therefore parses, checks and runs the statements that a driver sends. They run
// one at a time.
func ClickHouse(t testing.TB) (dsn string) {
	t.Helper()
	portFile := filepath.Join(t.TempDir(), "port")
	server := exec.Command(python(t), "-c", clickhouseServer, portFile)
	server.Dir = t.TempDir()
	var port []byte
	startServer(t, server, func(context.Context) (err error) {
		port, err = os.ReadFile(portFile)
		return err
	})
	return fmt.Sprintf("http://sightglass:correct-horse@127.0.0.1:%s/default", port)
}

// python returns the interpreter with the packages of tools/python/requirements.txt.
func python(t testing.TB) string {
	t.Helper()
	path := filepath.Join(toolsDir(t), "python", "bin", "python")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		missing(t, "no Python packages: run `make test-deps` (%v)", err)
	}
	return path
}
