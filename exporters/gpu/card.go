package gpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/nvml"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/guard"
)

// identity is what does not change while the driver is loaded.
type identity struct {
	index              int
	minor              string // empty if unknown
	uuid               string
	name, architecture string
	pci                string
	driver, cuda       string
}

// info are the values of gpu_info's own labels.
func (id identity) info(name string) []string {
	return []string{cmp.Or(name, id.name), id.architecture, id.pci, id.driver, id.cuda}
}

// card is one GPU. The driver can hang in any call about it, so each look at it
// is a goroutine of its own; turn makes sure that there is never a second one.
type card struct {
	index int
	turn  chan struct{} // holds one token; who has it owns the session
	session
	logged string // the last error that was logged

	mu    sync.Mutex // guards what follows, and is never held during a call
	shown shown
	xids  xidCounts
}

// shown is what scrapes see of a card.
type shown struct {
	identity  identity
	known     bool      // it was identified once
	began     time.Time // of the look under way; zero if there is none
	finished  time.Time // end of the last look
	err       error     // of the last look
	suspended bool
	metrics   exporter.Prepared
	expires   time.Time
}

// late says whether the look under way takes too long.
func (s shown) late(now time.Time, timeout time.Duration) bool {
	return !s.began.IsZero() && now.Sub(s.began) > timeout
}

// up says whether the GPU answers, and so whether metrics are true.
func (s shown) up(now time.Time, timeout time.Duration) bool {
	return !s.late(now, timeout) && s.err == nil && !s.suspended && now.Before(s.expires)
}

// session is what a card remembers between looks. It begins anew with the
// library.
type session struct {
	epoch    int // of the library that device belongs to
	device   nvml.Device
	identity identity
	mig      bool
	never    map[string]bool // calls that this GPU and driver do not support
	fatal    error           // of the look under way

	sampled      uint64 // driver's time of the newest utilisation sample
	usedProcess  uint64 // the same of processes
	counters     map[uint32]*counter
	links        map[int]bool // that were up once
	gpm          map[int]nvml.GPM
	pcieMeasured time.Time
	pcieBefore   [2]float64
}

func newCard(index int) *card {
	c := &card{index: index, turn: make(chan struct{}, 1), xids: newXIDCounts()}
	c.turn <- struct{}{}
	return c
}

// snapshot returns what scrapes see.
func (c *card) snapshot() shown {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown
}

// counter follows one that wraps around.
type counter struct{ last, total float64 }

// add returns the total after the counter, which has so many bits, reads v.
func (c *counter) add(v float64, bits int) float64 {
	step := v - c.last
	if step < 0 {
		if bits == 32 {
			step += 1 << 32
		} else {
			step = v // It began anew.
		}
	}
	c.last = v
	c.total += step
	return c.total
}

// look is everything that one look at a card needs.
type look struct {
	ctx     context.Context
	cfg     Config
	epoch   int
	lib     nvml.Library
	driver  string
	cuda    string
	holders *holderSource
	sleeps  func(pci string) bool
	now     func() time.Time
	publish func(c *card, r reading) exporter.Prepared
	log     *slog.Logger
}

// errBusy says that the look before has not ended.
var errBusy = errors.New("does not answer: an earlier call to the driver is still waiting")

// look looks at the card once, in the background, and returns when that is done
// or late. A look that is late goes on; until it ends there is no other.
func (c *card) look(l look) error {
	select {
	case <-c.turn:
	default:
		return errBusy
	}
	c.mu.Lock()
	c.shown.began = l.now()
	c.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		err := c.protectedRun(l)
		c.mu.Lock()
		c.shown.began, c.shown.finished, c.shown.err = time.Time{}, l.now(), err
		c.mu.Unlock()
		c.turn <- struct{}{}
		done <- err
	}()
	late := time.NewTimer(time.Duration(l.cfg.Timeout))
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return fmt.Errorf("did not answer within %s", l.cfg.Timeout)
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
}

// protectedRun turns a panic into an error, so that one GPU with odd answers does
// not take the process down.
func (c *card) protectedRun(l look) error {
	return guard.Call(l.log, "gpu", func() error { return c.run(l) })
}

func (c *card) run(l look) error {
	if c.identity.pci != "" && l.sleeps(c.identity.pci) {
		c.mu.Lock()
		c.shown.suspended, c.shown.metrics = true, exporter.Prepared{}
		c.mu.Unlock()
		return nil
	}
	if err := c.begin(l); err != nil {
		return err
	}
	c.fatal = nil
	r := c.read(l)
	if c.fatal != nil {
		return c.fatal
	}
	metrics := l.publish(c, r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shown.suspended, c.shown.metrics = false, metrics
	// One failed look is survived by what is still true; after that, absent
	// beats wrong.
	c.shown.expires = l.now().Add(2*time.Duration(l.cfg.Interval) + time.Duration(l.cfg.Timeout))
	return nil
}

// begin starts a session with the library as it is now.
func (c *card) begin(l look) error {
	if c.device != nil && c.epoch == l.epoch {
		return nil
	}
	device, err := l.lib.Device(c.index)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	id := identity{index: c.index, driver: l.driver, cuda: l.cuda}
	if id.uuid, err = device.UUID(); err != nil {
		return fmt.Errorf("read UUID: %w", err)
	}
	// The rest is not needed to tell GPUs apart.
	id.name, _ = device.Name()
	id.architecture, _ = device.Architecture()
	id.pci, _ = device.PCIBusID()
	if minor, err := device.Minor(); err == nil {
		id.minor = strconv.Itoa(minor)
	}
	// What the library gave out before is void, GPM's samples included.
	c.session = session{
		epoch: l.epoch, device: device, identity: id, never: map[string]bool{}, gpm: map[int]nvml.GPM{},
		counters: map[uint32]*counter{}, links: map[int]bool{},
	}
	if err := l.lib.WatchXIDs(device); err != nil {
		l.log.Info("The GPU reports no XID errors", "gpu", c.index, "err", err)
	} else {
		c.mu.Lock()
		c.xids.watched, c.xids.device = true, device
		c.mu.Unlock()
	}
	c.mu.Lock()
	c.shown.identity, c.shown.known = id, true
	c.mu.Unlock()
	return nil
}

// fatal are the errors after which nothing else about a GPU can be true.
var fatal = []nvml.CodeError{nvml.ErrGPULost, nvml.ErrUninitialized, nvml.ErrDriverNotLoaded, nvml.ErrVersionMismatch, nvml.ErrResetRequired}

// ask makes one call, unless this GPU is known not to support it or an earlier
// call failed for good. It says whether there is an answer.
func ask[T any](c *card, name string, call func() (T, error)) (T, bool) {
	var zero T
	if c.fatal != nil || c.never[name] {
		return zero, false
	}
	v, err := call()
	return v, c.answered(name, err)
}

func (c *card) answered(name string, err error) bool {
	var ret nvml.CodeError
	switch {
	case err == nil:
		return true
	case !errors.As(err, &ret):
	case ret.Never():
		c.never[name] = true
	case slices.Contains(fatal, ret):
		c.fatal = fmt.Errorf("read %s: %w", name, err)
	}
	return false
}

// number asks for a number.
func number[T uint32 | uint64 | int32](c *card, name string, unit float64, call func() (T, error)) float64 {
	if v, ok := ask(c, name, call); ok {
		return float64(v) * unit
	}
	return absent
}

func (c *card) read(l look) reading {
	d := c.device
	r := reading{
		memoryCopy: absent, encoder: absent, decoder: absent, recovery: absent,
		pcieTransmit: absent, pcieReceive: absent, pcieTransmitRate: absent, pcieReceiveRate: absent,
	}
	mig, _ := ask(c, "MIG mode", d.MIGEnabled)
	if mig != c.mig {
		// What a GPU supports depends on it.
		c.mig, c.never, c.gpm = mig, map[string]bool{}, c.closeGPM(l.log)
	}
	r.utilization = c.utilization(&r)
	r.memory = c.memory("memory", d.Memory)
	r.gpm = c.profile(l, nvml.WholeGPU)
	c.checkGPM(l.log, &r)
	r.power = number(c, "power", 1e-3, d.PowerMilliwatts)
	r.powerLimit = number(c, "power limit", 1e-3, d.PowerLimitMilliwatts)
	r.energy = number(c, "energy", 1e-3, d.EnergyMillijoules)
	for _, k := range clocks {
		r.clocks = append(r.clocks, named{k.name, number(c, "clock "+k.name, 1e6, func() (uint32, error) { return d.ClockMHz(k.clock) })})
		r.maxClocks = append(r.maxClocks, named{k.name, number(c, "highest clock "+k.name, 1e6, func() (uint32, error) { return d.MaxClockMHz(k.clock) })})
	}
	if bits, ok := ask(c, "throttle reasons", d.ThrottleReasons); ok {
		for _, reason := range throttleReasons {
			v := 0.0
			if bits&reason.bit != 0 {
				v = 1
			}
			r.throttleActive = append(r.throttleActive, named{reason.name, v})
		}
	}
	for _, e := range eccCounters {
		v := number(c, "ECC "+e.severityName+" "+e.scopeName, 1, func() (uint64, error) { return d.ECCErrors(e.severity, e.scope) })
		r.ecc = append(r.ecc, eccCount{e.severityName, e.scopeName, v})
	}
	if rows, ok := ask(c, "remapped rows", d.RemappedRows); ok {
		r.remapped = &rows
	}
	r.pcieReplays = number(c, "PCIe replays", 1, d.PCIeReplays)
	c.fields(l, &r)
	if c.mig {
		c.instances(l, &r)
	} else {
		r.holders = c.holding(l)
	}
	return r
}

// utilization is the mean of the samples since the last look. Where the driver
// keeps none, the current value has to do.
func (c *card) utilization(r *reading) float64 {
	samples, _ := ask(c, "utilization samples", func() ([]nvml.Sample, error) { return c.device.UtilizationSamples(c.sampled) })
	now, hasNow := ask(c, "utilization", c.device.Utilization)
	if hasNow {
		r.memoryCopy = float64(now.Memory) / 100
	}
	r.encoder = number(c, "encoder utilization", 0.01, c.device.EncoderUtilization)
	r.decoder = number(c, "decoder utilization", 0.01, c.device.DecoderUtilization)
	sum, n, newest := 0.0, 0, c.sampled
	for _, s := range samples {
		if s.Time > c.sampled {
			sum, n, newest = sum+s.Percent, n+1, max(newest, s.Time)
		}
	}
	c.sampled = newest
	switch {
	case n > 0:
		return min(sum/float64(n)/100, 1)
	case hasNow:
		return float64(now.GPU) / 100
	}
	return absent
}

func (c *card) memory(name string, call func() (nvml.Memory, error)) *nvml.Memory {
	if m, ok := ask(c, name, call); ok && m.Total > 0 {
		return &m
	}
	return nil
}

var noGPM = nvml.GPMRatios{GraphicsActive: absent, SMActive: absent, SMOccupancy: absent, TensorActive: absent, DRAMActive: absent}

// profile measures the GPU, or one instance of it, since the last look.
func (c *card) profile(l look, instance int) nvml.GPMRatios {
	if !l.cfg.GPM {
		return noGPM
	}
	name := "GPM"
	if instance != nvml.WholeGPU {
		name += " of instance " + strconv.Itoa(instance)
	}
	g := c.gpm[instance]
	if g == nil {
		var ok bool
		if g, ok = ask(c, name, func() (nvml.GPM, error) { return c.device.NewGPM(instance) }); !ok {
			return noGPM
		}
		c.gpm[instance] = g
	}
	if ratios, ok := ask(c, name, g.Measure); ok {
		return ratios
	}
	return noGPM
}

// checkGPM drops profiling data that contradict the driver's own samples.
// Counters that another profiler holds were seen to read 0 on a busy GPU.
func (c *card) checkGPM(log *slog.Logger, r *reading) {
	if r.gpm.SMActive == 0 && r.gpm.GraphicsActive == 0 && r.utilization > 0.1 {
		log.Warn("Profiling reads 0 on a busy GPU and is left out; does another profiler hold its counters?", "gpu", c.index)
		r.gpm = noGPM
	}
}

func (c *card) closeGPM(log *slog.Logger) map[int]nvml.GPM {
	for instance, g := range c.gpm {
		if err := g.Close(); err != nil {
			log.Debug("GPM was not closed", "gpu", c.index, "instance", instance, "err", err)
		}
	}
	return map[int]nvml.GPM{}
}

// fields asks for everything that is a number in the driver's table of fields,
// in one call.
func (c *card) fields(l look, r *reading) {
	throttle := throttleFields(l.driver)
	links := c.activeLinks()
	wanted := []nvml.Field{
		{ID: fieldMemoryTemperature},
		{ID: fieldRetiredSingleBit},
		{ID: fieldRetiredDoubleBit},
		{ID: fieldRecoveryAction},
		{ID: fieldPCIeTransmit},
		{ID: fieldPCIeReceive},
		{ID: fieldShutdownMargin},
		{ID: fieldSlowdownMargin},
		{ID: fieldGPUMaxMargin},
	}
	for _, f := range throttle {
		wanted = append(wanted, nvml.Field{ID: f.id})
	}
	for _, link := range links {
		scope := uint32(link)
		for _, id := range []uint32{fieldLinkDataTransmit, fieldLinkDataReceive, fieldLinkSentBytes, fieldLinkReceivedBytes} {
			wanted = append(wanted, nvml.Field{ID: id, Scope: scope})
		}
		for _, f := range linkErrorFields {
			wanted = append(wanted, nvml.Field{ID: f.id, Scope: scope})
		}
	}
	key := func(id, scope uint32) string {
		return "field " + strconv.Itoa(int(id)) + " of " + strconv.Itoa(int(scope))
	}
	wanted = slices.DeleteFunc(wanted, func(f nvml.Field) bool { return c.never[key(f.ID, f.Scope)] })
	ask(c, "fields", func() (struct{}, error) { return struct{}{}, c.device.Fields(wanted) })
	if c.fatal != nil || c.never["fields"] {
		wanted = nil
	}
	type place struct{ id, scope uint32 }
	got := map[place]nvml.Field{}
	for _, f := range wanted {
		if c.answered(key(f.ID, f.Scope), f.Err) {
			got[place{f.ID, f.Scope}] = f
		}
	}
	value := func(id uint32) float64 {
		if f, ok := got[place{id, 0}]; ok {
			return f.Value
		}
		return absent
	}
	c.temperatures(value, r)
	for _, f := range []namedField{{fieldRetiredSingleBit, "single_bit"}, {fieldRetiredDoubleBit, "double_bit"}} {
		r.retired = append(r.retired, named{f.name, value(f.id)})
	}
	r.recovery = value(fieldRecoveryAction)
	for _, f := range throttle {
		r.throttleSeconds = append(r.throttleSeconds, named{f.name, value(f.id) / 1e9})
	}
	c.pcie(l, r, got[place{fieldPCIeTransmit, 0}], got[place{fieldPCIeReceive, 0}])
	for _, link := range links {
		scope := uint32(link)
		either := func(kib, bytes uint32) float64 {
			if f, ok := got[place{kib, scope}]; ok {
				return f.Value * 1024
			}
			if f, ok := got[place{bytes, scope}]; ok {
				return f.Value
			}
			return absent
		}
		lr := linkReading{
			link:     link,
			transmit: either(fieldLinkDataTransmit, fieldLinkSentBytes),
			receive:  either(fieldLinkDataReceive, fieldLinkReceivedBytes),
		}
		for _, f := range linkErrorFields {
			if e, ok := got[place{f.id, scope}]; ok {
				lr.errors = append(lr.errors, named{f.name, e.Value})
			}
		}
		r.links = append(r.links, lr)
	}
}

// maxLinks is NVML's (NVML_NVLINK_MAX_LINKS).
const maxLinks = 36

// activeLinks are the links that are up, or were: one that failed is worth
// watching.
func (c *card) activeLinks() []int {
	for link := range maxLinks {
		up, ok := ask(c, "NVLink "+strconv.Itoa(link), func() (bool, error) { return c.device.NVLinkActive(link) })
		if !ok {
			break
		}
		if up {
			c.links[link] = true
		}
	}
	return slices.Sorted(maps.Keys(c.links))
}

func (c *card) temperatures(field func(uint32) float64, r *reading) {
	gpu := number(c, "temperature", 1, c.device.Temperature)
	memory := field(fieldMemoryTemperature)
	if memory == 0 {
		memory = absent // GPUs without the sensor say so in this way.
	}
	r.temperatures = []named{{"gpu", gpu}, {"memory", memory}}
	margin := number(c, "temperature margin", 1, c.device.TemperatureMargin)
	for _, t := range temperatureLimits {
		limit := number(c, "temperature limit "+t.name, 1, func() (uint32, error) { return c.device.TemperatureThreshold(t.threshold) })
		if limit != limit && t.margin != 0 {
			limit = gpu + margin - field(t.margin)
		}
		r.temperatureLimits = append(r.temperatureLimits, named{t.name, limit})
	}
}

func (c *card) pcie(l look, r *reading, transmit, receive nvml.Field) {
	now := l.now()
	elapsed := now.Sub(c.pcieMeasured).Seconds()
	for i, f := range []struct {
		nvml.Field
		total, rate *float64
	}{{transmit, &r.pcieTransmit, &r.pcieTransmitRate}, {receive, &r.pcieReceive, &r.pcieReceiveRate}} {
		if f.ID == 0 {
			continue
		}
		count, ok := c.counters[f.ID]
		if !ok {
			count = &counter{}
			c.counters[f.ID] = count
		}
		*f.total = count.add(f.Value, f.Bits)
		if ok && elapsed > 0 {
			*f.rate = (*f.total - c.pcieBefore[i]) / elapsed
		}
		c.pcieBefore[i] = *f.total
	}
	c.pcieMeasured = now
}

// instances reads every GPU instance. Compute instances of one GPU instance
// share its memory and its counters.
func (c *card) instances(l look, r *reading) {
	migs, _ := ask(c, "MIG devices", c.device.MIGDevices)
	type gpuInstance struct {
		instanceReading
		uuids   []string
		devices []nvml.MIGDevice
	}
	byID := map[int]*gpuInstance{}
	for _, mig := range migs {
		id, ok := ask(c, "GPU instance", mig.GPUInstance)
		if !ok {
			continue
		}
		g := byID[id]
		if g == nil {
			g = &gpuInstance{instanceReading: instanceReading{id: id}}
			g.name, _ = ask(c, "MIG name", mig.Name)
			g.memory = c.memory("memory of an instance", mig.Memory)
			byID[id] = g
		}
		if uuid, ok := ask(c, "MIG UUID", mig.UUID); ok {
			g.uuids = append(g.uuids, uuid)
		}
		g.devices = append(g.devices, mig)
	}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		g := byID[id]
		g.gpm = c.profile(l, id)
		g.holders = c.holdingInstance(l, id, g.uuids, g.devices)
		r.instances = append(r.instances, g.instanceReading)
	}
	for id, g := range c.gpm {
		if id != nvml.WholeGPU && byID[id] == nil {
			_ = g.Close() // The instance is gone, and its samples with it.
			delete(c.gpm, id)
		}
	}
}
