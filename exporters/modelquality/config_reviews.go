package modelquality

import (
	"strconv"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/content"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/httpclient"
)

// ReviewsConfig configures where responses for human review are sent.
type ReviewsConfig struct {
	// URL is the base URL of the responder, or of any server that accepts POST requests to /api/v1/reviews.
	URL   string              `yaml:"url"`
	Token config.SecretSource `yaml:"token,omitempty"`
	// HTTPClient has credentials, TLS, proxy and headers in the format of Prometheus's http_config; secrets only from files.
	HTTPClient config.Raw `yaml:"http_client,omitempty"`
	// File is the outbox of undelivered reviews: by default "reviews.db" in $STATE_DIRECTORY, otherwise next to the configuration. Each
	// replica needs its own file.
	File       config.Path     `yaml:"file,omitempty"`
	MaxBytes   config.Bytes    `yaml:"max_bytes"`
	Timeout    config.Duration `yaml:"timeout"`
	MaxBackoff config.Duration `yaml:"max_backoff"`
	// Excerpts configures excerpts of answers in reviews; by default there are none.
	Excerpts ExcerptsConfig `yaml:"excerpts"`

	client promconfig.HTTPClientConfig
}

// SetDefaults implements config.Defaulter.
func (r *ReviewsConfig) SetDefaults() {
	r.MaxBytes, r.Timeout, r.MaxBackoff = 256<<20, config.Duration(10*time.Second), config.Duration(5*time.Minute)
}

// Validate implements config.Validator.
func (r *ReviewsConfig) Validate(at config.At) {
	at.CheckURL("url", r.URL)
	r.client = httpclient.Check(r.HTTPClient, at, "token", at.Has("token"))
	if r.File == "" {
		r.File = config.Path(at.State("file", "reviews.db"))
	}
	if r.MaxBytes < 1<<20 {
		at.Errorf("max_bytes", "%v; want 1MiB or more", r.MaxBytes)
	}
	for key, d := range sorted(map[string]config.Duration{"timeout": r.Timeout, "max_backoff": r.MaxBackoff}) {
		if d < config.Duration(minBackoff) {
			at.Errorf(key, "%v; want 1s or more", d)
		}
	}
}

// ExcerptsConfig defines which part of an answer a review contains.
type ExcerptsConfig struct {
	// Characters is the maximum length; 0 disables excerpts.
	Characters int `yaml:"characters"`
	// Redact are regular expressions of text to remove, in addition to e-mail addresses, long numbers and tokens.
	Redact []string `yaml:"redact,omitempty"`
}

// Validate implements config.Validator.
func (e *ExcerptsConfig) Validate(at config.At) {
	if e.Characters < 0 || e.Characters > maxExcerpt {
		at.Errorf("characters", "%d; want 1 to %d, or 0 for none", e.Characters, maxExcerpt)
	}
	if len(e.Redact) > maxRedactions {
		at.Errorf("redact", "%d expressions; want %d or fewer", len(e.Redact), maxRedactions)
	}
	for i, s := range e.Redact {
		if _, err := content.NewExcerpts(0, []string{s}); err != nil {
			at.Errorf("redact["+strconv.Itoa(i)+"]", "%v", err)
		}
	}
}

// excerpts returns nil if reviews have no excerpts.
func (c *Config) excerpts() (*content.Excerpts, error) {
	if c.Reviews == nil || c.Reviews.Excerpts.Characters == 0 {
		return nil, nil
	}
	return content.NewExcerpts(c.Reviews.Excerpts.Characters, c.Reviews.Excerpts.Redact)
}

// minBackoff is the shortest time before a review is sent again.
const minBackoff = time.Second
