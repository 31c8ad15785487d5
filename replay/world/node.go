package world

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// node is a machine with GPUs, published as by its GPU exporter. Its numbers are simulated here instead of read from a driver, because the
// exporter only renames NVML's counters, which its own tests check. A test compares the metric names with the exporter's catalogue.
type node struct {
	*scenario.Node
	w         *World
	traffic   *traffic
	faults    []*fault
	throttled []float64 // seconds, by GPU
	xids      map[int]float64
	through   int64
	sink      *sink
}

var _ engine.Source = (*node)(nil)

const (
	gpuMemory = 80 << 30
	gpuXidOf  = 0 // the GPU with errors and heat
)

func (w *World) newNode(n *scenario.Node) *node {
	return &node{
		Node: n, w: w, traffic: newTraffic(n.Traffic, w.seed, n.Name, 1, w.scenario.From(), w.scenario.Holidays),
		faults:    occurrences(w.scenario, func(e *scenario.Event) bool { return e.Node == n.Name }),
		throttled: make([]float64, n.GPUs), xids: make(map[int]float64), through: minuteOf(w.scenario.From()),
	}
}

// gpu has the state of one GPU in a minute.
type gpu struct {
	utilization, memory, celsius float64
	lost                         bool
}

// gpuAt returns the state of the GPU with this index in a minute.
func (n *node) gpuAt(at int64, i int) gpu {
	r := random(n.w.seed, n.Name+"/gpu/"+strconv.Itoa(i), at)
	g := gpu{
		utilization: math.Min(0.93, n.Utilization*n.traffic.rate(at)*math.Exp(0.1*r.NormFloat64())),
		memory:      math.Min(0.93, n.Memory+0.02*r.Float64()),
	}
	for _, w := range n.faults {
		p := w.progress(at)
		if p == 0 {
			continue
		}
		switch w.Kind {
		case scenario.GPUQueueing:
			g.utilization, g.memory = 0.75+0.02*r.NormFloat64(), 0.985
		case scenario.GPUSaturation:
			g.utilization = math.Min(1, w.Size+0.003*r.NormFloat64())
		case scenario.GPUIdle:
			g.utilization = w.Size * r.Float64()
		case scenario.GPULost:
			g.lost = i < int(w.Size)
		}
	}
	g.celsius = 45 + 35*g.utilization
	return g
}

// advance updates the counters up to a time.
func (n *node) advance(_ context.Context, at time.Time) error {
	for now := minuteOf(at); n.through < now; n.through++ {
		for _, w := range n.faults {
			if w.Kind == scenario.GPUThrottling {
				n.throttled[gpuXidOf] += 60 * w.Size * w.progress(n.through)
			}
			if w.Kind == scenario.GPUXid && n.through == w.from {
				n.xids[int(w.Size)]++
			}
		}
	}
	return nil
}

// Scrape implements engine.Source.
func (n *node) Scrape(_ context.Context, at time.Time, to *engine.Scrape) error {
	if n.sink == nil || n.sink.scrape != to {
		n.sink = newSink(to)
	}
	put := func(v float64, name string, labels ...string) { to.Float(n.sink.one(name, labels...), v) }
	put(1, "sightglass_config_last_reload_successful")
	put(float64(n.GPUs), "gpu_expected")
	m := minuteOf(at)
	for i := range n.GPUs {
		index, uuid := strconv.Itoa(i), "GPU-"+n.Name+"-"+strconv.Itoa(i)
		of := func(v float64, name string, labels ...string) {
			put(v, name, append([]string{"gpu", index, "uuid", uuid}, labels...)...)
		}
		g := n.gpuAt(m, i)
		if g.lost {
			of(0, "gpu_up")
			continue
		}
		of(1, "gpu_up")
		of(g.utilization, "gpu_utilization_ratio")
		of(gpuMemory, "gpu_memory_total_bytes")
		of(gpuMemory*(1-g.memory), "gpu_memory_free_bytes")
		of(gpuMemory*g.memory, "gpu_memory_used_bytes")
		of(g.celsius, "gpu_temperature_celsius", "sensor", "gpu")
		of(100+550*g.utilization, "gpu_power_watts")
		of(n.throttled[i], "gpu_throttle_seconds_total", "reason", "sw_thermal")
		of(0, "gpu_ecc_errors_total", "severity", "uncorrected", "scope", "volatile")
		of(1, "gpu_allocation_info", "namespace", "serving", "pod", n.Name+"-server-"+index, "container", "server")
		if i != gpuXidOf {
			continue
		}
		// The exporter publishes a counter for each kind of error from the start, so that the first error is an increase.
		for _, w := range n.faults {
			if w.Kind == scenario.GPUXid {
				of(n.xids[int(w.Size)], "gpu_xid_errors_total", "xid", strconv.Itoa(int(w.Size)))
			}
		}
	}
	return nil
}
