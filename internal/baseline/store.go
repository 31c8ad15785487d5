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

// Config is the location of the baselines, in the object store configuration of Thanos and Mimir:
//
//	type: S3
//	config:
//	  bucket: ml-baselines
//	  endpoint: s3.ca-central-1.amazonaws.com
//	prefix: production
//
// All replicas must use the same location, and two installations must never share one.
type Config struct {
	// Type is FILESYSTEM, S3, GCS, AZURE or another provider of objstore.
	Type string `yaml:"type"`
	// Config is the provider's own configuration.
	Config map[string]any `yaml:"config"`
	// Prefix is the first part of every object's name.
	Prefix string `yaml:"prefix"`
}

// Folder returns the configuration of a local folder.
func Folder(dir string) Config {
	return Config{Type: string(objstore.FILESYSTEM), Config: map[string]any{"directory": dir}}
}

// Store stores baselines in a folder or an object store.
type Store struct {
	bucket objstore.Bucket
	// folder writes the objects if the bucket is a local folder; nil otherwise.
	folder *folder
	// settle is the time after an object's first candidate after which no more candidates can appear. It is 0 in a folder.
	settle time.Duration
	now    func() time.Time
	close  func() error
	// failed is the last write's failure. It is nil after a successful write and before the first write.
	failed atomic.Pointer[failure]
}

// Option changes a default of a Store.
type Option func(*Store)

// WithClock sets the clock for the timestamps of objects.
func WithClock(now func() time.Time) Option { return func(s *Store) { s.now = now } }

// WithSettle sets the time after which the first writer of an object is settled in an object store. An attempt to write must finish
// within half of it.
func WithSettle(d time.Duration) Option { return func(s *Store) { s.settle = d } }

// defaultSettle allows five seconds for the upload of an object, and five seconds for the store to finish an upload whose client gave
// up.
const defaultSettle = 10 * time.Second

// Open opens the store of the configuration without reading or writing. Metrics of an object store's operations are registered at reg
// until Close. Both logger and reg may be nil.
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
	// objstore panics if its metrics are already registered. That would happen when a reload opens a store that is still open.
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

// Bucket opens the object store itself, for callers that store other objects. The logger may be nil.
func (c Config) Bucket(logger *slog.Logger) (objstore.Bucket, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if c.Type == "" {
		return nil, errors.New("no type, expected FILESYSTEM, S3, GCS, AZURE or another provider of objstore")
	}
	return client.NewBucketFromConfig(kitLogger{logger}, &client.BucketConfig{Type: objstore.ObjProvider(c.Type), Config: c.Config, Prefix: c.Prefix}, "sightglass", nil)
}

// New returns a store in a bucket that is already open.
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

// Close releases the store's resources. Stored objects are kept.
func (s *Store) Close() error { return s.close() }

// Name returns the name of the bucket, for messages.
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

// ID identifies the object that a baseline belongs to.
type ID struct{ Kind, Name string }

// String returns the ID as in messages and envelopes, such as dataset/orders.
func (i ID) String() string {
	if !utf8.ValidString(i.Name) {
		// JSON cannot contain invalid UTF-8.
		return i.Kind + "/" + strconv.QuoteToASCII(i.Name)
	}
	return i.Kind + "/" + i.Name
}

// List returns the sorted IDs of all subjects with at least one object in the store.
func (s *Store) List(ctx context.Context) ([]ID, error) {
	found := make(map[string]string) // one object of each folder
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

// identify returns the ID of the folder dir. If the folder's name had to be cut, the full name is read from an object in it.
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

// get reads one object of limited size.
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

// listed is the result of a listing for the candidates of one object.
type listed struct {
	// winner is the name that sorts first.
	winner string
	// modified is the time of the oldest candidate. It is zero if the provider's listings have no times.
	modified time.Time
}

// list returns the objects in a folder by their stems.
func (s *Store) list(ctx context.Context, dir string) (map[string]listed, error) {
	var opts []objstore.IterOption
	// A folder needs no times. With them, objstore's listing would fail if another replica's temporary file vanished meanwhile.
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

// kitLogger forwards objstore's logs.
type kitLogger struct{ *slog.Logger }

// Log implements the logger of objstore.
func (l kitLogger) Log(keyvals ...any) error {
	level := slog.LevelInfo
	var attrs []any
	for i := 0; i+1 < len(keyvals); i += 2 {
		key, value := fmt.Sprint(keyvals[i]), keyvals[i+1]
		switch key {
		case "level":
			// An unknown level must not lose the message.
			_ = level.UnmarshalText([]byte(fmt.Sprint(value)))
		default:
			attrs = append(attrs, key, value)
		}
	}
	l.Logger.Log(context.Background(), level, "Object store client", attrs...)
	return nil
}

var _ kitlog.Logger = kitLogger{}
