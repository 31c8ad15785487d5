package driver

import (
	"errors"
	"math"
	"time"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/nvml"
)

// gpm implements nvml.GPM. Its two samples are never shared, because sharing them between goroutines has crashed kernels.
type gpm struct {
	lib      *Library
	device   device
	instance int
	// before is the last sample, spare the buffer of the next one.
	before, spare gonvml.GpmSample
	taken         time.Time
	metrics       gonvml.GpmMetricsGetType
}

var _ nvml.GPM = (*gpm)(nil)

// NewGPM implements nvml.Device.
func (d device) NewGPM(instance int) (nvml.GPM, error) {
	get := "nvmlGpmSampleGet"
	if instance != nvml.WholeGPU {
		get = "nvmlGpmMigSampleGet"
	}
	for _, s := range []string{"nvmlGpmQueryDeviceSupport", "nvmlGpmSampleAlloc", "nvmlGpmSampleFree", "nvmlGpmMetricsGet", get} {
		if err := d.lib.lacks(s); err != nil {
			return nil, err
		}
	}
	support, ret := d.GpmQueryDeviceSupport()
	if err := result(ret); err != nil {
		return nil, err
	}
	if support.IsSupportedDevice == 0 {
		return nil, nvml.ErrNotSupported
	}
	g := &gpm{lib: d.lib, device: d, instance: instance}
	var err error
	if g.before, err = g.alloc(); err != nil {
		return nil, err
	}
	if g.spare, err = g.alloc(); err != nil {
		return nil, errors.Join(err, result(g.before.Free()))
	}
	return g, nil
}

func (g *gpm) alloc() (gonvml.GpmSample, error) {
	s, ret := g.lib.lib.GpmSampleAlloc()
	return s, result(ret)
}

// Measure implements nvml.GPM.
func (g *gpm) Measure() (nvml.GPMRatios, error) {
	first := g.taken.IsZero()
	if !first && time.Since(g.taken) < nvml.GPMMinInterval {
		return nvml.GPMRatios{}, nvml.ErrNoData
	}
	var ret gonvml.Return
	if g.instance == nvml.WholeGPU {
		ret = g.spare.Get(g.device.Device)
	} else {
		ret = g.spare.MigGet(g.device.Device, g.instance)
	}
	if err := result(ret); err != nil {
		g.taken = time.Time{} // The next sample follows a gap.
		return nvml.GPMRatios{}, err
	}
	g.before, g.spare = g.spare, g.before
	g.taken = time.Now()
	if first {
		return nvml.GPMRatios{}, nvml.ErrNoData
	}

	var r nvml.GPMRatios
	wanted := []struct {
		id  gonvml.GpmMetricId
		out *float64
	}{
		{gonvml.GPM_METRIC_GRAPHICS_UTIL, &r.GraphicsActive},
		{gonvml.GPM_METRIC_SM_UTIL, &r.SMActive},
		{gonvml.GPM_METRIC_SM_OCCUPANCY, &r.SMOccupancy},
		{gonvml.GPM_METRIC_ANY_TENSOR_UTIL, &r.TensorActive},
		{gonvml.GPM_METRIC_DRAM_BW_UTIL, &r.DRAMActive},
	}
	m := &g.metrics
	m.NumMetrics, m.Sample1, m.Sample2 = uint32(len(wanted)), g.spare, g.before
	for i, w := range wanted {
		m.Metrics[i] = gonvml.GpmMetric{MetricId: uint32(w.id)}
	}
	if err := result(g.lib.lib.GpmMetricsGet(m)); err != nil {
		return nvml.GPMRatios{}, err
	}
	for i, w := range wanted {
		got := m.Metrics[i]
		*w.out = math.NaN()
		if gonvml.Return(got.NvmlReturn) == gonvml.SUCCESS && got.Value >= 0 {
			*w.out = min(got.Value/100, 1)
		}
	}
	return r, nil
}

// Close implements nvml.GPM.
func (g *gpm) Close() error {
	return errors.Join(result(g.before.Free()), result(g.spare.Free()))
}
