package main

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2" // The shell of DuckDB is not installed; its SQL is run.
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
	"github.com/sightglass-ml/sightglass/internal/testtools/pages"
)

// programs maps the programs in commands of the pages to a check of each command: that it runs, or that the named objects exist.
var programs = map[string]func(t *testing.T, args []string){
	"make":             checkMake,
	"go":               checkGo,
	"git":              checkGit,
	"promtool":         checkPromtool,
	"amtool":           checkAmtool,
	"helm":             checkHelm,
	"jb":               checkHelpOf("jb"),
	"jsonnet":          checkJsonnet,
	"podman":           checkPodman,
	"curl":             checkCurl,
	"duckdb":           checkDuckDB,
	"dashboard-linter": checkFiles,
	"cd":               func(*testing.T, []string) {}, // Into what git cloned.
	"cp":               func(*testing.T, []string) {}, // TestTheFirstDashboardTakesFiveCommands runs it.
	"export":           checkExport,
	"mkdir":            checkRuns("mkdir"),
	"grep":             checkGrep,
	"tail":             checkRuns("tail"),
	"openssl":          checkRuns("openssl"),
	"pip":              checkPip,
	// It needs a driver of NVIDIA, and its flags are those of NVIDIA's manual.
	"nvidia-smi": func(t *testing.T, args []string) { require.Equal(t, []string{"-r", "-i", "<gpu>"}, args) },
	"chrt":       func(t *testing.T, args []string) { require.Equal(t, []string{"-f", "10", "bin/sightglass"}, args[:3]) },
	"tools/estimated/compare.py": func(t *testing.T, _ []string) {
		require.FileExists(t, filepath.Join(root, "tools/estimated/compare.py"))
	},
	"dataquality-exporter":  checkExporter("exporters/dataquality"),
	"modelquality-exporter": checkExporter("exporters/modelquality"),
	"gpu-exporter":          checkExporter("exporters/gpu"),
	"cost-exporter":         checkExporter("exporters/cost"),
	"responder":             checkExporter("responder"),
	// The tests of cmd/sightglass and cmd/sightglass-data parse them as the programs do.
	"sightglass": func(*testing.T, []string) {},
}

func TestEveryCommandOfThePagesWorks(t *testing.T) {
	t.Parallel()
	found, err := pages.Find(root, slices.Collect(maps.Keys(programs)))
	require.NoError(t, err)
	require.Greater(t, len(found), 100)
	slices.SortFunc(found, func(a, b pages.Command) int { return slices.Compare(a.Words, b.Words) })
	found = slices.CompactFunc(found, func(a, b pages.Command) bool { return slices.Equal(a.Words, b.Words) })
	used := map[string]bool{}
	for _, command := range found {
		used[command.Program()] = true
		t.Run(strings.Join(command.Words, " "), func(t *testing.T) {
			t.Parallel()
			check := programs[command.Program()]
			require.NotNil(t, check, "nothing checks the program of %s", command)
			check(t, command.Words[1:])
		})
	}
	for program := range programs {
		require.True(t, used[program], "no page has a command of %s", program)
	}
}

func run(t *testing.T, program string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	require.NoError(t, err, "%s %q: %s", program, args, out)
}

var target = regexp.MustCompile(`(?m)^([a-z][\w-]*):`)

func checkMake(t *testing.T, args []string) {
	targets := map[string]bool{}
	for _, m := range target.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	for _, room := range strings.Fields(regexp.MustCompile(`(?m)^ROOMS := (.*)$`).FindStringSubmatch(read(t, "Makefile"))[1]) {
		targets["test-"+room] = true
	}
	for _, arg := range args {
		switch program, built := strings.CutPrefix(arg, "bin/"); {
		case strings.Contains(arg, "="):
			name, _, _ := strings.Cut(arg, "=")
			require.Contains(t, read(t, "Makefile"), "$("+name+")", "the Makefile reads no variable %s", name)
		case built:
			require.DirExists(t, filepath.Join(root, "cmd", program))
		default:
			require.True(t, targets[arg], "the Makefile has no target %s", arg)
		}
	}
}

func checkGo(t *testing.T, args []string) {
	switch args[0] {
	case "get":
		require.Contains(t, read(t, "instrument/go.mod"), "module "+args[1]+"\n")
	case "tool":
		run(t, "go", "tool", args[1], "-h")
	case "generate", "doc", "test":
		folders := strings.Split(strings.TrimSuffix(args[1], "/..."), "{")
		for _, last := range strings.Split(strings.TrimSuffix(folders[len(folders)-1], "}"), ",") {
			folder := filepath.Join(root, last)
			if len(folders) > 1 {
				folder = filepath.Join(root, folders[0]+last)
			}
			require.DirExists(t, folder)
			for i, flag := range args {
				if (flag == "-run" || flag == "-bench") && args[i+1] != "-" && len(folders) == 1 {
					require.NotEmpty(t, testsOf(t, folder, args[i+1]), "%s has no test %s", folder, args[i+1])
				}
			}
		}
	default:
		t.Errorf("nothing checks go %s", args[0])
	}
}

func testsOf(t *testing.T, folder, pattern string) []string {
	t.Helper()
	var out []string
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	require.NoError(t, err)
	for _, file := range files {
		body, err := os.ReadFile(file)
		require.NoError(t, err)
		out = append(out, regexp.MustCompile(`func \w*(?:`+pattern+`)\w*\(`).FindAllString(string(body), -1)...)
	}
	return out
}

func checkGit(t *testing.T, args []string) {
	switch args[0] {
	case "clone":
		require.Contains(t, read(t, "go.mod"), "module "+strings.TrimPrefix(args[1], "https://")+"\n")
	case "grep":
		run(t, "git", "-C", root, "grep", "-q", args[1])
	default:
		t.Errorf("nothing checks git %s", args[0])
	}
}

func checkPromtool(t *testing.T, args []string) {
	promtool := testtools.Path(t, "promtool")
	if args[0] == "test" {
		run(t, promtool, args[0], args[1], filepath.Join(root, args[2]))
		return
	}
	run(t, promtool, args[0], args[1], "--help")
}

var alertName = regexp.MustCompile(`^alertname=(\w+)$`)

func checkAmtool(t *testing.T, args []string) {
	amtool := testtools.Path(t, "amtool")
	for _, arg := range args {
		if m := alertName.FindStringSubmatch(arg); m != nil {
			require.FileExists(t, filepath.Join(root, "docs", "runbooks", m[1]+".md"))
		}
	}
	file := slices.IndexFunc(args, func(arg string) bool { return strings.Contains(arg, "examples/") })
	if file < 0 {
		// A server is asked, or a file of the reader's own is read. Each alert has such a line: one of them is enough.
		if args[0] == "silence" && args[2] == "--duration=2h" && args[3] != "alertname=SightglassWatchdog" {
			return
		}
		words := slices.Clone(args[:2])
		if words[0] == "check-config" {
			words = words[:1]
		}
		run(t, amtool, append(words, "--help")...)
		return
	}
	args = slices.Clone(args)
	args[file] = strings.Replace(args[file], "examples/", root+"/examples/", 1)
	run(t, amtool, args...)
}

func checkHelm(t *testing.T, args []string) {
	require.Equal(t, "install", args[0])
	// The objects that the command would send to a cluster.
	run(t, testtools.Path(t, "helm"), append([]string{"template", "--kube-version=1.31.0", args[1], filepath.Join(root, args[2])}, args[3:]...)...)
}

func checkHelpOf(tool string) func(*testing.T, []string) {
	return func(t *testing.T, args []string) { run(t, testtools.Path(t, tool), args[0], "--help") }
}

func checkJsonnet(t *testing.T, args []string) {
	help, err := exec.CommandContext(t.Context(), testtools.Path(t, "jsonnet"), "--help").CombinedOutput()
	require.NoError(t, err)
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") {
			require.Contains(t, string(help), arg+" ")
		}
	}
}

func checkPodman(t *testing.T, args []string) {
	require.Equal(t, "build", args[0])
	require.FileExists(t, filepath.Join(root, args[slices.Index(args, "-f")+1]))
	argument, program, _ := strings.Cut(args[slices.Index(args, "--build-arg")+1], "=")
	require.Contains(t, read(t, "packaging/Containerfile"), "ARG "+argument+"\n")
	require.DirExists(t, filepath.Join(root, "cmd", program))
}

// checkCurl requires that a program of the repository listens on the address and serves the path.
func checkCurl(t *testing.T, args []string) {
	address := args[len(args)-1]
	address = strings.NewReplacer("<exporter>", "localhost:10910", "<instance>", "localhost:10910").Replace(address)
	u, err := url.Parse("http://" + strings.TrimPrefix(address, "http://"))
	require.NoError(t, err)
	require.Contains(t, read(t, "docs/operating.md"), u.Port())
	if u.Path != "/metrics" {
		run(t, "grep", "-rqF", `"POST `+u.Path+`"`, root+"/exporters/gpu")
	}
}

func checkDuckDB(t *testing.T, args []string) {
	require.Equal(t, "-c", args[0])
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	defer db.Close()
	bill := filepath.Join(t.TempDir(), "bill.csv")
	require.NoError(t, os.WriteFile(bill, []byte("Tags,Cost\n{},1\n"), 0o644))
	rows, err := db.QueryContext(t.Context(), strings.ReplaceAll(args[1], "bill.csv", bill))
	require.NoError(t, err)
	defer rows.Close()
	require.True(t, rows.Next())
	require.NoError(t, rows.Err())
}

func checkFiles(t *testing.T, args []string) {
	for _, arg := range args {
		if strings.Contains(arg, "/") && !strings.Contains(arg, "<") {
			require.FileExists(t, filepath.Join(root, arg))
		}
	}
}

// checkRuns runs what needs nothing.
func checkRuns(program string) func(*testing.T, []string) {
	return func(t *testing.T, args []string) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
}

func checkGrep(t *testing.T, args []string) {
	cmd := exec.CommandContext(t.Context(), "grep", args...)
	cmd.Stdin = strings.NewReader("")
	require.ErrorContains(t, cmd.Run(), "exit status 1", "the pattern is read, and nothing matches")
}

func checkPip(t *testing.T, args []string) {
	require.Equal(t, "install", args[0])
	var known string
	files, err := filepath.Glob(filepath.Join(root, "tools/*/requirements*.txt"))
	require.NoError(t, err)
	for _, file := range files {
		body, err := os.ReadFile(file)
		require.NoError(t, err)
		known += string(body)
	}
	for _, name := range args[1:] {
		require.Contains(t, known, name, "no test installs it")
	}
}

// checkExport requires that a program reads each variable.
func checkExport(t *testing.T, args []string) {
	for _, arg := range args {
		name, _, ok := strings.Cut(arg, "=")
		require.True(t, ok, arg)
		run(t, "grep", "-rqF", "--include=*.go", `"`+name+`"`, root+"/cmd", root+"/internal", root+"/responder", root+"/exporters")
	}
}

var declared = regexp.MustCompile(`\.Flag\("([\w.-]+)"`)

// checkExporter requires that a program has the flags and that the named files of the repository exist.
func checkExporter(folder string) func(*testing.T, []string) {
	return func(t *testing.T, args []string) {
		flags := map[string]bool{"log.level": true, "log.format": true, "web.listen-address": true, "web.config.file": true, "version": true, "help": true}
		for _, where := range []string{"internal/exporter", folder} {
			files, err := filepath.Glob(filepath.Join(root, where, "*.go"))
			require.NoError(t, err)
			for _, file := range files {
				body, err := os.ReadFile(file)
				require.NoError(t, err)
				for _, m := range declared.FindAllStringSubmatch(string(body), -1) {
					flags[m[1]] = true
				}
			}
		}
		for _, arg := range args {
			name, value, _ := strings.Cut(arg, "=")
			if flag, ok := strings.CutPrefix(name, "--"); ok {
				require.True(t, flags[flag], "there is no flag --%s", flag)
			} else {
				value = arg
			}
			if strings.HasPrefix(value, "examples/") {
				require.FileExists(t, filepath.Join(root, value))
			}
		}
	}
}

// TestTheFirstDashboardTakesFiveCommands follows the first page that somebody reads who wants to try the bundle.
func TestTheFirstDashboardTakesFiveCommands(t *testing.T) {
	t.Parallel()
	promtool := testtools.Path(t, "promtool")
	_, block, ok := strings.Cut(read(t, "docs/adopting.md"), "```\n")
	require.True(t, ok)
	block, _, _ = strings.Cut(block, "```")
	commands := strings.Split(strings.TrimSpace(block), "\n")
	require.LessOrEqual(t, len(commands), 5)

	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "etc/prometheus"), 0o755))
	script := strings.NewReplacer(
		"git clone https://github.com/sightglass-ml/sightglass && cd sightglass", "cd "+root,
		"make bin/sightglass", "go build -o "+dir+"/bin/sightglass ./cmd/sightglass && cd "+dir,
		"/tmp/sightglass", dir+"/out", "/etc/prometheus", dir+"/etc/prometheus", "sudo ", "", "promtool", promtool,
	).Replace(strings.Join(commands, "\n"))
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "bash", "-euo", "pipefail", "-c", script)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", script, out)
	require.Contains(t, string(out), "SUCCESS")
	imported, err := filepath.Glob(filepath.Join(dir, "out/dashboards/json/*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, imported)
	require.Contains(t, fmt.Sprint(imported), "sightglass-overview.json")
}
