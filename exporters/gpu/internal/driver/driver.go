// Package driver implements the interfaces of package nvml with NVIDIA's library.
//
// Input: the name of the library, and calls. Output: its answers as Go values. State: NVML's state, which belongs to the process, so a process
// has one Library. The library is opened at run time, so the program also starts on machines without it. Each call looks up its symbol
// first, because the dynamic linker ends the process at the first use of a missing symbol.
package driver

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/dl"
	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/nvml"
)

// DefaultName is the file name that the driver installs.
const DefaultName = "libnvidia-ml.so.1"

// Library implements nvml.Library.
type Library struct {
	name string
	lib  gonvml.Interface
	// opened keeps the library in memory. Its error contains the reason, unlike go-nvml's.
	opened *dl.DynamicLibrary

	mu      sync.Mutex
	symbols map[string]bool

	events   gonvml.EventSet
	watching bool
}

var _ nvml.Library = (*Library)(nil)

// New returns the library with that name or path. It does not open it.
func New(name string) *Library {
	if name == "" {
		name = DefaultName
	}
	return &Library{name: name, lib: gonvml.New(gonvml.WithLibraryPath(name)), symbols: map[string]bool{}}
}

// Init implements nvml.Library.
func (l *Library) Init() error {
	if l.opened == nil {
		d := dl.New(l.name, dl.RTLD_LAZY|dl.RTLD_GLOBAL)
		if err := d.Open(); err != nil {
			return fmt.Errorf("%w: %w", nvml.ErrLibraryNotFound, err)
		}
		l.opened = d
	}
	if err := l.lacks("nvmlInit_v2", "nvmlInit"); err != nil {
		return err
	}
	return result(l.lib.Init())
}

// Shutdown implements nvml.Library.
func (l *Library) Shutdown() error {
	var freed error
	l.mu.Lock()
	watching := l.watching
	l.watching = false
	l.mu.Unlock()
	if watching && l.lacks("nvmlEventSetFree") == nil {
		freed = result(l.events.Free())
	}
	if err := l.lacks("nvmlShutdown"); err != nil {
		return err
	}
	return errors.Join(freed, result(l.lib.Shutdown()))
}

// lacks returns an error unless the library has at least one of the symbols. go-nvml calls the newest available version of a function.
func (l *Library) lacks(symbols ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range symbols {
		has, known := l.symbols[s]
		if !known {
			has = l.opened != nil && l.opened.Lookup(s) == nil
			l.symbols[s] = has
		}
		if has {
			return nil
		}
	}
	return nvml.ErrFunctionNotFound
}

// DriverVersion implements nvml.Library.
func (l *Library) DriverVersion() (string, error) {
	return call(l, l.lib.SystemGetDriverVersion, "nvmlSystemGetDriverVersion")
}

// CUDAVersion implements nvml.Library.
func (l *Library) CUDAVersion() (string, error) {
	v, err := call(l, l.lib.SystemGetCudaDriverVersion, "nvmlSystemGetCudaDriverVersion")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d.%d", v/1000, v%1000/10), nil
}

// DeviceCount implements nvml.Library.
func (l *Library) DeviceCount() (int, error) {
	return call(l, l.lib.DeviceGetCount, "nvmlDeviceGetCount_v2", "nvmlDeviceGetCount")
}

// Device implements nvml.Library.
func (l *Library) Device(index int) (nvml.Device, error) {
	get := func() (gonvml.Device, gonvml.Return) { return l.lib.DeviceGetHandleByIndex(index) }
	d, err := call(l, get, "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex")
	if err != nil {
		return nil, err
	}
	return device{d, l}, nil
}

// WatchXIDs implements nvml.Library.
func (l *Library) WatchXIDs(d nvml.Device) error {
	if err := l.watch(); err != nil {
		return err
	}
	if err := l.lacks("nvmlDeviceRegisterEvents"); err != nil {
		return err
	}
	return result(d.(device).RegisterEvents(gonvml.EventTypeXidCriticalError, l.events))
}

// watch creates the event set at its first use.
func (l *Library) watch() error {
	for _, s := range []string{"nvmlEventSetCreate", "nvmlEventSetFree"} {
		if err := l.lacks(s); err != nil {
			return err
		}
	}
	if err := l.lacks("nvmlEventSetWait_v2", "nvmlEventSetWait"); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watching {
		return nil
	}
	set, ret := l.lib.EventSetCreate()
	if err := result(ret); err != nil {
		return err
	}
	l.events, l.watching = set, true
	return nil
}

// NextXID implements nvml.Library.
func (l *Library) NextXID(timeout time.Duration) (nvml.XID, error) {
	l.mu.Lock()
	set, watching := l.events, l.watching
	l.mu.Unlock()
	if !watching {
		return nvml.XID{}, nvml.ErrUninitialized
	}
	event, ret := set.Wait(uint32(timeout.Milliseconds()))
	if err := result(ret); err != nil {
		return nvml.XID{}, err
	}
	return nvml.XID{Device: device{event.Device, l}, Code: event.EventData}, nil
}

// call calls f if the library has one of its symbols.
func call[T any](l *Library, f func() (T, gonvml.Return), symbols ...string) (T, error) {
	if err := l.lacks(symbols...); err != nil {
		var zero T
		return zero, err
	}
	v, ret := f()
	return v, result(ret)
}

// result converts a return code to an error.
func result(ret gonvml.Return) error {
	if ret == gonvml.SUCCESS {
		return nil
	}
	return nvml.CodeError(ret)
}
