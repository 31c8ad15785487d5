package baseline

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	kitlog "github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/thanos-io/objstore"
	"github.com/thanos-io/objstore/client"
	"github.com/thanos-io/objstore/providers/filesystem"
)

// Config says where the baselines are, in the form that Thanos, Mimir and
// others use for object stores:
//
//	type: S3
//	config:
//	  bucket: ml-baselines
//	  endpoint: s3.ca-central-1.amazonaws.com
//	prefix: production
//
// All replicas must be given the same place, and no two setups the same one.
type Config struct {
	// Type is FILESYSTEM, S3, GCS, AZURE or another provider of objstore.
	Type string `yaml:"type"`
	// Config is the provider's own configuration.
	Config map[string]any `yaml:"config"`
	// Prefix is put before every object's name.
	Prefix string `yaml:"prefix"`
}

// Folder is the configuration of a local folder.
func Folder(dir string) Config {
	return Config{Type: string(objstore.FILESYSTEM), Config: map[string]any{"directory": dir}}
}

// Store is a place where baselines are kept.
type Store struct {
	bucket objstore.Bucket
	// folder is set if the bucket is a local folder, and does the writing.
	folder *folder
	// settle is how long after its first candidate no more candidates of an
	// object can appear; 0 in a folder.
	settle time.Duration
	now    func() time.Time
	close  func() error
	// failed is nil after a write that succeeded, and before the first one.
	failed atomic.Pointer[failure]
}

// Option changes a Store from its defaults.
type Option func(*Store)

// WithClock sets the clock that dates what is written.
func WithClock(now func() time.Time) Option { return func(s *Store) { s.now = now } }

// WithSettle sets how long object stores take to settle who the first writer
// was. An attempt to write must finish in half of it.
func WithSettle(d time.Duration) Option { return func(s *Store) { s.settle = d } }

// defaultSettle leaves five seconds to upload an object and as much for the
// store to finish an upload that its client gave up.
const defaultSettle = 10 * time.Second

// Open opens the store that cfg names. It does not read or write yet. Metrics
// of an object store's operations are registered at reg until Close. Both logger and
// reg may be nil.
func Open(cfg Config, logger *slog.Logger, reg prometheus.Registerer, opts ...Option) (*Store, error) {
	if strings.EqualFold(cfg.Type, string(objstore.FILESYSTEM)) {
		dir, err := cfg.directory()
		if err != nil {
			return nil, err
		}
		bucket, err := filesystem.NewBucket(dir)
		if err != nil {
			return nil, fmt.Errorf("baseline store: %w", err)
		}
		s := New(bucket, opts...)
		s.folder, s.settle = &folder{root: dir, now: s.now}, 0
		return s, nil
	}

	bucket, err := cfg.Bucket(logger)
	if err != nil {
		return nil, fmt.Errorf("baseline store: %w", err)
	}
	if reg == nil {
		return New(bucket, opts...), nil
	}
	// objstore panics if its metrics are registered already, as they are when
	// a reload opens the store that is still open.
	metrics := prometheus.NewRegistry()
	s := New(objstore.WrapWithMetrics(bucket, metrics, "baseline"), opts...)
	if err := reg.Register(metrics); err != nil {
		return nil, errors.Join(fmt.Errorf("baseline store: %w", err), bucket.Close())
	}
	s.close = func() error {
		reg.Unregister(metrics)
		return bucket.Close()
	}
	return s, nil
}

// Bucket opens the object store itself, for whoever keeps something else in one. The logger may be nil.
func (c Config) Bucket(logger *slog.Logger) (objstore.Bucket, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if c.Type == "" {
		return nil, errors.New("no type, expected FILESYSTEM, S3, GCS, AZURE or another provider of objstore")
	}
	return client.NewBucketFromConfig(kitLogger{logger}, &client.BucketConfig{Type: objstore.ObjProvider(c.Type), Config: c.Config, Prefix: c.Prefix}, "sightglass", nil)
}

// New uses a bucket that is already open as a store.
func New(bucket objstore.Bucket, opts ...Option) *Store {
	s := &Store{
		bucket: bucket,
		settle: defaultSettle,
		now:    time.Now, //nolint:forbidigo // This is where the clock is injected.
		close:  bucket.Close,
	}
	for _, o := range opts {
		o(s)
	}
	return s
}

// Close releases what the store holds. What was written stays.
func (s *Store) Close() error { return s.close() }

// Name says where the store is, for messages.
func (s *Store) Name() string { return s.bucket.Name() }

func (c Config) directory() (string, error) {
	for key := range c.Config {
		if key != "directory" {
			return "", fmt.Errorf("baseline store: config of type FILESYSTEM has an unknown key %q, expected \"directory\"", key)
		}
	}
	dir, ok := c.Config["directory"].(string)
	if !ok || dir == "" {
		return "", errors.New("baseline store: config of type FILESYSTEM needs a \"directory\"")
	}
	dir, err := filepath.Abs(filepath.Join(dir, filepath.FromSlash(c.Prefix)))
	if err != nil {
		return "", fmt.Errorf("baseline store: %w", err)
	}
	return dir, nil
}

// ID names what a baseline is of.
type ID struct{ Kind, Name string }

// String is how messages and envelopes name it, as in dataset/orders.
func (i ID) String() string {
	if !utf8.ValidString(i.Name) {
		// JSON cannot hold the text itself.
		return i.Kind + "/" + strconv.QuoteToASCII(i.Name)
	}
	return i.Kind + "/" + i.Name
}

// List returns everything that has at least one object in the store, sorted.
func (s *Store) List(ctx context.Context) ([]ID, error) {
	found := make(map[string]string) // One object of each folder.
	err := s.bucket.Iter(ctx, "", func(name string) error {
		if _, ok := stemOf(path.Base(name)); ok {
			found[path.Dir(name)] = name
		}
		return nil
	}, objstore.WithRecursiveIter())
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.Name(), err)
	}
	var ids []ID
	for dir, object := range found {
		id, ok, err := s.identify(ctx, dir, object)
		if err != nil {
			return nil, err
		}
		if ok {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b ID) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
	return ids, nil
}

// identify tells what the folder dir is of. The name of a folder that had to be
// cut is in the objects inside.
func (s *Store) identify(ctx context.Context, dir, object string) (ID, bool, error) {
	first, second, ok := strings.Cut(dir, "/")
	kind, whole := unescape(first)
	if !ok || !whole {
		return ID{}, false, nil
	}
	if name, whole := unescape(second); whole {
		return ID{kind, name}, true, nil
	}
	data, err := s.get(ctx, object)
	if err != nil {
		return ID{}, false, err
	}
	name, ok := strings.CutPrefix(peekSubject(data), kind+"/")
	return ID{kind, name}, ok && escape(name) == second, nil
}

// get reads one object whole, with its size bounded.
func (s *Store) get(ctx context.Context, object string) (data []byte, err error) {
	r, err := s.bucket.Get(ctx, object)
	if err != nil {
		if s.bucket.IsObjNotFoundErr(err) {
			err = ErrNotFound
		}
		return nil, fmt.Errorf("read %s: %w", object, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	var b bytes.Buffer
	if size, err := objstore.TryToGetSize(r); err == nil {
		b.Grow(int(max(0, min(size, maxObjectBytes))) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(io.LimitReader(r, maxObjectBytes+1)); err != nil {
		return nil, fmt.Errorf("read %s: %w", object, err)
	}
	return b.Bytes(), nil
}

// listed is what a listing says about the candidates of one object.
type listed struct {
	// winner is the name that sorts first.
	winner string
	// modified is the oldest candidate's time, zero if the provider's
	// listings have none.
	modified time.Time
}

// list returns the objects in a folder by their stems.
func (s *Store) list(ctx context.Context, dir string) (map[string]listed, error) {
	var opts []objstore.IterOption
	// A folder needs no times, and objstore's listing of one would fail with
	// them if another replica's temporary file vanished meanwhile.
	if s.folder == nil && slices.Contains(s.bucket.SupportedIterOptions(), objstore.UpdatedAt) {
		opts = append(opts, objstore.WithUpdatedAt())
	}
	objects := make(map[string]listed)
	err := s.bucket.IterWithAttributes(ctx, dir+"/", func(o objstore.IterObjectAttributes) error {
		stem, ok := stemOf(path.Base(o.Name))
		if !ok || path.Dir(o.Name) != dir {
			return nil
		}
		l, known := objects[stem]
		if !known || o.Name < l.winner {
			l.winner = o.Name
		}
		if t, ok := o.LastModified(); ok && (!known || t.Before(l.modified)) {
			l.modified = t
		}
		objects[stem] = l
		return nil
	}, opts...)
	if err != nil {
		return nil, fmt.Errorf("list %s of %s: %w", dir, s.Name(), err)
	}
	return objects, nil
}

// kitLogger passes on what objstore logs.
type kitLogger struct{ *slog.Logger }

// Log implements the logger of objstore.
func (l kitLogger) Log(keyvals ...any) error {
	level := slog.LevelInfo
	var attrs []any
	for i := 0; i+1 < len(keyvals); i += 2 {
		key, value := fmt.Sprint(keyvals[i]), keyvals[i+1]
		switch key {
		case "level":
			// An unknown level is no reason to lose the message.
			_ = level.UnmarshalText([]byte(fmt.Sprint(value)))
		default:
			attrs = append(attrs, key, value)
		}
	}
	l.Logger.Log(context.Background(), level, "Object store client", attrs...)
	return nil
}

var _ kitlog.Logger = kitLogger{}
