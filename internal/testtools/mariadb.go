package testtools

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// MariaDB starts an empty MariaDB server and returns the DSN of its database "test" for a user with a password. The server listens on
// loopback only.
func MariaDB(t testing.TB) (dsn string) {
	t.Helper()
	binary := func(names ...string) string {
		for _, name := range names {
			if path, err := exec.LookPath(name); err == nil {
				return path
			}
			if path := filepath.Join("/usr/sbin", name); fileExists(path) {
				return path
			}
		}
		missing(t, "no MariaDB server: run `make test-deps` or install the package mariadb-server (no %s)", names[0])
		return ""
	}
	install, server, admin := binary("mariadb-install-db"), binary("mariadbd"), binary("mariadb-admin")

	dir, err := os.MkdirTemp("", "sightglass-mariadb-")
	if err != nil {
		t.Fatalf("start MariaDB: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	credential := unprivileged(t, dir)
	data, socket, start := filepath.Join(dir, "data"), filepath.Join(dir, "s"), filepath.Join(dir, "init.sql")
	const password = "correct-horse"
	if err := os.WriteFile(start, []byte("CREATE USER sightglass@'127.0.0.1' IDENTIFIED BY '"+password+"';\nGRANT ALL ON *.* TO sightglass@'127.0.0.1';\nCREATE DATABASE IF NOT EXISTS test;\n"), 0o644); err != nil {
		t.Fatalf("start MariaDB: %v", err)
	}
	create := exec.Command(install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
	create.Dir, create.SysProcAttr = dir, &syscall.SysProcAttr{Credential: credential}
	if output, err := create.CombinedOutput(); err != nil {
		t.Fatalf("start MariaDB: create its folder: %v\n%s", err, output)
	}
	port := strconv.Itoa(freePort(t))
	cmd := exec.Command(server, "--no-defaults", "--datadir="+data, "--socket="+socket, "--bind-address=127.0.0.1", "--port="+port,
		"--skip-name-resolve", "--init-file="+start, "--innodb-flush-log-at-trx-commit=0", "--pid-file="+filepath.Join(dir, "pid"))
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: credential}
	startServer(t, cmd, func(ctx context.Context) error {
		return exec.CommandContext(ctx, admin, "--no-defaults", "--host=127.0.0.1", "--port="+port, "--user=sightglass", "--password="+password, "ping", "--silent").Run()
	})
	return fmt.Sprintf("sightglass:%s@tcp(127.0.0.1:%s)/test", password, port)
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
