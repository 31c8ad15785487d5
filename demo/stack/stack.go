// Package stack runs the real monitoring stack on loopback, for the demo and for end-to-end tests: Prometheus, Alertmanager,
// exporters, and a simulated Slack.
//
// Input: typed options, from which it writes the configuration files. Output: the addresses of the servers, and clients for
// Prometheus and Alertmanager. State: a working directory and all started processes. Close ends the processes; on Linux they
// also end when this process is killed. It never runs programs other than those in its options.
package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sightglass-ml/sightglass/demo/slack"
)

// portAttempts bounds the retries when another program takes a port between finding it free and the child's opening it.
const portAttempts = 3

// Tools are the paths of the binaries. Only those of started servers are needed.
type Tools struct {
	Prometheus   string
	Promtool     string
	Alertmanager string
}

// FindTools returns the tools that `make tools` builds into a folder.
func FindTools(dir string) (Tools, error) {
	tools := Tools{
		Prometheus:   filepath.Join(dir, "prometheus"),
		Promtool:     filepath.Join(dir, "promtool"),
		Alertmanager: filepath.Join(dir, "alertmanager"),
	}
	for _, path := range []string{tools.Prometheus, tools.Promtool, tools.Alertmanager} {
		if _, err := os.Stat(path); err != nil {
			return Tools{}, fmt.Errorf("find the tools: %w", err)
		}
	}
	return tools, nil
}

// Config configures a Stack.
type Config struct {
	Tools Tools
	// Dir receives configuration, data and logs, and is kept after Close. By default a temporary folder is used, which Close
	// removes.
	Dir string
}

// Stack is a set of running processes. It is safe for concurrent use.
type Stack struct {
	tools     Tools
	dir       string
	temporary bool

	mu         sync.Mutex
	closers    []func() error // in the order of starting
	prometheus bool           // Whether Prometheus was started.
}

// New returns a stack without running processes.
func New(cfg Config) (*Stack, error) {
	s := &Stack{tools: cfg.Tools, dir: cfg.Dir}
	if cfg.Dir == "" {
		dir, err := os.MkdirTemp("", "sightglass-stack-")
		if err != nil {
			return nil, fmt.Errorf("create a working directory: %w", err)
		}
		s.dir, s.temporary = dir, true
		return s, nil
	}
	// Children resolve paths relative to their own configuration files, so these must be absolute.
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("resolve the working directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create the working directory: %w", err)
	}
	s.dir = dir
	return s, nil
}

// Dir returns the working directory; logs are in <dir>/<name>.log.
func (s *Stack) Dir() string { return s.dir }

// Close stops all processes, the last started first, and removes a temporary working directory.
func (s *Stack) Close() error {
	s.mu.Lock()
	closers := s.closers
	s.closers = nil
	s.mu.Unlock()
	var errs []error
	for _, stop := range slices.Backward(closers) {
		errs = append(errs, stop())
	}
	if s.temporary {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

func (s *Stack) onClose(stop func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closers = append(s.closers, stop)
}

// Server is a running process that serves HTTP on a loopback port.
type Server struct {
	*Process
	// Address is host:port.
	Address string
}

// URL returns the base URL of the server.
func (s Server) URL() string { return "http://" + s.Address }

// ExporterConfig describes a binary with the flags and endpoints of Sightglass's exporters.
type ExporterConfig struct {
	// Name is unique within a stack and is the name of the log file.
	Name string
	Path string
	Args []string
	Env  []string
}

// StartExporter starts an exporter on a free port and returns when it is ready.
func (s *Stack) StartExporter(ctx context.Context, cfg ExporterConfig) (Server, error) {
	return s.serve(ctx, func(address string) ProcessConfig {
		return ProcessConfig{
			Name: cfg.Name, Path: cfg.Path, Env: cfg.Env,
			Args:     append(slices.Clone(cfg.Args), "--web.listen-address="+address),
			ReadyURL: "http://" + address + "/-/ready",
		}
	})
}

// StartSlack starts a simulated Slack that keeps the last capacity messages. The URL is that of its incoming webhooks: each
// path below it is a webhook.
func (s *Stack) StartSlack(ctx context.Context, capacity int) (sink *slack.Sink, url string, err error) {
	if sink, err = slack.NewSink(capacity); err != nil {
		return nil, "", err
	}
	listener, err := listen(ctx)
	if err != nil {
		return nil, "", err
	}
	srv := &http.Server{Handler: sink, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(listener) }()
	s.onClose(srv.Close)
	return sink, "http://" + listener.Addr().String(), nil
}

// serve starts a child on a free port. configure adds the port to its arguments.
func (s *Stack) serve(ctx context.Context, configure func(address string) ProcessConfig) (Server, error) {
	return s.serveAt(ctx, "", configure)
}

// serveAt is serve at a given address, or at a free one if it is empty.
func (s *Stack) serveAt(ctx context.Context, fixed string, configure func(address string) ProcessConfig) (Server, error) {
	for attempt := 1; ; attempt++ {
		address := fixed
		if address == "" {
			var err error
			if address, err = FreeAddress(ctx); err != nil {
				return Server{}, err
			}
		}
		cfg := configure(address)
		cfg.LogFile = filepath.Join(s.dir, cfg.Name+".log")
		p, err := StartProcess(ctx, cfg)
		if err == nil {
			s.onClose(p.Stop)
			return Server{Process: p, Address: address}, nil
		}
		if fixed != "" || attempt == portAttempts || !strings.Contains(err.Error(), "address already in use") {
			return Server{}, err
		}
	}
}

func listen(ctx context.Context) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	return listener, nil
}

// FreeAddress returns a free loopback address, for a server that cannot choose one itself.
func FreeAddress(ctx context.Context) (string, error) {
	listener, err := listen(ctx)
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
