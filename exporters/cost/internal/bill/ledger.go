package bill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/thanos-io/objstore"
	"github.com/thanos-io/objstore/providers/filesystem"
)

// maxFiles bounds the number of files of a source.
const maxFiles = 20_000

// LedgerOptions configure how a source delivers.
type LedgerOptions struct {
	Deliveries Deliveries
	Grouping   Grouping
	// Settle is the time for which a delivery must be unchanged before it counts, unless a manifest lists its files.
	Settle time.Duration
	Now    func() time.Time
	Logger *slog.Logger
}

// Ledger is the bill of one source. It remembers the content of files, so that it reads only new and changed ones.
type Ledger struct {
	LedgerOptions
	reader *Reader
	bucket objstore.Bucket
	dir    string     // of a local source
	mu     sync.Mutex // held while known, accepted and manifests change, and by another ledger that takes them over
	known  map[string]known
	// accepted is the last complete content of each delivery. It stays while the delivery is being rewritten or is
	// broken.
	accepted  map[string]accepted
	manifests map[string]manifest
	warned    map[string]bool
	others    string // files that are not read, as last logged
}

// known is the content of a file when it was read.
type known struct {
	version
	sheet Sheet
	// other means that the file has no charges.
	other bool
}

// version identifies the content of a file.
type version struct {
	size     int64
	modified time.Time
}

// Folder returns the ledger of a local folder, including subfolders.
func Folder(reader *Reader, dir string, o LedgerOptions) (*Ledger, error) {
	// The folder belongs to the provider's export. It must not be created because of a typing error.
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("open bills: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("open bills: %s is a file, expected the folder that the export writes to", dir)
	}
	bucket, err := filesystem.NewBucket(dir)
	if err != nil {
		return nil, fmt.Errorf("open bills: %w", err)
	}
	l := Objects(reader, bucket, o)
	l.dir = dir
	return l, nil
}

// Objects returns the ledger of all objects of a bucket. The ledger closes the bucket.
func Objects(reader *Reader, bucket objstore.Bucket, o LedgerOptions) *Ledger {
	return &Ledger{
		LedgerOptions: o, reader: reader, bucket: bucket, known: make(map[string]known), accepted: make(map[string]accepted),
		manifests: make(map[string]manifest), warned: make(map[string]bool),
	}
}

// TakeOver makes what another ledger of the same source has read known to this one, which has read nothing yet: it reads what is new
// and what has changed. The other one may be reading meanwhile. Their readers have to be alike, see Reader.TakeOver.
func (l *Ledger) TakeOver(from *Ledger) {
	from.mu.Lock()
	defer from.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known, l.manifests = maps.Clone(from.known), maps.Clone(from.manifests)
	if l.Grouping == from.Grouping {
		l.accepted = maps.Clone(from.accepted)
	}
}

// Close closes the bucket.
func (l *Ledger) Close() error { return l.bucket.Close() }

// Bill is the content of all deliveries of a source.
type Bill struct {
	Lines          []Line
	Rows, Rejected int64
	Problems       []Problem
	UnreadTags     int64
	Through        time.Time
	Files          int
}

// Read reads new files and returns the bill. With an error it also returns the bill of the files that could be read. A
// delivery with a file that cannot be read does not replace the one before it.
func (l *Ledger) Read(ctx context.Context) (Bill, error) {
	deliveries, others, err := l.list(ctx)
	if err != nil {
		return Bill{}, fmt.Errorf("list bills: %w", err)
	}
	l.logOthers(others)
	var errs []error
	present, waiting := make(map[string]bool), false
	for _, d := range deliveries {
		present[d.name] = true
		for _, name := range d.files {
			present[name] = true
		}
		reason, err := d.wait(l.Now(), l.Settle)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if reason == "" {
			reason, err = l.accept(ctx, d)
			errs = append(errs, err)
		}
		if reason != "" {
			waiting = true
			l.Logger.Info("A delivery of bills does not count yet", "delivery", d.name, "reason", reason)
		}
	}
	l.locked(func() {
		forget(l.known, present)
		forget(l.accepted, present)
	})
	b := l.combine()
	if err := errors.Join(errs...); err != nil || b.Files > 0 || waiting {
		return b, err
	}
	return b, fmt.Errorf("no bill in it: there are %d files whose names end in one of %s with no charges in them, and %d others%s",
		len(l.known), strings.Join(suffixes, ", "), len(others), example(others))
}

// locked changes what another ledger may take over.
func (l *Ledger) locked(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// logOthers logs files that may be bills and are not read, if their list has changed.
func (l *Ledger) logOthers(others []string) {
	others = slices.DeleteFunc(slices.Clone(others), func(name string) bool {
		base := strings.ToLower(path.Base(name))
		return strings.HasPrefix(base, "_") || slices.Contains([]string{".json", ".sql", ".txt", ".md", ".md5", ".sha256", ".html", ".pdf"}, path.Ext(base))
	})
	message := fmt.Sprint(len(others), example(others))
	if len(others) > 0 && message != l.others {
		l.Logger.Warn("Files are not read because of the end of their names", "files", len(others), "example", others[0], "expected", strings.Join(suffixes, ", "))
	}
	l.others = message
}

func example(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ", such as " + names[0]
}

// forget drops entries that no longer exist.
func forget[T any](all map[string]T, present map[string]bool) {
	for name := range all {
		if !present[name] {
			delete(all, name)
		}
	}
}

// accept reads the files of a delivery. The delivery counts if all of them can be read. The reason is why it does not
// count yet.
func (l *Ledger) accept(ctx context.Context, d delivery) (reason string, err error) {
	a := accepted{name: d.name, at: d.at}
	var errs []error
	for _, name := range d.files {
		switch k, err := l.learn(ctx, name); {
		case errors.Is(err, errFileChanged):
			reason = name + " changed while it was read"
		case err != nil:
			errs = append(errs, err)
		case !k.other:
			a.sheets = append(a.sheets, k.sheet)
		}
	}
	if d.manifest == "" {
		l.doubt(d)
	}
	if reason == "" && len(errs) == 0 {
		l.locked(func() { l.accepted[d.name] = a })
	}
	return reason, errors.Join(errs...)
}

// maxFileSpread is the longest time between the files of one delivery. A file written later comes from another run of the
// export.
const maxFileSpread = 3 * time.Hour

// doubt logs a delivery whose files have the same rows and were written hours apart. Each of them may be the month so
// far, which would count several times.
func (l *Ledger) doubt(d delivery) {
	files := slices.DeleteFunc(slices.Clone(d.files), func(name string) bool { return len(l.known[name].sheet.Periods) == 0 })
	slices.SortStableFunc(files, func(a, b string) int { return l.known[a].modified.Compare(l.known[b].modified) })
	for i := range max(len(files)-1, 0) {
		earlier, later := l.known[files[i]], l.known[files[i+1]]
		if later.modified.Sub(earlier.modified) < maxFileSpread {
			continue
		}
		for period, c := range earlier.sheet.Periods {
			key := "parts " + d.name
			if !l.warned[key] && c.Charges && c.shared(later.sheet.Periods[period]) >= sameFileShare {
				l.warned[key] = true
				l.Logger.Warn("Files of one folder count as parts of one delivery, and two of them that were written hours apart have the same hours and accounts; where each is the month so far, set delivery: file, and where the earlier is left of another run, remove it",
					"delivery", d.name, "earlier", files[i], "later", files[i+1])
			}
		}
	}
}

// sameFileShare is the share of a file's rows that a later file of the same folder does not have by chance.
const sameFileShare = 0.9

// errFileChanged means that a file is still being written.
var errFileChanged = errors.New("the file changed while it was read")

func (l *Ledger) version(ctx context.Context, name string) (version, error) {
	attrs, err := l.bucket.Attributes(ctx, name)
	if err != nil {
		return version{}, fmt.Errorf("inspect bill %s: %w", name, err)
	}
	return version{attrs.Size, attrs.LastModified}, nil
}

// learn reads a file unless its current content is known.
func (l *Ledger) learn(ctx context.Context, name string) (known, error) {
	before, err := l.version(ctx, name)
	if err != nil {
		return known{}, err
	}
	if k, ok := l.known[name]; ok && k.size == before.size && k.modified.Equal(before.modified) {
		return k, nil
	}
	local := filepath.Join(l.dir, filepath.FromSlash(name))
	if l.dir == "" {
		if local, err = l.fetch(ctx, name); err != nil {
			return known{}, fmt.Errorf("fetch bill %s: %w", name, err)
		}
		defer func() { _ = os.Remove(local) }()
	}
	began := time.Now()
	k := known{version: before}
	k.sheet, err = l.reader.Read(ctx, local)
	if after, again := l.version(ctx, name); again != nil || after.size != before.size || !after.modified.Equal(before.modified) {
		return known{}, errors.Join(errFileChanged, again)
	}
	switch {
	case errors.Is(err, errOtherDataset):
		k.other = true
		l.Logger.Info("A file beside the bills is passed over", "file", name, "reason", err)
	case err != nil:
		return known{}, err
	default:
		for i := range k.sheet.Problems {
			k.sheet.Problems[i].File = name
			l.Logger.Error("A line of a bill cannot be read and does not count", "err", k.sheet.Problems[i])
		}
		l.Logger.Info("Read a bill", "file", name, "rows", k.sheet.Rows, "rejected", k.sheet.Rejected, "unread_tags", k.sheet.UnreadTags, "duration", time.Since(began))
	}
	l.locked(func() { l.known[name] = k })
	return k, nil
}

// fetch copies an object to a temporary file, which the caller removes.
func (l *Ledger) fetch(ctx context.Context, name string) (_ string, err error) {
	in, err := l.bucket.Get(ctx, name)
	if err != nil {
		return "", err
	}
	defer in.Close()
	// The suffix decides how the file is read.
	out, err := os.CreateTemp(l.reader.options.TempDir, "bill-*-"+path.Base(name))
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			_ = os.Remove(out.Name())
		}
	}()
	_, err = io.Copy(out, in)
	return out.Name(), err
}
