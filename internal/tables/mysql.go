package tables

import (
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// mySQL is the dialect of MariaDB 10.3 and MySQL 8.0.17 and later. Doubles have the class Decimal, because no type holds NaN or
// infinity. There is no array type, so counts are returned as JSON text. There is no boolean type; TINYINT(1) has the values 0 and 1.
type mySQL struct{}

// openMySQL sets the session settings that the dialect relies on: times are in UTC, and a backslash in a text is an escape character.
func openMySQL(o Options) (*sql.DB, error) {
	cfg, err := mysql.ParseDSN(o.DSN)
	if err != nil {
		return nil, err
	}
	cfg.ParseTime, cfg.Loc = true, time.UTC
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second // The context does not cancel a connection attempt that hangs.
	}
	if cfg.Params == nil {
		cfg.Params = make(map[string]string)
	}
	cfg.Params["time_zone"] = "'+00:00'"
	cfg.Params["sql_mode"] = "REPLACE(@@sql_mode, 'NO_BACKSLASH_ESCAPES', '')"
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func (mySQL) identifier(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func (mySQL) text(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(s) + "'"
}

func (mySQL) instant(t time.Time, _ Class) string {
	return "TIMESTAMP '" + t.UTC().Format(instantLayout) + "'"
}

func (mySQL) earlier(expr string, class Class, seconds float64) string {
	if class == Date {
		expr = "CAST(" + expr + " AS DATETIME(6))"
	}
	return fmt.Sprintf("%s - INTERVAL %d SECOND", expr, int64(seconds))
}

func (mySQL) epoch(expr string, _ Class) string {
	return "TIMESTAMPDIFF(MICROSECOND, TIMESTAMP '1970-01-01 00:00:00', " + expr + ") / 1e6"
}

func (mySQL) double(expr string) string { return "CAST(" + expr + " AS DOUBLE)" }

// varchar returns the bytes of the text. Texts that the column's collation treats as equal, such as CA, ca and "ca ", are different
// inputs to a model.
func (mySQL) varchar(expr string) string {
	return "CAST(CONVERT(" + expr + " USING utf8mb4) AS BINARY)"
}

func (mySQL) isNaN(string) string     { return "FALSE" }
func (mySQL) infinity(int) string     { return "NULL" }
func (mySQL) countIf(c string) string { return "count(CASE WHEN " + c + " THEN 1 END)" }

func (mySQL) array(counts []string) string       { return "JSON_ARRAY(" + strings.Join(counts, ", ") + ")" }
func (mySQL) distinct(expr string) string        { return "count(DISTINCT " + expr + ")" }
func (mySQL) quantiles(string, []float64) string { return "NULL" } // See quantilesFrom.

func (mySQL) random() string { return "rand()" }

func (mySQL) castInteger(expr string) string { return "CAST(" + expr + " AS SIGNED)" }

// moments ignores the condition, because there is neither NaN nor infinity.
func (d mySQL) moments(expr, _ string) string {
	return d.array([]string{d.double("count(" + expr + ")"), "min(" + expr + ")", "max(" + expr + ")", "sum(" + expr + ")", "stddev_pop(" + expr + ")", d.double(d.countIf(expr + " = 0"))})
}

// quantilesFrom uses a subquery, because neither database has a quantile aggregate.
func (mySQL) quantilesFrom(expr, source string, probabilities []float64) string {
	parts := make([]string, len(probabilities))
	for i, p := range probabilities {
		parts[i] = fmt.Sprintf("min(CASE WHEN place >= %s * n THEN v END)", number(p))
	}
	return fmt.Sprintf("(SELECT JSON_ARRAY(%s) FROM (SELECT v, row_number() OVER (ORDER BY v) AS place, count(*) OVER () AS n FROM (SELECT %s AS v FROM %s) AS x WHERE v IS NOT NULL) AS q)",
		strings.Join(parts, ", "), expr, source)
}

// dated returns a date or time, or NULL for values that stand for a missing one, such as 0000-00-00 and 2026-00-00.
func (mySQL) dated(expr string) string {
	return "CASE WHEN month(" + expr + ") > 0 THEN " + expr + " END"
}

func (mySQL) matches(expr, pattern string) string {
	return "(CONVERT(" + expr + " USING utf8mb4) COLLATE utf8mb4_bin REGEXP " + pattern + ")"
}

func (d mySQL) oneIn(columns []string, n int) string {
	return fmt.Sprintf("crc32(concat_ws('|', %s)) %% %d = 0", strings.Join(columns, ", "), n)
}

func (mySQL) timeOfNumber(microseconds string) (string, Class) {
	return "TIMESTAMP '1970-01-01 00:00:00' + INTERVAL (" + microseconds + ") MICROSECOND", Timestamp
}

// timeOfText parses the text with regular expressions, because MariaDB, unlike MySQL, cannot cast a text with an offset.
func (d mySQL) timeOfText(expr, format string) (string, Class) {
	if format != "" {
		// STR_TO_DATE returns 2026-02-31. Date arithmetic makes it NULL.
		return "STR_TO_DATE(" + expr + ", " + d.text(mysqlFormat(format)) + ") + INTERVAL 0 SECOND", Timestamp
	}
	const date, clock = `^[0-9]{4}-[0-9]{2}-[0-9]{2}`, `[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?`
	const offset = ` ?[+-][0-9]{2}(:?[0-9]{2})?`
	hours := "CAST(regexp_replace(" + expr + ", '^.*([+-][0-9]{2}):?([0-9]{2})?$', '" + `\\1` + "') AS SIGNED)"
	minutes := "CAST(regexp_replace(" + expr + ", '^.*([+-])[0-9]{2}:?([0-9]{2})$', '" + `\\1\\2` + "') AS SIGNED)"
	plain := "CAST(replace(regexp_substr(" + expr + ", '" + date + "(" + clock + ")?'), 'T', ' ') AS DATETIME(6))"
	return fmt.Sprintf("CASE WHEN %[1]s REGEXP '%[2]s(%[3]s ?Z?)?$' THEN %[5]s WHEN %[1]s REGEXP '%[2]s%[3]s ?[+-][0-9]{2}$' THEN %[5]s - INTERVAL %[6]s HOUR WHEN %[1]s REGEXP '%[2]s%[3]s%[4]s$' THEN %[5]s - INTERVAL (60 * %[6]s + %[7]s) MINUTE END",
		expr, date, clock, offset, plain, hours, minutes), Timestamp
}

func (mySQL) class(databaseType string) Class {
	switch strings.TrimPrefix(baseType(databaseType), "UNSIGNED ") {
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "YEAR":
		return Integer
	case "DECIMAL", "FLOAT", "DOUBLE":
		return Decimal
	case "CHAR", "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "ENUM", "SET":
		return Text
	case "DATETIME":
		return Timestamp
	case "TIMESTAMP":
		return TimestampTZ
	case "DATE":
		return Date
	}
	return Opaque
}
