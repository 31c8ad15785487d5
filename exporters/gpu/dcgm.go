package gpu

import (
	"cmp"
	"math"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/holders"
	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

// dcgmDescs are the series of NVIDIA's dcgm-exporter that common dashboards and OpenCost read. They have its names, units, types and labels,
// including its flaws: a GPU's series have the holder as labels, so a new pod starts new series, and a GPU with several holders has several
// series. They are additional series that a flag enables.
type dcgmDescs struct {
	fields []dcgmField
}

type dcgmField struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	// of returns the value of a field that only whole GPUs have; ofPart that of a field that MIG instances have too. One of them is set.
	of     func(r reading, xid float64) float64
	ofPart func(p sharedReading) float64
}

// DCGMCatalogue returns the series of --dcgm-names for the reference.
func DCGMCatalogue() *catalogue.Catalogue {
	c := &catalogue.Catalogue{Prefix: "DCGM_FI_"}
	newDCGMDescs(c)
	return c
}

const mebibyte = 1 << 20

func newDCGMDescs(c *catalogue.Catalogue) dcgmDescs {
	c.Labels = []string{
		"gpu", "UUID", "pci_bus_id", "device", "modelName", "Hostname", "DCGM_FI_DRIVER_VERSION",
		"GPU_I_ID", "GPU_I_PROFILE", "container", "namespace", "pod",
	}
	var d dcgmDescs
	gauge := func(name, help string, of func(r reading, xid float64) float64) {
		d.fields = append(d.fields, dcgmField{desc: c.Gauge(name, help), kind: prometheus.GaugeValue, of: of})
	}
	counter := func(name, help string, of func(r reading, xid float64) float64) {
		d.fields = append(d.fields, dcgmField{desc: c.Counter(name, help), kind: prometheus.CounterValue, of: of})
	}
	shared := func(name, help string, of func(p sharedReading) float64) {
		d.fields = append(d.fields, dcgmField{desc: c.Gauge(name, help), kind: prometheus.GaugeValue, ofPart: of})
	}
	memory := func(name, help string, of func(total, used, free, reserved uint64) uint64, known func(p sharedReading) bool) {
		shared(name, help, func(p sharedReading) float64 {
			if !known(p) {
				return absent
			}
			return float64(of(p.memory.Total, p.memory.Used, p.memory.Free, p.memory.Reserved) / mebibyte)
		})
	}
	hasMemory := func(p sharedReading) bool { return p.memory != nil }
	hasReserved := func(p sharedReading) bool { return p.memory != nil && p.memory.ReservedKnown }
	// rounded converts a value to another unit and rounds it, because DCGM publishes integers.
	rounded := func(v, unit float64) float64 { return math.Round(v * unit) }

	gauge("DEV_SM_CLOCK", "SM clock frequency (in MHz).", func(r reading, _ float64) float64 { return rounded(find(r.clocks, "sm"), 1e-6) })
	gauge("DEV_MEM_CLOCK", "Memory clock frequency (in MHz).", func(r reading, _ float64) float64 { return rounded(find(r.clocks, "memory"), 1e-6) })
	gauge("DEV_MEMORY_TEMP", "Memory temperature (in C).", func(r reading, _ float64) float64 { return find(r.temperatures, "memory") })
	gauge("DEV_GPU_TEMP", "GPU temperature (in C).", func(r reading, _ float64) float64 { return find(r.temperatures, "gpu") })
	gauge("DEV_POWER_USAGE", "Power draw (in W).", func(r reading, _ float64) float64 { return r.power })
	counter("DEV_TOTAL_ENERGY_CONSUMPTION", "Energy since the driver was loaded (in mJ).", func(r reading, _ float64) float64 { return rounded(r.energy, 1e3) })
	counter("DEV_PCIE_REPLAY_COUNTER", "PCIe retries.", func(r reading, _ float64) float64 { return r.pcieReplays })
	gauge("DEV_GPU_UTIL", "GPU utilization (in %).", func(r reading, _ float64) float64 { return rounded(r.utilization, 100) })
	gauge("DEV_MEM_COPY_UTIL", "Memory utilization (in %).", func(r reading, _ float64) float64 { return rounded(r.memoryCopy, 100) })
	gauge("DEV_ENC_UTIL", "Encoder utilization (in %).", func(r reading, _ float64) float64 { return rounded(r.encoder, 100) })
	gauge("DEV_DEC_UTIL", "Decoder utilization (in %).", func(r reading, _ float64) float64 { return rounded(r.decoder, 100) })
	gauge("DEV_XID_ERRORS", "Code of the last XID error.", func(_ reading, xid float64) float64 { return xid })
	memory("DEV_FB_TOTAL", "Framebuffer memory (in MiB).", func(t, _, _, _ uint64) uint64 { return t }, hasMemory)
	memory("DEV_FB_FREE", "Framebuffer memory free (in MiB).", func(_, _, f, _ uint64) uint64 { return f }, hasMemory)
	memory("DEV_FB_USED", "Framebuffer memory used (in MiB).", func(_, u, _, _ uint64) uint64 { return u }, hasMemory)
	memory("DEV_FB_RESERVED", "Framebuffer memory reserved (in MiB).", func(_, _, _, r uint64) uint64 { return r }, hasReserved)
	ecc := func(severity, scope string) func(reading, float64) float64 {
		return func(r reading, _ float64) float64 {
			for _, e := range r.ecc {
				if e.severity == severity && e.scope == scope {
					return e.value
				}
			}
			return absent
		}
	}
	counter("DEV_ECC_SBE_VOL_TOTAL", "Corrected memory errors since the driver was loaded.", ecc("corrected", "volatile"))
	counter("DEV_ECC_DBE_VOL_TOTAL", "Uncorrected memory errors since the driver was loaded.", ecc("uncorrected", "volatile"))
	counter("DEV_ECC_SBE_AGG_TOTAL", "Corrected memory errors in all.", ecc("corrected", "aggregate"))
	counter("DEV_ECC_DBE_AGG_TOTAL", "Uncorrected memory errors in all.", ecc("uncorrected", "aggregate"))
	rows := func(uncorrectable bool) func(reading, float64) float64 {
		return func(r reading, _ float64) float64 {
			switch {
			case r.remapped == nil:
				return absent
			case uncorrectable:
				return float64(r.remapped.Uncorrectable)
			}
			return float64(r.remapped.Correctable)
		}
	}
	counter("DEV_UNCORRECTABLE_REMAPPED_ROWS", "Rows remapped for uncorrectable errors.", rows(true))
	counter("DEV_CORRECTABLE_REMAPPED_ROWS", "Rows remapped for correctable errors.", rows(false))
	gauge("DEV_ROW_REMAP_FAILURE", "Whether remapping of rows has failed.", func(r reading, _ float64) float64 {
		switch {
		case r.remapped == nil:
			return absent
		case r.remapped.Failed:
			return 1
		}
		return 0
	})
	shared("PROF_GR_ENGINE_ACTIVE", "Ratio of time the graphics engine is active.", func(p sharedReading) float64 { return p.gpm.GraphicsActive })
	shared("PROF_SM_ACTIVE", "Ratio of cycles an SM has at least 1 warp assigned.", func(p sharedReading) float64 { return p.gpm.SMActive })
	shared("PROF_SM_OCCUPANCY", "Ratio of number of warps resident on an SM.", func(p sharedReading) float64 { return p.gpm.SMOccupancy })
	shared("PROF_PIPE_TENSOR_ACTIVE", "Ratio of cycles any tensor pipe is active.", func(p sharedReading) float64 { return p.gpm.TensorActive })
	shared("PROF_DRAM_ACTIVE", "Ratio of cycles the device memory interface is active.", func(p sharedReading) float64 { return p.gpm.DRAMActive })
	gauge("PROF_PCIE_TX_BYTES", "Rate of data sent over PCIe (in bytes per second).", func(r reading, _ float64) float64 { return r.pcieTransmitRate })
	gauge("PROF_PCIE_RX_BYTES", "Rate of data received over PCIe (in bytes per second).", func(r reading, _ float64) float64 { return r.pcieReceiveRate })
	return d
}

// metrics returns the series of one reading.
func (d dcgmDescs) metrics(host string, id identity, r reading, xid float64) exporter.Metrics {
	var m exporter.Metrics
	add := func(instance, profile string, hs []holding, value func(dcgmField) float64) {
		if len(hs) == 0 {
			hs = []holding{{}} // without a holder: empty labels
		}
		seen := map[holders.Holder]bool{}
		for _, h := range hs {
			pod := holders.Holder{Namespace: h.holder.Namespace, Pod: h.holder.Pod, Container: h.holder.Container}
			if seen[pod] {
				continue // All holders outside Kubernetes have the same, empty labels here.
			}
			seen[pod] = true
			labels := []string{
				strconv.Itoa(id.index), id.uuid, id.pci, "nvidia" + cmp.Or(id.minor, strconv.Itoa(id.index)), id.name, host, id.driver,
				instance, profile, pod.Container, pod.Namespace, pod.Pod,
			}
			for _, f := range d.fields {
				switch v := value(f); {
				case math.IsNaN(v):
				case f.kind == prometheus.CounterValue:
					m.Counter(f.desc, v, labels...)
				default:
					m.Gauge(f.desc, v, labels...)
				}
			}
		}
	}
	add("", "", r.holders, func(f dcgmField) float64 {
		if f.ofPart != nil {
			return f.ofPart(r.sharedReading)
		}
		return f.of(r, xid)
	})
	for _, instance := range r.instances {
		add(strconv.Itoa(instance.id), profileOf(instance.name), instance.holders, func(f dcgmField) float64 {
			if f.ofPart != nil {
				return f.ofPart(instance.sharedReading)
			}
			return absent
		})
	}
	return m
}

// profileOf returns 1g.10gb for "NVIDIA H100 80GB HBM3 MIG 1g.10gb".
func profileOf(name string) string {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == ' ' {
			return name[i+1:]
		}
	}
	return name
}
