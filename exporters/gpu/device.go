package gpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/nvml"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/guard"
)

// identity has the properties that do not change while the driver is loaded.
type identity struct {
	index              int
	minor              string // empty if unknown
	uuid               string
	name, architecture string
	pci                string
	driver, cuda       string
}

// info returns the values of gpu_info's own labels.
func (id identity) info(name string) []string {
	return []string{cmp.Or(name, id.name), id.architecture, id.pci, id.driver, id.cuda}
}

// device is one GPU. Every call to the driver can hang, so each collection runs in its own goroutine. idle ensures that only one runs at a
// time.
type device struct {
	index int
	idle  chan struct{} // holds one token; its owner may use the session
	session
	logged string // the last error that was logged

	mu     sync.Mutex // guards the following fields, and is never held during a call
	latest snapshot
	xids   xidCounts
}

// snapshot is the published state of a device.
type snapshot struct {
	identity  identity
	known     bool      // whether it was ever identified
	began     time.Time // of the running collection; zero if none is running
	finished  time.Time // end of the last collection
	err       error     // of the last collection
	suspended bool
	metrics   exporter.Prepared
	expires   time.Time
}

// late reports whether the running collection takes too long.
func (s snapshot) late(now time.Time, timeout time.Duration) bool {
	return !s.began.IsZero() && now.Sub(s.began) > timeout
}

// up reports whether the GPU answers, so that its metrics are valid.
func (s snapshot) up(now time.Time, timeout time.Duration) bool {
	return !s.late(now, timeout) && s.err == nil && !s.suspended && now.Before(s.expires)
}

// session is the state of a device between collections. A new initialisation of the library starts a new session.
type session struct {
	epoch    int // of the library that device belongs to
	handle   nvml.Device
	identity identity
	mig      bool
	never    map[string]bool // calls that the GPU or driver does not support
	fatal    error           // of the running collection

	sampled      uint64 // driver's time of the newest utilisation sample
	usedProcess  uint64 // the same for processes
	counters     map[uint32]*counter
	links        map[int]bool // that were ever up
	gpm          map[int]nvml.GPM
	pcieMeasured time.Time
	pcieBefore   [2]float64
}

func newDevice(index int) *device {
	d := &device{index: index, idle: make(chan struct{}, 1), xids: newXIDCounts()}
	d.idle <- struct{}{}
	return d
}

// snapshot returns the published state.
func (d *device) snapshot() snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.latest
}

// counter adds up a hardware counter that wraps around.
type counter struct{ last, total float64 }

// add returns the total after a new value v of a counter with this number of bits.
func (c *counter) add(v float64, bits int) float64 {
	step := v - c.last
	if step < 0 {
		if bits == 32 {
			step += 1 << 32
		} else {
			step = v // The counter was reset.
		}
	}
	c.last = v
	c.total += step
	return c.total
}

// cycle is everything that one collection of a device needs.
type cycle struct {
	ctx     context.Context
	cfg     Config
	epoch   int
	lib     nvml.Library
	driver  string
	cuda    string
	holders *holderSource
	sleeps  func(pci string) bool
	now     func() time.Time
	publish func(*device, reading) exporter.Prepared
	log     *slog.Logger
}

// errBusy says that the previous collection has not ended.
var errBusy = errors.New("does not answer: an earlier call to the driver is still waiting")

// collect reads the device once in the background. It returns when the collection has ended or is late. A late collection continues, and the
// next one starts only after its end.
func (d *device) collect(run cycle) error {
	select {
	case <-d.idle:
	default:
		return errBusy
	}
	d.mu.Lock()
	d.latest.began = run.now()
	d.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		err := d.protectedRun(run)
		d.mu.Lock()
		d.latest.began, d.latest.finished, d.latest.err = time.Time{}, run.now(), err
		d.mu.Unlock()
		d.idle <- struct{}{}
		done <- err
	}()
	late := time.NewTimer(time.Duration(run.cfg.Timeout))
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return fmt.Errorf("did not answer within %s", run.cfg.Timeout)
	case <-run.ctx.Done():
		return run.ctx.Err()
	}
}

// protectedRun converts a panic to an error, so that unexpected answers of one GPU do not end the process.
func (d *device) protectedRun(run cycle) error {
	return guard.Call(run.log, "gpu", func() error { return d.run(run) })
}

func (d *device) run(run cycle) error {
	if d.identity.pci != "" && run.sleeps(d.identity.pci) {
		d.mu.Lock()
		d.latest.suspended, d.latest.metrics = true, exporter.Prepared{}
		d.mu.Unlock()
		return nil
	}
	if err := d.begin(run); err != nil {
		return err
	}
	d.fatal = nil
	r := d.read(run)
	if d.fatal != nil {
		return d.fatal
	}
	metrics := run.publish(d, r)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.latest.suspended, d.latest.metrics = false, metrics
	// The last values remain for one failed collection. After that they are removed, because a missing value is better than a wrong one.
	d.latest.expires = run.now().Add(2*time.Duration(run.cfg.Interval) + time.Duration(run.cfg.Timeout))
	return nil
}

// begin starts a session with the present initialisation of the library.
func (d *device) begin(run cycle) error {
	if d.handle != nil && d.epoch == run.epoch {
		return nil
	}
	device, err := run.lib.Device(d.index)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	id := identity{index: d.index, driver: run.driver, cuda: run.cuda}
	if id.uuid, err = device.UUID(); err != nil {
		return fmt.Errorf("read UUID: %w", err)
	}
	// The other properties are not needed to identify the GPU.
	id.name, _ = device.Name()
	id.architecture, _ = device.Architecture()
	id.pci, _ = device.PCIBusID()
	if minor, err := device.Minor(); err == nil {
		id.minor = strconv.Itoa(minor)
	}
	// Handles and GPM samples of the previous initialisation are invalid.
	d.session = session{
		epoch: run.epoch, handle: device, identity: id, never: map[string]bool{}, gpm: map[int]nvml.GPM{},
		counters: map[uint32]*counter{}, links: map[int]bool{},
	}
	if err := run.lib.WatchXIDs(device); err != nil {
		run.log.Info("The GPU reports no XID errors", "gpu", d.index, "err", err)
	} else {
		d.mu.Lock()
		d.xids.watched, d.xids.device = true, device
		d.mu.Unlock()
	}
	d.mu.Lock()
	d.latest.identity, d.latest.known = id, true
	d.mu.Unlock()
	return nil
}

// fatal are the errors that make all other values of a GPU invalid.
var fatal = []nvml.CodeError{nvml.ErrGPULost, nvml.ErrUninitialized, nvml.ErrDriverNotLoaded, nvml.ErrVersionMismatch, nvml.ErrResetRequired}

// ask makes one call, unless the GPU does not support it or an earlier call had a fatal error. It reports whether there is an answer.
func ask[T any](d *device, name string, call func() (T, error)) (T, bool) {
	var zero T
	if d.fatal != nil || d.never[name] {
		return zero, false
	}
	v, err := call()
	return v, d.answered(name, err)
}

func (d *device) answered(name string, err error) bool {
	var ret nvml.CodeError
	switch {
	case err == nil:
		return true
	case !errors.As(err, &ret):
	case ret.Never():
		d.never[name] = true
	case slices.Contains(fatal, ret):
		d.fatal = fmt.Errorf("read %s: %w", name, err)
	}
	return false
}

// number is ask for a number; without an answer it returns absent.
func number[T uint32 | uint64 | int32](d *device, name string, unit float64, call func() (T, error)) float64 {
	if v, ok := ask(d, name, call); ok {
		return float64(v) * unit
	}
	return absent
}
