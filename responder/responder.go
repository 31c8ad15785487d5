// Package responder starts the actions that alerts ask for and provides the pages on which people review answers, alerts and
// incidents.
//
// Input: Alertmanager's webhooks, and answers below a gate. Output: calls to systems that retrain and replay, a queue for
// human review, incidents, metrics of the response itself, and an audit trail. State: the Responder owns the store; packages
// below it own the tables in it. It never uses a value of a label or an annotation as a command, an address or the name of an
// action: those come from the configuration.
package responder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
	contract "github.com/sightglass-ml/sightglass/internal/review"
	"github.com/sightglass-ml/sightglass/responder/internal/action"
	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
	"github.com/sightglass-ml/sightglass/responder/internal/incident"
	"github.com/sightglass-ml/sightglass/responder/internal/lineage"
	"github.com/sightglass-ml/sightglass/responder/internal/page"
	"github.com/sightglass-ml/sightglass/responder/internal/review"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
	"github.com/sightglass-ml/sightglass/responder/internal/verdict"
	"github.com/sightglass-ml/sightglass/responder/internal/webhook"
)

// Spec describes the binary responder.
func Spec() exporter.Spec[Config] {
	return exporter.Spec[Config]{
		Name:           "responder",
		Description:    "Starts what alerts ask for, queues answers for review, and records both.",
		DefaultAddress: ":10914",
		Load:           config.Load[Config],
		Start:          start,
		Links:          []web.LandingLinks{{Address: "/incidents", Text: "Incidents"}, {Address: "/reviews", Text: "Reviews"}, {Address: "/alerts", Text: "Alerts to judge"}},
		Watching: func(cfg Config) []any {
			names := make([]string, len(cfg.Actions))
			for i, a := range cfg.Actions {
				names[i] = a.Name
			}
			kept := string(cfg.Store.Path)
			if cfg.Store.PostgreSQL != (config.SecretSource{}) {
				kept = "postgresql"
			}
			return []any{"actions", strings.Join(names, ","), "reviews", cfg.Reviews != nil, "page", cfg.Page != nil, "store", kept}
		},
		MaxRequestBytes: 4 << 20, // enough for a thousand alerts with long annotations
	}
}

// Responder is a running responder. It applies a new configuration itself, since it owns the store.
type Responder struct {
	logger  *slog.Logger
	store   *store.Store
	worker  *action.Worker
	webhook *webhook.Handler
	reviews *review.API
	page    *page.Page
	engine  *incident.Engine
	slack   *incident.Announcer
	now     func() time.Time

	cfg       atomic.Pointer[Config]
	snapshots atomic.Pointer[action.Snapshots]
	lineage   atomic.Pointer[lineage.Querier]

	descs     descs
	incidents incidentDescs
	people    peopleDescs
	names     *limit.Limiter // of alerts
	status    exporter.Snapshot
	latency   *prometheus.HistogramVec
}

var (
	_ exporter.Router           = (*Responder)(nil)
	_ exporter.Stopper          = (*Responder)(nil)
	_ exporter.Reloader[Config] = (*Responder)(nil)
)

const (
	statusInterval  = 5 * time.Second
	keepingInterval = time.Hour
	forwardInterval = 5 * time.Second
	// incidentsInterval is the maximum delay until an alert is in its incident.
	incidentsInterval = 5 * time.Second
	lineageTimeout    = time.Minute
	// maxAlertnames bounds the values of a label. The bundle has about fifty alerts.
	maxAlertnames = 200
)

func start(ctx context.Context, env *exporter.Env, cfg Config) (exporter.Instance, error) {
	s, err := store.Open(ctx, cfg.Store)
	if err != nil {
		return nil, cfg.Wrap("store", err)
	}
	r := &Responder{
		logger: env.Logger, store: s, now: time.Now, descs: newDescs(&catalogue.Catalogue{Prefix: "ml_"}), people: newPeopleDescs(&catalogue.Catalogue{Prefix: "ml_"}),
		incidents: newIncidentDescs(&catalogue.Catalogue{Prefix: "ml_"}), latency: newLatency(),
	}
	if err := r.start(ctx, env, cfg); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return r, nil
}

func (r *Responder) start(ctx context.Context, env *exporter.Env, cfg Config) error {
	alone, err := r.store.Own()
	if err != nil {
		return cfg.Wrap("store", err)
	}
	r.worker, err = action.NewWorker(action.Options{
		Store: r.store, Logger: r.logger, Now: r.now,
		Snapshots: func() action.Snapshots {
			if s := r.snapshots.Load(); s != nil {
				return *s
			}
			return nil
		},
		Lineage: func() *grouping.Graph { return r.engine.Graph() },
		Started: func(name string, latency time.Duration) { r.latency.WithLabelValues(name).Observe(latency.Seconds()) },
	})
	if err != nil {
		return err
	}
	if alone {
		// A crashed predecessor's leases are released at once instead of expiring.
		if err := r.worker.ReleaseLeases(ctx); err != nil {
			return cfg.Wrap("store", fmt.Errorf("release leases: %w", err))
		}
	}
	r.webhook = webhook.New(r.store, r.worker, r.logger, r.now, cfg.Webhook)
	r.reviews = review.NewAPI(r.store, r.logger, r.now)
	r.names = env.Limit("alertname", maxAlertnames)
	r.engine = incident.New(r.store, r.now)
	r.slack = incident.NewAnnouncer(r.store, r.now)
	if r.page, err = page.New(r.store, r.logger, r.now); err != nil {
		return err
	}
	if err := r.apply(cfg); err != nil {
		return err
	}
	for _, l := range []exporter.Loop{
		{Name: "status", Interval: statusInterval, Timeout: 2 * statusInterval, Collect: r.readStatus},
		{Name: "incidents", Interval: incidentsInterval, Timeout: time.Minute, Collect: r.engine.Update},
		{Name: "slack", Interval: incident.AnnounceInterval, Timeout: time.Minute, Collect: r.slack.Send},
		{Name: "lineage", Interval: time.Duration(cfg.Incidents.LineageInterval), Timeout: lineageTimeout, Collect: r.readLineage},
		{Name: "review_forward", Interval: forwardInterval, Timeout: time.Minute, Collect: r.reviews.Forward},
		{Name: "retention", Interval: keepingInterval, Collect: r.forget},
	} {
		if err := env.Loop(l); err != nil {
			return err
		}
	}
	env.Go(func(ctx context.Context) { r.worker.Run(ctx, cfg.Workers) })
	return nil
}

// apply applies the complete changeable configuration, or returns an error without any change.
func (r *Responder) apply(cfg Config) error {
	var snapshots action.Snapshots
	var querier lineage.Querier
	if cfg.Prometheus != nil {
		var err error
		if snapshots, err = action.PrometheusSnapshots(*cfg.Prometheus); err != nil {
			return cfg.Wrap("prometheus", err)
		}
		if querier, err = cfg.Prometheus.API(); err != nil {
			return cfg.Wrap("prometheus", err)
		}
	}
	if err := r.page.Configure(cfg.Page); err != nil {
		return cfg.Wrap("page.users_file", err)
	}
	if err := r.slack.Configure(cfg.Incidents.Slack, cfg.Page.Places()); err != nil {
		return cfg.Wrap("incidents.slack", err)
	}
	if err := r.worker.Configure(cfg.Actions); err != nil {
		return cfg.Wrap("actions", err)
	}
	r.snapshots.Store(&snapshots)
	r.lineage.Store(&querier)
	r.engine.Configure(cfg.Incidents)
	r.reviews.Configure(cfg.Reviews)
	r.webhook.Configure(cfg.Webhook)
	r.cfg.Store(&cfg)
	for _, a := range cfg.Actions {
		if a.DryRun {
			r.logger.Warn("An action is only recorded, not done; set dry_run: false to do it", "action", a.Name)
		}
	}
	return nil
}

// Reload implements exporter.Reloader.
func (r *Responder) Reload(_ context.Context, cfg Config) error {
	now := r.cfg.Load()
	for _, fixed := range []struct {
		key  string
		same bool
	}{
		{"store", cfg.Store == now.Store},
		{"workers", cfg.Workers == now.Workers},
		{"incidents.lineage_interval", cfg.Incidents.LineageInterval == now.Incidents.LineageInterval},
	} {
		if !fixed.same {
			return cfg.Wrap(fixed.key, errors.New("store, workers and incidents.lineage_interval are read at the start only; restart the responder to change them"))
		}
	}
	return r.apply(cfg)
}

// Routes implements exporter.Router.
func (r *Responder) Routes(mux *http.ServeMux) {
	mux.Handle(webhook.Path, r.webhook)
	mux.Handle(contract.Path, r.reviews)
	mux.Handle(review.DecisionsPath, r.reviews)
	for _, path := range page.Paths {
		mux.Handle(path, r.page)
	}
}

// Stop implements exporter.Stopper.
func (r *Responder) Stop(context.Context) error { return r.store.Close() }

// Describe implements prometheus.Collector; see exporter.Snapshot.
func (r *Responder) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (r *Responder) Collect(ch chan<- prometheus.Metric) {
	r.status.Collect(ch)
	r.latency.Collect(ch)
}

func (r *Responder) readStatus(ctx context.Context) error {
	var s action.Status
	var reviews review.Status
	var verdicts verdict.Status
	var incidents incident.Status
	if err := r.store.Read(ctx, func(tx *store.Tx) (err error) {
		if s, err = action.ReadStatus(tx); err != nil {
			return err
		}
		if reviews, err = review.ReadStatus(tx); err != nil {
			return err
		}
		if verdicts, err = verdict.ReadStatus(tx); err != nil {
			return err
		}
		incidents, err = incident.ReadStatus(tx)
		return err
	}); err != nil {
		return err
	}
	metrics := append(r.descs.metrics(s), r.people.metrics(reviews, verdicts, r.cfg.Load().Before, r.names)...)
	r.status.Set(append(metrics, r.incidents.metrics(incidents, r.engine, r.slack)...), 6*statusInterval)
	return nil
}

// readLineage reads the lineage from Prometheus, if one is configured.
func (r *Responder) readLineage(ctx context.Context) error {
	return r.engine.Lineage(ctx, *r.lineage.Load())
}

// forget deletes what is older than the configured retention.
func (r *Responder) forget(ctx context.Context) error {
	cfg, now := r.cfg.Load(), r.now()
	var errs []error
	errs = append(errs, r.worker.GiveUpUnconfigured(ctx))
	if after := time.Duration(cfg.Audit.RedactAfter); after > 0 {
		_, err := audit.Redact(ctx, r.store, now.Add(-after), now)
		errs = append(errs, err)
	}
	if after := time.Duration(cfg.Audit.Retention); after > 0 {
		_, err := audit.Remove(ctx, r.store, now.Add(-after), now)
		errs = append(errs, err)
	}
	errs = append(errs, webhook.Forget(ctx, r.store, now.Add(-time.Duration(cfg.History))))
	errs = append(errs, r.store.Write(ctx, func(tx *store.Tx) error {
		return errors.Join(review.Forget(tx, now.Add(-time.Duration(cfg.History))), verdict.Forget(tx), incident.Forget(tx, now.Add(-time.Duration(cfg.History)), now))
	}))
	return errors.Join(errs...)
}
