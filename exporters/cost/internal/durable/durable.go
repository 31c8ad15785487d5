// Package durable stores one small value in one file. A write either completes or leaves the file as it was.
//
// Input: values that JSON can hold.
//
// Output: a file with a checksum, replaced atomically, and on disk when Write returns.
//
// State: none in memory. The caller owns the file and ensures that no other process writes it.
package durable

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxBytes bounds the memory that a foreign file can use.
const maxBytes = 64 << 20

// ErrDamaged means that the content of a file is not what Write wrote.
var ErrDamaged = errors.New("damaged")

type envelope struct {
	SHA256  string          `json:"sha256"`
	Payload json.RawMessage `json:"payload"`
}

func sum(payload []byte) string {
	digest := sha256.Sum256(payload)
	return hex.EncodeToString(digest[:])
}

// Write replaces the file. After an error the file is unchanged.
func Write(path string, v any) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	payload, err := json.Marshal(v)
	if err != nil {
		return err
	}
	text, err := json.Marshal(envelope{sum(payload), payload})
	if err != nil {
		return err
	}
	// The temporary file is in the same folder, so that the rename stays within one file system.
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename survive a power failure.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Read reads a file that Write wrote. The error is fs.ErrNotExist if there is no file, and ErrDamaged if it has other
// content.
func Read(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	damaged := func(why string) error { return fmt.Errorf("read %s: %w: %s", path, ErrDamaged, why) }
	if len(text) > maxBytes {
		return damaged(fmt.Sprintf("larger than %d bytes", maxBytes))
	}
	var e envelope
	if err := json.Unmarshal(text, &e); err != nil {
		return damaged(err.Error())
	}
	if got := sum(e.Payload); got != e.SHA256 {
		return damaged(fmt.Sprintf("its checksum is %s, expected %s", got, e.SHA256))
	}
	if err := json.Unmarshal(e.Payload, v); err != nil {
		return damaged(err.Error())
	}
	return nil
}
