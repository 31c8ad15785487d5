package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// PrometheusConfig has the settings of Prometheus that the demo and tests choose.
type PrometheusConfig struct {
	// Address is the host:port to listen on; by default a free port.
	Address string
	Targets []ScrapeTarget
	// RuleFiles are absolute paths or globs.
	RuleFiles []string
	// Alertmanager is a host:port. Without it, alerts are not sent.
	Alertmanager string
	// ScrapeInterval and EvaluationInterval are required.
	ScrapeInterval     time.Duration
	EvaluationInterval time.Duration
	// LookbackDelta is the maximum age of a sample in a query; Prometheus's default is 5 minutes.
	LookbackDelta time.Duration
	// ResendDelay is the minimum time before an alert is sent again; Prometheus's default is 1 minute.
	ResendDelay time.Duration
	// Retention is one year by default, so that backfilled history is kept.
	Retention      time.Duration
	ExternalLabels map[string]string
}

// ScrapeTarget is a job with its targets.
type ScrapeTarget struct {
	Job       string
	Addresses []string
	Labels    map[string]string
}

func (c *PrometheusConfig) complete() error {
	if c.ScrapeInterval <= 0 || c.EvaluationInterval <= 0 {
		return errors.New("prometheus: the scrape and evaluation intervals must be given")
	}
	if c.Retention == 0 {
		c.Retention = 365 * 24 * time.Hour
	}
	return nil
}

// The used fields of Prometheus's configuration file.
type (
	prometheusFile struct {
		Global        globalSection  `yaml:"global"`
		RuleFiles     []string       `yaml:"rule_files,omitempty"`
		Alerting      alerting       `yaml:"alerting,omitempty"`
		ScrapeConfigs []scrapeConfig `yaml:"scrape_configs,omitempty"`
	}
	globalSection struct {
		ScrapeInterval     model.Duration    `yaml:"scrape_interval"`
		ScrapeTimeout      model.Duration    `yaml:"scrape_timeout"`
		EvaluationInterval model.Duration    `yaml:"evaluation_interval"`
		ExternalLabels     map[string]string `yaml:"external_labels,omitempty"`
	}
	alerting struct {
		Alertmanagers []alertmanagerTargets `yaml:"alertmanagers,omitempty"`
	}
	alertmanagerTargets struct {
		StaticConfigs []staticConfig `yaml:"static_configs"`
	}
	scrapeConfig struct {
		JobName       string         `yaml:"job_name"`
		StaticConfigs []staticConfig `yaml:"static_configs"`
	}
	staticConfig struct {
		Targets []string          `yaml:"targets"`
		Labels  map[string]string `yaml:"labels,omitempty"`
	}
)

func (c PrometheusConfig) file() prometheusFile {
	f := prometheusFile{
		Global: globalSection{
			ScrapeInterval:     model.Duration(c.ScrapeInterval),
			ScrapeTimeout:      model.Duration(min(c.ScrapeInterval, 10*time.Second)),
			EvaluationInterval: model.Duration(c.EvaluationInterval),
			ExternalLabels:     c.ExternalLabels,
		},
		RuleFiles: c.RuleFiles,
	}
	if c.Alertmanager != "" {
		f.Alerting.Alertmanagers = []alertmanagerTargets{{[]staticConfig{{Targets: []string{c.Alertmanager}}}}}
	}
	for _, t := range c.Targets {
		f.ScrapeConfigs = append(f.ScrapeConfigs, scrapeConfig{t.Job, []staticConfig{{t.Addresses, t.Labels}}})
	}
	return f
}

// Prometheus is a running server and its API.
type Prometheus struct {
	Server
	API v1.API
}

func (s *Stack) prometheusData() string { return filepath.Join(s.dir, "prometheus-data") }

// BackfillOpenMetrics writes history into Prometheus's storage: samples with timestamps in the OpenMetrics format, ending
// with # EOF. Call it before StartPrometheus. Every sample must be older than the first scrape, because a server rejects
// samples older than its newest block.
func (s *Stack) BackfillOpenMetrics(ctx context.Context, r io.Reader) error {
	s.mu.Lock()
	started := s.prometheus
	s.mu.Unlock()
	if started {
		return errors.New("backfill: Prometheus is running already and would not see new blocks in time")
	}
	input, err := os.CreateTemp(s.dir, "backfill-*.om")
	if err != nil {
		return fmt.Errorf("backfill: %w", err)
	}
	defer func() { _ = os.Remove(input.Name()) }()
	_, err = io.Copy(input, r)
	if err := errors.Join(err, input.Close()); err != nil {
		return fmt.Errorf("backfill: write the samples: %w", err)
	}
	// Blocks of the default two hours would make hundreds of folders for a month, each slow to write and open.
	//nolint:gosec // Running the tools it was given is what this package is for.
	cmd := exec.CommandContext(ctx, s.tools.Promtool, "tsdb", "create-blocks-from", "--max-block-duration=30d",
		"openmetrics", "--quiet", input.Name(), s.prometheusData())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("backfill: promtool: %w: %s", err, out)
	}
	return nil
}

// StartPrometheus starts the server with exemplar storage, and returns when it answers queries. A stack has one Prometheus.
func (s *Stack) StartPrometheus(ctx context.Context, cfg PrometheusConfig) (*Prometheus, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	content, err := yaml.Marshal(cfg.file())
	if err != nil {
		return nil, fmt.Errorf("prometheus: encode the configuration: %w", err)
	}
	path := filepath.Join(s.dir, "prometheus.yml")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	args := []string{
		"--config.file=" + path,
		"--storage.tsdb.path=" + s.prometheusData(),
		"--storage.tsdb.retention.time=" + model.Duration(cfg.Retention).String(),
		"--enable-feature=exemplar-storage",
	}
	if cfg.LookbackDelta > 0 {
		args = append(args, "--query.lookback-delta="+model.Duration(cfg.LookbackDelta).String())
	}
	if cfg.ResendDelay > 0 {
		args = append(args, "--rules.alert.resend-delay="+model.Duration(cfg.ResendDelay).String())
	}

	s.mu.Lock()
	started := s.prometheus
	s.prometheus = true
	s.mu.Unlock()
	if started {
		return nil, errors.New("prometheus: was started already")
	}
	server, err := s.serveAt(ctx, cfg.Address, func(address string) ProcessConfig {
		return ProcessConfig{
			Name: "prometheus", Path: s.tools.Prometheus,
			Args:     append(args[:len(args):len(args)], "--web.listen-address="+address),
			ReadyURL: "http://" + address + "/-/ready",
		}
	})
	if err != nil {
		return nil, err
	}
	client, err := api.NewClient(api.Config{Address: server.URL()})
	if err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	return &Prometheus{Server: server, API: v1.NewAPI(client)}, nil
}

// Query evaluates an expression now. A scalar is returned as a vector with one sample.
func (p *Prometheus) Query(ctx context.Context, expr string) (model.Vector, error) {
	value, _, _, err := p.API.Query(ctx, expr, time.Time{})
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	switch v := value.(type) {
	case model.Vector:
		return v, nil
	case *model.Scalar:
		return model.Vector{{Metric: model.Metric{}, Value: v.Value, Timestamp: v.Timestamp}}, nil
	default:
		return nil, fmt.Errorf("query %s: the result is a %s, not a vector", expr, value.Type())
	}
}

// watchdog is the alert that always fires.
const watchdog = "SightglassWatchdog"

// Alerts returns the pending and firing alerts except the watchdog.
func (p *Prometheus) Alerts(ctx context.Context) ([]v1.Alert, error) {
	result, err := p.API.Alerts(ctx)
	if err != nil {
		return nil, fmt.Errorf("list alerts: %w", err)
	}
	return slices.DeleteFunc(result.Alerts, func(a v1.Alert) bool { return a.Labels[model.AlertNameLabel] == watchdog }), nil
}
