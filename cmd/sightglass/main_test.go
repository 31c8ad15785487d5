package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
	"github.com/sightglass-ml/sightglass/internal/tool"
	"github.com/sightglass-ml/sightglass/rules"
)

// TestMain lets the test's own binary be the tool, since handing over replaces the process.
func TestMain(m *testing.M) {
	if os.Getenv("BE_SIGHTGLASS") != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// call runs the tool as a shell would.
func call(args ...string) (status int, stdout, stderr string) {
	var out, err bytes.Buffer
	status = run(args, &out, &err)
	return status, out.String(), err.String()
}

func TestTheCommandLine(t *testing.T) {
	for name, tc := range map[string]struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		"help lists the commands of both programs": {[]string{"--help"}, 0, "\nreplay\n", ""},
		"the version is printed":                   {[]string{"--version"}, 0, "sightglass, version", ""},
		"an unknown word is a usage error":         {[]string{"dema"}, 2, "", `expected command but got "dema"`},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := call(tc.args...)
			require.Equal(t, tc.status, status, stderr)
			require.Contains(t, stdout, tc.stdout)
			require.Contains(t, stderr, tc.stderr)
		})
	}
}

// A shell script replaces sightglass-data. It prints its arguments and exits with a distinct status.
const otherHalf = "#!/bin/sh\necho \"$0 got $*\"\nexit 7\n"

func TestDataCommandsAreThoseOfSightglassData(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	body, err := os.ReadFile(self)
	require.NoError(t, err)
	dir, path := t.TempDir(), t.TempDir()
	program := filepath.Join(dir, "sightglass")
	require.NoError(t, os.WriteFile(program, body, 0o700))
	link := filepath.Join(t.TempDir(), "sightglass")
	require.NoError(t, os.Symlink(program, link))
	start := func(t *testing.T, program string, args ...string) (int, string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = []string{"BE_SIGHTGLASS=1", "PATH=" + path}
		out, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), string(out)
	}

	status, out := start(t, program, "replay", "months.yaml")
	require.Equal(t, 1, status)
	require.Equal(t, "sightglass replay: this command is part of sightglass-data, which is neither in "+dir+" nor in PATH: install its package, or build it with `make bin/sightglass-data`\n", out)

	inPath := filepath.Join(path, tool.DataProgram)
	require.NoError(t, os.WriteFile(inPath, []byte(otherHalf), 0o700))
	status, out = start(t, program, "replay", "months.yaml")
	require.Equal(t, 7, status, "its status is the tool's")
	require.Equal(t, inPath+" got replay months.yaml\n", out)

	beside := filepath.Join(dir, tool.DataProgram)
	require.NoError(t, os.WriteFile(beside, []byte(otherHalf), 0o700))
	for name, args := range map[string][]string{
		"flags are handed over with it":                  {"replay", "--from-prometheus", "http://localhost:9090", "--range=30d"},
		"its help is handed over, whichever way it goes": {"--help", "replay"},
		"so is the word help":                            {"help", "baseline", "build"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, called := range []string{program, link} {
				status, out := start(t, called, args...)
				require.Equal(t, 7, status)
				want := beside + " got"
				for _, arg := range args {
					want += " " + arg
				}
				require.Equal(t, want+"\n", out, "the one beside it comes before the one in PATH")
			}
		})
	}
}

func TestSightglassLinksNeitherDuckDBNorPrometheus(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	for _, heavy := range []string{"duckdb", "prometheus/tsdb\n", "chromedp", "github.com/sightglass-ml/sightglass/exporters/"} {
		require.NotContains(t, string(out), heavy)
	}
}

func TestTheBundleIsWrittenOnceAndNeverOverAnEditedFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bundle")
	status, _, stderr := call("bundle", dir)
	require.Zero(t, status, stderr)
	want, err := rules.FS.ReadFile("thresholds.yaml")
	require.NoError(t, err)
	written, err := os.ReadFile(filepath.Join(dir, "rules", "thresholds.yaml"))
	require.NoError(t, err)
	require.Equal(t, string(want), string(written), "with its comments")
	for _, name := range []string{"rules/alerts/data.yaml", "alertmanager/alertmanager.yaml", "alertmanager/templates/links.tmpl", "dashboards/json/sightglass-data-quality.json"} {
		require.FileExists(t, filepath.Join(dir, filepath.FromSlash(name)))
	}
	require.NoFileExists(t, filepath.Join(dir, "dashboards", ".lint"))

	status, _, stderr = call("bundle", dir)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "file exists")
}

func TestTheBundleIsRenderedForAnOlderAlertmanager(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bundle")
	status, _, stderr := call("bundle", "--alertmanager=0.25", dir)
	require.Zero(t, status, stderr)
	written, err := os.ReadFile(filepath.Join(dir, "alertmanager", "alertmanager.yaml"))
	require.NoError(t, err)
	require.NotContains(t, string(written), "- name: broken-feature")
	require.FileExists(t, filepath.Join(dir, "alertmanager", "templates", "slack.tmpl"))
}

func TestBundleIsWrittenInARestrictedContainer(t *testing.T) {
	testtools.RequireHostile(t)
	self, err := os.Executable()
	require.NoError(t, err)
	body, err := os.ReadFile(self)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	program, state := filepath.Join(dir, "sightglass"), filepath.Join(dir, "state")
	require.NoError(t, os.WriteFile(program, body, 0o755))
	require.NoError(t, os.Mkdir(state, 0o700))
	require.NoError(t, os.Chown(state, 65534, 65534))
	out, err := testtools.Hostile(t.Context(), state, "/usr/bin/env", "BE_SIGHTGLASS=1", program, "bundle", "--rules=mimir", filepath.Join(state, "bundle")).CombinedOutput()
	require.NoError(t, err, string(out))
	require.FileExists(t, filepath.Join(state, "bundle", "mimir", "sightglass-thresholds.yaml"))
	out, err = testtools.Hostile(t.Context(), state, "/usr/bin/env", "BE_SIGHTGLASS=1", program, "bundle", filepath.Join(dir, "elsewhere")).CombinedOutput()
	require.Error(t, err)
	require.Regexp(t, "sightglass bundle: mkdir .*/elsewhere: (read-only file system|permission denied)", string(out))
}
