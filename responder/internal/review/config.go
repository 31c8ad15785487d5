package review

import (
	"github.com/sightglass-ml/sightglass/internal/config"
)

// Config is what is queued, and from whom.
type Config struct {
	// Token is what senders of items, and readers of decisions, have to send as "Authorization: Bearer …".
	Token config.SecretSource `yaml:"token"`
	// StoreExcerpts keeps the excerpts of answers that items carry. They may hold personal data.
	StoreExcerpts bool `yaml:"store_excerpts"`
	// MaxOpen is how many items may wait for a person; more get 503 and are sent again.
	MaxOpen int `yaml:"max_open"`
	// Forward sends each item on to an external tool; optional.
	Forward *ForwardConfig `yaml:"forward,omitempty"`
}

// ForwardConfig is an external tool that takes items as this API does.
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
