package review

import (
	"github.com/sightglass-ml/sightglass/internal/config"
)

// Config configures the queue.
type Config struct {
	// Token is what senders of items and readers of decisions send as "Authorization: Bearer …".
	Token config.SecretSource `yaml:"token"`
	// StoreExcerpts stores the excerpts of answers in items. They may contain personal data.
	StoreExcerpts bool `yaml:"store_excerpts"`
	// MaxOpen is the maximum number of open items. Above it, senders get 503 and retry.
	MaxOpen int `yaml:"max_open"`
	// Forward is an external tool that also receives each item; optional.
	Forward *ForwardConfig `yaml:"forward,omitempty"`
}

// ForwardConfig is an external tool that accepts items with the same API.
type ForwardConfig struct {
	URL   string              `yaml:"url"`
	Token config.SecretSource `yaml:"token,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (c *Config) SetDefaults() { c.MaxOpen = 10_000 }

// Validate implements config.Validator.
func (c *Config) Validate(at config.At) {
	if c.Token == (config.SecretSource{}) {
		at.Errorf("token", "missing; want %s with what senders of items use as their Bearer token", c.Token.Want())
	}
	if c.MaxOpen < 1 {
		at.Errorf("max_open", "%d; want at least 1", c.MaxOpen)
	}
}

// Validate implements config.Validator.
func (c *ForwardConfig) Validate(at config.At) {
	at.CheckURL("url", c.URL)
}
