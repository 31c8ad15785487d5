// Package exporter is the runtime of every Sightglass exporter.
//
// Input: a Spec, which defines how a binary loads its configuration and starts, and the command line. Output: a process that follows
// the conventions of Prometheus exporters: flags, TLS and basic auth, /metrics with exemplars, health, readiness, reload and a graceful
// stop. State: the running Instance. The runtime starts it, replaces it at a reload without a gap between scrapes, and stops it.
//
// An instance publishes its metrics through a Snapshot and does its work in Env.Loop. A source that hangs therefore never blocks a
// scrape or the stop of the process.
package exporter

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/exporter-toolkit/web"
)

// Spec describes one binary. C is the type of its configuration.
type Spec[C any] struct {
	Name           string // such as dataquality_exporter; the prefix of <name>_build_info
	Description    string // one sentence, for --help and the landing page
	DefaultAddress string // of --web.listen-address, such as ":10911"

	// Flags adds the binary's own flags; optional.
	Flags func(*kingpin.Application)
	// Load reads and validates the configuration. It is called by --config.check, at the start and at every reload. config.Load[C] is
	// such a function.
	Load func(path string) (C, error)
	// ConfigOptional means that --config.file can be omitted. Load then gets "".
	ConfigOptional bool
	// Start creates an Instance. It must return quickly; everything that can block belongs in Env.Loop and Env.Go. The context ends
	// when the instance is stopped. Its errors have the position of the value that caused them; see config.Doc.
	Start func(ctx context.Context, env *Env, cfg C) (Instance, error)

	// StopTimeout is the time limit of each step of a stop, 1.8 seconds by default. The steps are: requests in progress, a reload,
	// background work of the instance, its Stop, the last telemetry. With the default, all steps take less than the 10 seconds that
	// Docker allows.
	StopTimeout time.Duration
	// MaxRequestBytes limits the body of every request; 1 MiB by default.
	MaxRequestBytes int64
	// Watching returns slog attributes that summarize what a configuration monitors. They are logged at the start and after a reload;
	// optional.
	Watching func(cfg C) []any
	// Links are shown on the landing page in addition to the runtime's own; optional.
	Links []web.LandingLinks
}

// complete returns the spec with its defaults.
func (s Spec[C]) complete() (Spec[C], error) {
	if s.Name == "" || s.DefaultAddress == "" || s.Load == nil || s.Start == nil {
		return s, errors.New("a Spec needs Name, DefaultAddress, Load and Start")
	}
	if s.StopTimeout <= 0 {
		s.StopTimeout = 1800 * time.Millisecond
	}
	if s.MaxRequestBytes <= 0 {
		s.MaxRequestBytes = 1 << 20
	}
	return s, nil
}

// Instance is one run of a binary's work with one configuration. Its Collect must not block, so it returns snapshots. It may also
// implement Router, Readier, Stopper and Reloader.
type Instance interface {
	prometheus.Collector
}

// Router is an Instance with its own HTTP routes.
type Router interface {
	Routes(mux *http.ServeMux)
}

// Readier is an Instance that determines itself when it is ready. Any other instance is ready when each of its loops has run once,
// successfully or not.
type Readier interface {
	Ready() error
}

// Stopper is an Instance with resources to release. Stop is called after the instance's context ended and its work returned or was
// abandoned.
type Stopper interface {
	Stop(ctx context.Context) error
}

// Reloader is an Instance that applies a new configuration itself, because a replacement would lose state such as counters or a
// listening socket. If it returns an error, it continues with its previous configuration.
type Reloader[C any] interface {
	Reload(ctx context.Context, cfg C) error
}

// ErrReplace is returned by Reload if a new instance has to replace this one, as for an Instance that is not a Reloader.
var ErrReplace = errors.New("the instance has to be replaced")
