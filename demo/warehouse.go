package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	// The driver registers itself with database/sql.
	_ "github.com/duckdb/duckdb-go/v2"

	"github.com/sightglass-ml/sightglass/internal/sqltext"
)

// warehouse has the shop's data as files, and the jobs that load them. A file is written under another name and then renamed,
// so that the exporter never reads an incomplete one. It is safe for concurrent use.
type warehouse struct {
	db  *sql.DB
	dir string
	// minute is the real duration of a minute of the shop.
	minute time.Duration

	mu     sync.Mutex
	tables []table
}

func openWarehouse(dir string, minute time.Duration, tables []table) (*warehouse, error) {
	// One thread, since the exporter, Prometheus and Alertmanager need the others.
	db, err := sql.Open("duckdb", "?threads=1&memory_limit=512MB")
	if err != nil {
		return nil, fmt.Errorf("open DuckDB: %w", err)
	}
	db.SetMaxOpenConns(1)
	w := &warehouse{db: db, dir: dir, minute: minute, tables: tables}
	for _, t := range tables {
		if err := os.MkdirAll(filepath.Join(dir, t.name), 0o755); err != nil {
			return nil, errors.Join(fmt.Errorf("make a folder for %s: %w", t.name, err), db.Close())
		}
	}
	return w, nil
}

func (w *warehouse) close() error { return w.db.Close() }

// Paths of a table's files. Files that are loaded again are separate from permanent ones.
func (w *warehouse) files(t table) string { return filepath.Join(w.dir, t.name, "*."+t.format) }

func (w *warehouse) current(t table) string {
	return filepath.Join(w.dir, t.name, "current."+t.format)
}

func (w *warehouse) archive(t table) string {
	return filepath.Join(w.dir, t.name, "archive."+t.format)
}

func (w *warehouse) trainingFile(t table) string {
	return filepath.Join(w.dir, "training", t.name+".parquet")
}

func (w *warehouse) upstreamFile(t table) string {
	return filepath.Join(w.dir, "upstream", t.upstream.name+".parquet")
}

func (w *warehouse) otherStore(t table) string {
	return filepath.Join(w.dir, "reference", t.against+".parquet")
}

// prepare writes all data from before now.
func (w *warehouse) prepare(ctx context.Context, now time.Time) error {
	for _, dir := range []string{"training", "upstream", "reference"} {
		if err := os.MkdirAll(filepath.Join(w.dir, dir), 0o755); err != nil {
			return fmt.Errorf("prepare the data: %w", err)
		}
	}
	for _, t := range w.tables {
		if t.against != "" {
			if err := w.write(ctx, w.otherStore(t), at(featureStore, now)); err != nil {
				return err
			}
		}
		if t.training > 0 {
			if err := w.write(ctx, w.trainingFile(t), w.trainingRows(t, now)); err != nil {
				return err
			}
		}
		if t.archiveDays > 0 {
			midnight := now.UTC().Truncate(24 * time.Hour)
			if err := w.write(ctx, w.archive(t), w.sparse(*t.feed, midnight.AddDate(0, 0, -t.archiveDays), midnight)); err != nil {
				return err
			}
		}
		if err := w.load(ctx, t, now); err != nil {
			return err
		}
	}
	return nil
}

// trainingRows returns rows with the distribution of a healthy table, but other ones: those of a feed are two weeks older.
func (w *warehouse) trainingRows(t table, now time.Time) string {
	if t.feed == nil {
		return at(t.query, now)
	}
	to := now.Add(-2 * 7 * 24 * 60 * w.minute)
	return fmt.Sprintf("SELECT * FROM (%s) LIMIT %d", w.rows(*t.feed, to.Add(-7*24*60*w.minute), to), t.training)
}

// archiveRows is the number of records a day in an archive.
const archiveRows = 600

// sparse returns a few rows of a feed for each day of the real calendar.
func (w *warehouse) sparse(f feed, from, to time.Time) string {
	f.perMinute = "1"
	return w.selectRows(f, from, to, 24*time.Hour/archiveRows)
}

// run loads the tables every minute of the shop until ctx ends.
func (w *warehouse) run(ctx context.Context) error {
	tick := time.NewTicker(w.minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if err := w.loadAll(ctx, now); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
		}
	}
}

func (w *warehouse) loadAll(ctx context.Context, now time.Time) error {
	for i := range w.tables {
		w.mu.Lock()
		var err error
		if t := w.tables[i]; !t.static && !t.stopped {
			err = w.load(ctx, t, now)
		}
		w.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// damage changes how a table is loaded, and loads it.
func (w *warehouse) damage(ctx context.Context, name string, change func(*table), now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.tables {
		t := &w.tables[i]
		if t.name != name {
			continue
		}
		change(t)
		if t.stopped {
			return nil
		}
		return w.load(ctx, *t, now)
	}
	return fmt.Errorf("no dataset %q", name)
}

// load writes the table as of now.
func (w *warehouse) load(ctx context.Context, t table, now time.Time) error {
	query := at(t.query, now)
	if t.feed != nil {
		// Some more minutes, since the window moves until the next load and the exporter may profile late.
		from := now.Add(-w.compressed(t.window) - 10*w.minute)
		query = w.rows(*t.feed, from, now)
		if t.upstream != nil {
			if err := w.write(ctx, w.upstreamFile(t), w.rows(*t.upstream, from, now)); err != nil {
				return err
			}
		}
	}
	return w.write(ctx, w.current(t), query)
}

func (w *warehouse) compressed(d time.Duration) time.Duration {
	return time.Duration(float64(d) * float64(w.minute) / float64(time.Minute))
}

// rows is a query of a feed's records in [from, to).
func (w *warehouse) rows(f feed, from, to time.Time) string {
	return w.selectRows(f, from, to, w.minute)
}

func (w *warehouse) selectRows(f feed, from, to time.Time, minute time.Duration) string {
	columns := make([]string, len(f.columns))
	for i, c := range f.columns {
		columns[i] = c.sql + " AS " + c.name
	}
	keep := "true"
	if f.keep != "" {
		keep = f.keep
	}
	return fmt.Sprintf(`
SELECT %s
FROM (
  SELECT m, j, make_timestamp(CAST((m + (j + 0.5) / n) * %d AS BIGINT)) AS ts
  FROM (SELECT m, n, unnest(range(n)) AS j FROM (SELECT m, CAST(round(%s) AS BIGINT) AS n FROM range(%d, %d) AS minutes (m)))
)
WHERE ts >= %s AND ts < %s AND (%s)`,
		strings.Join(columns, ", "), minute.Microseconds(), f.perMinute,
		from.UnixMicro()/minute.Microseconds(), to.UnixMicro()/minute.Microseconds()+1,
		timestamp(from), timestamp(to), keep)
}

// at inserts the time of a load into a query.
func at(query string, now time.Time) string { return strings.ReplaceAll(query, ":now", timestamp(now)) }

func timestamp(t time.Time) string {
	return "TIMESTAMP '" + t.UTC().Format("2006-01-02 15:04:05.000000") + "'"
}

func (w *warehouse) write(ctx context.Context, path, query string) error {
	format := strings.TrimPrefix(filepath.Ext(path), ".")
	// The exporter reads files by extension, so an incomplete file has another one.
	part := path + ".part"
	statement := fmt.Sprintf("COPY (%s) TO %s (FORMAT %s)", query, sqltext.Literal(part), format)
	if _, err := w.db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// historyStep is the time between two counts of the history, in the shop's time. The rules look back half an hour.
const historyStep = 10 * time.Minute

// historyWeeks is how far the rules look back.
const historyWeeks = 4

// history writes the past results of the recording rules for the volume of each table, in the OpenMetrics format: the rows in
// the window, at every step of the last weeks.
func (w *warehouse) history(ctx context.Context, out io.Writer, metric, labels string, now time.Time) error {
	if _, err := fmt.Fprintf(out, "# TYPE %s gauge\n", metric); err != nil {
		return err
	}
	step := w.compressed(historyStep)
	last := now.Add(-step)
	steps := int((historyWeeks*7*24*time.Hour + 2*time.Hour) / historyStep)
	first := last.Add(-time.Duration(steps) * step)
	for _, t := range w.tables {
		if !t.volumeHistory {
			continue
		}
		window := w.compressed(t.window)
		// Records before each end of a window.
		query := fmt.Sprintf(`
WITH records AS (SELECT %s AS ts, row_number() OVER (ORDER BY %s) AS n FROM (%s)),
ends AS (SELECT make_timestamp(%d + i * %d) AS ts FROM range(%d) AS steps (i))
SELECT epoch_ms(e.ts), upto.n - before.n
FROM ends AS e
ASOF JOIN records AS upto ON e.ts >= upto.ts
ASOF JOIN records AS before ON e.ts - to_microseconds(%d) >= before.ts
ORDER BY 1`,
			t.feed.time, t.feed.time, w.rows(*t.feed, first.Add(-window-w.minute), last),
			first.UnixMicro(), step.Microseconds(), steps+1, window.Microseconds())
		if err := w.samples(ctx, out, fmt.Sprintf("%s{%sdataset=%q}", metric, labels, t.name), query); err != nil {
			return fmt.Errorf("count the history of %s: %w", t.name, err)
		}
	}
	return nil
}

// samples writes a series from a query that returns milliseconds and values.
func (w *warehouse) samples(ctx context.Context, out io.Writer, series, query string) error {
	rows, err := w.db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var ms, value int64
		if err := rows.Scan(&ms, &value); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%s %d %d.%03d\n", series, value, ms/1000, ms%1000); err != nil {
			return err
		}
	}
	return rows.Err()
}
