package bill

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Options configure a Reader.
type Options struct {
	Cost  Cost
	Rules []Rule
	// Observability are rules for rows that pay for observability, besides those of the subcategory Observability.
	Observability []Rule
	// Metered are rules for rows that pay for metered usage. Without rules all rows do. GPUs are rules for machines
	// with GPUs.
	Metered []Rule
	GPUs    []GPURule
	// InvoiceRates uses the exchange rates in the rows.
	InvoiceRates bool
	// Departments are names with their spelling. Other names, from tags and sub-accounts, are in lower case, so that
	// Search and SEARCH are one department. KeepCase keeps every name as it is.
	Departments []string
	KeepCase    bool
	// Zone is the time zone of the books.
	Zone *time.Location
	// MemoryLimit bounds the database that reads Parquet, in bytes. Threads is its number of threads. TempDir receives
	// data that does not fit into memory.
	MemoryLimit int64
	Threads     int
	TempDir     string
}

// maxProblems is the number of rows that are reported. All others are only counted.
const maxProblems = 10

// Reader reads files, one at a time.
type Reader struct {
	options  Options
	rules    *ruleSet
	spelling map[string]string
	seed     maphash.Seed // hashes running totals
	db       *sql.DB      // reads Parquet; nil until the first Parquet file
}

// NewReader compiles the rules.
func NewReader(o Options) (*Reader, error) {
	if o.Zone == nil || (o.Cost != Effective && o.Cost != Billed) {
		return nil, fmt.Errorf("a reader of bills needs a time zone, and %q or %q as cost", Effective, Billed)
	}
	r := &Reader{options: o, rules: compile(o), spelling: map[string]string{}, seed: maphash.MakeSeed()}
	for _, rule := range o.Rules {
		r.spelling[strings.ToLower(rule.Department)] = rule.Department
	}
	for _, name := range append(slices.Clone(o.Departments), Unallocated) {
		r.spelling[strings.ToLower(name)] = name
	}
	return r, nil
}

// TakeOver says whether another reader makes the same of a file. Then this one, which has read nothing yet, goes on as that one did, and
// a ledger may take over what that one has read.
func (r *Reader) TakeOver(from *Reader) bool {
	// The memory that reading takes, and where, changes nothing of what is read; two zones of one name are one.
	content := func(o Options) Options {
		o.MemoryLimit, o.Threads, o.TempDir, o.Zone = 0, 0, "", nil
		return o
	}
	if r.options.Zone.String() != from.options.Zone.String() || !reflect.DeepEqual(content(r.options), content(from.options)) {
		return false
	}
	r.seed = from.seed
	return true
}

// Close closes the database.
func (r *Reader) Close() error {
	if r.db == nil {
		return nil
	}
	return r.db.Close()
}

// spell returns the spelling of a department.
func (r *Reader) spell(name string) string {
	if r.options.KeepCase {
		return name
	}
	lower := strings.ToLower(name)
	if known, ok := r.spelling[lower]; ok {
		return known
	}
	return lower
}

// Read reads a file. Rows that cannot be read are reported in the sheet. The error means that the file cannot be read
// at all.
func (r *Reader) Read(ctx context.Context, path string) (Sheet, error) {
	read := r.readCSV
	switch lower := strings.ToLower(path); {
	case strings.HasSuffix(lower, ".parquet"):
		read = r.readParquet
	case !readable(lower):
		return Sheet{}, fmt.Errorf("read bill %s: its name ends in none of %s", path, strings.Join(suffixes, ", "))
	}
	sheet, err := read(ctx, path)
	if err != nil {
		return Sheet{}, fmt.Errorf("read bill %s: %w", path, err)
	}
	return sheet, nil
}

// cancelEvery is the number of records between two checks of the context.
const cancelEvery = 1 << 14

func (r *Reader) readCSV(ctx context.Context, path string) (Sheet, error) {
	var all Sheet
	err := texts(path, func(name string, in io.Reader) error {
		sheet, err := r.readText(ctx, name, in)
		all.add(sheet)
		return err
	})
	return all, err
}

func (r *Reader) readText(ctx context.Context, name string, in io.Reader) (Sheet, error) {
	in, err := asUTF8(in)
	if err != nil {
		return Sheet{}, err
	}
	records := newRecords(in, 0)
	header, err := records.header()
	if err != nil {
		return Sheet{}, err
	}
	l, err := r.layoutOf(header)
	if err != nil {
		return Sheet{}, err
	}
	t := newTally(r, name, l, new(unquoter).text)
	for n := 1; ; n++ {
		if n%cancelEvery == 0 && ctx.Err() != nil {
			return Sheet{}, ctx.Err()
		}
		switch err := records.read(); {
		case errors.Is(err, io.EOF):
			return t.result(), nil
		case err != nil:
			return Sheet{}, err
		case records.bad != "":
			t.malformed(records, records.bad)
		case len(records.fields) != len(header):
			t.malformed(records, fmt.Sprintf("one value for each of %d columns, not %d", len(header), len(records.fields)))
		default:
			t.line(records.fields, records.line)
		}
	}
}

// header reads the names of the columns and finds their separator.
func (r *records) header() ([]string, error) {
	if _, err := r.lineEnd(0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("names of the columns: %w", err)
	}
	end, _ := r.lineEnd(0)
	r.delim = delimiter(r.buf[r.begin : r.begin+end])
	switch err := r.read(); {
	case errors.Is(err, io.EOF):
		return nil, errors.New("is empty, expected a line with the names of the columns")
	case err != nil:
		return nil, fmt.Errorf("names of the columns: %w", err)
	case r.bad != "":
		return nil, fmt.Errorf("line %d: names of the columns: expected %s", r.line, r.bad)
	}
	var names []string
	var u unquoter
	for _, field := range r.fields {
		names = append(names, string(u.text(field)))
	}
	return names, nil
}

// malformed counts a line that is not a record.
func (t *tally) malformed(r *records, want string) {
	t.sheet.Rows++
	value := strings.ToValidUTF8(string(r.raw[:min(len(r.raw), maxValue)]), "�")
	t.reject(1, Problem{File: t.file, Line: r.line, Column: "the line", Value: value, Want: want})
}

// add adds the content of another file of the same archive.
func (s *Sheet) add(o Sheet) {
	if s.Periods == nil {
		*s = o
		return
	}
	s.Lines = append(s.Lines, o.Lines...)
	s.Rows, s.Rejected, s.UnreadTags = s.Rows+o.Rows, s.Rejected+o.Rejected, s.UnreadTags+o.UnreadTags
	s.Problems = append(s.Problems, o.Problems...)
	s.Problems = s.Problems[:min(len(s.Problems), maxProblems)]
	for period, c := range o.Periods {
		s.Periods[period] = s.Periods[period].plus(c)
	}
	if o.Through.After(s.Through) {
		s.Through = o.Through
	}
}
