package tables

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// readers maps a file name extension to the DuckDB function that reads the file.
var readers = map[string]string{
	"parquet": "read_parquet", "pq": "read_parquet", "csv": "read_csv", "tsv": "read_csv",
	"json": "read_json", "ndjson": "read_json", "jsonl": "read_json",
	"arrow": readArrow, "arrows": readArrow, "feather": readArrow, "ipc": readArrow,
}

// readArrow is not a DuckDB function. DuckDB reads Arrow files only with an extension, so Parquet copies are read instead.
const readArrow = "arrow"

// endings lists the extensions for messages.
const endings = ".parquet, .arrow, .feather, .ipc, .csv, .tsv, .json, .ndjson or .jsonl (.gz and .zst may follow those of text)"

// maxFolderFiles limits the length of the statement that lists the files of a folder.
const maxFolderFiles = 10_000

// Extension returns the part of a file name that determines how the file is read, such as .csv or .csv.gz, in lower case. It returns an
// error if the format is not supported.
func Extension(name string) (string, error) {
	plain, compressed := strings.ToLower(name), ""
	for _, c := range []string{".gz", ".zst"} {
		if bare, ok := strings.CutSuffix(plain, c); ok {
			plain, compressed = bare, c+compressed
		}
	}
	ext := filepath.Ext(plain)
	if ext == "" || readers[ext[1:]] == "" {
		return "", fmt.Errorf("%q does not end in %s", name, endings)
	}
	if compressed != "" && readers[ext[1:]] == readArrow {
		return "", fmt.Errorf("%q is a compressed Arrow file; want one with compressed buffers, as in pandas' to_feather(…, compression=\"zstd\")", name)
	}
	return ext + compressed, nil
}

// Files returns the relation of all files that match a path or glob, or that are in a folder now. The formats are Parquet, Arrow, CSV
// and JSON, determined by the file name; CSV and JSON may be compressed. Files with different columns are read with the union of their
// columns. A new file with a renamed column is therefore a schema change and not an error.
func (s *Source) Files(path, timeColumn string) (Relation, error) {
	if s.typ != DuckDB {
		return Relation{}, fmt.Errorf("files are read by a source of type %q only, this one is %q", DuckDB, s.typ)
	}
	what, name := s.dialect.text(path), path
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		found, err := folderFiles(path)
		if err != nil {
			return Relation{}, err
		}
		what, name = "["+texts(s.dialect, found)+"]", found[0]
	}
	format, err := formatOf(name)
	if err != nil {
		return Relation{}, unnamed(err)
	}
	if err := checkRemote(path, format); err != nil {
		return Relation{}, err
	}
	r := Relation{Time: timeColumn, files: &files{reader: readers[format], path: path, what: what}}
	return r.ReadAs(Reading{}, s), nil
}

// checkRemote rejects Arrow files at a URL, because each read would download the whole file.
func checkRemote(path, format string) error {
	if strings.Contains(path, "://") && readers[format] == readArrow {
		return fmt.Errorf("%q: Arrow files are read from a disk only; want Parquet, of which DuckDB fetches what it needs, or a local or mounted folder", path)
	}
	return nil
}

// unnamed adds a remedy to the error about an unknown extension.
func unnamed(err error) error {
	return fmt.Errorf("%w; want a folder, or a file or glob with such a name", err)
}

func formatOf(name string) (string, error) {
	ext, err := Extension(name)
	if err != nil {
		return "", err
	}
	format, _, _ := strings.Cut(ext[1:], ".")
	return format, nil
}

// folderFiles returns the sorted data files below a folder. It skips names that begin with a dot or an underscore. They belong to the
// writer of the folder, such as _SUCCESS and _temporary of Spark.
func folderFiles(dir string) ([]string, error) {
	var files []string
	formats := make(map[string]string)                                                                               // reader to the first file that needs it
	err := filepath.WalkDir(strings.TrimRight(dir, "/")+"/", func(path string, entry fs.DirEntry, err error) error { // The slash follows a link.
		if err != nil {
			return err
		}
		if path = filepath.Clean(path); path != filepath.Clean(dir) && strings.ContainsRune("._", rune(entry.Name()[0])) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() {
			return nil
		}
		format, err := formatOf(path)
		if err != nil {
			return nil //nolint:nilerr // Not a data file, such as a README.
		}
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			return nil //nolint:nilerr // It was deleted, or is not a regular file.
		}
		if strings.ContainsAny(path, "*?[") {
			return fmt.Errorf("%q: the name would be taken for a glob; rename the file", path)
		}
		if len(files) == maxFolderFiles {
			return fmt.Errorf("%q: holds more than %d data files; want a glob such as %q", dir, maxFolderFiles, filepath.Join(dir, "**", "*."+format))
		}
		if _, ok := formats[readers[format]]; !ok {
			formats[readers[format]] = path
		}
		files = append(files, path)
		return nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("list the folder: %w", err)
	case len(files) == 0:
		return nil, fmt.Errorf("%q: holds no data file yet; want files that end in %s", dir, endings)
	case len(formats) > 1:
		paths := make([]string, 0, len(formats))
		for _, f := range formats {
			paths = append(paths, f)
		}
		slices.Sort(paths)
		return nil, fmt.Errorf("%q: holds files of different formats, such as %q; want a glob of one, such as %q", dir, paths, filepath.Join(dir, "*"+filepath.Ext(paths[0])))
	}
	slices.Sort(files)
	return files, nil
}

// ErrLater marks the problem of files that do not exist yet.
var ErrLater = errors.New("it may be delivered later")

// CheckFiles checks a path or glob without reading data. An error that is ErrLater may disappear when files are delivered; other errors
// are permanent.
func CheckFiles(path string) error {
	if strings.Contains(path, "://") {
		format, err := formatOf(path)
		if err != nil {
			return unnamed(err)
		}
		return checkRemote(path, format)
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		if _, err := folderFiles(path); err != nil {
			return fmt.Errorf("%w (%w)", err, ErrLater)
		}
		return nil
	}
	if _, err := Extension(path); err != nil {
		return unnamed(err)
	}
	if err == nil {
		return nil
	}
	pattern := strings.ReplaceAll(path, "**", "*")
	matches, globErr := filepath.Glob(pattern)
	switch {
	case globErr != nil:
		return fmt.Errorf("%q: is no glob (%w); want every [ closed by a ]", path, globErr)
	case strings.Contains(path, "**"):
		return nil // Only DuckDB expands ** to any depth.
	case len(matches) > 0:
		return nil
	case strings.ContainsAny(path, "*?["):
		return fmt.Errorf("%q: matches no file (%w)", path, ErrLater)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%q: does not exist (%w)", path, ErrLater)
	}
	return fmt.Errorf("%q: %w", path, err)
}
