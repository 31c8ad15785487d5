// Package datasets fetches the training data of runs.
//
// Input: the type and location of a run's dataset, as MLflow records it. Output: local files: files in an allowed folder directly, all
// others as downloads that are deleted after use. State: the downloads of a Reader, and recent failures. Anyone who can write to the
// registry chooses the locations. The package therefore never reads a location that the configuration does not allow, and never sends the
// MLflow server's token to another server.
package datasets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/thanos-io/objstore"
)

// Dataset is the training data of a run, as the registry records it.
type Dataset struct {
	RunID string
	// Type and Source are MLflow's: local and a path, http and a URL, s3 and a URI.
	Type, Source string
}

// Artifacts is the MLflow server, which also stores files.
type Artifacts interface {
	// Locate resolves runs:/<run>/<path> to the location of a run's file. It returns any other URI unchanged. The error is fs.ErrNotExist
	// if the run does not exist.
	Locate(ctx context.Context, uri string) (string, error)
	// Artifact requests a file if the URI is one of this server's files.
	Artifact(ctx context.Context, uri string) (response *http.Response, ok bool, err error)
}

// Bucket is an object store from which objects may be read.
type Bucket struct {
	// URI is the prefix of the sources in this bucket, such as s3://training-data.
	URI string
	objstore.BucketReader
}

// Options configure a Reader. An empty option allows nothing.
type Options struct {
	// Folders are the folders from which local files may be read.
	Folders []string
	// Artifacts is nil if files of the MLflow server may not be read.
	Artifacts Artifacts
	// Hosts may be requested over HTTP: names, with a port if it is not the default one.
	Hosts   []string
	Buckets []Bucket
	// MaxBytes and Timeout limit a download. TempDir is its folder; by default the system's folder of temporary files.
	MaxBytes int64
	Timeout  time.Duration
	TempDir  string
	Now      func() time.Time
	Logger   *slog.Logger
}

// ErrUnreadable means that a dataset cannot be read and that a retry does not help. It has already been logged.
var ErrUnreadable = errors.New("the dataset cannot be read")

// unreadable is an ErrUnreadable with its reason.
type unreadable struct{ reason string }

func (e *unreadable) Error() string { return e.reason }
func (e *unreadable) Unwrap() error { return ErrUnreadable }

func unreadablef(format string, args ...any) error { return &unreadable{fmt.Sprintf(format, args...)} }

// Time until a failed dataset is tried again. It doubles with each failure, because a download is expensive. An unreadable dataset is also
// tried again, because someone may have put the file in place.
const (
	minPause        = time.Minute
	maxPause        = 10 * time.Minute
	unreadablePause = time.Hour
	// maxFailures limits the remembered failures.
	maxFailures = 1000
)

// Reader fetches datasets.
type Reader struct {
	Options
	client *http.Client

	mu       sync.Mutex
	failures map[Dataset]failure
}

type failure struct {
	err   error
	pause time.Duration
	until time.Time
}

// File is a dataset that can be read.
type File struct {
	Path string
	// Done ends the use of the file. The error is nil if reading it succeeded.
	Done func(error)
}

// New returns a Reader, and removes downloads that a killed process left.
func New(o Options) (*Reader, error) {
	if o.MaxBytes <= 0 || o.Timeout <= 0 || o.Now == nil || o.Logger == nil {
		return nil, errors.New("a reader of datasets needs a size and a timeout above 0, a clock and a logger")
	}
	if o.TempDir == "" {
		o.TempDir = os.TempDir()
	}
	r := &Reader{Options: o, failures: make(map[Dataset]failure)}
	r.client = &http.Client{CheckRedirect: r.redirect}
	r.sweep()
	return r, nil
}

// Open returns a dataset as a local file.
func (r *Reader) Open(ctx context.Context, d Dataset) (*File, error) {
	r.mu.Lock()
	f, failed := r.failures[d]
	r.mu.Unlock()
	if failed && r.Now().Before(f.until) {
		return nil, f.err
	}
	file, err := r.open(ctx, d)
	if err != nil {
		if !errors.Is(err, ErrUnreadable) {
			err = fmt.Errorf("run %s: dataset %s: %w", d.RunID, withoutSecrets(d.Source), err)
		}
		r.note(ctx, d, err)
		return nil, err
	}
	done := file.Done
	file.Done = func(err error) {
		done(err)
		r.note(ctx, d, err)
	}
	return file, nil
}

// note stores or clears a failure.
func (r *Reader) note(ctx context.Context, d Dataset, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, failed := r.failures[d]
	switch {
	case err == nil:
		delete(r.failures, d)
		return
	case errors.Is(ctx.Err(), context.Canceled):
		return // The exporter stops; the dataset did not fail.
	case !failed && len(r.failures) >= maxFailures:
		clear(r.failures)
	}
	now := failure{err: err, pause: min(max(2*before.pause, minPause), maxPause)}
	if errors.Is(err, ErrUnreadable) {
		now.pause = unreadablePause
		if !failed || before.err.Error() != err.Error() {
			r.Logger.Warn("The dataset that a run was trained on cannot be read; its models have no training baseline from it",
				"run", d.RunID, "source_type", d.Type, "source", withoutSecrets(d.Source), "reason", err)
		}
	}
	now.until = r.Now().Add(now.pause)
	r.failures[d] = now
}

// withoutSecrets returns a source for the log, without passwords and signatures of URLs.
func withoutSecrets(source string) string {
	u, err := url.Parse(source)
	if err != nil || u.Host == "" {
		return source
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

func (r *Reader) open(ctx context.Context, d Dataset) (*File, error) {
	switch {
	case d.Type == "code":
		return nil, unreadablef("MLflow has no file, only the code that made the data; mlflow.data.from_pandas and the like take a source")
	case d.Type == "local":
		return r.local(d.Source)
	case !strings.Contains(d.Source, ":/"):
		return nil, unreadablef("a source of type %q names no file", d.Type)
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	location := d.Source
	if r.Artifacts != nil {
		var err error
		if location, err = r.Artifacts.Locate(ctx, location); errors.Is(err, fs.ErrNotExist) {
			return nil, unreadablef("%v", err)
		} else if err != nil {
			return nil, err
		}
	}
	if strings.HasPrefix(location, "file://") || filepath.IsAbs(location) {
		return r.local(location) // a server without an artifact proxy stores its runs' files there
	}
	return r.download(ctx, location)
}

// local returns a file in one of the folders. A symbolic link that leads out of them is refused.
func (r *Reader) local(source string) (*File, error) {
	path := strings.TrimPrefix(source, "file://")
	switch {
	case len(r.Folders) == 0:
		return nil, unreadablef("it is a local file, and mlflow.datasets.folders names no folder")
	case !filepath.IsAbs(path):
		return nil, unreadablef("the path of a local file must be absolute")
	}
	file, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, unreadablef("there is no such file here")
	}
	if strings.ContainsAny(file, "*?[{") {
		return nil, unreadablef("its name would be taken for a pattern")
	}
	for _, folder := range r.Folders {
		if folder, err = filepath.EvalSymlinks(folder); err != nil {
			continue
		}
		if within, err := filepath.Rel(folder, file); err != nil || !filepath.IsLocal(within) || within == "." {
			continue
		}
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
			return nil, unreadablef("it is not a file")
		}
		if _, err := extension(file); err != nil {
			return nil, err
		}
		return &File{Path: file, Done: func(error) {}}, nil
	}
	return nil, unreadablef("it is in none of mlflow.datasets.folders")
}
