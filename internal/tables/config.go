package tables

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// Config is the configuration of a database connection.
type Config struct {
	Type Type `yaml:"type"`
	// DSN is the connection string. It can contain a password, so it is read from a file or an environment variable. DuckDB needs none.
	DSN config.SecretSource `yaml:"dsn,omitempty"`
	// Database is the DuckDB database file to read. Without it, DuckDB reads files.
	Database config.Path `yaml:"database,omitempty"`
	// MemoryLimit, Threads, TempDirectory, ArrowDiskLimit and Init apply to DuckDB only.
	MemoryLimit    config.Bytes `yaml:"memory_limit,omitempty"`
	Threads        int          `yaml:"threads,omitempty"`
	TempDirectory  config.Path  `yaml:"temp_directory,omitempty"`
	ArrowDiskLimit config.Bytes `yaml:"arrow_disk_limit,omitempty"`
	Init           []string     `yaml:"init,omitempty"`
	MaxConnections int          `yaml:"max_connections,omitempty"`
}

// Validate implements config.Validator.
func (s *Config) Validate(at config.At) {
	switch s.Type {
	case DuckDB:
		if at.Has("dsn") {
			at.Errorf("dsn", "a duckdb source has no connection string; want database, the path of its file, or neither to read files")
		}
	case PostgreSQL, ClickHouse, Trino, MySQL, BigQuery:
		if !at.Has("dsn") {
			at.Errorf("dsn", "missing; want {file: path} or {env: NAME} with the connection string")
		}
		for _, key := range []string{"database", "memory_limit", "threads", "temp_directory", "arrow_disk_limit", "init"} {
			if at.Has(key) {
				at.Errorf(key, "only a duckdb source has this setting")
			}
		}
	default:
		at.Errorf("type", "unknown type %q; want duckdb, postgres, clickhouse, trino, mysql or bigquery", string(s.Type))
	}
	if s.Database != "" {
		at.CheckFile("database", string(s.Database))
	}
	if s.Threads < 0 || s.MaxConnections < 0 {
		at.Errorf("", "threads and max_connections cannot be negative")
	}
}

// SameDSN reports whether the source was opened with the connection string that the file or variable contains now.
func (s *Config) SameDSN(source *Source) (bool, error) {
	dsn, err := s.DSN.Read()
	if err != nil {
		return false, fmt.Errorf("connection string: %w", err)
	}
	return source.dsn == sha256.Sum256([]byte(strings.TrimSpace(dsn.Reveal()))), nil
}

// Changed returns the names of the sources whose configuration or connection string has changed. Open returns nil for a source that is not
// open. An error concerns the source in named.
func Changed(before, after map[string]Config, open func(name string) *Source) (changed map[string]bool, named string, err error) {
	changed = make(map[string]bool)
	for name, was := range before {
		is, ok := after[name]
		if !ok || !config.Equal(was, is) {
			changed[name] = true
			continue
		}
		source := open(name)
		if source == nil || is.Type == DuckDB {
			continue // A DuckDB source has no connection string.
		}
		same, err := is.SameDSN(source)
		if err != nil {
			return nil, name, fmt.Errorf("source %q: %w", name, err)
		}
		if !same {
			changed[name] = true
		}
	}
	return changed, "", nil
}

// CloseChanged removes the changed sources from those that are open, and closes them in the background: Close can wait for a query that hangs.
func CloseChanged(open map[string]*Source, changed map[string]bool, logger *slog.Logger) {
	for name := range changed {
		s := open[name]
		if s == nil {
			continue
		}
		delete(open, name)
		go func() {
			if err := s.Close(); err != nil {
				logger.Warn("A source was not closed cleanly", "source", name, "err", err)
			}
		}()
	}
}

// Open opens the database with the connection string that the file or variable contains now.
func (s *Config) Open() (*Source, error) {
	o := Options{
		Type: s.Type, DSN: string(s.Database), MaxConnections: s.MaxConnections,
		MemoryLimit: int64(s.MemoryLimit), Threads: s.Threads, TempDirectory: string(s.TempDirectory),
		ArrowDiskLimit: int64(s.ArrowDiskLimit), Init: s.Init,
	}
	if s.Type != DuckDB {
		dsn, err := s.DSN.Read()
		if err != nil {
			return nil, fmt.Errorf("connection string: %w", err)
		}
		o.DSN = strings.TrimSpace(dsn.Reveal())
	}
	return Open(o)
}
