package gpu

import (
	"errors"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/nvml"
)

// fakeLibrary is a driver in Go. Its fields may be changed between looks.
type fakeLibrary struct {
	devices []*fakeDevice
	initErr error
	inits   int
	xids    chan nvml.XID
}

var _ nvml.Library = (*fakeLibrary)(nil)

func (l *fakeLibrary) Init() error                    { l.inits++; return l.initErr }
func (l *fakeLibrary) Shutdown() error                { return nil }
func (l *fakeLibrary) DriverVersion() (string, error) { return "580.65.06", nil }
func (l *fakeLibrary) CUDAVersion() (string, error)   { return "13.0", nil }
func (l *fakeLibrary) DeviceCount() (int, error)      { return len(l.devices), nil }
func (l *fakeLibrary) WatchXIDs(nvml.Device) error    { return nil }

func (l *fakeLibrary) Device(i int) (nvml.Device, error) {
	if i >= len(l.devices) {
		return nil, nvml.ErrInvalidArgument
	}
	return l.devices[i], nil
}

func (l *fakeLibrary) NextXID(timeout time.Duration) (nvml.XID, error) {
	select {
	case x := <-l.xids:
		return x, nil
	case <-time.After(min(timeout, 10*time.Millisecond)):
		return nvml.XID{}, nvml.ErrTimeout
	}
}

// fakeDevice supports what a test sets; everything else it does not.
type fakeDevice struct {
	uuid      string
	samples   []nvml.Sample
	now       *nvml.Utilization
	memory    nvml.Memory
	fields    map[uint32]nvml.Field
	processes []nvml.Process
	used      []nvml.ProcessSample
	usedErr   error
	gpm       nvml.GPM
	panics    bool
	powerErr  error
	powerAsks int
}

var _ nvml.Device = (*fakeDevice)(nil)

var errUnsupported = nvml.ErrNotSupported

func (d *fakeDevice) UUID() (string, error)         { return d.uuid, nil }
func (d *fakeDevice) Name() (string, error)         { return "Fake", nil }
func (d *fakeDevice) Architecture() (string, error) { return "", errUnsupported }
func (d *fakeDevice) PCIBusID() (string, error)     { return "", errUnsupported }
func (d *fakeDevice) Minor() (int, error)           { return 0, errUnsupported }

func (d *fakeDevice) Memory() (nvml.Memory, error) {
	if d.panics {
		panic("odd answer")
	}
	return d.memory, nil
}

// UtilizationSamples hands out the whole buffer, as drivers do that ignore since.
func (d *fakeDevice) UtilizationSamples(uint64) ([]nvml.Sample, error) { return d.samples, nil }

func (d *fakeDevice) Utilization() (nvml.Utilization, error) {
	if d.now == nil {
		return nvml.Utilization{}, errUnsupported
	}
	return *d.now, nil
}
func (d *fakeDevice) EncoderUtilization() (uint32, error) { return 0, errUnsupported }
func (d *fakeDevice) DecoderUtilization() (uint32, error) { return 0, errUnsupported }

func (d *fakeDevice) PowerMilliwatts() (uint32, error) {
	d.powerAsks++
	return 1000, d.powerErr
}

func (d *fakeDevice) PowerLimitMilliwatts() (uint32, error) { return 0, errUnsupported }

func (d *fakeDevice) EnergyMillijoules() (uint64, error)                  { return 0, errUnsupported }
func (d *fakeDevice) Temperature() (uint32, error)                        { return 40, nil }
func (d *fakeDevice) TemperatureThreshold(nvml.Threshold) (uint32, error) { return 0, errUnsupported }

func (d *fakeDevice) TemperatureMargin() (int32, error) { return 0, errUnsupported }

func (d *fakeDevice) ClockMHz(nvml.Clock) (uint32, error) { return 0, errUnsupported }

func (d *fakeDevice) MaxClockMHz(nvml.Clock) (uint32, error) { return 0, errUnsupported }

func (d *fakeDevice) ThrottleReasons() (uint64, error) { return 0, errUnsupported }

func (d *fakeDevice) ECCErrors(nvml.ECCSeverity, nvml.ECCScope) (uint64, error) {
	return 0, errUnsupported
}

func (d *fakeDevice) RemappedRows() (nvml.RemappedRows, error) {
	return nvml.RemappedRows{}, errUnsupported
}
func (d *fakeDevice) PCIeReplays() (uint64, error)   { return 0, errUnsupported }
func (d *fakeDevice) NVLinkActive(int) (bool, error) { return false, errUnsupported }

func (d *fakeDevice) Fields(fields []nvml.Field) error {
	for i, f := range fields {
		got, ok := d.fields[f.ID]
		if !ok {
			fields[i].Err = errUnsupported
			continue
		}
		fields[i].Value, fields[i].Bits, fields[i].Err = got.Value, got.Bits, got.Err
	}
	return nil
}
func (d *fakeDevice) MIGEnabled() (bool, error)             { return false, errUnsupported }
func (d *fakeDevice) MIGDevices() ([]nvml.MIGDevice, error) { return nil, errUnsupported }
func (d *fakeDevice) Processes() ([]nvml.Process, error)    { return d.processes, nil }
func (d *fakeDevice) ProcessUtilization(uint64) ([]nvml.ProcessSample, error) {
	return d.used, d.usedErr
}

func (d *fakeDevice) NewGPM(int) (nvml.GPM, error) {
	if d.gpm == nil {
		return nil, errUnsupported
	}
	return d.gpm, nil
}

// errNotNVML is an error that no return code stands for.
var errNotNVML = errors.New("not of NVML")
