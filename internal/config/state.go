package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// State returns the path for persistent data if the file has none under key: name in the folder of STATE_DIRECTORY, which systemd sets,
// or else beside the file. If STATE_DIRECTORY has several folders, the first is used. Data that an earlier start left beside the file
// is used there if this process can write it. A note reports such data.
func (a At) State(key, name string) string {
	legacy := a.Resolve(name)
	dir := stateDirectory()
	if dir == "" {
		return legacy
	}
	path := filepath.Join(dir, name)
	if path == legacy || exists(path) || !exists(legacy) {
		return path
	}
	if unix.Access(legacy, unix.W_OK) == nil && unix.Access(filepath.Dir(legacy), unix.W_OK) == nil {
		a.Laterf(key, "%q from an earlier start is used; to keep all state in one folder, stop the program, move it to %q and start again", legacy, path)
		return legacy
	}
	a.Laterf(key, "%q from an earlier start cannot be written by this process and is ignored; to use it, stop the program, move it to %q, owned by user %d, and start again", legacy, path, os.Getuid())
	return path
}

// HasState reports whether a folder for state is configured.
func (a At) HasState() bool { return stateDirectory() != "" }

// stateDirectory returns the folder of STATE_DIRECTORY, or an empty string.
func stateDirectory() string {
	dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
	if !filepath.IsAbs(dir) {
		return ""
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
