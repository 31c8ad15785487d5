package bill

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

// maxManifest bounds a manifest, in bytes.
const maxManifest = 4 << 20

// manifest is what a provider says that a delivery has.
type manifest struct {
	at    time.Time
	files []string
}

func manifestName(name string) bool { return strings.HasSuffix(strings.ToLower(name), "manifest.json") }

// honour lets the manifests say which files a delivery has: those beside the files, as Azure writes them, and those in
// another folder, as AWS does. Files that a manifest does not list are left of an earlier delivery to the same place.
func (l *Ledger) honour(ctx context.Context, deliveries map[string]*delivery, manifests map[string]time.Time) error {
	for name := range l.manifests {
		if _, ok := manifests[name]; !ok {
			delete(l.manifests, name)
		}
	}
	latest := make(map[string]time.Time)
	for name, at := range manifests {
		m, ok := l.manifests[name]
		if !ok || !m.at.Equal(at) {
			files, err := l.readManifest(ctx, name)
			if err != nil {
				return err
			}
			m = manifest{at, files}
			l.manifests[name] = m
		}
		if len(m.files) == 0 {
			continue // It is of a kind that lists no files.
		}
		for dir, d := range deliveries {
			listed, missing := match(d.files, m.files)
			if len(listed) == 0 && dir != path.Dir(name) || at.Before(latest[dir]) {
				continue
			}
			latest[dir] = at
			d.manifest, d.missing = name, missing
			if len(missing) == 0 {
				d.files = listed
			}
			if at.After(d.at) {
				d.at = at
			}
		}
	}
	return nil
}

// match returns which files a manifest lists, and what it lists that is none of them. A manifest has full names, with the
// bucket and the prefix of the export.
func match(files, manifest []string) (listed, missing []string) {
	for _, full := range manifest {
		i := slices.IndexFunc(files, func(name string) bool {
			return full == name || strings.HasSuffix(full, "/"+name) || strings.HasSuffix(name, "/"+full)
		})
		if i < 0 {
			missing = append(missing, full)
			continue
		}
		listed = append(listed, files[i])
	}
	return listed, missing
}

// readManifest returns the files that a manifest lists. Providers call the list differently, and none of them has another
// text in it that ends as the name of a bill does.
func (l *Ledger) readManifest(ctx context.Context, name string) ([]string, error) {
	in, err := l.bucket.Get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", name, err)
	}
	defer in.Close()
	var content any
	if err := json.NewDecoder(io.LimitReader(in, maxManifest)).Decode(&content); err != nil {
		l.Logger.Warn("A manifest cannot be read, and the files beside it count as they are", "file", name, "err", err)
		return nil, nil
	}
	files := fileNames(content, nil)
	slices.Sort(files)
	return slices.Compact(files), nil
}

// fileNames are the texts in a JSON value that end as the name of a bill does.
func fileNames(value any, found []string) []string {
	switch v := value.(type) {
	case string:
		if readable(v) {
			found = append(found, strings.TrimPrefix(v, "/"))
		}
	case []any:
		for _, one := range v {
			found = fileNames(one, found)
		}
	case map[string]any:
		for _, one := range v {
			found = fileNames(one, found)
		}
	}
	return found
}
