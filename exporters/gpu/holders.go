package gpu

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/holders"
	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/nvml"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// holderSource has the sources of the holders of GPUs.
type holderSource struct {
	procfs  string
	jobs    string // folder; empty if there is none
	names   *holders.ContainerNames
	kubelet atomic.Pointer[[]holders.Allocation]
	limiter func() *limit.Limiter
	log     *slog.Logger
}

// allocated returns the containers to which the kubelet allocated the device.
func (s *holderSource) allocated(d holders.Device) []holders.Holder {
	list := s.kubelet.Load()
	if list == nil {
		return nil
	}
	var out []holders.Holder
	for _, a := range *list {
		if d.Is(a.Device) && !slices.Contains(out, a.Holder) {
			out = append(out, a.Holder)
		}
	}
	return out
}

// holderOf returns the holder of the process. The name of its pod comes from the link of its container's log, or from the kubelet if only one
// pod has the device. Otherwise the pod's UID is used.
func (s *holderSource) holderOf(pid uint32, allocated []holders.Holder) holders.Holder {
	g := holders.ProcessGroup(s.procfs, pid)
	if h, ok := s.names.Find(g.ContainerID); ok {
		return h
	}
	if g.PodUID == "" {
		return g.Holder
	}
	if len(allocated) == 1 {
		return allocated[0]
	}
	return holders.Holder{Pod: g.PodUID}
}

// holding returns the holders of the whole GPU.
func (d *device) holding(run cycle) []holding {
	if run.holders == nil {
		return nil
	}
	where := holders.Device{UUIDs: []string{d.identity.uuid}, Minor: d.identity.minor}
	list, _ := ask(d, "processes", d.handle.Processes)
	return d.combine(run, where, list, d.processUtilization())
}

// holdingInstance returns the holders of a GPU instance. The driver does not report the share of an instance that a process uses.
func (d *device) holdingInstance(run cycle, id int, uuids []string, devices []nvml.MIGDevice) []holding {
	if run.holders == nil {
		return nil
	}
	where := holders.Device{UUIDs: uuids, Minor: d.identity.minor, Instance: strconv.Itoa(id)}
	var all []nvml.Process
	for _, device := range devices {
		list, _ := ask(d, "processes of an instance", device.Processes)
		all = append(all, list...)
	}
	return d.combine(run, where, all, nil)
}

// processUtilization returns the mean share of each process since the last collection, by process ID, or nil if the driver does not report it.
func (d *device) processUtilization() map[uint32]float64 {
	const name = "process utilization"
	idle := false
	samples, ok := ask(d, name, func() ([]nvml.ProcessSample, error) {
		s, err := d.handle.ProcessUtilization(d.usedProcess)
		if errors.Is(err, nvml.ErrNotFound) {
			idle, err = true, nil
		}
		return s, err
	})
	if !ok {
		return nil
	}
	out := map[uint32]float64{}
	if idle {
		return out
	}
	count := map[uint32]float64{}
	newest := d.usedProcess
	for _, s := range samples {
		if s.Time <= d.usedProcess {
			continue
		}
		newest = max(newest, s.Time)
		count[s.PID]++
		out[s.PID] += (float64(s.Percent)/100 - out[s.PID]) / count[s.PID]
	}
	d.usedProcess = newest
	return out
}

// combine merges the holders to which the device is allocated with the processes that use it.
func (d *device) combine(run cycle, where holders.Device, processes []nvml.Process, used map[uint32]float64) []holding {
	s := run.holders
	allocated := s.allocated(where)
	jobs, err := holders.Jobs(s.jobs, strconv.Itoa(d.index), where.Instance)
	if err != nil {
		s.log.Warn("Cannot read the jobs of the GPUs", "err", err)
	}
	byHolder := map[holders.Holder]*holding{}
	limiter := s.limiter()
	add := func(h holders.Holder) *holding {
		if limiter.Fold(holderKey(h)) == limit.Other {
			h = holders.Holder{Unit: holders.OtherUnit}
		}
		if byHolder[h] == nil {
			byHolder[h] = &holding{holder: h, memory: absent, utilization: absent}
		}
		return byHolder[h]
	}
	for _, h := range append(allocated, jobs...) {
		add(h)
	}
	for _, p := range processes {
		h := add(s.holderOf(p.PID, allocated))
		if p.MemoryKnown {
			h.memory = plus(h.memory, float64(p.Memory))
		}
		if used != nil {
			h.utilization = min(plus(h.utilization, used[p.PID]), 1)
		}
	}
	list := make([]holding, 0, len(byHolder))
	for _, h := range slices.SortedFunc(maps.Keys(byHolder), holders.Compare) {
		list = append(list, *byHolder[h])
	}
	return list
}

// plus adds to a sum that may be absent.
func plus(sum, v float64) float64 {
	if sum != sum {
		return v
	}
	return sum + v
}

// holderKey identifies a holder for the limiter.
func holderKey(h holders.Holder) string { return strings.Join(h.Labels(), "\x1f") }
