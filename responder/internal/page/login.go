package page

import (
	"crypto/sha256"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// login identifies the user of a request.
type login struct {
	mu sync.Mutex // one bcrypt at a time, so that guessing passwords cannot use all cores
	// known are the passwords that were right, by hash over name, hash and password.
	known map[[sha256.Size]byte]bool
}

// knownMost bounds known; there are few reviewers.
const knownMost = 1000

// unknownUser is the hash compared for unknown users, so that the response time does not reveal which names exist.
const unknownUser = "$2a$10$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"

// user returns the user's name, or errNobody.
func (l *login) user(r *http.Request, cfg *Config) (string, error) {
	if cfg.Proxy != nil {
		return proxied(r, cfg.Proxy)
	}
	name, password, ok := r.BasicAuth()
	if !ok {
		return "", errNotLoggedIn
	}
	hashes, err := readUsers(cfg.UsersFile)
	if err != nil {
		return "", err
	}
	hash, exists := hashes[name]
	if !exists {
		hash = unknownUser
	}
	key := sha256.Sum256([]byte(name + "\x00" + hash + "\x00" + password))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known[key] {
		return name, nil
	}
	if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)); err != nil || !exists {
		return "", errNotLoggedIn
	}
	if l.known == nil || len(l.known) >= knownMost {
		l.known = map[[sha256.Size]byte]bool{}
	}
	l.known[key] = true
	return name, nil
}

func proxied(r *http.Request, cfg *ProxyConfig) (string, error) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "", errNotLoggedIn
	}
	for _, text := range cfg.Addresses {
		if p, err := prefix(text); err == nil && p.Contains(from.Addr().Unmap()) {
			// Of two headers, one may come from the client.
			if values := r.Header.Values(cfg.Header); len(values) == 1 && strings.TrimSpace(values[0]) != "" && len(values[0]) <= 256 {
				return strings.ToValidUTF8(strings.TrimSpace(values[0]), "\uFFFD"), nil
			}
		}
	}
	return "", errNotLoggedIn
}
