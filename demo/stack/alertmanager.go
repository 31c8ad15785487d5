package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// AlertmanagerConfig has the changes that a stack makes to a production configuration.
type AlertmanagerConfig struct {
	// Files has alertmanager.yaml and its templates.
	Files fs.FS
	// SlackURL is the target of Slack messages. Each receiver posts to a path below it, the base name of its api_url_file, so
	// that tests can check that every receiver uses its own webhook.
	SlackURL string
	// ResponderURL is the target of the receiver "responder", with ResponderToken. Without them the receiver and its routes
	// are left out.
	ResponderURL, ResponderToken string
	// SpeedUp divides all times of the configuration; 1 by default.
	SpeedUp float64
	// ExternalURL is used in links; by default it is the server's own address.
	ExternalURL string
}

func (c *AlertmanagerConfig) complete() error {
	if c.SpeedUp == 0 {
		c.SpeedUp = 1
	}
	switch {
	case c.Files == nil:
		return errors.New("alertmanager: no configuration given")
	case c.SlackURL == "":
		return errors.New("alertmanager: no URL for Slack messages given")
	case c.SpeedUp < 1:
		return fmt.Errorf("alertmanager: a speed-up of %g is less than 1", c.SpeedUp)
	}
	return nil
}

// Alertmanager is a running server.
type Alertmanager struct {
	Server
}

// StartAlertmanager starts the server and returns when it accepts alerts.
func (s *Stack) StartAlertmanager(ctx context.Context, cfg AlertmanagerConfig) (*Alertmanager, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir, "alertmanager")
	if err := writeAlertmanager(dir, cfg); err != nil {
		return nil, fmt.Errorf("alertmanager: %w", err)
	}
	server, err := s.serve(ctx, func(address string) ProcessConfig {
		externalURL := cfg.ExternalURL
		if externalURL == "" {
			externalURL = "http://" + address
		}
		return ProcessConfig{
			Name: "alertmanager", Path: s.tools.Alertmanager,
			Args: []string{
				"--config.file=" + filepath.Join(dir, "alertmanager.yaml"),
				"--storage.path=" + filepath.Join(dir, "data"),
				"--web.listen-address=" + address,
				"--web.external-url=" + externalURL,
				"--web.route-prefix=/",
				"--cluster.listen-address=", // A single server needs no cluster.
			},
			ReadyURL: "http://" + address + "/-/ready",
		}
	})
	if err != nil {
		return nil, err
	}
	return &Alertmanager{Server: server}, nil
}

// writeAlertmanager copies the files and rewrites alertmanager.yaml.
func writeAlertmanager(dir string, cfg AlertmanagerConfig) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.CopyFS(dir, cfg.Files); err != nil {
		return err
	}
	main := filepath.Join(dir, "alertmanager.yaml")
	content, err := os.ReadFile(main)
	if err != nil {
		return err
	}
	content, err = rewriteAlertmanager(content, filepath.Join(dir, "secrets"), cfg)
	if err != nil {
		return fmt.Errorf("rewrite alertmanager.yaml: %w", err)
	}
	return os.WriteFile(main, content, 0o644)
}

// rewriteAlertmanager divides the times and replaces the secrets' files with files that have the simulated Slack's URL. All
// other settings stay, so that tests cover the shipped configuration.
func rewriteAlertmanager(content []byte, secrets string, cfg AlertmanagerConfig) ([]byte, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(secrets, 0o700); err != nil {
		return nil, err
	}
	if cfg.ResponderURL == "" {
		leaveOut(doc, responder)
	}
	err := rewrite(doc, func(key, value string) (string, error) {
		switch key {
		case "group_wait", "group_interval", "repeat_interval", "resolve_timeout":
			d, err := model.ParseDuration(value)
			if err != nil {
				return "", err
			}
			// Alertmanager supports no duration below a millisecond and rejects an interval of zero.
			d = max(d/model.Duration(time.Millisecond), 1)
			d = max(model.Duration(float64(d)/cfg.SpeedUp), 1) * model.Duration(time.Millisecond)
			return d.String(), nil
		case "api_url_file":
			name := path.Base(value)
			file := filepath.Join(secrets, name)
			return file, os.WriteFile(file, []byte(cfg.SlackURL+"/"+name), 0o600)
		case "credentials_file":
			file := filepath.Join(secrets, path.Base(value))
			return file, os.WriteFile(file, []byte(cfg.ResponderToken), 0o600)
		case "url":
			if u, err := url.Parse(value); err == nil && u.Hostname() == responder {
				return cfg.ResponderURL + u.Path, nil
			}
			return value, nil
		default:
			return value, nil
		}
	})
	if err != nil {
		return nil, err
	}
	return yaml.Marshal(doc)
}

// responder is the name of the responder's receiver and of its host.
const responder = "responder"

// leaveOut removes a receiver and its top-level routes.
func leaveOut(doc map[string]any, receiver string) {
	filter := func(in map[string]any, list, key string) {
		items, _ := in[list].([]any)
		in[list] = slices.DeleteFunc(items, func(item any) bool {
			m, _ := item.(map[string]any)
			return m[key] == receiver
		})
	}
	filter(doc, "receivers", "name")
	if route, ok := doc["route"].(map[string]any); ok && route["routes"] != nil {
		filter(route, "routes", "receiver")
	}
}

// rewrite replaces the string values in all mappings below node.
func rewrite(node any, replace func(key, value string) (string, error)) error {
	switch node := node.(type) {
	case []any:
		for _, child := range node {
			if err := rewrite(child, replace); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, child := range node {
			value, isString := child.(string)
			if !isString {
				if err := rewrite(child, replace); err != nil {
					return err
				}
				continue
			}
			value, err := replace(key, value)
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			node[key] = value
		}
	}
	return nil
}

// Alert is an alert to post to Alertmanager.
type Alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
	StartsAt    time.Time         `json:"startsAt,omitzero"`
	EndsAt      time.Time         `json:"endsAt,omitzero"`
}

// AlertStatus is an alert in Alertmanager.
type AlertStatus struct {
	Alert
	Fingerprint string `json:"fingerprint"`
	Status      struct {
		// State is unprocessed, active or suppressed.
		State       string   `json:"state"`
		InhibitedBy []string `json:"inhibitedBy"`
		SilencedBy  []string `json:"silencedBy"`
		MutedBy     []string `json:"mutedBy"`
	} `json:"status"`
	Receivers []struct {
		Name string `json:"name"`
	} `json:"receivers"`
}

// Post sends alerts, as Prometheus would.
func (a *Alertmanager) Post(ctx context.Context, alerts ...Alert) error {
	body, err := json.Marshal(alerts)
	if err != nil {
		return fmt.Errorf("post alerts: %w", err)
	}
	return a.call(ctx, http.MethodPost, "/api/v2/alerts", body, nil)
}

// Alerts returns the alerts in Alertmanager that match all given matchers, such as severity="info": sent, inhibited, silenced
// and muted ones. An alert on several routes is returned once for each.
func (a *Alertmanager) Alerts(ctx context.Context, matchers ...string) ([]AlertStatus, error) {
	var groups []struct {
		Alerts []AlertStatus `json:"alerts"`
	}
	// The endpoint without groups does not report muted alerts.
	query := url.Values{"filter": matchers}.Encode()
	if err := a.call(ctx, http.MethodGet, "/api/v2/alerts/groups?"+query, nil, &groups); err != nil {
		return nil, err
	}
	var alerts []AlertStatus
	for _, g := range groups {
		alerts = append(alerts, g.Alerts...)
	}
	return alerts, nil
}

func (a *Alertmanager) call(ctx context.Context, method, endpoint string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.URL()+endpoint, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("alertmanager: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("alertmanager: %w", err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("alertmanager: read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("alertmanager: %s %s: %s: %s", method, endpoint, resp.Status, content)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(content, answer); err != nil {
		return fmt.Errorf("alertmanager: decode the answer: %w", err)
	}
	return nil
}
