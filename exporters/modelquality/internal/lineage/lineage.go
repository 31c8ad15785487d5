// Package lineage finds out which run trained the versions of models.
//
// Input: the names and versions that services report, and the API of an MLflow server. Output for each version: the run that trained it,
// its experiment, its alias or stage, and its training dataset with the digest. State: the answers of a Registry, with the time until which
// they are valid. Readers of a Registry never wait for the server.
package lineage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/template"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// Options configure a Registry.
type Options struct {
	// URL of the MLflow server.
	URL string
	// Token is a bearer token. Username and Password are for basic authentication. All are optional.
	Token    config.SecretSource
	Username string
	Password config.SecretSource
	// Aliases select the version of a service that reports none, in order of preference.
	Aliases []string
	// Refresh is the time for which an answer is valid, RetryMissing that for the answer "not found".
	Refresh, RetryMissing time.Duration
	// Timeout of one request, and the largest number of requests a second.
	Timeout           time.Duration
	RequestsPerSecond float64
	// MaxVersions limits the remembered versions.
	MaxVersions int
	// WriteBack sets tags on the run: when its version was first served and, if there is a template, a link to the version's traces.
	WriteBack bool
	TraceLink *template.Template
	Client    *http.Client
	Logger    *slog.Logger
	Now       func() time.Time
}

// Tags that are set on a run.
const (
	TraceLinkTag   = "sightglass.traces"
	FirstServedTag = "sightglass.first_served"
)

// Version is the model and version that a service reports.
type Version struct {
	Model string
	// Version is a number, an alias, a stage or empty.
	Version string
}

// Info is what the registry knows of a version. It is empty for an unknown version.
type Info struct {
	RunID, ExperimentID string
	// ModelID is the ID of MLflow 3's logged model.
	ModelID string
	// Registered is the number of the version.
	Registered string
	// Stage is the alias or stage.
	Stage string
	// Dataset and Digest identify the training data.
	Dataset, Digest string
	// SourceType and Source are its location: local and a path, http and a URL, s3 and a URI.
	SourceType, Source string
	Created            time.Time
	// FirstServed is set only with WriteBack, because it has to outlive this process.
	FirstServed time.Time
}

// Registry caches the answers of an MLflow server.
type Registry struct {
	Options
	limiter *rate.Limiter
	descs   descs

	mu    sync.RWMutex
	known map[Version]*entry
}

type entry struct {
	info     Info
	answered bool // whether there was an answer
	due      time.Time
}

type descs struct{ info, created, served *prometheus.Desc }

// Declare declares the metrics of a Registry in the reference.
func Declare(c *catalogue.Catalogue) { newDescs(c) }

func newDescs(c *catalogue.Catalogue) descs {
	return descs{
		info: c.Gauge("ml_model_info", "The run that trained a version or the model that was logged for it, and its training data, according to the MLflow registry. Without either, the registry does not have the version.",
			"model", "version", "mlflow_run_id", "mlflow_experiment_id", "mlflow_model_id", "training_dataset", "training_digest", "stage"),
		created: c.Gauge("ml_model_version_created_timestamp_seconds", "Time at which the version was registered.", "model", "version"),
		served:  c.Gauge("ml_model_version_first_served_timestamp_seconds", "Time of the first inference of the version, as recorded in its run.", "model", "version"),
	}
}

// New makes a Registry.
func New(o Options) (*Registry, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("a registry needs the http or https URL of an MLflow server")
	case o.Token != (config.SecretSource{}) && o.Username != "":
		return nil, errors.New("a registry takes a token or a user name, not both")
	case o.Refresh <= 0 || o.RetryMissing <= 0 || o.Timeout <= 0 || !(o.RequestsPerSecond > 0) || o.MaxVersions <= 0 || o.Logger == nil || o.Now == nil:
		return nil, errors.New("a registry needs times, a rate and a number of versions above 0, a logger and a clock")
	}
	if o.Client == nil {
		o.Client = new(http.Client)
	}
	return &Registry{Options: o, limiter: rate.NewLimiter(rate.Limit(o.RequestsPerSecond), 1), descs: newDescs(new(catalogue.Catalogue)), known: make(map[Version]*entry)}, nil
}

// Lookup returns what is known of a version, and whether the server has answered for it. It never blocks.
func (r *Registry) Lookup(v Version) (Info, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, ok := r.known[v]
	if !ok || !e.answered {
		return Info{}, false
	}
	return e.info, true
}

// Cycle requests the versions that are due, and forgets versions that are no longer in the list. While the server is unavailable, the
// previous answers stay.
func (r *Registry) Cycle(ctx context.Context, versions []Version) error {
	var errs []error
	for _, v := range r.due(versions) {
		info, err := r.ask(ctx, v)
		missing := errors.Is(err, errNotFound)
		if err != nil && !missing {
			errs = append(errs, fmt.Errorf("model %q, version %q: %w", v.Model, v.Version, err))
			if ctx.Err() != nil || len(errs) == 3 {
				break // The server fails; further requests would fail too.
			}
			continue
		}
		holds := r.Refresh
		if missing {
			holds = r.RetryMissing
		}
		r.mu.Lock()
		r.known[v] = &entry{info: info, answered: true, due: r.Now().Add(holds)}
		r.mu.Unlock()
	}
	return errors.Join(errs...)
}

// due returns the versions to request, the longest overdue first.
func (r *Registry) due(versions []Version) []Version {
	now := r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted := make(map[Version]struct{}, len(versions))
	for _, v := range versions {
		if len(wanted) == r.MaxVersions {
			break
		}
		wanted[v] = struct{}{}
		if r.known[v] == nil {
			r.known[v] = &entry{}
		}
	}
	var due []Version
	for v, e := range r.known {
		if _, ok := wanted[v]; !ok {
			delete(r.known, v)
		} else if !e.due.After(now) {
			due = append(due, v)
		}
	}
	slices.SortFunc(due, func(a, b Version) int {
		if c := r.known[a].due.Compare(r.known[b].due); c != 0 {
			return c
		}
		return strings.Compare(a.Model+"\x1f"+a.Version, b.Model+"\x1f"+b.Version)
	})
	return due
}

// ask requests one version.
func (r *Registry) ask(ctx context.Context, v Version) (Info, error) {
	found, name, err := r.resolve(ctx, v)
	if err != nil {
		return Info{}, err
	}
	var logged loggedModel
	if found.RunID == "" && found.ModelID != "" {
		if logged, err = r.loggedModel(ctx, found.ModelID); err != nil && !errors.Is(err, errNotFound) {
			return Info{}, err
		}
		found.RunID = logged.SourceRunID
	}
	info := Info{ModelID: clip(found.ModelID), ExperimentID: clip(logged.ExperimentID), RunID: clip(found.RunID), Registered: clip(found.Version), Stage: clip(found.stage(name)), Created: found.Created.time()}
	if found.RunID == "" {
		return info, nil
	}
	run, err := r.run(ctx, found.RunID)
	if errors.Is(err, errNotFound) {
		return info, nil // the run was deleted; its ID is still useful
	}
	if err != nil {
		return Info{}, err
	}
	data := run.training()
	info.ExperimentID, info.Dataset, info.Digest = clip(run.Info.ExperimentID), clip(data.Name), clip(data.Digest)
	info.SourceType, info.Source = data.SourceType, data.location()
	if r.WriteBack {
		if info.FirstServed, err = r.writeBack(ctx, v, run); err != nil {
			r.Logger.Warn("A run could not be tagged", "run", info.RunID, "err", err)
		}
	}
	return info, nil
}

// resolve returns the registered version, and the alias by which it was found.
func (r *Registry) resolve(ctx context.Context, v Version) (found modelVersion, alias string, err error) {
	if _, err := strconv.ParseUint(v.Version, 10, 64); err == nil {
		found, err := r.version(ctx, v.Model, v.Version)
		return found, "", err
	}
	aliases := []string{v.Version}
	if v.Version == "" {
		aliases = r.Aliases
	}
	err = errNotFound
	for _, alias := range aliases {
		if found, err = r.named(ctx, v.Model, alias); !errors.Is(err, errNotFound) {
			return found, alias, err
		}
	}
	return found, "", err
}

// stage returns the alias by which a version was found, otherwise its first alias, otherwise its stage.
func (v modelVersion) stage(alias string) string {
	switch {
	case alias != "":
		return alias
	case len(v.Aliases) > 0:
		return slices.Min(v.Aliases)
	case v.Stage == "None":
		return ""
	}
	return v.Stage
}

// location returns the location of a dataset. MLflow stores it under a key that depends on the type.
func (d dataset) location() string {
	var s struct{ URI, URL, Path string }
	if json.Unmarshal([]byte(d.Source), &s) != nil {
		return ""
	}
	for _, l := range []string{s.URI, s.URL, s.Path} {
		if l != "" {
			return l
		}
	}
	return ""
}

// writeBack sets the missing tags on the run, and returns when its version was first served.
func (r *Registry) writeBack(ctx context.Context, v Version, of run) (time.Time, error) {
	var tags []tag
	first := r.Now().UTC().Truncate(time.Second)
	at := slices.IndexFunc(of.Data.Tags, func(t tag) bool { return t.Key == FirstServedTag })
	if at < 0 {
		tags = append(tags, tag{FirstServedTag, first.Format(time.RFC3339)})
	} else {
		var err error
		if first, err = time.Parse(time.RFC3339, of.Data.Tags[at].Value); err != nil {
			return time.Time{}, fmt.Errorf("tag %s: %w", FirstServedTag, err)
		}
	}
	if r.TraceLink != nil {
		var link strings.Builder
		if err := r.TraceLink.Execute(&link, struct{ Model, Version, RunID string }{v.Model, v.Version, of.Info.RunID}); err != nil {
			return time.Time{}, fmt.Errorf("trace link: %w", err)
		}
		if t := (tag{TraceLinkTag, link.String()}); !slices.Contains(of.Data.Tags, t) {
			tags = append(tags, t)
		}
	}
	for _, t := range tags {
		if err := r.setTag(ctx, of.Info.RunID, t); err != nil {
			return time.Time{}, err
		}
	}
	return first, nil
}

// clip shortens a server's text for a label.
func clip(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), 4*limit.MaxRunes)], "\uFFFD")
	if runes := []rune(s); len(runes) > limit.MaxRunes {
		return string(runes[:limit.MaxRunes])
	}
	return s
}

var _ prometheus.Collector = (*Registry)(nil)

// Describe implements prometheus.Collector. It sends nothing, because the metrics depend on the versions that are served.
func (r *Registry) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (r *Registry) Collect(ch chan<- prometheus.Metric) {
	var m exporter.Metrics
	r.mu.RLock()
	for v, e := range r.known {
		if !e.answered {
			continue
		}
		i := e.info
		m.Gauge(r.descs.info, 1, v.Model, v.Version, i.RunID, i.ExperimentID, i.ModelID, i.Dataset, i.Digest, i.Stage)
		if !i.Created.IsZero() {
			m.Gauge(r.descs.created, float64(i.Created.UnixMilli())/1e3, v.Model, v.Version)
		}
		if !i.FirstServed.IsZero() {
			m.Gauge(r.descs.served, float64(i.FirstServed.Unix()), v.Model, v.Version)
		}
	}
	r.mu.RUnlock()
	for _, metric := range m {
		ch <- metric
	}
}
