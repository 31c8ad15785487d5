package testtools

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

// Postgres starts an empty PostgreSQL server and returns the DSN of its database for a superuser with a password. The server listens
// only on TCP on loopback. It never waits for the disk, so its data does not survive a crash of the machine.
func Postgres(t testing.TB) (dsn string) {
	t.Helper()
	initdb, postgres, isReady := postgresBinary(t, "initdb"), postgresBinary(t, "postgres"), postgresBinary(t, "pg_isready")

	// The unprivileged user that the server must run as cannot read t.TempDir.
	dir, err := os.MkdirTemp("", "sightglass-postgres-")
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	const password = "correct-horse"
	passwordFile, data := filepath.Join(dir, "password"), filepath.Join(dir, "data")
	if err := os.WriteFile(passwordFile, []byte(password), 0o600); err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	credential := unprivileged(t, dir, passwordFile)

	create := exec.Command(initdb, "--pgdata", data, "--username", "sightglass", "--pwfile", passwordFile,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	create.Dir, create.SysProcAttr = dir, &syscall.SysProcAttr{Credential: credential}
	if output, err := create.CombinedOutput(); err != nil {
		t.Fatalf("start PostgreSQL: create its folder: %v\n%s", err, output)
	}

	port := strconv.Itoa(freePort(t))
	server := exec.Command(postgres, "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
	server.Dir, server.SysProcAttr = dir, &syscall.SysProcAttr{Credential: credential}
	startServer(t, server, func(ctx context.Context) error {
		return exec.CommandContext(ctx, isReady, "-q", "-h", "127.0.0.1", "-p", port).Run()
	})
	return fmt.Sprintf("postgres://sightglass:%s@127.0.0.1:%s/postgres?sslmode=disable", password, port)
}

// postgresBinary finds a program of the newest PostgreSQL server. Debian installs one folder for each version, outside PATH.
func postgresBinary(t testing.TB, name string) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) > 0 {
		return slices.MaxFunc(found, func(a, b string) int { return postgresVersion(a) - postgresVersion(b) })
	}
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, "no PostgreSQL server: run `make test-deps` or install the package postgresql (%v)", err)
	}
	return path
}

func postgresVersion(path string) int {
	version, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return version
}

// unprivileged returns the user that PostgreSQL runs as, and makes it the owner of the paths. PostgreSQL refuses to run as root.
func unprivileged(t testing.TB, paths ...string) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		account, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Fatalf("find an unprivileged user: %v", err)
	}
	uid, uidErr := strconv.ParseUint(account.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(account.Gid, 10, 32)
	if uidErr != nil || gidErr != nil {
		t.Fatalf("find an unprivileged user: %s has no numeric ids", account.Username)
	}
	for _, path := range paths {
		if err := os.Chown(path, int(uid), int(gid)); err != nil {
			t.Fatalf("give a file to %s: %v", account.Username, err)
		}
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
