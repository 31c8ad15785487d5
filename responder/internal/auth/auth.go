// Package auth checks Bearer tokens.
//
// Input: requests, and the source of a token. Output: whether they match. State: none. The token is read at each check, so
// that a rotated token is valid at once. It never stores or logs a token.
package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// ErrDenied means that a request has no token or a wrong one.
var ErrDenied = errors.New("no valid Bearer token")

// Bearer checks one token. It denies everything before Configure.
type Bearer struct {
	source atomic.Pointer[config.SecretSource]
}

// Configure sets the source of the token.
func (b *Bearer) Configure(source config.SecretSource) { b.source.Store(&source) }

// Check returns ErrDenied for a request without the right token, and another error if the token cannot be read.
func (b *Bearer) Check(r *http.Request) error {
	source := b.source.Load()
	if source == nil {
		return ErrDenied
	}
	scheme, sent, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || sent == "" {
		return ErrDenied // A request without a token is denied without reading the file.
	}
	want, err := source.Read()
	if err != nil {
		return err
	}
	// Hashes of equal length make the duration of the comparison independent of the token.
	a, e := sha256.Sum256([]byte(sent)), sha256.Sum256([]byte(want.Reveal()))
	if subtle.ConstantTimeCompare(a[:], e[:]) != 1 {
		return ErrDenied
	}
	return nil
}
