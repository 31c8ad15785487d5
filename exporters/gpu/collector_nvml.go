package gpu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/nvml"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/guard"
)

// collect reads every GPU.
func (i *instance) collect(ctx context.Context) error {
	select {
	case <-i.library:
		defer func() { i.library <- struct{}{} }()
	case <-ctx.Done():
		return fmt.Errorf("the library is being initialised or released: %w", ctx.Err())
	}
	if until := i.released(); i.now().Before(until) {
		return fmt.Errorf("the driver was released on request until %s", until.UTC().Format(time.RFC3339))
	}
	if err := i.ensure(ctx); err != nil || !i.ready {
		return i.mismatch(err)
	}
	return i.mismatch(i.collectDevices(ctx))
}

// ensure initialises the library if necessary.
func (i *instance) ensure(ctx context.Context) error {
	if i.ready || allSleep(i.SysFS) {
		return nil
	}
	if err := i.lib.Init(); err != nil {
		return fmt.Errorf("initialise NVML: %w", err)
	}
	n, err := i.lib.DeviceCount()
	if err != nil {
		return errors.Join(fmt.Errorf("count GPUs: %w", err), i.lib.Shutdown())
	}
	i.ready = true
	i.epoch++
	version, _ := i.lib.DriverVersion()
	cuda, _ := i.lib.CUDAVersion()
	i.log.Info("NVML is initialised", "gpus", n, "driver", version, "cuda", cuda)
	i.mu.Lock()
	i.driver, i.cuda, i.seen = version, cuda, max(i.seen, n)
	// The indices of GPUs shift if one disappears, so lost GPUs are identified by UUID.
	for _, d := range i.devices {
		if s := d.snapshot(); s.known {
			i.lost[s.identity.uuid] = s.identity
		}
	}
	i.devices = resized(i.devices, n)
	i.mu.Unlock()
	i.startWatching(context.WithoutCancel(ctx))
	return nil
}

// resized returns n devices. It keeps those that exist, so a GPU that hangs is not read a second time.
func resized(devices []*device, n int) []*device {
	for len(devices) < n {
		devices = append(devices, newDevice(len(devices)))
	}
	return devices[:n]
}

// startWatching starts to count XID errors. The context must last longer than one collection.
func (i *instance) startWatching(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = guard.Call(i.log, "xid", func() error { // A panic is logged. The next initialisation starts the watcher again.
			watchXIDs(ctx, i.lib, i.deviceOf, i.now, i.log)
			return nil
		})
	}()
	i.stop = func(wait context.Context) error {
		cancel()
		select {
		case <-done:
			return nil
		case <-wait.Done():
			return errors.New("the wait for XID errors does not end")
		}
	}
}

// deviceOf returns the device of a handle, or nil.
func (e *Exporter) deviceOf(handle nvml.Device) *device {
	for _, d := range e.all() {
		d.mu.Lock()
		found := d.xids.device == handle
		d.mu.Unlock()
		if found {
			return d
		}
	}
	return nil
}

func (e *Exporter) all() []*device {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.devices)
}

func (e *Exporter) released() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.releasedUntil
}

// collectDevices reads the GPUs concurrently. A failure of one GPU is published by gpu_up and does not fail the collector.
func (i *instance) collectDevices(ctx context.Context) error {
	devices := i.all()
	errs := make([]error, len(devices))
	var wg sync.WaitGroup
	for n, d := range devices {
		wg.Go(func() { errs[n] = d.collect(i.newCycle(ctx)) })
	}
	wg.Wait()
	i.logChanges(devices, errs)
	for _, err := range errs {
		switch {
		case errors.Is(err, nvml.ErrVersionMismatch):
			return err
		case errors.Is(err, nvml.ErrUninitialized), errors.Is(err, nvml.ErrDriverNotLoaded):
			return errors.Join(err, i.shutdown(ctx))
		}
	}
	return nil
}

func (i *instance) newCycle(ctx context.Context) cycle {
	run := cycle{
		ctx: ctx, cfg: i.cfg, epoch: i.epoch, lib: i.lib, driver: i.driver, cuda: i.cuda, holders: i.holders,
		sleeps: func(pci string) bool { return sleeps(i.SysFS, pci) }, now: i.now, log: i.log,
	}
	run.publish = func(d *device, r reading) exporter.Prepared {
		m := i.descs.metrics(d.identity, r)
		if i.DCGMNames {
			d.mu.Lock()
			xid := absent
			if d.xids.watched {
				xid = float64(d.xids.newest)
			}
			d.mu.Unlock()
			m = append(m, i.dcgm.metrics(i.host, d.identity, r, xid)...)
		}
		return exporter.Prepare(m)
	}
	return run
}

// logChanges logs changes, and removes GPUs that were found again from the lost ones.
func (i *instance) logChanges(devices []*device, errs []error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, d := range devices {
		delete(i.lost, d.snapshot().identity.uuid)
		text := ""
		if errs[n] != nil {
			text = errs[n].Error()
		}
		if text == d.logged {
			continue
		}
		d.logged = text
		if text == "" {
			i.log.Info("The GPU answers again", "gpu", d.index)
		} else {
			i.log.Error("The GPU cannot be read", "gpu", d.index, "err", errs[n])
		}
	}
}

// mismatch replaces the process if the driver was replaced while it was running.
func (i *instance) mismatch(err error) error {
	if !errors.Is(err, nvml.ErrVersionMismatch) {
		return err
	}
	i.log.Warn("The driver was replaced; starting anew with its library", "err", err)
	return errors.Join(err, i.reexec(i.now()))
}

// shutdown ends the use of the driver. The caller holds the token of library.
func (i *instance) shutdown(ctx context.Context) error {
	if !i.ready {
		return nil
	}
	var held []*device
	defer func() {
		for _, d := range held {
			d.idle <- struct{}{}
		}
	}()
	for _, d := range i.all() {
		select {
		case <-d.idle:
			held = append(held, d)
		case <-ctx.Done():
			return fmt.Errorf("GPU %d hangs in a call to the driver: only the end of the process releases it", d.index)
		}
	}
	if err := i.stop(ctx); err != nil {
		return err
	}
	for _, d := range held {
		d.gpm = d.closeGPM(i.log)
	}
	i.ready = false
	if err := i.lib.Shutdown(); err != nil {
		return fmt.Errorf("shut NVML down: %w", err)
	}
	return nil
}
