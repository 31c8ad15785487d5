// Package httpclient reads the settings of an HTTP client in the form of Prometheus's http_config.
//
// Input: the key http_client of a configuration: credentials, TLS, proxy and headers, such as X-Scope-OrgID for Mimir. Output: the
// settings as Prometheus's library expects them. State: none; that library reads files with secrets, and reads them again when they
// change.
package httpclient

import (
	"errors"
	"fmt"
	"net/http"

	promconfig "github.com/prometheus/common/config"

	"github.com/sightglass-ml/sightglass/internal/config"
)

var errSecret = errors.New("holds a secret; want a file, such as credentials_file or password_file")

// Load reads the settings. Without settings it returns a client without credentials. Paths are relative to the configuration file.
// Redirects are never followed, because they would send the request to a host that is not configured. A secret that is not in a file is
// an error.
func Load(raw config.Raw, at config.At) (promconfig.HTTPClientConfig, error) {
	if raw.IsZero() {
		c := promconfig.DefaultHTTPClientConfig
		c.FollowRedirects = false
		return c, nil
	}
	c, err := promconfig.LoadHTTPConfig(string(raw.YAML()))
	if err != nil {
		return promconfig.HTTPClientConfig{}, fmt.Errorf("is not valid: %w", err)
	}
	if holdsSecret(c) {
		return promconfig.HTTPClientConfig{}, errSecret
	}
	c.SetDirectory(at.Resolve("."))
	c.FollowRedirects = false
	return *c, nil
}

// Check is Load for a Validator. given reports that key has credentials too, which is an error if http_client also has some.
func Check(raw config.Raw, at config.At, key string, given bool) promconfig.HTTPClientConfig {
	c, err := Load(raw, at)
	if err != nil {
		at.Errorf("http_client", "%v", err)
	}
	if given && (c.Authorization != nil || c.BasicAuth != nil || c.OAuth2 != nil) {
		at.Errorf(key, "http_client has credentials too; want one of them")
	}
	return c
}

// New returns the client of valid settings. Without settings it returns nil, for which the caller has a default.
func New(raw config.Raw, c promconfig.HTTPClientConfig, name string) (*http.Client, error) {
	if raw.IsZero() {
		return nil, nil
	}
	client, err := promconfig.NewClientFromConfig(c, name)
	if err != nil {
		return nil, fmt.Errorf("http_client: %w", err)
	}
	return client, nil
}

func holdsSecret(c *promconfig.HTTPClientConfig) bool {
	if c.HTTPHeaders != nil {
		for _, h := range c.HTTPHeaders.Headers {
			if len(h.Secrets) > 0 {
				return true
			}
		}
	}
	return c.BearerToken != "" ||
		c.BasicAuth != nil && c.BasicAuth.Password != "" ||
		c.Authorization != nil && c.Authorization.Credentials != "" ||
		c.OAuth2 != nil && c.OAuth2.ClientSecret != "" ||
		c.TLSConfig.Key != ""
}
