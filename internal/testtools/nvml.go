package testtools

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// FakeNVML compiles exporters/gpu/testdata/fakenvml.c to the path, which it replaces at once, as an installer does.
func FakeNVML(t testing.TB, path string, flags ...string) {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		missing(t, "no C compiler: %v", err)
	}
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/NVIDIA/go-nvml")
	list.Dir = Root(t)
	module, err := list.Output()
	if err != nil {
		t.Fatalf("find NVML's header: %v", err)
	}
	args := append([]string{
		"-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-Wno-deprecated-declarations",
		"-I" + filepath.Join(strings.TrimSpace(string(module)), "pkg", "nvml"), "-o", path + ".new",
	}, flags...)
	out, err := exec.Command(cc, append(args, filepath.Join(Root(t), "exporters", "gpu", "testdata", "fakenvml.c"))...).CombinedOutput()
	if err != nil {
		t.Fatalf("compile the library: %v\n%s", err, out)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
