package baseline

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/thanos-io/objstore"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// refusing is an object store that can be read, and written unless there is an error.
type refusing struct {
	objstore.Bucket

	err error
}

func (r *refusing) Upload(ctx context.Context, name string, body io.Reader, o ...objstore.ObjectUploadOption) error {
	if r.err != nil {
		return r.err
	}
	return r.Bucket.Upload(ctx, name, body, o...)
}

func TestUnwritableStoreIsReported(t *testing.T) {
	definition := Definition{Edges: EdgesProduction, Schema: []Column{{Name: "a", Type: "BIGINT"}}, Fields: map[string]binning.Layout{}}
	t.Run("a folder, before anything is written to it", func(t *testing.T) {
		dir := t.TempDir()
		s, err := Open(Folder(filepath.Join(dir, "store")), nil, nil)
		require.NoError(t, err)
		require.NoError(t, s.Check(t.Context()))
		entries, err := os.ReadDir(filepath.Join(dir, "store"))
		require.NoError(t, err)
		require.Empty(t, entries, "the try leaves nothing behind")

		require.NoError(t, os.Remove(filepath.Join(dir, "store")))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "store"), nil, 0o600))
		require.ErrorContains(t, s.Check(t.Context()), "not a directory")
		require.NoError(t, os.Remove(filepath.Join(dir, "store")))
		require.NoError(t, s.Check(t.Context()), "and is well again once it can be")
	})
	t.Run("an object store, by its last write", func(t *testing.T) {
		now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
		bucket := &refusing{Bucket: objstore.NewInMemBucket()}
		s := New(bucket, WithSettle(0), WithClock(func() time.Time { return now }))
		require.NoError(t, s.Check(t.Context()), "nothing was tried")

		bucket.err = errors.New("AccessDenied: the key has ended")
		_, err := s.Subject("dataset", "orders").CreateDefinition(t.Context(), definition)
		require.ErrorContains(t, err, "AccessDenied")
		require.EqualError(t, s.Check(t.Context()), "the last attempt to write, at 2026-11-24T12:00:00Z, failed: AccessDenied: the key has ended")

		bucket.err = context.Canceled
		_, err = s.Subject("dataset", "clicks").CreateDefinition(t.Context(), definition)
		require.Error(t, err)
		require.ErrorContains(t, s.Check(t.Context()), "AccessDenied", "what was called off says nothing")

		now = now.Add(failureMaxAge)
		require.NoError(t, s.Check(t.Context()), "nobody has tried for a day")
		bucket.err = errors.New("AccessDenied")
		_, err = s.Subject("dataset", "orders").CreateDefinition(t.Context(), definition)
		require.Error(t, err)
		require.Error(t, s.Check(t.Context()))
		bucket.err = nil
		_, err = s.Subject("dataset", "orders").CreateDefinition(t.Context(), definition)
		require.NoError(t, err)
		require.NoError(t, s.Check(t.Context()))
	})
}
