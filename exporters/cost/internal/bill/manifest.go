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

// manifest is the provider's list of the files of a delivery.
type manifest struct {
	at    time.Time
	files []string
}

func manifestName(name string) bool { return strings.HasSuffix(strings.ToLower(name), "manifest.json") }

// applyManifests applies the manifests to the deliveries: manifests beside the files, as Azure writes them, and manifests in
// another folder, as AWS does. Files that a manifest does not list are left from an earlier delivery to the same
// folder.
func (l *Ledger) applyManifests(ctx context.Context, deliveries map[string]*delivery, written, manifests map[string]time.Time) error {
	for name := range l.manifests {
		if _, ok := manifests[name]; !ok {
			l.locked(func() { delete(l.manifests, name) })
		}
	}
	byBase := make(map[string][]string)
	for name := range written {
		byBase[path.Base(name)] = append(byBase[path.Base(name)], name)
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
			l.locked(func() { l.manifests[name] = m })
		}
		if len(m.files) == 0 {
			continue // This kind of manifest lists no files.
		}
		listed, missing := map[string][]string{path.Dir(name): nil}, []string(nil)
		for _, full := range m.files {
			if file := locate(full, byBase[path.Base(full)], path.Dir(name)); file != "" {
				listed[path.Dir(file)] = append(listed[path.Dir(file)], file)
			} else {
				missing = append(missing, full)
			}
		}
		for dir, files := range listed {
			d := deliveries[dir]
			if d == nil || at.Before(latest[dir]) {
				continue
			}
			latest[dir] = at
			d.follow(name, at, files, missing, written)
		}
	}
	return nil
}

// follow restricts the delivery to the files that a manifest lists.
func (d *delivery) follow(name string, at time.Time, listed, missing []string, written map[string]time.Time) {
	d.manifest, d.missing = name, missing
	if len(missing) == 0 {
		d.files = listed
	}
	d.rewritten = slices.ContainsFunc(listed, func(file string) bool { return written[file].After(at) })
	if at.After(d.at) {
		d.at = at
	}
}

// locate returns which of several files with the same base name a manifest means, or an empty text for none. A manifest
// has full names, with the bucket and the prefix of the export. A copy of the export may have kept only the end of the
// prefix.
func locate(full string, files []string, dir string) string {
	found := ""
	for _, name := range files {
		same := full == name || strings.HasSuffix(full, "/"+name) || strings.HasSuffix(name, "/"+full)
		if same && len(name) > len(found) {
			found = name
		}
	}
	if sibling := path.Join(dir, path.Base(full)); found == "" && slices.Contains(files, sibling) {
		return sibling
	}
	return found
}

// readManifest returns the files that a manifest lists. Providers use different names for the list. No other text in a
// manifest ends like the name of a bill.
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

// fileNames are the texts in a JSON value that end like the name of a bill.
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
