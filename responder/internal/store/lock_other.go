//go:build !unix

package store

import "os"

// lockFile does not lock on this system: the operator has to ensure that only one process runs.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}
