package gpu

import (
	"log/slog"
	"maps"
	"slices"
	"strconv"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/nvml"
)

func (d *device) read(run cycle) reading {
	handle := d.handle
	r := reading{
		memoryCopy: absent, encoder: absent, decoder: absent, recovery: absent,
		pcieTransmit: absent, pcieReceive: absent, pcieTransmitRate: absent, pcieReceiveRate: absent,
	}
	mig, _ := ask(d, "MIG mode", handle.MIGEnabled)
	if mig != d.mig {
		// The supported calls depend on the MIG mode.
		d.mig, d.never, d.gpm = mig, map[string]bool{}, d.closeGPM(run.log)
	}
	r.utilization = d.utilization(&r)
	r.memory = d.memory("memory", handle.Memory)
	r.gpm = d.profile(run, nvml.WholeGPU)
	d.checkGPM(run.log, &r)
	r.power = number(d, "power", 1e-3, handle.PowerMilliwatts)
	r.powerLimit = number(d, "power limit", 1e-3, handle.PowerLimitMilliwatts)
	r.energy = number(d, "energy", 1e-3, handle.EnergyMillijoules)
	for _, k := range clocks {
		r.clocks = append(r.clocks, named{k.name, number(d, "clock "+k.name, 1e6, func() (uint32, error) { return handle.ClockMHz(k.clock) })})
		r.maxClocks = append(r.maxClocks, named{k.name, number(d, "highest clock "+k.name, 1e6, func() (uint32, error) { return handle.MaxClockMHz(k.clock) })})
	}
	if bits, ok := ask(d, "throttle reasons", handle.ThrottleReasons); ok {
		for _, reason := range throttleReasons {
			v := 0.0
			if bits&reason.bit != 0 {
				v = 1
			}
			r.throttleActive = append(r.throttleActive, named{reason.name, v})
		}
	}
	for _, e := range eccCounters {
		v := number(d, "ECC "+e.severityName+" "+e.scopeName, 1, func() (uint64, error) { return handle.ECCErrors(e.severity, e.scope) })
		r.ecc = append(r.ecc, eccCount{e.severityName, e.scopeName, v})
	}
	if rows, ok := ask(d, "remapped rows", handle.RemappedRows); ok {
		r.remapped = &rows
	}
	r.pcieReplays = number(d, "PCIe replays", 1, handle.PCIeReplays)
	d.fields(run, &r)
	if d.mig {
		d.instances(run, &r)
	} else {
		r.holders = d.holding(run)
	}
	return r
}

// utilization returns the mean of the samples since the last collection. If the driver has no samples, it returns the current value.
func (d *device) utilization(r *reading) float64 {
	samples, _ := ask(d, "utilization samples", func() ([]nvml.Sample, error) { return d.handle.UtilizationSamples(d.sampled) })
	now, hasNow := ask(d, "utilization", d.handle.Utilization)
	if hasNow {
		r.memoryCopy = float64(now.Memory) / 100
	}
	r.encoder = number(d, "encoder utilization", 0.01, d.handle.EncoderUtilization)
	r.decoder = number(d, "decoder utilization", 0.01, d.handle.DecoderUtilization)
	sum, n, newest := 0.0, 0, d.sampled
	for _, s := range samples {
		if s.Time > d.sampled {
			sum, n, newest = sum+s.Percent, n+1, max(newest, s.Time)
		}
	}
	d.sampled = newest
	switch {
	case n > 0:
		return min(sum/float64(n)/100, 1)
	case hasNow:
		return float64(now.GPU) / 100
	}
	return absent
}

func (d *device) memory(name string, call func() (nvml.Memory, error)) *nvml.Memory {
	if m, ok := ask(d, name, call); ok && m.Total > 0 {
		return &m
	}
	return nil
}

var noGPM = nvml.GPMRatios{GraphicsActive: absent, SMActive: absent, SMOccupancy: absent, TensorActive: absent, DRAMActive: absent}

// profile measures the GPU, or one instance of it, since the last collection.
func (d *device) profile(run cycle, instance int) nvml.GPMRatios {
	if !run.cfg.GPM {
		return noGPM
	}
	name := "GPM"
	if instance != nvml.WholeGPU {
		name += " of instance " + strconv.Itoa(instance)
	}
	g := d.gpm[instance]
	if g == nil {
		var ok bool
		if g, ok = ask(d, name, func() (nvml.GPM, error) { return d.handle.NewGPM(instance) }); !ok {
			return noGPM
		}
		d.gpm[instance] = g
	}
	if ratios, ok := ask(d, name, g.Measure); ok {
		return ratios
	}
	return noGPM
}

// checkGPM drops profiling data that contradict the driver's own samples. Counters that another profiler holds can read 0 on a busy GPU.
func (d *device) checkGPM(log *slog.Logger, r *reading) {
	if r.gpm.SMActive == 0 && r.gpm.GraphicsActive == 0 && r.utilization > 0.1 {
		log.Warn("Profiling reads 0 on a busy GPU and is left out; does another profiler hold its counters?", "gpu", d.index)
		r.gpm = noGPM
	}
}

func (d *device) closeGPM(log *slog.Logger) map[int]nvml.GPM {
	for instance, g := range d.gpm {
		if err := g.Close(); err != nil {
			log.Debug("GPM was not closed", "gpu", d.index, "instance", instance, "err", err)
		}
	}
	return map[int]nvml.GPM{}
}

// fields reads all numbers of the driver's table of fields in one call.
func (d *device) fields(run cycle, r *reading) {
	throttle := throttleFields(run.driver)
	links := d.activeLinks()
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
	wanted = slices.DeleteFunc(wanted, func(f nvml.Field) bool { return d.never[key(f.ID, f.Scope)] })
	ask(d, "fields", func() (struct{}, error) { return struct{}{}, d.handle.Fields(wanted) })
	if d.fatal != nil || d.never["fields"] {
		wanted = nil
	}
	type fieldKey struct{ id, scope uint32 }
	got := map[fieldKey]nvml.Field{}
	for _, f := range wanted {
		if d.answered(key(f.ID, f.Scope), f.Err) {
			got[fieldKey{f.ID, f.Scope}] = f
		}
	}
	value := func(id uint32) float64 {
		if f, ok := got[fieldKey{id, 0}]; ok {
			return f.Value
		}
		return absent
	}
	d.temperatures(value, r)
	for _, f := range []namedField{{fieldRetiredSingleBit, "single_bit"}, {fieldRetiredDoubleBit, "double_bit"}} {
		r.retired = append(r.retired, named{f.name, value(f.id)})
	}
	r.recovery = value(fieldRecoveryAction)
	for _, f := range throttle {
		r.throttleSeconds = append(r.throttleSeconds, named{f.name, value(f.id) / 1e9})
	}
	d.pcie(run, r, got[fieldKey{fieldPCIeTransmit, 0}], got[fieldKey{fieldPCIeReceive, 0}])
	for _, link := range links {
		scope := uint32(link)
		either := func(kib, bytes uint32) float64 {
			if f, ok := got[fieldKey{kib, scope}]; ok {
				return f.Value * 1024
			}
			if f, ok := got[fieldKey{bytes, scope}]; ok {
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
			if e, ok := got[fieldKey{f.id, scope}]; ok {
				lr.errors = append(lr.errors, named{f.name, e.Value})
			}
		}
		r.links = append(r.links, lr)
	}
}

// maxLinks is NVML_NVLINK_MAX_LINKS.
const maxLinks = 36

// activeLinks returns the links that are up or were up, so that the errors of a failed link remain visible.
func (d *device) activeLinks() []int {
	for link := range maxLinks {
		up, ok := ask(d, "NVLink "+strconv.Itoa(link), func() (bool, error) { return d.handle.NVLinkActive(link) })
		if !ok {
			break
		}
		if up {
			d.links[link] = true
		}
	}
	return slices.Sorted(maps.Keys(d.links))
}

func (d *device) temperatures(field func(uint32) float64, r *reading) {
	gpu := number(d, "temperature", 1, d.handle.Temperature)
	memory := field(fieldMemoryTemperature)
	if memory == 0 {
		memory = absent // GPUs without the sensor return this value.
	}
	r.temperatures = []named{{"gpu", gpu}, {"memory", memory}}
	margin := number(d, "temperature margin", 1, d.handle.TemperatureMargin)
	for _, t := range temperatureLimits {
		limit := number(d, "temperature limit "+t.name, 1, func() (uint32, error) { return d.handle.TemperatureThreshold(t.threshold) })
		if limit != limit && t.margin != 0 {
			limit = gpu + margin - field(t.margin)
		}
		r.temperatureLimits = append(r.temperatureLimits, named{t.name, limit})
	}
}

func (d *device) pcie(run cycle, r *reading, transmit, receive nvml.Field) {
	now := run.now()
	elapsed := now.Sub(d.pcieMeasured).Seconds()
	for i, f := range []struct {
		nvml.Field
		total, rate *float64
	}{{transmit, &r.pcieTransmit, &r.pcieTransmitRate}, {receive, &r.pcieReceive, &r.pcieReceiveRate}} {
		if f.ID == 0 {
			continue
		}
		count, ok := d.counters[f.ID]
		if !ok {
			count = &counter{}
			d.counters[f.ID] = count
		}
		*f.total = count.add(f.Value, f.Bits)
		if ok && elapsed > 0 {
			*f.rate = (*f.total - d.pcieBefore[i]) / elapsed
		}
		d.pcieBefore[i] = *f.total
	}
	d.pcieMeasured = now
}

// instances reads every GPU instance. Compute instances of one GPU instance
// share its memory and its counters.
func (d *device) instances(run cycle, r *reading) {
	migs, _ := ask(d, "MIG devices", d.handle.MIGDevices)
	type gpuInstance struct {
		instanceReading
		uuids   []string
		devices []nvml.MIGDevice
	}
	byID := map[int]*gpuInstance{}
	for _, mig := range migs {
		id, ok := ask(d, "GPU instance", mig.GPUInstance)
		if !ok {
			continue
		}
		g := byID[id]
		if g == nil {
			g = &gpuInstance{instanceReading: instanceReading{id: id}}
			g.name, _ = ask(d, "MIG name", mig.Name)
			g.memory = d.memory("memory of an instance", mig.Memory)
			byID[id] = g
		}
		if uuid, ok := ask(d, "MIG UUID", mig.UUID); ok {
			g.uuids = append(g.uuids, uuid)
		}
		g.devices = append(g.devices, mig)
	}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		g := byID[id]
		g.gpm = d.profile(run, id)
		g.holders = d.holdingInstance(run, id, g.uuids, g.devices)
		r.instances = append(r.instances, g.instanceReading)
	}
	for id, g := range d.gpm {
		if id != nvml.WholeGPU && byID[id] == nil {
			_ = g.Close() // The instance is gone, and its samples with it.
			delete(d.gpm, id)
		}
	}
}
