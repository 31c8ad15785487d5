package bill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/thanos-io/objstore"
	"github.com/thanos-io/objstore/providers/filesystem"
)

// Deliveries says which files of a source belong together.
type Deliveries string

// A delivery is what the provider wrote at one time. Most exports write a folder, in several parts; some write a file that
// holds the month so far.
const (
	ByFolder Deliveries = "folder"
	ByFile   Deliveries = "file"
)

// maxFiles bounds the files of a source.
const maxFiles = 20_000

// Ledger is the bill of one source. It remembers what files had, so that only new and changed ones are read.
type Ledger struct {
	reader     *Reader
	bucket     objstore.Bucket
	dir        string // of a local source
	prefix     string
	deliveries Deliveries
	logger     *slog.Logger
	known      map[string]known
}

// known is what a file had when it was read.
type known struct {
	size     int64
	modified time.Time
	sheet    Sheet
}

// Folder returns the ledger of a local folder with everything below it.
func Folder(reader *Reader, dir string, deliveries Deliveries, logger *slog.Logger) (*Ledger, error) {
	// The folder is somebody else's: it must not be made by a typing error.
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("open bills: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("open bills: %s is a file, expected the folder that the export writes to", dir)
	}
	bucket, err := filesystem.NewBucket(dir)
	if err != nil {
		return nil, fmt.Errorf("open bills: %w", err)
	}
	l := Objects(reader, bucket, "", deliveries, logger)
	l.dir = dir
	return l, nil
}

// Objects returns the ledger of the objects of a bucket whose names begin with a prefix, which it closes.
func Objects(reader *Reader, bucket objstore.Bucket, prefix string, deliveries Deliveries, logger *slog.Logger) *Ledger {
	return &Ledger{reader: reader, bucket: bucket, prefix: prefix, deliveries: deliveries, logger: logger, known: make(map[string]known)}
}

// Close frees the bucket.
func (l *Ledger) Close() error { return l.bucket.Close() }

// Bill is all that a source has, of each billing period what was delivered last.
type Bill struct {
	Lines          []Line
	Rows, Rejected int64
	Problems       []Problem
	Through        time.Time
	Files          int
}

// delivery is what was written at one time.
type delivery struct {
	name   string
	at     time.Time
	files  []string
	broken bool
}

// Read reads what is new and returns the bill. With an error there is a bill as well, of what could be read: a delivery
// with a file that cannot be read does not replace the one before it.
func (l *Ledger) Read(ctx context.Context) (Bill, error) {
	deliveries, err := l.list(ctx)
	if err != nil {
		return Bill{}, fmt.Errorf("list bills: %w", err)
	}
	var errs []error
	there := make(map[string]bool)
	for i := range deliveries {
		for _, name := range deliveries[i].files {
			there[name] = true
			if err := l.learn(ctx, name); err != nil {
				errs = append(errs, err)
				deliveries[i].broken = true
			}
		}
	}
	for name := range l.known {
		if !there[name] {
			delete(l.known, name)
		}
	}
	return l.combine(deliveries), errors.Join(errs...)
}

// list finds the files, by delivery, the last one first.
func (l *Ledger) list(ctx context.Context) ([]delivery, error) {
	byName := make(map[string]*delivery)
	n := 0
	err := l.bucket.IterWithAttributes(ctx, l.prefix, func(attrs objstore.IterObjectAttributes) error {
		lower := strings.ToLower(attrs.Name)
		if !strings.HasSuffix(lower, ".csv") && !strings.HasSuffix(lower, ".csv.gz") && !strings.HasSuffix(lower, ".parquet") {
			return nil // Manifests and the like.
		}
		if n++; n > maxFiles {
			return fmt.Errorf("there are more than %d files", maxFiles)
		}
		modified, ok := attrs.LastModified()
		if !ok {
			a, err := l.bucket.Attributes(ctx, attrs.Name)
			if err != nil {
				return err
			}
			modified = a.LastModified
		}
		name := path.Dir(attrs.Name)
		if l.deliveries == ByFile {
			name = attrs.Name
		}
		d := byName[name]
		if d == nil {
			d = &delivery{name: name}
			byName[name] = d
		}
		d.files = append(d.files, attrs.Name)
		if modified.After(d.at) {
			d.at = modified
		}
		return nil
	}, objstore.WithRecursiveIter(), objstore.WithUpdatedAt())
	if err != nil {
		return nil, err
	}
	var all []delivery
	for _, d := range byName {
		slices.Sort(d.files)
		all = append(all, *d)
	}
	slices.SortFunc(all, func(a, b delivery) int {
		if c := b.at.Compare(a.at); c != 0 {
			return c
		}
		return strings.Compare(b.name, a.name)
	})
	return all, nil
}

// learn reads a file unless it is known as it is.
func (l *Ledger) learn(ctx context.Context, name string) error {
	attrs, err := l.bucket.Attributes(ctx, name)
	if err != nil {
		return fmt.Errorf("look at bill %s: %w", name, err)
	}
	if k, ok := l.known[name]; ok && k.size == attrs.Size && k.modified.Equal(attrs.LastModified) {
		return nil
	}
	local := filepath.Join(l.dir, filepath.FromSlash(name))
	if l.dir == "" {
		if local, err = l.fetch(ctx, name); err != nil {
			return fmt.Errorf("fetch bill %s: %w", name, err)
		}
		defer func() { _ = os.Remove(local) }()
	}
	began := time.Now()
	sheet, err := l.reader.Read(ctx, local)
	if err != nil {
		return err
	}
	for i := range sheet.Problems {
		sheet.Problems[i].File = name
		l.logger.Error("A line of a bill cannot be read and does not count", "err", sheet.Problems[i])
	}
	l.logger.Info("Read a bill", "file", name, "rows", sheet.Rows, "rejected", sheet.Rejected, "duration", time.Since(began))
	l.known[name] = known{attrs.Size, attrs.LastModified, sheet}
	return nil
}

// fetch copies an object to a temporary file, which the caller removes.
func (l *Ledger) fetch(ctx context.Context, name string) (_ string, err error) {
	in, err := l.bucket.Get(ctx, name)
	if err != nil {
		return "", err
	}
	defer in.Close()
	// The end of the name says what it is.
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

// combine takes each billing period from the last delivery that has it.
func (l *Ledger) combine(deliveries []delivery) Bill {
	var b Bill
	taken := make(map[time.Time]bool)
	for _, d := range deliveries {
		if d.broken {
			continue
		}
		own := make(map[time.Time]bool)
		for _, name := range d.files {
			sheet := l.known[name].sheet
			b.Files++
			if superseded(sheet, taken) {
				continue
			}
			b.Rows += sheet.Rows
			b.Rejected += sheet.Rejected
			b.Problems = append(b.Problems, sheet.Problems...)
			if sheet.Through.After(b.Through) {
				b.Through = sheet.Through
			}
			for _, line := range sheet.Lines {
				if !taken[line.Period] {
					own[line.Period] = true
					b.Lines = append(b.Lines, line)
				}
			}
		}
		for period := range own {
			taken[period] = true
		}
	}
	return b
}

// superseded says that all periods of a sheet were delivered again, so that what was wrong with it does not matter now.
func superseded(s Sheet, taken map[time.Time]bool) bool {
	return len(s.Lines) > 0 && !slices.ContainsFunc(s.Lines, func(l Line) bool { return !taken[l.Period] })
}
