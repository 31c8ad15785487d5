// Package state says where a process may write.
//
// Input: folders of a configuration. Output: whether this process can write to them, and where large temporary files
// go. A process that was given one writable folder, in a container with a read-only root, needs no other. The package
// owns nothing.
package state

import (
	"errors"
	"fmt"
	"os"
)

// page is what a full disk has no room for.
const page = 4096

// Writable makes a folder if it is not there, and says why nothing can be written to it.
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

// Temp is where temporary files go: where the system keeps such files, or else the folder of the state.
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
