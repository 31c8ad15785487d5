package page

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/responder/internal/incident"
	"github.com/sightglass-ml/sightglass/responder/internal/links"
)

// Config configures the users of the page and its links.
type Config struct {
	// UsersFile has users and bcrypt hashes under basic_auth_users, in the format of --web.config.file. It is read at each
	// request.
	UsersFile config.Path `yaml:"users_file,omitempty"`
	// Proxy is a proxy that authenticates users instead. Its header is trusted.
	Proxy *ProxyConfig `yaml:"proxy,omitempty"`
	// TraceURL is the link to a trace: an http or https URL with {trace_id}.
	TraceURL string `yaml:"trace_url,omitempty"`
	// MLflowURL is the link to a run: an http or https URL with {run_id}.
	MLflowURL string `yaml:"mlflow_url,omitempty"`
	// GrafanaURL is the address of the Grafana with the dashboards, such as https://grafana.example.com.
	GrafanaURL string `yaml:"grafana_url,omitempty"`
	// ExternalURL is the responder's address for people, for links in messages.
	ExternalURL string `yaml:"external_url,omitempty"`
}

// Places returns the addresses that incidents link to.
func (c *Config) Places() incident.Links {
	if c == nil {
		return incident.Links{}
	}
	return incident.Links{Trace: c.TraceURL, MLflow: c.MLflowURL, Grafana: c.GrafanaURL, Page: strings.TrimSuffix(c.ExternalURL, "/")}
}

// ProxyConfig is a proxy that authenticates users before the page.
type ProxyConfig struct {
	// Header names the header with the user's name, such as X-Forwarded-User.
	Header string `yaml:"header"`
	// Addresses are the proxy's source addresses, such as 10.0.0.7 or 10.0.0.0/24. The header is ignored in requests from
	// others.
	Addresses []string `yaml:"addresses"`
}

// Validate implements config.Validator.
func (c *Config) Validate(at config.At) {
	if (c.UsersFile == "") == (c.Proxy == nil) {
		at.Errorf("users_file", "want either users_file or proxy: whoever decides has to have a name")
	}
	if c.UsersFile != "" {
		at.CheckFile("users_file", string(c.UsersFile))
	}
	for _, l := range []struct{ key, url, placeholder string }{{"trace_url", c.TraceURL, links.TraceID}, {"mlflow_url", c.MLflowURL, links.RunID}} {
		if l.url == "" {
			continue
		}
		if u, err := url.Parse(l.url); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Contains(u.Host, l.placeholder) || !strings.Contains(l.url, l.placeholder) {
			at.Errorf(l.key, "%q; want an http or https URL with %s after its host", l.url, l.placeholder)
		}
	}
	for _, l := range []struct{ key, url string }{{"grafana_url", c.GrafanaURL}, {"external_url", c.ExternalURL}} {
		if u, err := url.Parse(l.url); l.url != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil) {
			at.Errorf(l.key, "%q; want an http or https URL, such as https://grafana.example.com", l.url)
		}
	}
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// Validate implements config.Validator.
func (c *ProxyConfig) Validate(at config.At) {
	if !headerName.MatchString(c.Header) {
		at.Errorf("header", "%q; want the name of the header with the user, such as X-Forwarded-User", c.Header)
	}
	if len(c.Addresses) == 0 {
		at.Errorf("addresses", "missing; want the addresses that the proxy connects from, such as 10.0.0.7 or 10.0.0.0/24")
	}
	for _, text := range c.Addresses {
		if _, err := prefix(text); err != nil {
			at.Errorf("addresses", "%q; want an address such as 10.0.0.7 or a range such as 10.0.0.0/24", text)
		}
	}
}

func prefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

// users is the format of UsersFile.
type users struct {
	Hashes map[string]string `yaml:"basic_auth_users"`
}

// Validate implements config.Validator.
func (u *users) Validate(at config.At) {
	for name, hash := range u.Hashes {
		if _, err := bcrypt.Cost([]byte(hash)); err != nil {
			at.Errorf("basic_auth_users", "%q has no bcrypt hash; make one with htpasswd -nBC 10 %s", name, name)
		}
	}
	if len(u.Hashes) == 0 {
		at.Errorf("basic_auth_users", "missing; want names and bcrypt hashes")
	}
}

func readUsers(path config.Path) (map[string]string, error) {
	u, err := config.Load[users](string(path))
	if err != nil {
		return nil, fmt.Errorf("read the users of the review page: %w", err)
	}
	return u.Hashes, nil
}

var errNotLoggedIn = errors.New("nobody is logged in")
