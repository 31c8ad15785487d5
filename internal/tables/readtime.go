package tables

import (
	"cmp"
	"fmt"
	"strings"
)

// formatLetters are the strftime letters that all databases support: DuckDB uses them directly; the values are the equivalents of
// PostgreSQL, and of ClickHouse, Trino and MySQL.
var formatLetters = map[byte]struct{ postgres, mysql string }{
	'Y': {"YYYY", "%Y"}, 'y': {"YY", "%y"}, 'm': {"MM", "%m"}, 'd': {"DD", "%d"}, 'b': {"Mon", "%b"},
	'H': {"HH24", "%H"}, 'I': {"HH12", "%h"}, 'p': {"AM", "%p"}, 'M': {"MI", "%i"}, 'S': {"SS", "%s"}, 'f': {"US", "%f"},
}

// checkFormat reports the part of a timestamp format that cannot be translated.
func checkFormat(format string) error {
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		if i++; i == len(format) {
			return fmt.Errorf("%q ends in %%; want a letter after it, as in %%d/%%m/%%Y %%H:%%M", format)
		}
		if _, ok := formatLetters[format[i]]; !ok {
			return fmt.Errorf("%q has %%%c; want %%Y %%y %%m %%d %%b %%H %%I %%p %%M %%S or %%f, as in %%d/%%m/%%Y %%H:%%M", format, format[i])
		}
	}
	return nil
}

// formatWidth returns the number of digits of a format that consists of digits only, such as 8 for %Y%m%d. It returns 0 for other formats,
// and for those with more digits than a double is exact for.
func formatWidth(format string) int {
	width := 0
	for i := 0; i+1 < len(format); i += 2 {
		switch {
		case format[i] != '%' || format[i+1] == 'b' || format[i+1] == 'p':
			return 0
		case format[i+1] == 'Y':
			width += 4
		case format[i+1] == 'f':
			width += 6
		default:
			width += 2
		}
	}
	if len(format)%2 != 0 || width > 15 {
		return 0
	}
	return width
}

// translate writes a format in another database's notation. word also learns whether digits follow at once. Text between the letters is
// passed to quote.
func translate(format string, word func(letter byte, digitsFollow bool) string, quote func(string) string) string {
	var b strings.Builder
	var plain strings.Builder
	flush := func() {
		if plain.Len() > 0 {
			b.WriteString(quote(plain.String()))
			plain.Reset()
		}
	}
	for i := 0; i < len(format); i++ {
		if format[i] == '%' && i+1 < len(format) {
			i++
			flush()
			next := format[i+1:]
			b.WriteString(word(format[i], len(next) > 1 && next[0] == '%' && next[1] != 'b' && next[1] != 'p'))
			continue
		}
		plain.WriteByte(format[i])
	}
	flush()
	return b.String()
}

func mysqlFormat(format string) string {
	return translate(format, func(l byte, _ bool) string { return formatLetters[l].mysql }, func(s string) string { return s })
}

// Every timeOfNumber converts microseconds since 1970, a double that may be NULL. Every timeOfText parses a text in the given format,
// or in ISO 8601. Values that are not a valid time become NULL and count as missing.

func (d duckDB) timeOfNumber(microseconds string) (string, Class) {
	return "make_timestamp(CAST(" + microseconds + " AS BIGINT))", Timestamp
}

func (d duckDB) timeOfText(expr, format string) (string, Class) {
	if format == "" {
		return "TRY_CAST(" + expr + " AS TIMESTAMPTZ)", TimestampTZ
	}
	return "try_strptime(" + expr + ", " + d.text(format) + ")", Timestamp
}

func (d postgreSQL) timeOfNumber(microseconds string) (string, Class) {
	return "to_timestamp((" + microseconds + ") / 1e6)", TimestampTZ
}

// timeOfText tests the form first, because a cast of any other text fails the statement.
func (d postgreSQL) timeOfText(expr, format string) (string, Class) {
	if format == "" {
		const leap = `(\d\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29`
		const day = `(\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))|` + leap + `)`
		return fmt.Sprintf(`CASE WHEN %[1]s ~ '^(?!0000)`+day+`([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?( ?(Z|[+-]\d{2}(:?\d{2})?))?)?$' THEN CAST(%[1]s AS TIMESTAMPTZ) END`, expr), TimestampTZ
	}
	words := translate(format, func(l byte, _ bool) string { return formatLetters[l].postgres }, func(s string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	})
	return fmt.Sprintf("CASE WHEN %[1]s ~ %[2]s THEN to_timestamp(%[1]s, %[3]s) END", expr, d.text(formOf(format)), d.text(words)), TimestampTZ
}

// formOf returns a regular expression of the texts that PostgreSQL's to_timestamp reads in the format. Any other text, such as one with
// 31 April, fails its statement.
func formOf(format string) string {
	const leap = `(0[48]|[2468][048]|[13579][26])`
	return "^" +
		"(?!" + formWith(format, map[byte]string{'d': `3[01]`, 'm': `0?2`, 'b': `[Ff][Ee][Bb]`}) + ")" +
		"(?!" + formWith(format, map[byte]string{'d': `31`, 'm': `(0?[469]|11)`, 'b': `([Aa][Pp][Rr]|[Jj][Uu][Nn]|[Ss][Ee][Pp]|[Nn][Oo][Vv])`}) + ")" +
		"(?!" + formWith(format, map[byte]string{
		'd': `29`, 'm': `0?2`, 'b': `[Ff][Ee][Bb]`, 'Y': `(?!\d\d` + leap + `|([02468][048]|[13579][26])00)\d{4}`, 'y': `(?!00|` + leap + `)\d{1,2}`,
	}) + ")" +
		formWith(format, nil)
}

// formWith returns a regular expression of the texts in the format, with other expressions for some letters. If digits follow at once, a
// letter has all of its digits.
func formWith(format string, other map[byte]string) string {
	return translate(format, func(l byte, digitsFollow bool) string {
		word := cmp.Or(other[l], formatForms[l])
		if digitsFollow {
			word = strings.NewReplacer(`0?`, `0`, `]?`, `]`, `{1,`, `{`).Replace(word)
		}
		return word
	}, regexpQuoter.Replace) + "$"
}

// formatForms are regular expressions of the letters.
var formatForms = map[byte]string{
	'Y': `\d{4}`, 'y': `\d{1,2}`, 'm': `(0?[1-9]|1[0-2])`, 'd': `(0?[1-9]|[12]\d|3[01])`,
	'b': `([Jj][Aa][Nn]|[Ff][Ee][Bb]|[Mm][Aa][Rr]|[Aa][Pp][Rr]|[Mm][Aa][Yy]|[Jj][Uu][Nn]|[Jj][Uu][Ll]|[Aa][Uu][Gg]|[Ss][Ee][Pp]|[Oo][Cc][Tt]|[Nn][Oo][Vv]|[Dd][Ee][Cc])`,
	'H': `([01]?\d|2[0-3])`, 'I': `(0?[1-9]|1[0-2])`, 'p': `[AaPp][Mm]`, 'M': `[0-5]?\d`, 'S': `[0-5]?\d`, 'f': `\d{1,6}`,
}

// regexpQuoter is regexp.QuoteMeta for PostgreSQL.
var regexpQuoter = strings.NewReplacer(`\`, `\\`, `.`, `\.`, `+`, `\+`, `*`, `\*`, `?`, `\?`, `(`, `\(`, `)`, `\)`, `[`, `\[`, `]`, `\]`, `{`, `\{`, `}`, `\}`, `|`, `\|`, `^`, `\^`, `$`, `\$`)

func (clickHouse) timeOfNumber(microseconds string) (string, Class) {
	return "fromUnixTimestamp64Micro(toInt64(" + microseconds + "), 'UTC')", TimestampTZ
}

func (d clickHouse) timeOfText(expr, format string) (string, Class) {
	if format == "" {
		// ClickHouse's parser also accepts texts that are not ISO 8601, such as hour 25 or a day before the month.
		form := d.text(`^\d{4}-\d{2}-\d{2}([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?( ?(Z|[+-]\d{2}(:?\d{2})?))?)?$`)
		return "if(match(" + expr + ", " + form + "), parseDateTime64BestEffortOrNull(" + expr + ", 6, 'UTC'), NULL)", TimestampTZ
	}
	return "parseDateTimeOrNull(" + expr + ", " + d.text(mysqlFormat(format)) + ", 'UTC')", TimestampTZ
}

func (trino) timeOfNumber(microseconds string) (string, Class) {
	return "from_unixtime_nanos(CAST((" + microseconds + ") * 1e3 AS BIGINT))", TimestampTZ
}

func (d trino) timeOfText(expr, format string) (string, Class) {
	if format == "" {
		// Trino reads a text without a zone in the time zone of the session, so UTC is appended.
		return fmt.Sprintf("try(from_iso8601_timestamp_nanos(replace(CAST(%[1]s AS VARCHAR), ' ', 'T') || IF(regexp_like(%[1]s, '(Z|[+-]\\d{2}(:?\\d{2})?)$') AND length(%[1]s) > 10, '', IF(length(%[1]s) > 10, 'Z', 'T00:00Z'))))", expr), TimestampTZ
	}
	return "try(date_parse(" + expr + ", " + d.text(mysqlFormat(format)) + "))", Timestamp
}
