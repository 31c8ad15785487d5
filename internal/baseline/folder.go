package baseline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// folder writes objects atomically: after a kill, a full disk or a power failure, a file is complete or does not exist. objstore's own
// folder provider writes in place.
type folder struct {
	root string
	now  func() time.Time
}

const (
	// tempPrefix begins the names of files that are being written. They are not objects.
	tempPrefix = ".tmp-"
	// tempLife is the age at which the writer of a temporary file is considered dead.
	tempLife = time.Hour
)

// create writes a file that must not exist. It returns false if it exists.
func (f folder) create(ctx context.Context, object string, data []byte) (bool, error) {
	err := f.write(ctx, object, data, func(temp, final string) error {
		// link fails if the name exists; rename would replace the file.
		err := os.Link(temp, final)
		if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("the baselines must be on a filesystem with hard links: %w", err)
		}
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// replace writes a file and replaces an existing one.
func (f folder) replace(ctx context.Context, object string, data []byte) error {
	return f.write(ctx, object, data, os.Rename)
}

// write writes data to a temporary file beside the object and syncs it. publish then gives it its final name.
func (f folder) write(ctx context.Context, object string, data []byte, publish func(temp, final string) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	final := filepath.Join(f.root, filepath.FromSlash(object))
	dir := filepath.Dir(final)
	if err := makeDir(dir); err != nil {
		return err
	}
	f.sweep(dir)

	temp := filepath.Join(dir, tempPrefix+randomName())
	// After a rename the file no longer exists. A file that cannot be removed is swept later.
	defer func() { _ = os.Remove(temp) }()
	if err := writeSynced(temp, data); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := publish(temp, final); err != nil {
		return err
	}
	return syncDir(dir)
}

// sweep removes temporary files of dead writers. It ignores errors, because a later sweep tries again.
func (f folder) sweep(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		if info, err := e.Info(); err == nil && f.now().Sub(info.ModTime()) > tempLife {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

func writeSynced(path string, data []byte) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(data); err != nil {
		return err
	}
	return file.Sync()
}

// makeDir creates a folder and its parents, and syncs the parent of each new folder, because a file is durable only if its path is.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return fmt.Errorf("%s is not a folder", dir)
	}
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some network filesystems cannot sync a folder and return an error.
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
