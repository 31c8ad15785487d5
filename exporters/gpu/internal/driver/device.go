package driver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/nvml"
)

// device implements nvml.Device and nvml.MIGDevice, both of which are handles.
// It is comparable: two handles of one GPU are equal.
type device struct {
	gonvml.Device
	lib *Library
}

var (
	_ nvml.Device    = device{}
	_ nvml.MIGDevice = device{}
)

// UUID implements nvml.Device.
func (d device) UUID() (string, error) { return call(d.lib, d.GetUUID, "nvmlDeviceGetUUID") }

// Name implements nvml.Device.
func (d device) Name() (string, error) { return call(d.lib, d.GetName, "nvmlDeviceGetName") }

var architectures = map[gonvml.DeviceArchitecture]string{
	gonvml.DEVICE_ARCH_KEPLER: "Kepler", gonvml.DEVICE_ARCH_MAXWELL: "Maxwell", gonvml.DEVICE_ARCH_PASCAL: "Pascal",
	gonvml.DEVICE_ARCH_VOLTA: "Volta", gonvml.DEVICE_ARCH_TURING: "Turing", gonvml.DEVICE_ARCH_AMPERE: "Ampere",
	gonvml.DEVICE_ARCH_ADA: "Ada", gonvml.DEVICE_ARCH_HOPPER: "Hopper", gonvml.DEVICE_ARCH_BLACKWELL: "Blackwell",
	gonvml.DEVICE_ARCH_RUBIN: "Rubin",
}

// Architecture implements nvml.Device.
func (d device) Architecture() (string, error) {
	arch, err := call(d.lib, d.GetArchitecture, "nvmlDeviceGetArchitecture")
	if err != nil {
		return "", err
	}
	if name, ok := architectures[arch]; ok {
		return name, nil
	}
	return "unknown (" + strconv.FormatUint(uint64(arch), 10) + ")", nil
}

// PCIBusID implements nvml.Device.
func (d device) PCIBusID() (string, error) {
	pci, err := call(d.lib, d.GetPciInfo, "nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfo")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%04x:%02x:%02x.0", pci.Domain, pci.Bus, pci.Device), nil
}

// Minor implements nvml.Device.
func (d device) Minor() (int, error) {
	return call(d.lib, d.GetMinorNumber, "nvmlDeviceGetMinorNumber")
}

// Memory implements nvml.Device.
func (d device) Memory() (nvml.Memory, error) {
	m, err := call(d.lib, d.GetMemoryInfo_v2, "nvmlDeviceGetMemoryInfo_v2")
	if err == nil {
		return nvml.Memory{Total: m.Total, Used: m.Used, Free: m.Free, Reserved: m.Reserved, ReservedKnown: true}, nil
	}
	var ret nvml.CodeError
	if errors.As(err, &ret) && !ret.Never() {
		return nvml.Memory{}, err
	}
	old, err := call(d.lib, d.GetMemoryInfo, "nvmlDeviceGetMemoryInfo")
	return nvml.Memory{Total: old.Total, Used: old.Used, Free: old.Free}, err
}

// UtilizationSamples implements nvml.Device.
func (d device) UtilizationSamples(since uint64) ([]nvml.Sample, error) {
	if err := d.lib.lacks("nvmlDeviceGetSamples"); err != nil {
		return nil, err
	}
	kind, samples, ret := d.GetSamples(gonvml.GPU_UTILIZATION_SAMPLES, since)
	if err := result(ret); err != nil {
		return nil, err
	}
	out := make([]nvml.Sample, 0, len(samples))
	for _, s := range samples {
		percent, _, err := number(kind, s.SampleValue)
		if err != nil {
			return nil, err
		}
		out = append(out, nvml.Sample{Time: s.TimeStamp, Percent: percent})
	}
	return out, nil
}

// number reads a value of NVML's union of number types. bits is the width of an unsigned value.
func number(kind gonvml.ValueType, v [8]byte) (value float64, bits int, err error) {
	raw := binary.NativeEndian.Uint64(v[:])
	low := binary.NativeEndian.Uint32(v[:4])
	switch kind {
	case gonvml.VALUE_TYPE_DOUBLE:
		return math.Float64frombits(raw), 0, nil
	case gonvml.VALUE_TYPE_UNSIGNED_INT:
		return float64(low), 32, nil
	case gonvml.VALUE_TYPE_UNSIGNED_LONG, gonvml.VALUE_TYPE_UNSIGNED_LONG_LONG:
		return float64(raw), 64, nil
	case gonvml.VALUE_TYPE_SIGNED_LONG_LONG:
		return float64(int64(raw)), 0, nil
	case gonvml.VALUE_TYPE_SIGNED_INT:
		return float64(int32(low)), 0, nil
	case gonvml.VALUE_TYPE_UNSIGNED_SHORT:
		return float64(binary.NativeEndian.Uint16(v[:2])), 16, nil
	}
	return 0, 0, fmt.Errorf("value of the unknown type %d", kind)
}

// Utilization implements nvml.Device.
func (d device) Utilization() (nvml.Utilization, error) {
	u, err := call(d.lib, d.GetUtilizationRates, "nvmlDeviceGetUtilizationRates")
	return nvml.Utilization{GPU: u.Gpu, Memory: u.Memory}, err
}

// EncoderUtilization implements nvml.Device.
func (d device) EncoderUtilization() (uint32, error) {
	get := func() (uint32, gonvml.Return) {
		percent, _, ret := d.GetEncoderUtilization()
		return percent, ret
	}
	return call(d.lib, get, "nvmlDeviceGetEncoderUtilization")
}

// DecoderUtilization implements nvml.Device.
func (d device) DecoderUtilization() (uint32, error) {
	get := func() (uint32, gonvml.Return) {
		percent, _, ret := d.GetDecoderUtilization()
		return percent, ret
	}
	return call(d.lib, get, "nvmlDeviceGetDecoderUtilization")
}

// PowerMilliwatts implements nvml.Device.
func (d device) PowerMilliwatts() (uint32, error) {
	return call(d.lib, d.GetPowerUsage, "nvmlDeviceGetPowerUsage")
}

// PowerLimitMilliwatts implements nvml.Device.
func (d device) PowerLimitMilliwatts() (uint32, error) {
	return call(d.lib, d.GetEnforcedPowerLimit, "nvmlDeviceGetEnforcedPowerLimit")
}

// EnergyMillijoules implements nvml.Device.
func (d device) EnergyMillijoules() (uint64, error) {
	return call(d.lib, d.GetTotalEnergyConsumption, "nvmlDeviceGetTotalEnergyConsumption")
}

// Temperature implements nvml.Device.
func (d device) Temperature() (uint32, error) {
	get := func() (uint32, gonvml.Return) { return d.GetTemperature(gonvml.TEMPERATURE_GPU) }
	return call(d.lib, get, "nvmlDeviceGetTemperature")
}

// TemperatureThreshold implements nvml.Device.
func (d device) TemperatureThreshold(t nvml.Threshold) (uint32, error) {
	get := func() (uint32, gonvml.Return) {
		return d.GetTemperatureThreshold(gonvml.TemperatureThresholds(t))
	}
	return call(d.lib, get, "nvmlDeviceGetTemperatureThreshold")
}

// TemperatureMargin implements nvml.Device.
func (d device) TemperatureMargin() (int32, error) {
	m, err := call(d.lib, d.GetMarginTemperature, "nvmlDeviceGetMarginTemperature")
	return m.MarginTemperature, err
}

// ClockMHz implements nvml.Device.
func (d device) ClockMHz(c nvml.Clock) (uint32, error) {
	get := func() (uint32, gonvml.Return) {
		return d.GetClockInfo(gonvml.ClockType(c))
	}
	return call(d.lib, get, "nvmlDeviceGetClockInfo")
}

// MaxClockMHz implements nvml.Device.
func (d device) MaxClockMHz(c nvml.Clock) (uint32, error) {
	get := func() (uint32, gonvml.Return) {
		return d.GetMaxClockInfo(gonvml.ClockType(c))
	}
	return call(d.lib, get, "nvmlDeviceGetMaxClockInfo")
}

// ThrottleReasons implements nvml.Device.
func (d device) ThrottleReasons() (uint64, error) {
	if d.lib.lacks("nvmlDeviceGetCurrentClocksEventReasons") == nil {
		return call(d.lib, d.GetCurrentClocksEventReasons, "nvmlDeviceGetCurrentClocksEventReasons")
	}
	return call(d.lib, d.GetCurrentClocksThrottleReasons, "nvmlDeviceGetCurrentClocksThrottleReasons")
}

// ECCErrors implements nvml.Device.
func (d device) ECCErrors(severity nvml.ECCSeverity, scope nvml.ECCScope) (uint64, error) {
	get := func() (uint64, gonvml.Return) {
		return d.GetTotalEccErrors(gonvml.MemoryErrorType(severity), gonvml.EccCounterType(scope))
	}
	return call(d.lib, get, "nvmlDeviceGetTotalEccErrors")
}

// RemappedRows implements nvml.Device.
func (d device) RemappedRows() (nvml.RemappedRows, error) {
	get := func() (nvml.RemappedRows, gonvml.Return) {
		var r nvml.RemappedRows
		var ret gonvml.Return
		r.Correctable, r.Uncorrectable, r.Pending, r.Failed, ret = d.GetRemappedRows()
		return r, ret
	}
	return call(d.lib, get, "nvmlDeviceGetRemappedRows")
}

// PCIeReplays implements nvml.Device.
func (d device) PCIeReplays() (uint64, error) {
	n, err := call(d.lib, d.GetPcieReplayCounter, "nvmlDeviceGetPcieReplayCounter")
	return uint64(n), err
}

// NVLinkActive implements nvml.Device.
func (d device) NVLinkActive(link int) (bool, error) {
	get := func() (gonvml.EnableState, gonvml.Return) { return d.GetNvLinkState(link) }
	state, err := call(d.lib, get, "nvmlDeviceGetNvLinkState")
	return state == gonvml.FEATURE_ENABLED, err
}

// Fields implements nvml.Device.
func (d device) Fields(fields []nvml.Field) error {
	if len(fields) == 0 {
		return nil
	}
	if err := d.lib.lacks("nvmlDeviceGetFieldValues"); err != nil {
		return err
	}
	values := make([]gonvml.FieldValue, len(fields))
	for i, f := range fields {
		values[i].FieldId, values[i].ScopeId = f.ID, f.Scope
	}
	if err := result(d.GetFieldValues(values)); err != nil {
		return err
	}
	for i, v := range values {
		f := &fields[i]
		// The call succeeds even if every field fails.
		if f.Err = result(gonvml.Return(v.NvmlReturn)); f.Err != nil {
			continue
		}
		f.Value, f.Bits, f.Err = number(gonvml.ValueType(v.ValueType), v.Value)
	}
	return nil
}

// MIGEnabled implements nvml.Device.
func (d device) MIGEnabled() (bool, error) {
	get := func() (bool, gonvml.Return) {
		current, _, ret := d.GetMigMode()
		return current == gonvml.DEVICE_MIG_ENABLE, ret
	}
	return call(d.lib, get, "nvmlDeviceGetMigMode")
}

// MIGDevices implements nvml.Device.
func (d device) MIGDevices() ([]nvml.MIGDevice, error) {
	if err := d.lib.lacks("nvmlDeviceGetMigDeviceHandleByIndex"); err != nil {
		return nil, err
	}
	n, err := call(d.lib, d.GetMaxMigDeviceCount, "nvmlDeviceGetMaxMigDeviceCount")
	if err != nil {
		return nil, err
	}
	var devices []nvml.MIGDevice
	for i := range n {
		mig, ret := d.GetMigDeviceHandleByIndex(i)
		switch err := result(ret); {
		case err == nil:
			devices = append(devices, device{mig, d.lib})
		case !errors.Is(err, nvml.ErrNotFound): // Indices between instances can be unused.
			return nil, err
		}
	}
	return devices, nil
}

// GPUInstance implements nvml.MIGDevice.
func (d device) GPUInstance() (int, error) {
	return call(d.lib, d.GetGpuInstanceId, "nvmlDeviceGetGpuInstanceId")
}

// unknownMemory is NVML's value for unknown memory of a process.
const unknownMemory = math.MaxUint64

// Processes implements nvml.Device and nvml.MIGDevice.
func (d device) Processes() ([]nvml.Process, error) {
	kinds := []struct {
		symbol string
		get    func() ([]gonvml.ProcessInfo, gonvml.Return)
	}{
		{"nvmlDeviceGetComputeRunningProcesses", d.GetComputeRunningProcesses},
		{"nvmlDeviceGetGraphicsRunningProcesses", d.GetGraphicsRunningProcesses},
		{"nvmlDeviceGetMPSComputeRunningProcesses", d.GetMPSComputeRunningProcesses},
	}
	seen := map[uint32]int{}
	var processes []nvml.Process
	var firstErr error
	answered := false
	for _, k := range kinds {
		infos, err := call(d.lib, k.get, k.symbol+"_v3", k.symbol+"_v2", k.symbol)
		if err != nil {
			if firstErr == nil {
				firstErr = err
			}
			continue
		}
		answered = true
		for _, info := range infos {
			p := nvml.Process{PID: info.Pid}
			if info.UsedGpuMemory != unknownMemory {
				p.Memory, p.MemoryKnown = info.UsedGpuMemory, true
			}
			// A process with a compute and a graphics context is listed twice, each time with the memory of the whole process.
			if i, ok := seen[p.PID]; ok {
				if p.MemoryKnown && p.Memory > processes[i].Memory {
					processes[i] = p
				}
				continue
			}
			seen[p.PID] = len(processes)
			processes = append(processes, p)
		}
	}
	if !answered {
		return nil, firstErr
	}
	return processes, nil
}

// ProcessUtilization implements nvml.Device.
func (d device) ProcessUtilization(since uint64) (out []nvml.ProcessSample, err error) {
	if err := d.lib.lacks("nvmlDeviceGetProcessUtilization"); err != nil {
		return nil, err
	}
	defer func() {
		// go-nvml first reads the number of samples, and panics if the second call returns more because a process appeared in between.
		if p := recover(); p != nil {
			out, err = nil, nvml.ErrInsufficientSize
		}
	}()
	samples, ret := d.GetProcessUtilization(since)
	if ret == gonvml.ERROR_INSUFFICIENT_SIZE && len(samples) == 0 {
		return nil, nvml.ErrNotFound // The first call returned the number 0.
	}
	if err := result(ret); err != nil {
		return nil, err
	}
	for _, s := range samples {
		if s.TimeStamp > since { // The buffer also has unused entries.
			out = append(out, nvml.ProcessSample{PID: s.Pid, Time: s.TimeStamp, Percent: s.SmUtil})
		}
	}
	return out, nil
}
