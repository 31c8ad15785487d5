// Package gpu turns NVIDIA's GPUs into metrics.
//
// Input: the driver's management library, which is opened while the program
// runs, and who holds which GPU. Output: the state of every GPU and MIG instance
// on one clock, and, on series of their own, its holders: hardware series carry
// no workload, so a new pod does not split them.
//
// The driver is the part that fails. A call can hang for ever, a GPU can fall off
// its bus, the driver can be replaced under the running program. Each GPU is
// therefore looked at by a goroutine and with a deadline of its own, and what
// scrapes see never waits for one. The Exporter owns the library and all that is
// remembered of the GPUs, through every reload of the configuration.
package gpu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
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
	"github.com/sightglass-ml/sightglass/internal/guard"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// Options are the flags of the exporter. They hold for the life of the process,
// as the library does.
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

// Exporter is what lasts through reloads.
type Exporter struct {
	Options
	host   string
	lib    nvml.Library
	reexec func(now time.Time) error
	now    func() time.Time
	descs  descs
	dcgm   dcgmDescs

	// life holds one token. Who has it may initialise and shut down the library.
	life  chan struct{}
	ready bool // the library is initialised
	epoch int  // counts initialisations
	stop  func(context.Context) error

	mu            sync.Mutex // guards what follows
	cards         []*card
	lost          map[string]identity // by UUID: GPUs that a later initialisation did not find
	seen          int                 // most GPUs at once
	driver, cuda  string
	releasedUntil time.Time
}

func newExporter(o Options, host string, lib nvml.Library, reexec func(time.Time) error, now func() time.Time) *Exporter {
	e := &Exporter{
		Options: o, host: host, lib: lib, reexec: reexec, now: now,
		life: make(chan struct{}, 1), lost: map[string]identity{},
		descs: newDescs(&catalogue.Catalogue{Prefix: "gpu_"}),
		dcgm:  newDCGMDescs(&catalogue.Catalogue{Prefix: "DCGM_FI_"}),
	}
	e.life <- struct{}{}
	return e
}

// instance is the exporter under one configuration.
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
			// One for each look at a GPU: holders come and go for ever, and what
			// is bounded are those at one time.
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
		// Every GPU has its own deadline; this one is for the library as a whole.
		Timeout: time.Duration(cfg.Timeout) + time.Second, Collect: i.collect,
	}); err != nil {
		return nil, errors.Join(err, i.Stop(context.Background()))
	}
	return i, nil
}

// Reload implements exporter.Reloader. The GPUs, what was counted of them and how many there were last through every reload. A
// configuration that says the same does not even connect anew to the kubelet.
func (i *instance) Reload(_ context.Context, cfg Config) error {
	if config.Same(i.cfg, cfg) {
		return nil
	}
	return exporter.ErrReplace
}

// Stop implements exporter.Stopper. The library stays: the next configuration
// goes on with it, and the end of the process frees it.
func (i *instance) Stop(context.Context) error {
	if i.kubelet == nil {
		return nil
	}
	return i.kubelet.Close()
}

// listPods refreshes what the kubelet allocated.
func (i *instance) listPods(ctx context.Context) error {
	if _, err := os.Stat(i.cfg.Holders.KubeletSocket); errors.Is(err, fs.ErrNotExist) && !i.cfg.Holders.socketRequired {
		i.holders.kubelet.Store(nil)
		return nil // This is no node of Kubernetes.
	}
	list, err := i.kubelet.List(ctx)
	if err != nil {
		i.holders.kubelet.Store(nil) // Who held a GPU then may have gone.
		return err
	}
	i.holders.kubelet.Store(&list)
	return nil
}

// collect looks at every GPU.
func (i *instance) collect(ctx context.Context) error {
	select {
	case <-i.life:
		defer func() { i.life <- struct{}{} }()
	case <-ctx.Done():
		return fmt.Errorf("the library is being initialised or released: %w", ctx.Err())
	}
	if until := i.released(); i.now().Before(until) {
		return fmt.Errorf("the driver was released on request until %s", until.UTC().Format(time.RFC3339))
	}
	if err := i.ensure(ctx); err != nil || !i.ready {
		return i.mismatch(err)
	}
	return i.mismatch(i.lookAtAll(ctx))
}

// ensure initialises the library unless it is.
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
	// Numbers of GPUs shift when one is gone: those that are not found again are
	// lost by their UUID.
	for _, c := range i.cards {
		if s := c.snapshot(); s.known {
			i.lost[s.identity.uuid] = s.identity
		}
	}
	i.cards = resized(i.cards, n)
	i.mu.Unlock()
	i.startWatching(context.WithoutCancel(ctx))
	return nil
}

// resized returns n cards. A card that hangs keeps its place.
func resized(cards []*card, n int) []*card {
	for len(cards) < n {
		cards = append(cards, newCard(len(cards)))
	}
	return cards[:n]
}

// startWatching starts to count XID errors. The context must not be that of one
// look.
func (i *instance) startWatching(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = guard.Call(i.log, "xid", func() error { // It is logged; a later initialisation watches again.
			watchXIDs(ctx, i.lib, i.cardOf, i.now, i.log)
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

// cardOf returns the card of a device.
func (e *Exporter) cardOf(d nvml.Device) *card {
	for _, c := range e.all() {
		c.mu.Lock()
		found := c.xids.device == d
		c.mu.Unlock()
		if found {
			return c
		}
	}
	return nil
}

func (e *Exporter) all() []*card {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.cards)
}

func (e *Exporter) released() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.releasedUntil
}

// lookAtAll looks at the GPUs at the same time. What is wrong with one of them is
// told by gpu_up; it is no failure of the collector.
func (i *instance) lookAtAll(ctx context.Context) error {
	cards := i.all()
	errs := make([]error, len(cards))
	var wg sync.WaitGroup
	for n, c := range cards {
		wg.Go(func() { errs[n] = c.look(i.look(ctx)) })
	}
	wg.Wait()
	i.settle(cards, errs)
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

func (i *instance) look(ctx context.Context) look {
	l := look{
		ctx: ctx, cfg: i.cfg, epoch: i.epoch, lib: i.lib, driver: i.driver, cuda: i.cuda, holders: i.holders,
		sleeps: func(pci string) bool { return sleeps(i.SysFS, pci) }, now: i.now, log: i.log,
	}
	l.publish = func(c *card, r reading) exporter.Prepared {
		m := i.descs.metrics(c.identity, r)
		if i.DCGMNames {
			c.mu.Lock()
			xid := absent
			if c.xids.watched {
				xid = float64(c.xids.newest)
			}
			c.mu.Unlock()
			m = append(m, i.dcgm.metrics(i.host, c.identity, r, xid)...)
		}
		return exporter.Prepare(m)
	}
	return l
}

// settle logs what changed and forgets the loss of GPUs that were found again.
func (i *instance) settle(cards []*card, errs []error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, c := range cards {
		delete(i.lost, c.snapshot().identity.uuid)
		text := ""
		if errs[n] != nil {
			text = errs[n].Error()
		}
		if text == c.logged {
			continue
		}
		c.logged = text
		if text == "" {
			i.log.Info("The GPU answers again", "gpu", c.index)
		} else {
			i.log.Error("The GPU cannot be read", "gpu", c.index, "err", errs[n])
		}
	}
}

// mismatch replaces the process where the driver was replaced under it.
func (i *instance) mismatch(err error) error {
	if !errors.Is(err, nvml.ErrVersionMismatch) {
		return err
	}
	i.log.Warn("The driver was replaced; starting anew with its library", "err", err)
	return errors.Join(err, i.reexec(i.now()))
}

// shutdown ends the use of the driver. The caller has the token of life.
func (i *instance) shutdown(ctx context.Context) error {
	if !i.ready {
		return nil
	}
	var held []*card
	defer func() {
		for _, c := range held {
			c.turn <- struct{}{}
		}
	}()
	for _, c := range i.all() {
		select {
		case <-c.turn:
			held = append(held, c)
		case <-ctx.Done():
			return fmt.Errorf("GPU %d hangs in a call to the driver: only the end of the process releases it", c.index)
		}
	}
	if err := i.stop(ctx); err != nil {
		return err
	}
	for _, c := range held {
		c.gpm = c.closeGPM(i.log)
	}
	i.ready = false
	if err := i.lib.Shutdown(); err != nil {
		return fmt.Errorf("shut NVML down: %w", err)
	}
	return nil
}

// Routes implements exporter.Router.
func (i *instance) Routes(mux *http.ServeMux) {
	mux.HandleFunc("POST /-/release", i.serveRelease)
	mux.HandleFunc("POST /-/acquire", i.serveAcquire)
}

const (
	releaseDefault = 15 * time.Minute
	releaseMax     = 24 * time.Hour
	releaseWait    = 10 * time.Second
)

// serveRelease closes the driver, so that it can be unloaded, for the time in the
// parameter "for" or until /-/acquire.
func (i *instance) serveRelease(w http.ResponseWriter, r *http.Request) {
	d := releaseDefault
	if v := r.FormValue("for"); v != "" {
		var err error
		if d, err = time.ParseDuration(v); err != nil || d <= 0 || d > releaseMax {
			http.Error(w, fmt.Sprintf("for=%s is no duration above 0s and up to %s.", strconv.Quote(v), releaseMax), http.StatusBadRequest)
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), releaseWait)
	defer cancel()
	select {
	case <-i.life:
		defer func() { i.life <- struct{}{} }()
	case <-ctx.Done():
		http.Error(w, "A look at the GPUs does not end; end the process instead.", http.StatusServiceUnavailable)
		return
	}
	if err := i.shutdown(ctx); err != nil {
		http.Error(w, "Not released: "+err.Error()+".", http.StatusServiceUnavailable)
		return
	}
	until := i.now().Add(d)
	i.mu.Lock()
	i.releasedUntil = until
	i.mu.Unlock()
	i.log.Info("The driver was released on request", "until", until)
	_, _ = io.WriteString(w, "Released until "+until.UTC().Format(time.RFC3339)+"\n")
}

func (i *instance) serveAcquire(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	i.releasedUntil = time.Time{}
	i.mu.Unlock()
	_, _ = io.WriteString(w, "The driver is used again from the next collection on\n")
}

// Describe implements prometheus.Collector; what there is depends on the GPUs.
func (i *instance) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. It waits for no call to the driver.
func (i *instance) Collect(ch chan<- prometheus.Metric) {
	now := i.now()
	i.mu.Lock()
	cards := slices.Clone(i.cards)
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
			if slices.ContainsFunc(cards, func(c *card) bool { return c.snapshot().identity.uuid == uuid }) {
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
	for _, c := range cards {
		i.collectCard(ch, c, now, released)
	}
}

func (i *instance) collectCard(ch chan<- prometheus.Metric, c *card, now time.Time, released bool) {
	s := c.snapshot()
	p := page{labels: []string{strconv.Itoa(c.index), s.identity.uuid, ""}}
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

// Prepared implements exporter.Preparer: what the last look at each GPU found,
// while that is true, and its XID errors, for lost GPUs too.
func (i *instance) Prepared() (all []exporter.Prepared) {
	now := i.now()
	i.mu.Lock()
	cards := slices.Clone(i.cards)
	released := now.Before(i.releasedUntil)
	i.mu.Unlock()
	for _, c := range cards {
		c.mu.Lock()
		if c.xids.watched {
			all = append(all, c.xids.series(i.descs, strconv.Itoa(c.index), c.shown.identity.uuid))
		}
		if !released && c.shown.up(now, time.Duration(i.cfg.Timeout)) {
			all = append(all, c.shown.metrics)
		}
		c.mu.Unlock()
	}
	return all
}
