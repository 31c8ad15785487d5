// Package history runs rules over the stored samples of a Prometheus, to find out which alerts would have fired.
//
// Input: the HTTP API of a Prometheus, or of a compatible server, and rules. Output: every alert with how often and how long it fired.
// State: none. Samples are read in windows and kept while a rule can reach them. It never writes to the server.
//
// The API has no staleness markers, so a series that ends stays visible for five more minutes. Recorded series are computed again from the
// start of the range. Rules that compare with earlier weeks therefore have no result at first.
package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/rules"
)

// Config configures the server and the range.
type Config struct {
	// URL is the server's, with the prefix of its API, such as https://mimir.example.com/prometheus.
	URL string
	// HTTPConfigFile is a file in the format of Prometheus's http_config: basic_auth, authorization, tls_config, and http_headers such as
	// X-Scope-OrgID. Optional.
	HTTPConfigFile string
	From, To       time.Time
	// Interval is the time between two evaluations; a minute by default.
	Interval time.Duration
	// Timeout is the time limit of one request; two minutes by default.
	Timeout time.Duration
	// Progress, if set, receives the time that the replay has reached.
	Progress func(at time.Time)
}

const (
	// firstWindow is the time range of one request. If the server refuses it because of a limit on samples, it is halved, down to
	// leastWindow.
	firstWindow = 2 * time.Hour
	leastWindow = 5 * time.Minute
	attempts    = 4
)

// Alert is an alert for one object that would have fired.
type Alert struct {
	Name    string        `json:"alert"`
	Labels  labels.Labels `json:"labels"`
	Times   int           `json:"times"`
	Firing  time.Duration `json:"firing_ns"`
	Longest time.Duration `json:"longest_ns"`
	First   time.Time     `json:"first"`
	// Still means that it was firing at the end.
	Still bool `json:"still_firing"`
}

// Result is the result of a replayed history.
type Result struct {
	Alerts []Alert
	Stats  engine.Stats
	// Read are the metrics that were found, Absent the other metrics that the rules need.
	Read, Absent []string
	// Unfed are the alerts without input, because metrics are absent.
	Unfed []engine.AlertsWithoutInputs
}

// optional is read by the rules, but most installations override no threshold and do not have it.
const optional = rules.Override

// Run replays a history.
func Run(ctx context.Context, cfg Config, bundle engine.Rules) (Result, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, 2*time.Minute)
	client, err := newClient(cfg)
	if err != nil {
		return Result{}, err
	}
	eng, err := engine.New(engine.Options{Rules: bundle, Interval: cfg.Interval})
	if err != nil {
		return Result{}, err
	}
	r := reader{api: client, timeout: cfg.Timeout, window: firstWindow}
	var out Result
	if out.Read, out.Absent, err = r.metrics(ctx, bundle.Raw(), cfg.From, cfg.To); err != nil {
		return Result{}, err
	}
	if len(out.Read) == 0 {
		return Result{}, fmt.Errorf("%s has none of the %d metrics that the rules read between %s and %s: is it the right server, tenant and range?",
			cfg.URL, len(out.Absent), cfg.From.UTC().Format(time.DateTime), cfg.To.UTC().Format(time.DateTime))
	}
	if out.Unfed, err = bundle.Unfed(append(out.Read, optional)); err != nil {
		return Result{}, err
	}
	s := summary{alerts: map[string]*Alert{}, since: map[string]time.Time{}}
	out.Stats, err = eng.Run(ctx, engine.Replay{
		From: cfg.From, To: cfg.To, Alerts: s.add, Progress: cfg.Progress,
		Feed: func(ctx context.Context, from, to time.Time, store func(labels.Labels, time.Time, float64)) error {
			for _, name := range out.Read {
				if err := r.read(ctx, name, from, to, store); err != nil {
					return err
				}
			}
			return nil
		},
	})
	out.Alerts = s.done(cfg.To)
	return out, err
}

// unknownField matches the message of the YAML library, which names a type of Go.
var unknownField = regexp.MustCompile(`field (\S+) not found in type \S+`)

func newClient(cfg Config) (v1.API, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("the address of Prometheus is %q, expected a URL such as http://localhost:9090", cfg.URL)
	}
	http := promconfig.DefaultHTTPClientConfig
	if cfg.HTTPConfigFile != "" {
		loaded, _, err := promconfig.LoadHTTPConfigFile(cfg.HTTPConfigFile)
		if err != nil {
			text := unknownField.ReplaceAllString(err.Error(), `unknown key "$1"; the keys are those of Prometheus's http_config, such as basic_auth: {username, password_file}`)
			return nil, fmt.Errorf("read the HTTP configuration %s: %s", cfg.HTTPConfigFile, strings.ReplaceAll(text, "\n", " "))
		}
		http = *loaded
	}
	transport, err := promconfig.NewRoundTripperFromConfig(http, "sightglass-replay")
	if err != nil {
		return nil, fmt.Errorf("HTTP configuration: %w", err)
	}
	client, err := api.NewClient(api.Config{Address: cfg.URL, RoundTripper: transport})
	if err != nil {
		return nil, fmt.Errorf("the address of Prometheus: %w", err)
	}
	return v1.NewAPI(client), nil
}

// reader reads raw samples.
type reader struct {
	api     v1.API
	timeout time.Duration
	window  time.Duration
}

// metrics returns which of the names the server has.
func (r *reader) metrics(ctx context.Context, names []string, from, to time.Time) (found, absent []string, err error) {
	var known model.LabelValues
	err = r.attempt(ctx, func(ctx context.Context) error {
		known, _, _, err = r.api.LabelValues(ctx, model.MetricNameLabel, nil, from, to)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list the metrics: %w", err)
	}
	for _, name := range names {
		if slices.Contains(known, model.LabelValue(name)) {
			found = append(found, name)
		} else if name != optional {
			absent = append(absent, name)
		}
	}
	return found, absent, nil
}

// read reads the samples of a metric in [from, to).
func (r *reader) read(ctx context.Context, name string, from, to time.Time, store func(labels.Labels, time.Time, float64)) error {
	for from.Before(to) {
		end := from.Add(r.window)
		if end.After(to) {
			end = to
		}
		// A range excludes its start and includes its end.
		selector := fmt.Sprintf("{__name__=%q}[%dms]", name, end.Sub(from).Milliseconds())
		var matrix model.Matrix
		err := r.attempt(ctx, func(ctx context.Context) error {
			v, _, _, err := r.api.Query(ctx, selector, end.Add(-time.Millisecond))
			if err != nil {
				return err
			}
			var ok bool
			if matrix, ok = v.(model.Matrix); !ok {
				return fmt.Errorf("the answer is a %s, expected a matrix", v.Type())
			}
			return nil
		})
		if err != nil {
			if ctx.Err() == nil && r.window > leastWindow {
				r.window /= 2
				continue
			}
			return fmt.Errorf("read %s: %w", name, err)
		}
		for _, s := range matrix {
			b := labels.NewScratchBuilder(len(s.Metric))
			for label, v := range s.Metric {
				b.Add(string(label), string(v))
			}
			b.Sort()
			ls := b.Labels()
			for _, sample := range s.Values {
				store(ls, sample.Timestamp.Time(), float64(sample.Value))
			}
		}
		from = end
	}
	return nil
}

// attempt repeats a request after a failure of the server or the network. It does not repeat a refused request.
func (r *reader) attempt(ctx context.Context, request func(context.Context) error) error {
	for n := 1; ; n++ {
		limited, cancel := context.WithTimeout(ctx, r.timeout)
		err := request(limited)
		cancel()
		var refused *v1.Error
		final := errors.As(err, &refused) && slices.Contains([]v1.ErrorType{v1.ErrBadData, v1.ErrExec, v1.ErrClient}, refused.Type)
		if err == nil || final || n == attempts || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second << (n - 1)):
		}
	}
}

// summary adds up transitions.
type summary struct {
	alerts map[string]*Alert
	since  map[string]time.Time
}

func (s summary) add(t engine.Transition) {
	key := t.Labels.String()
	switch t.State {
	case engine.Firing:
		a := s.alerts[key]
		if a == nil {
			a = &Alert{Name: t.Labels.Get(labels.AlertName), Labels: t.Labels, First: t.At}
			s.alerts[key] = a
		}
		a.Times++
		s.since[key] = t.At
	case engine.Resolved:
		s.end(key, t.At)
	}
}

func (s summary) end(key string, at time.Time) {
	if since, ok := s.since[key]; ok {
		a, lasted := s.alerts[key], at.Sub(since)
		a.Firing += lasted
		a.Longest = max(a.Longest, lasted)
		delete(s.since, key)
	}
}

func (s summary) done(to time.Time) []Alert {
	for key := range s.since {
		s.alerts[key].Still = true
		s.end(key, to)
	}
	var out []Alert
	for _, a := range s.alerts {
		out = append(out, *a)
	}
	slices.SortFunc(out, func(a, b Alert) int {
		return cmp.Or(cmp.Compare(b.Times, a.Times), cmp.Compare(a.Name, b.Name), labels.Compare(a.Labels, b.Labels))
	})
	return out
}
