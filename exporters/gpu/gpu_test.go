package gpu

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/holders"
	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/nvml"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// bench is an exporter over a fake driver whose looks a test makes one by one.
type bench struct {
	*instance
	t     *testing.T
	clock time.Time
}

func newBench(t *testing.T, lib *fakeLibrary, text string) *bench {
	var cfg Config
	require.NoError(t, config.Decode("gpu.yaml", []byte("interval: 10s\n"+text), &cfg))
	b := &bench{t: t, clock: time.Unix(1000, 0)}
	dir := t.TempDir()
	e := newExporter(Options{ProcFS: dir, SysFS: dir}, "node1", lib, func(time.Time) error { return nil }, func() time.Time { return b.clock })
	dropped := limit.NewDropped()
	b.instance = &instance{Exporter: e, cfg: cfg, log: slog.New(slog.DiscardHandler), holders: &holderSource{
		procfs: dir, names: holders.NewContainerNames("", e.now), log: slog.New(slog.DiscardHandler),
		limiter: func() *limit.Limiter { return limit.New("gpu_holders", cfg.Holders.Max, dropped) },
	}}
	t.Cleanup(func() {
		<-e.library
		require.NoError(t, b.shutdown(context.Background()))
	})
	return b
}

// look makes one look and returns the series by name and label values in the
// order of their names, leaving out what every series of a GPU has.
func (b *bench) collectOnce() map[string]float64 {
	b.t.Helper()
	require.NoError(b.t, b.collect(context.Background()))
	return b.series()
}

func (b *bench) series() map[string]float64 {
	b.t.Helper()
	registry := prometheus.NewRegistry()
	require.NoError(b.t, registry.Register(b.instance))
	all := prometheus.Gatherers{registry}
	for _, p := range b.Prepared() {
		all = append(all, p)
	}
	families, err := all.Gather()
	require.NoError(b.t, err)
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			out[seriesName(f.GetName(), m)] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out
}

func seriesName(name string, m *dto.Metric) string {
	for _, l := range m.GetLabel() {
		if l.GetValue() != "" && l.GetName() != "uuid" {
			name += " " + l.GetName() + "=" + l.GetValue()
		}
	}
	return name
}

func (b *bench) wait(d time.Duration) { b.clock = b.clock.Add(d) }

func TestUtilizationIsTheMeanOfSamplesThatAreNew(t *testing.T) {
	d := &fakeDevice{uuid: "GPU-a", now: &nvml.Utilization{GPU: 7}, samples: []nvml.Sample{{Time: 1, Percent: 50}, {Time: 2, Percent: 100}}}
	b := newBench(t, &fakeLibrary{devices: []*fakeDevice{d}}, "")
	require.Equal(t, 0.75, b.collectOnce()["gpu_utilization_ratio gpu=0"])
	d.samples = append(d.samples, nvml.Sample{Time: 3, Percent: 20})
	require.Equal(t, 0.2, b.collectOnce()["gpu_utilization_ratio gpu=0"], "old samples do not count again")
	require.Equal(t, 0.07, b.collectOnce()["gpu_utilization_ratio gpu=0"], "without new samples the current value has to do")
	d.now = nil
	require.NotContains(t, b.collectOnce(), "gpu_utilization_ratio gpu=0")
}

func TestUnsupportedCallsAreMadeOnce(t *testing.T) {
	d := &fakeDevice{uuid: "GPU-a", powerErr: nvml.ErrNotSupported}
	b := newBench(t, &fakeLibrary{devices: []*fakeDevice{d}}, "")
	for range 3 {
		require.NotContains(t, b.collectOnce(), "gpu_power_watts gpu=0")
	}
	require.Equal(t, 1, d.powerAsks)
}

func TestTransientErrorsAreRetried(t *testing.T) {
	for _, err := range []error{nvml.ErrUnknown, nvml.ErrTimeout, errNotNVML} {
		d := &fakeDevice{uuid: "GPU-a", powerErr: err}
		b := newBench(t, &fakeLibrary{devices: []*fakeDevice{d}}, "")
		require.NotContains(t, b.collectOnce(), "gpu_power_watts gpu=0")
		d.powerErr = nil
		got := b.collectOnce()
		require.Equal(t, 1.0, got["gpu_power_watts gpu=0"])
		require.Equal(t, 1.0, got["gpu_up gpu=0"])
	}
}

func TestGPULostDuringACollectionIsDown(t *testing.T) {
	d := &fakeDevice{uuid: "GPU-a", memory: nvml.Memory{Total: 10, Free: 4}, powerErr: nvml.ErrGPULost}
	b := newBench(t, &fakeLibrary{devices: []*fakeDevice{d}}, "")
	got := b.collectOnce()
	require.Equal(t, 0.0, got["gpu_up gpu=0"])
	require.NotContains(t, got, "gpu_memory_total_bytes gpu=0", "partial values are not published")
}

func TestPanicOfOneGPULeavesTheOthersServed(t *testing.T) {
	b := newBench(t, &fakeLibrary{devices: []*fakeDevice{{uuid: "GPU-a", panics: true}, {uuid: "GPU-b"}}}, "")
	got := b.collectOnce()
	require.Equal(t, 0.0, got["gpu_up gpu=0"])
	require.Equal(t, 1.0, got["gpu_up gpu=1"])
}

func TestStaleSeriesExpire(t *testing.T) {
	b := newBench(t, &fakeLibrary{devices: []*fakeDevice{{uuid: "GPU-a"}}}, "")
	require.Contains(t, b.collectOnce(), "gpu_power_watts gpu=0")
	b.wait(24 * time.Second)
	require.Contains(t, b.series(), "gpu_power_watts gpu=0")
	b.wait(2 * time.Second)
	got := b.series()
	require.NotContains(t, got, "gpu_power_watts gpu=0")
	require.Equal(t, 0.0, got["gpu_up gpu=0"])
}

func TestGPUMissingAfterReinitialisationIsLost(t *testing.T) {
	lib := &fakeLibrary{devices: []*fakeDevice{{uuid: "GPU-a"}, {uuid: "GPU-b"}}}
	b := newBench(t, lib, "")
	b.collectOnce()
	<-b.library
	require.NoError(t, b.shutdown(context.Background()))
	b.library <- struct{}{}
	lib.devices = lib.devices[1:] // GPU-b is GPU 0 now.
	got := b.collectOnce()
	require.Equal(t, 2.0, got["gpu_expected"])
	require.Equal(t, 1.0, got["gpu_up gpu=0"]+got["gpu_up gpu=1"])
	require.Len(t, b.lost, 1)
	require.Equal(t, "GPU-a", b.lost["GPU-a"].uuid)
}

func TestWrappedCountersContinue(t *testing.T) {
	d := &fakeDevice{uuid: "GPU-a", fields: map[uint32]nvml.Field{fieldPCIeTransmit: {Value: 1<<32 - 100, Bits: 32}}}
	b := newBench(t, &fakeLibrary{devices: []*fakeDevice{d}}, "")
	require.Equal(t, float64(1<<32-100), b.collectOnce()["gpu_pcie_transmit_bytes_total gpu=0"])
	d.fields[fieldPCIeTransmit] = nvml.Field{Value: 50, Bits: 32}
	require.Equal(t, float64(1<<32+50), b.collectOnce()["gpu_pcie_transmit_bytes_total gpu=0"])
}

func TestFieldNumbersThatMovedAreGatedByTheDriver(t *testing.T) {
	last := func(driver string) namedField { f := throttleFields(driver); return f[len(f)-1] }
	require.Equal(t, namedField{79, "reliability"}, last("570.133.20"))
	require.Equal(t, namedField{253, "hw_power_brake"}, last("580.65.06"))
	require.Equal(t, namedField{271, "hw_power_brake"}, last("590.48.01"))
	require.Equal(t, namedField{79, "reliability"}, last("of a vendor's own"))
}

func TestIdleProcessesAreZeroAndUnknownOnesAbsent(t *testing.T) {
	d := &fakeDevice{uuid: "GPU-a", processes: []nvml.Process{{PID: 5, Memory: 10, MemoryKnown: true}, {PID: 6}}}
	b := newBench(t, &fakeLibrary{devices: []*fakeDevice{d}}, "")
	d.usedErr = nvml.ErrNotFound // NVML's way to say that nobody used the GPU
	got := b.collectOnce()
	require.Equal(t, 0.0, got["gpu_process_utilization_ratio gpu=0 unit=(unknown)"])
	require.Equal(t, 10.0, got["gpu_process_memory_bytes gpu=0 unit=(unknown)"])
	d.usedErr = nil
	d.used = []nvml.ProcessSample{{PID: 5, Time: 1, Percent: 20}, {PID: 5, Time: 2, Percent: 40}, {PID: 6, Time: 2, Percent: 90}}
	require.Equal(t, 1.0, b.collectOnce()["gpu_process_utilization_ratio gpu=0 unit=(unknown)"], "30 % and 90 % are no more than all of it")
	d.usedErr = nvml.ErrNotSupported
	require.NotContains(t, b.collectOnce(), "gpu_process_utilization_ratio gpu=0 unit=(unknown)")
}

func TestHoldersPastTheLimitBecomeOther(t *testing.T) {
	d := &fakeDevice{uuid: "GPU-a"}
	b := newBench(t, &fakeLibrary{devices: []*fakeDevice{d}}, "holders: {max: 2}\n")
	for pid := range 5 {
		dir := filepath.Join(b.ProcFS, fmt.Sprint(pid+1))
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "cgroup"), fmt.Appendf(nil, "0::/system.slice/job%d.service", pid), 0o600))
		d.processes = append(d.processes, nvml.Process{PID: uint32(pid + 1), Memory: 1, MemoryKnown: true})
	}
	for range 3 {
		got := b.collectOnce()
		require.Equal(t, 1.0, got["gpu_process_memory_bytes gpu=0 unit=job0.service"])
		require.Equal(t, 1.0, got["gpu_process_memory_bytes gpu=0 unit=job1.service"])
		require.Equal(t, 3.0, got["gpu_process_memory_bytes gpu=0 unit=(other)"])
	}
}

func TestPodsAreNamedByTheKubelet(t *testing.T) {
	d := &fakeDevice{uuid: "GPU-a", processes: []nvml.Process{{PID: 1, Memory: 7, MemoryKnown: true}}}
	b := newBench(t, &fakeLibrary{devices: []*fakeDevice{d, {uuid: "GPU-b"}}}, "")
	require.NoError(t, os.Mkdir(filepath.Join(b.ProcFS, "1"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(b.ProcFS, "1", "cgroup"),
		[]byte("0::/kubepods/pod0f3c9a52-7f61-4c0e-9a53-2a4d8f1be0d7/x"), 0o600))
	trainer := holders.Holder{Namespace: "research", Pod: "trainer-0", Container: "main"}
	b.holders.kubelet.Store(&[]holders.Allocation{{Device: "GPU-a", Holder: trainer}, {Device: "GPU-b", Holder: trainer}})
	got := b.collectOnce()
	require.Equal(t, 7.0, got["gpu_process_memory_bytes container=main gpu=0 namespace=research pod=trainer-0"])
	require.Equal(t, 1.0, got["gpu_allocation_info container=main gpu=1 namespace=research pod=trainer-0"], "held and not used")

	b.holders.kubelet.Store(&[]holders.Allocation{{Device: "GPU-a::0", Holder: trainer}, {Device: "GPU-a::1", Holder: holders.Holder{Pod: "other"}}})
	require.Equal(t, 7.0, b.collectOnce()["gpu_process_memory_bytes gpu=0 pod=0f3c9a52-7f61-4c0e-9a53-2a4d8f1be0d7"],
		"of two pods that share a GPU neither is guessed")
}

func TestXIDsAreCountedAndBounded(t *testing.T) {
	d := &fakeDevice{uuid: "GPU-a"}
	lib := &fakeLibrary{devices: []*fakeDevice{d}, xids: make(chan nvml.XID, 2)}
	b := newBench(t, lib, "")
	require.Equal(t, 0.0, b.collectOnce()["gpu_xid_errors_total gpu=0 xid=79"])
	lib.xids <- nvml.XID{Device: d, Code: 79}
	lib.xids <- nvml.XID{Device: d, Code: 79}
	require.Eventually(t, func() bool { return b.series()["gpu_xid_errors_total gpu=0 xid=79"] == 2 }, 30*time.Second, 5*time.Millisecond)
	require.Equal(t, 1000.0, b.series()["gpu_xid_last_timestamp_seconds gpu=0 xid=79"])

	x := newXIDCounts()
	for code := range uint64(10_000) {
		x.add(code, time.Unix(1, 0))
	}
	require.Len(t, x.count, maxXIDs)
}

func TestAllGPUsSuspendedAreNotWokenByInitialisation(t *testing.T) {
	lib := &fakeLibrary{devices: []*fakeDevice{{uuid: "GPU-a"}}}
	b := newBench(t, lib, "")
	dir := filepath.Join(b.SysFS, "bus/pci/devices/0000:01:00.0")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "power"), 0o700))
	for name, text := range map[string]string{"vendor": "0x10de\n", "class": "0x030200\n", "power/runtime_status": "suspended\n"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	require.Empty(t, b.collectOnce())
	require.Zero(t, lib.inits)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "power/runtime_status"), []byte("active\n"), 0o600))
	require.Equal(t, 1.0, b.collectOnce()["gpu_up gpu=0"])
}

func TestConfig(t *testing.T) {
	for text, want := range map[string]string{
		"interval: 100ms\n":        "interval",
		"interval: 2m\n":           "interval",
		"timeout: 30s\n":           "timeout",
		"expected: -1\n":           "expected",
		"holders: {max: 0}\n":      "holders.max",
		"holders: {kubelet: /x}\n": "holders.kubelet",
		"gpm: sometimes\n":         "gpm",
		"interval: 10\n":           "interval",
	} {
		var cfg Config
		require.ErrorContains(t, config.Decode("gpu.yaml", []byte(text), &cfg), want, text)
	}
	var cfg Config
	require.NoError(t, config.Decode("gpu.yaml", []byte("expected: 8\n"), &cfg))
	require.True(t, cfg.GPM)
	require.True(t, cfg.Holders.Enabled)
}
