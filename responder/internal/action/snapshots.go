package action

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/api"
	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/httpclient"
)

// PrometheusConfig is the Prometheus that has the last good snapshots.
type PrometheusConfig struct {
	URL        string     `yaml:"url"`
	HTTPClient config.Raw `yaml:"http_client,omitempty"`

	client promconfig.HTTPClientConfig
}

// Validate implements config.Validator.
func (c *PrometheusConfig) Validate(at config.At) {
	if _, err := base(c.URL); err != nil {
		at.Errorf("", "%v", err)
	}
	var err error
	if c.client, err = httpclient.Load(c.HTTPClient, at); err != nil {
		at.Errorf("http_client", "%v", err)
	}
}

type promSnapshots struct{ api prometheus.API }

// NewPrometheusConfig returns the configuration of a server given by command-line flags.
func NewPrometheusConfig(url string, client promconfig.HTTPClientConfig) (PrometheusConfig, error) {
	_, err := base(url)
	return PrometheusConfig{URL: url, client: client}, err
}

// API returns a client of the server. It reads at most maxPrometheusAnswer of a response.
func (c PrometheusConfig) API() (prometheus.API, error) {
	transport, err := promconfig.NewRoundTripperFromConfig(c.client, "prometheus")
	if err != nil {
		return nil, fmt.Errorf("prometheus: http_client: %w", err)
	}
	client, err := api.NewClient(api.Config{Address: c.URL, RoundTripper: bounded{transport}})
	if err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	return prometheus.NewAPI(client), nil
}

// maxPrometheusAnswer is far above the size of 20 000 series.
const maxPrometheusAnswer = 16 << 20

// bounded truncates long responses, which are then invalid JSON.
type bounded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxPrometheusAnswer), res.Body}
	}
	return res, err
}

// PrometheusSnapshots reads snapshots from a Prometheus server.
func PrometheusSnapshots(c PrometheusConfig) (Snapshots, error) {
	client, err := c.API()
	if err != nil {
		return nil, err
	}
	return promSnapshots{client}, nil
}

// LastGood implements Snapshots.
func (p promSnapshots) LastGood(ctx context.Context, dataset, cluster, namespace string) (string, error) {
	// External labels are not on Prometheus's own series.
	optional := func(value string) string { return "|" + regexp.QuoteMeta(value) }
	query := fmt.Sprintf("group by (snapshot) (ml_dataset_last_good_snapshot_info{dataset=%q,cluster=~%q,namespace=~%q})",
		dataset, optional(cluster), optional(namespace))
	value, _, _, err := p.api.Query(ctx, query, time.Now())
	if err != nil {
		return "", err
	}
	vector, ok := value.(model.Vector)
	switch {
	case !ok:
		return "", fmt.Errorf("the answer is a %s; want a vector", value.Type())
	case len(vector) == 0:
		return "", nil
	case len(vector) > 1:
		// Two datasets of the same name in two clusters, or replicas that do not agree yet: the right one is unknown.
		return "", fmt.Errorf("there are %d, such as %q and %q", len(vector), vector[0].Metric["snapshot"], vector[1].Metric["snapshot"])
	}
	return string(vector[0].Metric["snapshot"]), nil
}
