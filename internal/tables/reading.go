package tables

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// Reading configures how values are interpreted where the source leaves it open.
type Reading struct {
	// MissingValues are texts that mean a missing value, such as N/A.
	MissingValues []string `yaml:"missing_values,omitempty"`
	// NaNIsMissing counts NaN as missing. The default is true for files, because pandas and Arrow write a missing number as NaN, and
	// false for databases.
	NaNIsMissing *bool `yaml:"nan_is_missing,omitempty"`
	// TimestampUnit is the unit of a timestamp column that contains numbers since 1970. UnitAuto also reads dates such as 20261124.
	TimestampUnit Unit `yaml:"timestamp_unit,omitempty"`
	// TimestampFormat is the strftime format of a timestamp column that contains text, or dates written as numbers. Empty means ISO 8601
	// for text, and TimestampUnit for numbers.
	TimestampFormat string `yaml:"timestamp_format,omitempty"`
	// OnUnreadable is the action for a file of a glob that cannot be read.
	OnUnreadable OnUnreadable `yaml:"on_unreadable,omitempty"`
	// CSV configures the reading of CSV files. DuckDB detects what is not set.
	CSV CSV `yaml:"csv,omitempty"`
}

// Unit is the unit of a number that is a point in time.
type Unit string

// Units of timestamp columns that hold numbers.
const (
	UnitAuto        Unit = "auto" // Chosen for each row by the size of the number.
	UnitSecond      Unit = "s"
	UnitMillisecond Unit = "ms"
	UnitMicrosecond Unit = "us"
	UnitNanosecond  Unit = "ns"
)

// OnUnreadable is the action for a file that cannot be read.
type OnUnreadable string

// The actions for a file that cannot be read.
const (
	FailUnreadable OnUnreadable = "fail"
	SkipUnreadable OnUnreadable = "skip"
)

// CSV are options for reading CSV files. DuckDB detects empty ones from the first 20480 rows of a file.
type CSV struct {
	Delimiter string `yaml:"delimiter,omitempty"`
	Decimal   string `yaml:"decimal,omitempty"`
	Quote     string `yaml:"quote,omitempty"`
	Encoding  string `yaml:"encoding,omitempty"`
	Header    *bool  `yaml:"header,omitempty"`
	// SampleRows is the number of rows from which DuckDB detects types; -1 means all.
	SampleRows int `yaml:"sample_rows,omitempty"`
}

// encodings are the encodings that DuckDB reads without an extension.
var encodings = []string{"utf-8", "utf-16", "latin-1"}

// validate checks the settings. files reports whether the table consists of files.
func (r *Reading) validate(at config.At, files bool) {
	if units := []Unit{"", UnitAuto, UnitSecond, UnitMillisecond, UnitMicrosecond, UnitNanosecond}; !slices.Contains(units, r.TimestampUnit) {
		at.Errorf("timestamp_unit", "unknown unit %q; want auto, s, ms, us or ns", string(r.TimestampUnit))
	}
	if err := checkFormat(r.TimestampFormat); err != nil {
		at.Errorf("timestamp_format", "%v", err)
	}
	if r.TimestampFormat != "" && r.TimestampUnit != "" {
		at.Errorf("timestamp_format", "timestamp_unit is for numbers since 1970, timestamp_format for text and for dates written as numbers; want one of them")
	}
	if len(r.MissingValues) > maxMissingValues {
		at.Errorf("missing_values", "%d texts; want %d or fewer", len(r.MissingValues), maxMissingValues)
	}
	for _, v := range r.MissingValues {
		if strings.ContainsRune(v, 0) {
			at.Errorf("missing_values", "%q has a NUL; no database takes one in a text", v)
		}
	}
	switch r.OnUnreadable {
	case "", FailUnreadable, SkipUnreadable:
	default:
		at.Errorf("on_unreadable", "unknown choice %q; want fail or skip", string(r.OnUnreadable))
	}
	if !files {
		for _, key := range []string{"csv", "on_unreadable"} {
			if at.Has(key) {
				at.Errorf(key, "only files have this setting; want files instead of table or query, or nothing")
			}
		}
	}
	for _, o := range []struct{ key, value string }{{"csv.delimiter", r.CSV.Delimiter}, {"csv.decimal", r.CSV.Decimal}, {"csv.quote", r.CSV.Quote}} {
		if len(o.value) > 1 {
			at.Errorf(o.key, "%q; want one ASCII character", o.value)
		}
	}
	if r.CSV.Encoding != "" && !slices.Contains(encodings, strings.ToLower(r.CSV.Encoding)) {
		at.Errorf("csv.encoding", "unknown encoding %q; want one of %q", r.CSV.Encoding, encodings)
	}
	if r.CSV.SampleRows < -1 {
		at.Errorf("csv.sample_rows", "%d; want a number of rows, or -1 for all", r.CSV.SampleRows)
	}
}

// maxMissingValues limits the length of a statement.
const maxMissingValues = 100

// csvOptions returns the arguments of read_csv.
func (r *Reading) csvOptions(d dialect) []string {
	var options []string
	for _, o := range []struct{ key, value string }{
		{"delim", r.CSV.Delimiter}, {"decimal_separator", r.CSV.Decimal}, {"quote", r.CSV.Quote}, {"encoding", r.CSV.Encoding},
	} {
		if o.value != "" {
			options = append(options, o.key+" = "+d.text(o.value))
		}
	}
	if r.CSV.Header != nil {
		options = append(options, fmt.Sprintf("header = %t", *r.CSV.Header))
	}
	if r.CSV.SampleRows != 0 {
		options = append(options, fmt.Sprintf("sample_size = %d", r.CSV.SampleRows))
	}
	if len(r.MissingValues) > 0 {
		// This list replaces DuckDB's default list, which contains the empty field.
		missing := slices.Compact(slices.Sorted(slices.Values(append([]string{""}, r.MissingValues...))))
		options = append(options, "nullstr = ["+texts(d, missing)+"]")
	}
	return options
}

func texts(d dialect, values []string) string {
	literals := make([]string, len(values))
	for i, v := range values {
		literals[i] = d.text(v)
	}
	return strings.Join(literals, ", ")
}

// interpret sets the class of a column, and the SQL that reads it if the name alone is not enough. files reports whether the column is
// of a file.
func (r *Reading) interpret(d dialect, c *Column, isTime, files bool) {
	expr := cmp.Or(c.read, d.identifier(c.Name))
	read := expr
	switch {
	case isTime && (c.Class == Integer || c.Class == Decimal || c.Class == Float):
		c.sinceEpoch = r.TimestampFormat == "" && (r.TimestampUnit == "" || r.TimestampUnit == UnitAuto)
		read, c.Class = r.timeOfNumber(d, expr, c.Class)
	case isTime && c.Class == Text:
		read, c.Class = d.timeOfText(expr, r.TimestampFormat)
	case !isTime && c.Class.isTime():
		switch d := d.(type) {
		case mySQL:
			read = d.dated(expr)
		case bigQuery:
			read, c.Class = "TIMESTAMP("+expr+")", TimestampTZ
		}
	case c.Class == Text && len(r.MissingValues) > 0:
		read = "CASE WHEN " + expr + " NOT IN (" + texts(d, r.MissingValues) + ") THEN " + expr + " END"
	case c.Class == Float && (r.NaNIsMissing == nil && files || r.NaNIsMissing != nil && *r.NaNIsMissing):
		read, c.nanMissing, c.withNaN = "CASE WHEN NOT "+d.isNaN(expr)+" THEN "+expr+" END", true, c.read
	}
	if read != d.identifier(c.Name) {
		c.read = read
	}
}

// timeOfNumber returns the SQL of the time that a number stands for: a date in the format, a date such as 20261124, or a time since 1970.
func (r *Reading) timeOfNumber(d dialect, expr string, class Class) (string, Class) {
	value := d.double(expr)
	if r.TimestampFormat != "" {
		_, text := categoryOf(d, expr, class)
		if width := formatWidth(r.TimestampFormat); width > 0 {
			// A number has lost its leading zeros.
			limit := number(math.Pow10(width))
			text = "CASE WHEN " + value + " >= 0 AND " + value + " < " + limit + " THEN substr(" + d.varchar(d.castInteger(value+" + "+limit)) + ", 2) END"
		}
		return d.timeOfText(text, r.TimestampFormat)
	}
	us := microseconds(value, r.TimestampUnit)
	if r.TimestampUnit == "" || r.TimestampUnit == UnitAuto {
		text := d.varchar(d.castInteger(value))
		date, class := d.timeOfText("concat(substr("+text+", 1, 4), '-', substr("+text+", 5, 2), '-', substr("+text+", 7, 2))", "")
		us = "CASE WHEN " + value + " BETWEEN 19000101 AND 21001231 THEN " + d.epoch(date, class) + " * 1e6 ELSE " + us + " END"
	}
	return d.timeOfNumber(us)
}

// microseconds returns the SQL of the microseconds since 1970 for a number of the unit. It is NULL where a timestamp cannot hold the
// value.
func microseconds(number string, unit Unit) string {
	var us string
	switch unit {
	case UnitSecond:
		us = number + " * 1e6"
	case UnitMillisecond:
		us = number + " * 1e3"
	case UnitMicrosecond:
		us = number
	case UnitNanosecond:
		us = number + " / 1e3"
	default:
		// 1e11 is the year 5138 in seconds and 1973 in milliseconds; the other limits follow the same rule.
		us = fmt.Sprintf("CASE WHEN abs(%[1]s) < 1e11 THEN %[1]s * 1e6 WHEN abs(%[1]s) < 1e14 THEN %[1]s * 1e3 WHEN abs(%[1]s) < 1e17 THEN %[1]s ELSE %[1]s / 1e3 END", number)
	}
	// 2.5e17 is the year 9892. A cast of a value outside the range of a timestamp fails.
	return fmt.Sprintf("CASE WHEN abs(%[1]s) <= 2.5e17 THEN %[1]s END", us)
}
