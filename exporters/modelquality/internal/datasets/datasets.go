// Package datasets fetches the data that runs were trained on.
//
// Input: what MLflow says of a run's dataset: the type of its source, and where that is. Output: local files: those of
// a folder as they are, all others as downloads that are deleted after use. Whoever can write to the registry says where
// a dataset is, so nothing is read but what the configuration allows, and nobody but the MLflow server sees the server's
// token. A Reader owns its downloads, and remembers for a while what could not be read.
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

// Dataset is what the registry says of the training data of a run.
type Dataset struct {
	RunID string
	// Type and Source are of the dataset's source, in MLflow's words: local and a path, http and a URL, s3 and a URI.
	Type, Source string
}

// Artifacts is the MLflow server, which keeps files too.
type Artifacts interface {
	// Locate returns where a file of a run is, which runs:/<run>/<path> names, and any other URI as it is. The error is
	// fs.ErrNotExist if there is no such run.
	Locate(ctx context.Context, uri string) (string, error)
	// Artifact asks for a file, if the URI is that of one that this server keeps.
	Artifact(ctx context.Context, uri string) (response *http.Response, ok bool, err error)
}

// Bucket is an object store whose objects may be read.
type Bucket struct {
	// URI is how the sources of its objects begin, such as s3://training-data.
	URI string
	objstore.BucketReader
}

// Options of a Reader. What is empty is not read.
type Options struct {
	// Folders are where local files may be.
	Folders []string
	// Artifacts is nil where files of the MLflow server are not read.
	Artifacts Artifacts
	// Hosts may be asked over HTTP: names, with a port if it is not the usual one.
	Hosts   []string
	Buckets []Bucket
	// MaxBytes and Timeout bound a download, TempDir is where it lies; by default where the system keeps such files.
	MaxBytes int64
	Timeout  time.Duration
	TempDir  string
	Now      func() time.Time
	Logger   *slog.Logger
}

// ErrUnreadable says that a dataset cannot be read, and that trying again will not change that. It has been logged.
var ErrUnreadable = errors.New("the dataset cannot be read")

// unreadable is an ErrUnreadable with its reason.
type unreadable struct{ reason string }

func (e *unreadable) Error() string { return e.reason }
func (e *unreadable) Unwrap() error { return ErrUnreadable }

func never(format string, args ...any) error { return &unreadable{fmt.Sprintf(format, args...)} }

// How long a dataset that could not be read is left alone: twice as long each time, since a download is no small thing.
// What is unreadable is looked at again all the same, as somebody may have put the file where it belongs.
const (
	minPause        = time.Minute
	maxPause        = 10 * time.Minute
	unreadablePause = time.Hour
	// maxFailures bounds what is remembered.
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
	// Done ends the use of the file. The error, if any, is why it came to nothing.
	Done func(error)
}

// New makes a Reader, and removes downloads that a process which was killed has left.
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

// Open makes a dataset a local file.
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
			err = fmt.Errorf("run %s: dataset %s: %w", d.RunID, shown(d.Source), err)
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

// note remembers a failure, or that there is none any more.
func (r *Reader) note(ctx context.Context, d Dataset, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, failed := r.failures[d]
	switch {
	case err == nil:
		delete(r.failures, d)
		return
	case errors.Is(ctx.Err(), context.Canceled):
		return // The exporter stops, which says nothing about the dataset.
	case !failed && len(r.failures) >= maxFailures:
		clear(r.failures)
	}
	now := failure{err: err, pause: min(max(2*before.pause, minPause), maxPause)}
	if errors.Is(err, ErrUnreadable) {
		now.pause = unreadablePause
		if !failed || before.err.Error() != err.Error() {
			r.Logger.Warn("The dataset that a run was trained on cannot be read; its models have no training baseline from it",
				"run", d.RunID, "source_type", d.Type, "source", shown(d.Source), "reason", err)
		}
	}
	now.until = r.Now().Add(now.pause)
	r.failures[d] = now
}

// shown is a source as it can be logged: passwords and signatures of URLs are left out.
func shown(source string) string {
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
		return nil, never("MLflow was told of no file, only of the code that made the data; mlflow.data.from_pandas and the like take a source")
	case d.Type == "local":
		return r.local(d.Source)
	case !strings.Contains(d.Source, ":/"):
		return nil, never("a source of type %q names no file", d.Type)
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	location := d.Source
	if r.Artifacts != nil {
		var err error
		if location, err = r.Artifacts.Locate(ctx, location); errors.Is(err, fs.ErrNotExist) {
			return nil, never("%v", err)
		} else if err != nil {
			return nil, err
		}
	}
	if strings.HasPrefix(location, "file://") || filepath.IsAbs(location) {
		return r.local(location) // where a server without an artifact proxy has its runs' files
	}
	return r.download(ctx, location)
}

// local is a file below one of the folders. A link that leads out of them does not count.
func (r *Reader) local(source string) (*File, error) {
	path := strings.TrimPrefix(source, "file://")
	switch {
	case len(r.Folders) == 0:
		return nil, never("it is a local file, and mlflow.datasets.folders names no folder")
	case !filepath.IsAbs(path):
		return nil, never("the path of a local file must be absolute")
	}
	file, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, never("there is no such file here")
	}
	if strings.ContainsAny(file, "*?[{") {
		return nil, never("its name would be taken for a pattern")
	}
	for _, folder := range r.Folders {
		if folder, err = filepath.EvalSymlinks(folder); err != nil {
			continue
		}
		if within, err := filepath.Rel(folder, file); err != nil || !filepath.IsLocal(within) || within == "." {
			continue
		}
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
			return nil, never("it is not a file")
		}
		if _, err := extension(file); err != nil {
			return nil, err
		}
		return &File{Path: file, Done: func(error) {}}, nil
	}
	return nil, never("it is in none of mlflow.datasets.folders")
}
