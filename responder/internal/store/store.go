// Package store keeps the state of the responder: alerts, actions, reviews and the audit trail.
//
// Input: transactions of the packages beside it. Output: the same state after any crash: a transaction that
// returned is on the disk. SQLite holds it for one responder, PostgreSQL for several replicas. The tables belong to
// the packages that own the matter (see migrations.go); this one owns the connection, the schema's version and what
// differs between the two databases.
//
// To add a table, append a migration to the list in migrations.go (never edit one that was released) and put the
// statements that use it into a package of your own. SQL is written once, for both databases: TEXT and BIGINT only,
// times as Micros, JSON as TEXT, `?` for parameters, INSERT … ON CONFLICT and RETURNING are fine.
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
	_ "modernc.org/sqlite" // The driver "sqlite".

	"github.com/sightglass-ml/sightglass/internal/config"
)

// Config says where the state is.
type Config struct {
	// Path of the SQLite database; by default "responder.db" in $STATE_DIRECTORY, or else beside the configuration.
	Path config.Path `yaml:"path"`
	// PostgreSQL is the connection string of a database that several replicas share. It can hold a password.
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

// patience is how long a transaction waits for another one's lock and for a connection.
const patience = 10 * time.Second

// ErrNewer says that a later version of the program wrote the database.
var ErrNewer = errors.New("the database was written by a newer version")

// Store is an open database.
type Store struct {
	postgres    bool
	write, read *sql.DB
	path        string   // of the SQLite database
	lock        *os.File // of Own
}

// Open connects, and brings the schema up to date.
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

// OpenExisting opens a store to look at it. It makes no database where there is none and leaves the schema as it is.
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
			// pgx's own message would repeat the password.
			return nil, errors.New("open the store: the connection string is no PostgreSQL one; want postgres://user:password@host:port/database")
		}
		parsed.RuntimeParams["lock_timeout"] = strconv.Itoa(int(patience.Milliseconds()))
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
	// Labels and excerpts are nobody else's business; SQLite gives its journals the mode of the database.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	open := func(extra string, connections int) (*sql.DB, error) {
		// FULL waits for the disk at every commit; WAL alone would lose the last ones with the machine's power.
		db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+fmt.Sprintf(
			"?_pragma=busy_timeout(%d)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)", patience.Milliseconds())+extra)
		if err != nil {
			return nil, fmt.Errorf("open the store: %w", err)
		}
		db.SetMaxOpenConns(connections)
		return db, nil
	}
	// One connection writes, so that writers of this process queue in order instead of polling for the lock.
	s := &Store{path: path}
	if s.write, err = open("&_txlock=immediate", 1); err != nil {
		return nil, err
	}
	if s.read, err = open("&_pragma=query_only(1)", 4); err != nil {
		return nil, errors.Join(err, s.write.Close())
	}
	return s, nil
}

// Own makes this process the only one that works on a SQLite database; others may look. It returns false for
// PostgreSQL, which replicas share.
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

// PostgreSQL says that replicas may share the state.
func (s *Store) PostgreSQL() bool { return s.postgres }

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.read.PingContext(ctx); err != nil {
		return fmt.Errorf("reach the store: %w", err)
	}
	return nil
}

// attempts of a transaction that the database broke off to free another one.
const attempts = 5

// Write runs f in a transaction and commits it, or leaves no trace if f fails. The database may break a transaction
// off for another's sake; f then runs again, so it must not keep anything of the first run.
func (s *Store) Write(ctx context.Context, f func(tx *Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
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

// Read runs f in a transaction that sees one moment of the database and changes nothing.
func (s *Store) Read(ctx context.Context, f func(tx *Tx) error) error {
	var o *sql.TxOptions // In SQLite every transaction is a snapshot.
	if s.postgres {
		o = &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
	}
	return s.run(ctx, s.read, o, f)
}

func (s *Store) run(ctx context.Context, db *sql.DB, o *sql.TxOptions, f func(tx *Tx) error) error {
	begun, err := db.BeginTx(ctx, o)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	if err := f(&Tx{ctx: ctx, tx: begun, postgres: s.postgres}); err != nil {
		return errors.Join(err, rollback(begun))
	}
	if err := begun.Commit(); err != nil {
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

// Tx is a transaction. It ends with the context of the Write or Read it was made by.
type Tx struct {
	ctx      context.Context //nolint:containedctx // A Tx does not outlive the call that carries the context.
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

// QueryRow returns the first row of a statement; its Scan returns sql.ErrNoRows if there is none.
func (t *Tx) QueryRow(query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(t.ctx, t.numbered(query), args...)
}

// Lock makes transactions that lock the same name wait for the end of this one. In SQLite every transaction that
// writes does so anyway.
func (t *Tx) Lock(name string) error {
	if !t.postgres {
		return nil
	}
	_, err := t.Exec("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", "sightglass/"+name)
	return err
}

// SkipLocked ends a SELECT whose rows this transaction claims, passing over those that another one is claiming.
func (t *Tx) SkipLocked() string {
	if t.postgres {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}

// numbered turns `?` into PostgreSQL's $1, $2, … Queries are constants of the program and quote no question marks.
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

// Micros is how a time is stored: microseconds since 1970, 0 for the zero time.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time is what Micros stored.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
