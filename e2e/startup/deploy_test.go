package startup

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// TestEveryProgramRunsOnAHostThatAllowsLittle starts the programs as these examples do.
func TestTheExampleForKubernetesAllowsNoMoreThanTheTestDoes(t *testing.T) {
	text, err := os.ReadFile("../../examples/kubernetes/dataquality-exporter.yaml")
	require.NoError(t, err)
	var object struct {
		Spec struct {
			Template struct {
				Spec struct {
					SecurityContext struct {
						RunAsUser    int  `yaml:"runAsUser"`
						RunAsNonRoot bool `yaml:"runAsNonRoot"`
					} `yaml:"securityContext"`
					Containers []struct {
						SecurityContext struct {
							ReadOnlyRootFilesystem   bool                `yaml:"readOnlyRootFilesystem"`
							AllowPrivilegeEscalation *bool               `yaml:"allowPrivilegeEscalation"`
							Capabilities             map[string][]string `yaml:"capabilities"`
						} `yaml:"securityContext"`
					} `yaml:"containers"`
				} `yaml:"spec"`
			} `yaml:"template"`
		} `yaml:"spec"`
	}
	require.NoError(t, yaml.Unmarshal(text, &object))
	pod := object.Spec.Template.Spec
	require.Equal(t, nobody, pod.SecurityContext.RunAsUser)
	require.True(t, pod.SecurityContext.RunAsNonRoot)
	require.Len(t, pod.Containers, 1)
	container := pod.Containers[0].SecurityContext
	require.True(t, container.ReadOnlyRootFilesystem)
	require.False(t, *container.AllowPrivilegeEscalation)
	require.Equal(t, map[string][]string{"drop": {"ALL"}}, container.Capabilities)
}

// The state folder, the user and the read-only paths of a program are the same in every deployment.
func TestWhereProgramsRunTheyHaveTheSameStateFolder(t *testing.T) {
	for file, says := range map[string][]string{
		"examples/systemd/sightglass@.service":          {"DynamicUser=yes\n", "StateDirectory=sightglass/%i\n", "ProtectSystem=strict\n", "NoNewPrivileges=yes\n", "CapabilityBoundingSet=\n"},
		"examples/kubernetes/dataquality-exporter.yaml": {"{name: STATE_DIRECTORY, value: /var/lib/sightglass}", "mountPath: /var/lib/sightglass}"},
		"charts/sightglass/templates/programs.yaml":     {"{name: STATE_DIRECTORY, value: /var/lib/sightglass}", "mountPath: /var/lib/sightglass}"},
		"packaging/Containerfile":                       {"ENV STATE_DIRECTORY=/var/lib/sightglass\n", "USER 65534:65534\n"},
		"packaging/compose.yaml":                        {"- state:/var/lib/sightglass\n", "read_only: true\n"},
	} {
		text, err := os.ReadFile(filepath.Join("../..", file))
		require.NoError(t, err)
		for _, one := range says {
			require.Contains(t, string(text), one, file)
		}
	}
}

func TestSystemdFindsNoFaultInTheUnit(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here")
	}
	unit, err := os.ReadFile("../../examples/systemd/sightglass@.service")
	require.NoError(t, err)
	require.Contains(t, string(unit), "\nProtectSystem=strict\n")
	dir := t.TempDir()
	path := filepath.Join(dir, "sightglass@.service")
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(unit), "/usr/local/bin/%i", "/bin/true")), 0o600)) // Verifying wants the file to be there.
	out, err := exec.CommandContext(t.Context(), tool, "verify", "--man=no", filepath.Join(dir, "sightglass@dataquality-exporter.service")).CombinedOutput()
	if strings.Contains(string(out), "Failed to initialize manager") {
		t.Skipf("systemd cannot work here: %s", out)
	}
	require.NoError(t, err, string(out))
	require.Empty(t, strings.TrimSpace(string(out)))
}

// requireLibrariesOfTheImage checks that the image for C++ programs, which has no package manager, has every library that a program loads.
func requireLibrariesOfTheImage(t *testing.T, bin string) {
	t.Helper()
	inImage := regexp.MustCompile(`^(lib(c|m|dl|rt|pthread|resolv)\.so\.\d|libstdc\+\+\.so\.6|libgcc_s\.so\.1|ld-linux-.*\.so\.\d)$`)
	programs, err := os.ReadDir(bin)
	require.NoError(t, err)
	require.NotEmpty(t, programs)
	for _, program := range programs {
		file, err := elf.Open(filepath.Join(bin, program.Name()))
		require.NoError(t, err)
		libraries, err := file.ImportedLibraries()
		require.NoError(t, err)
		require.NoError(t, file.Close())
		for _, library := range libraries {
			require.Regexp(t, inImage, library, program.Name())
		}
	}
}

func TestTheContainerFileBuildsWithTheGoAndTheLibrariesOfTheRest(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join("../..", name))
		require.NoError(t, err)
		return string(text)
	}
	container := read("packaging/Containerfile")
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read("go.mod"))
	require.Len(t, version, 2)
	require.Contains(t, container, "golang:"+version[1]+"-bookworm AS build", "the version of Go is that of go.mod")
	require.Contains(t, container, "cc-debian12:nonroot", "bookworm is Debian 12: the programs run on the glibc that they were linked with")

	steps := regexp.MustCompile(`(?m)^RUN .*$`).FindAllString(container, -1)
	require.Len(t, steps, 1)
	step := regexp.MustCompile(`make "(bin/\$PROGRAM)"`).FindStringSubmatch(steps[0])
	require.Len(t, step, 2)
	require.Contains(t, read("Makefile"), "$(COMMANDS:%=bin/%): bin/%:", "the build step is a target")
}
