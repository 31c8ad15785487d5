// Package state checks the folders that a process writes to.
//
// Input: folders of a configuration. Output: whether this process can write to them, and the folder for large temporary files. State:
// none. A process in a container with a read-only root needs only one writable folder.
package state

import (
	"errors"
	"fmt"
	"os"
)

// page is a size in bytes that a full disk cannot store.
const page = 4096

// Writable creates a folder if it does not exist, and returns an error if this process cannot write to it.
func Writable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder: %w; want a folder that user %d of this process can write to", err, os.Getuid())
	}
	f, err := os.CreateTemp(dir, ".tmp-probe-*")
	if err == nil {
		_, err = f.Write(make([]byte, page))
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		return fmt.Errorf("write to the folder: %w; want a folder that user %d of this process can write to", err, os.Getuid())
	}
	return nil
}

// Temp returns the folder for temporary files: the system's folder if it is writable, else dir.
func Temp(dir string) string {
	system := os.TempDir()
	f, err := os.CreateTemp(system, ".sightglass-probe-*")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	if err != nil && dir != "" {
		return dir
	}
	return system
}
