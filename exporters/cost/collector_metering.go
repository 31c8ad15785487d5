package cost

import (
	"fmt"
	"maps"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	promconfig "github.com/prometheus/common/config"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/metering"
	"github.com/sightglass-ml/sightglass/internal/config"
)

func (e *Exporter) openMeter(cfg MeteringConfig) (*metering.Meter, error) {
	source, err := cfg.source()
	if err != nil {
		return nil, err
	}
	selfHosted := map[string]bool{}
	for _, h := range cfg.Holders {
		selfHosted[h.Model] = h.Model != ""
	}
	resources := map[string]metering.Resource{}
	for _, r := range cfg.Resources {
		resources[r.Name] = metering.Resource{PerHour: r.Price, Currency: r.Currency, Observability: r.Counts == "observability"}
	}
	return metering.Open(metering.Options{
		Source: source, Prices: e.book, Rate: e.wantedRate, Resources: resources,
		Department: func(model string) string {
			for _, m := range cfg.Models {
				if ok, err := path.Match(m.Model, model); err == nil && ok {
					return m.Department
				}
			}
			return ""
		},
		SelfHosted: func(model string) bool { return selfHosted[model] },
		Tier: func(model string) string {
			for _, m := range cfg.Models {
				if ok, err := path.Match(m.Model, model); err == nil && ok {
					return m.Tier
				}
			}
			return ""
		},
		Month:  func(at time.Time) string { return e.cfg.calendar.Month(at).Start.Format(monthLayout) },
		Weight: cfg.Loaded, GatewayCurrency: cfg.Gateway.Currency, PreferGateway: cfg.Gateway.Prefer,
		Value: func(model string) (float64, bool) {
			for _, v := range cfg.Values {
				if ok, err := path.Match(v.Model, model); err == nil && ok {
					return v.CAD, true
				}
			}
			return 0, false
		},
		File: filepath.Join(string(e.cfg.State), "spend.json"), Step: time.Duration(cfg.Step), Lag: time.Duration(cfg.Lag),
		CatchUp: time.Duration(cfg.CatchUp), MaxSeries: cfg.MaxSeries,
		// The meter has its own limit, which is in its state. This limiter accepts nothing and only counts.
		Folded: func() { e.limits.series.Fold("series") },
		Now:    e.now, Logger: e.log,
	})
}

// source is the Prometheus server that the meter queries.
func (cfg MeteringConfig) source() (metering.Prometheus, error) {
	source := metering.Prometheus{Queries: cfg.Queries, Resources: map[string]string{}, Timeout: time.Duration(cfg.Timeout)}
	transport, err := promconfig.NewRoundTripperFromConfig(cfg.client, "cost-exporter")
	if err != nil {
		return source, fmt.Errorf("http_client: %w", err)
	}
	if cfg.Token != (config.SecretSource{}) {
		transport = bearer{cfg.Token, transport}
	}
	prom, err := api.NewClient(api.Config{Address: cfg.Prometheus, RoundTripper: transport})
	if err != nil {
		return source, fmt.Errorf("prometheus: %w", err)
	}
	source.API = v1.NewAPI(prom)
	for _, h := range cfg.Holders {
		holder := h.holder()
		if err := holder.Validate(); err != nil {
			return source, fmt.Errorf("holders: %w", err)
		}
		source.Holders = append(source.Holders, holder)
	}
	for _, r := range cfg.Resources {
		source.Resources[r.Name] = r.Query
	}
	return source, nil
}

// bearer sends a token that it reads from its source for every request.
type bearer struct {
	token config.SecretSource
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := b.token.Read()
	if err != nil {
		return nil, err
	}
	return promconfig.NewAuthorizationCredentialsRoundTripper("Bearer", promconfig.NewInlineSecret(strings.TrimSpace(token.Reveal())), b.next).RoundTrip(r)
}

// usedModels are the models that have been metered.
func (e *Exporter) usedModels() []string {
	if e.meter == nil {
		return nil
	}
	samples, _ := e.meter.Samples()
	used := map[string]bool{}
	for _, s := range samples {
		if s.Counter == metering.Units {
			used[s.Model] = true
		}
	}
	return slices.Sorted(maps.Keys(used))
}
