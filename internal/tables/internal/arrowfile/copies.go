package arrowfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Copies manages Parquet copies of Arrow files. A copy is valid while its file keeps its size and modification time. One file is copied
// at a time. Safe for concurrent use.
type Copies struct {
	// Parent is the folder in which the folder of the copies is created, with the first copy.
	Parent string
	// Memory limits a record batch, and Disk limits all copies together, in bytes.
	Memory, Disk int64

	copying sync.Mutex // held while copying
	mu      sync.Mutex // protects the fields below
	dir     string
	made    int
	by      map[string]*copied // by the name of the file
	old     []*copied          // copies of earlier versions of files
}

// copied is a copy, or the error that prevented one.
type copied struct {
	of   stamp
	path string
	size int64
	used time.Time
	err  error
}

// stamp identifies a version of a file.
type stamp struct {
	size     int64
	modified time.Time
}

func stampOf(info fs.FileInfo) stamp { return stamp{info.Size(), info.ModTime()} }

const (
	copiesPrefix = "sightglass-arrow-"
	// unusedCopyMaxAge is the time after which an unused copy is removed: its file no longer matches the glob, or was deleted.
	unusedCopyMaxAge = time.Hour
	// replacedCopyMaxAge is the time after which the copy of a replaced file is removed. Until then, statements may still read it.
	replacedCopyMaxAge = 10 * time.Minute
	// abandonedDirMaxAge is the age from which a folder counts as left behind by a killed process. The modification time of a folder in use
	// is updated continually.
	abandonedDirMaxAge = 24 * time.Hour
)

// Of returns the path of the copy of the current version of a file.
func (c *Copies) Of(ctx context.Context, name string) (string, error) {
	if path, err, ok := c.have(name); ok {
		return path, err
	}
	c.copying.Lock()
	defer c.copying.Unlock()
	if path, err, ok := c.have(name); ok {
		return path, err // Another goroutine made the copy in the meantime.
	}
	// A file that a job writes in place changes while it is read. A file that a job replaces by a rename does not.
	const tries = 2
	for range tries {
		was, path, err := c.copy(ctx, name)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if info, statErr := os.Stat(name); statErr != nil || stampOf(info) != was {
			_ = os.Remove(path)
			continue
		}
		if err != nil && !errors.Is(err, ErrUnreadable) {
			return "", fmt.Errorf("copy %q to Parquet: %w", name, err)
		}
		if err != nil {
			err = fmt.Errorf("%q: %w", name, err)
		}
		return path, c.keep(name, was, path, err)
	}
	return "", fmt.Errorf("%q: changes while it is read; want the job to write a new file and rename it", name)
}

// have returns the copy of the current version of a file, or the error that prevented one. ok is false if the file must be copied.
func (c *Copies) have(name string) (path string, err error, ok bool) { //nolint:revive // The error is a result like the path.
	info, err := os.Stat(name)
	if err != nil {
		return "", err, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	have := c.by[name]
	if have == nil || have.of != stampOf(info) {
		return "", nil, false
	}
	if have.err != nil {
		return "", have.err, true
	}
	now := time.Now()
	if _, err := os.Stat(have.path); err != nil {
		return "", nil, false // The copy was deleted from outside.
	}
	have.used = now
	_ = os.Chtimes(c.dir, now, now)
	return have.path, nil, true
}

// keep records a copy.
func (c *Copies) keep(name string, of stamp, path string, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	made := &copied{of: of, path: path, used: time.Now(), err: err}
	if info, statErr := os.Stat(path); err == nil && statErr == nil {
		made.size = info.Size()
	}
	if was := c.by[name]; was != nil && was.path != "" {
		c.old = append(c.old, was)
	}
	if c.by == nil {
		c.by = make(map[string]*copied)
	}
	c.by[name] = made
	return err
}

// copy makes a copy, and returns the version of the file that was copied.
func (c *Copies) copy(ctx context.Context, name string) (_ stamp, path string, err error) {
	from, err := os.Open(name)
	if err != nil {
		return stamp{}, "", err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return stamp{}, "", err
	}
	path, left, err := c.reserve(name, info.Size())
	if err != nil {
		return stampOf(info), "", err
	}
	to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return stampOf(info), "", err
	}
	limited := &limitedWriter{Writer: to, left: left, full: fmt.Errorf("the copies of Arrow files take more than arrow_disk_limit, %d bytes; raise it, or write the files as Parquet", c.Disk)}
	err = Copy(ctx, limited, from, c.Memory)
	if closeErr := to.Close(); err == nil {
		err = closeErr
	}
	if limited.failed != nil {
		err = limited.failed // This error is the cause of the Parquet writer's error.
	}
	if err != nil {
		_ = os.Remove(path)
		return stampOf(info), "", err
	}
	return stampOf(info), path, nil
}

// reserve returns the path of a new copy, and the bytes left for it. It keeps folders that contain a column's value, such as day=1.
func (c *Copies) reserve(name string, size int64) (path string, left int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dir == "" {
		c.removeAbandoned()
		if err := os.MkdirAll(c.Parent, 0o700); err != nil {
			return "", 0, err
		}
		if c.dir, err = os.MkdirTemp(c.Parent, copiesPrefix); err != nil {
			return "", 0, err
		}
	}
	c.made++
	parts := []string{c.dir, strconv.Itoa(c.made)}
	for _, folder := range strings.Split(filepath.ToSlash(filepath.Dir(name)), "/") {
		if strings.Contains(folder, "=") {
			parts = append(parts, folder)
		}
	}
	dir := filepath.Join(parts...)
	left = c.Disk - c.tidy(size)
	return filepath.Join(dir, "copy.parquet"), left, os.MkdirAll(dir, 0o700)
}

// tidy removes outdated copies. If the remaining copies leave less than need bytes, it also removes copies that no statement used for
// oldCopyLife, the longest unused first. It returns the bytes that remain in use.
func (c *Copies) tidy(need int64) int64 {
	now := time.Now()
	var total int64
	c.old = slices.DeleteFunc(c.old, func(o *copied) bool {
		if now.Sub(o.used) > replacedCopyMaxAge {
			c.remove(o)
			return true
		}
		total += o.size
		return false
	})
	type named struct {
		name string
		*copied
	}
	var rest []named
	for name, have := range c.by {
		if now.Sub(have.used) > unusedCopyMaxAge {
			c.remove(have)
			delete(c.by, name)
			continue
		}
		total += have.size
		rest = append(rest, named{name, have})
	}
	slices.SortFunc(rest, func(a, b named) int { return a.used.Compare(b.used) })
	for _, r := range rest {
		if total+need <= c.Disk || now.Sub(r.used) <= replacedCopyMaxAge {
			break
		}
		c.remove(r.copied)
		delete(c.by, r.name)
		total -= r.size
	}
	return total
}

// remove deletes a copy with its folder.
func (c *Copies) remove(have *copied) {
	if rel, err := filepath.Rel(c.dir, have.path); err == nil && have.path != "" {
		_ = os.RemoveAll(filepath.Join(c.dir, strings.Split(rel, string(filepath.Separator))[0]))
	}
}

// removeAbandoned removes abandoned folders. It ignores errors, because a later sweep tries again.
func (c *Copies) removeAbandoned() {
	abandoned, _ := filepath.Glob(filepath.Join(c.Parent, copiesPrefix+"*"))
	for _, dir := range abandoned {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > abandonedDirMaxAge {
			_ = os.RemoveAll(dir)
		}
	}
}

// Close removes all copies.
func (c *Copies) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dir == "" {
		return nil
	}
	dir := c.dir
	c.dir, c.by, c.old = "", nil, nil
	return os.RemoveAll(dir)
}

// limitedWriter fails when its limit is reached.
type limitedWriter struct {
	io.Writer
	left int64
	// full is the error at the limit. failed is the first error that occurred.
	full, failed error
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if w.left -= int64(len(p)); w.left < 0 {
		w.failed = w.full
		return 0, w.failed
	}
	n, err := w.Writer.Write(p)
	if err != nil {
		w.failed = err
	}
	return n, err
}
