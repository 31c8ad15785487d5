// Package store stores the state of the responder: alerts, actions, reviews, incidents and the audit trail.
//
// Input: transactions of other packages. Output: the same state after any crash: a committed transaction is on disk. State:
// an SQLite database for one responder, or PostgreSQL for several replicas. Each table belongs to one package (see
// migrations.go). This package owns the connection, the schema's version and the differences between the two databases. It
// never interprets the contents of a table.
//
// To add a table, append a migration to the list in migrations.go (never edit a released one) and put the statements that use
// it into a package of its own. SQL is written once for both databases: only TEXT and BIGINT, times as Micros, JSON as TEXT,
// `?` for parameters. INSERT … ON CONFLICT and RETURNING are allowed.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // driver "sqlite"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// Config locates the database.
type Config struct {
	// Path is the SQLite database. The default is "responder.db" in $STATE_DIRECTORY or, without it, beside the configuration
	// file.
	Path config.Path `yaml:"path"`
	// PostgreSQL is the connection string of a database that several replicas share. It may contain a password.
	PostgreSQL config.SecretSource `yaml:"postgresql,omitempty"`
}

// Validate implements config.Validator.
func (c *Config) Validate(at config.At) {
	if !at.Has("path") && !at.Has("postgresql") {
		c.Path = config.Path(at.State("path", "responder.db"))
	}
	if at.Has("path") && at.Has("postgresql") {
		at.Errorf("postgresql", "stands beside path; want one of them")
	}
}

// lockTimeout is the maximum wait of a transaction for a lock and for a connection.
const lockTimeout = 10 * time.Second

// ErrNewer means that a later version of the program has written the database.
var ErrNewer = errors.New("the database was written by a newer version")

// Store is an open database.
type Store struct {
	postgres    bool
	write, read *sql.DB
	path        string   // path of the SQLite database, for Own
	lock        *os.File // of Own
}

// Open connects and migrates the schema.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := connect(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the store: %w", err), s.Close())
	}
	return s, nil
}

// OpenExisting opens a store for reading. It does not create a database and does not migrate the schema.
func OpenExisting(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.PostgreSQL == (config.SecretSource{}) {
		if _, err := os.Stat(string(cfg.Path)); err != nil {
			return nil, fmt.Errorf("open the store: %w", err)
		}
	}
	s, err := connect(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.Read(ctx, func(tx *Tx) error {
		version, err := schemaVersion(tx)
		if err == nil && version != len(migrations) {
			err = fmt.Errorf("its schema has version %d, this program's is %d; use the program of the responder's version", version, len(migrations))
		}
		return err
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("open the store: %w", err), s.Close())
	}
	return s, nil
}

func connect(cfg Config) (*Store, error) {
	if cfg.PostgreSQL != (config.SecretSource{}) {
		dsn, err := cfg.PostgreSQL.Read()
		if err != nil {
			return nil, fmt.Errorf("open the store: %w", err)
		}
		parsed, err := pgx.ParseConfig(dsn.Reveal())
		if err != nil {
			// pgx's error would contain the password.
			return nil, errors.New("open the store: the connection string is no PostgreSQL one; want postgres://user:password@host:port/database")
		}
		parsed.RuntimeParams["lock_timeout"] = strconv.Itoa(int(lockTimeout.Milliseconds()))
		parsed.RuntimeParams["application_name"] = "sightglass-responder"
		db := stdlib.OpenDB(*parsed)
		db.SetMaxOpenConns(16)
		return &Store{postgres: true, write: db, read: db}, nil
	}
	path := string(cfg.Path)
	if path == "" {
		return nil, errors.New("open the store: no path given")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	// Labels and excerpts are confidential. SQLite gives its journals the mode of the database.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	open := func(extra string, connections int) (*sql.DB, error) {
		// FULL waits for the disk at each commit; WAL without it loses the last commits in a power failure.
		db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+fmt.Sprintf(
			"?_pragma=busy_timeout(%d)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)", lockTimeout.Milliseconds())+extra)
		if err != nil {
			return nil, fmt.Errorf("open the store: %w", err)
		}
		db.SetMaxOpenConns(connections)
		return db, nil
	}
	// A single connection writes, so that writers of this process queue in order instead of polling for the lock.
	s := &Store{path: path}
	if s.write, err = open("&_txlock=immediate", 1); err != nil {
		return nil, err
	}
	if s.read, err = open("&_pragma=query_only(1)", 4); err != nil {
		return nil, errors.Join(err, s.write.Close())
	}
	return s, nil
}

// Own locks a SQLite database for this process; others may still read it. It returns false for PostgreSQL, which replicas
// share.
func (s *Store) Own() (bool, error) {
	if s.postgres {
		return false, nil
	}
	var err error
	if s.lock, err = lockFile(s.path + ".lock"); err != nil {
		return false, fmt.Errorf("another process works on the store; replicas need PostgreSQL: %w", err)
	}
	return true, nil
}

// Close ends the connections.
func (s *Store) Close() error {
	err := s.write.Close()
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	if s.read != s.write {
		err = errors.Join(err, s.read.Close())
	}
	return err
}

// PostgreSQL reports whether replicas may share the state.
func (s *Store) PostgreSQL() bool { return s.postgres }

// Ping checks that the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.read.PingContext(ctx); err != nil {
		return fmt.Errorf("reach the store: %w", err)
	}
	return nil
}

// attempts is the maximum number of attempts of a transaction that the database aborts because of a conflict.
const attempts = 5

// Write runs f in a transaction and commits it, or rolls back if f fails. The database may abort a transaction because of a
// conflict. f then runs again, so it must not keep results of the first run.
func (s *Store) Write(ctx context.Context, f func(tx *Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, 3*lockTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		err := s.run(ctx, s.write, nil, f)
		var broken *pgconn.PgError
		// 40001 is a serialization failure, 40P01 a deadlock.
		if err == nil || attempt == attempts || !errors.As(err, &broken) || broken.Code != "40001" && broken.Code != "40P01" {
			return err
		}
	}
}

// Read runs f in a read-only transaction on one snapshot of the database.
func (s *Store) Read(ctx context.Context, f func(tx *Tx) error) error {
	var o *sql.TxOptions // SQLite transactions always read one snapshot.
	if s.postgres {
		o = &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
	}
	return s.run(ctx, s.read, o, f)
}

func (s *Store) run(ctx context.Context, db *sql.DB, o *sql.TxOptions, f func(tx *Tx) error) error {
	sqlTx, err := db.BeginTx(ctx, o)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	if err := f(&Tx{ctx: ctx, tx: sqlTx, postgres: s.postgres}); err != nil {
		return errors.Join(err, rollback(sqlTx))
	}
	if err := sqlTx.Commit(); err != nil {
		return fmt.Errorf("commit a transaction: %w", err)
	}
	return nil
}

func rollback(tx *sql.Tx) error {
	if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
		return fmt.Errorf("roll a transaction back: %w", err)
	}
	return nil
}

// Tx is a transaction. It ends with the context of its Write or Read.
type Tx struct {
	ctx      context.Context //nolint:containedctx // A Tx exists only during the call that has the context.
	tx       *sql.Tx
	postgres bool
}

// Exec runs a statement and returns how many rows it changed.
func (t *Tx) Exec(query string, args ...any) (int64, error) {
	res, err := t.tx.ExecContext(t.ctx, t.numbered(query), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// Query returns the rows of a statement; the caller closes them.
func (t *Tx) Query(query string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(t.ctx, t.numbered(query), args...)
}

// Each calls f with the Scan of each row of a statement, until f returns an error.
func (t *Tx) Each(query string, args []any, f func(scan func(...any) error) error) error {
	rows, err := t.Query(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// QueryRow returns the first row of a statement; its Scan returns sql.ErrNoRows if there is none.
func (t *Tx) QueryRow(query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(t.ctx, t.numbered(query), args...)
}

// Lock blocks other transactions that lock the same name until this one ends. In SQLite, writing transactions always do that.
func (t *Tx) Lock(name string) error {
	if !t.postgres {
		return nil
	}
	_, err := t.Exec("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", "sightglass/"+name)
	return err
}

// SkipLocked is the end of a SELECT whose rows this transaction claims. It skips rows that other transactions are claiming.
func (t *Tx) SkipLocked() string {
	if t.postgres {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}

// numbered converts `?` into PostgreSQL's $1, $2, … All queries are constants, and none has a quoted question mark.
func (t *Tx) numbered(query string) string {
	if !t.postgres {
		return query
	}
	var b strings.Builder
	n := 0
	for _, c := range query {
		if c != '?' {
			b.WriteRune(c)
			continue
		}
		n++
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}

// Micros converts a time for storage: microseconds since 1970, 0 for the zero time.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time converts the result of Micros back.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
