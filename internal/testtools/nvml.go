package testtools

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// FakeNVML compiles exporters/gpu/testdata/fakenvml.c to the path. It replaces the file atomically, as an installer does.
func FakeNVML(t testing.TB, path string, flags ...string) {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		missing(t, "no C compiler: %v", err)
	}
	include := nvmlInclude(t)
	args := append([]string{
		"-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-Wno-deprecated-declarations",
		"-I" + include, "-o", path + ".new",
	}, flags...)
	out, err := exec.Command(cc, append(args, filepath.Join(Root(t), "exporters", "gpu", "testdata", "fakenvml.c"))...).CombinedOutput()
	if err != nil {
		t.Fatalf("compile the library: %v\n%s", err, out)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// nvmlInclude returns the folder of NVIDIA's header. It is part of a Go module, so it exists only after the module was downloaded.
func nvmlInclude(t testing.TB) string {
	t.Helper()
	download := exec.Command("go", "mod", "download", "-json", "github.com/NVIDIA/go-nvml")
	download.Dir = Root(t)
	out, err := download.Output()
	if err != nil {
		t.Fatalf("download NVML's header: %v\n%s", err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatalf("find NVML's header: %v in %s", err, out)
	}
	return filepath.Join(module.Dir, "pkg", "nvml")
}
