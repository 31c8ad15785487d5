// Package nvml declares the part of NVIDIA's management library that the GPU exporter uses.
//
// Input and output: none. State: none. The package has only interfaces and the Go types of their arguments and results. Package driver
// implements the interfaces with the real library; tests implement them in Go. A failed call returns a CodeError, so that errors.Is works
// with the constants below.
package nvml

import (
	"fmt"
	"time"
)

// Library is the management library. After Shutdown the driver can be unloaded, and Init may be called again.
type Library interface {
	Init() error
	Shutdown() error
	// DriverVersion returns a version such as 580.65.06, CUDAVersion one such as 13.0.
	DriverVersion() (string, error)
	CUDAVersion() (string, error)
	DeviceCount() (int, error)
	Device(index int) (Device, error)
	// WatchXIDs makes NextXID return the XID errors of the device too.
	WatchXIDs(Device) error
	// NextXID waits for an XID error of any watched device. After the timeout it returns ErrTimeout.
	NextXID(timeout time.Duration) (XID, error)
}

// Device is one GPU. Its methods block while the driver hangs. They are not safe for concurrent use.
type Device interface {
	UUID() (string, error)
	Name() (string, error)
	Architecture() (string, error)
	// PCIBusID has the kernel's form, 0000:1b:00.0.
	PCIBusID() (string, error)
	// Minor is the N of /dev/nvidiaN.
	Minor() (int, error)

	Memory() (Memory, error)
	// UtilizationSamples returns the driver's samples after since, in percent. Times are of the driver's clock.
	UtilizationSamples(since uint64) ([]Sample, error)
	// Utilization returns the utilization in the last sample period.
	Utilization() (Utilization, error)
	EncoderUtilization() (percent uint32, err error)
	DecoderUtilization() (percent uint32, err error)
	PowerMilliwatts() (uint32, error)
	PowerLimitMilliwatts() (uint32, error)
	EnergyMillijoules() (uint64, error)
	Temperature() (celsius uint32, err error)
	TemperatureThreshold(Threshold) (celsius uint32, err error)
	// TemperatureMargin returns the degrees to the temperature at which the GPU is slowed down.
	TemperatureMargin() (celsius int32, err error)
	ClockMHz(Clock) (uint32, error)
	MaxClockMHz(Clock) (uint32, error)
	// ThrottleReasons returns the bits of NVML's clocks event reasons.
	ThrottleReasons() (uint64, error)
	ECCErrors(ECCSeverity, ECCScope) (uint64, error)
	RemappedRows() (RemappedRows, error)
	PCIeReplays() (uint64, error)
	NVLinkActive(link int) (bool, error)
	// Fields fills in the values of the fields. Each field has its own error.
	Fields([]Field) error

	MIGEnabled() (bool, error)
	// MIGDevices returns the existing MIG devices.
	MIGDevices() ([]MIGDevice, error)
	// Processes returns the processes with a compute or graphics context.
	Processes() ([]Process, error)
	// ProcessUtilization returns one value for each process that used the GPU after since. ErrNotFound means that no process did.
	ProcessUtilization(since uint64) ([]ProcessSample, error)

	// NewGPM prepares profiling of one MIG GPU instance, or of the whole GPU if instance is WholeGPU.
	NewGPM(instance int) (GPM, error)
}

// MIGDevice is a MIG device: one compute instance of a GPU instance.
type MIGDevice interface {
	UUID() (string, error)
	Name() (string, error)
	GPUInstance() (int, error)
	Memory() (Memory, error)
	Processes() ([]Process, error)
}

// WholeGPU means the whole GPU instead of a GPU instance.
const WholeGPU = -1

// GPM measures with two samples of the hardware's counters. It must be used by one goroutine only.
type GPM interface {
	// Measure takes a sample and returns the means since the previous one. The first call returns ErrNoData.
	Measure() (GPMRatios, error)
	Close() error
}

// GPMMinInterval is the minimum time between two samples in NVIDIA's documentation.
const GPMMinInterval = 100 * time.Millisecond

// GPMRatios are means between 0 and 1. NaN means that the GPU does not measure the value.
type GPMRatios struct {
	GraphicsActive, SMActive, SMOccupancy, TensorActive, DRAMActive float64
}

// Memory is in bytes. Used excludes Reserved if ReservedKnown.
type Memory struct {
	Total, Used, Free, Reserved uint64
	ReservedKnown               bool
}

// Sample is a value of the driver's ring buffer.
type Sample struct {
	Time    uint64 // microseconds
	Percent float64
}

// Utilization is in percent.
type Utilization struct{ GPU, Memory uint32 }

// RemappedRows are rows of memory that were replaced after errors.
type RemappedRows struct {
	Correctable, Uncorrectable int
	Pending, Failed            bool
}

// Process is a process that has a context on the GPU.
type Process struct {
	PID uint32
	// Memory is in bytes. It is valid if MemoryKnown is true.
	Memory      uint64
	MemoryKnown bool
}

// ProcessSample is the utilization of the GPU by a process.
type ProcessSample struct {
	PID     uint32
	Time    uint64 // microseconds
	Percent uint32
}

// XID is an error that the driver reported.
type XID struct {
	Device Device
	Code   uint64
}

// Field is one value of the driver's table of fields.
type Field struct {
	ID    uint32
	Scope uint32 // the link of an NVLink field

	Value float64
	// Bits is the width of an unsigned value, which wraps around.
	Bits int
	Err  error
}

// Threshold is the kind of a temperature limit.
type Threshold int

// The thresholds, with NVML's numbers.
const (
	ThresholdShutdown Threshold = iota
	ThresholdSlowdown
	ThresholdMemoryMax
	ThresholdGPUMax
)

// Clock is one of the GPU's clocks.
type Clock int

// The clocks, with NVML's numbers.
const (
	ClockGraphics Clock = iota
	ClockSM
	ClockMemory
	ClockVideo
)

// ECCSeverity is the severity of a memory error: corrected or not.
type ECCSeverity int

// The severities, with NVML's numbers.
const (
	ECCCorrected ECCSeverity = iota
	ECCUncorrected
)

// ECCScope is the period in which errors are counted.
type ECCScope int

// Volatile counters start when the driver is loaded; aggregate counters cover the life of the GPU.
const (
	ECCVolatile ECCScope = iota
	ECCAggregate
)

// CodeError is an NVML return code other than success.
type CodeError int

// The return codes that the exporter distinguishes.
const (
	ErrUninitialized    CodeError = 1
	ErrInvalidArgument  CodeError = 2
	ErrNotSupported     CodeError = 3
	ErrNoPermission     CodeError = 4
	ErrNotFound         CodeError = 6
	ErrInsufficientSize CodeError = 7
	ErrDriverNotLoaded  CodeError = 9
	ErrTimeout          CodeError = 10
	ErrLibraryNotFound  CodeError = 12
	ErrFunctionNotFound CodeError = 13
	ErrGPULost          CodeError = 15
	ErrResetRequired    CodeError = 16
	ErrVersionMismatch  CodeError = 18
	ErrNoData           CodeError = 21
	ErrArgumentVersion  CodeError = 25
	ErrDeprecated       CodeError = 26
	ErrUnknown          CodeError = 999
)

var returnNames = map[CodeError]string{
	ErrUninitialized: "NVML is not initialized", ErrInvalidArgument: "invalid argument", ErrNotSupported: "not supported",
	ErrNoPermission: "no permission", ErrNotFound: "not found", ErrInsufficientSize: "insufficient size",
	ErrDriverNotLoaded: "the NVIDIA driver is not loaded", ErrTimeout: "timeout", ErrLibraryNotFound: "NVML library not found",
	ErrFunctionNotFound: "the NVML library lacks the function", ErrGPULost: "the GPU is lost", ErrResetRequired: "the GPU needs a reset",
	ErrVersionMismatch: "the driver and the NVML library have different versions", ErrNoData: "no data",
	ErrArgumentVersion: "argument version mismatch", ErrDeprecated: "deprecated", ErrUnknown: "unknown error",
}

// Error implements error. It does not use the library's own texts, because that function can be missing.
func (r CodeError) Error() string {
	if name, ok := returnNames[r]; ok {
		return name
	}
	return fmt.Sprintf("NVML error %d", int(r))
}

// Never reports that this GPU and driver always return this error for the call.
func (r CodeError) Never() bool {
	switch r {
	case ErrInvalidArgument, ErrNotSupported, ErrNoPermission, ErrFunctionNotFound, ErrArgumentVersion, ErrDeprecated:
		return true
	}
	return false
}
