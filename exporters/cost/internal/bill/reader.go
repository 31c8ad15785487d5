package bill

import (
	"bufio"
	"compress/gzip"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"
	"github.com/shopspring/decimal"
)

// Options of a Reader.
type Options struct {
	Cost  Cost
	Rules []Rule
	// Observability are rules for lines that pay for watching the rest, beside those of the subcategory Observability.
	Observability []Rule
	// Zone is that of the books.
	Zone *time.Location
	// MemoryLimit bounds the database, in bytes; Threads are its threads; TempDir receives what does not fit.
	MemoryLimit int64
	Threads     int
	TempDir     string
}

// maxProblems is how many lines are named; the others are counted.
const maxProblems = 10

// maxLine is the longest line of a CSV file, in bytes. The database reads in blocks of 16 of them.
const maxLine = 1 << 20

// Reader reads files, one at a time.
type Reader struct {
	db      *sql.DB
	options Options
}

// NewReader opens the database.
func NewReader(o Options) (*Reader, error) {
	if o.Zone == nil || (o.Cost != Effective && o.Cost != Billed) {
		return nil, fmt.Errorf("a reader of bills needs a time zone, and %q or %q as cost", Effective, Billed)
	}
	settings := url.Values{
		"memory_limit": {fmt.Sprintf("%dB", max(o.MemoryLimit, 128<<20))},
		"threads":      {fmt.Sprint(max(o.Threads, 1))},
		// The order of rows means nothing to a sum, and keeping it costs memory.
		"preserve_insertion_order": {"false"},
	}
	if o.TempDir != "" {
		settings.Set("temp_directory", o.TempDir)
	}
	connector, err := duckdb.NewConnector("?"+settings.Encode(), func(conn driver.ExecerContext) error {
		_, err := conn.ExecContext(context.Background(), "SET TimeZone = 'UTC'", nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the database that reads bills: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1) // Its tables of rejected lines belong to a connection.
	return &Reader{db: db, options: o}, nil
}

// Close frees the database.
func (r *Reader) Close() error { return r.db.Close() }

// Read reads a file. Lines that cannot be read are in the sheet; the error says that the file as a whole cannot.
func (r *Reader) Read(ctx context.Context, path string) (Sheet, error) {
	sheet, err := r.read(ctx, path)
	if err != nil {
		return Sheet{}, fmt.Errorf("read bill %s: %w", path, err)
	}
	return sheet, nil
}

func (r *Reader) read(ctx context.Context, path string) (sheet Sheet, err error) {
	f, err := r.open(ctx, path)
	if err != nil {
		return Sheet{}, err
	}
	q, err := r.query(f)
	if err != nil {
		return Sheet{}, err
	}
	rows, err := r.db.QueryContext(ctx, q.sums)
	if err != nil {
		return Sheet{}, err
	}
	defer rows.Close()
	for rows.Next() {
		var l Line
		var n int64
		var problem bool
		var amount duckdb.Decimal
		var period, day, rateDay, through sql.NullTime
		var currency sql.NullString
		var sum any
		if err := rows.Scan(&problem, &period, &day, &rateDay, &currency, &l.Department, &l.Service, &l.Category, &l.Observability, &l.Running, &sum, &n, &through); err != nil {
			return Sheet{}, err
		}
		sheet.Rows += n
		if problem {
			sheet.Rejected += n
			continue
		}
		var ok bool
		if amount, ok = sum.(duckdb.Decimal); !ok {
			return Sheet{}, fmt.Errorf("a sum is a %T, expected a decimal", sum)
		}
		l.Period, l.Day, l.RateDay, l.Currency = period.Time.UTC(), day.Time.UTC(), rateDay.Time.UTC(), currency.String
		l.Rows = n
		l.Amount = decimal.NewFromBigInt(amount.Value, -int32(amount.Scale))
		sheet.Lines = append(sheet.Lines, l)
		if l.Running && through.Valid && through.Time.After(sheet.Through) {
			sheet.Through = through.Time.UTC()
		}
	}
	if err := rows.Err(); err != nil {
		return Sheet{}, err
	}
	slices.SortFunc(sheet.Lines, compareLines)
	if err := r.malformed(ctx, f, &sheet); err != nil {
		return Sheet{}, err
	}
	if sheet.Rejected > int64(len(sheet.Problems)) {
		if err := r.problems(ctx, f, q, &sheet); err != nil {
			return Sheet{}, err
		}
	}
	return sheet, nil
}

func compareLines(a, b Line) int {
	for _, c := range []int{
		a.Period.Compare(b.Period), a.Day.Compare(b.Day), a.RateDay.Compare(b.RateDay), strings.Compare(a.Currency, b.Currency),
		strings.Compare(a.Department, b.Department), strings.Compare(a.Service, b.Service), strings.Compare(a.Category, b.Category),
	} {
		if c != 0 {
			return c
		}
	}
	return 0
}

// file is a file as the database sees it.
type file struct {
	path string
	// table is what to select from; csv says that it is text.
	table string
	csv   bool
	// columns are the names in the file by their names in FOCUS, types those of the database.
	columns, types map[string]string
}

func (r *Reader) open(ctx context.Context, path string) (file, error) {
	f := file{path: path, columns: map[string]string{}, types: map[string]string{}}
	name := strings.ToLower(filepath.Base(path))
	switch {
	case strings.HasSuffix(name, ".parquet"):
		f.table = "read_parquet(" + text(path) + ")"
		rows, err := r.db.QueryContext(ctx, "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM "+f.table+")")
		if err != nil {
			return file{}, err
		}
		defer rows.Close()
		for rows.Next() {
			var column, typ string
			if err := rows.Scan(&column, &typ); err != nil {
				return file{}, err
			}
			f.add(column, typ)
		}
		return f, rows.Err()
	case strings.HasSuffix(name, ".csv"), strings.HasSuffix(name, ".csv.gz"):
		header, err := header(path)
		if err != nil {
			return file{}, err
		}
		var columns []string
		seen := map[string]bool{}
		for i, column := range header {
			if seen[strings.ToLower(column)] {
				return file{}, fmt.Errorf("line 1: column %d: %q is there twice", i+1, column)
			}
			seen[strings.ToLower(column)] = true
			columns = append(columns, text(column)+": 'VARCHAR'")
			f.add(column, "VARCHAR")
		}
		// Every value is read as text: what it means is said below, and not guessed from the first lines.
		f.table = fmt.Sprintf("read_csv(%s, columns = {%s}, header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"',"+
			" max_line_size = %d, ignore_errors = true, store_rejects = true)", text(path), strings.Join(columns, ", "), maxLine)
		f.csv = true
		return f, nil
	}
	return file{}, errors.New("its name ends in none of .csv, .csv.gz and .parquet")
}

// add knows a column by its name in FOCUS, whatever its case and the blanks around it.
func (f *file) add(column, typ string) {
	name := strings.ToLower(strings.TrimSpace(column))
	if _, ok := f.columns[name]; !ok {
		f.columns[name], f.types[name] = column, typ
	}
}

// header reads the first line.
func header(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(strings.ToLower(path), ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	buffered := bufio.NewReader(io.LimitReader(in, maxLine))
	if mark, _ := buffered.Peek(3); string(mark) == "\xef\xbb\xbf" {
		_, _ = buffered.Discard(3)
	}
	names, err := csv.NewReader(buffered).Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("is empty, expected a line with the names of the columns")
	}
	if err != nil {
		return nil, fmt.Errorf("names of the columns: %w", err)
	}
	return names, nil
}

// malformed counts and names the lines that are no CSV, as the database noted them while it read.
func (r *Reader) malformed(ctx context.Context, f file, sheet *Sheet) error {
	if !f.csv {
		return nil
	}
	defer func() {
		_, _ = r.db.ExecContext(ctx, "DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
	}()
	rows, err := r.db.QueryContext(ctx, "SELECT line, any_value(coalesce(column_name, '')), any_value(left(csv_line, 200)), any_value(error_type)"+
		" FROM reject_errors GROUP BY line ORDER BY line")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		p := Problem{File: f.path}
		var kind string
		if err := rows.Scan(&p.Line, &p.Column, &p.Value, &kind); err != nil {
			return err
		}
		p.Column, p.Want = "the line", "one value for each column ("+strings.ToLower(kind)+")"
		sheet.Rows++
		sheet.Rejected++
		if len(sheet.Problems) < maxProblems {
			sheet.Problems = append(sheet.Problems, p)
		}
	}
	return rows.Err()
}

// problems names the lines whose values cannot be read.
func (r *Reader) problems(ctx context.Context, f file, q query, sheet *Sheet) error {
	if f.csv {
		defer func() {
			_, _ = r.db.ExecContext(ctx, "DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
		}()
	}
	// Several threads would number the rows as they come.
	if _, err := r.db.ExecContext(ctx, "SET threads = 1"); err != nil {
		return err
	}
	defer func() { _, _ = r.db.ExecContext(ctx, fmt.Sprint("SET threads = ", max(r.options.Threads, 1))) }()
	rows, err := r.db.QueryContext(ctx, q.problems)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		p := Problem{File: f.path}
		if err := rows.Scan(&p.Line, &p.Column, &p.Value, &p.Want); err != nil {
			return err
		}
		if f.csv {
			p.Line++ // the names of the columns
		}
		if len(sheet.Problems) < maxProblems {
			sheet.Problems = append(sheet.Problems, p)
		}
	}
	return rows.Err()
}
