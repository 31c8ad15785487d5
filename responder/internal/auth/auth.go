// Package auth checks Bearer tokens.
//
// Input: requests and the place of a token. Output: whether they fit. The token is read at each check, so a rotated
// one holds from the moment it is written. The package keeps no token.
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

// ErrDenied says that a request has no token or a wrong one.
var ErrDenied = errors.New("no valid Bearer token")

// Bearer checks one token. It denies everything before Configure.
type Bearer struct {
	source atomic.Pointer[config.SecretSource]
}

// Configure says where the token is.
func (b *Bearer) Configure(source config.SecretSource) { b.source.Store(&source) }

// Check returns ErrDenied for a request without the token, and another error where the token cannot be read.
func (b *Bearer) Check(r *http.Request) error {
	source := b.source.Load()
	if source == nil {
		return ErrDenied
	}
	scheme, sent, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || sent == "" {
		return ErrDenied // Whoever has no token at all makes us read no file.
	}
	want, err := source.Read()
	if err != nil {
		return err
	}
	// Hashes have one length: how long the comparison takes tells nothing about the token.
	a, e := sha256.Sum256([]byte(sent)), sha256.Sum256([]byte(want.Reveal()))
	if subtle.ConstantTimeCompare(a[:], e[:]) != 1 {
		return ErrDenied
	}
	return nil
}
