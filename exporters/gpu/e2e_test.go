package gpu_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/gpu"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// asExporter makes the test binary be the exporter: NVML keeps its state in the
// process, and replacing the process is one of the things to test.
const asExporter = "SIGHTGLASS_TEST_GPU_EXPORTER"

func TestMain(m *testing.M) {
	if os.Getenv(asExporter) != "" {
		os.Exit(exporter.Run(gpu.Spec(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// fake is the library that testdata/fakenvml.c describes, and its facts.
type fake struct {
	t     testing.TB
	facts string
	lib   string
}

func newFake(t testing.TB, facts ...string) *fake {
	dir := t.TempDir()
	f := &fake{t: t, facts: filepath.Join(dir, "facts"), lib: filepath.Join(dir, "libnvidia-ml.so.1")}
	f.set(facts...)
	return f
}

// set replaces the facts at once.
func (f *fake) set(facts ...string) {
	f.t.Helper()
	require.NoError(f.t, os.WriteFile(f.facts+".new", []byte(strings.Join(facts, "\n")+"\n"), 0o600))
	require.NoError(f.t, os.Rename(f.facts+".new", f.facts))
}

// compile compiles the library, and puts it in place as an installer does.
func (f *fake) compile(flags ...string) *fake {
	f.t.Helper()
	testtools.FakeNVML(f.t, f.lib, flags...)
	return f
}

// process is a running exporter.
type process struct {
	t    testing.TB
	url  string
	dir  string
	cmd  *exec.Cmd
	logs testtools.Log
	done chan struct{}
}

const fast = "interval: 1s\ntimeout: 500ms\n"

func (f *fake) start(config string, flags ...string) *process {
	f.t.Helper()
	address := testtools.FreeAddress(f.t)
	p := &process{t: f.t, url: "http://" + address, dir: f.t.TempDir(), done: make(chan struct{})}
	file := filepath.Join(p.dir, "gpu.yaml")
	require.NoError(f.t, os.WriteFile(file, []byte(config), 0o600))
	p.cmd = exec.Command(os.Args[0], append([]string{
		"--config.file=" + file, "--web.enable-lifecycle", "--web.listen-address=" + address, "--nvml.library=" + f.lib,
		"--path.procfs=" + filepath.Join(p.dir, "proc"), "--path.sysfs=" + filepath.Join(p.dir, "sys"),
	}, flags...)...)
	p.cmd.Env = append(os.Environ(), asExporter+"=1", "FAKE_NVML="+f.facts)
	p.cmd.Stdout, p.cmd.Stderr = &p.logs, &p.logs
	require.NoError(f.t, p.cmd.Start())
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	f.t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(20 * time.Second):
			_ = p.cmd.Process.Kill()
			<-p.done
		}
		if f.t.Failed() {
			f.t.Logf("the exporter's log:\n%s", &p.logs)
		}
	})
	return p
}

// raw returns the text of a scrape.
func (p *process) raw() ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// scrape returns the series as text, without comments and with short UUIDs.
func (p *process) scrape() (string, error) {
	body, err := p.raw()
	var lines []string
	for line := range strings.Lines(string(body)) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.ReplaceAll(line, "00000000-0000-0000-0000-00000000000", ""))
		}
	}
	return strings.Join(lines, ""), err
}

// has waits until a scrape has all the series, each written as name{labels} value
// with the labels that matter in order, or "no name{labels}" for one that must be
// absent. It returns that scrape.
func (p *process) has(series ...string) string {
	p.t.Helper()
	var last string
	var missing []string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		text, err := p.scrape()
		if err != nil {
			continue
		}
		last, missing = text, nil
		for _, s := range series {
			name, unwanted := strings.CutPrefix(s, "no ")
			if contains(text, name) == unwanted {
				missing = append(missing, s)
			}
		}
		if len(missing) == 0 {
			return text
		}
	}
	require.Failf(p.t, "The series never came", "%s\n\nin\n%s", strings.Join(missing, "\n"), last)
	return ""
}

// contains says whether a line has the name, all the labels and the value.
func contains(text, series string) bool {
	name, rest, labelled := strings.Cut(series, "{")
	labels, value, _ := strings.Cut(rest, "}")
	if !labelled {
		name, value, _ = strings.Cut(series, " ")
	}
	value = strings.TrimSpace(value)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		head, _, _ := strings.Cut(line, "{")
		head, _, _ = strings.Cut(head, " ")
		if head != name || (value != "" && !strings.HasSuffix(line, " "+value)) {
			continue
		}
		ok := true
		for _, l := range strings.Split(labels, ",") {
			ok = ok && (l == "" || strings.Contains(line, l))
		}
		if ok {
			return true
		}
	}
	return false
}

func (p *process) post(path string) (int, string) {
	p.t.Helper()
	resp, err := http.Post(p.url+path, "", nil)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(p.t, err)
	return resp.StatusCode, string(body)
}

func TestLibraryMissingIsServedAndItsArrivalNoticed(t *testing.T) {
	f := newFake(t)
	p := f.start(fast)
	text := p.has(`sightglass_collector_success{collector="nvml"} 0`, "no gpu_up", "no gpu_expected")
	require.NotContains(t, text, "\ngpu_up")
	f.compile()
	p.has(`sightglass_collector_success{collector="nvml"} 1`, `gpu_up{gpu="0",uuid="GPU-0"} 1`, "gpu_expected 1")
	require.Contains(t, p.logs.String(), "libnvidia-ml.so.1: cannot open shared object file", "the log says why, once")
}

func TestDriverNotLoadedIsServedAndItsArrivalNoticed(t *testing.T) {
	f := newFake(t, "unloaded").compile()
	p := f.start(fast)
	p.has(`sightglass_collector_success{collector="nvml"} 0`, "no gpu_up")
	f.set("count 2")
	p.has(`gpu_up{gpu="1"} 1`, "gpu_expected 2")
}

func TestDriverUpgradedReplacesTheProcess(t *testing.T) {
	f := newFake(t, "count 1").compile()
	p := f.start(fast)
	p.has(`gpu_info{driver_version="580.65.06"} 1`,
		`gpu_throttle_seconds_total{reason="sw_thermal"} 1`, `gpu_throttle_seconds_total{reason="hw_power_brake"} 3`)
	pid := p.cmd.Process.Pid

	f.compile(`-DDRIVER="590.48.01"`)
	f.set("driver 590.48.01")
	text := p.has(`gpu_info{driver_version="590.48.01"} 1`, `gpu_up{gpu="0"} 1`,
		`gpu_throttle_seconds_total{reason="sw_thermal"} 1`, `gpu_throttle_seconds_total{reason="hw_power_brake"} 3`)
	require.NotContains(t, text, "580.65.06")
	require.NoError(t, syscall.Kill(pid, 0), "it is the same process for its supervisor")
}

func TestPersistentDriverMismatchReplacesTheProcessOnce(t *testing.T) {
	f := newFake(t, "driver 590.48.01").compile()
	p := f.start(fast)
	p.has(`sightglass_collector_success{collector="nvml"} 0`)
	require.Eventually(t, func() bool {
		return strings.Contains(p.logs.String(), "the process was replaced for this a moment ago")
	}, 20*time.Second, 50*time.Millisecond)
	require.Equal(t, 2, strings.Count(p.logs.String(), "exporter=gpu_exporter"))
}

func TestLostGPUIsDownWhileTheRestGoOn(t *testing.T) {
	f := newFake(t, "count 3").compile()
	p := f.start(fast)
	p.has(`gpu_up{gpu="2"} 1`, `gpu_xid_errors_total{gpu="2",xid="79"} 0`)
	f.set("count 3", "lost 2", "xid 2 79")
	text := p.has(`gpu_up{gpu="2",uuid="GPU-2"} 0`, `gpu_up{gpu="0"} 1`, `gpu_up{gpu="1"} 1`, "gpu_expected 3",
		`gpu_info{gpu="2",uuid="GPU-2",name="NVIDIA H100 80GB HBM3"} 1`,
		// The error that explains the loss outlives the GPU.
		`gpu_xid_errors_total{gpu="2",xid="79"} 1`, `gpu_xid_last_timestamp_seconds{gpu="2",xid="79"}`,
		`no gpu_power_watts{gpu="2"}`, `gpu_power_watts{gpu="1"} 412.345`, `sightglass_collector_success{collector="nvml"} 1`)
	require.False(t, contains(text, `gpu_xid_last_timestamp_seconds{gpu="1"}`))
	f.set("count 3", "xid 2 79")
	p.has(`gpu_up{gpu="2"} 1`, `gpu_power_watts{gpu="2"} 412.345`, `gpu_xid_errors_total{gpu="2",xid="79"} 1`)
}

func TestOneOfEightGPUsHangsAndSevenAreServed(t *testing.T) {
	f := newFake(t, "count 8", "hang 3").compile()
	p := f.start(fast)
	p.has(`gpu_up{gpu="3"} 0`, `gpu_up{gpu="7"} 1`)
	before := goroutinesOf(t, p)
	for range 3 {
		start := time.Now()
		text, err := p.scrape()
		require.NoError(t, err)
		// The hang lasts; an answer that waited for it would not be one.
		require.Less(t, time.Since(start), 5*time.Second)
		for g := range 8 {
			require.Equal(t, g != 3, contains(text, fmt.Sprintf(`gpu_power_watts{gpu="%d"}`, g)), "GPU %d", g)
		}
		require.Equal(t, 7, strings.Count(text, "\ngpu_utilization_ratio{"))
		time.Sleep(1100 * time.Millisecond)
	}
	// Those that lay out metrics come and go.
	require.Eventually(t, func() bool { return goroutinesOf(t, p) <= before+2 }, time.Minute, 20*time.Millisecond,
		"a hang takes one goroutine, not one a look")

	f.set("count 8")
	p.has(`gpu_up{gpu="3",uuid="GPU-3"} 1`, `gpu_power_watts{gpu="3"} 412.345`)
}

// goroutinesOf returns how many goroutines the exporter has.
func goroutinesOf(t testing.TB, p *process) int {
	text, err := p.scrape()
	require.NoError(t, err)
	for line := range strings.Lines(text) {
		var n int
		if _, err := fmt.Sscanf(line, "go_goroutines %d", &n); err == nil {
			return n
		}
	}
	t.Fatal("no go_goroutines")
	return 0
}

func TestGPUThatHangsLaterLosesItsSeriesAtItsDeadline(t *testing.T) {
	f := newFake(t, "count 2").compile()
	p := f.start(fast)
	p.has(`gpu_up{gpu="1"} 1`, `gpu_power_watts{gpu="1"}`)
	f.set("count 2", "hang 1")
	p.has(`gpu_up{gpu="1",uuid="GPU-1"} 0`, `no gpu_power_watts{gpu="1"}`, `gpu_up{gpu="0"} 1`)
}

func TestUnsupportedMetricsAreAbsent(t *testing.T) {
	f := newFake(t, "count 2", "unsupported 1").compile()
	p := f.start(fast)
	text := p.has(`gpu_up{gpu="1"} 1`, `gpu_up{gpu="0"} 1`, `gpu_sm_active_ratio{gpu="0"} 0.65`)
	var names []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "gpu_") && strings.Contains(line, `gpu="1"`) {
			name, _, _ := strings.Cut(line, "{")
			names = append(names, name)
		}
	}
	require.Equal(t, []string{
		"gpu_info", "gpu_memory_free_bytes", "gpu_memory_total_bytes", "gpu_memory_used_bytes", "gpu_suspended", "gpu_up",
	}, slices.Compact(names), "what the GPU can do, and not one zero for what it cannot")
	// GPM has no value for one ratio.
	require.False(t, contains(text, `gpu_dram_active_ratio{gpu="0"}`))
}

func TestMIGReportsInstancesAndTheParent(t *testing.T) {
	f := newFake(t, "count 2", "mig 1", "process 1 4711 512").compile()
	p := f.start(fast)
	text := p.has(
		`gpu_up{gpu="1",gpu_instance=""} 1`, `gpu_power_watts{gpu="1",gpu_instance=""} 412.345`,
		`gpu_memory_total_bytes{gpu="1",gpu_instance=""} 8.589934592e+10`,
		`gpu_info{gpu="1",gpu_instance="9",name="NVIDIA H100 80GB HBM3 MIG 1g.10gb",uuid="GPU-1"} 1`,
		`gpu_memory_used_bytes{gpu="1",gpu_instance="1"} 4.294967296e+09`,
		`gpu_sm_active_ratio{gpu="1",gpu_instance=""} 0.65`,
		`gpu_sm_active_ratio{gpu="1",gpu_instance="1"} 0.66`, `gpu_sm_active_ratio{gpu="1",gpu_instance="9"} 0.74`,
		`gpu_process_memory_bytes{gpu="1",gpu_instance="1",unit="(unknown)"} 5.36870912e+08`,
		`no gpu_utilization_ratio{gpu="1"}`, `gpu_utilization_ratio{gpu="0"} 0.7`,
		`no gpu_process_utilization_ratio{gpu="1"}`)
	require.False(t, contains(text, `gpu_sm_active_ratio{gpu="0",gpu_instance="1"}`))
	// Reconfigured while running.
	f.set("count 2")
	p.has(`gpu_utilization_ratio{gpu="1"} 0.7`, `no gpu_memory_used_bytes{gpu="1",gpu_instance="1"}`)
}

func TestMissingSymbolsAreAbsentSeries(t *testing.T) {
	f := newFake(t).compile("-DMINIMAL")
	p := f.start(fast)
	text := p.has(`gpu_up{gpu="0"} 1`, `gpu_memory_used_bytes{gpu="0"} 2.2548578304e+10`)
	require.False(t, contains(text, "gpu_xid_errors_total"))
	require.False(t, contains(text, "gpu_memory_reserved_bytes"))
	select {
	case <-p.done:
		t.Fatal("the dynamic linker ended the process")
	default:
	}
}

func TestProfilingThatReadsZeroOnABusyGPUIsAbsent(t *testing.T) {
	f := newFake(t, "count 2", "profiled 1").compile()
	p := f.start(fast)
	p.has(`gpu_sm_active_ratio{gpu="0"} 0.65`, `gpu_up{gpu="1"} 1`, `no gpu_sm_active_ratio{gpu="1"}`, `gpu_utilization_ratio{gpu="1"} 0.7`)
}

func TestProfilingCanBeSwitchedOff(t *testing.T) {
	f := newFake(t).compile()
	p := f.start(fast + "gpm: false\n")
	p.has(`gpu_utilization_ratio{gpu="0"} 0.7`, `no gpu_sm_active_ratio`)
}

func TestSuspendedGPUIsNotWoken(t *testing.T) {
	f := newFake(t, "count 2").compile()
	p := f.start(fast)
	p.has(`gpu_up{gpu="1"} 1`, `gpu_suspended{gpu="1"} 0`)
	power := filepath.Join(p.dir, "sys/bus/pci/devices/0000:1c:00.0/power")
	require.NoError(t, os.MkdirAll(power, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(power, "runtime_status"), []byte("suspended\n"), 0o600))
	// A call about it would find it lost.
	f.set("count 2", "lost 1")
	p.has(`gpu_suspended{gpu="1"} 1`, `no gpu_up{gpu="1"}`, `no gpu_power_watts{gpu="1"}`, `gpu_up{gpu="0"} 1`)
	f.set("count 2")
	require.NoError(t, os.WriteFile(filepath.Join(power, "runtime_status"), []byte("active\n"), 0o600))
	p.has(`gpu_up{gpu="1"} 1`, `gpu_suspended{gpu="1"} 0`)
}

func TestReleaseLetsTheDriverBeUnloaded(t *testing.T) {
	f := newFake(t).compile()
	p := f.start(fast)
	p.has(`gpu_up{gpu="0"} 1`)
	status, body := p.post("/-/release?for=nonsense")
	require.Equal(t, http.StatusBadRequest, status, body)
	status, body = p.post("/-/release?for=1h")
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, "Released until ")
	p.has("no gpu_up", `sightglass_collector_success{collector="nvml"} 0`)
	status, _ = p.post("/-/acquire")
	require.Equal(t, http.StatusOK, status)
	p.has(`gpu_up{gpu="0"} 1`, `gpu_power_watts{gpu="0"} 412.345`, `sightglass_collector_success{collector="nvml"} 1`)
}

func TestReleaseOfAHungGPUIsRefused(t *testing.T) {
	f := newFake(t, "hang 0").compile()
	p := f.start(fast)
	p.has(`gpu_up{gpu="0"} 0`)
	status, body := p.post("/-/release")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "GPU 0 hangs in a call to the driver")
}

func TestExpectedGPUsComeFromTheConfiguration(t *testing.T) {
	f := newFake(t, "count 2").compile()
	p := f.start(fast + "expected: 8\n")
	p.has("gpu_expected 8", `gpu_up{gpu="1"} 1`)
}

func TestHoldersAreNamed(t *testing.T) {
	f := newFake(t, "count 2", "process 0 100 1000", "process 0 101 500", "process 0 102 -1", "process 0 103 10", "process 0 104 20").compile()
	jobs := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(jobs, "1"), []byte("4712\n"), 0o600))
	logs := t.TempDir()
	id := strings.Repeat("ab", 32)
	require.NoError(t, os.WriteFile(filepath.Join(logs, "trainer-0_research_main-"+id+".log"), nil, 0o600))
	p := f.start(fast + "holders:\n  job_directory: " + jobs + "\n  container_logs: " + logs + "\n")
	for pid, group := range map[string]string{
		"100": "0::/system.slice/slurmstepd.scope/job_4711/step_0/task_0\n",
		"101": "0::/system.slice/slurmstepd.scope/job_4711/step_0/task_1\n",
		"102": "0::/system.slice/ollama.service\n",
		"103": "0::/kubepods.slice/kubepods-pod0f3c9a52_7f61_4c0e_9a53_2a4d8f1be0d7.slice/cri-containerd-" + id + ".scope\n",
		"104": "0::/\n",
	} {
		dir := filepath.Join(p.dir, "proc", pid)
		require.NoError(t, os.MkdirAll(dir, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "cgroup"), []byte(group), 0o600))
	}
	text := p.has(
		`gpu_process_memory_bytes{gpu="0",slurm_job="4711"} 1.572864e+09`,
		`gpu_process_utilization_ratio{gpu="0",slurm_job="4711"} 0.6`,
		`gpu_allocation_info{gpu="0",unit="ollama.service"} 1`,
		`no gpu_process_memory_bytes{unit="ollama.service"}`, // the driver does not know
		`gpu_process_memory_bytes{namespace="research",pod="trainer-0",container="main"} 1.048576e+07`,
		`gpu_allocation_info{unit="(none)"} 1`,
		`gpu_allocation_info{gpu="1",slurm_job="4712"} 1`, // held, not used
		`no gpu_process_memory_bytes{gpu="1"}`)
	for line := range strings.Lines(text) {
		if strings.Contains(line, `pod="`) {
			require.Regexp(t, "^gpu_(allocation_info|process_)", line, "hardware series carry no workload")
		}
	}
}

func TestDCGMNames(t *testing.T) {
	f := newFake(t, "count 2", "mig 1").compile()
	p := f.start(fast, "--dcgm-names")
	p.has(
		`DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-0",modelName="NVIDIA H100 80GB HBM3",device="nvidia0",GPU_I_ID=""} 70`,
		`DCGM_FI_DEV_FB_USED{gpu="0"} 20480`, `DCGM_FI_DEV_FB_FREE{gpu="0"} 60416`, `DCGM_FI_DEV_FB_RESERVED{gpu="0"} 1024`,
		`DCGM_FI_DEV_POWER_USAGE{gpu="0"} 412.345`, `DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0"} 1.23456789e+08`,
		`DCGM_FI_DEV_SM_CLOCK{gpu="0"} 1755`, `DCGM_FI_DEV_GPU_TEMP{gpu="0"} 41`, `DCGM_FI_DEV_XID_ERRORS{gpu="0"} 0`,
		`DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="0"} 0.715`, `DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{gpu="0"} 0.42`,
		`DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="1",GPU_I_ID="9",GPU_I_PROFILE="1g.10gb"} 0.805`,
		`no DCGM_FI_DEV_GPU_UTIL{gpu="1"}`, `gpu_up{gpu="0"} 1`)
}
