package tables

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/tables/internal/arrowfile"
)

// files is a relation of the files that match a path or glob, or that are in a folder.
type files struct {
	// reader is the DuckDB function that reads the files.
	reader string
	// path is the configured path, glob or folder.
	path string
	// what is the SQL of the path, or of the list of the folder's files.
	what string
}

// guessed reports whether DuckDB guesses the types of the columns, because text files contain no types.
func (f *files) guessed() bool { return f.reader != "read_parquet" && f.reader != readArrow }

// folders returns the path of one of the files. Its folders may contain values of columns, as in day=2026-11-24.
func (s *Source) folders(ctx context.Context, r Relation) (string, error) {
	if r.files == nil {
		return "", nil
	}
	if !strings.ContainsAny(r.files.path, "*?[") {
		return r.files.what, nil
	}
	row, err := s.queryRow(ctx, "SELECT min(file) FROM glob("+r.files.what+")", 1)
	if err != nil {
		return "", err
	}
	return toText(row[0]), nil
}

// errEmpty means that no file of the relation has any content, so that it has no columns.
var errEmpty = errors.New("no file has any content")

// scope is the SQL after FROM for the files that exist now.
type scope struct {
	from string
	// skipped are the files that cannot be read.
	skipped []string
}

// open returns the SQL after FROM. It leaves out empty files, because DuckDB would invent a column for them. With on_unreadable: skip
// it also leaves out files that cannot be read.
func (s *Source) open(ctx context.Context, r Relation) (scope, error) {
	f := r.files
	if f == nil {
		return scope{from: r.from}, nil
	}
	skip := r.reading.OnUnreadable == SkipUnreadable
	if f.reader == readArrow {
		return s.openArrow(ctx, r)
	}
	if !f.guessed() && !skip {
		return scope{from: r.from}, nil
	}
	names, empty, err := s.list(ctx, f.what)
	if err != nil {
		return scope{}, err
	}
	if len(names)+len(empty) == 0 || len(empty) == 0 && !skip {
		return scope{from: r.from}, nil // DuckDB reports the missing file.
	}
	var sc scope
	if f.guessed() {
		if len(names) == 0 {
			return scope{}, errEmpty
		}
	} else {
		sc.skipped = empty
	}
	if skip && len(names) > 0 && s.readable(ctx, s.read(r, names...)) != nil {
		var good []string
		for _, name := range names {
			if s.readable(ctx, s.read(r, name)) == nil {
				good = append(good, name)
			} else {
				sc.skipped = append(sc.skipped, name)
			}
		}
		names = good
	}
	if ctx.Err() != nil {
		return scope{}, ctx.Err()
	}
	if len(names) == 0 {
		return scope{}, noneReadable(f.path, sc.skipped)
	}
	sc.from = s.read(r, names...)
	return sc, nil
}

func noneReadable(path string, skipped []string) error {
	return fmt.Errorf("none of the %d files that match %q can be read; the first is %q", len(skipped), path, skipped[0])
}

// openArrow is open for Arrow files: the SQL reads their Parquet copies.
func (s *Source) openArrow(ctx context.Context, r Relation) (scope, error) {
	names, empty, err := s.list(ctx, r.files.what)
	if err != nil {
		return scope{}, err
	}
	if len(names)+len(empty) == 0 {
		return scope{}, fmt.Errorf("no file matches %q", r.files.path)
	}
	var sc scope
	var copies []string
	for _, name := range append(names, empty...) {
		copied, err := s.arrow.Of(ctx, name)
		switch {
		case err == nil:
			copies = append(copies, copied)
		case r.reading.OnUnreadable == SkipUnreadable && errors.Is(err, arrowfile.ErrUnreadable):
			sc.skipped = append(sc.skipped, name)
		default:
			return scope{}, err
		}
	}
	if len(copies) == 0 {
		return scope{}, noneReadable(r.files.path, sc.skipped)
	}
	sc.from = "read_parquet([" + texts(s.dialect, copies) + "], union_by_name = true)"
	return sc, nil
}

// list returns the files that match, and separately those that are empty.
func (s *Source) list(ctx context.Context, what string) (names, empty []string, err error) {
	rows, err := s.query(ctx, "SELECT filename, size FROM read_blob("+what+") ORDER BY filename")
	if err != nil {
		return nil, nil, fmt.Errorf("list files: %w", s.redact(err))
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var size int64
		if err := rows.Scan(&name, &size); err != nil {
			return nil, nil, fmt.Errorf("list files: %w", err)
		}
		if size == 0 {
			empty = append(empty, name)
		} else {
			names = append(names, name)
		}
	}
	return names, empty, rows.Err()
}

// readable returns the error of reading the columns of files.
func (s *Source) readable(ctx context.Context, from string) error {
	rows, err := s.query(ctx, "SELECT * FROM "+from+" AS t LIMIT 0")
	if err != nil {
		return err
	}
	defer rows.Close()
	return rows.Err()
}

// read returns the SQL that reads files.
func (s *Source) read(r Relation, names ...string) string {
	what := r.files.what
	if len(names) > 0 {
		what = "[" + texts(s.dialect, names) + "]"
	}
	arguments := []string{what, "union_by_name = true"}
	if r.files.reader == "read_csv" {
		arguments = append(arguments, r.reading.csvOptions(s.dialect)...)
	}
	return r.files.reader + "(" + strings.Join(arguments, ", ") + ")"
}

// explain shortens DuckDB's error about a CSV file. It keeps the location and the value, and replaces DuckDB's advice by the settings
// of this configuration.
func explain(text string) string {
	if !strings.Contains(text, "CSV Error") && !strings.Contains(text, "CSV file") {
		return text
	}
	for _, advice := range []string{"Possible Solution", "Possible solutions", "Possible fixes"} {
		text, _, _ = strings.Cut(text, advice)
	}
	const most = 4
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); len(line) > 200 {
			line = strings.ToValidUTF8(line[:200], "") + "…"
		}
		if line != "" && len(lines) < most {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ") +
		"; expected values of one type in each column: give this dataset missing_values (texts that stand for a missing value), or csv: {delimiter, decimal, quote, encoding, header, sample_rows}"
}
