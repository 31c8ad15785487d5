// Package tables counts the contents of database tables and files without fetching their rows.
//
// Input: a source (DuckDB for files, PostgreSQL, ClickHouse, Trino, MySQL, BigQuery), a relation in it, and the bin layouts of its
// columns. Output: the schema of the relation, and a Profile: rows, nulls, freshness, and the count of each bin of each column, all
// from one statement and one scan. State: a Source owns its connections and the Parquet copies of Arrow files. It keeps no counts
// between calls. The database does the counting, so the size of a result does not grow with the number of rows. The package never
// writes to a database.
package tables

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	_ "github.com/ClickHouse/clickhouse-go/v2" // The driver registers itself.
	"github.com/duckdb/duckdb-go/v2"
	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "github.com/trinodb/trino-go-client/trino" // The driver registers itself.

	"github.com/sightglass-ml/sightglass/internal/memory"
	"github.com/sightglass-ml/sightglass/internal/tables/internal/arrowfile"
)

// Type names a kind of database.
type Type string

// The databases that can be profiled.
const (
	DuckDB     Type = "duckdb"
	PostgreSQL Type = "postgres"
	ClickHouse Type = "clickhouse"
	Trino      Type = "trino"
	MySQL      Type = "mysql"
	BigQuery   Type = "bigquery"
)

// types are all supported databases.
var types = []Type{DuckDB, PostgreSQL, ClickHouse, Trino, MySQL, BigQuery}

// Options configure a source.
type Options struct {
	Type Type
	// DSN is the connection string. It never appears in an error. For DuckDB it is the path of a
	// database file, which is opened read-only, or empty for an in-memory database that reads files.
	DSN string
	// MaxConnections limits the number of concurrent statements. 0 means 4.
	MaxConnections int
	// MemoryLimit in bytes limits DuckDB's memory. 0 means 1 GiB, or half of the container's memory if that is less. Threads limits
	// DuckDB's threads; 0 means all cores. DuckDB spills data that exceeds the limit to TempDirectory. The default is a folder of the
	// source's own in the system's folder for temporary files.
	MemoryLimit   int64
	Threads       int
	TempDirectory string
	// ArrowDiskLimit in bytes limits the size of the Parquet copies of Arrow files. 0 means 10 GiB. The copies are in the folder that
	// DuckDB spills to, or beside it.
	ArrowDiskLimit int64
	// Init are statements that DuckDB runs on each new connection, such as LOAD of an extension or CREATE SECRET.
	Init []string
	// OnStatement, if not nil, is called with each statement before it runs.
	OnStatement func(statement string)
}

// Source is a database, reached through database/sql.
type Source struct {
	db      *sql.DB
	dialect dialect
	typ     Type
	// onStatement is Options.OnStatement, or nil.
	onStatement func(statement string)
	secrets     *strings.Replacer
	// virtual are the tables that the program computes itself; see OpenVirtual.
	virtual map[string]Virtual
	// arrow are the Parquet copies that DuckDB reads in place of Arrow files.
	arrow *arrowfile.Copies
	// dsn is the hash of the connection string.
	dsn [sha256.Size]byte
}

// Open prepares a source without connecting. A database that is down at start is therefore reached as soon as it is up.
func Open(o Options) (*Source, error) {
	s := &Source{typ: o.Type, onStatement: o.OnStatement, secrets: redactor(o.DSN), dsn: sha256.Sum256([]byte(o.DSN))}
	var err error
	switch o.Type {
	case DuckDB:
		o.setDefaults()
		s.dialect = duckDB{}
		s.arrow = &arrowfile.Copies{Parent: besideScratch(o.TempDirectory), Memory: o.MemoryLimit / 2, Disk: o.ArrowDiskLimit}
		s.db, err = openDuckDB(o)
	case PostgreSQL:
		s.dialect = postgreSQL{}
		s.db, err = openPostgreSQL(o)
	case ClickHouse:
		s.dialect = clickHouse{}
		s.db, err = sql.Open("clickhouse", o.DSN)
	case Trino:
		s.dialect = trino{}
		s.db, err = sql.Open("trino", o.DSN)
	case MySQL:
		s.dialect = mySQL{}
		s.db, err = openMySQL(o)
	case BigQuery:
		s.dialect = bigQuery{}
		s.db, err = openBigQuery(o)
	default:
		return nil, fmt.Errorf("unknown source type %q, expected one of %q", o.Type, types)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s source: %w", o.Type, s.redact(err))
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = 4
	}
	s.db.SetMaxOpenConns(o.MaxConnections)
	s.db.SetConnMaxIdleTime(5 * time.Minute)
	return s, nil
}

func openPostgreSQL(o Options) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(o.DSN)
	if err != nil {
		return nil, err
	}
	// Prepared statements fail after the table loses a column, and behind a pooler such as PgBouncer.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	// PostgreSQL compares times with and without a zone in the time zone of the session.
	cfg.RuntimeParams["timezone"] = "UTC"
	return stdlib.OpenDB(*cfg), nil
}

// setDefaults sets the defaults of DuckDB's options.
func (o *Options) setDefaults() {
	if o.MemoryLimit == 0 {
		o.MemoryLimit = memory.Half(1 << 30)
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.TempDirectory == "" {
		o.TempDirectory = Scratch(os.TempDir())
	}
	if o.ArrowDiskLimit == 0 {
		o.ArrowDiskLimit = 10 << 30
	}
}

func openDuckDB(o Options) (*sql.DB, error) {
	settings := url.Values{
		"memory_limit": {fmt.Sprintf("%dB", o.MemoryLimit)},
		"threads":      {fmt.Sprint(o.Threads)},
		// Counts do not depend on the order of rows, and keeping the order costs memory.
		"preserve_insertion_order": {"false"},
	}
	settings.Set("temp_directory", o.TempDirectory)
	if o.DSN != "" {
		settings.Set("access_mode", "READ_ONLY")
	}
	init := append([]string{"SET TimeZone = 'UTC'"}, o.Init...)
	connector, err := duckdb.NewConnector(o.DSN+"?"+settings.Encode(), func(conn driver.ExecerContext) error {
		for _, statement := range init {
			if _, err := conn.ExecContext(context.Background(), statement, nil); err != nil {
				return fmt.Errorf("initial statement %q: %w", firstWords(statement), err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// Scratch returns a folder below dir that no other source spills to. DuckDB's default is the working directory, which a service may not
// have write access to. DuckDB creates the folder at its first spill and removes it.
func Scratch(dir string) string {
	return filepath.Join(dir, fmt.Sprintf("%s%d-%d", scratchPrefix, os.Getpid(), scratches.Add(1)))
}

const scratchPrefix = "sightglass-duckdb-"

// besideScratch returns a folder that outlives the spill folder, which DuckDB removes.
func besideScratch(temp string) string {
	if strings.HasPrefix(filepath.Base(temp), scratchPrefix) {
		return filepath.Dir(temp)
	}
	return temp
}

// scratches numbers the spill folders of this process.
var scratches atomic.Int64

// firstWords identifies a statement in an error without the secrets that may follow.
func firstWords(statement string) string {
	words := strings.Fields(statement)
	return strings.Join(words[:min(2, len(words))], " ")
}

// Close closes the connections and removes the Parquet copies of Arrow files.
func (s *Source) Close() error {
	err := s.db.Close()
	if s.arrow != nil {
		err = errors.Join(err, s.arrow.Close())
	}
	return err
}

// query runs a statement. DuckDB reads a file in steps: it lists the files with their sizes, then reads the footers. If a job replaces
// a file by a rename between two steps, the statement fails and the next one succeeds. Therefore DuckDB gets one retry.
func (s *Source) query(ctx context.Context, statement string) (*sql.Rows, error) {
	if s.onStatement != nil {
		s.onStatement(statement)
	}
	rows, err := s.db.QueryContext(ctx, statement)
	if err == nil || s.typ != DuckDB || ctx.Err() != nil {
		return rows, err
	}
	return s.db.QueryContext(ctx, statement)
}

// redactedError hides secrets in the text of an error and keeps the error chain.
type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.err }

// redact removes the connection string and its password from a driver's error. Some drivers print the string that they could not parse
// or connect with.
func (s *Source) redact(err error) error {
	if err == nil {
		return nil
	}
	text := s.secrets.Replace(err.Error())
	if s.typ == DuckDB {
		text = explain(text)
	}
	if text == err.Error() {
		return err
	}
	return &redactedError{text, err}
}

func redactor(dsn string) *strings.Replacer {
	const hidden = "<hidden>"
	var pairs []string
	add := func(secret string) {
		if len(secret) > 2 {
			pairs = append(pairs, secret, hidden)
		}
	}
	if strings.ContainsAny(dsn, "@=") {
		add(dsn)
	}
	if u, err := url.Parse(dsn); err == nil && u.User != nil {
		if password, ok := u.User.Password(); ok {
			add(password)
			add(url.QueryEscape(password))
			add(url.PathEscape(password))
		}
		for key, values := range u.Query() {
			if k := strings.ToLower(key); strings.Contains(k, "password") || strings.Contains(k, "token") {
				for _, v := range values {
					add(v)
				}
			}
		}
	} else if userinfo, _, ok := strings.Cut(dsn, "@"); ok && strings.Contains(userinfo, ":") {
		// A URL with a password that url.Parse rejects.
		add(userinfo[strings.LastIndex(userinfo, ":")+1:])
	}
	if cfg, err := mysql.ParseDSN(dsn); err == nil {
		add(cfg.Passwd)
	}
	for _, part := range strings.Fields(dsn) {
		if value, ok := strings.CutPrefix(part, "password="); ok {
			add(strings.Trim(value, "'"))
		}
	}
	return strings.NewReplacer(pairs...)
}

// Relation is the data to profile: SQL that follows FROM, and the timestamp column.
type Relation struct {
	from string
	// Time is the name of the timestamp column. If it is empty, windows have no effect and there is no freshness.
	Time string
	// virtual, if not nil, is read in place of from.
	virtual Virtual
	// files is nil if the relation does not consist of files.
	files   *files
	reading Reading
	// part is the SQL condition that selects the rows of one partition of a Split, or empty for all rows.
	part string
}

// Table returns the relation of a table or view. The name may include the schema and catalog.
func (s *Source) Table(name, timeColumn string) Relation {
	if v, ok := s.virtual[name]; ok {
		return Relation{Time: timeColumn, virtual: v}
	}
	parts := strings.Split(name, ".")
	for i, p := range parts {
		parts[i] = s.dialect.identifier(p)
	}
	return Relation{from: strings.Join(parts, "."), Time: timeColumn}
}

// Query returns the relation of a SELECT statement.
func (s *Source) Query(query, timeColumn string) Relation {
	return Relation{from: "(\n" + strings.TrimRight(strings.TrimSpace(query), "; \n") + "\n)", Time: timeColumn}
}

// Window is a half-open interval [From, To) of record times. The zero value selects all rows.
type Window struct{ From, To time.Time }

// Column is a column of a relation.
type Column struct {
	Name string
	// Type is the type's name as the database spells it.
	Type  string
	Class Class
	// read is the SQL expression that converts the column to its class. Empty means the column's name.
	read string
	// partition reports that the column's values come from folder names, as in day=2026-11-24.
	partition bool
	// nanMissing reports that NaN is read as a missing value. withNaN is then what read is if NaN is a value.
	nanMissing bool
	withNaN    string
	// sinceEpoch reports that the column has numbers that are read as times since 1970, in a unit that is not configured.
	sinceEpoch bool
	// text reports that the values of a CSV file are read as text, without type detection.
	text bool
}

// Partition reports whether the names of folders hold the column's values.
func (c Column) Partition() bool { return c.partition }

// SinceEpoch reports whether the column has numbers that are read as times since 1970 although no unit is configured.
func (c Column) SinceEpoch() bool { return c.sinceEpoch }

// ErrNoColumn means that a column named in the configuration does not exist.
var ErrNoColumn = errors.New("no such column")

// Schema returns the columns of the relation in their order. It returns nil if all files are empty.
func (s *Source) Schema(ctx context.Context, r Relation) ([]Column, error) {
	sc, err := s.open(ctx, r)
	if errors.Is(err, errEmpty) {
		return nil, nil
	}
	var columns []Column
	if err == nil {
		r.from = sc.from
		columns, err = s.schema(ctx, r)
	}
	if err == nil && s.typ == PostgreSQL {
		err = s.name(ctx, columns)
	}
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", s.redact(err))
	}
	folders, err := s.folders(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	for i := range columns {
		r.reading.interpret(s.dialect, &columns[i], columns[i].Name == r.Time, r.files != nil)
		columns[i].partition = strings.Contains(folders, "/"+columns[i].Name+"=")
	}
	return columns, nil
}

func (s *Source) schema(ctx context.Context, r Relation) ([]Column, error) {
	if r.virtual != nil {
		return r.virtual.Schema(), nil
	}
	query := "SELECT * FROM " + r.from + " AS t LIMIT 0"
	describe := s.typ == ClickHouse
	if describe {
		// Over HTTP, ClickHouse sends no columns for a result without rows.
		query = "DESCRIBE TABLE (SELECT * FROM " + r.from + " AS t)"
	}
	rows, err := s.query(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	var columns []Column
	add := func(name, databaseType string) {
		columns = append(columns, Column{Name: name, Type: databaseType, Class: s.dialect.class(databaseType)})
	}
	if !describe {
		for _, t := range types {
			add(t.Name(), t.DatabaseTypeName())
			if s.typ == PostgreSQL && t.DatabaseTypeName() == "CHAR" {
				// In a comparison, PostgreSQL cuts the other text to its first byte.
				columns[len(columns)-1].read = "CAST(" + s.dialect.identifier(t.Name()) + " AS TEXT)"
			}
			if p, _, ok := t.DecimalSize(); s.typ == PostgreSQL && t.DatabaseTypeName() == "NUMERIC" && (!ok || p > 300) {
				columns[len(columns)-1].read = postgreSQL{}.doubleOfNumeric(s.dialect.identifier(t.Name()))
			}
		}
		return columns, rows.Err()
	}
	for rows.Next() {
		values, err := scan(rows, len(types))
		if err != nil {
			return nil, err
		}
		add(fmt.Sprint(values[0]), fmt.Sprint(values[1]))
	}
	return columns, rows.Err()
}

// condition returns the WHERE clause of a window, or an empty string.
func (s *Source) condition(r Relation, schema []Column, w Window) (string, error) {
	if r.Time == "" || w == (Window{}) {
		return "", nil
	}
	column, err := timeColumn(r, schema)
	if err != nil {
		return "", err
	}
	name := s.dialect.identifier(r.Time)
	var conditions []string
	if !w.From.IsZero() {
		conditions = append(conditions, name+" >= "+s.dialect.instant(w.From, column.Class))
	}
	if !w.To.IsZero() {
		conditions = append(conditions, name+" < "+s.dialect.instant(w.To, column.Class))
	}
	return " WHERE " + strings.Join(conditions, " AND "), nil
}

func timeColumn(r Relation, schema []Column) (Column, error) {
	for _, c := range schema {
		if c.Name != r.Time {
			continue
		}
		if !c.Class.isTime() {
			return Column{}, fmt.Errorf("timestamp column %q has type %s, expected a date, a timestamp, a number since 1970 or a text", r.Time, c.Type)
		}
		return c, nil
	}
	names := make([]string, len(schema))
	for i, c := range schema {
		names[i] = c.Name
	}
	return Column{}, fmt.Errorf("timestamp column %q: %w%s", r.Time, ErrNoColumn, hint(r.Time, names))
}

// hint names the column that was probably meant, if one has a similar spelling, and lists the existing columns.
func hint(name string, names []string) string {
	text := ""
	for _, n := range names {
		if strings.EqualFold(strings.ReplaceAll(n, "_", ""), strings.ReplaceAll(name, "_", "")) {
			text = fmt.Sprintf("; did you mean %q?", n)
		}
	}
	const most = 20
	if len(names) > most {
		return text + fmt.Sprintf("; the columns are %q and %d more", names[:most], len(names)-most)
	}
	return text + fmt.Sprintf("; the columns are %q", names)
}

// Rows counts the rows of the window.
func (s *Source) Rows(ctx context.Context, r Relation, w Window) (int64, error) {
	p, err := s.windowed(ctx, r, w)
	return p.Rows, err
}

// Latest returns the latest record time before the given instant, or the zero time if there is none.
func (s *Source) Latest(ctx context.Context, r Relation, before time.Time) (time.Time, error) {
	p, err := s.windowed(ctx, r, Window{To: before})
	return p.Latest, err
}

// windowed counts the rows of a window without counting any column.
func (s *Source) windowed(ctx context.Context, r Relation, w Window) (Profile, error) {
	var schema []Column
	if r.Time != "" {
		var err error
		if schema, err = s.Schema(ctx, r); err != nil {
			return Profile{}, err
		}
	}
	return s.Count(ctx, r, schema, w, Fields{}, w.To)
}

// Numbers runs an operator's query that returns one row, and reads the named columns as whole numbers. :window_start and :window_end in
// the query are replaced by the bounds of the window.
func (s *Source) Numbers(ctx context.Context, query string, w Window, columns ...string) ([]int64, error) {
	query = strings.NewReplacer(
		":window_start", s.dialect.instant(w.From, TimestampTZ),
		":window_end", s.dialect.instant(w.To, TimestampTZ)).Replace(query)
	row, err := s.queryNamedRow(ctx, query)
	if err != nil {
		return nil, err
	}
	numbers := make([]int64, len(columns))
	for i, name := range columns {
		value, ok := row[name]
		if !ok {
			return nil, fmt.Errorf("the query returns no column %q", name)
		}
		if numbers[i], err = toInt(value); err != nil {
			return nil, fmt.Errorf("column %q: %w", name, err)
		}
	}
	return numbers, nil
}

// Text runs an operator's query that returns one row with one value.
func (s *Source) Text(ctx context.Context, query string) (string, error) {
	row, err := s.queryNamedRow(ctx, query)
	if err != nil {
		return "", err
	}
	if len(row) != 1 {
		return "", fmt.Errorf("the query returns %d columns, expected 1", len(row))
	}
	for _, v := range row {
		return toText(v), nil
	}
	return "", nil
}

func (s *Source) queryNamedRow(ctx context.Context, query string) (map[string]any, error) {
	rows, err := s.query(ctx, query)
	if err != nil {
		return nil, s.redact(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, s.redact(err)
	}
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return nil, s.redact(err)
		}
		return nil, errors.New("the query returns no row, expected one")
	}
	values, err := scan(rows, len(names))
	if err != nil {
		return nil, s.redact(err)
	}
	if rows.Next() {
		return nil, errors.New("the query returns more than one row")
	}
	row := make(map[string]any, len(names))
	for i, n := range names {
		row[n] = values[i]
	}
	return row, s.redact(rows.Err())
}

func scan(rows *sql.Rows, n int) ([]any, error) {
	values, pointers := make([]any, n), make([]any, n)
	for i := range values {
		pointers[i] = &values[i]
	}
	if err := rows.Scan(pointers...); err != nil {
		return nil, err
	}
	for i, v := range values {
		// ClickHouse's driver returns a pointer for nullable values.
		if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && p.Type() != reflect.TypeFor[*big.Int]() {
			values[i] = nil
			if !p.IsNil() {
				values[i] = p.Elem().Interface()
			}
		}
	}
	return values, nil
}
