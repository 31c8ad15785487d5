package gpu

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/sightglass-ml/sightglass/internal/exporter"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/nvml"
)

// maxXIDs limits the codes of one GPU. NVIDIA's catalogue has fewer than 200.
const maxXIDs = 256

// xidCounts are the XID errors of one GPU.
type xidCounts struct {
	watched bool // the driver reports them
	device  nvml.Device
	count   map[uint64]float64
	last    map[uint64]time.Time
	newest  uint64 // code of the last one
	made    exporter.Prepared
	madeFor string // UUID; empty if made is out of date
}

func newXIDCounts() xidCounts {
	x := xidCounts{count: map[uint64]float64{}, last: map[uint64]time.Time{}}
	for _, code := range initialXIDs {
		x.count[code] = 0
	}
	return x
}

func (x *xidCounts) add(code uint64, now time.Time) {
	if _, known := x.count[code]; !known && len(x.count) >= maxXIDs {
		return
	}
	x.count[code]++
	x.last[code] = now
	x.newest = code
	x.madeFor = ""
}

// series returns the series, also for lost GPUs, because an XID error is the most frequent reason of a loss. They rarely change, so they are
// cached.
func (x *xidCounts) series(d descs, gpu, uuid string) exporter.Prepared {
	if x.madeFor == uuid {
		return x.made
	}
	p := page{labels: []string{gpu, uuid, ""}}
	for code, n := range x.count {
		p.counter(d.xid, n, strconv.FormatUint(code, 10))
	}
	for code, t := range x.last {
		p.gauge(d.xidLast, float64(t.UnixMilli())/1e3, strconv.FormatUint(code, 10))
	}
	x.made, x.madeFor = exporter.Prepare(p.Metrics), uuid
	return x.made
}

// xidWait is the time that one call waits for an XID error. Stopping the watcher takes up to this time.
const xidWait = time.Second

// watchXIDs counts XID errors until ctx ends.
func watchXIDs(ctx context.Context, lib nvml.Library, deviceOf func(nvml.Device) *device, now func() time.Time, log *slog.Logger) {
	for ctx.Err() == nil {
		xid, err := lib.NextXID(xidWait)
		switch {
		case err == nil:
			if d := deviceOf(xid.Device); d != nil {
				d.mu.Lock()
				d.xids.add(xid.Code, now())
				d.mu.Unlock()
				log.Warn("The driver reported an XID error", "gpu", d.index, "xid", xid.Code)
			}
		case !errors.Is(err, nvml.ErrTimeout):
			// No GPU is watched yet, or a GPU is lost. The call then returns immediately.
			select {
			case <-ctx.Done():
			case <-time.After(xidWait):
			}
		}
	}
}
