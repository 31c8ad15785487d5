// Package exporter is the runtime that every Sightglass binary stands on.
//
// Input: a Spec, which says how one binary loads its config and starts, and the
// command line. Output: a process that behaves as the Prometheus ecosystem
// expects: flags, TLS and basic auth, /metrics with exemplars, health, readiness,
// reload and a graceful stop. The runtime owns the life of an Instance: it
// replaces it at a reload without a gap between scrapes and ends its work.
//
// What an instance publishes goes through a Snapshot, and what it does goes
// through Env.Loop, so that a source that hangs blocks neither a scrape nor the
// end of the process.
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
	Name           string // as in dataquality_exporter; the prefix of <name>_build_info
	Description    string // one sentence, for --help and the landing page
	DefaultAddress string // of --web.listen-address, as in ":10911"

	// Flags adds flags of the binary's own; optional.
	Flags func(*kingpin.Application)
	// Load reads and fully checks the config. It is called by --config.check, at
	// the start and at every reload; config.Load[C] is one.
	Load func(path string) (C, error)
	// ConfigOptional lets --config.file be left out; Load then gets "".
	ConfigOptional bool
	// Start makes an Instance. It returns quickly and leaves anything that can
	// block to Env.Loop and Env.Go. The context ends when the instance is stopped.
	// Its errors have the position of the value that caused them; see config.Doc.
	Start func(ctx context.Context, env *Env, cfg C) (Instance, error)

	// StopTimeout is how long each part of a stop may take, 1.8 seconds by default:
	// requests under way, a reload, work of the instance, its Stop, the last telemetry.
	// The default keeps the whole below the 10 seconds that Docker gives.
	StopTimeout time.Duration
	// MaxRequestBytes bounds the body of every request; 1 MiB by default.
	MaxRequestBytes int64
	// Watching says in a few words what a configuration makes it watch, for the log
	// at the start and after a reload; optional. Its values are slog's attributes.
	Watching func(cfg C) []any
	// Links are shown on the landing page beside the runtime's own; optional.
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

// Instance is one run of a binary's work under one configuration. Its Collect
// must not block: it hands out snapshots. It may implement Router, Readier,
// Stopper and Reloader as well.
type Instance interface {
	prometheus.Collector
}

// Router is an Instance with HTTP routes of its own.
type Router interface {
	Routes(mux *http.ServeMux)
}

// Readier is an Instance that decides itself when it is ready. Any other one is
// ready when each of its loops has run once, successfully or not.
type Readier interface {
	Ready() error
}

// Stopper is an Instance that holds something to release. Stop is called after
// its context ended and its work returned or was given up on.
type Stopper interface {
	Stop(ctx context.Context) error
}

// Reloader is an Instance that takes a new configuration itself, because it owns
// state that a replacement would lose, such as counters or a listening socket.
// When it returns an error it goes on with the configuration it had.
type Reloader[C any] interface {
	Reload(ctx context.Context, cfg C) error
}

// ErrReplace is what Reload returns where a new instance has to take over, as for an Instance that is no Reloader.
var ErrReplace = errors.New("the instance has to be replaced")
