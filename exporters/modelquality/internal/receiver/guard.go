package receiver

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/crypto/bcrypt"
	"gopkg.in/yaml.v3"
)

// guard applies TLS and users of an exporter-toolkit web configuration. The toolkit does so itself for HTTP, but not for
// gRPC, and what it turns away is not counted; so both protocols are guarded here. As with the toolkit, the file is read
// again when it changes.
type guard struct {
	file string
	tls  bool

	mu     sync.Mutex
	stamp  string
	config *web.Config
	// known is the hash of the last right password of each user: bcrypt takes a twentieth of a second on purpose.
	known map[string][sha256.Size]byte
}

func newGuard(file string) (*guard, error) {
	g := &guard{file: file}
	if err := web.Validate(file); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	c, err := g.read()
	if err != nil {
		return nil, err
	}
	g.tls = c.TLSConfig.IsEnabled()
	return g, nil
}

// read returns the configuration as it is now.
func (g *guard) read() (*web.Config, error) {
	if g.file == "" {
		return &web.Config{}, nil
	}
	info, err := os.Stat(g.file)
	if err != nil {
		return nil, fmt.Errorf("read web config: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	stamp := fmt.Sprint(info.ModTime().UnixNano(), info.Size())
	if g.stamp == stamp {
		return g.config, nil
	}
	text, err := os.ReadFile(g.file)
	if err != nil {
		return nil, fmt.Errorf("read web config: %w", err)
	}
	// The defaults of the toolkit.
	c := &web.Config{
		TLSConfig:  web.TLSConfig{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13},
		HTTPConfig: web.HTTPConfig{HTTP2: true},
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(c); err != nil {
		return nil, fmt.Errorf("%s: %w", g.file, err)
	}
	c.TLSConfig.SetDirectory(filepath.Dir(g.file))
	g.stamp, g.config, g.known = stamp, c, make(map[string][sha256.Size]byte)
	return c, nil
}

// tlsConfig returns nil if there is no TLS.
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
			if err != nil {
				return nil, err
			}
			t.NextProtos = protocols
			return t, nil
		},
	}
}

// nobody is compared with where there is no such user, lest the time of an answer tell which users there are.
const nobody = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"

// admits reports whether the authorization header is that of a user, where there are users.
func (g *guard) admits(authorization string) bool {
	c, err := g.read()
	if err != nil {
		return false
	}
	if len(c.Users) == 0 {
		return true
	}
	encoded, ok := strings.CutPrefix(authorization, "Basic ")
	if !ok {
		return false
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return false
	}
	user, password, _ := strings.Cut(string(decoded), ":")
	hash, exists := c.Users[user]
	if !exists {
		hash = nobody
	}
	sum := sha256.Sum256([]byte(string(hash) + "\x00" + password))
	g.mu.Lock()
	known, cached := g.known[user]
	g.mu.Unlock()
	if cached && subtle.ConstantTimeCompare(known[:], sum[:]) == 1 {
		return true
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil || !exists {
		return false
	}
	g.mu.Lock()
	g.known[user] = sum
	g.mu.Unlock()
	return true
}
