// Package clients decides which client may count for which model.
//
// Input: the configuration, the authenticated client of a request, and the model that a span names. Output: the model and version to count;
// "other" if the client may not name them. State: the models and versions that each client has used, within its own limits. A client can
// never use up the limit of another, freeze its bins or start its retraining.
package clients

import (
	"iter"
	"maps"
	"path"
	"slices"
	"sync/atomic"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// Config has the permissions and limits of one client.
type Config struct {
	// Models are patterns of the models that only this client may send.
	Models []string `yaml:"models"`
	// MaxModels limits its models, MaxVersions its pairs of model and version.
	MaxModels   int `yaml:"max_models"`
	MaxVersions int `yaml:"max_versions"`
	// MaxDetails limits its exceptions, feature ages and evaluations. The default share equals its share of the versions.
	MaxDetails int `yaml:"max_details,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (c *Config) SetDefaults() { c.MaxModels, c.MaxVersions = 10, 20 }

// Validate implements config.Validator.
func (c *Config) Validate(at config.At) {
	if len(c.Models) == 0 {
		at.Errorf("models", "missing; want patterns of the models that this client sends, such as [fraud, \"search-*\"]")
	}
	CheckPatterns(at, "models", c.Models)
	if c.MaxDetails < 0 || at.Has("max_details") && c.MaxDetails == 0 {
		at.Errorf("max_details", "%d; want 1 or more", c.MaxDetails)
	}
	if c.MaxModels < 1 || c.MaxVersions < c.MaxModels {
		at.Errorf("max_versions", "%d for %d models; want one version of each model or more, and one model or more", c.MaxVersions, c.MaxModels)
	}
}

// CheckPatterns reports invalid patterns.
func CheckPatterns(at config.At, key string, patterns []string) {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			at.Errorf(key, "%q is not a pattern; want a name, with * for any letters but a slash", p)
		}
	}
}

// Clients are the clients of a configuration.
type Clients struct {
	allowed []string
	clients map[string]*client
	names   []string // of the clients, sorted
	// others are all unconfigured clients together. They share what the configured limits leave.
	others  *client
	limiter func(name string, most int) *limit.Limiter
	refused *limit.Limiter // admits nothing, and counts what it refuses
}

type client struct {
	Config
	limits atomic.Pointer[limits]
}

type limits struct{ models, versions *limit.Limiter }

// New returns Clients. Without allowed, every client may send all models that belong to no client. models and versions are the total
// limits. limiter creates the limiters.
func New(allowed []string, by map[string]Config, models, versions int, limiter func(name string, most int) *limit.Limiter) *Clients {
	if len(allowed) == 0 && len(by) == 0 {
		return nil
	}
	c := &Clients{allowed: allowed, clients: make(map[string]*client), names: slices.Sorted(maps.Keys(by)), limiter: limiter, refused: limiter("allowed_models", 0)}
	for name, cfg := range by {
		c.clients[name] = &client{Config: cfg}
		c.clients[name].limits.Store(c.limits(cfg))
		models, versions = models-cfg.MaxModels, versions-cfg.MaxVersions
	}
	c.others = &client{Config: Config{MaxModels: models, MaxVersions: versions}}
	c.others.limits.Store(c.limits(c.others.Config))
	return c
}

func (c *Clients) limits(cfg Config) *limits {
	return &limits{c.limiter("client_models", cfg.MaxModels), c.limiter("client_versions", cfg.MaxVersions)}
}

// Name returns the model and version that a client's span counts for. A refused model becomes Other without a version.
func (c *Clients) Name(by, model, version string) (string, string) {
	if c == nil || model == "" || model == limit.Other {
		return model, version
	}
	if !c.May(by, model) {
		return c.refused.Fold(model), ""
	}
	known := c.clients[by]
	if known == nil {
		known = c.others
	}
	l := known.limits.Load()
	switch {
	case l.models.Fold(model) == limit.Other:
		return limit.Other, ""
	case version != "" && l.versions.Fold(model+"\x1f"+version) == limit.Other:
		return model, limit.Other
	}
	return model, version
}

// Client returns the first client, by name, that owns the model, or "".
func (c *Clients) Client(model string) string {
	for _, name := range c.names {
		if matches(c.clients[name].Models, model) {
			return name
		}
	}
	return ""
}

// Divide divides a limit among the clients. A client gets the number that it configures, otherwise its share of the versions. The rest is
// under the empty name. configured returns the number that a client configures, or 0; it may be nil.
func Divide(by map[string]Config, versions, most int, configured func(Config) int) map[string]int {
	shares := map[string]int{"": most}
	for name, cfg := range by {
		if configured != nil {
			shares[name] = configured(cfg)
		}
		if shares[name] == 0 {
			shares[name] = most * cfg.MaxVersions / max(versions, 1)
		}
		shares[""] -= shares[name]
	}
	return shares
}

// Details returns the number of exceptions, feature ages and evaluations that a client configures, or 0.
func Details(c Config) int { return c.MaxDetails }

// May reports whether a client may count for a model.
func (c *Clients) May(by, model string) bool {
	if c == nil || model == limit.Other {
		return true
	}
	if known := c.clients[by]; known != nil {
		return matches(known.Models, model)
	}
	for _, other := range c.clients {
		if matches(other.Models, model) {
			return false
		}
	}
	return len(c.allowed) == 0 || matches(c.allowed, model)
}

// Readmit returns the limits used by models and versions that were forgotten. left are the remaining ones.
func (c *Clients) Readmit(left iter.Seq2[string, string]) {
	if c == nil {
		return
	}
	readmit := func(known *client, its func(model string) bool) {
		l := c.limits(known.Config)
		for model, version := range left {
			if model == limit.Other || !its(model) {
				continue
			}
			l.models.Fold(model)
			if version != "" && version != limit.Other {
				l.versions.Fold(model + "\x1f" + version)
			}
		}
		known.limits.Store(l)
	}
	for _, known := range c.clients {
		readmit(known, func(model string) bool { return matches(known.Models, model) })
	}
	readmit(c.others, func(model string) bool { return c.May("", model) })
}

func matches(patterns []string, model string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := path.Match(p, model)
		return ok
	})
}
