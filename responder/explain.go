package responder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/httpclient"
	"github.com/sightglass-ml/sightglass/responder/internal/action"
	"github.com/sightglass-ml/sightglass/responder/internal/incident"
)

// ExplainOptions configure Explain.
type ExplainOptions struct {
	// Responder and Prometheus are addresses; one of them may be empty.
	Responder, Prometheus string
	// ResponderHTTP and PrometheusHTTP are paths of files with credentials, in the format of Prometheus's http_config.
	ResponderHTTP, PrometheusHTTP string
	// Postmortem selects Markdown for a post-mortem instead of text.
	Postmortem bool
	Width      int
	Now        func() time.Time
}

const (
	// explainTimeout is the timeout of one request.
	explainTimeout = 30 * time.Second
	// maxExplained bounds the response. An incident of 200 alerts is far smaller.
	maxExplained = 8 << 20
)

// Explain writes the incident of an alert, identified by the alert's name, its fingerprint or the incident's ID. The
// responder answers first; without it, the incident is computed from Prometheus alone.
func Explain(ctx context.Context, out io.Writer, what string, o ExplainOptions) error {
	var view *incident.View
	var errs []error
	if o.Responder == "" && o.Prometheus == "" {
		return errors.New("want --responder.url, --prometheus.url or both")
	}
	if o.Responder != "" {
		v, err := askResponder(ctx, what, o)
		if err != nil {
			errs = append(errs, fmt.Errorf("ask the responder: %w", err))
		}
		view = v
	}
	if view == nil && o.Prometheus != "" {
		v, err := askPrometheus(ctx, what, o)
		if err != nil {
			errs = append(errs, err)
		} else if len(errs) > 0 {
			v.Notes = append(v.Notes, errors.Join(errs...).Error())
		}
		view = v
	}
	switch {
	case view == nil:
		return errors.Join(errs...)
	case o.Postmortem:
		return view.WritePostmortem(out)
	}
	return view.WriteText(out, o.Width)
}

// clientConfig is the format of the client settings files.
type clientConfig struct {
	config.Doc `yaml:"-"`
	HTTPClient config.Raw `yaml:"http_client"`

	client promconfig.HTTPClientConfig
}

// Validate implements config.Validator.
func (c *clientConfig) Validate(at config.At) {
	var err error
	if c.client, err = httpclient.Load(c.HTTPClient, at); err != nil {
		at.Errorf("http_client", "%v", err)
	}
}

func httpSettings(path string) (promconfig.HTTPClientConfig, error) {
	if path == "" {
		c := promconfig.DefaultHTTPClientConfig
		c.FollowRedirects = false
		return c, nil
	}
	c, err := config.Load[clientConfig](path)
	return c.client, err
}

func askResponder(ctx context.Context, what string, o ExplainOptions) (*incident.View, error) {
	settings, err := httpSettings(o.ResponderHTTP)
	if err != nil {
		return nil, err
	}
	client, err := promconfig.NewClientFromConfig(settings, "responder")
	if err != nil {
		return nil, err
	}
	base := strings.TrimSuffix(o.Responder, "/") + incident.APIPath
	text, err := get(ctx, client, base+"/"+url.PathEscape(what))
	if errors.Is(err, incident.ErrNotFound) {
		if text, err = get(ctx, client, base+"?alert="+url.QueryEscape(what)); err != nil {
			return nil, err
		}
		var list struct {
			Incidents []incident.Summary `json:"incidents"`
		}
		if err := json.Unmarshal(text, &list); err != nil {
			return nil, fmt.Errorf("the answer is no list of incidents: %w", err)
		}
		if len(list.Incidents) == 0 {
			return nil, fmt.Errorf("%w, and no alert of one, with the name, fingerprint or ID %q", incident.ErrNotFound, what)
		}
		text, err = get(ctx, client, base+"/"+url.PathEscape(list.Incidents[0].ID))
	}
	if err != nil {
		return nil, err
	}
	return incident.ReadView(text)
}

func get(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxExplained))
	switch {
	case err != nil:
		return nil, err
	case res.StatusCode == http.StatusNotFound && res.Header.Get("Content-Security-Policy") != "":
		return nil, incident.ErrNotFound // The incident API belongs to the page; a responder without a page returns another status.
	case res.StatusCode == http.StatusUnauthorized:
		return nil, errors.New("the login is refused; give a file with http_client: {basic_auth: {username: …, password_file: …}}")
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the answer is %s: %.200s", res.Status, body)
	}
	return body, nil
}

func askPrometheus(ctx context.Context, what string, o ExplainOptions) (*incident.View, error) {
	settings, err := httpSettings(o.PrometheusHTTP)
	if err != nil {
		return nil, err
	}
	c, err := action.NewPrometheusConfig(o.Prometheus, settings)
	if err != nil {
		return nil, fmt.Errorf("--prometheus.url: %w", err)
	}
	api, err := c.API()
	if err != nil {
		return nil, err
	}
	var cfg incident.Config
	cfg.SetDefaults()
	return incident.Explain(ctx, api, what, cfg, o.Now())
}
