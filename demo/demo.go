// Package demo runs Sightglass on simulated data: the real Prometheus, Alertmanager and exporters watch the tables, GPUs,
// models and bills of a shop, in which incidents are injected. Each of these is a part with its own file.
//
// Input: the paths of the programs and the factor by which time is compressed. Output: a timeline for people, from the
// incident to the Slack message, and a Result for programs. State: a folder with the shop's data and all started processes.
// Run removes both when it returns, except a folder that the caller chose.
package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightglass-ml/sightglass/alertmanager"
	"github.com/sightglass-ml/sightglass/demo/slack"
	"github.com/sightglass-ml/sightglass/demo/speedup"
	"github.com/sightglass-ml/sightglass/demo/stack"
)

// Config configures Run.
type Config struct {
	// ToolsDir has prometheus, promtool and alertmanager. BinDir has the exporters, the responder and the simulated NVML
	// library.
	ToolsDir, BinDir string
	// Dir receives data, configuration and logs, and is kept. It must be empty or missing. By default a temporary folder is
	// used.
	Dir string
	// Speedup is the factor by which time is compressed, 1 to MaxSpeedup; DefaultSpeedup if 0.
	Speedup float64
	// Stay keeps everything running after the last incident until the context ends.
	Stay bool
	// SaveScrapes, if set, is a folder for a copy of each exporter's metrics after the last incident, as <job>.prom.
	SaveScrapes string

	// Out receives the timeline. Width is the width of the terminal, 100 if 0. ANSI enables colours.
	Out   io.Writer
	Width int
	ANSI  bool
}

const (
	// DefaultSpeedup shows the whole demonstration in about four minutes.
	DefaultSpeedup = 20
	// MaxSpeedup compresses a scrape interval to half a second.
	MaxSpeedup = 30
)

// The intervals of a production setup, before compression. Prometheus's defaults are a lookback of five minutes and resending
// alerts each minute.
const (
	scrapeInterval = 15 * time.Second
	lookbackDelta  = 5 * time.Minute
	resendDelay    = time.Minute
	// healthyFor is how long no alert may be active before the first incident.
	healthyFor = 10 * time.Minute
	// detectWithin is the time after which an undetected incident counts as missed. On a busy machine an alert that waits for 15 minutes starts its wait
	// again when a scrape times out.
	detectWithin = 4 * time.Hour
)

// Timeouts that are not compressed, since they depend on the machine.
const (
	pollInterval = 200 * time.Millisecond
	startWithin  = 5 * time.Minute
)

// Labels of all scrape targets, as in a real setup.
const (
	cluster   = "demo"
	namespace = "shop"
	where     = `cluster="demo",namespace="shop",` // before more labels
)

// programs are the files that BinDir must have.
var programs = []string{"dataquality-exporter", "gpu-exporter", "modelquality-exporter", "cost-exporter", "responder", nvmlStandIn}

func (c *Config) complete() (stack.Tools, error) {
	if c.Speedup == 0 {
		c.Speedup = DefaultSpeedup
	}
	if c.Width == 0 {
		c.Width = 100
	}
	if c.Out == nil {
		c.Out = io.Discard
	}
	if !(c.Speedup >= 1 && c.Speedup <= MaxSpeedup) {
		return stack.Tools{}, fmt.Errorf("speed-up %v: expected 1 to %d", c.Speedup, MaxSpeedup)
	}
	tools, err := stack.FindTools(c.ToolsDir)
	if err != nil {
		return stack.Tools{}, fmt.Errorf("%w; build them with `make tools`", err)
	}
	for _, name := range programs {
		if _, err := os.Stat(filepath.Join(c.BinDir, name)); err != nil {
			return stack.Tools{}, fmt.Errorf("find the programs: %w; build them with `make build`", err)
		}
	}
	if c.Dir == "" {
		return tools, nil
	}
	entries, err := os.ReadDir(c.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return stack.Tools{}, fmt.Errorf("use the folder: %w", err)
	}
	if len(entries) > 0 {
		return stack.Tools{}, fmt.Errorf("the folder %s is not empty; choose an empty folder or one that does not exist", c.Dir)
	}
	return tools, nil
}

// demo is a running demonstration.
type demo struct {
	cfg      Config
	pace     speedup.Factor
	timeline *timeline
	stack    *stack.Stack
	parts    []part
	response *response
	// address is the future address of Prometheus; the cost exporter queries it.
	address string

	sink         *slack.Sink
	prometheus   *stack.Prometheus
	alertmanager *stack.Alertmanager
	watched      []watched

	watch  *watch
	result Result
	// measured describes the value of each of the result's outcomes.
	measured []func(float64, Result) string
}

// Run runs every incident and returns how each was detected. Its error is about the demonstration itself; Result.Err is about
// the alerts.
func Run(ctx context.Context, cfg Config) (_ Result, err error) {
	tools, err := cfg.complete()
	if err != nil {
		return Result{}, err
	}
	d := &demo{cfg: cfg, pace: speedup.Factor(cfg.Speedup)}
	d.result = Result{Speedup: cfg.Speedup, Start: time.Now()}
	d.timeline = &timeline{out: cfg.Out, width: cfg.Width, ansi: cfg.ANSI, start: d.result.Start}
	if d.stack, err = stack.New(stack.Config{Tools: tools, Dir: cfg.Dir}); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, d.stack.Close()) }()
	warehouse, err := openWarehouse(filepath.Join(d.stack.Dir(), "data"), d.pace.Duration(time.Minute), shop())
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, warehouse.close()) }()
	if d.address, err = stack.FreeAddress(ctx); err != nil {
		return Result{}, err
	}
	d.response = &response{stack: d.stack, responder: d.program("responder"), prometheus: d.address, pace: d.pace}
	defer func() { err = errors.Join(err, d.response.close()) }()
	d.parts = []part{
		&data{warehouse: warehouse, stack: d.stack, exporter: d.program("dataquality-exporter"), pace: d.pace},
		&models{stack: d.stack, exporter: d.program("modelquality-exporter"), response: d.response, pace: d.pace},
		&gpus{stack: d.stack, exporter: d.program("gpu-exporter"), library: d.program(nvmlStandIn), pace: d.pace},
		&costs{stack: d.stack, exporter: d.program("cost-exporter"), prometheus: d.address, pace: d.pace},
	}

	group, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := d.open(ctx); err != nil {
		return d.result, err
	}
	for _, p := range d.parts {
		group.Go(func() error { return p.run(ctx) })
	}
	for _, w := range d.watched {
		group.Go(func() error {
			select {
			case <-w.Done():
				return fmt.Errorf("the exporter of %s ended; its log ends with:\n%s", w.job, w.LogTail())
			case <-ctx.Done():
				return nil
			}
		})
	}
	group.Go(func() error {
		defer stop() // The parts stop after the last incident.
		return d.runIncidents(ctx)
	})
	err = group.Wait()
	return d.result, err
}

func (d *demo) program(name string) string { return filepath.Join(d.cfg.BinDir, name) }

// open creates the data and starts all processes.
func (d *demo) open(ctx context.Context) error {
	t := d.timeline
	t.text(fmt.Sprintf("Time is compressed by %g: a minute takes %s. Durations in messages are compressed too.\n",
		d.cfg.Speedup, d.pace.Duration(time.Minute)))
	t.note("writing the data of a shop to %s: %s", d.stack.Dir(), d.summary())
	now := time.Now()
	for _, p := range d.parts {
		if err := p.prepare(ctx, now); err != nil {
			return err
		}
	}
	t.note("writing four weeks of history, for the seasonal medians")
	if err := d.backfill(ctx, now); err != nil {
		return err
	}

	t.note("starting the simulated Slack, the responder, Alertmanager, the exporters and Prometheus")
	ctx, cancel := context.WithTimeoutCause(ctx, startWithin, fmt.Errorf("not started within %s", startWithin))
	defer cancel()
	var slackURL string
	var err error
	if d.sink, slackURL, err = d.stack.StartSlack(ctx, 1000); err != nil {
		return err
	}
	d.response.slack = slackURL
	if err := d.response.start(ctx); err != nil {
		return err
	}
	if d.alertmanager, err = d.stack.StartAlertmanager(ctx, stack.AlertmanagerConfig{
		Files: alertmanager.Files, SlackURL: slackURL, SpeedUp: d.cfg.Speedup,
		ResponderURL: d.response.server.URL(), ResponderToken: token,
	}); err != nil {
		return err
	}
	for _, p := range d.parts {
		w, err := p.start(ctx)
		if err != nil {
			return err
		}
		d.watched = append(d.watched, w)
	}
	d.watched = append(d.watched, watched{Server: d.response.server, job: "responder"})
	if err := d.startPrometheus(ctx); err != nil {
		return err
	}
	d.watch = newWatch(d.prometheus, d.sink)
	t.note("Prometheus %s · Alertmanager %s", d.prometheus.URL(), d.alertmanager.URL())
	return nil
}

// summary names the parts of the shop.
func (d *demo) summary() string {
	var all []string
	for _, p := range d.parts {
		all = append(all, p.summary())
	}
	return strings.Join(all, ", ")
}

func (d *demo) backfill(ctx context.Context, now time.Time) error {
	file, err := os.Create(filepath.Join(d.stack.Dir(), "history.om"))
	if err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	defer file.Close()
	for _, p := range d.parts {
		if err := p.history(ctx, file, now); err != nil {
			return fmt.Errorf("write the history: %w", err)
		}
	}
	if _, err := io.WriteString(file, "# EOF\n"); err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	return d.stack.BackfillOpenMetrics(ctx, file)
}

func (d *demo) startPrometheus(ctx context.Context) error {
	bundle, err := d.pace.Rules()
	if err != nil {
		return err
	}
	files, err := bundle.WriteDir(filepath.Join(d.stack.Dir(), "rules"))
	if err != nil {
		return err
	}
	var targets []stack.ScrapeTarget
	for _, w := range d.watched {
		targets = append(targets, w.target())
	}
	d.prometheus, err = d.stack.StartPrometheus(ctx, stack.PrometheusConfig{
		Address: d.address, Targets: targets, RuleFiles: files, Alertmanager: d.alertmanager.Address,
		ScrapeInterval: d.pace.Duration(scrapeInterval), EvaluationInterval: d.pace.Duration(scrapeInterval),
		LookbackDelta: d.pace.Duration(lookbackDelta), ResendDelay: d.pace.Duration(resendDelay),
	})
	return err
}

// runIncidents waits for the healthy state, injects the incidents and waits for their detection.
func (d *demo) runIncidents(ctx context.Context) error {
	if err := d.waitUntilWatched(ctx); err != nil {
		return err
	}
	incidents := d.incidents()
	for len(incidents) > 0 && incidents[0].early {
		if err := d.inject(ctx, incidents[0]); err != nil {
			return err
		}
		incidents = incidents[1:]
	}
	if err := d.stayHealthy(ctx); err != nil {
		return err
	}
	for _, i := range incidents {
		if err := d.inject(ctx, i); err != nil {
			return err
		}
	}
	if err := d.waitUntilDetected(ctx, nil); err != nil {
		return err
	}
	if err := d.waitUntilAnswered(ctx); err != nil {
		return err
	}
	if err := d.judge(ctx); err != nil {
		return err
	}
	if d.cfg.SaveScrapes != "" {
		if err := d.saveScrapes(ctx); err != nil {
			return err
		}
	}
	d.timeline.text("\n" + d.result.Table() + "\n")
	if d.cfg.Stay {
		d.timeline.text(fmt.Sprintf("The demo runs until you press Ctrl-C.\n  Prometheus    %s/alerts\n  Alertmanager  %s\n  reviews       %s (%s, password %s)\n  files         %s\n",
			d.prometheus.URL(), d.alertmanager.URL(), d.response.server.URL(), userName, userName, d.stack.Dir()))
		<-ctx.Done()
	}
	return nil
}

// incidents returns the incidents of all parts: early ones first, then slow ones, whose detection continues during the
// others.
func (d *demo) incidents() []incident {
	var all []incident
	for _, p := range d.parts {
		all = append(all, p.incidents()...)
	}
	order := func(i incident) int {
		switch {
		case i.early:
			return 0
		case i.slow:
			return 1
		default:
			return 2
		}
	}
	slices.SortStableFunc(all, func(a, b incident) int { return cmp.Compare(order(a), order(b)) })
	return all
}

// every polls until done returns true or ctx ends, and then returns the cause of ctx's end.
func (d *demo) every(ctx context.Context, done func(context.Context) (bool, error)) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if ok, err := done(ctx); ok || err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// waitUntilWatched waits until every signal that the incidents need exists.
func (d *demo) waitUntilWatched(ctx context.Context) error {
	var conditions []condition
	for _, p := range d.parts {
		conditions = append(conditions, p.conditions()...)
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	var missing []string
	err := d.every(ctx, func(ctx context.Context) (bool, error) {
		missing = nil
		for _, c := range conditions {
			vector, err := d.prometheus.Query(ctx, c.query)
			if err != nil {
				return false, err
			}
			if len(vector) != 1 || int(vector[0].Value) != c.want {
				missing = append(missing, c.what)
			}
		}
		return len(missing) == 0, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("after %s these conditions are not met: %s; the logs are in %s (--dir sets a folder that is kept)",
			startWithin, strings.Join(missing, ", "), d.stack.Dir())
	}
	return err
}

// stayHealthy watches for healthyFor and fails if an alert becomes active.
func (d *demo) stayHealthy(ctx context.Context) error {
	want := d.pace.Duration(healthyFor)
	d.timeline.note("%s are monitored; no other alert may fire for %s (%s here)", d.summary(), healthyFor, seconds(want))
	start := time.Now()
	var unexpected *observedAlert
	if err := d.every(ctx, func(ctx context.Context) (bool, error) {
		if err := d.poll(ctx); err != nil {
			return false, err
		}
		unexpected = d.watch.unexpected(func(s observedAlert) bool { return d.explains(ctx, s) })
		return unexpected != nil || time.Since(start) >= want, nil
	}); err != nil {
		return err
	}
	if unexpected != nil {
		return fmt.Errorf("%s alerts on %q before any incident", unexpected, unexpected.object())
	}
	d.result.Healthy = time.Since(start)
	d.timeline.note("%s", d.timeline.style(green, fmt.Sprintf("healthy for %s: 0 false alarms", healthyFor)))
	return nil
}

// expects reports whether an incident explains an alert.
func (d *demo) expects(s observedAlert) bool {
	return slices.ContainsFunc(d.result.Outcomes, func(o Outcome) bool { return o.is(s) })
}

// explains reports whether an incident explains an alert, or that the machine is busy.
func (d *demo) explains(ctx context.Context, s observedAlert) bool {
	if d.expects(s) {
		return true
	}
	busy, err := d.watch.tooBusy(ctx, s, d.result.Start, d.pace.Duration(scrapeInterval))
	return busy && err == nil
}

// inject causes an incident and waits until it is detected, unless the incident is slow.
func (d *demo) inject(ctx context.Context, i incident) error {
	now := time.Now()
	d.timeline.text("\n")
	d.timeline.step(now, i.object, bold, "incident", d.timeline.style(bold, i.description))
	for n, e := range i.alerts {
		o := Outcome{Incident: i.name, Object: i.object, Alert: e.alert, Labels: e.labels, Main: n == 0, Early: i.early, MayBeInhibited: e.mayBeInhibited, Contains: e.contains, Injected: now}
		if o.Main {
			o.Goal = i.goal
		}
		d.result.Outcomes = append(d.result.Outcomes, o)
		d.measured = append(d.measured, e.measured)
	}
	if err := i.apply(ctx, now); err != nil {
		return err
	}
	if i.slow || i.early || i.concurrent {
		return nil
	}
	return d.waitUntilDetected(ctx, &i)
}

// waitUntilDetected waits for the alerts of one incident, or of all incidents. A timeout is not an error: the outcome then
// has no notification time.
func (d *demo) waitUntilDetected(ctx context.Context, only *incident) error {
	return d.every(ctx, func(ctx context.Context) (bool, error) {
		if err := d.poll(ctx); err != nil {
			return false, err
		}
		for _, o := range d.result.Outcomes {
			concerns := only == nil || o.Incident == only.name
			if concerns && !o.Detected() && time.Since(o.Injected) < d.pace.Duration(detectWithin) {
				return false, nil
			}
		}
		return true, nil
	})
}

// waitUntilAnswered waits for the responder's automated actions, a training run and answers in the review queue, and for messages that
// contain all expected texts.
func (d *demo) waitUntilAnswered(ctx context.Context) error {
	start := time.Now()
	if err := d.every(ctx, func(ctx context.Context) (bool, error) {
		if err := d.poll(ctx); err != nil {
			return false, err
		}
		vector, err := d.prometheus.Query(ctx, `sum(ml_review_queue_items{state="open"})`)
		if err != nil {
			return false, err
		}
		if len(vector) == 1 {
			d.result.Reviews = int(vector[0].Value)
		}
		if err := d.readProvider(ctx); err != nil {
			return false, err
		}
		complete := !slices.ContainsFunc(d.result.Outcomes, func(o Outcome) bool { return len(o.missingTexts()) > 0 })
		return complete && d.result.Reviews > 0 && len(d.result.Trainings) > 0 && len(d.result.Provider) == 1 || time.Since(start) > d.pace.Duration(detectWithin), nil
	}); err != nil {
		return err
	}
	d.timeline.note("%d answers of %s are in the review queue", d.result.Reviews, bot)
	for _, i := range d.result.Provider {
		d.timeline.note("one incident of %d alerts about payments and %s: %s. Probable cause: %s", i.Alerts, risk, i.Title, i.Cause)
		if m, found := d.watch.incident(i.Title); found {
			d.timeline.note("Slack has one message for it, updated %d times:", m.Updates)
			d.timeline.message(m)
		}
	}
	return nil
}

// poll reads alerts and the responder's actions, and prints new ones.
func (d *demo) poll(ctx context.Context) error {
	events, err := d.watch.poll(ctx)
	if err != nil {
		return err
	}
	for _, e := range events {
		d.show(e)
	}
	for _, t := range d.response.since(len(d.result.Trainings)) {
		d.result.Trainings = append(d.result.Trainings, t.Run)
		d.timeline.step(t.at, t.Model, green, "retrain", "the responder started a training with the parameters of run "+t.Run)
	}
	return nil
}

func (d *demo) show(e event) {
	n := slices.IndexFunc(d.result.Outcomes, func(o Outcome) bool { return o.is(*e.observedAlert) })
	if n < 0 && e.stage == repeated {
		return
	}
	if n < 0 && e.stage == pending {
		d.timeline.step(e.at, e.object(), yellow, string(e.stage), e.String()+", which no incident explains")
		return
	}
	if n < 0 {
		d.timeline.step(e.at, e.object(), red, string(e.stage), d.timeline.style(red, e.String()+" is unexpected"))
		return
	}
	o := &d.result.Outcomes[n]
	switch {
	case !o.Firing.IsZero(): // A later alert with the same name and object, such as one with another severity, changes nothing.
	case e.firing.IsZero():
		o.Pending = e.pending
	default:
		o.Pending, o.Firing, o.Measured = e.pending, e.firing, d.measured[n](e.value, d.result)
	}
	switch e.stage {
	case pending:
		d.timeline.step(e.at, o.Object, yellow, string(e.stage), e.String())
	case firing:
		d.timeline.step(e.at, o.Object, red, string(e.stage), e.String()+": "+o.Measured)
	case repeated:
		o.Message = e.message.Render(1<<20, false)
	case notified:
		o.Message = e.message.Render(1<<20, false)
		if !o.Notified.IsZero() { // An alert with the same name and object was notified before.
			return
		}
		o.Notified = e.notified
		d.timeline.step(e.at, o.Object, cyan, string(e.stage), fmt.Sprintf("%s: detected in %s, unscaled %s",
			e, seconds(o.TimeToDetect()), d.result.Unscaled(o.TimeToDetect())))
		if o.Main {
			d.timeline.message(e.message)
		}
	}
}

// judge finds alerts of the whole demonstration that should not have fired.
func (d *demo) judge(ctx context.Context) error {
	fired, err := d.watch.firedSince(ctx, d.result.Start)
	if err != nil {
		return err
	}
	for _, s := range fired {
		switch {
		case d.expects(s):
		case d.explains(ctx, s):
			d.timeline.note("%s of %s: the machine was too busy to answer within %s; run with a lower --speedup", s.name(), s.labels["instance"], d.pace.Duration(scrapeInterval))
		default:
			d.result.Unexpected = append(d.result.Unexpected, strings.TrimSpace(s.object()+" "+s.String()))
		}
	}
	for _, o := range d.result.Outcomes {
		if !o.Early && !o.Pending.IsZero() && o.Pending.Before(o.Injected) {
			d.result.Unexpected = append(d.result.Unexpected, fmt.Sprintf("%s %s before the incident", o.Object, o.Alert))
		}
	}
	slices.Sort(d.result.Unexpected)
	return nil
}

// saveScrapes saves the metrics of each exporter.
func (d *demo) saveScrapes(ctx context.Context) error {
	for _, w := range d.watched {
		body, err := get(ctx, w.URL()+"/metrics")
		if err == nil {
			err = os.WriteFile(filepath.Join(d.cfg.SaveScrapes, w.job+".prom"), body, 0o644)
		}
		if err != nil {
			return fmt.Errorf("save the scrape of %s: %w", w.job, err)
		}
	}
	return nil
}

func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	return io.ReadAll(response.Body)
}
