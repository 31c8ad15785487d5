// Package nvml is what the GPU exporter asks of NVIDIA's management library, and
// no more of it.
//
// Nothing flows: the package has the two narrow interfaces that the exporter is
// written against, and the plain Go types that cross them. Package driver
// implements them with the real library; tests implement them in Go. A call that
// fails returns a CodeError, so that errors.Is works with the constants below.
package nvml

import (
	"fmt"
	"time"
)

// Library is the management library. Shutdown ends what Init began and lets the
// driver be unloaded; Init may follow again.
type Library interface {
	Init() error
	Shutdown() error
	// DriverVersion is as in 580.65.06, CUDAVersion as in 13.0.
	DriverVersion() (string, error)
	CUDAVersion() (string, error)
	DeviceCount() (int, error)
	Device(index int) (Device, error)
	// WatchXIDs adds the device to those whose XID errors NextXID returns.
	WatchXIDs(Device) error
	// NextXID waits for an XID error of any watched device; after the timeout
	// the error is ErrTimeout.
	NextXID(timeout time.Duration) (XID, error)
}

// Device is one GPU. Its methods may block for as long as the driver hangs, and
// must not be called by two goroutines at once.
type Device interface {
	UUID() (string, error)
	Name() (string, error)
	Architecture() (string, error)
	// PCIBusID is as the kernel writes it: 0000:1b:00.0.
	PCIBusID() (string, error)
	// Minor is the N of /dev/nvidiaN.
	Minor() (int, error)

	Memory() (Memory, error)
	// UtilizationSamples are the driver's samples after the time since, in
	// percent; the clock is the driver's.
	UtilizationSamples(since uint64) ([]Sample, error)
	// Utilization is that of the last sample period alone.
	Utilization() (Utilization, error)
	EncoderUtilization() (percent uint32, err error)
	DecoderUtilization() (percent uint32, err error)
	PowerMilliwatts() (uint32, error)
	PowerLimitMilliwatts() (uint32, error)
	EnergyMillijoules() (uint64, error)
	Temperature() (celsius uint32, err error)
	TemperatureThreshold(Threshold) (celsius uint32, err error)
	// TemperatureMargin is how much warmer the GPU may get before it is slowed.
	TemperatureMargin() (celsius int32, err error)
	ClockMHz(Clock) (uint32, error)
	MaxClockMHz(Clock) (uint32, error)
	// ThrottleReasons is a set of the bits of Reasons.
	ThrottleReasons() (uint64, error)
	ECCErrors(ECCSeverity, ECCScope) (uint64, error)
	RemappedRows() (RemappedRows, error)
	PCIeReplays() (uint64, error)
	NVLinkActive(link int) (bool, error)
	// Fields fills in the values of the fields, each with an error of its own.
	Fields([]Field) error

	MIGEnabled() (bool, error)
	// MIGDevices are the MIG devices that exist now.
	MIGDevices() ([]MIGDevice, error)
	// Processes are those with a compute or graphics context.
	Processes() ([]Process, error)
	// ProcessUtilization is one value for each process that used the GPU after
	// the time since. ErrNotFound means that none did.
	ProcessUtilization(since uint64) ([]ProcessSample, error)

	// NewGPM prepares profiling of the whole GPU, or of one MIG GPU instance
	// where instance is not WholeGPU.
	NewGPM(instance int) (GPM, error)
}

// MIGDevice is a slice of a GPU: one compute instance of a GPU instance.
type MIGDevice interface {
	UUID() (string, error)
	Name() (string, error)
	GPUInstance() (int, error)
	Memory() (Memory, error)
	Processes() ([]Process, error)
}

// WholeGPU stands for no GPU instance.
const WholeGPU = -1

// GPM measures by the difference between two samples of the hardware's counters.
// It belongs to one goroutine.
type GPM interface {
	// Measure takes a sample and returns the means since the one before. The
	// first call has nothing to compare with and returns ErrNoData.
	Measure() (GPMRatios, error)
	Close() error
}

// GPMMinInterval is the least time between two samples that NVIDIA documents.
const GPMMinInterval = 100 * time.Millisecond

// GPMRatios are means between 0 and 1; NaN is what the GPU does not measure.
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
	// Memory is in bytes, and known only where the driver says so.
	Memory      uint64
	MemoryKnown bool
}

// ProcessSample is what a process used of the GPU's processors.
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
	// Bits is the width of an unsigned value, by which it wraps around.
	Bits int
	Err  error
}

// Threshold is a temperature at which something happens.
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

// ECCSeverity says whether an error was corrected.
type ECCSeverity int

// The severities, with NVML's numbers.
const (
	ECCCorrected ECCSeverity = iota
	ECCUncorrected
)

// ECCScope says since when errors count.
type ECCScope int

// Volatile counts since the driver was loaded, aggregate since the GPU was made.
const (
	ECCVolatile ECCScope = iota
	ECCAggregate
)

// CodeError is an NVML return code other than success.
type CodeError int

// The return codes that the exporter tells apart.
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

// Error implements error. The library's own texts are not asked for: even that
// function can be missing.
func (r CodeError) Error() string {
	if name, ok := returnNames[r]; ok {
		return name
	}
	return fmt.Sprintf("NVML error %d", int(r))
}

// Never says that this GPU and driver will give the same answer again.
func (r CodeError) Never() bool {
	switch r {
	case ErrInvalidArgument, ErrNotSupported, ErrNoPermission, ErrFunctionNotFound, ErrArgumentVersion, ErrDeprecated:
		return true
	}
	return false
}
