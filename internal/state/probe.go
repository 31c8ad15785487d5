package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Probe reports whether this process can write to a folder, or create it. Unlike Writable, it does not create the folder: another user
// often cannot write to a folder that this user created.
func Probe(dir string) (found string, err error) {
	path := filepath.Clean(dir)
	for {
		info, err := os.Stat(path)
		if err == nil && !info.IsDir() {
			return "", fmt.Errorf("%s is a file; want a folder", path)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return "", fmt.Errorf("%w; want a folder that user %d of this process can write to", err, os.Getuid())
		}
		path = filepath.Dir(path)
	}
	f, err := os.CreateTemp(path, ".tmp-probe-*")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("write to the folder: %w; want a folder that user %d of this process can write to", err, os.Getuid())
	case path != filepath.Clean(dir):
		return fmt.Sprintf("%s does not exist; it can be created by user %d", dir, os.Getuid()), nil
	}
	return fmt.Sprintf("%s can be written to by user %d", dir, os.Getuid()), nil
}
