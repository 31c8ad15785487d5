//go:build !unix

package store

import "os"

// lockFile does not keep a second process out here: it has to be the only one by other means.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}
