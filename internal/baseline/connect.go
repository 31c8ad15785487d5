package baseline

import (
	"context"
	"fmt"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/state"
)

// probeObject is the object that Probe writes. Its name cannot collide with a kind of subject, which is a folder.
const probeObject = "connection-check"

// Probe checks that the store can be read and written. In an object store it writes an object and deletes it.
func (s *Store) Probe(ctx context.Context) (found string, err error) {
	if s.folder != nil {
		return state.Probe(s.folder.root)
	}
	if err := s.bucket.Iter(ctx, "", func(string) error { return nil }); err != nil {
		return "", fmt.Errorf("list objects: %w", err)
	}
	if err := s.bucket.Upload(ctx, probeObject, strings.NewReader("This object may be deleted.\n")); err != nil {
		return "", fmt.Errorf("write an object: %w", err)
	}
	if err := s.bucket.Delete(ctx, probeObject); err != nil {
		// The store itself never deletes, so this permission is not needed.
		return fmt.Sprintf("%s can be written to; the object %s may not be deleted and stays", s.bucket.Name(), probeObject), nil //nolint:nilerr // As the comment says.
	}
	return s.bucket.Name() + " can be written to", nil
}
