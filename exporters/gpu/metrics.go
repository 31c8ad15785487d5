package gpu

import (
	"math"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/holders"
	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/nvml"
	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

// Catalogue returns the metrics of the exporter for the reference.
func Catalogue() *catalogue.Catalogue {
	c := &catalogue.Catalogue{Prefix: "gpu_"}
	newDescs(c)
	return c
}

// descs has the descriptors of all metrics, in the order of docs/metrics.md. The label gpu_instance is empty except for MIG instances, and
// Prometheus treats an empty label as absent.
type descs struct {
	expected                                                *prometheus.Desc
	info, up, suspended                                     *prometheus.Desc
	utilization                                             *prometheus.Desc
	memoryTotal, memoryUsed, memoryReserved, memoryFree     *prometheus.Desc
	power, powerLimit, energy                               *prometheus.Desc
	temperature, temperatureLimit                           *prometheus.Desc
	clock, clockMax                                         *prometheus.Desc
	throttleActive, throttleSeconds                         *prometheus.Desc
	ecc, remapped, remapPending, remapFailure, retired      *prometheus.Desc
	xid, xidLast, recovery                                  *prometheus.Desc
	pcieReplays, pcieTransmit, pcieReceive                  *prometheus.Desc
	linkTransmit, linkReceive, linkErrors                   *prometheus.Desc
	smActive, smOccupancy, tensorActive, dramActive, active *prometheus.Desc
	allocation, processMemory, processUtilization           *prometheus.Desc
}

func newDescs(c *catalogue.Catalogue) descs {
	expected := c.Gauge("expected", "Expected number of GPUs of this machine: the configured number, or else the maximum seen since the start.")
	c.Labels = []string{"gpu", "uuid", "gpu_instance"}
	holder := []string{"namespace", "pod", "container", "slurm_job", "unit"}
	return descs{
		expected:           expected,
		info:               c.Gauge("info", "Model and driver of the GPU or MIG instance.", "name", "architecture", "pci_bus_id", "driver_version", "cuda_version"),
		up:                 c.Gauge("up", "Whether the GPU responds (1), or is lost or hangs (0). Absent while the GPU is suspended or the driver is released."),
		suspended:          c.Gauge("suspended", "Whether the kernel suspended the GPU to save power (1). The exporter does not wake it."),
		utilization:        c.Gauge("utilization_ratio", "Share of time in which a kernel ran, as the mean of the driver's samples since the last collection. Absent on MIG."),
		memoryTotal:        c.Gauge("memory_total_bytes", "Size of the memory."),
		memoryUsed:         c.Gauge("memory_used_bytes", "Memory that is allocated."),
		memoryReserved:     c.Gauge("memory_reserved_bytes", "Memory that the driver and the firmware keep for themselves."),
		memoryFree:         c.Gauge("memory_free_bytes", "Memory that can be allocated."),
		power:              c.Gauge("power_watts", "Power that the GPU and its memory draw."),
		powerLimit:         c.Gauge("power_limit_watts", "Power limit, at which the GPU is throttled."),
		energy:             c.Counter("energy_joules_total", "Energy used since the driver was loaded."),
		temperature:        c.Gauge("temperature_celsius", "Temperature.", "sensor"),
		temperatureLimit:   c.Gauge("temperature_limit_celsius", "Temperature at which the GPU is throttled or shut down. From Ada on it is computed from margins, to about a degree.", "limit"),
		clock:              c.Gauge("clock_hertz", "Clock frequency.", "clock"),
		clockMax:           c.Gauge("clock_max_hertz", "Highest clock frequency.", "clock"),
		throttleActive:     c.Gauge("throttle_active", "Whether the reason throttles the clocks now.", "reason"),
		throttleSeconds:    c.Counter("throttle_seconds_total", "Time in which the reason throttled the clocks.", "reason"),
		ecc:                c.Counter("ecc_errors_total", "Memory errors since the driver was loaded (volatile) or the GPU was made (aggregate).", "severity", "scope"),
		remapped:           c.Gauge("remapped_rows", "Rows of memory that were replaced by spare rows after errors.", "cause"),
		remapPending:       c.Gauge("row_remap_pending", "Whether a row waits for a reset of the GPU to be replaced."),
		remapFailure:       c.Gauge("row_remap_failure", "Whether a row could not be replaced. Such a GPU needs replacement."),
		retired:            c.Gauge("retired_pages", "Pages of memory that are no longer used after errors, on GPUs that cannot replace rows.", "cause"),
		xid:                c.Counter("xid_errors_total", "XID errors that the driver reported since the exporter started. Frequent codes are present from the start.", "xid"),
		xidLast:            c.Gauge("xid_last_timestamp_seconds", "Time of the last XID error. Absent before the first.", "xid"),
		recovery:           c.Gauge("recovery_action", "Recovery action that the driver requests: 0 none, 1 reset the GPU, 2 reboot, 3 drain peer-to-peer, 4 drain and reset. Newer drivers may have higher numbers."),
		pcieReplays:        c.Counter("pcie_replays_total", "PCIe packets that were retransmitted."),
		pcieTransmit:       c.Counter("pcie_transmit_bytes_total", "Bytes that the GPU sent over PCIe."),
		pcieReceive:        c.Counter("pcie_receive_bytes_total", "Bytes that the GPU received over PCIe."),
		linkTransmit:       c.Counter("nvlink_transmit_bytes_total", "Data that the GPU sent over the NVLink, without protocol overhead if the GPU counts it separately.", "link"),
		linkReceive:        c.Counter("nvlink_receive_bytes_total", "Data that the GPU received over the NVLink.", "link"),
		linkErrors:         c.Counter("nvlink_errors_total", "Errors of the NVLink.", "link", "type"),
		smActive:           c.Gauge("sm_active_ratio", "Share of multiprocessors and time with at least one warp, as a mean since the last collection. Hopper and later."),
		smOccupancy:        c.Gauge("sm_occupancy_ratio", "Share of the warps that could be resident on the multiprocessors. Hopper and later."),
		tensorActive:       c.Gauge("tensor_active_ratio", "Share of the tensor cores' capacity that is used. Hopper and later."),
		dramActive:         c.Gauge("dram_active_ratio", "Share of the memory's bandwidth that is used. Hopper and later."),
		active:             c.Gauge("graphics_active_ratio", "Share of time in which the graphics or compute engine is busy. Hopper and later."),
		allocation:         c.Gauge("allocation_info", "The holder of the GPU or MIG instance, whether it uses it or not.", holder...),
		processMemory:      c.Gauge("process_memory_bytes", "Memory of the GPU that the holder's processes use.", holder...),
		processUtilization: c.Gauge("process_utilization_ratio", "Share of the multiprocessors' time that the holder's processes use. Absent on MIG.", holder...),
	}
}

// absent is the value of a number that was not measured.
var absent = math.NaN()

// page collects the series of one GPU or MIG instance without absent values.
type page struct {
	exporter.Metrics
	labels []string // gpu, uuid, gpu_instance
}

func (p *page) gauge(d *prometheus.Desc, v float64, labels ...string) {
	if !math.IsNaN(v) {
		p.Gauge(d, v, append(p.labels[:3:3], labels...)...)
	}
}

func (p *page) counter(d *prometheus.Desc, v float64, labels ...string) {
	if !math.IsNaN(v) {
		p.Counter(d, v, append(p.labels[:3:3], labels...)...)
	}
}

func (p *page) flag(d *prometheus.Desc, b bool) {
	v := 0.0
	if b {
		v = 1
	}
	p.gauge(d, v)
}

// metrics returns the series of one reading.
func (d descs) metrics(id identity, r reading) exporter.Metrics {
	p := page{labels: []string{strconv.Itoa(id.index), id.uuid, ""}}
	p.gauge(d.utilization, r.utilization)
	d.shared(&p, r.sharedReading)
	p.gauge(d.power, r.power)
	p.gauge(d.powerLimit, r.powerLimit)
	p.counter(d.energy, r.energy)
	for _, v := range r.temperatures {
		p.gauge(d.temperature, v.value, v.name)
	}
	for _, v := range r.temperatureLimits {
		p.gauge(d.temperatureLimit, v.value, v.name)
	}
	for _, v := range r.clocks {
		p.gauge(d.clock, v.value, v.name)
	}
	for _, v := range r.maxClocks {
		p.gauge(d.clockMax, v.value, v.name)
	}
	for _, v := range r.throttleActive {
		p.gauge(d.throttleActive, v.value, v.name)
	}
	for _, v := range r.throttleSeconds {
		p.counter(d.throttleSeconds, v.value, v.name)
	}
	for _, v := range r.ecc {
		p.counter(d.ecc, v.value, v.severity, v.scope)
	}
	if rows := r.remapped; rows != nil {
		p.gauge(d.remapped, float64(rows.Correctable), "correctable")
		p.gauge(d.remapped, float64(rows.Uncorrectable), "uncorrectable")
		p.flag(d.remapPending, rows.Pending)
		p.flag(d.remapFailure, rows.Failed)
	}
	for _, v := range r.retired {
		p.gauge(d.retired, v.value, v.name)
	}
	p.gauge(d.recovery, r.recovery)
	p.counter(d.pcieReplays, r.pcieReplays)
	p.counter(d.pcieTransmit, r.pcieTransmit)
	p.counter(d.pcieReceive, r.pcieReceive)
	for _, l := range r.links {
		link := strconv.Itoa(l.link)
		p.counter(d.linkTransmit, l.transmit, link)
		p.counter(d.linkReceive, l.receive, link)
		for _, v := range l.errors {
			p.counter(d.linkErrors, v.value, link, v.name)
		}
	}
	for _, instance := range r.instances {
		p.labels[2] = strconv.Itoa(instance.id)
		p.gauge(d.info, 1, id.info(instance.name)...)
		d.shared(&p, instance.sharedReading)
	}
	return p.Metrics
}

// shared adds the series that both GPUs and MIG instances have.
func (d descs) shared(p *page, r sharedReading) {
	if m := r.memory; m != nil {
		p.gauge(d.memoryTotal, float64(m.Total))
		p.gauge(d.memoryUsed, float64(m.Used))
		p.gauge(d.memoryFree, float64(m.Free))
		if m.ReservedKnown {
			p.gauge(d.memoryReserved, float64(m.Reserved))
		}
	}
	p.gauge(d.active, r.gpm.GraphicsActive)
	p.gauge(d.smActive, r.gpm.SMActive)
	p.gauge(d.smOccupancy, r.gpm.SMOccupancy)
	p.gauge(d.tensorActive, r.gpm.TensorActive)
	p.gauge(d.dramActive, r.gpm.DRAMActive)
	for _, h := range r.holders {
		labels := h.holder.Labels()
		p.gauge(d.allocation, 1, labels...)
		p.gauge(d.processMemory, h.memory, labels...)
		p.gauge(d.processUtilization, h.utilization, labels...)
	}
}

// reading is the result of one collection of a GPU. Absent numbers are NaN.
type reading struct {
	sharedReading
	utilization, memoryCopy, encoder, decoder float64
	power, powerLimit, energy                 float64
	temperatures, temperatureLimits           []named
	clocks, maxClocks                         []named
	throttleActive, throttleSeconds           []named
	ecc                                       []eccCount
	remapped                                  *nvml.RemappedRows
	retired                                   []named
	recovery                                  float64
	pcieReplays, pcieTransmit, pcieReceive    float64
	pcieTransmitRate, pcieReceiveRate         float64
	links                                     []linkReading
	instances                                 []instanceReading
}

// sharedReading has the values that both GPUs and MIG instances have.
type sharedReading struct {
	memory  *nvml.Memory
	gpm     nvml.GPMRatios
	holders []holding
}

type named struct {
	name  string
	value float64
}

type eccCount struct {
	severity, scope string
	value           float64
}

type linkReading struct {
	link              int
	transmit, receive float64
	errors            []named
}

type instanceReading struct {
	sharedReading
	id   int
	name string
}

// holding is a holder with the memory and utilization of its processes.
type holding struct {
	holder              holders.Holder
	memory, utilization float64
}

// find returns the value of that name.
func find(values []named, name string) float64 {
	for _, v := range values {
		if v.name == name {
			return v.value
		}
	}
	return absent
}
