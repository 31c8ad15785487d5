package receiver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/time/rate"
)

// guard applies an exporter-toolkit web configuration. The toolkit supports only HTTP and does not count refused requests, so both
// protocols use guard. As in the toolkit, a changed file is read again, certificates are read at each handshake, and all requests are
// refused while the file or a certificate cannot be read. TLS on or off, HTTP/2 and the rate limit cannot change without a restart.
type guard struct {
	file   string
	logger *slog.Logger
	tls    bool
	http2  bool
	// limiter is nil if there is no limit.
	limiter *rate.Limiter
	// checking allows one password comparison at a time. bcrypt takes a twentieth of a second by design, and a client that guesses
	// passwords must not use all cores.
	checking chan struct{}

	mu     sync.Mutex
	info   fs.FileInfo
	config *web.Config
	// known has the hash of the last correct password of each user.
	known map[string][sha256.Size]byte
	// fileTrouble and tlsTrouble are the last logged errors.
	fileTrouble, tlsTrouble string
}

func newGuard(file string, logger *slog.Logger) (*guard, error) {
	g := &guard{file: file, logger: logger, checking: make(chan struct{}, 1)}
	c, err := g.load()
	if err != nil {
		return nil, err
	}
	g.tls, g.http2 = c.TLSConfig.IsEnabled(), c.HTTPConfig.HTTP2
	if l := c.RateLimiterConfig; l.Interval != 0 {
		g.limiter = rate.NewLimiter(rate.Every(l.Interval), l.Burst)
	}
	return g, nil
}

// read returns the present configuration.
func (g *guard) read() (*web.Config, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.config
	c, err := g.load()
	if isNew(&g.fileTrouble, err) {
		g.logger.Error("The web configuration cannot be read, and no OTLP is taken until it can", "err", err)
	}
	if err == nil && c != before && c.TLSConfig.IsEnabled() != g.tls {
		g.logger.Warn("TLS was turned on or off in the web configuration, which needs a restart", "file", g.file, "tls", g.tls)
	}
	return c, err
}

// load reads the file if it has changed.
func (g *guard) load() (*web.Config, error) {
	if g.file == "" {
		if g.config == nil {
			g.config = defaults()
		}
		return g.config, nil
	}
	info, err := os.Stat(g.file)
	if err != nil {
		return nil, fmt.Errorf("read web config: %w", err)
	}
	if was := g.info; was != nil && os.SameFile(was, info) && was.ModTime().Equal(info.ModTime()) && was.Size() == info.Size() {
		return g.config, nil
	}
	if err := web.Validate(g.file); err != nil {
		return nil, fmt.Errorf("%s: %w", g.file, err)
	}
	text, err := os.ReadFile(g.file)
	if err != nil {
		return nil, fmt.Errorf("read web config: %w", err)
	}
	c := defaults()
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(c); err != nil && !errors.Is(err, io.EOF) { // An empty file means the defaults.
		return nil, fmt.Errorf("%s: %w", g.file, err)
	}
	c.TLSConfig.SetDirectory(filepath.Dir(g.file))
	g.info, g.config, g.known = info, c, make(map[string][sha256.Size]byte)
	return c, nil
}

// defaults returns the toolkit's defaults.
func defaults() *web.Config {
	return &web.Config{
		TLSConfig:  web.TLSConfig{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13},
		HTTPConfig: web.HTTPConfig{HTTP2: true},
	}
}

// isNew reports whether err differs from the last error, so that an error is logged once for many requests.
func isNew(last *string, err error) bool {
	text := ""
	if err != nil {
		text = err.Error()
	}
	was := *last
	*last = text
	return text != "" && text != was
}

// tlsConfig returns nil if TLS is off.
func (g *guard) tlsConfig(protocols ...string) *tls.Config {
	if !g.tls {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c, err := g.read()
			if err != nil {
				return nil, err
			}
			t, err := web.ConfigToTLSConfig(&c.TLSConfig)
			g.mu.Lock()
			if isNew(&g.tlsTrouble, err) {
				g.logger.Error("There can be no TLS, and no OTLP is taken until there can", "err", err)
			}
			g.mu.Unlock()
			if err != nil {
				return nil, err
			}
			t.NextProtos = protocols
			// A client that resumes a session does not present its certificate again, so a revoked client could connect for days. The
			// toolkit allows this.
			t.SessionTicketsDisabled = t.ClientAuth != tls.NoClientCert
			return t, nil
		},
	}
}

// headers sets the configured headers on an HTTP response.
func (g *guard) headers(h http.Header) {
	c, err := g.read()
	if err != nil {
		return // all requests are refused
	}
	for name, value := range c.HTTPConfig.Header {
		h.Set(name, value)
	}
}

// unknownUserHash is the hash to compare with if the user does not exist, so that the response time does not reveal which users exist.
const unknownUserHash = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"

// errBusy means that no comparison of passwords was free in time.
var errBusy = errors.New("other passwords are being compared")

// admits reports whether the authorization header belongs to a user; without configured users it is true. It waits until it can compare the
// password. A password that was correct before is not compared again.
func (g *guard) admits(ctx context.Context, authorization string, patience time.Duration) (bool, error) {
	c, err := g.read()
	if err != nil {
		return false, err
	}
	if len(c.Users) == 0 {
		return true, nil
	}
	user, password, ok := (&http.Request{Header: http.Header{"Authorization": {authorization}}}).BasicAuth()
	if !ok {
		return false, nil
	}
	hash, exists := c.Users[user]
	if !exists {
		hash = unknownUserHash
	}
	sum := sha256.Sum256([]byte(string(hash) + "\x00" + password))
	g.mu.Lock()
	known, cached := g.known[user]
	g.mu.Unlock()
	if cached && subtle.ConstantTimeCompare(known[:], sum[:]) == 1 {
		return true, nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case g.checking <- struct{}{}:
	case <-timer.C:
		return false, errBusy
	case <-ctx.Done():
		return false, errBusy
	}
	right := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	<-g.checking
	if !right || !exists {
		return false, nil
	}
	g.mu.Lock()
	g.known[user] = sum
	g.mu.Unlock()
	return true, nil
}
