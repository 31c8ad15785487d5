// Package gpu publishes metrics of NVIDIA's GPUs.
//
// Input: the driver's management library, which is opened at run time, and the sources of holders. Output: the state of every GPU and MIG
// instance, collected at one interval, and separate series of their holders. Hardware series have no labels of workloads, so a new pod does
// not start new series. State: the library and the state of the GPUs, which the Exporter keeps through every reload. The package never
// blocks a scrape.
//
// The driver is the part that fails. A call can hang for ever, a GPU can fall off its bus, and the driver can be replaced while the program
// runs. Each GPU is therefore read in its own goroutine with its own deadline, and scrapes read the last snapshot.
package gpu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/driver"
	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/holders"
	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/nvml"
	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// Options are the flags of the exporter. Like the library, they stay the same until the process ends.
type Options struct {
	Library   string
	DCGMNames bool
	ProcFS    string
	SysFS     string
}

// Spec describes the binary gpu-exporter.
func Spec() exporter.Spec[Config] {
	var o Options
	once := sync.OnceValues(func() (*Exporter, error) {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("find the name of the host: %w", err)
		}
		return newExporter(o, host, driver.New(o.Library), reexec, time.Now), nil
	})
	return exporter.Spec[Config]{
		Name:           "gpu_exporter",
		Description:    "Publishes the state of NVIDIA GPUs and who holds them.",
		DefaultAddress: ":10910",
		ConfigOptional: true,
		Load:           config.Load[Config],
		Flags: func(app *kingpin.Application) {
			app.Flag("nvml.library", "Name or path of NVIDIA's management library.").Default(driver.DefaultName).StringVar(&o.Library)
			app.Flag("dcgm-names", "Serve the series of dcgm-exporter as well, for dashboards and OpenCost.").BoolVar(&o.DCGMNames)
			app.Flag("path.procfs", "Where the host's proc file system is mounted.").Default("/proc").StringVar(&o.ProcFS)
			app.Flag("path.sysfs", "Where the host's sys file system is mounted.").Default("/sys").StringVar(&o.SysFS)
		},
		Start: func(ctx context.Context, env *exporter.Env, cfg Config) (exporter.Instance, error) {
			e, err := once()
			if err != nil {
				return nil, err
			}
			return e.start(ctx, env, cfg)
		},
		Watching: func(cfg Config) []any {
			return []any{"library", o.Library, "interval", cfg.Interval.String(), "expected", cfg.Expected, "holders", cfg.Holders.Enabled}
		},
	}
}

// Exporter has the state that survives reloads.
type Exporter struct {
	Options
	host   string
	lib    nvml.Library
	reexec func(now time.Time) error
	now    func() time.Time
	descs  descs
	dcgm   dcgmDescs

	// library holds one token. Its owner may initialise and shut down NVML.
	library chan struct{}
	ready   bool // the library is initialised
	epoch   int  // counts initialisations
	stop    func(context.Context) error

	mu            sync.Mutex // guards the following fields
	devices       []*device
	lost          map[string]identity // by UUID: GPUs that a later initialisation did not find
	seen          int                 // largest number of GPUs so far
	driver, cuda  string
	releasedUntil time.Time
}

func newExporter(o Options, host string, lib nvml.Library, reexec func(time.Time) error, now func() time.Time) *Exporter {
	e := &Exporter{
		Options: o, host: host, lib: lib, reexec: reexec, now: now,
		library: make(chan struct{}, 1), lost: map[string]identity{},
		descs: newDescs(&catalogue.Catalogue{Prefix: "gpu_"}),
		dcgm:  newDCGMDescs(&catalogue.Catalogue{Prefix: "DCGM_FI_"}),
	}
	e.library <- struct{}{}
	return e
}

// instance is the exporter with one configuration.
type instance struct {
	*Exporter
	cfg     Config
	log     *slog.Logger
	holders *holderSource
	kubelet *holders.Kubelet
}

var (
	_ exporter.Instance         = (*instance)(nil)
	_ exporter.Reloader[Config] = (*instance)(nil)
	_ exporter.Router           = (*instance)(nil)
	_ exporter.Stopper          = (*instance)(nil)
)

func (e *Exporter) start(_ context.Context, env *exporter.Env, cfg Config) (exporter.Instance, error) {
	i := &instance{Exporter: e, cfg: cfg, log: env.Logger}
	if h := cfg.Holders; h.Enabled {
		i.holders = &holderSource{
			procfs: e.ProcFS, jobs: string(h.JobDirectory), log: env.Logger,
			names: holders.NewContainerNames(h.ContainerLogs, e.now),
			// Each collection of a GPU has its own limiter, because the limit is on simultaneous holders, not on all holders over time.
			limiter: func() *limit.Limiter { return env.Limit("gpu_holders", h.Max) },
		}
		if h.KubeletSocket != "" {
			var err error
			if i.kubelet, err = holders.DialKubelet(h.KubeletSocket, h.Resources); err != nil {
				return nil, cfg.Wrap("holders.kubelet_socket", err)
			}
			if err := env.Loop(exporter.Loop{
				Name: "kubelet", Interval: time.Duration(cfg.Interval), Timeout: time.Duration(cfg.Timeout), Collect: i.listPods,
			}); err != nil {
				return nil, errors.Join(err, i.kubelet.Close())
			}
		}
	}
	if err := env.Loop(exporter.Loop{
		Name: "nvml", Interval: time.Duration(cfg.Interval),
		// Every GPU has its own deadline. This one is for the whole library.
		Timeout: time.Duration(cfg.Timeout) + time.Second, Collect: i.collect,
	}); err != nil {
		return nil, errors.Join(err, i.Stop(context.Background()))
	}
	return i, nil
}

// Reload implements exporter.Reloader. The GPUs, their counters and their largest number survive every reload. An unchanged configuration
// keeps even the connection to the kubelet.
func (i *instance) Reload(_ context.Context, cfg Config) error {
	if config.Equal(i.cfg, cfg) {
		return nil
	}
	return exporter.ErrReplace
}

// Stop implements exporter.Stopper. The library remains open for the next configuration; the end of the process frees it.
func (i *instance) Stop(context.Context) error {
	if i.kubelet == nil {
		return nil
	}
	return i.kubelet.Close()
}

// Describe implements prometheus.Collector. It declares nothing, because the metrics depend on the GPUs.
func (i *instance) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. It never calls the driver.
func (i *instance) Collect(ch chan<- prometheus.Metric) {
	now := i.now()
	i.mu.Lock()
	devices := slices.Clone(i.devices)
	expected := i.cfg.Expected
	if expected == 0 {
		expected = i.seen
	}
	released := now.Before(i.releasedUntil)
	m := page{labels: []string{"", "", ""}}
	if expected > 0 {
		m.Gauge(i.descs.expected, float64(expected))
	}
	if !released {
		for uuid, id := range i.lost {
			if slices.ContainsFunc(devices, func(d *device) bool { return d.snapshot().identity.uuid == uuid }) {
				continue
			}
			m.labels = []string{strconv.Itoa(id.index), uuid, ""}
			m.gauge(i.descs.info, 1, id.info("")...)
			m.gauge(i.descs.up, 0)
		}
	}
	i.mu.Unlock()
	for _, metric := range m.Metrics {
		ch <- metric
	}
	for _, d := range devices {
		i.collectDevice(ch, d, now, released)
	}
}

func (i *instance) collectDevice(ch chan<- prometheus.Metric, d *device, now time.Time, released bool) {
	s := d.snapshot()
	p := page{labels: []string{strconv.Itoa(d.index), s.identity.uuid, ""}}
	if s.known {
		p.gauge(i.descs.info, 1, s.identity.info("")...)
	}
	timeout := time.Duration(i.cfg.Timeout)
	switch late := s.late(now, timeout); {
	case released, s.finished.IsZero() && !late: // Nothing is known.
	case s.suspended && !late:
		p.gauge(i.descs.suspended, 1)
	default:
		p.flag(i.descs.suspended, false)
		p.flag(i.descs.up, s.up(now, timeout))
	}
	for _, metric := range p.Metrics {
		ch <- metric
	}
}

// Prepared implements exporter.Preparer. It returns the result of the last collection of each GPU while it is valid, and the XID errors, also
// of lost GPUs.
func (i *instance) Prepared() (all []exporter.Prepared) {
	now := i.now()
	i.mu.Lock()
	devices := slices.Clone(i.devices)
	released := now.Before(i.releasedUntil)
	i.mu.Unlock()
	for _, d := range devices {
		d.mu.Lock()
		if d.xids.watched {
			all = append(all, d.xids.series(i.descs, strconv.Itoa(d.index), d.latest.identity.uuid))
		}
		if !released && d.latest.up(now, time.Duration(i.cfg.Timeout)) {
			all = append(all, d.latest.metrics)
		}
		d.mu.Unlock()
	}
	return all
}
