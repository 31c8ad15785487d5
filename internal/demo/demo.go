// Package demo shows Sightglass at work: the real Prometheus, Alertmanager and data-quality exporter watch the tables
// of a small shop, which break on purpose.
//
// In flow the paths of the programs and the factor by which time is compressed. Out flow a timeline for people, from
// the incident to the Slack message, and a Result for machines. The package owns a folder with the shop's data and
// everything that it starts; both are gone when Run returns, unless the folder was chosen by the caller.
package demo

import (
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
	"github.com/sightglass-ml/sightglass/internal/slack"
	"github.com/sightglass-ml/sightglass/internal/stack"
	"github.com/sightglass-ml/sightglass/rules"
)

// Config is what Run needs.
type Config struct {
	// ToolsDir has prometheus, promtool and alertmanager; Exporter is the path of the data-quality exporter.
	ToolsDir, Exporter string
	// Dir receives data, configuration and logs, and stays. It must be empty or missing. Without it a temporary
	// folder is used.
	Dir string
	// Speedup is the factor by which time is compressed, 1 to MaxSpeedup; DefaultSpeedup if 0.
	Speedup float64
	// Stay keeps everything running after the last incident until the context ends.
	Stay bool
	// SaveScrape, if not empty, is a file that receives the exporter's metrics after the last incident.
	SaveScrape string

	// Out receives the timeline. Width is that of the terminal, 100 if 0, and ANSI says whether it has colours.
	Out   io.Writer
	Width int
	ANSI  bool
}

const (
	// DefaultSpeedup shows everything in about two minutes.
	DefaultSpeedup = 20
	// MaxSpeedup makes half a second of a scrape interval.
	MaxSpeedup = 30
)

// The times of a production setup, which are compressed. Prometheus looks back five minutes and resends an alert
// every minute by default.
const (
	scrapeInterval = 15 * time.Second
	lookbackDelta  = 5 * time.Minute
	resendDelay    = time.Minute
	// healthyFor is how long nothing may alert before the first incident.
	healthyFor = 10 * time.Minute
	// detectWithin is how long an incident may go undetected before the demonstration gives up on it.
	detectWithin = time.Hour
)

// Times that are not compressed: how long the machine may take.
const (
	pollInterval = 200 * time.Millisecond
	startWithin  = 2 * time.Minute
)

// Labels of everything that is scraped, as in a real setup.
const (
	cluster   = "demo"
	namespace = "shop"
)

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
		return stack.Tools{}, fmt.Errorf("a speed-up of %v; want 1 to %d", c.Speedup, MaxSpeedup)
	}
	tools, err := stack.FindTools(c.ToolsDir)
	if err != nil {
		return stack.Tools{}, fmt.Errorf("%w; build them with `make tools`", err)
	}
	if _, err := os.Stat(c.Exporter); err != nil {
		return stack.Tools{}, fmt.Errorf("find the data-quality exporter: %w; build it with `make build`", err)
	}
	if c.Dir == "" {
		return tools, nil
	}
	entries, err := os.ReadDir(c.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return stack.Tools{}, fmt.Errorf("use the folder: %w", err)
	}
	if len(entries) > 0 {
		return stack.Tools{}, fmt.Errorf("the folder %s is not empty, and what is in it would be watched as well", c.Dir)
	}
	return tools, nil
}

// demo is a demonstration under way.
type demo struct {
	cfg       Config
	pace      rules.Options
	timeline  *timeline
	stack     *stack.Stack
	warehouse *warehouse

	sink         *slack.Sink
	prometheus   *stack.Prometheus
	alertmanager *stack.Alertmanager
	exporter     stack.Server

	watch  *watch
	result Result
	// measured has the words for the value of each of the result's outcomes.
	measured []func(float64, Result) string
}

// Run shows every incident and returns how each was detected. Its error is about the demonstration itself; what the
// alerts got wrong is in Result.Err.
func Run(ctx context.Context, cfg Config) (_ Result, err error) {
	tools, err := cfg.complete()
	if err != nil {
		return Result{}, err
	}
	d := &demo{cfg: cfg, pace: rules.Options{Speedup: cfg.Speedup}}
	d.result = Result{Speedup: cfg.Speedup, Start: time.Now()}
	d.timeline = &timeline{out: cfg.Out, width: cfg.Width, ansi: cfg.ANSI, start: d.result.Start}
	if d.stack, err = stack.New(stack.Config{Tools: tools, Dir: cfg.Dir}); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, d.stack.Close()) }()
	if d.warehouse, err = openWarehouse(filepath.Join(d.stack.Dir(), "data"), d.pace.Duration(time.Minute), shop()); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, d.warehouse.close()) }()

	group, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := d.open(ctx); err != nil {
		return d.result, err
	}
	group.Go(func() error { return d.warehouse.run(ctx) })
	group.Go(func() error {
		defer stop() // The loads end with the story.
		return d.story(ctx)
	})
	err = group.Wait()
	return d.result, err
}

// open makes the data and starts everything.
func (d *demo) open(ctx context.Context) error {
	t := d.timeline
	t.text(fmt.Sprintf("Time is compressed by %g: a minute takes %s. Durations in messages are compressed alike.\n",
		d.cfg.Speedup, d.pace.Duration(time.Minute)))
	tables := d.warehouse.tables
	names := make([]string, len(tables))
	for i, table := range tables {
		names[i] = table.name
	}
	slices.Sort(names)
	t.note("making the data of a shop in %s: %s", d.stack.Dir(), strings.Join(names, ", "))
	now := time.Now()
	if err := d.warehouse.prepare(ctx, now); err != nil {
		return err
	}
	t.note("counting %d weeks of its past, for what is usual at this time of the week", historyWeeks)
	if err := d.backfill(ctx, now); err != nil {
		return err
	}

	t.note("starting Slack's stand-in, Alertmanager, the data-quality exporter and Prometheus")
	ctx, cancel := context.WithTimeoutCause(ctx, startWithin, fmt.Errorf("not started within %s", startWithin))
	defer cancel()
	var slackURL string
	var err error
	if d.sink, slackURL, err = d.stack.StartSlack(ctx, 1000); err != nil {
		return err
	}
	if d.alertmanager, err = d.stack.StartAlertmanager(ctx, stack.AlertmanagerConfig{
		Files: alertmanager.Files, SlackURL: slackURL, SpeedUp: d.cfg.Speedup,
	}); err != nil {
		return err
	}
	if err := d.startExporter(ctx, now); err != nil {
		return err
	}
	if err := d.startPrometheus(ctx); err != nil {
		return err
	}
	d.watch = newWatch(d.prometheus, d.sink)
	t.note("Prometheus %s · Alertmanager %s · exporter %s/metrics", d.prometheus.URL(), d.alertmanager.URL(), d.exporter.URL())
	return nil
}

func (d *demo) backfill(ctx context.Context, now time.Time) error {
	path := filepath.Join(d.stack.Dir(), "history.om")
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	defer file.Close()
	labels := fmt.Sprintf("cluster=%q,namespace=%q,", cluster, namespace)
	if err := d.warehouse.history(ctx, file, "dataset:ml_rows:current", labels, now); err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	return d.stack.BackfillOpenMetrics(ctx, file)
}

func (d *demo) startExporter(ctx context.Context, now time.Time) error {
	config, err := exporterConfig(d.warehouse, d.warehouse.tables, d.pace, now)
	if err != nil {
		return err
	}
	path := filepath.Join(d.stack.Dir(), "dataquality.yaml")
	if err := os.WriteFile(path, config, 0o644); err != nil {
		return fmt.Errorf("write the exporter's configuration: %w", err)
	}
	d.exporter, err = d.stack.StartExporter(ctx, stack.ExporterConfig{
		Name: "dataquality-exporter", Path: d.cfg.Exporter, Args: []string{"--config.file=" + path},
	})
	return err
}

func (d *demo) startPrometheus(ctx context.Context) error {
	bundle, err := rules.Load(d.pace)
	if err != nil {
		return err
	}
	files, err := bundle.WriteDir(filepath.Join(d.stack.Dir(), "rules"))
	if err != nil {
		return err
	}
	d.prometheus, err = d.stack.StartPrometheus(ctx, stack.PrometheusConfig{
		Targets: []stack.ScrapeTarget{{
			Job: "dataquality", Addresses: []string{d.exporter.Address},
			Labels: map[string]string{"cluster": cluster, "namespace": namespace},
		}},
		RuleFiles: files, Alertmanager: d.alertmanager.Address,
		ScrapeInterval: d.pace.Duration(scrapeInterval), EvaluationInterval: d.pace.Duration(scrapeInterval),
		LookbackDelta: d.pace.Duration(lookbackDelta), ResendDelay: d.pace.Duration(resendDelay),
	})
	return err
}

// story is what happens once everything runs.
func (d *demo) story(ctx context.Context) error {
	if err := d.waitUntilWatched(ctx); err != nil {
		return err
	}
	if err := d.stayHealthy(ctx); err != nil {
		return err
	}
	for _, i := range incidents() {
		if err := d.inject(ctx, i); err != nil {
			return err
		}
	}
	if err := d.waitUntilDetected(ctx, nil); err != nil {
		return err
	}
	if err := d.judge(ctx); err != nil {
		return err
	}
	if d.cfg.SaveScrape != "" {
		if err := d.saveScrape(ctx); err != nil {
			return err
		}
	}
	d.timeline.text("\n" + d.result.Table() + "\n")
	if d.cfg.Stay {
		d.timeline.text(fmt.Sprintf("It goes on until you press Ctrl-C.\n  Prometheus    %s/alerts\n  Alertmanager  %s\n  exporter      %s/metrics\n  files         %s\n",
			d.prometheus.URL(), d.alertmanager.URL(), d.exporter.URL(), d.stack.Dir()))
		<-ctx.Done()
	}
	return nil
}

// every polls until done returns true. The cause of ctx's end is the error.
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
		case <-d.exporter.Done():
			return fmt.Errorf("the exporter ended; its log ends with:\n%s", d.exporter.LogTail())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// condition is a query whose value tells that a part is ready.
type condition struct {
	what, query string
	want        int
}

// waitUntilWatched waits until every dataset has been profiled and every signal that the incidents need is there.
func (d *demo) waitUntilWatched(ctx context.Context) error {
	var all, seasonal, trained, compared, frozen int
	for _, t := range d.warehouse.tables {
		all++
		if t.volumeHistory {
			seasonal++
		}
		if t.training > 0 {
			trained++
		}
		if t.against != "" {
			compared++
		}
		if t.archiveDays >= t.baselineDays && t.baselineDays > 0 {
			frozen++
		}
	}
	conditions := []condition{
		{"every dataset is profiled", `count(ml_dataset_profile_success == 1)`, all},
		{"every volume has a season to compare with", `count(dataset:ml_rows:lower and dataset:ml_rows:upper)`, seasonal},
		{"every training baseline is counted", `count(count by (dataset) (dataset_column:ml_drift:psi_critical{baseline="training"}))`, trained},
		{"the production baseline is learned", `count(ml_dataset_baseline_frozen == 1)`, frozen},
		{"the feature store is compared with", `count(dataset:ml_mismatch:ratio)`, compared},
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
		return fmt.Errorf("after %s it is not so that %s; the exporter's log ends with:\n%s",
			startWithin, strings.Join(missing, ", nor that "), d.exporter.LogTail())
	}
	return err
}

// stayHealthy looks on for a while in which nothing may alert.
func (d *demo) stayHealthy(ctx context.Context) error {
	want := d.pace.Duration(healthyFor)
	d.timeline.note("%d datasets are watched; for %s (%s here) none may alert", len(d.warehouse.tables), healthyFor, seconds(want))
	start := time.Now()
	var alarm *sighting
	if err := d.every(ctx, func(ctx context.Context) (bool, error) {
		if err := d.poll(ctx); err != nil {
			return false, err
		}
		alarm = d.watch.alarm()
		return alarm != nil || time.Since(start) >= want, nil
	}); err != nil {
		return err
	}
	if alarm != nil {
		return fmt.Errorf("%s alerts though every dataset is healthy; the exporter's log ends with:\n%s", alarm, d.exporter.LogTail())
	}
	d.result.Healthy = time.Since(start)
	d.timeline.note("%s", d.timeline.style(green, fmt.Sprintf("healthy for %s: 0 alerts about %d datasets", healthyFor, len(d.warehouse.tables))))
	return nil
}

// inject lets an incident happen and waits until it is detected, unless it takes its time by nature.
func (d *demo) inject(ctx context.Context, i incident) error {
	now := time.Now()
	d.timeline.text("\n")
	d.timeline.step(now, i.dataset, bold, "incident", d.timeline.style(bold, i.story))
	for n, e := range i.alerts {
		o := Outcome{Incident: i.name, Dataset: i.dataset, Column: e.column, Alert: e.alert, Main: n == 0, Injected: now}
		if o.Main {
			o.Goal = i.goal
		}
		d.result.Outcomes = append(d.result.Outcomes, o)
		d.measured = append(d.measured, e.measured)
	}
	if err := d.warehouse.damage(ctx, i.dataset, i.damage, now); err != nil {
		return err
	}
	if i.slow {
		return nil
	}
	return d.waitUntilDetected(ctx, &i)
}

// waitUntilDetected waits for what an incident has to raise, or for all incidents. It gives up without an error: an
// outcome without a message says it all.
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

// poll looks at the alerts and prints what is new.
func (d *demo) poll(ctx context.Context) error {
	events, err := d.watch.poll(ctx)
	if err != nil {
		return err
	}
	for _, e := range events {
		d.show(e)
	}
	return nil
}

func (d *demo) show(e event) {
	n := slices.IndexFunc(d.result.Outcomes, func(o Outcome) bool { return o.is(*e.sighting) })
	if n < 0 && e.stage == pending {
		d.timeline.step(e.at, e.dataset, yellow, string(e.stage), e.String()+", which no incident explains")
		return
	}
	if n < 0 {
		d.timeline.step(e.at, e.dataset, red, string(e.stage), d.timeline.style(red, e.String()+" was not expected"))
		return
	}
	o := &d.result.Outcomes[n]
	if e.firing.IsZero() {
		o.Pending = e.pending
	} else {
		o.Pending, o.Firing, o.Measured = e.pending, e.firing, d.measured[n](e.value, d.result)
	}
	switch e.stage {
	case pending:
		d.timeline.step(e.at, e.dataset, yellow, string(e.stage), e.String())
	case firing:
		d.timeline.step(e.at, e.dataset, red, string(e.stage), e.String()+": "+o.Measured)
	case notified:
		o.Notified = e.notified
		d.timeline.step(e.at, e.dataset, cyan, string(e.stage), fmt.Sprintf("%s: detected in %s, unscaled %s",
			e, seconds(o.TimeToDetect()), d.result.Unscaled(o.TimeToDetect())))
		if o.Main {
			d.timeline.message(e.message)
		}
	}
}

// judge looks back on the whole demonstration for alerts that should not have fired.
func (d *demo) judge(ctx context.Context) error {
	fired, err := d.watch.firedSince(ctx, d.result.Start)
	if err != nil {
		return err
	}
	for _, s := range fired {
		if !slices.ContainsFunc(d.result.Outcomes, func(o Outcome) bool { return o.is(s) }) {
			d.result.Unexpected = append(d.result.Unexpected, strings.TrimSpace(s.dataset+" "+s.String()))
		}
	}
	for _, o := range d.result.Outcomes {
		if o.Pending.Before(o.Injected) && !o.Pending.IsZero() {
			d.result.Unexpected = append(d.result.Unexpected, fmt.Sprintf("%s %s before the incident", o.Dataset, o.Alert))
		}
	}
	slices.Sort(d.result.Unexpected)
	return nil
}

// saveScrape keeps what Prometheus reads from the exporter.
func (d *demo) saveScrape(ctx context.Context) error {
	body, err := get(ctx, d.exporter.URL()+"/metrics")
	if err != nil {
		return fmt.Errorf("save the scrape: %w", err)
	}
	if err := os.WriteFile(d.cfg.SaveScrape, body, 0o644); err != nil {
		return fmt.Errorf("save the scrape: %w", err)
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
